"""How good labels are, by hand; and F1 of models by the noise of what they learned from."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace

import pytest
from test_sense import row

from speechllm_bench.planning import studies
from speechllm_bench.reports import effects, named_entities, sizes
from speechllm_bench.settings.config import AnnotationConfig
from speechllm_bench.storage.schema import Utterance

SAID = "from rome to new york on monday"
GOLD = [("PLACE", "rome"), ("PLACE", "new york"), ("WHEN", "monday")]


def turn(i: int, said: str = SAID) -> Utterance:
    return Utterance(f"u{i}", "train", "c", i, "d", "", "", said, (), (), "neutral", (), f"s{i}")


@pytest.mark.parametrize(
    ("labels", "found"),
    [
        (GOLD, {"right": 3}),
        (None, {"omitted": 3}),
        (GOLD[:2], {"right": 2, "omitted": 1}),
        ([*GOLD[:2], ("PLACE", "monday")], {"right": 2, "wrong tag": 1}),
        ([GOLD[0], ("PLACE", "york"), GOLD[2]], {"right": 2, "wrong boundary": 1}),
        ([GOLD[0], ("PLACE", "to new york"), GOLD[2]], {"right": 2, "wrong boundary": 1}),
        ([*GOLD[:2], ("misc", "monday")], {"right": 2, "meaningless tag": 1}),
        ([*GOLD, ("misc", "rome")], {"right": 3, "meaningless tag": 1}),
        ([*GOLD, ("PERSON", "ann")], {"right": 3, "not said": 1}),
        ([*GOLD, ("PERSON", "from")], {"right": 3, "no entity": 1}),
        ([*GOLD, ("PLACE", "rome")], {"right": 3, "no entity": 1}),  # said once, labelled twice
        ([*GOLD, ("PERSON", "rom")], {"right": 3, "not said": 1}),  # words, not letters
        ([("WHEN", "york")], {"no entity": 1, "omitted": 3}),
        ([("misc", "rome"), ("WHEN", "rome")], {"wrong tag": 1, "meaningless tag": 1, "omitted": 2}),
    ],
)
def test_every_entity_has_one_kind(labels, found):
    counted = named_entities.label_kinds(GOLD, labels, SAID)
    assert counted == Counter(found)
    assert set(counted) <= set(named_entities.LABEL_KINDS)


def test_precision_recall_and_f1_before_and_after_each_filter():
    turns, gold = [turn(0), turn(1, "nothing")], [GOLD, []]
    wrong = [("PERSON", "ann"), ("misc", "rome")]
    some = [[GOLD[0], ("PLACE", "york"), *wrong], [("WHEN", "nothing")]]
    written = {"gold": gold, "some": some, "none": [None, None]}
    frame = named_entities.label_quality(written, gold, turns).set_index(["annotator", "filter"])
    assert (frame.loc["gold"][["precision", "recall", "F1", "label-F1"]] == 1).all(axis=None)
    some = frame.loc["some"]
    assert list(some.index) == ["as written", "in the transcript", "known tags"]
    assert some["labels"].tolist() == [5, 4, 3]
    assert some["precision"].tolist() == [1 / 5, 1 / 4, 1 / 3]
    assert some["recall"].tolist() == [1 / 3] * 3
    assert some["F1"].tolist() == pytest.approx([2 / 8, 2 / 7, 2 / 6])
    assert some["label-F1"].tolist() == pytest.approx([4 / 8, 4 / 7, 4 / 6])
    assert frame.loc["none"]["unreadable answers"].tolist() == [2, 2, 2]
    assert (frame.loc["none"]["F1"] == 0).all()
    ends = named_entities.label_errors(written, gold, turns).set_index(["annotator", "filter"]).loc["some"]
    assert ends["not said"].tolist() == [1, 0, 0] and ends["meaningless tag"].tolist() == [1, 1, 0]
    assert ends["no entity"].tolist() == [1, 1, 1] and ends["omitted"].tolist() == [1, 1, 1]


def test_a_system_in_each_language():
    rows = [row("ner", "ner_en", 8), row("ner", "ner_es", 4), row("transcription", "words_fr", 4)]
    rows += [
        {"variant": "ner_fr", "seed": 0, "score": None},
        {"variant": "later_en", "seed": 0, "score": None},
    ]
    for one in rows:
        one["axes"] = dict(zip(("system", "language"), one["variant"].split("_"), strict=True))
    frame = effects.by_language(rows).set_index("system")
    assert list(frame.index) == ["ner", "words", "later"]
    assert frame.loc["ner", "English"].startswith("1.000 [") and frame.loc["ner", "Spanish"].startswith(
        "0.500"
    )
    assert frame.loc["ner", "French"] == "" and frame.loc["words", "French"].startswith("0.250")
    assert frame["metric"].tolist() == ["ner_f1", "wer", ""]


def test_models_by_the_noise_of_their_labels():
    def trained(variant, right, *stages, audio="own"):
        made = row("ner", variant, right)
        settings = [
            SimpleNamespace(
                tasks={"ner": 1.0},
                annotation=a and AnnotationConfig(noise=a[0], filtered=a[1]),
                train_share=share,
            )
            for a, share in stages
        ]
        made["run"].config.stages = settings
        made["run"].config.evaluation.audio = audio
        return made

    gold = (None, None)
    rows = [
        trained("none", 8, gold),
        trained("noise_0", 8, gold, gold),
        trained("unfiltered_20", 4, ((0.2, False), None), gold),
        trained("filtered_20", 6, ((0.2, True), None), gold),
        trained("alone_20", 2, ((0.2, True), None)),
        trained("scarce", 2, ((0.2, True), None), (None, 0.05)),
        trained("no_audio", 0, ((0.2, True), None), gold, audio="other"),
        {"variant": "later", "score": None},
    ]
    frame = sizes.by_noise(rows)
    drawn = [tuple(line) for line in frame[["variant", "labels", "noise", "ner_f1"]].to_numpy()]
    assert drawn == [
        ("none", "alone", 0.0, 1.0),
        ("alone_20", "alone", 0.2, 0.25),
        ("noise_0", "filtered", 0.0, 1.0),
        ("filtered_20", "filtered", 0.2, 0.75),
        ("noise_0", "unfiltered", 0.0, 1.0),
        ("unfiltered_20", "unfiltered", 0.2, 0.5),
    ]
    study = studies.load("synthetic_ner", "mini")[0]
    figure = sizes.noise_figure(study, rows)
    assert len(figure.axes[0].containers) == 3
    assert sizes.noise_figure(study, rows[-2:]) is None
    assert sizes.noise_figure(study, rows[:2]) is None  # gold alone has no noise
