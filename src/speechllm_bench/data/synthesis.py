"""Speech from text, in parallel: the same samples whatever the order and the number of workers.

A worker is two processes: one that speaks (`espeak.py`) and one that puts what it said on the telephone
(`channel.py`). Both are started as fresh interpreters and talk through pipes, so a notebook or a program that
has torch loaded can ask for speech.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

import numpy as np
from tqdm import tqdm

from speechllm_bench.data.audio import SAMPLE_RATE, resample, to_float32, to_int16
from speechllm_bench.data.espeak import ESPEAK_RATE, end_with_the_asker
from speechllm_bench.errors import UserError
from speechllm_bench.schema import Utterance, Voice

SYNTHESIS_VERSION = 1
"""Part of a corpus's identity: raised when a change here, in espeak.py or in channel.py changes samples."""

AHEAD = 8  # utterances a worker may be ahead of the reader


def synthesise(transcript: str, voice: Voice) -> np.ndarray:
    """Clean speech, float32 in [-1, 1] at `ESPEAK_RATE`, before any telephone channel.

    Raises UserError for an empty transcript and for a voice espeak-ng does not have.
    """
    speaker = _Process("espeak.serve")
    try:
        return to_float32(speaker.ask(transcript, voice))
    finally:
        speaker.stop()


def speak_all(
    utterances: Iterable[Utterance], n_workers: int, progress: bool = True
) -> Iterator[tuple[Utterance, np.ndarray]]:
    """Speak each utterance over the telephone: (utterance, float32 samples at 16 kHz) in the order given.

    Samples lie on the 16-bit grid, so storing them as FLAC loses nothing. Leaving the iterator early stops
    the workers. Raises UserError as `synthesise` does, and for an utterance without a voice.
    """
    utterances = list(utterances)
    mute = next((u.id for u in utterances if u.voice is None), None)
    if mute is not None:
        raise UserError(f"utterance {mute} has no voice: only synthetic utterances can be spoken")
    if not utterances:
        return
    workers = [_Process("synthesis._serve_telephone") for _ in range(max(1, min(n_workers, len(utterances))))]
    idle: queue.SimpleQueue[_Process] = queue.SimpleQueue()
    for worker in workers:
        idle.put(worker)

    def speak(utterance: Utterance) -> np.ndarray:
        worker = idle.get()
        try:
            return worker.ask(utterance.transcript, utterance.voice)
        except UserError as error:
            raise UserError(f"utterance {utterance.id}: {error}") from None
        finally:
            idle.put(worker)

    threads = ThreadPoolExecutor(len(workers))
    waiting = iter(utterances)
    pending: deque = deque()
    try:
        for utterance in tqdm(utterances, "synthesis", unit=" utt", disable=not progress, mininterval=1):
            for following in waiting:
                pending.append(threads.submit(speak, following))
                if len(pending) >= AHEAD * len(workers):
                    break
            yield utterance, to_float32(pending.popleft().result())
    finally:
        for worker in workers:
            worker.stop()
        threads.shutdown(cancel_futures=True)


class _Process:
    """A fresh interpreter that serves speech by the protocol of `espeak.serve`."""

    def __init__(self, serve: str) -> None:
        module = serve.split(".")[0]
        source = str(Path(__file__).resolve().parents[2])
        path = os.pathsep.join(filter(None, [source, os.environ.get("PYTHONPATH")]))
        self._process = subprocess.Popen(
            [sys.executable, "-c", f"from speechllm_bench.data import {module}; {serve}()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        )

    def ask(self, transcript: str, voice: Voice) -> np.ndarray:
        """int16 samples."""
        try:
            request = json.dumps({"transcript": transcript, "voice": asdict(voice)})
            self._process.stdin.write(request.encode() + b"\n")
            self._process.stdin.flush()
            answer = json.loads(self._process.stdout.readline())
        except (OSError, ValueError) as error:
            raise RuntimeError(f'the process that was to speak "{transcript}" died') from error
        if "error" in answer:
            raise UserError(answer["error"])
        return np.frombuffer(self._process.stdout.read(answer["bytes"]), np.int16)

    def stop(self) -> None:
        """End the process, and with it those that it started: their standard input closes."""
        self._process.kill()
        self._process.wait()


def _serve_telephone() -> None:
    """`espeak.serve` with the telephone channel behind it and 16 kHz out."""
    from speechllm_bench.data.channel import telephone  # scipy: a slow import that only the workers need

    end_with_the_asker()
    speaker = _Process("espeak.serve")
    for line in sys.stdin.buffer:
        request = json.loads(line)
        voice = Voice(**request["voice"])
        try:
            speech = to_float32(speaker.ask(request["transcript"], voice))
            speech = resample(speech, ESPEAK_RATE, SAMPLE_RATE)
            samples = to_int16(telephone(speech, voice.snr_db, voice.seed)).tobytes()
            answer = json.dumps({"bytes": len(samples)}).encode() + b"\n" + samples
        except UserError as error:
            answer = json.dumps({"error": str(error)}).encode() + b"\n"
        sys.stdout.buffer.write(answer)
        sys.stdout.buffer.flush()
    speaker.stop()
