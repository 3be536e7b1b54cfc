"""Answerers without a model: what a number has to be above before it means anything.

The chance copier copies, but neither listens nor reads what is asked (protocol, rule 2: what zero-shot slot
filling is compared with). The whole transcript as every slot's value shows what partial match gives away
(protocol, rule 12). The majority answer is what a classifier that has learned nothing gets.
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
    """One prediction an example of the task `slots`: all that was said, for every slot asked."""
    return [
        _prediction(example, utterance, slots.target(dict.fromkeys(example.asked, utterance.transcript)))
        for example, utterance in zip(examples, utterances, strict=True)
    ]


def chance_copier(
    examples: Sequence[Example], utterances: Sequence[Utterance], train: Sequence[Utterance], seed: int
) -> list[Prediction]:
    """One prediction an example of the task `slots`, drawn from `seed` and the example alone.

    It knows how often an asked slot is filled and how many words a value has, both from the training turns,
    and copies a run of the transcript of such a length.
    """
    values = [s.value.split() for u in train for s in u.slots]
    lengths = [len(value) for value in values]
    filled = len(values) / len(train)
    share = filled / (filled + (1 + MAX_DISTRACTORS) / 2)  # of the slots asked
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
    """One prediction an example of the task `sentiment`: the sentiment that most training turns have."""
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
"""Answerers by the names that tasks list them by; they take what `chance_copier` takes."""


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
