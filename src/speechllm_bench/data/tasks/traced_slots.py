"""Slot filling with a trace (2510.19326): think first, then the JSON of the task `slots`.

The question is that of `slots`, word for word, so the same turn can be asked in every form. Below it, prompts
in English say in a sentence what the trace holds; the terse ones leave that to the examples.

Hybrid supervision is a mixture of `slots_think` and `slots_no_think`: each turn once, in a drawn mode, with a
switch as the last line of the prompt. The switch is that of Qwen3; other LLMs learn it from the examples.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, get_args

from speechllm_bench.config import PromptStyle
from speechllm_bench.data.tasks import slots
from speechllm_bench.data.tasks.prompt import Wordings
from speechllm_bench.data.tasks.trace import Trace
from speechllm_bench.data.tasks.trace import parse as parse_trace
from speechllm_bench.data.tasks.trace import write as write_trace
from speechllm_bench.schema import Example, SlotType, Utterance

VERSION = 3

ABSENT = ("not said", "not there", "nobody says")
"""Why a slot has no value, in varied words."""

Part = Literal["transcript", "mentions", "reasons"]
PARTS: tuple[Part, ...] = ("transcript", "mentions", "reasons")

_STYLES: tuple[PromptStyle | None, ...] = (None, *get_args(PromptStyle))
_STEPS = "First write {} in <think></think>, then the JSON in <response></response>."
INSTRUCTION: dict[Part | None, Wordings] = {
    None: dict.fromkeys(_STYLES, ""),
    "transcript": {None: "", "english": _STEPS.format("the caller's words")},
    "mentions": {None: "", "english": _STEPS.format("the caller's words and all possible values")},
    "reasons": {
        None: "",
        "english": _STEPS.format("the caller's words, all possible values and a reason for each key"),
    },
}
"""The line below the question of `slots`, by the trace's last part and the style; "" is none."""


@dataclass(frozen=True)
class TracedSlots:
    """A form of the task: how far the trace goes, and the switch that asks for it."""

    name: str
    last: Part | None = "reasons"  # the trace's last part; None: no trace
    switch: str = ""
    VERSION: int = VERSION

    @property
    def thinks(self) -> bool:
        return self.last is not None

    def example(
        self,
        utterance: Utterance,
        slot_types: Mapping[str, SlotType],
        rng: random.Random,
        ood: bool = False,
        training: bool = False,
        *,
        style: PromptStyle | None = None,
    ) -> Example:
        """The question of `slots` from the same draws; its id as well, since answers to both are compared."""
        plain = slots.example(utterance, slot_types, rng, ood, training, style=style)
        return self.put(plain, gold_trace(utterance, plain, rng), style)

    def below(self, style: PromptStyle | None) -> str:
        """What stands below the question of `slots`, with the line breaks before it."""
        lines = INSTRUCTION[self.last][style], self.switch
        return "".join(f"\n{line}" for line in lines if line)

    def put(self, plain: Example, trace: Trace, style: PromptStyle | None = None) -> Example:
        """A question of `slots` with its whole trace, in this form."""
        return replace(
            plain,
            task=self.name,
            prompt=plain.prompt + self.below(style),
            target=write_trace(self.cut(trace)),
        )

    def plain(self, example: Example) -> Example:
        """The same question as `slots` puts it."""
        there = [below for style in _STYLES if example.prompt.endswith(below := self.below(style))]
        return replace(
            example,
            task="slots",
            prompt=example.prompt.removesuffix(max(there, key=len, default="")),
            target=slots.target(self.parse(example.target)),
        )

    def cut(self, trace: Trace) -> Trace:
        """The trace as far as this form goes."""
        kept = PARTS[: PARTS.index(self.last) + 1] if self.last else ()
        return replace(trace, **{part: None for part in PARTS if part not in kept})

    @staticmethod
    def parse(raw: str) -> dict | None:
        """Slot-value pairs of the response part; None if it is not one JSON object alone."""
        return parse_trace(raw).answer


FORMS = {
    form.name: form
    for form in (
        TracedSlots("slots_transcript", last="transcript"),
        TracedSlots("slots_mentions", last="mentions"),
        TracedSlots("slots_reasoning"),
        TracedSlots("slots_think", switch="/think"),
        TracedSlots("slots_no_think", last=None, switch="/no_think"),
    )
}


def gold_trace(utterance: Utterance, example: Example, rng: random.Random) -> Trace:
    """The whole trace of a question of the task `slots`, from gold, in words drawn from `rng`.

    Right by construction. It is about four times as long as what was said: the embedded LLM is small.
    The mentions are all values of the turn, those that nobody asks for included.
    """
    answer = slots.parse(example.target)
    spans = sorted(utterance.slots, key=lambda span: span.start)
    because = {
        span.slot: _because(
            span.value, utterance.transcript[: span.start], utterance.transcript[span.end :], rng
        )
        for span in spans
    }
    absent = rng.choice(ABSENT)
    reasons = {name: because[name] if name in answer else absent for name in example.asked}
    return Trace(answer, utterance.transcript, tuple(dict.fromkeys(s.value for s in spans)), reasons)


def _because(value: str, before: str, behind: str, rng: random.Random) -> str:
    """A value with a word that stands beside it."""
    reasons = [f"{value} after {word}" for word in before.split()[-1:]]
    reasons += [f"{value} before {word}" for word in behind.split()[:1]]
    return rng.choice(reasons or [f"{value} alone"])
