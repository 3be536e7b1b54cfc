"""Finds faults of a trace by comparing it with transcript and gold answer. Training uses no wrong traces."""

from __future__ import annotations

from speechllm_bench.data.annotators import Question
from speechllm_bench.metrics import pairs
from speechllm_bench.tasks import slots
from speechllm_bench.tasks.prompt import contains
from speechllm_bench.tasks.trace import Trace
from speechllm_bench.tasks.traced_slots import ABSENT


def faults(trace: Trace, question: Question) -> list[str]:
    """Return all faults of a whole trace. A trace without faults may be used in training."""
    said, asked = question.utterance.transcript, question.example.asked
    mentions, reasons, answer = trace.mentions or (), trace.reasons or {}, pairs(trace.answer)
    gold = slots.parse(question.example.target)
    found = {
        "no transcript": not trace.transcript,
        "no mentions": trace.mentions is None,
        "asked slot without a reason": any(not reasons.get(name) for name in asked),
        "reason for a slot nobody asked for": any(name not in asked for name in reasons),
        "transcript changed": (trace.transcript or said).split() != said.split(),
        "mention not in the transcript": any(not contains(said, mention) for mention in mentions),
        "value not in the transcript": any(not contains(said, value) for value in answer.values()),
        "value not among the mentions": any(value not in mentions for value in answer.values()),
        "reason without its value": any(
            not contains(reasons[name], value) or reasons[name].startswith(ABSENT)
            for name, value in answer.items()
            if reasons.get(name)
        ),
        "reason for a value that is not answered": trace.answer is not None
        and any(why and not why.startswith(ABSENT) for name, why in reasons.items() if name not in answer),
        "answer unlike gold": trace.answer is not None and trace.answer != gold,
    }
    return [*trace.malformed, *(fault for fault, there in found.items() if there)]
