"""Random fault injection in full. Writes faults.md.

    python benchmarks/faults.py [flips|kills|answers] [--number N] [--seed 0] [--again]

Outcomes are added to faults.csv, so a stopped run resumes. --again deletes earlier outcomes first. The
columns silently different, lost, false ok and traceback must be 0; otherwise the exit code is 1. tests/faults
runs a few of the same trials.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import pandas as pd

FOLDER = Path(__file__).resolve().parent
TESTS = FOLDER.parent / "tests"
STORED, PAGE = FOLDER / "faults.csv", FOLDER / "faults.md"
BAD = ("silently different", "lost", "false ok", "traceback")
OTHER = {"flips": ("refused", "harmless", "another digest"), "kills": ("left",), "answers": ()}
COLUMNS = ("tried", *BAD, *OTHER["kills"], *OTHER["flips"])
SECONDS = 5  # between two writes of the outcomes
TITLES = {"flips": "Flipped bits", "kills": "Kills", "answers": "Damaged answers"}
HOW = {
    "flips": """Each bit is flipped in a copy of stored files. The copy is then read as in a new process.
"Refused" means with one sentence, and "harmless" that the content read is the same. "Another digest" means
that the copy counts as another object.
Kinds of files: [stored_kinds.py](../tests/faults/stored_kinds.py).""",
    "kills": """A toy study is prepared, run and reported. Each command gets a signal at a random time and is
started again. The results have to equal those of a run without kills. "Left" counts temporary files that the
last start has not removed. The other columns are explained in [kills.py](kills.py).""",
    "answers": """Right answers are damaged at random, and then parsed and scored. The columns are explained
in [fuzz.py](fuzz.py).""",
}
NUMBERS = {"flips": 2000, "kills": 200, "answers": 1_000_000}


def flips(number: int, seed: int, done: Mapping[str, int], home: Path) -> Iterator[tuple[str, Counter]]:
    """Yield the outcomes of flipped bits in stored files, one flip at a time."""
    import flips
    import stored_kinds

    from speechllm_bench.storage import paths

    paths.PROJECT = home
    kinds = stored_kinds.build(home)
    scratch = home / "scratch"
    scratch.mkdir()
    for flip in flips.flips(kinds, number, seed, scratch, first=sum(done.values())):
        yield (
            flip.kind,
            Counter({"tried": 1, flip.outcome: 1} | ({str(flip): 1} if flip.outcome in BAD else {})),
        )


def kills(number: int, seed: int, done: Mapping[str, int], home: Path) -> Iterator[tuple[str, Counter]]:
    """Yield the outcomes of killed commands, one home at a time."""
    import kills
    import tiny

    tiny.write_backbones(home / "zoo")
    backbones = (str(home / "zoo" / name) for name in ("whisper", "llm"))
    for found in kills.kills(home, *backbones, number, seed, sum(done.values())):
        for command, *_ in kills.COMMANDS:
            own = [(column, told) for column, name, told in found.faults if name == command]
            counts = Counter({"tried": sum(n for (name, _), n in found.kills.items() if name == command)})
            for column, told in own:
                counts += Counter({column: 1, told: 1})
            yield command, counts


def answers(number: int, seed: int, done: Mapping[str, int], home: Path) -> Iterator[tuple[str, Counter]]:
    """Yield the outcomes of damaged answers, one batch of one task at a time."""
    import fuzz

    yield from fuzz.fuzz(number, seed, done)


KINDS = {"flips": flips, "kills": kills, "answers": answers}


Outcomes = dict[tuple[str, str], Counter]  # (harness, kind of file, command or task) -> counts by column


def add(harness: str, number: int, seed: int) -> None:
    """Run the remaining trials of `number`, add the outcomes to the stored ones, and print each fault."""
    found, written = stored(), time.monotonic()
    done = {kind: counts["tried"] for (name, kind), counts in found.items() if name == harness}
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"SPEECHLLM_BENCH_HOME": folder, "HF_HUB_OFFLINE": "1"}
        for kind, counts in KINDS[harness](number, seed, done, Path(folder).resolve()):
            own = found.setdefault((harness, kind), Counter())
            own.update({column: counts[column] for column in COLUMNS})
            for told in counts.keys() - {*COLUMNS}:
                print(f"{harness}, {kind}: {told}", flush=True)
            if time.monotonic() > written + SECONDS:
                written = time.monotonic()
                write(found)
    write(found)


def stored() -> Outcomes:
    if not STORED.is_file():
        return {}
    table = pd.read_csv(STORED, index_col=["harness", "kind"])
    return {key: Counter(row) for key, row in table.to_dict("index").items()}


def write(found: Outcomes) -> None:
    """Store the outcomes and rewrite the page."""
    index = pd.MultiIndex.from_tuples(found, names=["harness", "kind"])
    table = pd.DataFrame(list(found.values()), index=index, columns=COLUMNS).fillna(0).astype(int)
    STORED.write_text(table.to_csv(), "utf-8")
    PAGE.write_text(page(table), "utf-8")


def page(table: pd.DataFrame) -> str:
    """Return the page: one table of all harnesses, then for each a description and a table by kind."""
    total = table.groupby("harness", sort=False).sum()
    total = total.reindex([name for name in KINDS if name in total.index])
    shown = _markdown(total.rename(TITLES)[["tried", *BAD]])
    parts = [f"# Faults tried at random\n\nWritten by `python benchmarks/faults.py`.\n\n{shown}"]
    for harness in total.index:
        own = table.loc[harness]
        shown = _markdown(own[["tried", *BAD, *OTHER[harness]]])
        parts.append(f"## {TITLES[harness]}\n\n{' '.join(HOW[harness].split())}\n\n{shown}")
    return "\n\n".join(parts) + "\n"


def _markdown(table: pd.DataFrame) -> str:
    shown = table.map("{:,}".format)
    return shown.to_markdown(disable_numparse=True, colalign=("left", *["right"] * len(table.columns)))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("harness", choices=[*KINDS, "all"], nargs="?", default="all")
    parser.add_argument(
        "--number", type=int, help="of trials; left out: 2,000 flips, 200 kills, 10^6 answers"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--again", action="store_true", help="forget the outcomes of this harness")
    chosen = parser.parse_args()
    names = list(KINDS) if chosen.harness == "all" else [chosen.harness]
    sys.path[:0] = [str(TESTS), str(TESTS / "faults"), str(FOLDER)]
    if chosen.again:
        write({key: counts for key, counts in stored().items() if key[0] not in names})
    for name in names:
        add(name, chosen.number or NUMBERS[name], chosen.seed)
    print(PAGE.read_text("utf-8"))
    return 1 if any(counts[column] for counts in stored().values() for column in BAD) else 0


if __name__ == "__main__":
    sys.exit(main())
