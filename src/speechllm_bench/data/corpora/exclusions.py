"""Excludes unreadable recordings of a published corpus, and records their ids with the reasons.

`--skip-missing` reads each recording once and writes `excluded/<corpus>.json` below the home folder. From
then on the corpus lacks these recordings. Their ids are part of its recipe, so its digests differ from those
of the whole corpus. Without that file, a corpus with an unreadable recording is refused.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path

from tqdm import tqdm

from speechllm_bench.errors import MissingInput, UserError
from speechllm_bench.storage import paths, runs
from speechllm_bench.storage.schema import Utterance

MOST = 0.1  # largest share of excluded recordings; more indicate a faulty download


def record_file(corpus: str) -> Path:
    return paths.home() / "excluded" / f"{corpus}.json"


def known(corpus: str, recipe: dict) -> dict[str, str]:
    """Return the reasons by utterance id; empty if nothing is excluded from the corpus of this recipe."""
    record = _read(corpus, recipe)
    return record["utterances"] if record else {}


def find(
    corpus: str, recipe: dict, sizes: dict, turns: Iterable[Utterance], read: Callable
) -> dict[str, str]:
    """Return known exclusions and those of `turns` that `read` cannot read, and record them.

    Raises UserError if their share exceeds `MOST`, and MissingInput if a whole part of the corpus is missing.
    """
    asked = runs.digest(sizes)
    with runs.lock(record_file(corpus)):
        record = _read(corpus, recipe) or {"corpus": corpus, "recipe": runs.digest(recipe)}
        record = {"sizes": [], "utterances": {}} | record
        if asked in record["sizes"]:
            return record["utterances"]
        turns = list(turns)
        for turn in tqdm(turns, "recordings", unit=" utt", mininterval=1):
            if turn.id not in record["utterances"] and (why := _unreadable(turn, read)):
                record["utterances"][turn.id] = why
        if len(record["utterances"]) > MOST * len(turns):
            first = next(iter(record["utterances"].items()))
            raise UserError(
                f"{len(record['utterances'])} of {len(turns)} recordings of corpus '{corpus}' cannot be "
                f"read, which is too much to leave out (the first: {first[0]}: {first[1]}); fetch it again"
            )
        record["sizes"].append(asked)
        runs.write_json(record_file(corpus), record)
        return record["utterances"]


def _unreadable(turn: Utterance, read: Callable) -> str | None:
    try:
        read(turn)
    except MissingInput:
        raise
    except UserError as error:
        return str(error).replace(os.environ.get("SPEECHLLM_BENCH_DATA", "\0"), "$SPEECHLLM_BENCH_DATA")
    return None


def _read(corpus: str, recipe: dict) -> dict | None:
    file = record_file(corpus)
    if not file.is_file():
        return None
    record = runs.read_json(file, "delete it and start again with --skip-missing")
    return record if record.get("recipe") == runs.digest(recipe) else None
