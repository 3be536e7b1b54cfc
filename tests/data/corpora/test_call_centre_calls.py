"""The generated calls: exact gold, no leaks, and splits that share nothing they must not share."""

from __future__ import annotations

import re
from itertools import combinations, groupby

import pytest

from speechllm_bench.data.corpora.call_centre import recipe_hash, slot_types, utterances
from speechllm_bench.data.corpora.call_centre.grammar import embedded_grammar
from speechllm_bench.data.corpora.call_centre.splits import ACCENTS, FORMANT, NEURAL, VARIANTS
from speechllm_bench.data.corpora.call_centre.values import SMALL
from speechllm_bench.data.neural_voices import parse_variant
from speechllm_bench.errors import UserError
from speechllm_bench.storage.schema import ENTITY_TAGS, SENTIMENTS

N = 1500


@pytest.fixture(scope="module", params=[FORMANT, NEURAL], ids=lambda edition: edition.corpus)
def edition(request):
    return request.param


@pytest.fixture(scope="module")
def corpus(edition):
    return {split: utterances(split, N, edition) for split in edition.splits}


@pytest.fixture(scope="module")
def everything(corpus):
    return [utterance for turns in corpus.values() for utterance in turns]


def test_a_smaller_number_is_a_prefix_of_a_larger_one(edition, corpus):
    assert utterances("train", 0, edition) == []
    assert utterances("train", 700, edition) == corpus["train"][:700]
    with pytest.raises(UserError, match="B-test"):
        utterances("test", 3, edition)


def test_transcripts_are_spoken_text(everything):
    for utterance in everything:
        assert re.fullmatch(r"[a-z']+( [a-z']+)*", utterance.transcript), utterance
        assert all(re.fullmatch(r"[a-z']+( [a-z']+)*", turn.text) for turn in utterance.context)


def test_gold_values_and_entities_are_spans(everything):
    types = slot_types()
    for utterance in everything:
        for slot in utterance.slots:
            assert utterance.transcript[slot.start : slot.end] == slot.value and slot.canonical
            assert slot.slot in types
        for entity in utterance.entities:
            assert utterance.transcript[entity.start : entity.end] == entity.text
            assert entity.tag in ENTITY_TAGS
        spans = sorted((slot.start, slot.end) for slot in utterance.slots)
        assert all(left[1] < right[0] for left, right in combinations(spans, 2))
        assert len({slot.slot for slot in utterance.slots}) == len(utterance.slots)
        assert utterance.sentiment in SENTIMENTS


def test_closed_class_values_are_those_of_the_grammar(everything):
    slots = embedded_grammar().slots
    for utterance in everything:
        for slot in utterance.slots:
            assert slots[slot.slot].type.open_class or slot.value in slots[slot.slot].values


def test_a_wanted_value_is_nowhere_in_the_dialogue_so_far(everything):
    for utterance in everything:
        before = " | ".join(f" {turn.text} " for turn in utterance.context)
        for slot in utterance.slots:
            assert f" {slot.value} " not in before, utterance


def test_agents_never_say_a_value_of_the_call(corpus):
    for split in corpus:
        for _, call in groupby(corpus[split], key=lambda u: u.call_id):
            turns = list(call)
            agent = " | ".join(f" {turn.text} " for turn in turns[-1].context if turn.role == "agent")
            assert not any(f" {slot.value} " in agent for turn in turns for slot in turn.slots)


def test_a_call_is_a_dialogue_of_four_to_twelve_turns(corpus):
    for split in corpus:
        calls = [list(call) for _, call in groupby(corpus[split], key=lambda u: u.call_id)]
        del calls[-1]  # N may have cut it short
        for call in calls:
            assert [u.turn_index for u in call] == list(range(1, 2 * len(call), 2))
            assert 4 <= call[-1].turn_index + 1 <= 12
            context = call[-1].context
            assert [turn.role for turn in context] == ["agent", "caller"] * (len(call) - 1) + ["agent"]
            assert [u.transcript for u in call[:-1]] == [t.text for t in context if t.role == "caller"]
            assert len({(u.domain, u.company, u.speaker, u.voice.rate, u.voice.snr_db) for u in call}) == 1
            assert len({u.voice.seed for u in call}) == len(call)


def test_the_corpus_looks_like_a_call_centre(corpus):
    for turns in corpus.values():
        assert len({u.domain for u in turns}) >= 12
        assert 0.10 < sum(not u.slots for u in turns) / N < 0.25
        assert sum(len(u.slots) <= 3 for u in turns) / N > 0.99
        assert {u.sentiment for u in turns} == set(SENTIMENTS)
        assert len({u.transcript for u in turns}) / N > 0.8
    assert sum(len(u.transcript.split()) < 15 for u in corpus["train"]) / N > 0.85
    assert len({slot.slot for u in corpus["train"] for slot in u.slots}) >= 60


def test_ids_calls_and_seeds_are_disjoint(edition, everything):
    assert len({u.id for u in everything}) == len(everything)
    assert len({u.voice.seed for u in everything}) == len(everything)
    assert all(u.id.startswith(f"{edition.corpus}/{u.split}/") for u in everything)


def test_espeak_speakers_are_disjoint():
    speakers = {split: {u.speaker for u in utterances(split, N)} for split in FORMANT.splits}
    test = speakers["A-test"] | speakers["B-test"]
    groups = [speakers["zoo"], speakers["train"], speakers["validation"], test]
    assert not any(a & b for a, b in combinations(groups, 2))
    assert len(test) >= 30 and len(speakers["A-test"]) >= 20 and len(speakers["B-test"]) >= 20
    assert set().union(*groups) <= {f"{a}+{v}" for a in ACCENTS for v in VARIANTS}
    for group in groups:
        assert {name.split("+")[1][0] for name in group} == {"m", "f"}


def test_neural_speakers_are_disjoint_mixtures():
    groups = [NEURAL.speakers(group) for group in ("train", "validation", "test", "C-test")]
    assert [len(set(group)) for group in groups] == [24 + 32, 8, 32, 24]
    mixtures = [[parse_variant(variant)[0] for _, variant in set(group)] for group in groups]
    for one, other in combinations(mixtures, 2):
        for a, b in ((a, b) for a in one for b in other):
            assert sum(abs(a.get(style, 0) - b.get(style, 0)) for style in a.keys() | b.keys()) >= 0.4 - 1e-9
    heard = {u.speaker for split in ("A-test", "B-test") for u in utterances(split, N, NEURAL)}
    assert heard == {f"{accent}+{variant}" for accent, variant in groups[2]}
    assert not any("joe" in mixture for group in mixtures[1:] for mixture in group)


def _open_values(turns) -> set[str]:
    open_class = {
        name for name, slot in embedded_grammar().slots.items() if slot.kind and slot.kind not in SMALL
    }
    return {slot.value for utterance in turns for slot in utterance.slots if slot.slot in open_class}


def _by_share(corpus) -> dict[str, list]:
    shares: dict[str, list] = {}
    for split, turns in corpus.items():
        shares.setdefault("train" if split == "validation" else split, []).extend(turns)
    return shares


def test_open_class_values_are_disjoint(corpus):
    values = [_open_values(turns) for turns in _by_share(corpus).values()]
    assert all(len(v) > 500 for v in values)
    for a, b in combinations(values, 2):
        assert not a & b


def test_companies_are_disjoint(corpus):
    companies = [{u.company for u in turns} for turns in _by_share(corpus).values()]
    assert not any(a & b for a, b in combinations(companies, 2))


def test_only_b_asks_for_out_of_domain_slots_and_mostly_beside_in_domain_ones(corpus):
    types = slot_types()
    for split in set(corpus) - {"B-test"}:
        assert not any(types[s.slot].ood for u in corpus[split] for s in u.slots)
    both = [{types[s.slot].ood for s in u.slots} == {True, False} for u in corpus["B-test"]]
    assert sum(both) / N > 0.7


def test_b_wordings_occur_in_no_other_split(corpus):
    """A turn with its values taken out is a template; only what has two words or more tells."""

    def templates(turns):
        found = set()
        for u in turns:
            text = u.transcript
            for slot in sorted(u.slots, key=lambda s: -s.start):
                text = f"{text[: slot.start]}<{slot.slot}>{text[slot.end :]}"
            found.add(text)
        return {t for t in found if len(t.split()) > 1}

    others = templates([u for split in corpus if split != "B-test" for u in corpus[split]])
    assert not templates(corpus["B-test"]) & others


def test_about_a_quarter_of_the_turns_are_disfluent(corpus):
    texts = [f" {u.transcript} " for u in corpus["train"]]
    sounds = sum(any(f" {h} " in t for h in ("um", "uh", "er", "hmm")) for t in texts)
    twice = sum(re.search(r" (\w+) \1 ", t) is not None for t in texts)
    edits = (" no sorry ", " i mean ", " or rather ", " no wait ")
    corrected = sum(any(edit in text for edit in edits) for text in texts)
    assert 0.03 < sounds / N < 0.2
    assert 0.01 < twice / N < 0.1
    assert 0.02 < corrected / N < 0.15


def test_the_recipe_hash_is_that_of_the_runs_on_record():
    """A change here means a changed corpus recipe: every run has another digest, and is made again."""
    assert recipe_hash() == "708afb6478d4a1747c336168151d850cb1454b5ea721feb6ee1431cc7ac707ba"
    assert recipe_hash(NEURAL) == "7255b922c486c0e3be580c37922f6d82fb59ea094be22d2fc2bc3c0240c3f885"
