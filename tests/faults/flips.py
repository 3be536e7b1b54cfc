"""One flipped bit in a stored file is refused, repaired or harmless; it never gives other results in silence.

Each `Kind` is a folder as the suite stores it, what the suite reads of it, and what an audit says of it. A
flip is made in a copy, which is then read as a new process would read it.
"""

from __future__ import annotations

import contextlib
import io
import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from speechllm_bench.errors import UserError
from speechllm_bench.planning import identity
from speechllm_bench.storage import sealed

REFUSED, HARMLESS, NOTICED = "refused", "harmless", "another digest"
SILENT, LOST, FALSE_OK, TRACEBACK = "silently different", "lost", "false ok", "traceback"
OUTCOMES = (REFUSED, HARMLESS, NOTICED, SILENT, LOST, FALSE_OK, TRACEBACK)
BAD = (SILENT, LOST, FALSE_OK, TRACEBACK)

Audit = Callable[[Path], list]


@dataclass(frozen=True)
class Kind:
    """`use(folder)` gives what the suite reads, to be compared; `audit(folder)` what is wrong in sentences.

    dropped: a damaged folder may be deleted, since what it held is made again.
    digest: what names the thing; where it changes, nothing takes the damaged one for the whole one.
    """

    name: str
    source: Path
    files: tuple[str, ...]
    use: Callable[[Path], object]
    audit: Audit | None = None
    dropped: bool = False
    digest: Callable[[Path], str] | None = None


@dataclass(frozen=True)
class Flip:
    """One trial: bit `bit` of byte `at` of a file, and how it went."""

    kind: str
    file: str
    at: int
    bit: int
    outcome: str
    told: str

    def __str__(self) -> str:
        return f"{self.kind} {self.file} byte {self.at} bit {self.bit}: {self.outcome}: {self.told}"


def flips(kinds: list[Kind], n: int, seed: int, scratch: Path, first: int = 0) -> Iterator[Flip]:
    """`n` flips over all files in turn, each at a place drawn at random; half of them near a file's start.

    There lie headers, which are small and where damage does most. first: the number of the first flip, where
    those before it were tried already.
    """
    files = [(kind, file) for kind in kinds for file in kind.files]
    whole = {kind.name: _read(kind, kind.source)[1] for kind in kinds}
    for number in range(first, n):
        rng = random.Random(f"{seed}/{number}")
        kind, file = files[number % len(files)]
        size = (kind.source / file).stat().st_size
        at = rng.randrange(min(size, 2048) if rng.random() < 0.5 else size)
        yield _flip(kind, file, at, rng.randrange(8), whole[kind.name], scratch)


def _flip(kind: Kind, file: str, at: int, bit: int, whole: object, scratch: Path) -> Flip:
    folder = scratch / kind.source.name  # of the same name, which a run's record repeats
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(kind.source, folder)
    content = bytearray((folder / file).read_bytes())
    content[at] ^= 1 << bit
    (folder / file).write_bytes(content)
    before = _names(folder)
    wrong = kind.audit(folder) if kind.audit else None
    outcome, told = _read(kind, folder)
    if outcome == HARMLESS and told != whole:
        outcome = NOTICED if kind.digest and kind.digest(folder) != kind.digest(kind.source) else SILENT
        told = ""
    if outcome == REFUSED and wrong == []:
        outcome = FALSE_OK
    if outcome in (REFUSED, HARMLESS) and not kind.dropped and before - _names(folder):
        outcome = LOST
    return Flip(kind.name, file, at, bit, outcome, str(told)[:300])


def _read(kind: Kind, folder: Path) -> tuple[str, object]:
    """How reading ended, and what was read or told."""
    sealed._known.clear()  # as in a new process
    identity.backbone_hash.cache_clear()
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            return HARMLESS, kind.use(folder)
    except UserError as error:
        told = str(error)
        return (REFUSED, told) if told and "\n" not in told else (TRACEBACK, told)
    except Exception as error:
        return TRACEBACK, f"{type(error).__name__}: {error}"
    except BaseException as error:  # a panic of the tokenizers' Rust is no Exception
        if isinstance(error, KeyboardInterrupt | SystemExit):
            raise
        return TRACEBACK, f"{type(error).__name__}: {error}"


def _names(folder: Path) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*")}
