"""The score of slot answers with traces (2510.19326): that of `slots` from the response part, and what the
trace costs, whether it comes when asked for, and whether the answer's values stand in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from speechllm_bench.data.tasks import trace
from speechllm_bench.data.tasks.prompt import contains
from speechllm_bench.data.tasks.trace import MALFORMED, Trace
from speechllm_bench.data.tasks.traced_slots import TracedSlots
from speechllm_bench.evaluation import score
from speechllm_bench.metrics import pairs, wer
from speechllm_bench.schema import Prediction


def score_traced_slots(predictions: Sequence[Prediction], form: TracedSlots) -> dict:
    """`score.score_slots`, and over all answers unless said otherwise:

    trace_tokens: mean length of the traces that there are, of `tokens` in all. obedience: share in the mode
    that `form` asks for. trace_wer: word errors of the traces' transcripts, where there is one.
    faithfulness: of the answers with a transcript in their trace and at least one value, the share whose
    values all occur in it. grounding: of the answers with reasons and at least one value, the share in which
    every value stands in the reason of its own slot. malformed: share with anything wrong; by kind in
    `malformed_kinds`.
    """
    read = [trace.parse(p.raw) for p in predictions]
    counts = {
        "thought": [(p.trace_tokens * t.thinks, t.thinks) for p, t in zip(predictions, read, strict=True)],
        "obeyed": [(t.thinks == form.thinks, 1) for t in read],
        "heard": [_word_errors(p.transcript, t) for p, t in zip(predictions, read, strict=True)],
        "faithful": [faithful(t) for t in read],
        "grounded": [grounded(t) for t in read],
        "malformed": [(bool(t.malformed), 1) for t in read],
    }
    kinds = Counter(kind for t in read for kind in t.malformed)
    scored = score.score_slots(predictions, form.parse, counts)
    return scored | {"malformed_kinds": {kind: kinds[kind] for kind in MALFORMED}}


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
