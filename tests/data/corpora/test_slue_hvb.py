from __future__ import annotations

import numpy as np
import pytest
import soundfile

from speechllm_bench.data import corpora
from speechllm_bench.data.corpora import RECORDED, slue_hvb
from speechllm_bench.errors import UserError

CORPUS = RECORDED["slue_hvb"]

HEADER = "issue_id\tspeaker_id\ttext\tutt_index\tchannel\trole\tstart_ms\tduration_ms\tintent\tdialog_acts"
ROWS = [  # out of order, as a table may have them
    "c1\t7\ti lost my [noise] card\t3\t1\tcaller\t2500.0\t900\treplace card\t['statement_problem']",
    "c1\t40\thello how can i help\t1\t2\tagent\t0\t1000\treplace card\t['question_general']",
    "c1\t7\t[unintelligible]\t5\t1\tcaller\t4000\t500\treplace card\t['other']",
    "c1\t7\tso\t7\t1\tcaller\t5000\t31000\treplace card\t['other']",
    "c2\t8\thi\t1\t1\tcaller\t0\t800\tpay bill\t['statement_open']",
]


@pytest.fixture
def data(tmp_path, monkeypatch):
    folder = tmp_path / "slue_hvb"
    for part in CORPUS.splits.values():
        (folder / part).mkdir(parents=True)
        (folder / f"slue-hvb_{part}.tsv").write_text("\n".join([HEADER, *ROWS]) + "\n")
        tone = 0.3 * np.sin(np.arange(14400) * 0.05)
        soundfile.write(folder / part / "c1_2500_3400.wav", tone, 16000)
    monkeypatch.setenv("SPEECHLLM_BENCH_DATA", str(tmp_path))
    return folder


def test_callers_utterances_have_what_both_said_before(data):
    first, second = CORPUS.utterances("train")
    assert (first.transcript, first.turn_index, first.intent) == ("i lost my card", 3, "replace_card")
    assert [(turn.role, turn.text) for turn in first.context] == [("agent", "hello how can i help")]
    assert (first.id, first.speaker) == ("slue_hvb/train/c1_2500_3400", "slue_hvb/7")
    assert (second.call_id, second.context) == ("slue_hvb/train/c2", ())
    assert len(CORPUS.recording(first)) == 14400
    assert CORPUS.utterances("A-test", 1)[0].id == "slue_hvb/A-test/c1_2500_3400"


def test_a_corpus_that_is_not_as_large_as_its_authors_tell_is_told(data):
    assert CORPUS.counts()["train"] == (5, 11344)
    assert corpora.miscounted("slue_hvb")[0] == "train has 5 and not 11,344"
    assert corpora.miscounted("call_centre") == []


def test_what_is_wrong_is_one_sentence(data):
    with pytest.raises(UserError, match="has no split 'B-test'"):
        CORPUS.utterances("B-test")
    table = data / "slue-hvb_dev.tsv"
    table.write_text("\n".join([HEADER, ROWS[0].replace("900", "long")]) + "\n")
    slue_hvb._calls.cache_clear()
    with pytest.raises(UserError, match="line 2: utt_index, start_ms, duration_ms are no numbers"):
        CORPUS.utterances("validation")
    table.write_text("id\ttext\n1\thi\n")
    with pytest.raises(UserError, match="has no duration_ms, .*issue_id.*; is it SLUE's"):
        CORPUS.utterances("validation")
