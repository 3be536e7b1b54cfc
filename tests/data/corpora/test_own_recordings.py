"""A folder of recordings and three JSONL files are a corpus, without code."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from speechllm_bench.data import corpora
from speechllm_bench.data.corpora import RECORDED, own_recordings, published
from speechllm_bench.errors import MissingInput, UserError
from speechllm_bench.settings.config import CorpusConfig

CORPUS = RECORDED["own"]

OMAHA = {
    "audio": "wavs/7.wav",
    "transcript": "From Omaha, please.",
    "slots": {"origin_city": "Omaha"},
    "speaker": "anna",
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """$SPEECHLLM_BENCH_DATA/own with a recording of one second, that is of every split."""
    monkeypatch.setenv("SPEECHLLM_BENCH_DATA", str(tmp_path))
    made = tmp_path / "own"
    (made / "wavs").mkdir(parents=True)
    soundfile.write(made / "wavs" / "7.wav", np.random.default_rng(0).normal(0, 0.1, 8000), 8000)
    for split in CORPUS.splits:
        (made / f"{split}.jsonl").write_text(json.dumps(OMAHA) + "\n")
    own_recordings._lines.cache_clear()
    return made


def test_a_line_is_an_utterance(folder: Path):
    sizes = {"train": 5, "validation": 1, "A-test": 1, "B-test": 9}  # a profile's own, of another corpus
    found = corpora.utterances(CorpusConfig(name="own", sizes=sizes))
    assert list(found) == list(CORPUS.splits)
    (turn,) = found["A-test"]
    assert (turn.id, turn.transcript, turn.speaker) == (
        "own/A-test/wavs/7.wav", "from omaha please", "own/anna"
    )  # fmt: skip
    (slot,) = turn.slots
    assert turn.transcript[slot.start : slot.end] == slot.value == "omaha" and slot.slot == "origin_city"
    assert CORPUS.recording(turn).shape == (16000,)
    assert list(CORPUS.slot_types()) == ["origin_city"]
    before = CORPUS.recipe()
    (folder / "train.jsonl").write_text(json.dumps({"audio": "a.wav", "transcript": "no"}) + "\n")
    published.file_hash.cache_clear()
    assert CORPUS.recipe() != before
    own_recordings._lines.cache_clear()
    (turn,) = CORPUS.utterances("train")
    assert (turn.slots, turn.speaker) == ((), "own/a.wav")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ({"slots": {"origin_city": "Boston"}}, "line 1: the value of origin_city, 'Boston', is not in"),
        ({"slots": {"origin_city": "oma"}}, "'oma', is not in the transcript"),
        ({"slots": {"Origin City": "Omaha"}}, "train.jsonl, line 1"),
        ({"text": "from omaha"}, "text"),
    ],
)
def test_a_wrong_line_is_told_with_its_place(folder: Path, line: dict, said: str):
    (folder / "train.jsonl").write_text(json.dumps(OMAHA | line) + "\n")
    with pytest.raises(UserError, match=said):
        CORPUS.utterances("train")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"[" * 100_000, "train.jsonl, line 1: this is no JSON object of one line"),
        ('{"transcript": "mañana"}'.encode("latin-1"), "train.jsonl is not UTF-8 text; save it as UTF-8"),
        (None, "train.jsonl is a folder; it must be a file with one JSON object per line"),
    ],
)
def test_a_file_that_holds_no_lines_is_told(folder: Path, content: bytes | None, said: str):
    if content is None:
        (folder / "train.jsonl").unlink()
        (folder / "train.jsonl").mkdir()
    else:
        (folder / "train.jsonl").write_bytes(content)
    with pytest.raises(UserError, match=said):
        CORPUS.utterances("train")


def test_what_is_missing_is_told(folder: Path):
    (folder / "train.jsonl").write_text("from omaha\n")
    with pytest.raises(UserError, match=r"train\.jsonl, line 1: this is no JSON object of one line"):
        CORPUS.utterances("train")
    (folder / "train.jsonl").unlink()
    with pytest.raises(MissingInput, match=r"has no own/train\.jsonl"):
        CORPUS.recipe()
    with pytest.raises(UserError, match="has no split 'B-test'"):
        CORPUS.utterances("B-test")


def test_a_recording_that_is_named_twice_is_refused(folder: Path):
    lines = [json.dumps(OMAHA), json.dumps(OMAHA | {"audio": "wavs/8.wav"}), json.dumps(OMAHA)]
    (folder / "train.jsonl").write_text("\n".join(lines) + "\n")
    with pytest.raises(UserError, match=r"^train.jsonl, line 3: line 1 has wavs/7.wav, too; leave one out$"):
        CORPUS.utterances("train")


@pytest.mark.parametrize("line", ['{"audio": "a", "audio": "b"}', '{"slots": {"a": "x", "a": "y"}}'])
def test_a_key_that_is_there_twice_is_refused(folder: Path, line: str):
    (folder / "train.jsonl").write_text(line + "\n")
    with pytest.raises(UserError, match="^train.jsonl, line 1: 'a(udio)?' stands twice in it$"):
        CORPUS.utterances("train")


def test_one_missing_recording_is_named_and_can_be_left_out(folder: Path):
    """It is no missing part of the corpus, which `--skip-missing` does not leave out."""
    (turn,) = CORPUS.utterances("train")
    (folder / "wavs" / "7.wav").unlink()
    with pytest.raises(UserError, match=r"wavs/7.wav does not exist") as told:
        CORPUS.recording(turn)
    assert not isinstance(told.value, MissingInput)


def test_a_split_without_recordings_is_refused(folder: Path):
    (folder / "A-test.jsonl").write_text("")
    with pytest.raises(UserError, match="^A-test.jsonl has no line"):
        CORPUS.utterances("A-test")


def test_a_replaced_recording_makes_another_corpus(folder: Path):
    before = CORPUS.files()
    assert CORPUS.files() == before
    soundfile.write(folder / "wavs" / "7.wav", np.random.default_rng(1).normal(0, 0.1, 12000), 8000)
    assert {name for name, known in CORPUS.files().items() if known != before[name]} == {"recordings"}
