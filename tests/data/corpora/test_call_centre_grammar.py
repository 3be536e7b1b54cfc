"""The embedded grammar is read as it is written, and its files keep the rules that calls rest on."""

from __future__ import annotations

import random
import re
from itertools import chain, product

import pytest

from speechllm_bench.data.corpora.call_centre import grammar
from speechllm_bench.data.corpora.call_centre.grammar import (
    WORDINGS,
    Wording,
    embedded_grammar,
    parse_wording,
)
from speechllm_bench.data.corpora.call_centre.values import KINDS
from speechllm_bench.settings.strict import read_yaml
from speechllm_bench.storage.schema import ENTITY_TAGS, SENTIMENTS

FILES = {path.stem: read_yaml(path) for path in sorted(grammar.DOMAINS.glob("*.yaml"))}
FURTHER = {"kind", "values", "entity", "paraphrases", "ood"}


def expansions(wording: Wording) -> set[str]:
    return {" ".join("".join(choice).split()) for choice in product(*wording.pieces)}


def well_formed(text: object) -> bool:
    """Whether a text has lower-case words, [x|y|] and {slot} alone, with a space around each slot."""
    if not isinstance(text, str):
        return False  # YAML reads yes, no, on and off as truth values
    bare = re.sub(
        r"\{[a-z_0-9]+\}", " ", re.sub(r"\[[^\[\]]*\]", lambda m: m[0][1:-1].replace("|", " "), text)
    )
    return not (re.search(r"[^a-z' ]", bare) or re.search(r"[^ \[|]\{|\}[^ \]|]", text))


def test_alternatives_expand_to_all_their_texts():
    wording = parse_wording("[hi|] move {amount} [now|later|]")
    assert expansions(wording) == {
        f"{a}move {{amount}}{b}" for a in ("hi ", "") for b in (" now", " later", "")
    }
    assert wording.slots == {"amount"}
    assert " ".join(wording.words(random.Random(0))) in expansions(wording)


@pytest.mark.parametrize(
    "text", ["Hello", "two, three", "room 4", "[a|b", "a] b", "x{slot}", "{slot}s", "[a [b|c]|d]", False]
)
def test_a_malformed_wording_is_told_from_a_right_one(text):
    assert not well_formed(text)


def test_every_wording_is_well_formed():
    def texts(part: object) -> list:
        parts = part.values() if isinstance(part, dict) else part if isinstance(part, list) else [part]
        return [part] if parts == [part] else list(chain.from_iterable(map(texts, parts)))

    lines = [read_yaml(grammar.AGENT_FILE)]
    for file in FILES.values():
        spoken = {
            key: part for key, part in file.items() if key not in ("domain", "industry", "slots", "intents")
        }
        lines += [spoken, [slot.get("values", []) for slot in file["slots"].values()]]
        lines += [intent[name] for intent in file.get("intents", {}).values() for name in WORDINGS]
    wrong = [text for text in texts(lines) if not well_formed(text)]
    assert len(texts(lines)) > 1500 and not wrong


@pytest.mark.parametrize("file", FILES)
def test_a_slot_has_a_kind_or_values_and_nothing_unknown(file):
    for name, slot in FILES[file]["slots"].items():
        assert "description" in slot and slot.keys() - {"description"} <= FURTHER, name
        assert ("kind" in slot) != ("values" in slot), name
        assert slot.get("kind", "date") in KINDS and slot.get("entity", "ORG") in ENTITY_TAGS, name
        assert sum(name in other["slots"] for other in FILES.values()) == 1, name


@pytest.mark.parametrize("file", FILES)
def test_a_wording_names_slots_of_its_domain_and_a_names_no_unseen_one(file):
    known = FILES["shared"]["slots"] | FILES[file]["slots"]
    answers = FILES[file]["answers"]
    for spec in chain(FILES[file].get("intents", {}).values(), answers.values()):
        for which, text in [(w, text) for w in WORDINGS for text in spec[w]]:
            for slot in parse_wording(text).slots:
                assert slot in known and (which == "B" or not known[slot].get("ood")), text
    for name, spec in answers.items():
        assert spec.keys() == {"ask", *WORDINGS} and name in known
        assert not any(parse_wording(text).slots for text in spec["ask"])
        for text in chain(*(spec[w] for w in WORDINGS)):
            assert all(f"{{{name}}}" in said for said in expansions(parse_wording(text))), text


@pytest.mark.parametrize("file", [name for name in FILES if name != "shared"])
def test_an_intent_needs_slots_that_have_answers(file):
    known = FILES["shared"]["answers"] | FILES[file]["answers"]
    for name, intent in FILES[file]["intents"].items():
        assert intent.keys() - {"sentiment"} == {"needs", *WORDINGS}, name
        assert set(intent["needs"]) <= known.keys() and intent.get("sentiment", "neutral") in SENTIMENTS, name
    assert {slot for text in FILES[file]["greetings"] for slot in parse_wording(text).slots} <= {"company"}


def test_other_lines_name_no_slots():
    rules = embedded_grammar()
    lines = chain(
        *rules.agent.values(), *(some for topic in rules.caller.values() for some in topic.values())
    )
    assert not any(wording.slots for wording in lines)
    assert not any("{" in text for text in rules.hesitations)


def test_the_embedded_grammar_is_as_large_as_promised():
    rules = embedded_grammar()
    slots = [slot.type for slot in rules.slots.values()]
    assert len(rules.domains) >= 12
    assert sum(not slot.ood for slot in slots) >= 60
    assert sum(slot.ood for slot in slots) >= 20
    assert all(3 <= len(slot.description) <= 80 for slot in slots)
    assert all(len(slot.values) >= 3 for slot in rules.slots.values() if not slot.type.open_class)


def test_a_domain_has_its_own_answers_and_the_shared_ones():
    rules = embedded_grammar()
    (banking,) = [domain for domain in rules.domains if domain.name == "banking"]
    assert banking.answers.keys() == FILES["banking"]["answers"].keys() | FILES["shared"]["answers"].keys()
    assert rules.slots["advisor_name"].type.ood and not rules.slots["account_type"].type.open_class
    assert rules.slots["payee"].type.paraphrases == ("recipient of the payment", "who gets the money")


def test_a_and_b_share_no_wording():
    rules = embedded_grammar()
    texts = {w: set() for w in WORDINGS}
    sources = list(rules.caller.values())
    for domain in rules.domains:
        sources += [intent.openings for intent in domain.intents]
        sources += [answer.wordings for answer in domain.answers.values()]
    for by_wording in sources:
        for w in WORDINGS:
            texts[w].update(text for wording in by_wording[w] for text in expansions(wording))
    assert not texts["A"] & texts["B"]
    assert len(texts["A"]) > 1000 and len(texts["B"]) > 500
