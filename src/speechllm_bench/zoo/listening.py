"""What audio-llm-mini learns from: speech to write down, spoken records to extract fields from, and text to
repeat. No question names a slot of the corpus, and every voice is the zoo split's.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from itertools import count, islice

from transformers import Qwen2AudioEncoder

from speechllm_bench import identity, paths, runs
from speechllm_bench.data import synthesis
from speechllm_bench.data.corpora import call_centre
from speechllm_bench.data.corpora.call_centre.splits import split_named
from speechllm_bench.data.frames import FrameStore, FrameWriter
from speechllm_bench.models import audio_llm
from speechllm_bench.schema import Example, Utterance
from speechllm_bench.tasks import transcription
from speechllm_bench.zoo import reading, text
from speechllm_bench.zoo.config import AudioLLMRecipe

MANNERS = {"short": reading.SHORT, "mixed": reading.MIXED}
CHUNK = 500  # utterances encoded at a time


@dataclass(frozen=True)
class Item:
    """A question and what it is about: an utterance that is heard, or a text that is read."""

    example: Example
    text: str
    spoken: Utterance | None  # None: the text is read


def items(recipe: AudioLLMRecipe) -> dict[str, list[Item]]:
    """All items of a recipe, by task; the same each time."""
    read_aloud = [
        utterance
        for manner, n in recipe.readings.items()
        for utterance in reading.read_aloud(n, recipe.seed, MANNERS[manner])
    ]
    rng = random.Random(recipe.seed)
    calls = call_centre.utterances("zoo", len(read_aloud))
    texts = [text.post_training(i, recipe.seed, calls, repeated=1.0) for i in range(recipe.repetitions)]
    return {
        "transcription": [
            Item(transcription.example(u, {}, rng, training=True), u.transcript, u) for u in read_aloud
        ],
        "extraction": _records(recipe, calls),
        "repetition": [Item(example, said, None) for example, said in texts],
    }


def _records(recipe: AudioLLMRecipe, calls: list[Utterance]) -> list[Item]:
    """Records as `text.extraction` asks for their fields, spoken; not longer than the readings are."""
    voices, found = split_named("zoo"), []
    for index in count():
        if len(found) == recipe.records:
            return found
        example, said = text.extraction(index, recipe.seed, calls, **recipe.shares())
        if len(said.split()) > reading.MIXED.longest:
            continue
        rng = random.Random(f"zoo/{recipe.seed}/spoken/{index}")
        voice = replace(voices.voice(rng), seed=rng.getrandbits(31))
        spoken = Utterance(
            example.utterance_id, "zoo", "", 0, "", "", "", said, (), (), "", (), voice.speaker, voice
        )
        found.append(Item(example, said, spoken))


def spoken_frames(
    utterances: Sequence[Utterance], tower: Qwen2AudioEncoder, encoder: str, n_workers: int
) -> FrameStore:
    """Tower frames of the utterances, spoken and encoded once and kept on disk.

    encoder: the backbone that the tower is, by whose weights they are found again.
    """
    said = [[u.transcript, asdict(u.voice)] for u in utterances]
    origin = (synthesis.SYNTHESIS_VERSION, version("espeakng-loader"), identity.backbone_hash(encoder))
    folder = paths.cache() / "zoo" / f"frames-{runs.digest(*origin, said)}"
    with runs.lock(folder):
        if not folder.is_dir():
            spoken = synthesis.speak_all(utterances, n_workers)
            with FrameWriter(folder, tower.config.d_model, {"encoder": origin[-1]}) as writer:
                while chunk := list(islice(spoken, CHUNK)):
                    for i, frames in audio_llm.encode(tower, [audio for _, audio in chunk]):
                        writer.add(chunk[i][0].id, frames)
    return FrameStore.open(folder)
