"""What the SENSE studies show besides their tables: gains, SLUE score, boundaries of entities; by hand."""

from __future__ import annotations

import re
from types import SimpleNamespace

import numpy as np
import pytest

from speechllm_bench.evaluation import score, seeds
from speechllm_bench.planning import studies
from speechllm_bench.reports import cells, effects, looks, measured, named_entities, show
from speechllm_bench.storage.schema import Prediction, Utterance, Voice
from speechllm_bench.tasks import ner

STUDY = studies.load("sense", "mini")[0]
PLACES = ('{"place": ["rome"]}', '{"place": ["york"]}')


def prediction(task, i, gold, raw, speaker="s"):
    return Prediction(f"{task}{i}", f"u{i}", f"{speaker}{i % 4}", task, raw, gold, (), 1, "")


def row(task, variant, right, beams=None, n=8, speaker="s"):
    """A system that gives `right` of `n` answers as they are wanted: the first ones, or those named."""
    right = range(right) if isinstance(right, int) else right
    gold, other = {"transcription": ("a b", "a c"), "ner": PLACES, "sentiment": ("neutral", "positive")}[task]
    said = [prediction(task, i, gold, gold if i in right else other, speaker) for i in range(n)]
    evaluation = SimpleNamespace(task=task, beams=beams, audio="own", split="A-test")
    return {
        "variant": variant,
        "seed": 0,
        "status": "ok",
        "run": SimpleNamespace(
            variant=variant,
            stages=(variant.removesuffix("_beams"),),
            config=SimpleNamespace(evaluation=evaluation, hears=True),
        ),
        "record": {"trained_parameters": 100, "seconds": {"decode": 3.0}, "peak_memory_mib": 500},
        "score": score.score_task(task, said),
    }


def among_all(rows):
    """The rows, and one that was not run for every other variant of the study, in its order."""
    given = {one["variant"]: one for one in rows}
    lacking = {"seed": 0, "status": "NOT RUN", "run": None, "record": None, "score": None}
    return [
        given.get(name, {"variant": name, **lacking}) | {"axes": STUDY.place(name).axes}
        for name in STUDY.variants
    ]


def test_gains_are_relative_to_the_bare_adapter_of_the_same_task():
    rows = [
        row("transcription", "transcription", 4),  # WER 1/4
        row("transcription", "transcription_lora", 8),
        row("ner", "ner", 4),
        row("ner", "ner_lora", 6),
        row("sentiment", "sentiment", 8),
        row("ner", "unified_ner", 2),
    ]
    frame = effects.gains(STUDY, among_all(rows)).set_index(["model", "setting"])
    bare, lora = frame.loc["one model per task", "adapter"], frame.loc["one model per task", "+ LoRA"]
    assert bare["WER"].startswith("0.250 [") and bare["WER, gain"] == "–"
    assert bare["trained parameters"] == "300"  # three models that answer
    # A speaker's two answers: of four speakers two are all right, two all wrong, and LoRA rights them.
    assert lora["WER, gain"].startswith("+1.000 [+0.8") and lora["NER F1, gain"].startswith("+0.500 [")
    assert lora["sentiment, macro F1"] == "–" and lora["trained parameters"] == "–"  # not all were run
    unified = frame.loc["one model for all tasks", "adapter"]
    assert unified["NER F1"].startswith("0.250 [") and unified["NER F1, gain"] == "–"  # nothing is over `ner`


def test_one_model_of_all_tasks_is_counted_once():
    rows = [row(task, f"unified_{task}", 8) for task in effects.SENSE_TASKS]
    for one in rows:
        one["run"].stages = ("unified",)
    frame = effects.gains(STUDY, among_all(rows)).set_index(["model", "setting"])
    assert frame.loc[("one model for all tasks", "adapter"), "trained parameters"] == "100"


def test_a_relative_gain_is_drawn_with_its_baseline():
    """Against drawing speakers one by one: numerator and denominator are of the same speakers."""
    rows = [row("ner", "ner", 8, n=16), row("ner", "ner_lora", 11, n=16)]
    found = measured.relative_gain(rows, "ner_lora", "ner")
    assert found.value == pytest.approx(11 / 8 - 1)
    for one in rows:
        one["score"] = seeds.marked(one["score"], None, "own")  # speakers alone
    found = measured.relative_gain(rows, "ner_lora", "ner")
    own, base = (np.bincount(np.arange(right) % 4) for right in (11, 8))  # right answers of each speaker
    drawn = np.random.default_rng(3).integers(0, 4, (5000, 4))
    naive = own[drawn].sum(axis=1) / base[drawn].sum(axis=1) - 1
    error = np.sqrt(((naive - found.value) ** 2).mean() * 4 / 3)
    assert found.standard_error == pytest.approx(error, rel=0.03) and found.low < naive.min()
    second = {**row("ner", "ner", 0, n=16), "seed": 1}  # a seed that the other does not have
    assert measured.relative_gain([*rows, second], "ner_lora", "ner") == found


def test_what_both_bring_is_over_lora_and_nothing_is_over_next_to_nothing():
    right = {"ner": 0, "ner_classifier": 2, "ner_lora": 4, "ner_all": 5}
    rows = [row("ner", name, n) for name, n in right.items()]
    frame = effects.gains(STUDY, among_all(rows)).set_index("setting")
    alone = frame[frame["model"] == "one model per task"]
    assert alone["gain over"].to_dict() == {
        "adapter": "–",
        "+ classifier": "adapter",
        "+ LoRA": "adapter",
        "all": "+ LoRA",
    }
    assert (alone["NER F1, gain"] == "–").tolist() == [True, True, True, False]
    assert alone.loc["all", "NER F1, gain"].startswith("+0.250 [")


def test_settings_stand_in_a_panel_a_task():
    rows = [row("ner", "ner", 2), row("ner", "ner_all", 4), row("ner", "unified_long_ner_all", 6)]
    frame = effects.settings_table(among_all(rows), "ner")
    assert frame[["model", "setting"]].values.tolist() == [
        ["single", "bare"],
        ["single", "all"],
        ["unified_long", "all"],
    ]
    assert frame["ner_f1"].tolist() == [0.25, 0.5, 0.75]
    figure = effects.settings_figure(STUDY, among_all([*rows, row("transcription", "transcription", 4)]))
    assert [ax.get_ylabel() for ax in figure.axes] == ["WER", "NER F1"]
    assert len(figure.axes[1].patches) == 3
    assert effects.settings_figure(STUDY, []) is None


def test_the_slue_score_and_its_gain():
    rows = [row(task, task, right) for task, right in (("transcription", 4), ("ner", 4), ("sentiment", 8))]
    rows += [row(task, f"{task}_lora", 8) for task in effects.SENSE_TASKS]
    rows += [row("ner", "ner_all", 8)]  # of `all` one task alone
    frame = effects.slue_scores(STUDY, among_all(rows))
    bare, lora = frame.to_dict("records")
    assert (bare["setting"], lora["setting"]) == ("adapter", "+ LoRA")
    assert bare["SLUE score"].startswith("75.000 [") and bare["gain"] == "–"  # 100 (0.75 + 0.5 + 1) / 3
    assert lora["SLUE score"].startswith("100.000 [") and lora["SLUE score"].endswith(", 100.000]")
    assert lora["gain"].startswith("+25.000 [")
    assert effects.slue_scores(STUDY, among_all(rows[:2])).empty


def test_ids_have_keys_and_outlive_another_label(monkeypatch):
    rows = among_all([row(task, task, 8) for task in effects.SENSE_TASKS])

    def ids() -> dict[str, set[str]]:
        made = {"gains": effects.gains(STUDY, rows), "slue": effects.slue_scores(STUDY, rows)}
        found = [line for name, table in made.items() for line in cells.of_further(STUDY, [], name, table)]
        return {line.key: set(line.cells) for line in found}

    before = ids()
    assert before["sense/slue:single:bare/all"] == {"seeds", "slue_score"}
    assert before["sense/gains:single:bare/all"] == {"trained_parameters", "wer", "ner_f1", "macro_f1"}
    monkeypatch.setattr(looks.axes, "label", lambda key, value=None: f"reworded {key}")
    assert effects.gains(STUDY, rows)["setting"][0] == "reworded bare" and ids() == before


def test_speakers_are_drawn_once_for_one_test_set_and_apart_for_others():
    def score(speakers, own=False):
        right = [i for i in range(8) if i % 4 < speakers]
        rows = [row(task, task, right, speaker=task if own else "s") for task in effects.SENSE_TASKS]
        return [
            float(x)
            for x in re.findall(r"-?[\d.]+", effects.slue_scores(STUDY, among_all(rows))["SLUE score"][0])
        ]

    # Speakers who are lucky in all three tasks at once spread the score by the root of 3 more.
    assert score(2, own=True)[0] == score(2)[0]
    together, apart = (value - low for value, low, _ in (score(2), score(2, own=True)))
    assert 1.3 * apart < together < 2.2 * apart


def test_f1_by_tag_shows_rare_ones_apart(monkeypatch):
    gold = ['{"place": ["rome"], "person": ["ann"]}', *['{"place": ["rome"]}'] * 3]
    said = ['{"place": ["rome"], "person": ["bob"]}', *['{"place": ["rome"]}'] * 2, "{}"]
    answers = [prediction("ner", i, g, s) for i, (g, s) in enumerate(zip(gold, said, strict=True))]
    monkeypatch.setattr(named_entities, "predictions", lambda run: answers)
    found = named_entities.f1_by_tag([row("ner", "ner", 4), row("sentiment", "sentiment", 4)])
    assert list(found.columns) == ["PERSON (1)", "PLACE (4)"]
    assert found.loc["ner"].tolist() == [0.0, pytest.approx(2 * 3 / 7)]
    table = named_entities.tags_table([row("ner", "ner", 4)])
    assert table.values.tolist() == [["ner", "0.000", "0.857"]]
    (line,) = cells.of_further(STUDY, [], "tags", table)
    assert list(line.cells) == ["person", "place"], "the id of a tag does not hang on how often it occurs"
    assert named_entities.tags_table([row("sentiment", "sentiment", 4)]).empty


def test_rare_tags_are_taken_together_and_compared_within_speakers(monkeypatch):
    rare = [ner.target([("NORP", "dutch")]), ner.target([("LAW", "the act")])]
    gold = [ner.target([("PLACE", "rome"), ("PLACE", "york")])] * 60 + rare
    said = {"a": [*gold[:60], "{}", "{}"], "b": [*gold[:60], gold[60], "{}"]}
    answers = {
        name: [prediction("ner", i, g, s) for i, (g, s) in enumerate(zip(gold, texts, strict=True))]
        for name, texts in said.items()
    }
    monkeypatch.setattr(named_entities, "predictions", lambda run: answers[run.variant])
    rows = [row("ner", "a", 4), row("ner", "b", 4), row("sentiment", "sentiment", 4)]
    found = named_entities.f1_of_rare_tags(rows, "a").set_index("variant")
    f1 = "F1 of LAW, NORP: 2 entities"
    assert list(found.columns) == ["labels said", f1, "difference to a"] and list(found.index) == ["a", "b"]
    assert found.loc["a"].tolist() == [0, "0.000 [0.000, 0.025]", "–"]
    assert found.loc["b", f1].startswith(f"{2 / 3:.3f} [") and found.loc["b"].iloc[2].startswith("+0.667 [")
    assert found.loc["b", "labels said"] == 1
    answers["b"] = answers["a"]  # neither says a rare tag: that no difference was found means nothing
    assert named_entities.f1_of_rare_tags(rows, "a").set_index("variant").loc["b", "difference to a"] == "–"
    monkeypatch.setattr(named_entities, "predictions", lambda run: answers["a"][:60])
    assert named_entities.f1_of_rare_tags(rows, "a").empty  # places alone


def test_the_best_run_of_each_task_and_what_decoding_cost():
    rows = [
        row("transcription", "transcription", 4),
        row("transcription", "transcription_beams", 6, beams=5),
        row("ner", "ner", 1),
        row("ner", "alone", 1, beams=5),
    ]
    rows[1]["record"]["seconds"]["decode"] = 15.0
    assert {task: run.variant for task, run in show.best_runs(rows).items()} == {
        "transcription": "transcription_beams",  # the lower WER
        "ner": "ner",
    }
    cost = measured.decoding_cost(rows).set_index("variant")
    assert cost.loc["transcription_beams"].tolist() == [0, 5, 0.125, 15, 5]  # five times the greedy three
    assert cost.loc["transcription", "times"] == 1 and np.isnan(cost.loc["alone", "times"])


@pytest.mark.parametrize(
    ("said", "ended"),
    [
        ([("PLACE", "new york"), ("WHEN", "may")], ["found", "found"]),
        ([("PLACE", "york")], ["boundary", "missed"]),
        ([("PLACE", "new york city"), ("WHEN", "may")], ["boundary", "found"]),
        ([("PERSON", "york")], ["missed", "missed"]),  # another tag
        ([("PLACE", "rome")], ["missed", "missed"]),  # other words
        ([("PLACE", "new york"), ("PLACE", "york")], ["found", "missed"]),
        (None, ["missed", "missed"]),
    ],
)
def test_how_an_entity_ends(said, ended):
    gold = [("PLACE", "new york"), ("WHEN", "may")]
    raw = "no JSON" if said is None else ner.target((t, p) for t, p in said)
    found = named_entities.ends(prediction("ner", 0, ner.target(gold), raw))
    assert found == list(zip(["new york", "may"], ended, strict=True))


def test_one_wrong_phrase_excuses_one_entity_alone():
    gold = ner.target([("PLACE", "new york"), ("PLACE", "york road")])
    found = named_entities.ends(prediction("ner", 0, gold, ner.target([("PLACE", "york")])))
    assert [end for _, end in found] == ["boundary", "missed"]


def test_boundary_errors_by_length_and_rate(monkeypatch):
    voices = [Voice("en", "m1", rate, 50, 20.0, 0) for rate in (100, 120, 140)]
    utterances = [
        Utterance(f"u{i}", "A-test", "c", i, "", "", "", "", (), (), "", (), "s", voice)
        for i, voice in enumerate(voices)
    ]
    gold = ner.target([("PLACE", "new york"), ("WHEN", "may")])
    raw = [gold, ner.target([("PLACE", "york"), ("WHEN", "may")]), "{}"]
    said = [prediction("ner", i, gold, one) for i, one in enumerate(raw)]
    monkeypatch.setattr(named_entities, "predictions", lambda run: said)
    frame = named_entities.boundary_errors(
        [row("ner", "ner", 1), row("transcription", "transcription", 1)], utterances
    )
    found = frame.set_index("group")
    assert set(frame["variant"]) == {"ner"}
    assert list(found.index) == ["1 word", "2 words", "fast", "medium", "slow"]
    assert found.loc["2 words", ["found", "boundary", "missed"]].tolist() == pytest.approx([1 / 3] * 3)
    assert found.loc["1 word", "boundary"] == 0 and found.loc["1 word", "entities"] == 3
    assert found.loc["slow", "found"] == 1 and found.loc["fast", "missed"] == 1
    assert found.loc["medium", "boundary"] == 0.5
