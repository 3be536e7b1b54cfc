"""Settings of a corpus: its name and the sizes of its splits."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from speechllm_bench.settings.strict import Strict

CorpusName = Literal[
    "call_centre",
    "call_centre_neural",
    "slurp",
    "librispeech_slue",
    "harper_valley",
    "fluent_speech",
    "slue_hvb",
    "common_voice",
    "own",
]


class CorpusConfig(Strict):
    name: CorpusName
    sizes: dict[str, int] = Field(default_factory=dict)  # caller turns by split; empty: all turns
