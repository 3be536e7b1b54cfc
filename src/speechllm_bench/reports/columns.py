"""The columns of a study's table: which metrics a task has, what they are called, and how they are made."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from speechllm_bench.data.tasks.traced_slots import FORMS
from speechllm_bench.evaluation import score

_OF_SLOTS = ("precision", "recall", "f1", "f1_v1", "exact_f1", "slu_f1", "parse_failures")
METRICS = {
    **dict.fromkeys(("slots", *FORMS), _OF_SLOTS),
    "transcription": ("wer", "cer", "digit_error_rate"),
    "sit": ("accuracy",),
    "sqit": ("accuracy",),
    "ner": ("ner_f1", "label_f1", "parse_failures"),
    "sentiment": ("macro_f1", "weighted_f1", "parse_failures"),
}
"""What a table shows of a task."""
NOT_ALWAYS = ("f1_v1", "digit_error_rate")
"""Metrics whose columns a table has where any of its scores holds them."""
FLOORS = ("floor", "above_floors")
"""What a row is the floor of, and whether a row is above its floors; where a table has floors."""
EXCLUDED = "excluded"
"""Recordings of a row's corpus that were left out since they cannot be read; where a table has any."""
DIGITS = "Digit error rate: edits of the digits alone over the digits said."

HOW = {
    "transcription": "WER, CER: after Whisper's English normaliser; lower is better.",
    "sit": "Accuracy: of answers to questions on the turn, the gold words but for case and spaces.",
    "ner": "NER F1, label-F1: entities matched as multisets within an utterance, as slue-toolkit does.",
    "sentiment": "Macro and weighted F1: of three sentiments. On synthetic voices sentiment is a text task: "
    "it is in the words, and no voice sounds of it.",
}
"""What the caption says of a task's metrics, but for slots; of sqit what it says of sit."""

HEADINGS = {
    "variant": "Variant",
    "status": "Status",
    "trained_parameters": "Trained parameters",
    "llm_share": "Share of LLM",
    "total_parameters": "All parameters",
    "speech_hours": "Hours of speech",
    "text_tokens": "Text tokens",
    "pretraining_speech_hours": "Hours of speech before",
    "pretraining_text_tokens": "Text tokens before",
    "precision": "P",
    "recall": "R",
    "f1": "F1",
    "wer": "WER",
    "cer": "CER",
    "accuracy": "Accuracy",
    "ner_f1": "NER F1",
    "label_f1": "Label-F1",
    "macro_f1": "Macro F1",
    "weighted_f1": "Weighted F1",
    "difference": "F1 difference to baseline",
    "difference_p": "p (Holm)",
    "f1_v1": "F1, version 1",
    "digit_error_rate": "Digit error rate",
    "exact_f1": "Exact F1",
    "slu_f1": "SLU-F1",
    "parse_failures": "Parse failures",
    "seconds": "Seconds",
    "reported": "Reported F1",
}
_OTHER_TASKS = {"difference": "Difference to baseline", "reported": "Reported"}
WHOLE = (
    *("n", "speakers", "seeds", "trained_parameters", "total_parameters", "text_tokens"),
    *("pretraining_text_tokens", "partial_match_version", "difference_seeds", EXCLUDED),
)
UNEQUAL = ("total_parameters", "speech_hours", "text_tokens")  # each shown where it differs
TESTED = ("difference_p", "difference_se", "difference_seeds")
"""Of the difference: p after Holm, standard error over speakers, and the seeds that both have."""
BEFORE = ("pretraining_speech_hours", "pretraining_text_tokens")  # of audio LLMs; where there is one
_FIRST = ("precision", "recall", *score.MAIN_METRICS)  # of the columns, before the difference
WITH_INTERVAL = (*_FIRST, "difference")


def named(tasks: Sequence[str]) -> list[str]:
    """The columns of a table of variants that are asked these tasks, in order."""
    metrics = list(dict.fromkeys(name for task in tasks for name in METRICS[task]))
    columns = ["variant", "status", "n", "speakers", "seeds", "trained_parameters", "llm_share"]
    columns += [*UNEQUAL, *BEFORE]
    for name in (*(n for n in metrics if n in _FIRST), "difference"):
        columns += [name, f"{name}_low", f"{name}_high"]
    columns += [*TESTED, "differs"]
    for name in (n for n in metrics if n not in _FIRST):
        columns += [name, f"{name}_low", f"{name}_high"]
    columns += ["seconds", "reported", *(["partial_match_version"] if "f1" in metrics else [])]
    return [*columns, *FLOORS, EXCLUDED]


def headings(frame: pd.DataFrame) -> dict[str, str]:
    """What the columns are called; of slots the main metric is F1, and the table says so."""
    return HEADINGS if "f1" in frame else HEADINGS | _OTHER_TASKS


def how(frame: pd.DataFrame) -> list[str]:
    """How the table's metrics are made, a sentence a task."""
    versions = frame["partial_match_version"].dropna().unique() if "f1" in frame else []
    slots = [f"P, R, F1: partial match, version {version}, this suite's own." for version in versions]
    digits = [DIGITS] if "digit_error_rate" in frame else []
    return slots + [how for task, how in HOW.items() if score.MAIN[task] in frame] + digits
