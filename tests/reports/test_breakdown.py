"""F1 by kind of slot, value and turn: each bucket counts its own pairs, and together they count all."""

from __future__ import annotations

import json

import pytest

from speechllm_bench.data import questions
from speechllm_bench.data.corpora import call_centre
from speechllm_bench.data.tasks import slots
from speechllm_bench.reports import breakdown
from speechllm_bench.schema import Prediction

TYPES = call_centre.slot_types()
TURNS = call_centre.utterances("A-test", 300)


def predicted(answer) -> list[Prediction]:
    """`answer(utterance, gold)` to every turn's question."""
    found = []
    for turn in TURNS:
        example = questions.evaluation_example(turn, TYPES, "slots")
        raw = json.dumps({slots.spoken(s): v for s, v in answer(turn, slots.parse(example.target)).items()})
        found.append(
            Prediction(example.id, turn.id, turn.speaker, "slots", raw, example.target, example.asked, 3,
                       turn.transcript)
        )  # fmt: skip
    return found


PERFECT = predicted(lambda turn, gold: gold)
N_PAIRS = sum(len(slots.parse(p.gold)) for p in PERFECT)


def test_every_pair_is_in_one_bucket_of_each_kind():
    frames = [breakdown.by_slot(PERFECT, TYPES), breakdown.by_class(PERFECT, TYPES)]
    frames += [breakdown.by_value_words(PERFECT)]
    frames += [breakdown.by_turn(PERFECT, TURNS, what) for what in ("words", "snr", "rate")]
    for frame in frames:
        assert frame["pairs"].sum() == N_PAIRS and (frame["value"] == 1).all()
    assert all(len(frame) > 1 for frame in frames)


def test_a_bucket_has_only_what_went_wrong_in_it():
    """Long values are missed; open ones got another word."""
    missing = predicted(lambda turn, gold: {s: v for s, v in gold.items() if len(v.split()) < 4})
    by_words = breakdown.by_value_words(missing).set_index("bucket")["value"]
    assert by_words["4 words or more"] == 0 and by_words["below 2 words"] == by_words["2 to 3 words"] == 1
    wrong = predicted(
        lambda turn, gold: {s: "nonsense" if TYPES[s].open_class else v for s, v in gold.items()}
    )
    by_class = breakdown.by_class(wrong, TYPES).set_index("bucket")["value"]
    assert by_class["closed class"] == 1 and by_class["open class"] == 0
    by_slot = breakdown.by_slot(wrong, TYPES).set_index("bucket")["value"]
    assert by_slot["home_city"] == 0 and by_slot.iloc[0] == 1


def test_a_distractor_costs_its_own_class_alone():
    extra = next(name for name, t in TYPES.items() if not t.open_class and not t.ood)
    filled = predicted(lambda turn, gold: {extra: "nonsense"} | gold)
    by_class = breakdown.by_class(filled, TYPES).set_index("bucket")["value"]
    assert by_class["open class"] == 1 and 0 < by_class["closed class"] < 0.5


@pytest.mark.parametrize(("what", "measure"), [("snr", lambda v: v.snr_db), ("rate", lambda v: v.rate)])
def test_turns_are_sorted_by_how_they_are_spoken(what, measure):
    """Only the turns below the first edge are answered."""
    edge = {"snr": breakdown.SNR_DB, "rate": breakdown.WORDS_A_MINUTE}[what][0]
    some = predicted(lambda turn, gold: gold if measure(turn.voice) < edge else {})
    assert breakdown.by_turn(some, TURNS, what)["value"].tolist() == [1, 0, 0]


def test_unparsable_answers_are_misses():
    broken = [Prediction(**{**vars(p), "raw": "no json"}) for p in PERFECT]
    assert (breakdown.by_class(broken, TYPES)["value"] == 0).all()
    assert (breakdown.by_value_words(broken)["value"] == 0).all()
