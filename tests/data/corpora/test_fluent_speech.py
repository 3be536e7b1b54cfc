"""Fluent Speech Commands in its published layout: an intent's parts where a command has them in words."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile

from speechllm_bench.data import corpora
from speechllm_bench.data.corpora import RECORDED, fluent_speech
from speechllm_bench.errors import MissingInput, UserError

CORPUS = RECORDED["fluent_speech"]

HEADER = ",path,speakerId,transcription,action,object,location"
COMMANDS = [
    ("a", "Turn the lights on in the bathroom.", "activate,lights,washroom"),
    ("b", "Louder please", "increase,volume,none"),  # which is not said
    ("c", "Bring me my shoes", "bring,shoes,none"),
    ("d", "Turn the temperature in the bedroom down", "decrease,heat,bedroom"),
    ("e", "Change the language", "change language,none,none"),
]


@pytest.fixture
def published(tmp_path, monkeypatch):
    folder = tmp_path / "fluent_speech"
    (folder / "data").mkdir(parents=True)
    for part in ("train", "valid", "test"):
        speaker = f"speaker_of_{part}"
        wavs = folder / "wavs" / "speakers" / speaker
        wavs.mkdir(parents=True)
        rows = [f"{i},wavs/speakers/{speaker}/{name}.wav,{speaker},{text},{intent}"
                for i, (name, text, intent) in enumerate(COMMANDS)]  # fmt: skip
        (folder / "data" / f"{part}_data.csv").write_text("\n".join([HEADER, *rows]) + "\n")
        for name, *_ in COMMANDS:
            soundfile.write(wavs / f"{name}.wav", 0.3 * np.sin(np.arange(16000) * 0.1), 16000)
    monkeypatch.setenv("SPEECHLLM_BENCH_DATA", str(tmp_path))
    fluent_speech._rows.cache_clear()
    return folder


def test_slots_are_words_of_the_command_and_what_is_meant_alone_is_left_out(published):
    turns = CORPUS.utterances("A-test")
    found = {u.transcript: {s.slot: (s.value, s.canonical) for s in u.slots} for u in turns}
    assert found == {
        "turn the lights on in the bathroom": {
            "object": ("lights", "lights"), "location": ("bathroom", "washroom")
        },
        "bring me my shoes": {"object": ("shoes", "shoes")},
        "turn the temperature in the bedroom down": {
            "object": ("temperature", "heat"), "location": ("bedroom", "bedroom")
        },
        "change the language": {},
    }  # fmt: skip
    assert all(u.transcript[s.start : s.end] == s.value for u in turns for s in u.slots)
    assert turns[0].id == "fluent_speech/A-test/a" and turns[0].intent == "activate_lights_washroom"
    assert {u.speaker for u in turns} == {"fluent_speech/speaker_of_test"}
    assert [u.id for u in CORPUS.utterances("A-test", 2)] == [u.id for u in turns[:2]]
    assert len(CORPUS.recording(turns[0])) == 16000


def test_what_is_missing_or_of_another_form_is_named(published):
    table = published / "data" / "valid_data.csv"
    table.write_text(table.read_text().replace("transcription", "text"))
    fluent_speech._rows.cache_clear()
    with pytest.raises(UserError, match=r"valid_data\.csv has no transcription; is it of Fluent"):
        CORPUS.utterances("validation")
    table.write_text(HEADER + "\n0,wavs/x.wav,s,turn on,activate\n")
    with pytest.raises(UserError, match="line 2: a row has other fields than the header"):
        CORPUS.utterances("validation")
    table.unlink()
    with pytest.raises(MissingInput, match=r"has no valid_data\.csv"):
        corpora.recipe("fluent_speech")
    with pytest.raises(UserError, match="has no split 'B-test'"):
        CORPUS.utterances("B-test")
