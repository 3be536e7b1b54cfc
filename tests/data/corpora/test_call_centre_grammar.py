"""Domain files are read as written, and every mistake in one is named."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest

from speechllm_bench.data.corpora.call_centre.grammar import WORDINGS, load_grammar, parse_wording
from speechllm_bench.errors import UserError

FIXTURE = Path(__file__).with_name("call_centre_fixture")


def test_alternatives_expand_to_all_their_texts():
    wording = parse_wording("[hi|] move {amount} [now|later|]", "here")
    assert set(wording.expansions()) == {
        f"{a}move {{amount}}{b}" for a in ("hi ", "") for b in (" now", " later", "")
    }
    assert wording.slots == {"amount"}
    assert " ".join(wording.words(random.Random(0))) in set(wording.expansions())


@pytest.mark.parametrize(
    "text", ["Hello", "two, three", "room 4", "[a|b", "a] b", "x{slot}", "{slot}s", "[a [b|c]|d]"]
)
def test_a_malformed_wording_is_refused_by_place_and_text(text):
    with pytest.raises(UserError, match="in some file: intents"):
        parse_wording(text, "in some file: intents")


def test_a_word_that_yaml_reads_as_a_truth_value_is_explained():
    with pytest.raises(UserError, match="quote it"):
        parse_wording(False, "some.yaml: values")


def test_the_small_grammar_loads():
    rules = load_grammar(FIXTURE)
    assert set(rules.slots) == {"customer_name", "animal", "visit_date", "keeper_name"}
    assert rules.slots["keeper_name"].type.ood and not rules.slots["animal"].type.open_class
    assert rules.slots["visit_date"].type.paraphrases == ("when they come",)
    (domain,) = rules.domains
    assert set(domain.answers) == {"visit_date", "customer_name"}  # its own and the shared one


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("kind: date", "kind: datte", "slots.visit_date.kind"),
        ("entity: WHEN", "entity: TIME", "slots.visit_date.entity"),
        (", ood: true", ", odd: true", '"odd"'),
        ("values: [lion, zebra, otter]", "colour: red", "slots.animal"),
        ("to see the {animal}", "to see {keeper_name}", "only B may use"),
        ("to see the {animal}", "to see the {tiger}", "{tiger}"),
        ("needs: [visit_date]", "needs: [animal]", "needs has animal"),
        ('A: ["on {visit_date}"]', 'A: ["any day"]', "does not answer"),
        ('["which day"]', '["is it {visit_date}"]', "cannot stand here"),
        ("  animal:", "  customer_name:", "already"),
        ("greetings:", "greeting:", "greetings is missing"),
        ("    needs:", "    sentiment: sad\n    needs:", "sentiment"),
        ("    needs:", "    mood: sad\n    needs:", '"mood"'),
        ("domain: zoo_visits", "domain: [", "not valid YAML"),
    ],
)
def test_a_mistake_is_named_with_file_and_key(tmp_path, old, new, named):
    shutil.copytree(FIXTURE, tmp_path, dirs_exist_ok=True)
    file = tmp_path / "zoo_visits.yaml"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))
    with pytest.raises(UserError) as error:
        load_grammar(tmp_path)
    assert "zoo_visits.yaml" in str(error.value) and named in str(error.value)


def test_the_embedded_grammar_is_as_large_as_promised():
    rules = load_grammar()
    slots = [slot.type for slot in rules.slots.values()]
    assert len(rules.domains) >= 12
    assert sum(not slot.ood for slot in slots) >= 60
    assert sum(slot.ood for slot in slots) >= 20
    assert all(3 <= len(slot.description) <= 80 for slot in slots)
    assert all(len(slot.values) >= 3 for slot in rules.slots.values() if not slot.type.open_class)


def test_a_and_b_share_no_wording():
    rules = load_grammar()
    texts = {w: set() for w in WORDINGS}
    sources = [lines for topic in rules.caller.values() for lines in [topic]]
    for domain in rules.domains:
        sources += [intent.openings for intent in domain.intents]
        sources += [answer.wordings for answer in domain.answers.values()]
    for by_wording in sources:
        for w in WORDINGS:
            texts[w].update(text for wording in by_wording[w] for text in wording.expansions())
    assert not texts["A"] & texts["B"]
    assert len(texts["A"]) > 1000 and len(texts["B"]) > 500
