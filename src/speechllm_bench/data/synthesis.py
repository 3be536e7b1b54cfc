"""Synthesises speech in parallel. Samples do not depend on the order or the number of workers.

A worker has two processes: one speaks (`espeak.py` or `neural_voices.py`), the other applies the telephone
channel (`channel.py`). Both start as fresh interpreters and use pipes. So a notebook or a program that has
loaded torch can request speech.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
from collections import deque
from collections.abc import Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

import numpy as np
from tqdm import tqdm

from speechllm_bench.data import neural_voices
from speechllm_bench.data.audio import SAMPLE_RATE, resample, to_float32, to_int16
from speechllm_bench.data.clips import Clips
from speechllm_bench.data.espeak import ESPEAK_RATE
from speechllm_bench.data.forked import answer
from speechllm_bench.errors import UserError
from speechllm_bench.storage.schema import Utterance, Voice

SYNTHESIS_VERSION = 1
"""Part of a corpus's identity. Raise it if a change here, in espeak.py or in channel.py changes samples."""

AHEAD = 8  # utterances a worker may be ahead of the reader


def _engine(voice: Voice) -> tuple[str, int]:
    """Return the service that speaks a voice (`_Process`), and its sampling rate in Hz."""
    if neural_voices.is_neural(voice):
        return "neural_voices.serve", neural_voices.RATE
    return "espeak.serve", ESPEAK_RATE


def speak_all(
    utterances: Iterable[Utterance], n_workers: int, progress: bool = True, clips: Path | None = None
) -> Generator[tuple[Utterance, np.ndarray]]:
    """Yield (utterance, float32 samples at 16 kHz after the telephone channel), in the given order.

    Samples have exact 16-bit values, so storing them as FLAC loses nothing. The folder `clips` stores clean
    speech as soon as it is spoken, so a stopped synthesis can resume. Leaving the iterator early stops the
    workers. Raises UserError for an empty transcript, an unknown voice and an utterance without one.
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
            assert utterance.voice
            return worker.ask(utterance.transcript, utterance.voice, clips)
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
    """A fresh interpreter that serves speech with the protocol of `forked.answer`."""

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
        assert self._process.stdin and self._process.stdout
        self._asked, self._said = self._process.stdin, self._process.stdout

    def ask(self, transcript: str, voice: Voice, clips: Path | None = None) -> np.ndarray:
        """Return int16 samples. `clips`: folder where the telephone service stores clean speech."""
        try:
            request = {"transcript": transcript, "voice": asdict(voice), "clips": clips and str(clips)}
            self._asked.write(json.dumps(request).encode() + b"\n")
            self._asked.flush()
            answered = json.loads(self._said.readline())
        except (OSError, ValueError) as error:
            raise RuntimeError(f'the process that was to speak "{transcript}" died') from error
        if "error" in answered:
            raise UserError(answered["error"])
        return np.frombuffer(self._said.read(answered["bytes"]), np.int16)

    def stop(self) -> None:
        """End the process. Its children end too, since their standard input closes."""
        self._process.kill()
        self._process.wait()


def _serve_telephone() -> None:
    """Serve speech after the telephone channel at 16 kHz, with the protocol of `forked.answer`."""
    from speechllm_bench.data.channel import telephone  # scipy: a slow import that only the workers need

    speakers: dict[str, _Process] = {}

    def clean(transcript: str, voice: Voice, folder: str | None) -> np.ndarray:
        """Return int16 samples at the engine's rate, from the folder of clips if it has them."""
        clips = Clips(Path(folder)) if folder else None
        if clips and (kept := clips.read(transcript, voice)) is not None:
            return kept
        service, rate = _engine(voice)
        if service not in speakers:
            speakers[service] = _Process(service)
        samples = speakers[service].ask(transcript, voice)
        return clips.keep(transcript, voice, samples, rate) if clips else samples

    def speak(transcript: str, voice: Voice, folder: str | None) -> bytes:
        speech = resample(to_float32(clean(transcript, voice, folder)), _engine(voice)[1], SAMPLE_RATE)
        level_db = neural_voices.LEVEL_DB if neural_voices.is_neural(voice) else None
        return to_int16(telephone(speech, voice.snr_db, voice.seed, level_db)).tobytes()

    answer(speak)
    for speaker in speakers.values():
        speaker.stop()
