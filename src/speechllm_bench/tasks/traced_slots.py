"""Slot filling with a trace (2510.19326): think first, then the JSON of the task `slots`.

Scored are the response part as `slots` scores it, and of the trace what it costs, whether it comes when asked
for, and whether the answer's values stand in it.

The question is that of `slots`, word for word, so the same turn can be asked in every form. Below it, prompts
in English say in a sentence what the trace holds; the terse ones leave that to the examples.

Hybrid supervision is a mixture of `slots_think` and `slots_no_think`: each turn once, in a drawn mode, with a
switch as the last line of the prompt. The switch is that of Qwen3; other LLMs learn it from the examples.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from speechllm_bench.metrics import pairs, quotient, wer
from speechllm_bench.storage.schema import Example, Prediction, Utterance
from speechllm_bench.tasks import slots
from speechllm_bench.tasks.metric import RATIO, TOKENS, Metric
from speechllm_bench.tasks.prompt import PromptStyle, Wordings, contains
from speechllm_bench.tasks.task import Counted, Draw, Parse, Task
from speechllm_bench.tasks.trace import MALFORMED, Trace
from speechllm_bench.tasks.trace import parse as parse_trace
from speechllm_bench.tasks.trace import write as write_trace

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

    @property
    def thinks(self) -> bool:
        return self.last is not None

    def example(self, utterance: Utterance, draw: Draw) -> Example:
        """The question of `slots` from the same draws; its id as well, since answers to both are compared."""
        plain = slots.example(utterance, draw)
        return self.put(plain, gold_trace(utterance, plain, draw.rng), draw.style)

    def below(self, style: PromptStyle | None) -> str:
        """Lines below the question of `slots`, with the line breaks before it."""
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
            task=slots.NAME,
            prompt=example.prompt.removesuffix(max(there, key=len, default="")),
            target=slots.target(self.parse(example.target) or {}),
        )

    def cut(self, trace: Trace) -> Trace:
        """The trace as far as this form goes."""
        kept = PARTS[: PARTS.index(self.last) + 1] if self.last else ()
        cut: dict[str, Any] = {part: None for part in PARTS if part not in kept}
        return replace(trace, **cut)

    @staticmethod
    def parse(raw: str) -> dict | None:
        """Slot-value pairs of the response part; None if it is not one JSON object alone."""
        return parse_trace(raw).answer

    def count(self, predictions: Sequence[Prediction], parse: Parse) -> Counted:
        """The counts of `slots` of the response part, and of traces what `METRICS` are made of.

        How many answers were malformed in which way is in `malformed_kinds`.
        """
        read = [parse_trace(p.raw) for p in predictions]
        both = list(zip(predictions, read, strict=True))
        counts: dict[str, list] = {
            "thought": [(p.trace_tokens * t.thinks, t.thinks) for p, t in both],
            "obeyed": [(t.thinks == self.thinks, 1) for t in read],
            "heard": [_word_errors(p.transcript, t) for p, t in both],
            "faithful": [faithful(t) for t in read],
            "grounded": [grounded(t) for t in read],
            "malformed": [(bool(t.malformed), 1) for t in read],
        }
        kinds = Counter(kind for t in read for kind in t.malformed)
        of_slots = slots.count(predictions, parse)
        return Counted(
            of_slots.counts | counts,
            of_slots.versions,
            of_slots.further | {"malformed_kinds": {kind: kinds[kind] for kind in MALFORMED}},
        )


FORMS = {
    form.name: form
    for form in (
        TracedSlots("slots_transcript", last="transcript"),
        TracedSlots("slots_mentions", last="mentions"),
        TracedSlots("slots_reasoning"),
        TracedSlots("slots_no_think", last=None, switch="/no_think"),
        TracedSlots("slots_think", switch="/think"),
    )
}
SWITCHED = {name: form.switch for name, form in FORMS.items() if form.switch}
"""The switch of both modes of a hybrid, by the task's name."""


def gold_trace(utterance: Utterance, example: Example, rng: random.Random) -> Trace:
    """The whole trace of a question of the task `slots`, from gold, in words drawn from `rng`.

    Right by construction. It is about four times as long as what was said: the embedded LLM is small.
    The mentions are all values of the turn, those that nobody asks for included.
    """
    answer = slots.parse(example.target)
    assert answer is not None, "gold can be read"
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


def faithful(said: Trace) -> tuple[int, int]:
    """(1, 1) if all values occur in the trace's own transcript, (0, 1) if one does not, (0, 0) if there is
    nothing to compare."""
    values = pairs(said.answer).values()
    if said.transcript is None or not values:
        return 0, 0
    heard = said.transcript.lower()
    return int(all(contains(heard, value.lower()) for value in values)), 1


def grounded(said: Trace) -> tuple[int, int]:
    """(1, 1) if every value stands in the reason of its slot, (0, 1) if one does not, (0, 0) if there is
    nothing to compare."""
    values = pairs(said.answer)
    if said.reasons is None or not values:
        return 0, 0
    return int(all(contains(said.reasons.get(s, "").lower(), v.lower()) for s, v in values.items())), 1


def _word_errors(transcript: str, said: Trace) -> tuple[float, float]:
    return (0, 0) if said.transcript is None else wer.word_counts(transcript, said.transcript)


METRICS = (
    *slots.METRICS,
    # Of the traces that there are.
    Metric("trace_tokens", "Tokens a trace", "thought", quotient, unit=TOKENS, lower_is_better=True),
    # Of the answers: with a trace where it is asked for, or without.
    Metric("obedience", "In the mode asked for", "obeyed", quotient),
    # Of the traces' transcripts, where there is one.
    Metric("trace_wer", "WER of the transcript", "heard", wer.rate, unit=RATIO, lower_is_better=True),
    # Of the answers with a value and a transcript in their trace: those whose values all occur in it.
    Metric("faithfulness", "Values occur in its transcript", "faithful", quotient),
    # Of the answers with a value and reasons: those whose values stand each in the reason of its own slot.
    Metric("grounding", "Values stand in their reasons", "grounded", quotient),
    # Of the answers: anything wrong in the form.
    Metric("malformed", "Malformed", "malformed", quotient, lower_is_better=True),
)

TASKS = tuple(
    Task(
        form.name,
        VERSION,
        form.example,
        form.parse,
        form.count,
        METRICS,
        main=slots.F1,
        gold=("slots",),
        error_kinds=slots.error_kinds,
        put=form.put,
        traced=True,
        thinks=form.thinks,
        plain=form.plain,
    )
    for form in FORMS.values()
)
