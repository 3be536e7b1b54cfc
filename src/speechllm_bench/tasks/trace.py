"""The text of a trace: what a model writes down before it answers (2510.19326).

    <think>caller: WHAT WAS SAID
    found: MENTION, MENTION
    SLOT: WHY IT HAS ITS VALUE
    SLOT: not said</think><response>{"SLOT": "VALUE"}</response>

Every asked slot has its line, in the order in which it was asked for.

Parts may be missing from the end, down to the bare answer, which has no tags. Whatever a model says can be
parsed: what is wrong with it is named, never raised. A missing tag is forgiven where the answer is plain
without it; an answer that is not one JSON object alone is none, as it is without a trace.
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
"""What can be wrong with the text of a trace."""


@dataclass(frozen=True)
class Trace:
    """A trace read or to be written; what a part is None of, it does not have."""

    answer: dict | None  # slot to value; None: no answer that can be read
    transcript: str | None = None
    mentions: tuple[str, ...] | None = None  # words of the transcript that may be values
    reasons: dict[str, str] | None = None  # asked slot to why it takes its value or none
    malformed: tuple[str, ...] = field(default=(), compare=False)  # of MALFORMED, each once

    @property
    def thinks(self) -> bool:
        """Whether there is a thought, readable or not."""
        parts = (self.transcript, self.mentions, self.reasons)
        return any(part is not None for part in parts) or "stray line" in self.malformed


def write(trace: Trace) -> str:
    """The text of a trace; that of an answer alone is its JSON."""
    answer = slots.target(trace.answer or {})
    if not trace.thinks:
        return answer
    lines = [] if trace.transcript is None else [f"{HEARD}: {trace.transcript}"]
    if trace.mentions is not None:
        lines.append(f"{FOUND}: {', '.join(trace.mentions) or NOTHING}")
    lines += [f"{slots.spoken_name(name)}: {why}" for name, why in (trace.reasons or {}).items()]
    return tagged("\n".join(lines), answer)


def tagged(thought: str, answer: str) -> str:
    """A thought and the answer it leads to."""
    return f"<think>{thought}</think><response>{answer}</response>"


def response(text: str) -> str:
    """The response part of a text, whatever that is; all of the text where nothing is thought."""
    thought, rest = _split(text, [])
    return _response(rest, thought is not None, []).strip()


def parse(text: str) -> Trace:
    """The readable parts of a text, with all that is wrong with it in `malformed`."""
    wrong: list[str] = []
    thought, rest = _split(text, wrong)
    if thought is not None and not thought.strip():
        thought = None  # an empty thought is how Qwen3 says that it does not think
    answer = _answer(_response(rest, thought is not None, wrong), wrong)
    transcript, mentions, reasons = _parts(thought or "", wrong)
    return Trace(answer, transcript, mentions, reasons, tuple(dict.fromkeys(wrong)))


def _split(text: str, wrong: list[str]) -> tuple[str | None, str]:
    """The thought, None where there is none, and what stands after it."""
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
    """The text in the response tags; an answer without a thought needs none."""
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
    """Transcript, mentions and reasons of a thought, each None where it is missing."""
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
            wrong.append("stray line")  # said twice, or an answer that was begun in the thought
        else:
            name = slots.written_name(label)
            if name in reasons:
                wrong.append("stray line")  # a second reason for one slot: the first one stays
            reasons.setdefault(name, content)
    return transcript, mentions, reasons or None
