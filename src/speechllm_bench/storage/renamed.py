"""Early ids of further tables: they had words of labels and headings, where ids have keys today."""

from __future__ import annotations

import re

WORDS = {
    "one_model_per_task": "single",
    "one_model_for_all_tasks": "unified",
    "adapter": "bare",
    "plus_classifier": "classifier",
    "plus_lora": "lora",
    "hybrid_not_thinking": "hybrid_no_think",
    "hybrid_thinking": "hybrid_think",
    "sentiment_macro_f1": "macro_f1",
    "sentiment_macro_f1_gain": "macro_f1_gain",
    "tokens_an_answer": "tokens",
    "tokens_a_trace": "trace_tokens",
    "in_the_mode_asked_for": "obedience",
    "wer_of_the_transcript": "trace_wer",
    "values_occur_in_its_transcript": "faithfulness",
    "values_stand_in_their_reasons": "grounding",
}
"""Word of a label -> key. Old ids of tags had the gold count behind the tag, as in `law_4`."""
_TABLES = re.compile(r"[^/]+/[^/]+/(slue|gains|changes|traces|tags):")


def today(id: str) -> str:
    """Return what an id is today. Ids that were not renamed are returned unchanged."""
    if not (found := _TABLES.match(id)):
        return id
    id = re.sub(r"(?<=/)([a-z]+)_\d+$", r"\1", id) if found[1] == "tags" else id
    return re.sub(r"(?<=[:/])[^:/]+", lambda word: WORDS.get(word[0], word[0]), id)
