"""Named-entity recognition of a turn (2509.04473; SLUE, arXiv 2111.10367). The answer is JSON.

Tags are SLUE's combined tags (`schema.ENTITY_TAGS`), written as words that an LLM knows. The answer is a JSON
object. It maps a tag to its phrase, or to its phrases in spoken order:
`{"person": "ann", "place": ["rome", "york"]}`. This form resembles slot filling, which the LLM already
does. When prompted for lists instead, the embedded LLM found no entities, with LoRA or without.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from speechllm_bench.metrics import f1, ner_f1
from speechllm_bench.storage.schema import ENTITY_TAGS, Example, Prediction, Utterance
from speechllm_bench.tasks.metric import PARSE_FAILURES, UNPARSABLE, Metric
from speechllm_bench.tasks.prompt import DIALOGUE, Wordings, user_message
from speechllm_bench.tasks.task import Counted, Draw, Parse, Task, answers

NAME = "ner"
VERSION = 2
SPOKEN: dict[str, str] = dict(
    zip(ENTITY_TAGS, ("when", "quantity", "place", "group", "organisation", "law", "person"), strict=True)
)
INSTRUCTION: Wordings = {
    None: "fill in as json: " + ", ".join(SPOKEN.values()),
    "english": "Answer in JSON with what the caller names of these kinds, copied word for word: "
    + ", ".join(SPOKEN.values())
    + f".\n{DIALOGUE}",
}
_TAGS = {word: tag for tag, word in SPOKEN.items()}


def example(utterance: Utterance, draw: Draw) -> Example:
    """Return the question for all entities of the turn, without dialogue context."""
    prompt = user_message([], INSTRUCTION[draw.style])
    wanted = target((entity.tag, entity.text) for entity in utterance.entities)
    return Example(f"{utterance.id}/{NAME}", utterance.id, NAME, prompt, wanted)


def target(entities: Iterable[tuple[str, str]]) -> str:
    """Return (tag, phrase) pairs as a JSON answer. An unknown tag is kept, and `parse` returns it again."""
    answer: dict[str, list[str]] = {}
    for tag, phrase in entities:
        answer.setdefault(SPOKEN.get(tag, tag), []).append(phrase)
    short = {tag: phrases if len(phrases) > 1 else phrases[0] for tag, phrases in answer.items()}
    return json.dumps(short, ensure_ascii=False)


def parse(raw: str) -> list[tuple[str, str]] | None:
    """Return (tag, phrase) of each entity in an answer, tag by tag; None if it is not a JSON object.

    The phrases of a repeated tag all count. Unknown tags are kept as written and count as wrong answers.
    Empty values and values that are not text are no entities. Repeated spaces become one space, as in
    slue-toolkit's parser.
    """
    try:
        answer = json.loads(raw, object_pairs_hook=tuple)  # pairs keep a repeated tag, a dict would not
    except (ValueError, RecursionError):
        return None
    if not isinstance(answer, tuple):
        return None
    return [
        (_TAGS.get(word, word), " ".join(phrase.split()))
        for word, phrases in answer
        for phrase in (phrases if isinstance(phrases, list) else [phrases])
        if isinstance(phrase, str) and phrase.strip()
    ]


NER_F1 = Metric("ner_f1", "NER F1", "entities", f1, column="with interval")
METRICS = (
    NER_F1,
    Metric("label_f1", "Label-F1", "entity_tags", f1, column="plain", varies_as="ner_f1"),
    PARSE_FAILURES,
)


def count(predictions: Sequence[Prediction], parse: Parse) -> Counted:
    """Return the counts of entities, of their tags alone, and of unparsable answers."""
    found = answers(predictions, parse)
    return Counted(
        {
            "entities": [ner_f1.counts(gold, said) for gold, said in found],
            "entity_tags": [ner_f1.label_counts(gold, said) for gold, said in found],
            UNPARSABLE: [(said is None, 1) for _, said in found],
        },
        {"ner_f1": ner_f1.VERSION},
    )


TASKS = (
    Task(
        NAME,
        VERSION,
        example,
        parse,
        count,
        METRICS,
        main=NER_F1,
        gold=("entities",),
        how="NER F1, label-F1: entities matched as multisets within an utterance, as slue-toolkit does.",
        labelled=target,
    ),
)
