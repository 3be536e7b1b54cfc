"""F1 by kind of slot, value and turn: each bucket counts its own pairs, and together they count all."""

from __future__ import annotations

import json

import matplotlib.pyplot as plt
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
    assert by_words["≥ 4"] == 0 and by_words["< 2"] == by_words["2–3"] == 1
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


def test_systems_stand_side_by_side_in_figures():
    poor = predicted(lambda turn, gold: {})
    by_slot = {
        name: breakdown.by_slot(found, TYPES) for name, found in {"gold": PERFECT, "asr": poor}.items()
    }
    figure = breakdown.slots_figure(by_slot)
    (mesh,) = figure.axes[0].collections
    assert mesh.get_array().reshape(-1, 2).tolist() == [[1, 0]] * len(by_slot["gold"])
    plt.close(figure)
    noise = {"gold": breakdown.by_turn(PERFECT, TURNS, "snr"), "asr": breakdown.by_turn(poor, TURNS, "snr")}
    figure = breakdown.turns_figure({"signal to noise": noise, "again": noise})
    assert [len(ax.lines) for ax in figure.axes] == [len(figure.axes[0].lines)] * 2
    assert figure.axes[0].lines[0].get_ydata().tolist() == [1, 1, 1]
    plt.close(figure)
