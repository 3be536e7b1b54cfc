"""Labels that a stage uses as targets in place of gold entities (2509.04473, method)."""

from __future__ import annotations

from collections.abc import Sequence

from speechllm_bench.data import questions
from speechllm_bench.data.annotators import stored
from speechllm_bench.data.annotators.drawn import Drawn
from speechllm_bench.data.annotators.entities import Labels, few_shots, filtered
from speechllm_bench.errors import UserError
from speechllm_bench.settings.config import AnnotationConfig
from speechllm_bench.storage.schema import Utterance
from speechllm_bench.tasks import ner


def train_labels(train: Sequence[Utterance], annotation: AnnotationConfig, seed: int) -> dict[str, Labels]:
    """Return the labels of training turns by utterance id.

    Labels are drawn for every turn with gold, or they are an annotator's stored ones, for turns with or
    without gold. Raises UserError if there are no labels for any of these turns.
    """
    if annotation.stored:
        read = stored.read_labels(annotation.stored)
        written: dict[str, Labels] = {u.id: read[u.id] for u in train if u.id in read}
    else:
        train = questions.with_gold(train, [ner.NAME])
        annotator = Drawn(seed, annotation.noise or 0.0, few_shots(train))
        written = {u.id: annotator.labels(u) for u in train}
    if not written:
        raise UserError(
            f"the labels '{annotation.stored}' are of none of this profile's training turns; write them anew "
            "with `speechllm-bench annotate labels`"
        )
    if not annotation.filtered:
        return written
    return {u.id: filtered(written[u.id], u.transcript) for u in train if u.id in written}
