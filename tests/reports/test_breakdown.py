"""F1 by kind of slot, value and turn: each bucket counts its own pairs, and together they count all."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

import matplotlib.pyplot as plt
import pytest

from speechllm_bench.data import questions
from speechllm_bench.data.corpora import call_centre
from speechllm_bench.reports import breakdown, looks
from speechllm_bench.storage.schema import Prediction
from speechllm_bench.tasks import slots

TYPES = call_centre.slot_types()
TURNS = call_centre.utterances("A-test", 300)


def predicted(answer) -> list[Prediction]:
    """`answer(utterance, gold)` to every turn's question."""
    found = []
    for turn in TURNS:
        example = questions.evaluation_example(turn, TYPES, "slots")
        raw = json.dumps(
            {slots.spoken_name(s): v for s, v in answer(turn, slots.parse(example.target)).items()}
        )
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
    figure = breakdown.slots_figure(by_slot, looks.of_names(by_slot))
    (mesh,) = figure.axes[0].collections
    assert mesh.get_array().reshape(-1, 2).tolist() == [[1, 0]] * len(by_slot["gold"])
    plt.close(figure)
    noise = {"gold": breakdown.by_turn(PERFECT, TURNS, "snr"), "asr": breakdown.by_turn(poor, TURNS, "snr")}
    figure = breakdown.turns_figure({"signal to noise": noise, "again": noise}, looks.of_names(noise))
    assert [len(ax.lines) for ax in figure.axes] == [len(figure.axes[0].lines)] * 2
    assert figure.axes[0].lines[0].get_ydata().tolist() == [1, 1, 1]
    plt.close(figure)


def test_version_2_counts_a_slot_given_twice_and_takes_digits_for_their_words():
    twice = [Prediction(**{**vars(p), "raw": p.raw.replace("{", '{"home city": "x", ', 1)}) for p in PERFECT]
    by_slot = breakdown.by_slot(twice, TYPES, 2).set_index("bucket")
    assert (by_slot["value"].drop("home_city") == 1).all() and by_slot.loc["home_city", "value"] < 1
    by_words = [breakdown.by_value_words(PERFECT, version) for version in (1, 2)]
    assert by_words[0].equals(by_words[1])
    written = [Prediction(**{**vars(p), "raw": p.raw.replace("twelve", "12")}) for p in PERFECT]
    least = [breakdown.by_turn(written, TURNS, "words", version)["value"].min() for version in (1, 2)]
    assert least[0] < least[1] == 1


def test_seeds_are_averaged_and_their_turns_counted_once():
    poor = predicted(lambda turn, gold: {s: v for s, v in gold.items() if not TYPES[s].open_class})
    once, both = breakdown.by_class(PERFECT, TYPES), breakdown.by_class(PERFECT + poor, TYPES)
    assert both["value"].tolist() == [1, 0.5]
    assert both[["pairs", "turns"]].equals(once[["pairs", "turns"]])
    assert (both["low"] <= both["value"]).all() and both["high"].iloc[1] > 0.9  # seeds are drawn as well


def test_every_system_on_every_set_has_its_parts(monkeypatch):
    """Two seeds of one system on A, one of another on A and on B-OOD, and one that was not run."""
    poor = predicted(lambda turn, gold: {})
    said = {("cascade", 0): PERFECT, ("cascade", 1): poor, ("mlp", 0): poor, ("mlp_b_ood", 0): PERFECT}
    config = SimpleNamespace(evaluation=SimpleNamespace(split="A-test"))
    lacking = ["asr", "asr_b_ood", "cascade_b_ood", "mlp_b_id"]
    rows = [{"variant": v, "seed": 0, "score": {}, "run": None} for v in lacking]
    rows += [
        {"variant": v, "seed": s, "score": {"n": 1}, "run": SimpleNamespace(config=config, key=(v, s))}
        for v, s in said
    ]
    for row in rows:
        system, _, on = row["variant"].partition("_b_")
        row["axes"] = {"system": system} | ({"test_set": f"B-{on.upper()}"} if on else {})
    monkeypatch.setattr(breakdown, "predictions", lambda run: said[run.key])
    corpus = SimpleNamespace(utterances=lambda split: TURNS)
    found = breakdown.parts(rows, ["asr", "cascade", "mlp"], corpus, TYPES)
    assert {called: list(some) for called, some in found["class"].items()} == {
        "A": ["cascade", "mlp"],
        "B-OOD": ["mlp"],
    }
    assert len(found) == 6 and all(list(some) == ["A", "B-OOD"] for some in found.values())
    table = breakdown.parts_table(found)
    assert list(table.columns) == [
        ("A", "pairs"), ("A", "cascade"), ("A", "mlp"), ("B-OOD", "pairs"), ("B-OOD", "mlp"),
    ]  # fmt: skip
    assert table.loc["class", ("A", "pairs")].sum() == N_PAIRS
    assert table.loc["SNR (dB)"].index.tolist() == ["< 20", "20–24", "≥ 25"]
    assert (table["A", "cascade"] == 0.5).all() and (table["A", "mlp"] == 0).all()
    assert (table["B-OOD", "mlp"] == 1).all()
    figure = breakdown.turns_figure(found["SNR (dB)"], looks.of_names(["asr", "cascade", "mlp"]))
    assert [ax.get_title(loc="left") for ax in figure.axes] == ["A", "B-OOD"]
    plt.close(figure)
    assert breakdown.parts([], ["asr"], corpus, TYPES) == {}
    assert breakdown.parts_table({}).empty
    neural = [replace(turn, voice=replace(turn.voice, accent="kokoro-us", rate=95)) for turn in TURNS]
    corpus = SimpleNamespace(utterances=lambda split: neural)
    of_neural = breakdown.parts(rows, ["cascade"], corpus, TYPES)
    assert set(found) - set(of_neural) == {"words a minute"}  # their rate is in percent
