"""Sentiment of a turn (2509.04473; SLUE, arXiv 2111.10367). The answer is negative, neutral or positive.

Synthetic voices do not sound angry or pleased, so on the embedded corpus only the words carry sentiment.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from speechllm_bench.metrics import class_f1
from speechllm_bench.storage.schema import SENTIMENTS, Example, Prediction, Utterance
from speechllm_bench.tasks.metric import PARSE_FAILURES, UNPARSABLE, Metric
from speechllm_bench.tasks.prompt import DIALOGUE, Wordings, user_message
from speechllm_bench.tasks.task import Counted, Draw, Parse, Task, answers

NAME = "sentiment"
VERSION = 1
_CHOICE = f"{', '.join(SENTIMENTS[:-1])} or {SENTIMENTS[-1]}"
INSTRUCTION: Wordings = {
    None: f"sentiment: {_CHOICE}",
    "english": f"Answer with the caller's sentiment: {_CHOICE}.\n{DIALOGUE}",
}


def example(utterance: Utterance, draw: Draw) -> Example:
    """Return the question for the caller's sentiment, without dialogue context."""
    prompt = user_message([], INSTRUCTION[draw.style])
    return Example(f"{utterance.id}/{NAME}", utterance.id, NAME, prompt, utterance.sentiment)


def parse(raw: str) -> str | None:
    """Return the one sentiment that an answer's text contains; None if it contains none or several."""
    named = set(re.findall(r"\w+", raw.lower())) & set(SENTIMENTS)
    return named.pop() if len(named) == 1 else None


MACRO_F1 = Metric(
    "macro_f1", "Macro F1", "sentiment", class_f1.macro, label="sentiment, macro F1", column="with interval"
)
METRICS = (
    MACRO_F1,
    Metric(
        "weighted_f1", "Weighted F1", "sentiment", class_f1.weighted, column="plain", varies_as="macro_f1"
    ),
    PARSE_FAILURES,
)


def count(predictions: Sequence[Prediction], parse: Parse) -> Counted:
    """Return the counts of each sentiment, and of unparsable answers."""
    found = answers(predictions, parse)
    return Counted(
        {
            "sentiment": [class_f1.counts(gold, said, SENTIMENTS) for gold, said in found],
            UNPARSABLE: [(said is None, 1) for _, said in found],
        },
        {"class_f1": class_f1.VERSION},
    )


TASKS = (
    Task(
        NAME,
        VERSION,
        example,
        parse,
        count,
        METRICS,
        main=MACRO_F1,
        gold=("sentiment",),
        how="Macro and weighted F1 are of three sentiments. "
        "Only the words carry sentiment; the synthetic voices do not.",
        answerers=("majority",),
    ),
)
