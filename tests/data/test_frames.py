"""The store of encoder frames: what goes in comes out, and nothing broken is read."""

from __future__ import annotations

import numpy as np
import pytest

from speechllm_bench.data.frames import FrameStore, FrameWriter
from speechllm_bench.errors import UserError

KEY = {"encoder": "abc", "padding": "trimmed", "corpus": "def"}


@pytest.fixture
def frames() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {f"u{i}": rng.standard_normal((n, 8)).astype(np.float16) for i, n in enumerate([3, 1, 7, 0, 20])}


@pytest.fixture
def folder(tmp_path, frames):
    with FrameWriter(tmp_path / "frames", 8, KEY) as writer:
        for id, rows in frames.items():
            writer.add(id, rows)
    return tmp_path / "frames"


def test_frames_come_back(folder, frames):
    store = FrameStore.open(folder)
    store.verify()
    assert store.key == KEY
    assert store.dim == 8
    for id, rows in reversed(frames.items()):
        assert store.n_frames(id) == len(rows)
        assert store[id].dtype == np.float16
        assert np.array_equal(store[id], rows)


def test_frames_are_read_only(folder):
    with pytest.raises(ValueError, match="read-only"):
        FrameStore.open(folder)["u0"][0] = 1


def test_float32_is_stored_in_16_bits(tmp_path):
    rows = np.array([[0.1, 1 / 3]], np.float32)
    with FrameWriter(tmp_path / "frames", 2, KEY) as writer:
        writer.add("u", rows)
    assert np.array_equal(FrameStore.open(tmp_path / "frames")["u"], rows.astype(np.float16))


def test_a_store_may_be_empty(tmp_path):
    with FrameWriter(tmp_path / "frames", 2, KEY):
        pass
    FrameStore.open(tmp_path / "frames").verify()


def test_an_interrupted_writer_leaves_nothing(tmp_path, frames):
    with pytest.raises(KeyboardInterrupt), FrameWriter(tmp_path / "frames", 8, KEY) as writer:
        writer.add("u0", frames["u0"])
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def interrupted(folder, frames) -> None:
    """Write u0, a checkpoint, and u1, which is lost."""
    with pytest.raises(KeyboardInterrupt), FrameWriter(folder, 8, KEY) as writer:
        writer.add("u0", frames["u0"])
        writer.checkpoint()
        writer.add("u1", frames["u1"])
        raise KeyboardInterrupt


def test_an_interrupted_writer_goes_on_from_its_checkpoint(tmp_path, folder, frames):
    other = tmp_path / "again"
    interrupted(other, frames)
    assert not other.exists()
    with FrameWriter(other, 8, KEY) as writer:
        assert "u0" in writer and "u1" not in writer
        for name in (name for name in frames if name not in writer):
            writer.add(name, frames[name])
    assert {p.name: p.read_bytes() for p in other.iterdir()} == {
        p.name: p.read_bytes() for p in folder.iterdir()
    }
    assert sorted(tmp_path.iterdir()) == sorted([other, folder])


@pytest.mark.parametrize("damage", ["another key", "frames.bin", "index.json", "short"])
def test_a_checkpoint_of_other_frames_or_a_damaged_one_is_not_used(tmp_path, frames, damage):
    other = tmp_path / "again"
    interrupted(other, frames)
    partial = tmp_path / ".again.partial"
    if damage == "short":
        (partial / "frames.bin").write_bytes(b"")
    elif damage != "another key":
        content = bytearray((partial / damage).read_bytes())
        content[0] ^= 1
        (partial / damage).write_bytes(content)
    with FrameWriter(other, 8, {"encoder": "another"} if damage == "another key" else KEY) as writer:
        assert "u0" not in writer
        writer.add("u0", frames["u0"])
    FrameStore.open(other).verify()
    assert list(tmp_path.iterdir()) == [other]


def test_an_interrupted_writer_keeps_the_old_store(folder, frames):
    with pytest.raises(KeyboardInterrupt), FrameWriter(folder, 8, {}) as writer:
        writer.add("u0", frames["u0"])
        raise KeyboardInterrupt
    assert FrameStore.open(folder).key == KEY


@pytest.mark.parametrize("rows", [np.zeros((3, 7)), np.zeros(8), np.zeros((1, 3, 8))])
def test_a_wrong_shape_is_refused(tmp_path, rows):
    with pytest.raises(ValueError, match="shape"), FrameWriter(tmp_path / "frames", 8, KEY) as writer:
        writer.add("u", rows)


def test_an_utterance_is_written_once(tmp_path):
    with pytest.raises(ValueError, match="already"), FrameWriter(tmp_path / "frames", 8, KEY) as writer:
        writer.add("u", np.zeros((1, 8)))
        writer.add("u", np.zeros((1, 8)))


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e6])
def test_frames_that_16_bits_cannot_hold_are_refused(tmp_path, bad):
    with (
        pytest.raises(UserError, match=r"u7.*not finite"),
        FrameWriter(tmp_path / "frames", 2, KEY) as writer,
    ):
        writer.add("u7", np.array([[0.0, bad]], np.float32))


def test_an_unknown_utterance_is_named(folder):
    store = FrameStore.open(folder)
    for ask in (store.__getitem__, store.n_frames):
        with pytest.raises(UserError, match="no frames of utterance u99"):
            ask("u99")


def test_a_truncated_file_is_refused(folder):
    data = (folder / "frames.bin").read_bytes()
    (folder / "frames.bin").write_bytes(data[:-2])
    with pytest.raises(UserError, match=r"frames\.bin has \d+ bytes instead of.*delete the folder"):
        FrameStore.open(folder)


@pytest.mark.parametrize("name", ["frames.bin", "index.json"])
def test_a_missing_file_is_refused(folder, name):
    (folder / name).unlink()
    with pytest.raises(UserError, match=f"{name} is missing.*delete"):
        FrameStore.open(folder)


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"dim": "wide", "key": {}, "n_frames": {"u": 1}}'])
def test_a_corrupt_index_is_refused(folder, content):
    (folder / "index.json").write_text(content)
    with pytest.raises(UserError, match=r"index.json.*delete"):
        FrameStore.open(folder)


def test_verify_finds_a_changed_byte(folder):
    data = bytearray((folder / "frames.bin").read_bytes())
    data[5] ^= 1
    (folder / "frames.bin").write_bytes(data)
    with pytest.raises(UserError, match="corrupt"):
        FrameStore.open(folder).verify()
