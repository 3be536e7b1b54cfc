"""Sentences of captions: what numbers rest on, what one seed lacks, and what difference can be shown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pandas as pd

from speechllm_bench import stats
from speechllm_bench.stats import ALPHA, ONE_SEED
from speechllm_bench.studies import Result

ONE_SEED_NOTE = "the variance between seeds is estimated from the records of mini."


def one_seed(frame: pd.DataFrame) -> list[str]:
    """The sentence on rows of one seed, where a table has any that was trained."""
    if not (_trained(frame) & (frame["seeds"].eq(1) | frame["difference_seeds"].eq(1))).any():
        return []
    return [f"{ONE_SEED} marks rows of one seed: {ONE_SEED_NOTE}"]


def smallest_shown(errors: Iterable[float]) -> list[str]:
    """The sentence on power, from the standard errors of paired differences; none without any."""
    if not (found := sorted(error for error in errors if error > 0)):
        return []
    shown = [f"{stats.smallest_shown(error):.3f}" for error in (found[0], found[-1])]
    between = shown[0] if len(set(shown)) == 1 else " to ".join(shown)
    return [f"The smallest difference that the test set can show (power 0.8, alpha {ALPHA}) is {between}."]


def size(n: Iterable[int], speakers: Iterable[int], seeds: Iterable[int]) -> str:
    """What numbers rest on, of one entry a variant."""
    of_seeds = _range(seeds)
    each = "1 seed" if of_seeds == "1" else f"{of_seeds} seeds"
    return f"n = {_range(n)} utterances of {_range(speakers)} speakers; {each} per variant."


def left_out(excluded: Iterable[int]) -> list[str]:
    """The sentence on recordings that cannot be read, of one number a variant; none without any."""
    if not (found := list(excluded)):
        return []
    return [f"The corpus lacks {_range(found)} recordings that cannot be read."]


def not_testable(rows: Sequence[Result]) -> list[str]:
    """A sentence for each reason why variants mean nothing on the corpus, from rows of `studies.records`."""
    variants: dict[str, list[str]] = {}
    for row in rows:
        if row.get("why") and row["variant"] not in variants.setdefault(row["why"], []):
            variants[row["why"]].append(row["variant"])
    return [f"{', '.join(names)}: {why}." for why, names in variants.items()]


def _trained(frame: pd.DataFrame) -> pd.Series:
    """Whether a row's models were trained: those of one seed have no variance of their own."""
    return frame["trained_parameters"].fillna(0) > 0


def _range(values: Iterable[int]) -> str:
    found = sorted(set(values))
    return f"{found[0]}" if len(found) == 1 else f"{found[0]} to {found[-1]}"
