"""The evaluation of a run: its model or floor answers the test split, and the answers are scored.

Torch is imported inside the function, as in `jobs`.
"""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Set
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

from speechllm_bench.settings.config import RunConfig
from speechllm_bench.storage import runs
from speechllm_bench.storage.schema import Prediction, Utterance


@dataclass(frozen=True)
class Answered:
    """What a run's record says of its evaluation."""

    seconds: dict  # of decoding and scoring
    prompts: dict  # their lengths in tokens
    engine: dict  # another engine than the suite's own, and the share of equal answers; else empty


def asked(config: RunConfig, corpus, only: Set[str] | None = None) -> list[tuple[Utterance, Utterance]]:
    """Return pairs of a turn that is asked about and the turn that is heard, in the order of the split.

    They are the split's turns with gold for the task. The control with the wrong audio hears a turn half the
    split away: of another call, the same in every run. only: ids of turns to ask about; None: all.
    """
    from speechllm_bench.data import questions

    evaluation = config.evaluation
    turns = questions.with_gold(corpus.utterances(evaluation.split), [evaluation.task])
    half = len(turns) // 2 if evaluation.audio == "other" else 0
    pairs = zip(turns, turns[half:] + turns[:half], strict=True)
    return [(turn, heard) for turn, heard in pairs if only is None or turn.id in only]


def evaluate(
    config: RunConfig, model, tokenizer, corpus, data, folder: Path, progress, only: Set[str] | None = None
) -> Answered:
    """Decode and score the evaluation split, and write predictions and score to `folder`.

    only: ids of the turns to answer; None: all.
    """
    from speechllm_bench.data import questions
    from speechllm_bench.evaluation import answerers, score
    from speechllm_bench.models.inputs import prompt_tokens

    evaluation = config.evaluation
    began = time.perf_counter()
    pairs = asked(config, corpus, only)
    utterances, heard = [turn for turn, _ in pairs], [other for _, other in pairs]
    ood = evaluation.slot_types == "out_of_domain"
    examples = [
        questions.evaluation_example(
            u, data.slot_types, evaluation.task, ood, config.prompt, **evaluation.asking
        )
        for u in utterances
    ]
    engine: dict = {}
    if evaluation.answerer == "model":
        predictions, engine = _decoded(config, model, tokenizer, data, examples, utterances, heard, progress)
    else:
        answer = answerers.ANSWERERS[evaluation.answerer]
        predictions = answer(examples, utterances, data.train, config.seed)
    decoded = time.perf_counter()
    progress("score", 0.9)
    parse = score.parser(evaluation.task, evaluation.wording, data.slot_types)
    scored = score.score_task(evaluation.task, predictions, parse)
    with gzip.GzipFile(folder / "predictions.jsonl.gz", "wb", mtime=0) as file:
        for prediction in predictions:
            file.write(json.dumps(prediction.to_json(), ensure_ascii=False).encode() + b"\n")
    runs.write_json(folder / "score.json", scored)
    seconds = {"decode": decoded - began, "score": time.perf_counter() - decoded}
    return Answered(seconds, asdict(prompt_tokens(tokenizer, examples, config.hears)), engine)


def _decoded(
    config: RunConfig, model, tokenizer, data, examples, utterances, heard, progress
) -> tuple[list[Prediction], dict]:
    """Return the model's answers, and for another engine than the suite's own its name and agreement."""
    from speechllm_bench.models.decoding import decode

    evaluation = config.evaluation
    told = {
        **data.heard(heard, evaluation.text, examples),
        "batch_size": evaluation.batch_size,
        "max_new_tokens": evaluation.trace_tokens or evaluation.max_new_tokens,
        "progress": lambda share: progress("decode", 0.9 * share),
    }
    progress("decode", 0.0)  # batches are large, and the first one may take minutes
    if not evaluation.engine:
        return decode(model, tokenizer, examples, utterances, **told, beams=evaluation.beams or 1), {}
    from speechllm_bench.models.vllm_engine import decode_by_vllm

    predictions, agreement = decode_by_vllm(model, tokenizer, examples, utterances, **told)
    named = f"{evaluation.engine} {version(evaluation.engine)}"
    return predictions, {"engine": named, "engine_agreement": round(agreement, 4)}
