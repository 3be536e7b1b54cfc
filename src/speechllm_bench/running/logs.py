"""Log files of jobs. Two runners of one profile never write to the same file at a time."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from speechllm_bench.storage import locks, runs


@dataclass(frozen=True)
class Log:
    """A log file of a job. No other runner empties it or gives it to a job before `close`."""

    file: Path
    _lock: FileLock

    def lines(self) -> list[str]:
        """Return the lines that are not blank."""
        text = self.file.read_text(encoding="utf-8", errors="replace")
        return [line for line in text.splitlines() if line.strip()]

    def last_line(self, otherwise: str) -> str:
        """Return the last line, without the prefix of the command line's errors; `otherwise` if empty."""
        lines = self.lines()
        return lines[-1].removeprefix("speechllm-bench: ") if lines else otherwise

    def close(self) -> None:
        self._lock.release()


def empty_log(folder: Path, name: str) -> Log:
    """Return an empty log file `name`.log; `name`-2.log and so on while other runners' jobs write to it.

    Without this, the output of a job that waits for the run could be taken for that of the job that failed.
    """
    for number in itertools.count(1):
        file = folder / (f"{name}.log" if number == 1 else f"{name}-{number}.log")
        if lock := locks.acquired(runs.lock_file(file)):
            folder.mkdir(parents=True, exist_ok=True)
            file.write_text("")
            return Log(file, lock)
    raise AssertionError("one number is free")
