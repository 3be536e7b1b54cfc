"""The studies of 2509.04473: who shares which training, and one of their runs from end to end."""

from __future__ import annotations

import gzip
import json
import shutil

import pytest
from safetensors.numpy import load_file

from speechllm_bench.data.corpora import languages
from speechllm_bench.planning import identity, studies
from speechllm_bench.running import jobs
from speechllm_bench.settings.config import ClassifierConfig, LoraConfig
from speechllm_bench.settings.experiments import resolve
from speechllm_bench.storage import paths, runs
from speechllm_bench.training import regulariser


@pytest.fixture
def planned(suite):
    """Runs at toy size by study and variant."""
    real = paths.PROJECT / "experiments"
    names = [*(f"sense{end}" for end in ("", "_pooling", "_classifier", "_decoding", "_llm_size"))]
    names += ["synthetic_ner", "cross_lingual"]
    for name in names:
        shutil.copy(real / f"{name}.yaml", suite / "experiments")
    return {(r.study, r.variant): r for r in studies.plan(names, "smoke", ["all"]).runs}


def test_all_variants_start_from_one_transcription_and_a_unified_model_is_trained_once(planned):
    sense = {variant: run for (study, variant), run in planned.items() if study == "sense"}
    majority = sense.pop("sentiment_majority")
    assert majority.stages == () and majority.config.evaluation.answerer == "majority"
    assert len(sense) == len({run.digest for run in sense.values()}) == 3 * 4 + 3 * 4 + 3 + 3
    assert len({run.stages[0] for run in sense.values()}) == 1
    assert len({run.stages[1] for run in sense.values()}) == 4 * 4 + 1
    assert all(
        sense[f"{t}_lora"].stages == sense[f"{t}_no_audio"].stages
        for t in ("transcription", "ner", "sentiment")
    )
    for setting in ("", "_classifier", "_lora", "_all"):
        assert (
            len({sense[f"unified_{task}{setting}"].stages for task in ("transcription", "ner", "sentiment")})
            == 1
        )
    for name, run in sense.items():
        last = run.config.stages[1]
        assert (last.classifier is not None) == name.endswith(("_classifier", "_all"))
        tuned = name.endswith(("_lora", "_all", "_no_audio"))
        assert ("lora" in last.train) == tuned == (run.config.lora is not None)
        assert run.config.lora is None or run.config.lora.targets == "qkv"
        assert run.config.stages[0].classifier is None and run.config.adapter.steps_per_30s == 250
        assert name.startswith("unified") == (len({*last.tasks, *(last.beside or ())}) == 3)
        # The adapter's rate is the same beside LoRA and alone.
        assert (last.adapter_lr or last.lr) == sense["ner"].config.stages[1].lr
    alone, long = (sense[name].config.stages[1] for name in ("ner_all", "unified_long_ner_all"))
    assert (long.tasks, long.own_examples) == (alone.tasks, alone.examples)


def test_the_smaller_studies_ask_for_what_sense_has_trained(planned):
    def digest(study, variant):
        return planned[study, variant].digest

    assert (
        digest("sense_pooling", "transcription_250")
        == digest("sense", "transcription_lora")
        == digest("sense_decoding", "transcription_greedy")
    )
    assert (
        digest("sense_pooling", "ner_250")
        == digest("sense", "ner_lora")
        == digest("sense_decoding", "ner_greedy")
    )
    assert digest("sense_classifier", "a_0") == digest("sense", "ner_lora")
    assert digest("sense_classifier", "a_20") == digest("sense", "ner_all")
    beams = planned["sense_decoding", "ner_beam_5"]
    assert beams.stages == planned["sense", "ner_lora"].stages
    assert beams.digest != digest("sense", "ner_lora")
    alphas = [run.stages for (study, _), run in planned.items() if study == "sense_classifier"]
    assert len(set(alphas)) == 7


def test_the_paper_profile_decodes_with_the_papers_beams_and_the_studies_of_others_greedily():
    beams = {}
    for name in ("sense", "sense_decoding", "lora"):
        study, profile = studies.load(name, "paper")
        for variant in study.variants:
            beams[name, variant] = resolve(profile, study.variant(variant), 0).evaluation.beams
    assert {n for (study, _), n in beams.items() if study == "lora"} == {None}
    assert beams["sense", "ner_lora"] == beams["sense_decoding", "ner_beam_5"] == 5
    assert beams["sense_decoding", "ner_greedy"] is None  # the one beam that it names
    assert beams["sense", "sentiment_majority"] is None  # nothing is decoded


def test_sizes_differ_in_their_llm_alone(planned):
    for task in ("transcription", "ner"):
        micro, mini = (planned["sense_llm_size", f"{task}_{size}"].config for size in ("micro", "mini"))
        assert micro.llm != mini.llm and micro.model_copy(update={"llm": mini.llm}) == mini
    runs = [run for (study, _), run in planned.items() if study == "sense_llm_size"]
    assert len({run.stages[0] for run in runs}) == 2  # one transcription a size


def test_an_annotators_labels_are_a_stage_before_gold_or_in_its_place(planned):
    found = {variant: run for (study, variant), run in planned.items() if study == "synthetic_ner"}
    assert found["none"].digest == planned["sense", "ner_lora"].digest
    assert found["no_audio"].stages == found["none"].stages
    assert len({run.digest for run in found.values()}) == len(found) == 16
    assert {run.stages[0] for run in found.values()} == {planned["sense", "ner"].stages[0]}
    for noise in (10, 20, 40):
        assert found[f"alone_{noise}"].stages == found[f"filtered_{noise}"].stages[:2]
        assert found[f"unfiltered_{noise}"].stages[1] != found[f"filtered_{noise}"].stages[1]
    assert found["scarce_filtered_20"].stages[:2] == found["filtered_20"].stages[:2]
    assert found["noise_0"].stages[:2] == found["none"].stages
    assert found["scarce_twice"].stages[:2] == found["scarce_none"].stages
    steps = {variant: sum(s.examples for s in run.config.stages) for variant, run in found.items()}
    shorter = {"none", "no_audio", "scarce_none", "alone_10", "alone_20", "alone_40"}
    assert {variant for variant in found if steps[variant] == steps["none"]} == shorter
    assert len(set(steps.values())) == 2
    for variant, run in found.items():
        annotated = [s.annotation for s in run.config.stages if s.annotation]
        named = variant.split("_")[-1]
        assert [a.noise for a in annotated] == ([int(named) / 100] if named in ("10", "20", "40") else [])
        assert all(a.filtered == ("_filtered" in f"_{variant}" or "alone" in variant) for a in annotated)
        shares = [s.train_share for s in run.config.stages]
        assert shares[0] is None and (shares[-1] == 0.05) == variant.startswith("scarce")


def test_other_languages_are_asked_of_models_that_are_there(planned):
    found = {variant: run for (study, variant), run in planned.items() if study == "cross_lingual"}
    assert found["transcription_en"].digest == planned["sense", "transcription_lora"].digest
    assert found["ner_en"].digest == planned["sense", "ner_lora"].digest
    assert found["synthetic_en"].digest == planned["synthetic_ner", "filtered_20"].digest
    assert found["twice_en"].digest == planned["synthetic_ner", "noise_0"].digest
    trained = {s for (study, _), run in planned.items() if study != "cross_lingual" for s in run.stages}
    assert {s for run in found.values() for s in run.stages} <= trained
    assert len({run.digest for run in found.values()}) == len(found) == 14
    for variant, run in found.items():
        language = variant.split("_")[-1]
        assert run.config.evaluation.split == ("A-test" if language == "en" else language)


def test_a_run_in_another_language_hears_its_turns_and_depends_on_their_recipe(
    tiny_run, tiny_data, monkeypatch
):
    monkeypatch.setattr(languages, "TURNS", 4)
    base = (
        tiny_run("pooling").stages[0].model_copy(update={"examples": 8, "evaluations": 1, "decoded_turns": 0})
    )
    stage = base.model_copy(update={"name": "ner", "tasks": {"ner": 1.0}})
    config = tiny_run("pooling", stages=[stage])

    def asked(**changes):
        return config.model_copy(update={"evaluation": config.evaluation.model_copy(update=changes)})

    spanish, english = asked(split="es", task="ner"), asked(task="ner")
    folder = jobs.execute(spanish, "languages", lambda *_: None)
    with gzip.open(folder / "predictions.jsonl.gz", "rt", encoding="utf-8") as file:
        said = [json.loads(line) for line in file]
    turns = languages.utterances()["es"]
    assert [(p["utterance_id"], p["transcript"]) for p in said] == [(u.id, u.transcript) for u in turns]
    assert {p["speaker"] for p in said} == {u.speaker for u in turns}
    assert runs.read_json(folder / "score.json")["metrics"]["ner_f1"]["n"] == 4
    digests = [identity.run_digest(c) for c in (spanish, english)]
    assert identity.stage_digest(spanish, 0) == identity.stage_digest(english, 0)
    monkeypatch.setattr(languages, "TURNS", 5)
    assert identity.run_digest(spanish) != digests[0] and identity.run_digest(english) == digests[1]


def test_a_run_from_end_to_end_counts_its_classifier_and_leaves_it_behind(tiny_run, tiny_data):
    base = (
        tiny_run("pooling").stages[0].model_copy(update={"examples": 8, "evaluations": 1, "decoded_turns": 2})
    )
    first = base.model_copy(update={"name": "transcription", "tasks": {"transcription": 1.0},
                                    "decoded_task": "transcription"})  # fmt: skip
    shares = {"transcription": 0.4, "ner": 0.3, "sentiment": 0.3}
    unified = base.model_copy(
        update={
            "name": "unified",
            "tasks": shares,
            "train": ["adapter", "lora"],
            "decoded_task": "sentiment",
            "classifier": ClassifierConfig(alpha=0.2, class_weights=True),
        }
    )
    lora = LoraConfig(rank=2, alpha=2, dropout=0.0, targets="qkv")
    config = tiny_run("pooling", lora=lora, stages=[first, unified])

    def run(**asked):
        evaluation = config.evaluation.model_copy(update=asked)
        return jobs.execute(config.model_copy(update={"evaluation": evaluation}), "sense", lambda *_: None)

    folders = {"ner": run(task="ner"), "sentiment": run(task="sentiment"), "beams": run(task="ner", beams=3)}
    records = {name: runs.read_json(folder / "run.json") for name, folder in folders.items()}
    assert len({tuple(record["stages"]) for record in records.values()}) == 1
    record, size = records["ner"], regulariser.n_parameters(config.stages)
    qkv = 2 * 3 * (2 * (16 + 16))  # layers, matrices, rank x (in + out)
    assert record["classifier_parameters"] == size
    assert record["trained_parameters"] == record["adapter_parameters"] + qkv + size
    kept = load_file(paths.results("sense") / "stages" / record["stages"][1] / "weights.safetensors")
    assert sum(w.size for w in kept.values()) == record["adapter_parameters"] + qkv
    scores = {name: runs.read_json(folder / "score.json") for name, folder in folders.items()}
    assert set(scores["ner"]["metrics"]) == {"parse_failures", "ner_f1", "label_f1"}
    assert set(scores["sentiment"]["metrics"]) == {"parse_failures", "macro_f1", "weighted_f1"}
    assert scores["beams"]["items"] == scores["ner"]["items"]
    said = {}
    for name, folder in folders.items():
        with gzip.open(folder / "predictions.jsonl.gz", "rt", encoding="utf-8") as file:
            said[name] = [json.loads(line) for line in file]
    ids = [[p["example_id"] for p in said[name]] for name in ("ner", "beams")]
    assert ids[0] == ids[1] and {p["task"] for p in said["sentiment"]} == {"sentiment"}
    curve = (folders["ner"] / "curve.csv").read_text()
    assert ",validation,wer," in curve and ",validation,macro_f1," in curve
    assert identity.run_digest(config) not in {folder.name for folder in folders.values()}
