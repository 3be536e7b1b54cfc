"""Decides whether a run's corpus can test it. The answer follows from the declared properties of corpus and
tasks and from the run's config, not from the names of studies.
"""

from __future__ import annotations

from collections.abc import Iterable

from speechllm_bench.data import corpora
from speechllm_bench.data.corpora.recorded import Scope
from speechllm_bench.settings.config import RunConfig
from speechllm_bench.settings.evaluation_config import LANGUAGES
from speechllm_bench.storage.schema import Gold
from speechllm_bench.tasks import TASKS

CLASSIFIED = {"entities", "sentiment"}  # gold fields that a stage's classifier learns


def untestable(config: RunConfig) -> str | None:
    """Return the reason why a run is not testable on its corpus, as part of a sentence; None if it is."""
    corpus, scope = config.corpus.name, corpora.scope_of(config.corpus.name)
    evaluation = config.evaluation
    tested = config.tested.name
    asked_of = corpora.scope_of(tested)
    synthesised_apart = LANGUAGES if evaluation.corpus is None else ()
    if evaluation.split not in (*asked_of.splits, *synthesised_apart):
        return f"'{tested}' has no split {evaluation.split}"
    learned = config.tasks(len(config.stages), evaluated=False)
    if learned and "train" not in scope.splits:
        return f"'{corpus}' has nothing to train on"
    for name, known, asked in ((corpus, scope, learned), (tested, asked_of, {evaluation.task})):
        if lacking := sorted(task for task in asked if not _known({task}, known.gold)):
            return f"nothing in '{name}' has gold for {' or '.join(lacking)}"
    if any(stage.classifier and not _classifiable(stage.taught, scope) for stage in config.stages):
        return (
            f"a stage's classifier learns entities and sentiments, and the turns of '{corpus}' that the "
            "stage trains on have neither"
        )
    if evaluation.context and not asked_of.dialogue:
        return f"the run shows turns of context, and in '{tested}' none come before the one that is heard"
    if config.precision == "nf4" and config.audio_llm:
        return "precision nf4 keeps text LLMs in 4 bits, and the run has an audio LLM"
    if evaluation.engine and evaluation.beams:
        return f"decoding.engine vllm decodes greedily, and the run has {evaluation.beams} beams"
    if evaluation.engine and config.precision == "nf4":
        return "decoding.engine vllm reads whole weights, and precision nf4 keeps 4 bits of them"
    if scope.recorded and (synthesised := _synthesised(config)):
        return f"{synthesised} are spoken by a synthesiser, and the turns of '{corpus}' by people"
    return None


def _classifiable(taught: set[str], scope: Scope) -> bool:
    """Whether some of a stage's training turns have gold that a classifier learns."""
    return _known(taught, (source for source in scope.gold if source & CLASSIFIED))


def _known(tasks: set[str], sources: Iterable[frozenset[Gold]]) -> bool:
    """Whether some source has gold for one of these tasks."""
    return any(source.issuperset(TASKS[task].gold) for source in sources for task in tasks)


def _synthesised(config: RunConfig) -> str | None:
    """Return the synthetic speech that a run uses besides its corpus, as words; None if there is none."""
    if config.evaluation.split in LANGUAGES and config.evaluation.corpus is None:
        return f"turns in {config.evaluation.split}"
    spoken = [t for t in config.tasks(len(config.stages)) if TASKS[t].instructions]
    return f"instructions of the task {spoken[0]}" if spoken else None
