"""Named entities: F1 by tag, boundary errors, and the quality of an annotator's labels."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import pandas as pd

from speechllm_bench import metrics, stats
from speechllm_bench.data.annotators.entities import FILTERS, Labels
from speechllm_bench.evaluation import score, seeds
from speechllm_bench.metrics import f1, ner_f1
from speechllm_bench.planning.stored_runs import predictions
from speechllm_bench.planning.studies import Result
from speechllm_bench.storage.schema import ENTITY_TAGS, Prediction, Utterance
from speechllm_bench.tasks import ner
from speechllm_bench.tasks.prompt import contains

RARE = 0.02  # a tag with a smaller share of all gold entities is rare
TAGS_CAPTION = (
    "F1 of named entities by tag. The rarest tag comes first. The number in brackets says how often gold has "
    "the tag. F1 is over the answers of all seeds. A tag with 0.000 is never found."
)


class _Answer(NamedTuple):
    """Entities of one answer, parsed once for all tags."""

    id: str
    speaker: str
    gold: tuple[tuple[str, str], ...]
    said: tuple[tuple[str, str], ...]

    def counts(self, tags: set[str]) -> tuple[float, ...]:
        """Return `ner_f1.counts` of the entities with these tags."""
        return ner_f1.counts(*([e for e in some if e[0] in tags] for some in (self.gold, self.said)))


def f1_by_tag(rows: Sequence[Result]) -> pd.DataFrame:
    """Return one row per variant and one column per tag with its gold count, rarest first. Seeds are summed.

    Entities match as in `metrics.ner_f1`, within their tag.
    """
    answers = _answers(rows)
    often = _often(answers)
    lines = {}
    for variant, own in answers.items():
        sums = _sums_by_tag(answer for of_seed in own.values() for answer in of_seed)
        lines[variant] = {f"{tag} ({n})": float(f1(sums[tag])) for tag, n in reversed(often.most_common())}
    return pd.DataFrame.from_dict(lines, orient="index")


def _sums_by_tag(said: Iterable[_Answer]) -> dict[str, np.ndarray]:
    """Return the sums of `ner_f1.counts` by tag."""
    sums: dict[str, np.ndarray] = defaultdict(lambda: np.zeros(3))
    for one in said:
        for tag in {tag for tag, _ in (*one.gold, *one.said)}:  # it adds nothing to others
            sums[tag] += one.counts({tag})
    return sums


def tags_table(rows: Sequence[Result]) -> pd.DataFrame:
    """Return `f1_by_tag` as text with the variants in a column. Empty where none has the entity task."""
    found = f1_by_tag(rows)
    if found.empty:
        return found
    table = found.map("{:.3f}".format).rename_axis("variant").reset_index()
    table.attrs["keys"] = {heading: heading.split(" ")[0] for heading in found}  # ids have no count
    return table


def f1_of_rare_tags(rows: Sequence[Result], baseline: str) -> pd.DataFrame:
    """Return one row per variant: number of rare tags predicted, F1 over the entities of all rare tags
    together, and its paired difference to the baseline, with intervals.

    With few entities the intervals are wide, as they should be. Two variants that never predict a rare tag
    have no difference, since nothing was tested. Empty where no tag is rare.
    """
    answers = _answers(rows)
    often = _often(answers)
    rare = {tag for tag, n in often.items() if n < RARE * often.total()}
    if not rare:
        return pd.DataFrame()
    named = f"{', '.join(sorted(rare))}: {sum(often[tag] for tag in rare)} entities"
    between = seeds.pooled("ner_f1")
    sums = {
        variant: {seed: _by_speaker(said, rare) for seed, said in of_seeds.items()}
        for variant, of_seeds in answers.items()
    }
    labelled = {  # counts are (found, said, gold)
        variant: int(sum(seed.sums[..., 1].sum() for seed in own.values())) for variant, own in sums.items()
    }
    lines = []
    for variant, own in sums.items():
        found = stats.contrast([stats.stack_seeds(list(own.values()))], [1], f1, score.rng(), between)
        line = {"variant": variant, "labels said": labelled[variant]}
        line[f"F1 of {named}"] = stats.shown(stats.within(found, 0, 1))
        both = sorted(own.keys() & sums.get(baseline, {}).keys())
        line[f"difference to {baseline}"] = "–"
        if both and variant != baseline and labelled[variant] + labelled[baseline]:
            pair = [stats.stack_seeds([one[seed] for seed in both]) for one in (own, sums[baseline])]
            found = stats.contrast(pair, [1, -1], f1, score.rng(), between and 2 * between)
            line[f"difference to {baseline}"] = stats.shown(found, "+")
        lines.append(line)
    return pd.DataFrame(lines)


def _answers(rows: Sequence[Result]) -> dict[str, dict[int, list[_Answer]]]:
    """Return variant -> seed -> answers, for the runs with a score on the entity task."""
    found: dict[str, dict[int, list[_Answer]]] = {}
    for row in _of_entities(rows):
        found.setdefault(row["variant"], {})[row["seed"]] = [
            _Answer(p.example_id, p.speaker, _entities(p.gold), _entities(p.raw))
            for p in predictions(row["run"])
        ]
    return found


@lru_cache(maxsize=2**16)  # the runs of a study have the same gold, and many of the same answers
def _entities(answer: str) -> tuple[tuple[str, str], ...]:
    """Return `ner.parse` of an answer, empty where it cannot be parsed."""
    return tuple(ner.parse(answer) or ())


def _of_entities(rows: Sequence[Result]) -> list[Result]:
    return [row for row in rows if row["score"] and row["run"].config.evaluation.task == ner.NAME]


def _often(answers: dict[str, dict[int, list[_Answer]]]) -> Counter[str]:
    """Return the gold count of each tag in one run. All runs answer the same questions."""
    first = next((said for seeds in answers.values() for said in seeds.values()), [])
    return Counter(tag for answer in first for tag, _ in answer.gold)


def _by_speaker(said: list[_Answer], tags: set[str]) -> stats.SpeakerSums:
    counts = np.array([one.counts(tags) for one in said], float)
    return stats.sum_by_speaker([one.id for one in said], [one.speaker for one in said], counts)


ENDS = ("found", "boundary", "missed")


def boundary_errors(rows: Sequence[Result], utterances: Sequence[Utterance]) -> pd.DataFrame:
    """Return one row per variant and group of gold entities: their number, and the share of each of `ENDS`.

    utterances: of the split that they answered. Entities are grouped by their number of words and, where
    voices are known, by thirds of the speaking rate. Seeds are summed.
    """
    voices = {u.id: u.voice for u in utterances}
    rates = {id: voice.rate if voice else float("nan") for id, voice in voices.items()}
    lines = [
        (row["variant"], len(phrase.split()), rates[prediction.utterance_id], end)
        for row in _of_entities(rows)
        for prediction in predictions(row["run"])
        for phrase, end in ends(prediction)
    ]
    frame = pd.DataFrame(lines, columns=["variant", "words", "rate", "end"])
    length = frame["words"].clip(upper=4).map({1: "1 word", 2: "2 words", 3: "3 words", 4: "4 words or more"})
    parts = [frame.assign(group=length)]
    slow, fast = frame["rate"].quantile([1 / 3, 2 / 3])
    if slow < fast:  # Cut by value: entities of one rate share a third, in all variants
        cuts = [float("-inf"), slow, fast, float("inf")]
        thirds = pd.cut(frame["rate"], cuts, labels=["slow", "medium", "fast"]).astype(str)
        parts.append(frame.assign(group=thirds))
    both = pd.concat(parts, ignore_index=True)
    shares = pd.crosstab([both["variant"], both["group"]], both["end"], normalize="index")
    counted = both.groupby(["variant", "group"]).size().rename("entities")
    return shares.reindex(columns=list(ENDS), fill_value=0.0).join(counted).reset_index()


def ends(prediction: Prediction) -> list[tuple[str, str]]:
    """Return the phrase of each gold entity, and its result.

    found: predicted with its tag. boundary: the tag was predicted with a phrase that shares words with it and
    is no gold entity. missed: anything else. An answer that cannot be parsed misses all entities.
    """
    gold, said = ner.parse(prediction.gold) or [], Counter(ner.parse(prediction.raw) or ())
    wrong = said - Counter(gold)
    found = []
    for tag, phrase in gold:
        near = [e for e in wrong.elements() if e[0] == tag and set(e[1].split()) & set(phrase.split())]
        if said[tag, phrase]:
            said[tag, phrase] -= 1
            found.append((phrase, "found"))
        elif near:
            wrong[near[0]] -= 1
            found.append((phrase, "boundary"))
        else:
            found.append((phrase, "missed"))
    return found


LABEL_KINDS = ("right", "wrong tag", "wrong boundary", "meaningless tag", "not said", "no entity", "omitted")
"""Results for an entity. The last one is for a gold entity without a label; the others are for labels."""
_RATES = {"precision": metrics.precision, "recall": metrics.recall, "F1": metrics.f1}

Written = Mapping[str, Sequence[Labels | None]]
"""Annotator -> labels of each turn; None where its answer could not be read."""


def label_quality(written: Written, gold: Sequence[Labels], turns: Sequence[Utterance]) -> pd.DataFrame:
    """Return one row per annotator and filter. Each filter applies on top of the ones before it.

    Entities match as in `metrics.ner_f1`. F1 has a 95 % interval over the turns' speakers.
    """
    lines = []
    for about, kept in _after_each_filter(written, turns):
        counts = np.array([ner_f1.counts(*pair) for pair in zip(gold, kept, strict=True)])
        alone = np.array([ner_f1.label_counts(*pair) for pair in zip(gold, kept, strict=True)])
        unreadable = sum(answer is None for answer in written[about["annotator"]])
        line = about | {"unreadable answers": unreadable, "labels": int(counts[:, 1].sum())}
        line |= {rate: float(of(counts.sum(axis=0))) for rate, of in _RATES.items()}
        interval = _interval(turns, counts)
        line |= {"F1, low": interval.low, "F1, high": interval.high}
        lines.append(line | {"label-F1": float(metrics.f1(alone.sum(axis=0)))})
    return pd.DataFrame(lines)


def label_errors(written: Written, gold: Sequence[Labels], turns: Sequence[Utterance]) -> pd.DataFrame:
    """Return one row per annotator and filter: the number of entities of each of `LABEL_KINDS`."""
    lines = []
    for about, kept in _after_each_filter(written, turns):
        ends: Counter[str] = Counter()
        for wanted, found, turn in zip(gold, kept, turns, strict=True):
            ends += label_kinds(wanted, found, turn.transcript)
        lines.append(about | {kind: ends[kind] for kind in LABEL_KINDS})
    return pd.DataFrame(lines, columns=["annotator", "filter", *LABEL_KINDS])


def label_kinds(gold: Labels, labels: Labels | None, transcript: str) -> Counter[str]:
    """Count one turn's entities by `LABEL_KINDS`.

    Each label has one kind, the first that holds: meaningless tag; phrase not said; the phrase of a gold
    entity; words shared with a gold entity of its tag; no entity. A gold entity that no label has used up is
    omitted. Labels with a meaningless tag are handled last, so a filter that removes them does not change the
    kinds of the other labels.
    """
    left, wrong = Counter(gold), Counter(labels or ()) - Counter(gold)
    left -= Counter(labels or ())
    found = Counter({"right": len(gold) - left.total()})

    def use_up(tag: str | None, phrase: str | None = None, words: str = "") -> bool:
        for entity in left.elements():
            same = phrase == entity[1] or bool(set(words.split()) & set(entity[1].split()))
            if same and tag in (None, entity[0]):
                left[entity] -= 1
                return True
        return False

    for tag, phrase in sorted(wrong.elements(), key=lambda label: label[0] not in ENTITY_TAGS):
        if tag not in ENTITY_TAGS:
            use_up(None, phrase)
            found["meaningless tag"] += 1
        elif not contains(transcript, phrase):
            found["not said"] += 1
        elif use_up(None, phrase):
            found["wrong tag"] += 1
        elif use_up(tag, words=phrase):
            found["wrong boundary"] += 1
        else:
            found["no entity"] += 1
    return found + Counter(omitted=left.total())


def _after_each_filter(written: Written, turns: Sequence[Utterance]) -> Iterator[tuple[dict, list[Labels]]]:
    """Yield annotator, filter and labels: for each annotator as written, then after each filter in turn."""
    for annotator, labels in written.items():
        kept = [of_turn or () for of_turn in labels]
        yield {"annotator": annotator, "filter": "as written"}, kept
        for name, keep in FILTERS.items():
            kept = [keep(some, turn.transcript) for some, turn in zip(kept, turns, strict=True)]
            yield {"annotator": annotator, "filter": name}, kept


def _interval(turns: Sequence[Utterance], counts: np.ndarray):
    summed = stats.sum_by_speaker([turn.id for turn in turns], [turn.speaker for turn in turns], counts)
    return stats.bootstrap(summed, metrics.f1, np.random.default_rng(0), n_boot=1000)
