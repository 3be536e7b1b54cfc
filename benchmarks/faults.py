"""Faults tried at random, in full: `python benchmarks/faults.py flips --number 2000`.

Writes to faults.md how each ended; silently different, lost, false ok and traceback have to read 0.
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
EVERY = 100  # flips between two writings of the page


def flips(number: int, seed: int, home: Path) -> int:
    """Flip `number` bits in stored files; writes the table and returns how many flips ended badly."""
    import flips

    from speechllm_bench import paths

    paths.PROJECT = home
    kinds = flips.build(home)
    scratch = home / "scratch"
    scratch.mkdir()
    found = []
    tried = flips.flips(kinds, number, seed, scratch)
    for flip in tqdm(tried, total=number, unit=" flips", mininterval=5):
        found.append(flip)
        if len(found) % EVERY == 0 or len(found) == number:
            command = f"python benchmarks/faults.py flips --number {len(found)} --seed {seed}"
            table = pd.DataFrame(flips.table(found)).to_markdown(index=False)
            Path(__file__).with_suffix(".md").write_text(page(table, len(found), command), "utf-8")
    bad = [flip for flip in found if flip.outcome in flips.BAD]
    print(*bad[:SHOWN], sep="\n")
    return len(bad)


def page(table: str, n: int, command: str) -> str:
    """The table, and what stands above it."""
    return f"""# Damage in stored files

{n:,} bits, each flipped in a copy of what is stored, which is then read as a new process reads it. Refused: \
in one sentence. Harmless: what is read is the same. Another digest: it counts as another thing. Written by \
`{command}`.

{table}
"""


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
