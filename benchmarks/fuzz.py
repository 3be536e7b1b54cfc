"""Fuzzing of every task's parser and scorer with damaged answers.

Correct answers are damaged at random: cut, doubled, nested, mixed with punctuation, brackets, lone surrogates
and other scripts. Faults are counted by task:

    silently different  a metric that is not a number or is outside 0 to 1 (an error rate may be above 1); a
                        correct answer without a perfect score
    lost                an answer that no score counts
    false ok            unreadable answers that score above 0
    traceback           a parser, a scorer or the JSON of a record that raises
"""

from __future__ import annotations

import json
import math
import random
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np

from speechllm_bench.data import corpora
from speechllm_bench.data.annotators import entities
from speechllm_bench.data.corpora import call_centre
from speechllm_bench.data.questions import evaluation_example, with_gold
from speechllm_bench.evaluation import score
from speechllm_bench.storage.schema import Prediction
from speechllm_bench.tasks import METRICS, TASKS, trace

TRIED, DIFFERENT, LOST, FALSE_OK, TRACEBACK = "tried", "silently different", "lost", "false ok", "traceback"
BATCH = 1000  # answers per score, since most of a score's time is its intervals
SOME = 100  # of a batch: also parsed by annotators; the unreadable ones are scored separately
GROUP = 20  # of these per speaker, since metrics are checked for each speaker
EXACT = {"slots": "f1", "ner": "ner_f1", "sentiment": "macro_f1", "sit": "accuracy", "transcription": "wer"}
PIECES = (
    "", " ", "\n", "\0", "\u2028", "\ud83d", "\ufffd", "\u202e", "e\u0301", "é", "ß", "İ", "٣", "²", "½",
    "你好", "🙂", "{", "}", "[", "]", '"', "'", "\\", ",", ":", "null", "NaN", "Infinity", "-0", "1e999",
    "9" * 5000, "true", "<think>", "</think>", "<response>", "</response>", "caller:", "found:", "```json\n",
    "<|end|>", "<|audio|>",
    '{"a": ' * 50, "[" * 2000, '{"city": ["rome", {"x": 1}], "city": 2}', '"\\ud83d"', "$1,000.50", "0x1f",
)  # fmt: skip


def damaged(text: str, rng: random.Random) -> str:
    """Return `text` with one to four random damages."""
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
    """Return task -> correct predictions."""
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


def fuzz(answers: int, seed: int = 0, done: Mapping[str, int] | None = None) -> Iterator[tuple[str, Counter]]:
    """Yield (task, counts) for each batch. A key of the counts that is no column describes a fault.

    answers: number over all tasks. done: task -> answers that were tried before and are skipped.
    """
    right, types = questions(), corpora.slot_types("call_centre")
    each = math.ceil(answers / len(right))
    for task, predictions in right.items():
        parse, tried = score.parser(task, None, types), (done or {}).get(task, 0)
        while tried < each:
            found = Counter({TRIED: min(BATCH, each - tried)})
            if tried == 0:
                _score(task, predictions, parse, found, wanted=1)
            rng = random.Random(f"{seed}/{task}/{tried}")
            batch = []
            for i, prediction in enumerate(rng.choices(predictions, k=found[TRIED])):
                raw = damaged(prediction.raw, rng)
                own = {"raw": raw, "example_id": str(i), "speaker": str(i // GROUP)}
                batch.append(replace(prediction, **own))
            _score(task, batch, parse, found)
            for answer in batch[:SOME]:
                _annotator(answer.raw, found)
            unreadable = [answer for answer in batch[:SOME] if parse(answer.raw) is None]
            if unreadable:
                _score(task, unreadable, parse, found, wanted=0)
            tried += found[TRIED]
            yield task, found


def _annotator(raw: str, found: Counter) -> None:
    for read in (entities.read, trace.parse):
        try:
            read(raw)
        except Exception as error:
            _fault(found, TRACEBACK, f"raised {type(error).__name__} in {read.__module__} on {raw[:200]!r}")


def _score(task: str, answers: list[Prediction], parse, found: Counter, wanted: int | None = None) -> None:
    """Score answers and count faults.

    wanted: 1 for correct answers, 0 for unreadable ones, None for others.
    """
    try:
        scored = score.score_task(task, answers, parse)
        json.dumps(scored, allow_nan=False)
    except Exception as error:
        if len(answers) > 1:  # the other answers of the batch are still tried
            half = len(answers) // 2
            for some in (answers[:half], answers[half:]):
                _score(task, some, parse, found, wanted)
            return
        _fault(found, TRACEBACK, f"raised {type(error).__name__}: {str(error)[:200]}")
        return
    if scored["n"] != len(answers):
        _fault(found, LOST, f"{len(answers)} answers, of which {scored['n']} count")
    for name, interval in scored["metrics"].items():
        metric = METRICS[name]
        of_speakers = metric.rule(np.asarray(scored["sums"][metric.counts], float))
        for value in (interval["value"], interval["low"], interval["high"], *of_speakers.tolist()):
            if not (0 <= value <= metric.most) or math.isinf(value):
                _fault(found, DIFFERENT, f"{name} is {value}")
    named = EXACT.get("slots" if task.startswith("slots") else task)
    if named and wanted is not None:
        value = scored["metrics"][named]["value"]
        if abs(value - (not wanted if METRICS[named].lower_is_better else wanted)) > 1e-9:
            right = f"{'right' if wanted else 'unreadable'} answers"
            _fault(found, DIFFERENT if wanted else FALSE_OK, f"{right}, but {named} is {value}")


def _fault(found: Counter, column: str, told: str) -> None:
    found[column] += 1
    found[told] += 1
