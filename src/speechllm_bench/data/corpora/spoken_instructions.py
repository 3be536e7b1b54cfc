"""Spoken instructions of tasks, in a few voices. Each split has its own voices.

The voices of the tests occur nowhere else. The instructions are spoken, stored and encoded as a corpus of
their own (`preparation.ensure_extra`).
"""

from __future__ import annotations

import random
from dataclasses import replace
from functools import cache

from speechllm_bench.data import corpora
from speechllm_bench.data.corpora.call_centre.splits import split_named
from speechllm_bench.errors import UserError
from speechllm_bench.storage import runs
from speechllm_bench.storage.schema import Utterance
from speechllm_bench.tasks import TASKS

VOICES = 6  # per split, with as many different accents as possible
SPLITS = {"train": "train", "validation": "validation", "A-test": "test", "B-test": "test"}
"""Split of the instructions for the turns of each split. Both tests have the same speakers."""


def voiced(text: str, split: str, rng: random.Random) -> str:
    """Return the id of an instruction in a drawn voice, for a turn of this split."""
    if split not in SPLITS:
        raise UserError(
            f"no instructions are spoken for turns of split '{split}'; there are some for {', '.join(SPLITS)}"
        )
    return _id(SPLITS[split], rng.choice(speakers(SPLITS[split])), text)


def instruction_words(instruction: str) -> str:
    """Return the words of a spoken instruction from its id; "" for an empty id."""
    return instruction.rpartition("/")[2]


def speakers(split: str) -> list[tuple[str, str]]:
    known = split_named("A-test" if split == "test" else split).speakers
    return [known[i * len(known) // VOICES] for i in range(VOICES)]


def instruction_texts() -> list[str]:
    return list(dict.fromkeys(text for task in TASKS.values() for text in task.instructions))


def utterances() -> dict[str, list[Utterance]]:
    """Return all spoken instructions by split, as utterances with the rates and noise of callers."""
    return {
        split: [_spoken(split, speaker, text) for speaker in speakers(split) for text in instruction_texts()]
        for split in dict.fromkeys(SPLITS.values())
    }


@cache
def recipe() -> dict:
    """Return what the instructions are made from, in the form of `corpora.recipe`."""
    said = {split: [u.hashed() for u in some] for split, some in utterances().items()}
    return {"corpus": "instructions", "text": runs.digest(said), **corpora.speech_recipe()}


def _spoken(split: str, speaker: tuple[str, str], text: str) -> Utterance:
    name = _id(split, speaker, text)
    rng = random.Random(name)
    drawn = split_named("A-test" if split == "test" else split).voice(rng)
    voice = replace(drawn, accent=speaker[0], variant=speaker[1], seed=rng.getrandbits(31))
    return Utterance(
        name, split, name, transcript=text, sentiment="neutral", speaker=voice.speaker, voice=voice
    )


def _id(split: str, speaker: tuple[str, str], text: str) -> str:
    return f"instructions/{split}/{speaker[0]}+{speaker[1]}/{text}"
