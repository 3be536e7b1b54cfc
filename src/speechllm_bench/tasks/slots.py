"""Contextualised slot filling (2510.15851, section 2). The prompt lists slots, and the answer is JSON.

The instruction names the wanted slots and 1 to 5 distractors, which are slots that the turn does not fill, in
drawn order. The answer is a JSON object with only the filled slots, in the order of the instruction.

The prompt uses the slots' names. An evaluation may add descriptions, or use other names that no training
used. `parse` maps those names back, and accepts the slot's own name as well.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from speechllm_bench.metrics import exact_match, f1, pairs, partial_match, precision, quotient, recall, slu_f1
from speechllm_bench.storage.schema import Example, Prediction, SlotType, Utterance
from speechllm_bench.tasks.metric import PARSE_FAILURES, TOKENS, UNPARSABLE, Metric
from speechllm_bench.tasks.prompt import (
    DIALOGUE,
    SYSTEM,
    PromptStyle,
    Wordings,
    contains,
    draw_context,
    user_message,
)
from speechllm_bench.tasks.task import Counted, Draw, Parse, Task, answers

NAME = "slots"
VERSION = 3
Wording = Literal["described", "paraphrased"]
"""Wording of the slots in the prompt: with their descriptions, or by names that no training used."""
INSTRUCTION: Wordings = {
    None: "fill in as json: {slots}",
    "english": "Answer in JSON with those of the keys that the caller gives, each value copied word for word."
    f"\n{DIALOGUE}\nkeys: {{slots}}",
}
MAX_DISTRACTORS = 5
SAME_DOMAIN = 0.7  # share of distractors from the turn's own domain, which are easier to confuse
LEFT_OUT = 0.5  # share of training turns with several filled slots that are not asked for one of them


class Answer(dict):
    """Maps slots to values. The last value of a repeated slot counts; `given` holds every pair in order."""

    def __init__(self, values: Mapping[str, object], given: Iterable[tuple[str, object]]):
        super().__init__(values)
        self.given = tuple(given)


def example(
    utterance: Utterance,
    draw: Draw,
    *,
    context: int | None = None,
    distractors: int | None = None,
    wording: Wording | None = None,
) -> Example:
    """Return a question for the seen slot types of a turn (with `draw.ood` the unseen ones) and distractors.

    Training leaves out one of several filled slots in half of the turns, since every turn of B-test says more
    than it is asked for. A turn's only slot is never left out: its value often cannot be told from a
    distractor's. `context` and `distractors` fix these numbers; None draws them. Fixing one changes no other
    draw.
    """
    slot_types, rng, style = draw.slot_types, draw.rng, draw.style
    filled = {s.slot: s.value for s in utterance.slots}
    kind = [t for t in slot_types.values() if t.ood == draw.ood]
    values = [filled[t.name] for t in kind if t.name in filled]
    # A name that holds a wanted value ("home city" beside the policy type "home") would give it away.
    kind = [t for t in kind if not any(contains(text, v) for v in values for text in _shown(t, wording))]
    # A slot is not asked for if the prompt itself contains its value.
    told = f"{SYSTEM[style]} {INSTRUCTION[style].format(slots='')}".lower()
    gold = {t.name: v for t in kind if (v := filled.get(t.name)) is not None and not contains(told, v)}
    if draw.training and len(gold) > 1 and rng.random() < LEFT_OUT:
        gold.pop(rng.choice(sorted(gold)))
    candidates = [t for t in kind if t.name not in filled]
    asked = [*gold, *_distractors(utterance.domain, candidates, rng, distractors)]
    rng.shuffle(asked)
    turns = draw_context(utterance.context, gold.values(), rng, context)
    texts = [_asked_by(slot_types[name], wording, rng) for name in asked]
    keys = texts if wording == "paraphrased" else asked
    return Example(
        id=f"{utterance.id}/{'slots_ood' if draw.ood else 'slots'}",
        utterance_id=utterance.id,
        task=NAME,
        prompt=question(texts, turns, style),
        target=target({key: gold[name] for key, name in zip(keys, asked, strict=True) if name in gold}),
        asked=tuple(asked),
    )


def question(texts: Iterable[str], turns: Iterable = (), style: PromptStyle | None = None) -> str:
    """Return the prompt that asks for slots by these texts, with the dialogue so far."""
    return user_message(turns, INSTRUCTION[style].format(slots=", ".join(texts)))


def target(answer: Mapping[str, str]) -> str:
    return json.dumps({spoken_name(name): value for name, value in answer.items()}, ensure_ascii=False)


def parse(raw: str, names: Mapping[str, str] | None = None) -> Answer | None:
    """Return the slot-value pairs of an answer; None if it is not one JSON object.

    Values that are null, empty or not text are kept, since each metric treats them in its own way.
    names: maps other names to slots (`paraphrases`).
    """
    try:
        answer = json.loads(raw, object_pairs_hook=lambda pairs: Answer(dict(pairs), pairs))
    except (ValueError, RecursionError):
        return None
    if not isinstance(answer, Answer):
        return None

    def slot(name: str) -> str:
        return (names or {}).get(name) or written_name(name)

    values = {slot(name): value for name, value in answer.items()}
    return Answer(values, ((slot(name), value) for name, value in answer.given))


def spoken_name(name: str) -> str:
    """Return a slot's name as prompts and answers write it: words that the LLM knows, not an identifier."""
    return name.replace("_", " ")


def written_name(name: str) -> str:
    """Return a name from a prompt or an answer as the corpora write it, with underscores."""
    return name.replace(" ", "_")


def paraphrases(slot_types: Mapping[str, SlotType]) -> dict[str, str]:
    """Return the slot of every paraphrase. No two slots share a paraphrase."""
    return {text: t.name for t in slot_types.values() for text in t.paraphrases}


def _shown(slot: SlotType, wording: Wording | None) -> tuple[str, ...]:
    """Return all texts by which a question may ask for a slot."""
    if wording == "paraphrased":
        return slot.paraphrases
    return (spoken_name(slot.name) if wording is None else f"{spoken_name(slot.name)} ({slot.description})",)


def _asked_by(slot: SlotType, wording: Wording | None, rng: random.Random) -> str:
    """Return the text by which one question asks for a slot, drawn if there are several."""
    shown = _shown(slot, wording) or (spoken_name(slot.name),)
    return shown[0] if len(shown) == 1 else rng.choice(shown)


def _distractors(
    domain: str, candidates: list[SlotType], rng: random.Random, n: int | None = None
) -> list[str]:
    near = [t.name for t in candidates if t.domain in (domain, "shared")]
    far = [t.name for t in candidates if t.domain not in (domain, "shared")]
    chosen = []
    drawn = rng.randint(1, MAX_DISTRACTORS)
    for _ in range(drawn if n is None else n):
        pool = near if near and (not far or rng.random() < SAME_DOMAIN) else far
        if pool:
            chosen.append(pool.pop(rng.randrange(len(pool))))
    return chosen


F1 = Metric("f1", "F1", "partial_match", f1, label="F1 (partial match)", column="with interval")
ANSWER_TOKENS = Metric("tokens", "Tokens an answer", "generated", quotient, unit=TOKENS, lower_is_better=True)
METRICS = (
    Metric("precision", "P", "partial_match", precision, column="with interval"),
    Metric("recall", "R", "partial_match", recall, column="with interval"),
    F1,
    Metric("precision_v2", "P, version 2", "partial_match_v2", precision, varies_as="precision"),
    Metric("recall_v2", "R, version 2", "partial_match_v2", recall, varies_as="recall"),
    Metric("f1_v2", "F1, version 2", "partial_match_v2", f1, varies_as="f1"),
    # In scores where `versions.shown` gave the names above to version 2.
    Metric("f1_v1", "F1, version 1", "partial_match_v1", f1, column="later", always=False, varies_as="f1"),
    Metric("exact_f1", "Exact F1", "exact_match", f1, column="later", varies_as="f1"),
    Metric("slu_f1", "SLU-F1", "slu_f1", f1, column="later"),
    PARSE_FAILURES,
    ANSWER_TOKENS,
)

ERROR_KINDS = (
    "correct",
    "heard wrong",
    "wrong span",
    "wrong slot",
    "distractor filled",
    "invented",
    "missed",
    "unparsable",
)


def count(predictions: Sequence[Prediction], parse: Parse) -> Counted:
    """Return counts of both versions of partial match, exact match, SLU-F1, unparsable answers and tokens.

    `error_kinds` holds the number of slots by each of `ERROR_KINDS`.
    """
    found = answers(predictions, parse)
    kinds = error_kinds(predictions, parse)
    return Counted(
        {
            "partial_match": [partial_match.counts(gold, said) for gold, said in found],
            "partial_match_v2": [partial_match.counts_v2(gold, given(said)) for gold, said in found],
            "exact_match": [exact_match.counts(gold, said) for gold, said in found],
            "slu_f1": [slu_f1.counts(pairs(gold), pairs(said)) for gold, said in found],
            UNPARSABLE: [(said is None, 1) for _, said in found],
            "generated": [(p.n_tokens, 1) for p in predictions],
        },
        {
            "partial_match": partial_match.VERSION,
            "partial_match_v2": partial_match.VERSION_2,
            "exact_match": exact_match.VERSION,
            "slu_f1": slu_f1.VERSION,
        },
        {"error_kinds": {kind: kinds[kind] for kind in ERROR_KINDS}},
    )


def error_kinds(predictions: Sequence[Prediction], parse: Parse) -> Counter[str]:
    """Return how many slots had which result. Each slot in the gold answer or in the given one has one kind.

    correct: the gold value. heard wrong: right slot, words that are not in the transcript. wrong span:
    right slot, words of the transcript that are not the value. wrong slot: the value of another slot.
    distractor filled: a slot without gold value, filled with other words of the transcript. invented:
    a slot without gold value, filled with words that are not in the transcript. missed: a gold slot that
    was left empty. unparsable: a gold slot of an answer that cannot be parsed.
    """
    kinds: Counter[str] = Counter()
    for prediction, (gold, said) in zip(predictions, answers(predictions, parse), strict=True):
        wanted, filled = pairs(gold), pairs(said)
        if said is None:
            kinds["unparsable"] += len(wanted)
            continue
        for slot in wanted | filled:
            kinds[_kind(slot, wanted, filled, prediction.transcript)] += 1
    return kinds


def given(answer: dict | None) -> tuple[tuple[str, object], ...] | None:
    """Return every pair of an answer in order, with both pairs of a repeated slot. None if unparsable."""
    if answer is None:
        return None
    return answer.given if isinstance(answer, Answer) else tuple(answer.items())


def _kind(slot: str, wanted: dict[str, str], filled: dict[str, str], transcript: str) -> str:
    if slot not in filled:
        return "missed"
    value = filled[slot]
    spoken = f" {' '.join(value.lower().split())} " in f" {' '.join(transcript.lower().split())} "
    if slot in wanted and exact_match.same(wanted[slot], value):
        return "correct"
    if any(exact_match.same(other, value) for other in wanted.values()):
        return "wrong slot"
    if slot in wanted:
        return "wrong span" if spoken else "heard wrong"
    return "distractor filled" if spoken else "invented"


TASKS = (
    Task(
        NAME,
        VERSION,
        example,
        parse,
        count,
        METRICS,
        main=F1,
        gold=("slots",),
        asking=("context", "distractors", "wording"),
        answerers=("chance_copier", "whole_transcript"),
        error_kinds=error_kinds,
        put=lambda plain, trace, style: plain,
    ),
)
