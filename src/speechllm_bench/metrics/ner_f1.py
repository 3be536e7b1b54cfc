"""Named-entity F1 and label-F1, as in slue-toolkit (`eval_utils_ner.get_ner_scores`, commit ed23039).

An entity is a pair of tag and phrase. Entities match as multisets within an utterance: position and order do
not matter, and an entity that is said twice has to be found twice. Label-F1 compares only the tags, so it
ignores spelling. The published figure is the F1 of all entities together (micro). Phrases are compared
unchanged, so the caller normalises them first or not at all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence

from speechllm_bench.metrics import Counts

VERSION = 1

Entities = Sequence[tuple[str, str]]
"""Tag and phrase of each entity of an utterance."""


def counts(gold: Entities, predicted: Entities | None) -> Counts:
    """Return the number of found, predicted and gold entities of one utterance.

    `None` is an unparsable answer.
    """
    return _matched(gold, predicted or ())


def label_counts(gold: Entities, predicted: Entities | None) -> Counts:
    """Return the same counts for the tags alone."""
    return _matched([tag for tag, _ in gold], [tag for tag, _ in predicted or ()])


def _matched(gold: Iterable[Hashable], predicted: Iterable[Hashable]) -> Counts:
    wanted, said = Counter(gold), Counter(predicted)
    return Counts((wanted & said).total(), said.total(), wanted.total())
