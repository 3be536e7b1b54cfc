"""A disk that fills up, wherever it does: one sentence, nothing finished is lost, the next start goes on."""

from __future__ import annotations

import contextlib
import errno
import gzip
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml
from conftest import toy_profile

from speechllm_bench import cli
from speechllm_bench.data.frames import FrameWriter
from speechllm_bench.storage import paths
from speechllm_bench.training import loop

PREPARE = ("prepare", "--jobs", "1")
RUN = ("run", "adapter_size", "mlp", "--threads", "1")
REPORT = ("report", "adapter_size")


@pytest.fixture
def started(tmp_path, tiny_backbones, monkeypatch) -> Path:
    """A home where nothing has been done yet, the real study at a toy scale."""
    profile = toy_profile("smoke")
    profile["corpus"]["sizes"] = {"train": 8, "validation": 4, "A-test": 8}
    profile["encoder"]["path"], profile["llm"] = (str(tiny_backbones / name) for name in ("whisper", "llm"))
    profile["budgets"] = {"alignment": 8, "slots": 8, "transcription": 0, "understanding": 8}
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles" / "smoke.yaml").write_text(yaml.safe_dump(profile))
    (tmp_path / "adapter_size.yaml").write_text((paths.EXPERIMENTS / "adapter_size.yaml").read_text())
    monkeypatch.setattr(paths, "EXPERIMENTS", tmp_path)
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", -1)  # one a step
    monkeypatch.setenv("SPEECHLLM_BENCH_HOME", str(tmp_path / "home"))
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "TOKENIZERS_PARALLELISM"):
        monkeypatch.setenv(name, os.environ[name])  # `run` sets them
    return tmp_path / "home"


@contextlib.contextmanager
def full(owner: type, method: str, word: str) -> Iterator[None]:
    """No room for what `owner.method` writes into a file with `word` in its path."""
    write = getattr(owner, method)

    def refuse(self, *arguments, **options):
        if word in str(self):
            if owner is Path:
                write(self, arguments[0][:9])  # there was room for a part
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(self, *arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, method, refuse)
        yield


def finished(home: Path) -> dict[str, str]:
    """What is there to stay, with its content: corpus, frames, stages, runs, tables and figures."""
    parts = (".cache/corpora", ".cache/frames", "results")
    files = [p for part in parts for p in (home / part).rglob("*") if p.is_file()]
    return {str(p): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def test_each_write_that_fails_is_one_sentence_and_the_next_start_goes_on(started, capsys):
    for command, *write in (
        (PREPARE, pq.ParquetWriter, "write_table", ""),
        (PREPARE, FrameWriter, "add", ""),
        (PREPARE, None),
        (RUN, Path, "write_bytes", "optimizer.pt"),
        (RUN, Path, "write_bytes", "/stages/"),
        (RUN, gzip.GzipFile, "write", ""),
        (RUN, Path, "write_bytes", "run.json"),
        (RUN, None),
        (REPORT, Path, "write_bytes", "adapter_size.csv"),
        (REPORT, Path, "write_bytes", "adapter_size_curves.png"),
        (REPORT, None),
    ):
        before = finished(started)
        with full(*write) if write[0] else contextlib.nullcontext():
            code = cli.main(list(command))
        told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("speechllm-bench: ")]
        sentence = (
            f"speechllm-bench: no space left on the disk ({started}); "
            "make room and start again, finished runs stay"
        )
        assert (code, told) == ((2, [sentence]) if write[0] else (0, [])), (command, write)
        assert before.items() <= finished(started).items(), (command, write)
        assert not list(started.rglob("*.tmp"))
    assert ",ok," in (started / "results" / "smoke" / "tables" / "adapter_size.csv").read_text()


def test_a_file_that_cannot_be_written_for_another_reason_is_no_full_disk(started, monkeypatch):
    def forbidden(*_):
        raise PermissionError(errno.EACCES, "no")

    monkeypatch.setattr(cli, "tell_machine", forbidden)
    with pytest.raises(PermissionError):
        cli.main(["doctor"])
