"""Answerers without a model. Their scores are floors: a score that is not above them means nothing.

The chance copier copies words of the transcript, but neither hears the audio nor reads the question.
Zero-shot slot filling is compared with it (protocol, rule 2). The whole transcript as the value of every slot
shows how much credit partial match gives to such an answer (protocol, rule 12). The majority answer is that
of a classifier that has learned nothing.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence

from speechllm_bench.storage.schema import Example, Prediction, Utterance
from speechllm_bench.tasks import slots
from speechllm_bench.tasks.slots import MAX_DISTRACTORS


def whole_transcript(
    examples: Sequence[Example], utterances: Sequence[Utterance], train: Sequence[Utterance], seed: int
) -> list[Prediction]:
    """Return one prediction per example of the task `slots`: the transcript as value of every slot asked."""
    return [
        _prediction(example, utterance, slots.target(dict.fromkeys(example.asked, utterance.transcript)))
        for example, utterance in zip(examples, utterances, strict=True)
    ]


def chance_copier(
    examples: Sequence[Example], utterances: Sequence[Utterance], train: Sequence[Utterance], seed: int
) -> list[Prediction]:
    """Return one prediction per example of the task `slots`, drawn from `seed` and the example's id.

    The training turns give the share of asked slots that are filled, and the lengths of values in words. A
    slot is filled with this probability. Its value is a random span of the transcript with a drawn length.
    """
    values = [s.value.split() for u in train for s in u.slots]
    lengths = [len(value) for value in values]
    filled = len(values) / len(train)
    share = filled / (filled + (1 + MAX_DISTRACTORS) / 2)  # share of the asked slots that are filled
    return [
        _prediction(
            example,
            utterance,
            slots.target(
                _copied(example, utterance, lengths, share, random.Random(f"chance/{seed}/{example.id}"))
            ),
        )
        for example, utterance in zip(examples, utterances, strict=True)
    ]


def majority(
    examples: Sequence[Example], utterances: Sequence[Utterance], train: Sequence[Utterance], seed: int
) -> list[Prediction]:
    """Return one prediction per example of the task `sentiment`: the most common one in training turns."""
    commonest = Counter(u.sentiment for u in train if "sentiment" in u.gold).most_common(1)[0][0]
    return [
        _prediction(example, utterance, commonest)
        for example, utterance in zip(examples, utterances, strict=True)
    ]


Answerer = Callable[[Sequence[Example], Sequence[Utterance], Sequence[Utterance], int], list[Prediction]]
ANSWERERS: dict[str, Answerer] = {
    "chance_copier": chance_copier,
    "whole_transcript": whole_transcript,
    "majority": majority,
}
"""Answerers by their names in `Task.answerers`. All have the signature of `chance_copier`."""


def _copied(
    example: Example, utterance: Utterance, lengths: list[int], share: float, rng: random.Random
) -> dict[str, str]:
    words = utterance.transcript.split()
    chosen = {}
    for name in example.asked:
        if rng.random() < share:
            n = min(rng.choice(lengths), len(words))
            start = rng.randint(0, len(words) - n)
            chosen[name] = " ".join(words[start : start + n])
    return chosen


def _prediction(example: Example, utterance: Utterance, raw: str) -> Prediction:
    return Prediction(
        example_id=example.id,
        utterance_id=utterance.id,
        speaker=utterance.speaker,
        task=example.task,
        raw=raw,
        gold=example.target,
        asked=example.asked,
        n_tokens=0,
        transcript=utterance.transcript,
    )
