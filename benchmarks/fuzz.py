"""Fuzzing: answers that a model may give, and worse, through every task's parser and scorer; writes fuzz.md.

    python benchmarks/fuzz.py [--answers 1000000] [--seed 0]

Right answers are damaged at random: cut, doubled, nested, mixed with marks, brackets, half letters and other
scripts. The table counts, by task, what must not be:

    traceback           a parser, a scorer or the JSON of a record that raises
    out of range        a metric that is no number, or outside 0 to 1 (an error rate may be above 1)
    silently different  a right answer that does not score as one
"""

from __future__ import annotations

import argparse
import json
import math
import random
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np

from speechllm_bench import runs
from speechllm_bench.data import corpora
from speechllm_bench.data.annotators import entities
from speechllm_bench.data.corpora import call_centre
from speechllm_bench.data.questions import evaluation_example, with_gold
from speechllm_bench.evaluation import score
from speechllm_bench.schema import Prediction
from speechllm_bench.tasks import METRICS, TASKS, trace

TRACEBACK, RANGE, DIFFERENT = COLUMNS = ("traceback", "out of range", "silently different")
BATCH = 1000  # answers that are scored together, since most of a score's time is its intervals
GROUP = 20  # of these, as a speaker's: the range is that of each speaker
EXACT = {"slots": "f1", "ner": "ner_f1", "sentiment": "macro_f1", "sit": "accuracy", "transcription": "wer"}
PIECES = (
    "", " ", "\n", "\0", "\u2028", "\ud83d", "\ufffd", "\u202e", "e\u0301", "é", "ß", "İ", "٣", "²", "½",
    "你好", "🙂", "{", "}", "[", "]", '"', "'", "\\", ",", ":", "null", "NaN", "Infinity", "-0", "1e999",
    "9" * 5000, "true", "<think>", "</think>", "<response>", "</response>", "caller:", "found:", "```json\n",
    "<|end|>", "<|audio|>",
    '{"a": ' * 50, "[" * 2000, '{"city": ["rome", {"x": 1}], "city": 2}', '"\\ud83d"', "$1,000.50", "0x1f",
)  # fmt: skip


def damaged(text: str, rng: random.Random) -> str:
    """`text` after one to four damages."""
    for _ in range(rng.randint(1, 4)):
        a, b = sorted(rng.randrange(len(text) + 1) for _ in range(2))
        piece = rng.choice(PIECES)
        text = rng.choice(
            (
                text[:a],
                text[a:],
                text[:a] + text[b:],
                text[:a] + piece + text[a:],
                text[:a] + piece + text[b:],
                text[:b] + text[a:],
                text[:a] + text[a:b][::-1] + text[b:],
                text[:a] + text[a:b].swapcase() + text[b:],
                text + text,
                piece,
            )
        )[:20_000]
    return text


def questions(n: int = 40) -> dict[str, list[Prediction]]:
    """Predictions that are right, by task."""
    turns = call_centre.utterances("validation", n)
    types = corpora.slot_types("call_centre")
    found = {}
    for task in TASKS:
        if task == "sqit":  # scored as sit
            continue
        asked = with_gold(turns, [task])
        examples = [evaluation_example(turn, types, task) for turn in asked]
        found[task] = [
            Prediction(
                e.id, u.id, u.speaker, task, e.target, e.target, e.asked, len(e.target.split()), u.transcript
            )
            for u, e in zip(asked, examples, strict=True)
        ]
    return found


def fuzz(answers: int, seed: int = 0, ended=lambda found: None) -> dict[str, Counter]:
    """Faults by task and column, and an example of each as a key; `answers`: of all tasks together.

    `ended` is called with what was found so far, after each task.
    """
    rng, found = random.Random(seed), {}
    right = questions()
    each = math.ceil(answers / len(right))
    types = corpora.slot_types("call_centre")
    for task, predictions in right.items():
        parse = score.parser(task, None, types)
        found[task] = Counter()
        _score(task, predictions, parse, found[task], exact=True)
        while found[task]["answers"] < each:
            size = min(BATCH, each - found[task]["answers"])
            batch = []
            for i, prediction in enumerate(rng.choices(predictions, k=size)):
                raw = damaged(prediction.raw, rng)
                _annotator(raw, found[task])
                own = {"raw": raw, "example_id": str(i), "speaker": str(i // GROUP)}
                batch.append(replace(prediction, **own))
            _score(task, batch, parse, found[task])
            found[task]["answers"] += size
        ended(found)
    return found


def _annotator(raw: str, found: Counter) -> None:
    for read in (entities.read, trace.parse):
        try:
            read(raw)
        except Exception as error:
            found[TRACEBACK] += 1
            found[f"raised {type(error).__name__} in {read.__module__} on {raw[:200]!r}"] += 1


def _score(task: str, predictions: list[Prediction], parse, found: Counter, exact: bool = False) -> None:
    try:
        scored = score.score_task(task, predictions, parse)
        json.dumps(scored, allow_nan=False)
    except Exception as error:
        if len(predictions) > 1:  # the others of the batch are tried all the same
            half = len(predictions) // 2
            for some in (predictions[:half], predictions[half:]):
                _score(task, some, parse, found, exact)
            return
        found[TRACEBACK] += 1
        found[f"raised {type(error).__name__}: {str(error)[:200]}"] += 1
        return
    for name, interval in scored["metrics"].items():
        metric = METRICS[name]
        of_speakers = metric.rule(np.asarray(scored["sums"][metric.counts], float))
        for value in (interval["value"], interval["low"], interval["high"], *of_speakers.tolist()):
            if not (0 <= value <= metric.most) or math.isinf(value):
                found[RANGE] += 1
                found[f"{name} is {value}"] += 1
    named = EXACT.get("slots" if task.startswith("slots") else task)
    value = scored["metrics"][named]["value"] if named else None
    if exact and named and abs(value - (not METRICS[named].lower_is_better)) > 1e-9:
        found[DIFFERENT] += 1
        found[f"right answers, but {named} is {value}"] += 1


def table(found: dict[str, Counter]) -> str:
    lines = [f"| task | answers | {' | '.join(COLUMNS)} |", "|---|" + "---:|" * (len(COLUMNS) + 1)]
    for task, counted in found.items():
        lines.append(f"| {task} | {counted['answers']:,} | {' | '.join(str(counted[c]) for c in COLUMNS)} |")
    return "\n".join(lines)


def page(found: dict[str, Counter], command: str) -> str:
    """The table, and what stands above it."""
    n = sum(counted["answers"] for counted in found.values())
    return f"""# Damaged answers through parsers and scorers

{n:,} answers, right ones damaged at random; what the columns count: [fuzz.py](fuzz.py). Written by \
`{command}`.

{table(found)}
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--answers", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    command = f"python benchmarks/fuzz.py --answers {chosen.answers} --seed {chosen.seed}"
    file = Path(__file__).with_suffix(".md")
    found = fuzz(chosen.answers, chosen.seed, lambda found: runs.write_text(file, page(found, command)))
    print(table(found))
    for task, counted in found.items():
        for told in [key for key in counted if key not in (*COLUMNS, "answers")][:5]:
            print(f"\n{task}: {told} ({counted[told]} times)")
    return 1 if any(counted[column] for counted in found.values() for column in COLUMNS) else 0


if __name__ == "__main__":
    sys.exit(main())
