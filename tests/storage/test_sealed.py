"""Records that are written last hold the sha256 of the files beside them, and their own."""

from __future__ import annotations

import json
from hashlib import sha256

import pytest

from speechllm_bench.errors import UserError
from speechllm_bench.storage import runs, sealed

RECORD = {"digest": "0f", "seconds": 1.25, "stages": ["a"]}


@pytest.fixture
def record(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "weights.bin").write_bytes(b"123")
    (tmp_path / "data" / "part.csv").write_text("a,b\n")
    sealed.write(tmp_path / "run.json", RECORD)
    return tmp_path / "run.json"


def test_what_is_written_comes_back_and_the_seal_names_every_file(record):
    assert sealed.read(record) == RECORD
    files = json.loads(record.read_text())["seal"]["files"]
    assert files == {
        "data/part.csv": sha256(b"a,b\n").hexdigest(),
        "weights.bin": "a665a45920422f9d417e4867efdc4fb8a04a1f3fff1fa07e998e86f7f7a27ae3",  # of b"123"
    }


@pytest.mark.parametrize("changed", ['"seconds": 1.35', '"seconds": 1.25,\n "more": 0', '"secondt": 1.25'])
def test_a_record_that_was_changed_is_refused(record, changed):
    record.write_text(record.read_text().replace('"seconds": 1.25', changed))
    with pytest.raises(UserError, match="does not agree with its own seal; delete its folder and run again$"):
        sealed.read(record, runs.DELETE_FOLDER)


def test_the_same_content_in_other_white_space_is_the_same_record(record):
    record.write_text(json.dumps(json.loads(record.read_text())))
    assert sealed.read(record) == RECORD


def test_a_changed_or_missing_file_is_named(record):
    file = record.parent / "weights.bin"
    file.write_bytes(b"124")
    with pytest.raises(UserError, match="weights.bin is damaged: its sha256 is not the one in run.json; get"):
        sealed.read(record, "get it again")
    assert sealed.read(record, files=False) == RECORD
    file.unlink()
    with pytest.raises(UserError, match="weights.bin is missing, though run.json lists it"):
        sealed.read(record)


def test_a_record_without_a_seal_is_refused(record):
    runs.write_json(record, RECORD)
    with pytest.raises(UserError, match="does not agree with its own seal"):
        sealed.read(record)


def test_a_seal_whose_name_was_changed_is_refused(record):
    record.write_text(record.read_text().replace('"seal"', '"sdal"'))
    with pytest.raises(UserError, match="does not agree with its own seal"):
        sealed.read(record)


def test_a_seal_that_lacks_a_part_is_refused(record):
    whole = json.loads(record.read_text())
    for part in ("files", "record"):
        seal = {key: value for key, value in whole["seal"].items() if key != part}
        runs.write_json(record, RECORD | {"seal": seal})
        with pytest.raises(UserError, match="its own seal"):
            sealed.read(record)


def test_a_stamp_spares_the_hashing_and_a_damaged_one_is_made_anew(record, home, monkeypatch):
    file, hashed = record.parent / "weights.bin", []
    monkeypatch.setattr(runs, "file_sha256", lambda path: hashed.append(path.name) or "ab")

    def ask() -> str:
        sealed._known.clear()  # as in another process
        return sealed.known_sha256(file, stamped=True)

    assert [ask(), ask()] == ["ab", "ab"] and hashed == ["weights.bin"]
    (stamp,) = (home / ".cache" / "hashes").iterdir()
    stamp.write_text(stamp.read_text().replace("ab", "aa", 1))
    assert ask() == "ab" and len(hashed) == 2
