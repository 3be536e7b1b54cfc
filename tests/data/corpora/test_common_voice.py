from __future__ import annotations

import numpy as np
import pytest
import soundfile

from speechllm_bench.data import corpora
from speechllm_bench.data.corpora import RECORDED, common_voice
from speechllm_bench.errors import MissingInput, UserError

CORPUS = RECORDED["common_voice"]

HEADER = "client_id\tpath\tsentence\tup_votes\tdown_votes\tage\tlocale"
ROWS = {
    "es": [
        'a1\tcommon_voice_es_1.mp3\t¿Dónde está "la estación"?\t2\t0\t\tes',
        "a2\tcommon_voice_es_2.mp3\tEl niño comió.\t0\t3\t\tes",
    ],
    "fr": ["b1\tcommon_voice_fr_1.mp3\tL’été, c'est fini !\t2\t1\t\tfr"],
}


@pytest.fixture
def data(tmp_path, monkeypatch):
    for language, rows in ROWS.items():
        folder = tmp_path / "common_voice" / language
        (folder / "clips").mkdir(parents=True)
        (folder / "test.tsv").write_text("\n".join([HEADER, *rows]) + "\n", "utf-8")
        tone = 0.3 * np.sin(np.arange(48000) * 0.05)
        soundfile.write(folder / "clips" / f"common_voice_{language}_1.mp3", tone, 48000, format="MP3")
    monkeypatch.setenv("SPEECHLLM_BENCH_DATA", str(tmp_path))
    return tmp_path


def test_a_language_is_a_split_of_read_sentences(data):
    (spanish,) = CORPUS.utterances("es")
    (french,) = CORPUS.utterances("fr")
    assert (spanish.transcript, french.transcript) == ("dónde está la estación", "l'été c'est fini")
    assert (spanish.speaker, spanish.gold) == ("common_voice/a1", ("transcript",))
    assert spanish.id == "common_voice/es/common_voice_es_1"
    assert abs(len(CORPUS.recording(spanish)) - 16000) < 1600  # mp3 pads
    assert CORPUS.counts() == {"es": (2, None), "fr": (1, None)}
    assert corpora.miscounted("common_voice") == []


def test_what_is_wrong_is_one_sentence(data):
    with pytest.raises(UserError, match="has no split 'train'; its splits are: es, fr"):
        CORPUS.utterances("train")
    table = data / "common_voice" / "es" / "test.tsv"
    table.write_text("id\tsentence\n1\thola\n")
    common_voice._rows.cache_clear()
    with pytest.raises(UserError, match="test.tsv has no client_id, down_votes, path, up_votes; is it of"):
        CORPUS.utterances("es")
    table.write_text(HEADER + "\na\tb.mp3\thola\tmany\t0\t\tes\n")
    with pytest.raises(UserError, match="test.tsv, line 2: a row has other fields"):
        CORPUS.utterances("es")
    table.unlink()
    with pytest.raises(MissingInput, match="has no test.tsv"):
        CORPUS.utterances("es")


@pytest.mark.parametrize(
    ("text", "clean"),
    [("'Hola' — dijo_él...", "hola dijo él"), ("aujourd'hui", "aujourd'hui"), ("¡Sí!", "sí"), ("\n", "")],
)
def test_sentences_become_lower_case_words(text, clean):
    assert common_voice.clean(text) == clean
