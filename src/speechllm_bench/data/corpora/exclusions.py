"""Excludes unreadable recordings of a published corpus, and records their ids with the reasons.

`--skip-missing` reads each recording once and writes `excluded/<corpus>.json` below the home folder. From
then on the corpus lacks these recordings. Their ids are part of its recipe, so its digests differ from those
of the whole corpus. Without that file, a corpus with an unreadable recording is refused.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path

from pydantic import ValidationError
from tqdm import tqdm

from speechllm_bench.errors import MissingInput, UserError
from speechllm_bench.settings.strict import Strict
from speechllm_bench.storage import paths, runs
from speechllm_bench.storage.schema import Utterance

MOST = 0.1  # largest share of excluded recordings; more indicate a faulty download


class _Record(Strict):
    corpus: str
    recipe: str  # digest
    sizes: list[str]  # digests of the sizes at which the recordings were read
    utterances: dict[str, str]  # reasons by id


def record_file(corpus: str) -> Path:
    return paths.home() / "excluded" / f"{corpus}.json"


def known(corpus: str, recipe: dict) -> dict[str, str]:
    """Return the reasons by utterance id; empty if nothing is excluded from the corpus of this recipe."""
    record = _read(corpus, recipe)
    return record.utterances if record else {}


def find(
    corpus: str, recipe: dict, sizes: dict, turns: Iterable[Utterance], read: Callable
) -> dict[str, str]:
    """Return known exclusions and those of `turns` that `read` cannot read, and record them.

    Raises UserError if their share exceeds `MOST`, and MissingInput if a whole part of the corpus is missing.
    """
    asked = runs.digest(sizes)
    with runs.lock(record_file(corpus)):
        new = _Record(corpus=corpus, recipe=runs.digest(recipe), sizes=[], utterances={})
        record = _read(corpus, recipe) or new
        left_out = record.utterances
        if asked in record.sizes:
            return left_out
        turns = list(turns)
        for turn in tqdm(turns, "recordings", unit=" utt", mininterval=1):
            if turn.id not in left_out and (why := _unreadable(turn, read)):
                left_out[turn.id] = why
        if len(left_out) > MOST * len(turns):
            first = next(iter(left_out.items()))
            raise UserError(
                f"{len(left_out)} of {len(turns)} recordings of corpus '{corpus}' cannot be "
                f"read, which is too much to leave out (the first: {first[0]}: {first[1]}); fetch it again"
            )
        record.sizes.append(asked)
        runs.write_json(record_file(corpus), record.model_dump())
        return left_out


def _unreadable(turn: Utterance, read: Callable) -> str | None:
    try:
        read(turn)
    except MissingInput:
        raise
    except UserError as error:
        return str(error).replace(os.environ.get("SPEECHLLM_BENCH_DATA", "\0"), "$SPEECHLLM_BENCH_DATA")
    return None


def _read(corpus: str, recipe: dict) -> _Record | None:
    file = record_file(corpus)
    if not file.is_file():
        return None
    remedy = "delete it and start again with --skip-missing"
    try:
        record = _Record.model_validate(runs.read_json(file, remedy))
    except ValidationError:
        raise UserError(f"{file} is no record of excluded recordings; {remedy}") from None
    return record if record.recipe == runs.digest(recipe) else None
