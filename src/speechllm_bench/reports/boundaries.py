"""Where entities begin and end: boundary errors by an entity's length and by how fast it was said.

Pooling speech to fewer steps might blur where an entity begins and ends; 2509.04473 reports
F1 alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pandas as pd

from speechllm_bench.reports.predictions import predictions
from speechllm_bench.schema import Prediction, Utterance
from speechllm_bench.studies import Result
from speechllm_bench.tasks import ner

ENDS = ("found", "boundary", "missed")


def boundary_errors(rows: Sequence[Result], utterances: Sequence[Utterance]) -> pd.DataFrame:
    """One row a variant and group of gold entities: how many, and the share of each end.

    rows: of `studies.records`; utterances: of the split that they answered. Groups are an entity's words, and
    about thirds of the speaking rate where there are voices. Seeds are summed.
    """
    spoken = {u.id: u for u in utterances}
    lines = []
    for row in rows:
        if not row["score"] or row["run"].config.evaluation.task != ner.NAME:
            continue
        for prediction in predictions(row["run"]):
            voice = spoken[prediction.utterance_id].voice
            for phrase, end in ends(prediction):
                rate = voice.rate if voice else float("nan")
                lines.append((row["variant"], len(phrase.split()), rate, end))
    frame = pd.DataFrame(lines, columns=["variant", "words", "rate", "end"])
    length = frame["words"].clip(upper=4).map({1: "1 word", 2: "2 words", 3: "3 words", 4: "4 words or more"})
    parts = [frame.assign(group=length)]
    slow, fast = frame["rate"].quantile([1 / 3, 2 / 3])
    if slow < fast:  # by the rate's own value: entities said alike stand together, in every variant's rows
        cuts = [float("-inf"), slow, fast, float("inf")]
        thirds = pd.cut(frame["rate"], cuts, labels=["slow", "medium", "fast"]).astype(str)
        parts.append(frame.assign(group=thirds))
    both = pd.concat(parts, ignore_index=True)
    shares = pd.crosstab([both["variant"], both["group"]], both["end"], normalize="index")
    counted = both.groupby(["variant", "group"]).size().rename("entities")
    return shares.reindex(columns=list(ENDS), fill_value=0.0).join(counted).reset_index()


def ends(prediction: Prediction) -> list[tuple[str, str]]:
    """Each gold entity's phrase, and what became of it.

    found: said with its tag. boundary: its tag was said with a phrase that shares words with it and is no
    gold entity. missed: anything else. An answer that cannot be parsed misses all.
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
