"""Reads and writes traces: the text that a model writes before its answer (2510.19326).

    <think>caller: WHAT WAS SAID
    found: MENTION, MENTION
    SLOT: WHY IT HAS ITS VALUE
    SLOT: not said</think><response>{"SLOT": "VALUE"}</response>

Every slot in the question has a line, in the order of the question.

The last parts of a trace may be missing. The answer alone has no tags. The parser accepts any text: it lists
faults and raises no error. A missing tag does not matter if the answer is clear without it. An answer that is
not exactly one JSON object counts as no answer, as without a trace.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from speechllm_bench.tasks import slots

HEARD, FOUND, NOTHING = "caller", "found", "nothing"
MALFORMED = (
    "think not opened",
    "think not closed",
    "response not opened",
    "response not closed",
    "two responses",
    "two answers",
    "broken answer",
    "no answer",
    "text around the answer",
    "text behind",
    "stray line",
)
"""Faults that the text of a trace can have."""


@dataclass(frozen=True)
class Trace:
    """A parsed trace, or one to be written. A part that is None is missing."""

    answer: dict | None  # slot -> value; None: no readable answer
    transcript: str | None = None
    mentions: tuple[str, ...] | None = None  # words of the transcript that may be values
    reasons: dict[str, str] | None = None  # slot of the question -> reason for its value or for having none
    malformed: tuple[str, ...] = field(default=(), compare=False)  # faults of MALFORMED, each once

    @property
    def thinks(self) -> bool:
        """Whether there is a thought (the text between the think tags), readable or not."""
        parts = (self.transcript, self.mentions, self.reasons)
        return any(part is not None for part in parts) or "stray line" in self.malformed


def write(trace: Trace) -> str:
    """Return the text of a trace. Without a thought it is the answer's JSON."""
    answer = slots.target(trace.answer or {})
    if not trace.thinks:
        return answer
    lines = [] if trace.transcript is None else [f"{HEARD}: {trace.transcript}"]
    if trace.mentions is not None:
        lines.append(f"{FOUND}: {', '.join(trace.mentions) or NOTHING}")
    lines += [f"{slots.spoken_name(name)}: {why}" for name, why in (trace.reasons or {}).items()]
    return tagged("\n".join(lines), answer)


def tagged(thought: str, answer: str) -> str:
    """Return a thought and its answer, both in their tags."""
    return f"<think>{thought}</think><response>{answer}</response>"


def response(text: str) -> str:
    """Return the response part of a text, valid or not; the whole text if there is no thought."""
    thought, rest = _split(text, [])
    return _response(rest, thought is not None, []).strip()


def parse(text: str) -> Trace:
    """Return the readable parts of a text, with its faults in `malformed`."""
    wrong: list[str] = []
    thought, rest = _split(text, wrong)
    if thought is not None and not thought.strip():
        thought = None  # Qwen3 writes an empty thought when thinking is off
    answer = _answer(_response(rest, thought is not None, wrong), wrong)
    transcript, mentions, reasons = _parts(thought or "", wrong)
    return Trace(answer, transcript, mentions, reasons, tuple(dict.fromkeys(wrong)))


def _split(text: str, wrong: list[str]) -> tuple[str | None, str]:
    """Return the thought, or None, and the text after it. Appends faults to `wrong`."""
    before, opened, after = text.partition("<think>")
    if not opened and "</think>" not in text:
        return None, text
    if not opened:
        wrong.append("think not opened")
        before, after = "", text
    if before.strip():
        wrong.append("text around the answer")
    thought, closed, rest = after.partition("</think>")
    if not closed:
        wrong.append("think not closed")
        thought, tag, rest = after.partition("<response>")
        rest = tag + rest
    return thought, rest


def _response(rest: str, thought: bool, wrong: list[str]) -> str:
    """Return the text in the response tags, which an answer without a thought need not have."""
    before, opened, after = rest.partition("<response>")
    if not opened:
        before, after = "", rest
        if thought and rest.strip():
            wrong.append("response not opened")
    inside, closed, behind = after.partition("</response>")
    if opened and not closed:
        wrong.append("response not closed")
    if "<response>" in behind:
        wrong.append("two responses")
        return ""
    if behind.strip():
        wrong.append("text behind")
    if before.strip():
        wrong.append("text around the answer")
    return inside


def _answer(inside: str, wrong: list[str]) -> dict | None:
    answer = slots.parse(inside)
    if answer is not None or "two responses" in wrong:
        return answer
    objects = [o for o in re.findall(r"\{[^{}]*\}", inside) if slots.parse(o) is not None]
    if len(objects) > 1:
        wrong.append("two answers")
    elif objects:
        wrong.append("text around the answer")
    else:
        wrong.append("broken answer" if "{" in inside else "no answer")
    return None


def _parts(thought: str, wrong: list[str]) -> tuple[str | None, tuple[str, ...] | None, dict | None]:
    """Return transcript, mentions and reasons of a thought; each is None if missing."""
    transcript, mentions = None, None
    reasons: dict[str, str] = {}
    for line in thought.splitlines():
        label, colon, content = (part.strip() for part in line.partition(":"))
        if not line.strip():
            continue
        if not colon:
            wrong.append("stray line")
        elif label == HEARD and transcript is None:
            transcript = content
        elif label == FOUND and mentions is None:
            mentions = () if content == NOTHING else tuple(m.strip() for m in content.split(",") if m.strip())
        elif label in (HEARD, FOUND) or label.startswith(("{", '"')):
            wrong.append("stray line")  # a repeated line, or an answer inside the thought
        else:
            name = slots.written_name(label)
            if name in reasons:
                wrong.append("stray line")  # a second reason for one slot: the first one is kept
            reasons.setdefault(name, content)
    return transcript, mentions, reasons or None
