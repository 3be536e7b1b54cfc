"""Faults tried at random, in full: `python benchmarks/faults.py flips --number 2000`.

Prints as a table how each ended; silently different, lost, false ok and traceback have to read 0.
The trials themselves are those of tests/faults, one file a kind of fault.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

import pandas as pd
from tqdm import tqdm

TESTS = Path(__file__).resolve().parents[1] / "tests"
SHOWN = 20  # bad flips that are told one by one


def flips(number: int, seed: int, home: Path) -> int:
    """Flip `number` bits in stored files; prints the table and returns how many flips ended badly."""
    import flips

    from speechllm_bench import paths

    paths.PROJECT = home
    kinds = flips.build(home)
    scratch = home / "scratch"
    scratch.mkdir()
    found = list(tqdm(flips.flips(kinds, number, seed, scratch), total=number, unit="flip", mininterval=5))
    print(pd.DataFrame(flips.table(found)).to_markdown(index=False))
    bad = [flip for flip in found if flip.outcome in flips.BAD]
    print(*bad[:SHOWN], sep="\n")
    return len(bad)


KINDS = {"flips": flips}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("--number", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    sys.path[:0] = [str(TESTS), str(TESTS / "faults")]
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"SPEECHLLM_BENCH_HOME": folder, "HF_HUB_OFFLINE": "1"}
        return 1 if KINDS[chosen.kind](chosen.number, chosen.seed, Path(folder).resolve()) else 0


if __name__ == "__main__":
    sys.exit(main())
