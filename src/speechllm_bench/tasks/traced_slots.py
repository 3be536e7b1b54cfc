"""Slot filling with a trace (2510.19326): the model writes a trace, then the JSON of the task `slots`.

The response part is scored like an answer to `slots`. The metrics of the trace are its length in tokens,
whether it is present when asked for, and whether it contains the answer's values.

The question is that of `slots`, word for word, so a turn can be asked in every form. Prompts in English add a
sentence that describes the trace. With terse prompts the model learns the form from the training examples.

Hybrid supervision is a mixture of `slots_think` and `slots_no_think`. Each turn is asked once, in a drawn
mode, with a switch as the last line of the prompt. The switch is Qwen3's; other LLMs learn it in training.
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
"""Reasons for a slot without a value, in varied words."""

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
"""Line below the question of `slots`, by the trace's last part and the prompt style; "" is no line."""


@dataclass(frozen=True)
class TracedSlots:
    """A form of the task: the last part of its trace, and the switch in its prompt."""

    name: str
    last: Part | None = "reasons"  # the trace's last part; None: no trace
    switch: str = ""

    @property
    def thinks(self) -> bool:
        return self.last is not None

    def example(self, utterance: Utterance, draw: Draw) -> Example:
        """Return the question that `slots` draws, in this form. It keeps the id, to compare the answers."""
        plain = slots.example(utterance, draw)
        return self.put(plain, gold_trace(utterance, plain, draw.rng), draw.style)

    def below(self, style: PromptStyle | None) -> str:
        """Return the lines below the question of `slots`, each with a line break before it."""
        lines = INSTRUCTION[self.last][style], self.switch
        return "".join(f"\n{line}" for line in lines if line)

    def put(self, plain: Example, trace: Trace, style: PromptStyle | None = None) -> Example:
        """Return a question of `slots` with its whole trace, in this form."""
        return replace(
            plain,
            task=self.name,
            prompt=plain.prompt + self.below(style),
            target=write_trace(self.cut(trace)),
        )

    def plain(self, example: Example) -> Example:
        """Return the same question in the form of `slots`."""
        there = [below for style in _STYLES if example.prompt.endswith(below := self.below(style))]
        return replace(
            example,
            task=slots.NAME,
            prompt=example.prompt.removesuffix(max(there, key=len, default="")),
            target=slots.target(self.parse(example.target) or {}),
        )

    def cut(self, trace: Trace) -> Trace:
        """Return the trace without the parts that this form does not have."""
        kept = PARTS[: PARTS.index(self.last) + 1] if self.last else ()
        cut: dict[str, Any] = {part: None for part in PARTS if part not in kept}
        return replace(trace, **cut)

    @staticmethod
    def parse(raw: str) -> dict | None:
        """Return the slot-value pairs of the response part; None if it is not exactly one JSON object."""
        return parse_trace(raw).answer

    def count(self, predictions: Sequence[Prediction], parse: Parse) -> Counted:
        """Return the counts of `slots` on the response parts, and the counts that the traces' metrics need.

        `malformed_kinds` holds the number of answers by each fault of their form.
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
"""Switch in the prompt of the two modes of hybrid supervision, by the task's name."""


def gold_trace(utterance: Utterance, example: Example, rng: random.Random) -> Trace:
    """Return the whole trace of a question of the task `slots`, made from gold, in words drawn from `rng`.

    The trace is correct by construction. It is about four times as long as the transcript, since the embedded
    LLM is small. The mentions are all values of the turn, including those of slots that are not asked for.
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
    """Return a reason for a value: the value with the word before or after it."""
    reasons = [f"{value} after {word}" for word in before.split()[-1:]]
    reasons += [f"{value} before {word}" for word in behind.split()[:1]]
    return rng.choice(reasons or [f"{value} alone"])


def faithful(said: Trace) -> tuple[int, int]:
    """Return (1, 1) if all values occur in the trace's own transcript, (0, 1) if one does not.

    Without a transcript or values it returns (0, 0), which no rate counts.
    """
    values = pairs(said.answer).values()
    if said.transcript is None or not values:
        return 0, 0
    heard = said.transcript.lower()
    return int(all(contains(heard, value.lower()) for value in values)), 1


def grounded(said: Trace) -> tuple[int, int]:
    """Return (1, 1) if every value occurs in the reason of its slot, (0, 1) if one does not.

    Without reasons or values it returns (0, 0), which no rate counts.
    """
    values = pairs(said.answer)
    if said.reasons is None or not values:
        return 0, 0
    return int(all(contains(said.reasons.get(s, "").lower(), v.lower()) for s, v in values.items())), 1


def _word_errors(transcript: str, said: Trace) -> tuple[float, float]:
    return (0, 0) if said.transcript is None else wer.word_counts(transcript, said.transcript)


METRICS = (
    *slots.METRICS,
    # Mean over the answers with a trace.
    Metric("trace_tokens", "Tokens a trace", "thought", quotient, unit=TOKENS, lower_is_better=True),
    # Share of the answers that have a trace exactly when they should.
    Metric("obedience", "In the mode asked for", "obeyed", quotient),
    # Over the traces with a transcript.
    Metric("trace_wer", "WER of the transcript", "heard", wer.rate, unit=RATIO, lower_is_better=True),
    # Among answers with a value and a transcript in the trace: share whose values all occur in it.
    Metric("faithfulness", "Values occur in its transcript", "faithful", quotient),
    # Among answers with a value and reasons: share whose values all occur in the reason of their own slot.
    Metric("grounding", "Values stand in their reasons", "grounded", quotient),
    # Share of the answers with any fault of form.
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
