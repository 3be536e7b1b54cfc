"""SQIT, a spoken-question instruction task: the questions of `sit`, but heard and not read.

2510.15851 (Tables 1 and 7) names the task and no more; the definition is ours. Behind the turn the model
hears an instruction in another voice; the written prompt does not say what is asked. Both are one stretch
of encoder frames, so adapter, prompt and decoding are those of every other task.

`instructions` is the small fixed set of them: every wording in a few voices of each split's own, those of
the tests being heard nowhere else. It is spoken, stored and encoded as a corpus of its own
(`preparation.ensure_extra`).
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace
from functools import cache

from speechllm_bench import runs
from speechllm_bench.config import PromptStyle
from speechllm_bench.data import corpora
from speechllm_bench.data.corpora.call_centre.splits import split_named
from speechllm_bench.data.tasks import sit
from speechllm_bench.data.tasks.prompt import Wordings, user_message
from speechllm_bench.errors import UserError
from speechllm_bench.schema import Example, SlotType, Utterance

VERSION = 1
SYNTHESISED = True  # espeak-ng speaks the instructions, whoever speaks the turns
VOICES = 6  # of a split, as many accents as there can be among them
SPLITS = {"train": "train", "validation": "validation", "A-test": "test", "B-test": "test"}
"""Whose instructions a split's turns are followed by; both tests have the same speakers."""
INSTRUCTION: Wordings = {
    None: "follow the spoken instruction",
    "english": "Answer the question spoken after the caller, in a few words.",
}


def example(
    utterance: Utterance,
    slot_types: Mapping[str, SlotType],
    rng: random.Random,
    ood: bool = False,
    training: bool = False,
    *,
    style: PromptStyle | None = None,
) -> Example:
    """Ask one question aloud, in a drawn voice of the split's own."""
    asked = sit.question(utterance, slot_types, rng, details=False)
    split = _instructions_split(utterance)
    return Example(
        id=f"{utterance.id}/sqit",
        utterance_id=utterance.id,
        task="sqit",
        prompt=user_message([], INSTRUCTION[style]),
        target=asked.answer,
        asked=(asked.asks,),
        instruction=_id(split, rng.choice(speakers(split)), asked.text),
    )


parse = sit.parse


def words(instruction: str) -> str:
    """What is said in a spoken instruction, by its id; nothing where there is none."""
    return instruction.rpartition("/")[2]


def speakers(split: str) -> list[tuple[str, str]]:
    """Accent and variant of the voices that speak a split's instructions."""
    known = split_named("A-test" if split == "test" else split).speakers
    return [known[i * len(known) // VOICES] for i in range(VOICES)]


def instructions() -> dict[str, list[Utterance]]:
    """All spoken instructions by split, as utterances without slots, at the rates and noise of callers."""
    texts = [text for asks, wordings in sit.WORDINGS.items() if asks != "detail" for text in wordings]
    return {
        split: [_spoken(split, speaker, text) for speaker in speakers(split) for text in texts]
        for split in dict.fromkeys(SPLITS.values())
    }


@cache
def recipe() -> dict:
    """What the instructions are made from, as `corpora.recipe` says it of a corpus."""
    texts = {split: [u.to_json() for u in some] for split, some in instructions().items()}
    return {"corpus": "instructions", "text": runs.digest(texts), **corpora.speech_recipe()}


def _spoken(split: str, speaker: tuple[str, str], text: str) -> Utterance:
    name = _id(split, speaker, text)
    rng = random.Random(name)
    drawn = split_named("A-test" if split == "test" else split).voice(rng)
    voice = replace(drawn, accent=speaker[0], variant=speaker[1], seed=rng.getrandbits(31))
    return Utterance(
        id=name, split=split, call_id=name, turn_index=0, domain="", company="", intent="", transcript=text,
        slots=(), entities=(), sentiment="neutral", context=(), speaker=voice.speaker, voice=voice,
    )  # fmt: skip


def _id(split: str, speaker: tuple[str, str], text: str) -> str:
    return f"instructions/{split}/{speaker[0]}+{speaker[1]}/{text}"


def _instructions_split(utterance: Utterance) -> str:
    if utterance.split not in SPLITS:
        raise UserError(
            f"no instructions are spoken for turns of split '{utterance.split}'; "
            f"task sqit has them for {', '.join(SPLITS)}"
        )
    return SPLITS[utterance.split]
