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

from speechllm_bench.errors import UserError
from speechllm_bench.storage.schema import Example, Prediction, Utterance
from speechllm_bench.tasks import slots
from speechllm_bench.tasks.task import predicted

Answerer = Callable[[Sequence[Example], Sequence[Utterance], Sequence[Utterance], int], list[Prediction]]
"""Takes examples, their utterances, the training utterances and a seed. Returns a prediction per example."""


def whole_transcript(
    examples: Sequence[Example], utterances: Sequence[Utterance], train: Sequence[Utterance], seed: int
) -> list[Prediction]:
    """Answer the task `slots` with the transcript as the value of every slot asked."""

    def answer(example: Example, utterance: Utterance) -> str:
        return slots.target(dict.fromkeys(example.asked, utterance.transcript))

    return _predictions(examples, utterances, answer)


def chance_copier(
    examples: Sequence[Example], utterances: Sequence[Utterance], train: Sequence[Utterance], seed: int
) -> list[Prediction]:
    """Answer the task `slots` by draws from `seed` and the example's id.

    The training turns give the share of asked slots that are filled, and the lengths of values in words. A
    slot is filled with this probability. Its value is a random span of the transcript with a drawn length.
    """
    lengths = [len(s.value.split()) for u in train for s in u.slots]
    filled = len(lengths) / len(train)
    share = filled / (filled + (1 + slots.MAX_DISTRACTORS) / 2)  # share of the asked slots that are filled

    def answer(example: Example, utterance: Utterance) -> str:
        rng, words = random.Random(f"chance/{seed}/{example.id}"), utterance.transcript.split()
        chosen = {}
        for name in example.asked:
            if rng.random() < share:
                n = min(rng.choice(lengths), len(words))
                start = rng.randint(0, len(words) - n)
                chosen[name] = " ".join(words[start : start + n])
        return slots.target(chosen)

    return _predictions(examples, utterances, answer)


def majority(
    examples: Sequence[Example], utterances: Sequence[Utterance], train: Sequence[Utterance], seed: int
) -> list[Prediction]:
    """Answer the task `sentiment` with the most common sentiment of the training turns.

    Raises UserError if no training turn has one.
    """
    counted = Counter(u.sentiment for u in train if "sentiment" in u.gold)
    if not counted:
        raise UserError(
            "no training turn has a sentiment, so none is the most common; train on another corpus"
        )
    return _predictions(examples, utterances, lambda example, utterance: counted.most_common(1)[0][0])


ANSWERERS: dict[str, Answerer] = {
    "chance_copier": chance_copier,
    "whole_transcript": whole_transcript,
    "majority": majority,
}
"""Answerers by their names in `Task.answerers`."""


def _predictions(
    examples: Sequence[Example],
    utterances: Sequence[Utterance],
    answer: Callable[[Example, Utterance], str],
) -> list[Prediction]:
    pairs = zip(examples, utterances, strict=True)
    return [predicted(example, utterance, answer(example, utterance)) for example, utterance in pairs]
