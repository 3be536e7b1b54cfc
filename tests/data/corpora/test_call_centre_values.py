"""Values are said as people say them, and mean what their canonical form says."""

from __future__ import annotations

import importlib
import random
import re

import pytest

from speechllm_bench.data.corpora.call_centre import names, spoken_numbers
from speechllm_bench.data.corpora.call_centre.splits import FORMANT, NEURAL
from speechllm_bench.data.corpora.call_centre.values import KINDS, SMALL, supply
from speechllm_bench.storage import paths


def _said(function, *arguments) -> set[str]:
    return {function(*arguments, random.Random(seed)) for seed in range(200)}


def test_money_is_said_in_several_ways():
    said = _said(spoken_numbers.money_words, 1950)
    assert said == {"nineteen fifty", "nineteen dollars fifty", "nineteen dollars and fifty cents"}
    assert _said(spoken_numbers.money_words, 150_000) == {
        "one thousand five hundred dollars",
        "fifteen hundred dollars",
    }
    assert _said(spoken_numbers.money_words, 101) == {"one dollar one", "one dollar and one cent"}


def test_dates_and_times_are_said_in_several_ways():
    assert _said(spoken_numbers.date_words, 5, 3) == {"may third", "the third of may", "may the third"}
    assert _said(spoken_numbers.time_words, 16, 30) == {"half past four", "four thirty", "four thirty p m"}
    assert "quarter to five" in _said(spoken_numbers.time_words, 16, 45)
    assert "noon" in _said(spoken_numbers.time_words, 12, 0)
    assert "nine oh five a m" in _said(spoken_numbers.time_words, 9, 5)


def test_digits_are_said_in_several_ways():
    said = _said(spoken_numbers.digit_words, "4407")
    assert {"four four zero seven", "double four oh seven"} <= said
    assert "forty four seventeen" in _said(spoken_numbers.digit_words, "4417")
    assert _said(spoken_numbers.code_words, "BC70") == {"b c seven oh", "b c seven zero"}


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_values_are_spoken_text_and_mean_one_thing(kind):
    rng, meanings = random.Random(kind), {}
    for share in (supply("zoo"), supply("A-test"), supply("train", NEURAL), supply("A-test", NEURAL)):
        for _ in range(400):
            value = KINDS[kind](rng, share)
            assert re.fullmatch(r"[a-z']+( [a-z']+)*", value.spoken)
            assert re.fullmatch(r"([a-z]( [a-z])*)?", value.tail)
            assert meanings.setdefault(value.spoken, value.canonical) == value.canonical


def test_the_kinds_all_splits_share_are_these():
    assert {"age", "duration", "number_small", "percent", "time", "weekday_time", "year"} == SMALL
    for kind in SMALL:
        rng = random.Random(kind)
        assert len({KINDS[kind](rng, supply("zoo")).canonical for _ in range(5000)}) < 500


@pytest.mark.parametrize("edition", [FORMANT, NEURAL], ids=lambda edition: edition.corpus)
@pytest.mark.parametrize("kind", sorted(set(KINDS) - SMALL))
def test_all_other_kinds_are_disjoint_between_shares(kind, edition):
    spoken = {}
    for share in set(edition.shares):
        rng = random.Random(f"{kind}/{share}")
        for _ in range(600):
            text = KINDS[kind](rng, supply(share, edition)).spoken
            assert spoken.setdefault(text, share) == share


def test_no_name_is_in_two_shares():
    for entries in names.name_lists().values():
        assert len(set(entries)) == len(entries) > 500
        tenths = {
            share: sum(FORMANT.share_of(e) == share for e in entries) / len(entries)
            for share in ("zoo", "train", "A-test")
        }
        assert 0.3 < tenths["zoo"] < 0.5 and 0.3 < tenths["train"] < 0.5 and 0.05 < tenths["A-test"] < 0.15


def test_every_split_has_real_names_of_each_kind():
    for name, entries in names.name_lists("names_real.json").items():
        assert len(set(entries)) == len(entries) >= 40
        for share in set(NEURAL.shares):
            assert sum(NEURAL.share_of(e) == share for e in entries) >= 3, (name, share)


@pytest.fixture
def made(monkeypatch):
    """tools/names.py, which writes the lists."""
    monkeypatch.syspath_prepend(paths.PROJECT / "tools")
    return importlib.import_module("names")


def test_no_two_names_sound_alike_under_the_synthesiser(made):
    everything = sorted({name for entries in names.name_lists().values() for name in entries})
    sample = random.Random(0).sample(everything, 2000)
    by_sound: dict[str, str] = {}
    for name in sample:
        other = by_sound.setdefault(made.phonemes(name), name)
        assert other == name, f"{name} sounds like {other}"
    assert made.phonemes("katherine") == made.phonemes("catherine")  # the test can fail


def test_names_are_folded_or_left_out(made):
    assert [made.fold(n) for n in ("Zoë", "O'Hara", "Anne-Marie", "Al", "June")] == [
        "zoe",
        "o'hara",
        None,
        None,
        None,
    ]
    assert names.names_file().stat().st_size < 600_000


def test_the_stored_lists_are_those_that_would_be_built(made, tmp_path):
    pytest.importorskip("faker")
    import json
    from importlib.metadata import version

    stored = json.loads(names.names_file().read_text())
    if stored["sources"] != {p: version(p) for p in stored["sources"]}:
        pytest.skip("names.json was built with other versions of Faker and espeakng-loader")
    made.build_name_lists(tmp_path / "names.json")
    assert (tmp_path / "names.json").read_text() == names.names_file().read_text()
    made.build_real_lists(tmp_path / "names_real.json")
    assert (tmp_path / "names_real.json").read_text() == names.names_file("names_real.json").read_text()
