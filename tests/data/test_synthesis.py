"""Synthesis: the same samples whatever the order and the workers, and clear refusals."""

from __future__ import annotations

import random
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from clean_speech import synthesise

from speechllm_bench.data import espeak, synthesis
from speechllm_bench.errors import UserError
from speechllm_bench.storage.schema import Utterance, Voice

VOICE = Voice("en-us", "m3", 170, 50, 20.0, 7)
WORDS = (
    "um",
    "i'd like to",
    "change my address",
    "forty two",
    "maple street",
    "march the third",
    "s m y t h",
)


def utterance(i: int, voice: Voice | None = None) -> Utterance:
    draw = random.Random(f"utterance {i}")
    voice = voice or Voice(
        accent=draw.choice(["en", "en-us", "en-gb-scotland", "en-029"]),
        variant=draw.choice(["m1", "f2", "klatt2", "Andy", "steph", "croak"]),
        rate=draw.randint(130, 200),
        pitch=draw.randint(20, 80),
        snr_db=draw.uniform(10, 30),
        seed=i,
    )
    return Utterance(
        id=f"u{i}",
        split="train",
        call_id="c",
        turn_index=i,
        domain="bank",
        company="acme",
        intent="greet",
        transcript=" ".join(draw.choices(WORDS, k=draw.randint(1, 5))),
        slots=(),
        entities=(),
        sentiment="neutral",
        context=(),
        speaker=voice.speaker,
        voice=voice,
    )


def test_order_and_workers_change_no_sample():
    utterances = [utterance(i) for i in range(12)]
    alone = list(synthesis.speak_all(utterances, 1, progress=False))
    assert [u.id for u, _ in alone] == [u.id for u in utterances]
    backwards = list(synthesis.speak_all(utterances[::-1], 2, progress=False))[::-1]
    for (_, here), (_, there) in zip(alone, backwards, strict=True):
        assert here.dtype == np.float32
        assert np.array_equal(here, there)


def test_what_was_spoken_before_changes_nothing():
    first = synthesise("forty two maple street", VOICE)
    assert np.array_equal(first, synthesise("forty two maple street", VOICE))


def test_speech_is_loud_enough_and_as_long_as_its_words():
    short, long = (synthesise(t, VOICE) for t in ("yes", "yes i would like to change my address"))
    assert 0.2 < len(short) / espeak.ESPEAK_RATE < len(long) / espeak.ESPEAK_RATE < 5
    assert np.abs(long).max() > 0.05


@pytest.mark.parametrize("change", [{"accent": "en"}, {"variant": "f2"}, {"rate": 140}, {"pitch": 80}])
def test_every_property_of_a_voice_is_heard(change):
    text = "forty two maple street"
    plain, changed = synthesise(text, VOICE), synthesise(text, replace(VOICE, **change))
    assert not np.array_equal(plain, changed)


def test_samples_lie_on_the_16_bit_grid():
    ((_, samples),) = synthesis.speak_all([utterance(0)], 1, progress=False)
    assert np.array_equal(samples * 32768, np.rint(samples * 32768))


@pytest.mark.parametrize(
    "voice, complaint",
    [
        (replace(VOICE, accent="en-xx"), 'no voice "en-xx"'),
        (replace(VOICE, variant="m33"), 'no voice variant "m33"'),
    ],
)
def test_an_unknown_voice_is_named(voice, complaint):
    with pytest.raises(UserError, match=complaint):
        synthesise("hello", voice)
    with pytest.raises(UserError, match=complaint):
        list(synthesis.speak_all([utterance(0), utterance(1, voice)], 2, progress=False))


def test_an_empty_transcript_is_refused():
    with pytest.raises(UserError, match="empty transcript"):
        synthesise("  ", VOICE)
    with pytest.raises(UserError, match="utterance u1: an empty transcript"):
        list(synthesis.speak_all([utterance(0), replace(utterance(1), transcript="")], 1, progress=False))


def test_a_recorded_utterance_cannot_be_spoken():
    with pytest.raises(UserError, match="u0 has no voice"):
        next(synthesis.speak_all([replace(utterance(0), voice=None)], 1, progress=False))


def test_nothing_to_say_is_no_error():
    assert list(synthesis.speak_all([], 2, progress=False)) == []


def test_missing_voice_data_is_said(monkeypatch, tmp_path):
    import espeakng_loader

    monkeypatch.setattr(espeakng_loader, "get_data_path", lambda: str(tmp_path))
    with pytest.raises(UserError, match=r"finds no usable voices.*espeakng-loader"):
        espeak._Espeak()


def test_stopping_early_leaves_no_worker(monkeypatch):
    workers = []

    class Recorded(synthesis._Process):
        def __init__(self, serve: str) -> None:
            super().__init__(serve)
            workers.append(self)

    monkeypatch.setattr(synthesis, "_Process", Recorded)
    spoken = synthesis.speak_all([utterance(i) for i in range(30)], 2, progress=False)
    next(spoken)
    spoken.close()
    assert len(workers) == 2
    assert all(worker._process.returncode is not None for worker in workers)


def test_a_dead_worker_is_an_error_not_a_hang():
    speaker = synthesis._Process("espeak.serve")
    speaker.stop()
    with pytest.raises(RuntimeError, match="died"):
        speaker.ask("hello", VOICE)


def test_the_speaking_process_stays_lean():
    code = "import sys, speechllm_bench.data.espeak; print(sorted({'numpy', 'torch'} & set(sys.modules)))"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


def test_version_looks_like_one():
    assert espeak.espeak_version()[0].isdigit()
