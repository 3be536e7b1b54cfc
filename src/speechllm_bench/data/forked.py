"""A process that speaks. A forked child answers each request, so that no utterance depends on another.

Synthesisers keep state between utterances: espeak-ng that of its voice, onnxruntime that of its random
generators. The parent loads the synthesiser and never speaks, so every child starts from the same state. The
process imports only this module and the synthesiser, since forking a process with torch threads is unsafe.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from functools import cache, partial
from typing import Protocol

from speechllm_bench.errors import UserError
from speechllm_bench.storage.schema import Voice


class Speaker(Protocol):
    """A loaded synthesiser. A process calls `speak` only once."""

    def speak(self, transcript: str, voice: Voice) -> bytes:
        """Return 16-bit samples at the synthesiser's own rate. Raises UserError if it cannot speak this."""


def serve(load: Callable[[], Speaker]) -> None:
    speaker = cache(partial(_loaded, load))
    answer(lambda transcript, voice, _: _speak_in_child(speaker(), transcript, voice))


def answer(speak: Callable[[str, Voice, str | None], bytes]) -> None:
    """Answer requests until standard input closes. Ctrl-C is left to the parent process.

    A request is a line of JSON with `transcript`, `voice` and perhaps `clips`, the arguments of `speak`. The
    answer is a line of JSON: {"bytes": n}, followed by n bytes of 16-bit samples, or {"error": sentence}.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # the process ends silently when the parent closes the pipe
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # text that the library prints must not mix with the samples
    for line in sys.stdin.buffer:
        request = json.loads(line)
        try:
            samples = speak(request["transcript"], Voice(**request["voice"]), request.get("clips"))
            answers.write(json.dumps({"bytes": len(samples)}).encode() + b"\n" + samples)
        except UserError as error:
            answers.write(json.dumps({"error": str(error)}).encode() + b"\n")
        answers.flush()


def _loaded(load: Callable[[], Speaker]) -> Speaker:
    if not hasattr(os, "fork"):
        raise UserError("synthesis needs Linux or macOS (it forks): on Windows, run it under WSL")
    return load()


def _speak_in_child(speaker: Speaker, transcript: str, voice: Voice) -> bytes:
    """Return 16-bit samples. A forked child speaks, so the synthesiser of this process stays unused."""
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        status = 2
        try:
            os.close(read_end)
            with os.fdopen(write_end, "wb") as pipe:
                try:
                    pipe.write(speaker.speak(transcript, voice))
                    status = 0
                except UserError as error:
                    pipe.write(str(error).encode())
                    status = 1
        finally:
            os._exit(status)
    os.close(write_end)
    with os.fdopen(read_end, "rb") as pipe:
        payload = pipe.read()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status == 1:
        raise UserError(payload.decode())
    if status != 0:
        raise RuntimeError(f'the synthesiser failed (status {status}) on "{transcript}" with {voice}')
    return payload
