"""A process that speaks: each request is answered by a forked child, so that no utterance depends on another.

Synthesisers carry state from one utterance to the next (espeak-ng its voice's, onnxruntime its random
generators'). A child of a process that has loaded the synthesiser and spoken nothing always starts from the
same state. Only this module and the synthesiser are imported: forking a process in which torch runs threads
is unsafe.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from typing import Protocol

from speechllm_bench.errors import UserError
from speechllm_bench.storage.schema import Voice


class Speaker(Protocol):
    """A loaded synthesiser. `speak` is called once in the life of a process."""

    def speak(self, transcript: str, voice: Voice) -> bytes:
        """16-bit samples at the synthesiser's own rate; UserError where it cannot say this."""


def serve(load: Callable[[], Speaker]) -> None:
    """Answer requests until standard input closes; the whole life of a speaking process.

    A request is a line of JSON with `transcript` and `voice`. The answer is a line of JSON: {"bytes": n},
    followed by n bytes of 16-bit samples, or {"error": sentence}.
    """
    end_with_the_asker()
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # nothing the library prints may end up among the samples
    speaker = None
    for line in sys.stdin.buffer:
        request = json.loads(line)
        try:
            speaker = speaker or _loaded(load)
            samples = _speak_in_child(speaker, request["transcript"], Voice(**request["voice"]))
            answers.write(json.dumps({"bytes": len(samples)}).encode() + b"\n" + samples)
        except UserError as error:
            answers.write(json.dumps({"error": str(error)}).encode() + b"\n")
        answers.flush()


def end_with_the_asker() -> None:
    """Leave Ctrl-C to whoever asks, and end without a word once nobody listens."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)


def _loaded(load: Callable[[], Speaker]) -> Speaker:
    if not hasattr(os, "fork"):
        raise UserError("synthesis needs Linux or macOS (it forks): on Windows, run it under WSL")
    return load()


def _speak_in_child(speaker: Speaker, transcript: str, voice: Voice) -> bytes:
    """16-bit samples, spoken by a forked child so that the synthesiser here stays unused."""
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
