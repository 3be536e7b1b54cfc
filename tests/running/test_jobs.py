"""One run in one process, end to end on tiny backbones: records, sharing, damage, interruption."""

from __future__ import annotations

import csv
import dataclasses
import gzip
import json
import math
import shutil
from types import SimpleNamespace

import pytest

from speechllm_bench.data.corpora import store
from speechllm_bench.errors import UserError
from speechllm_bench.evaluation import score
from speechllm_bench.models import asr, inputs
from speechllm_bench.models.speech_llm import SpeechLLM
from speechllm_bench.planning import identity, places
from speechllm_bench.running import jobs, preparation
from speechllm_bench.settings.config import LoraConfig, RunConfig
from speechllm_bench.storage import paths, runs, sealed
from speechllm_bench.storage.schema import Prediction
from speechllm_bench.training import loop, stages

FILES = {"run.json", "curve.csv", "predictions.jsonl.gz", "score.json"}


def silent(phase: str, share: float) -> None:
    pass


def predictions(folder) -> list[Prediction]:
    with gzip.open(folder / "predictions.jsonl.gz", "rt", encoding="utf-8") as file:
        return [Prediction.from_json(json.loads(line)) for line in file]


def curve(folder) -> list[dict]:
    """Without the clock: no two trainings take as long."""
    rows = csv.DictReader((folder / "curve.csv").read_text().splitlines())
    return [row for row in rows if row["metric"] != "seconds"]


def evaluated(config, **changes):
    return config.model_copy(update={"evaluation": config.evaluation.model_copy(update=changes)})


@pytest.fixture(scope="module")
def done(tiny_run, tiny_data):
    """A run that went well, in profile `done`."""
    config, said = tiny_run(), []
    folder = jobs.execute(config, "done", lambda phase, share: said.append((phase, share)))
    return SimpleNamespace(
        config=config, folder=folder, progress=said, record=runs.read_json(folder / "run.json")
    )


def test_a_text_llm_without_training_and_the_chance_copier_answer_too(tiny_run, tiny_data):
    """No adapter, no stages: nothing is trained, no frames are asked for, every question is answered."""
    untuned = tiny_run().model_copy(update={"adapter": None, "stages": []})
    chance = evaluated(untuned, answerer="chance_copier")
    said = {}
    for name, config in {"untuned": untuned, "chance": chance}.items():
        folder = jobs.execute(config, "text", silent)
        record = runs.read_json(folder / "run.json")
        assert record["status"] == "ok" and record["stages"] == [] and record["trained_parameters"] == 0
        assert record["data"]["frames"] is None and curve(folder) == []
        assert len(predictions(folder)) == 8
        said[name] = [p.raw for p in predictions(folder)]
    assert said["untuned"] != said["chance"]
    assert all(json.loads(raw) is not None for raw in said["chance"])


def test_a_floor_asks_for_nothing_that_a_model_hears(tiny_run, tiny_data, monkeypatch):
    monkeypatch.setattr(stages.Data, "heard", lambda *_: pytest.fail("a floor hears nothing"))
    floor = evaluated(tiny_run().model_copy(update={"stages": []}), answerer="whole_transcript")
    assert len(predictions(jobs.execute(floor, "floor", silent))) == 8


def test_who_hears_nothing_runs_without_speech_and_of_the_same_corpus(tiny_run, tiny_data, monkeypatch):
    """Gold transcripts need no audio: neither to be learned from nor for the floors."""
    spoken = preparation.ensure_corpus(tiny_run().corpus, 1)
    monkeypatch.setattr(preparation, "ensure_corpus", lambda *_, **__: pytest.fail("a corpus was spoken"))
    stage = tiny_run().stages[0].model_copy(update={"train": ["lora"], "evaluations": 1, "decoded_turns": 0})
    untuned = tiny_run().model_copy(update={"adapter": None, "stages": []})
    lora = {"lora": LoraConfig(rank=2, alpha=8, dropout=0.0), "stages": [stage]}
    for config in (untuned.model_copy(update=lora), evaluated(untuned, answerer="chance_copier")):
        folder = jobs.execute(config, "unspoken", silent)
        data = runs.read_json(folder / "run.json")["data"]
        assert data == {"corpus": spoken.fingerprint, "audio": None, "frames": None}
        turns = {u.id: u.transcript for u in spoken.utterances("A-test")}
        assert {p.utterance_id: p.transcript for p in predictions(folder)} == turns


def test_a_cascade_reads_what_the_decoder_heard_and_shares_its_training_with_gold_text(tiny_run, tiny_data):
    train = tiny_run().stages[0].model_copy(update={"train": ["lora"], "evaluations": 1, "decoded_turns": 0})
    lora = LoraConfig(rank=2, alpha=8, dropout=0.0)
    gold = tiny_run().model_copy(update={"adapter": None, "lora": lora, "stages": [train]})
    cascade = evaluated(gold, text="asr")
    tuned = cascade.model_copy(update={"stages": [train.model_copy(update={"text": "asr"})]})
    records = {
        name: runs.read_json(jobs.execute(config, "cascade", silent) / "run.json")
        for name, config in {"gold": gold, "cascade": cascade, "tuned": tuned}.items()
    }
    assert records["gold"]["stages"] == records["cascade"]["stages"] != records["tuned"]["stages"]
    assert records["gold"]["total_parameters"] < records["cascade"]["total_parameters"]
    assert all(r["speech_hours"] == 0 and r["text_tokens"] > 24 for r in records.values())
    said = {split: preparation.ensure_transcripts(cascade, None, split) for split in ("train", "A-test")}
    assert set(said["train"]) == {u.id for u in tiny_data.train}  # stored: no corpus was needed
    folder = paths.results("cascade") / "runs" / records["tuned"]["digest"]
    assert {p.utterance_id for p in predictions(folder)} == set(said["A-test"])


def test_a_fallback_of_the_recogniser_is_another_cascade_on_the_same_training(tiny_run, monkeypatch):
    train = tiny_run().stages[0].model_copy(update={"train": ["lora"], "evaluations": 1, "decoded_turns": 0})
    lora = LoraConfig(rank=2, alpha=8, dropout=0.0)
    gold = tiny_run().model_copy(update={"adapter": None, "lora": lora, "stages": [train]})
    plain = evaluated(gold, text="asr")
    again = RunConfig.model_validate(plain.model_dump() | {"asr_fallback": "30s"})
    with pytest.raises(ValueError, match="asr_fallback is for runs that read a recogniser's text"):
        RunConfig.model_validate(gold.model_dump() | {"asr_fallback": "30s"})
    heard = asr.transcribe
    monkeypatch.setattr(asr, "repeats", lambda text: True)
    paddings = []

    def spy(model, tokenizer, audio, padding, *rest, **more):
        paddings.append(padding)
        return heard(model, tokenizer, audio, padding, *rest, **more)

    monkeypatch.setattr(asr, "transcribe", spy)
    records = {
        name: runs.read_json(jobs.execute(config, "fallback", silent) / "run.json")
        for name, config in {"plain": plain, "again": again}.items()
    }
    assert "30s" in paddings and records["again"]["digest"] != records["plain"]["digest"]
    assert records["again"]["stages"] == records["plain"]["stages"]
    assert records["again"]["config"]["asr_fallback"] == "30s"
    assert "asr_fallback" not in records["plain"]["config"]


def test_prompts_in_english_are_another_run_in_which_every_question_is_put_so(done, tiny_run, monkeypatch):
    """In training, in validation, at the points of the curve and in the evaluation."""
    config = tiny_run(prompt="english")
    asked, halves = [], inputs.prompt_halves

    def spy(tokenizer, example, *rest, **more):
        asked.append(example)
        return halves(tokenizer, example, *rest, **more)

    monkeypatch.setattr(inputs, "prompt_halves", spy)
    record = runs.read_json(jobs.execute(config, "english", silent) / "run.json")
    assert {e.system for e in asked} == {"You extract information from a phone call."}
    assert all(e.prompt.startswith("Answer in JSON with ") for e in asked)
    assert record["digest"] != done.record["digest"] and record["stages"] != done.record["stages"]
    assert record["config"]["prompt"] == "english" and done.record["config"]["prompt"] is None
    counts = (record["prompt_tokens"]["stages"], done.record["prompt_tokens"]["stages"])
    for new, old in zip(*counts, strict=True):
        assert new["mean"] > old["mean"] and new["max"] > old["max"]


def test_only_what_reads_can_read_what_was_recognised(tiny_run):
    with pytest.raises(ValueError, match="text: asr is what a text LLM reads"):
        evaluation = tiny_run().evaluation.model_dump() | {"text": "asr"}
        RunConfig.model_validate(tiny_run().model_dump() | {"evaluation": evaluation})


@pytest.fixture
def profile(done, request):
    """A profile of the test's own that already holds what `done` made."""
    name = request.node.name
    shutil.copytree(paths.results("done"), paths.results(name))
    return name


def test_the_folder_is_whole_and_where_it_belongs(done):
    assert done.folder == paths.results("done") / "runs" / identity.run_digest(done.config)
    assert {p.name for p in done.folder.iterdir()} == FILES
    assert [p.name for p in done.folder.parent.iterdir()] == [done.folder.name]
    [stage] = (paths.results("done") / "stages").iterdir()
    assert {p.name for p in stage.iterdir()} == {"stage.json", "curve.csv", "weights.safetensors"}
    assert not places.checkpoint_folder("done", stage.name).exists()


def test_run_json_says_what_was_run_and_where(done):
    record = done.record
    assert record["digest"] == done.folder.name and record["profile"] == "done" and record["status"] == "ok"
    assert record["overrides"] == {}
    assert record["arithmetic"] == record["precision"] == "fp32" and record["trained_in"] == ["fp32"]
    assert record["config"] == json.loads(json.dumps(done.config.as_stored()))
    assert record["stages"] == [identity.stage_digest(done.config, 0)]
    # MLP: 8 x 16 frames -> 16 -> 16, with biases.
    assert record["adapter_parameters"] == record["trained_parameters"] == 128 * 16 + 16 + 16 * 16 + 16
    assert record["total_parameters"] > record["llm_parameters"] + record["adapter_parameters"] > 1000
    assert record["speech_hours"] > 0 and record["text_tokens"] > 24
    counts = record["prompt_tokens"]
    for counted in (counts["evaluation"], *counts["stages"]):
        assert 10 < counted["mean"] < counted["max"] < 400 and isinstance(counted["max"], int)
    assert len(counts["stages"]) == 1
    assert record["device_kind"] in ("cpu", "cuda") and record["precision"] == "fp32" and record["seed"] == 0
    assert record["threads"] >= 1 and record["peak_memory_mib"] > 50
    assert 0 < record["examples_per_second"] < 10_000 and 0 <= record["padding_share"] < 0.5
    assert {"startup", "train", "decode", "score", "total"} <= set(record["seconds"])
    parts = sum(v for k, v in record["seconds"].items() if k != "total")
    assert record["seconds"]["total"] == pytest.approx(parts, abs=0.05)
    assert set(record["data"]) >= {"corpus", "frames"} and record["environment"]["libraries"]["torch"]


def test_every_turn_has_its_prediction_in_order(done, tiny_data):
    corpus = preparation.ensure_corpus(done.config.corpus, 1)
    said = predictions(done.folder)
    assert [p.utterance_id for p in said] == [u.id for u in corpus.utterances("A-test")]
    assert len(said) == 8 and all(p.n_tokens <= 6 and p.task == "slots" for p in said)


def test_the_score_can_be_read_without_the_predictions(done):
    scored = runs.read_json(done.folder / "score.json")
    for metric in ("f1", "precision", "recall", "exact_f1", "slu_f1", "parse_failures"):
        interval = score.interval([scored], metric)
        assert 0 <= interval.low <= interval.value <= interval.high <= 1 and interval.n == 8
    assert score.interval([scored], "parse_failures").value == 1.0  # six tokens of a random model


def test_the_curve_is_long_and_finite(done):
    rows = curve(done.folder)
    assert list(rows[0]) == ["stage", "step", "examples", "split", "metric", "value"]
    assert {(r["split"], r["metric"]) for r in rows} >= {
        ("train", "loss"), ("validation", "loss"), ("validation", "f1"), ("train", "gradient_norm"),
        ("train", "lr"),
    }  # fmt: skip
    assert {r["step"] for r in rows} == {"3", "6"} and rows[-1]["examples"] == "24"
    assert all(math.isfinite(float(r["value"])) for r in rows)


def test_the_curve_has_the_clock_of_training(done):
    rows = [r for r in csv.DictReader((done.folder / "curve.csv").open()) if r["metric"] == "seconds"]
    assert [(r["step"], r["split"]) for r in rows] == [("3", "train"), ("6", "train")]
    first, last = (float(r["value"]) for r in rows)
    assert 0 <= first <= last == pytest.approx(done.record["seconds"]["train"], abs=0.02)


def test_progress_rises_through_the_phases(done):
    phases, shares = zip(*done.progress, strict=True)
    assert list(dict.fromkeys(phases)) == ["prepare", "train", "decode", "score"]
    assert list(shares) == sorted(shares) and shares[0] >= 0 and shares[-1] <= 1


def test_progress_counts_a_warm_start_by_its_time(tiny_run):
    plain = tiny_run()
    slots, scaled = plain.stages[0], plain.adapter.model_copy(update={"scaled": True})
    warm = slots.model_copy(
        update={"tasks": {"transcription": 1.0}, "objective": "ctc", "examples": 10 * slots.examples}
    )
    config = plain.model_copy(update={"adapter": scaled, "stages": [warm, slots]})
    assert jobs._untrained(config, "nothing") == [slots.examples] * 2


def test_a_run_that_shares_the_stage_does_not_train_again(done, profile, monkeypatch):
    monkeypatch.setattr(stages, "train_stage", lambda *a, **k: pytest.fail("trained again"))
    folder = jobs.execute(evaluated(done.config, audio="other"), profile, silent)
    record = runs.read_json(folder / "run.json")
    assert record["stages"] == done.record["stages"] and record["digest"] != done.record["digest"]
    assert curve(folder) == curve(done.folder)
    assert [p.example_id for p in predictions(folder)] == [p.example_id for p in predictions(done.folder)]
    # The same weights were loaded: heard on their own audio they say the same.
    shutil.rmtree(paths.results(profile) / "runs" / done.folder.name)
    again = jobs.execute(done.config, profile, silent)
    assert predictions(again) == predictions(done.folder)


def test_a_curve_that_was_decoded_otherwise_is_not_shared(done, profile):
    """The limit is in no digest: a changed profile would show the old curve as its own."""
    (stage,) = (paths.results(profile) / "stages" / digest for digest in done.record["stages"])
    limit = done.config.evaluation.max_new_tokens
    assert sealed.read(stage / "stage.json")["decoded_tokens"] == limit
    other = evaluated(done.config, max_new_tokens=limit + 1)
    assert identity.stage_digest(other, 0) == stage.name
    with pytest.raises(
        UserError, match=f"with at most {limit} tokens an answer, .* now allows {limit + 1}; set"
    ):
        jobs.execute(other, profile, silent)
    shutil.rmtree(paths.results(profile) / "runs" / done.folder.name)
    assert predictions(jobs.execute(done.config, profile, silent)) == predictions(done.folder)


def test_an_llm_that_has_only_read_is_the_text_llm_of_the_same_settings(tiny_run, tiny_data, monkeypatch):
    """One training for both, as weights and as a curve; what hears behind it is a training of its own."""
    lora = LoraConfig(rank=2, alpha=8, dropout=0.0)
    base = tiny_run(lora=lora)
    reads = base.stages[0].model_copy(update={"name": "slots", "train": ["lora"]})
    text = base.model_copy(update={"adapter": None, "stages": [reads]})
    reading = reads.model_copy(update={"name": "reading", "reads": True})
    slots = reads.model_copy(update={"train": ["adapter"]})
    hearing = base.model_copy(update={"stages": [reading, slots]})
    alone = base.model_copy(update={"stages": [slots]})
    assert identity.stage_digest(hearing, 0) == identity.stage_digest(text, 0)
    assert identity.stage_digest(hearing, 1) != identity.stage_digest(alone, 0)
    jobs.execute(text, "reading", silent)
    trained, train_stage = [], stages.train_stage
    monkeypatch.setattr(
        stages,
        "train_stage",
        lambda config, index, *rest: trained.append(index) or train_stage(config, index, *rest),
    )
    folder = jobs.execute(hearing, "reading", silent)
    assert trained == [1]
    assert list(dict.fromkeys(row["stage"] for row in curve(folder))) == ["reading", "slots"]


def test_the_no_audio_control_hears_another_call(done, profile, monkeypatch):
    from speechllm_bench.models import decoding

    heard = {}

    def spy(model, tokenizer, examples, utterances, *, frames, **rest):
        heard["frames"], heard["utterances"] = frames, utterances
        raise KeyboardInterrupt

    monkeypatch.setattr(decoding, "decode", spy)
    sizes = done.config.corpus.sizes | {"A-test": 12}  # two calls and more
    config = done.config.model_copy(update={"corpus": done.config.corpus.model_copy(update={"sizes": sizes})})
    with pytest.raises(KeyboardInterrupt):
        jobs.execute(evaluated(config, audio="other"), profile, silent)
    frames = preparation.ensure_frames(config, preparation.ensure_corpus(config.corpus, 1))
    ids = [u.id for u in heard["utterances"]]
    sources = [next(o for o in ids if frames[o].tobytes() == f.tobytes()) for f in heard["frames"]]
    assert sorted(sources) == sorted(ids)
    calls = {u.id: u.call_id for u in heard["utterances"]}
    assert all(calls[source] != calls[own] for source, own in zip(sources, ids, strict=True))


def test_out_of_domain_questions_on_b(done, profile):
    folder = jobs.execute(evaluated(done.config, split="B-test", slot_types="out_of_domain"), profile, silent)
    assert len(predictions(folder)) == 8
    assert all(p.example_id.endswith("/slots_ood") for p in predictions(folder))


def test_a_transcription_run_is_scored_in_words(done, profile):
    folder = jobs.execute(evaluated(done.config, task="transcription"), profile, silent)
    assert score.interval([runs.read_json(folder / "score.json")], "wer").value > 0.5


def test_a_hybrid_model_answers_in_both_modes_from_one_training(tiny_run, tiny_data, monkeypatch):
    """What it says is put into its mouth; where it goes from there is real."""
    [slots] = tiny_run().stages
    both = {"slots_think": 0.5, "slots_no_think": 0.5}
    hybrid = slots.model_copy(update={"name": "hybrid", "tasks": both, "trace_tokens": 8})
    config, seen = tiny_run(stages=[hybrid]), []
    from speechllm_bench.models import decoding

    decode = decoding.decode

    def spy(model, tokenizer, examples, *rest, max_new_tokens, **more):
        seen.append((examples[0].prompt.splitlines()[-1], max_new_tokens))
        said = decode(model, tokenizer, examples, *rest, max_new_tokens=max_new_tokens, **more)
        return [dataclasses.replace(p, raw=p.gold) for p in said]

    monkeypatch.setattr(decoding, "decode", spy)
    records, scores = [], []
    for task in both:
        folder = jobs.execute(evaluated(config, task=task, trace_tokens=9), "hybrid", silent)
        records.append(runs.read_json(folder / "run.json"))
        scores.append(runs.read_json(folder / "score.json"))
        assert {p.task for p in predictions(folder)} == {task}
    assert seen == [("/think", 9), ("/no_think", 9)]
    assert records[0]["stages"] == records[1]["stages"] and records[0]["digest"] != records[1]["digest"]
    assert records[0]["text_tokens"] > 24 * 10  # half of the answers have a trace
    assert [s["metrics"]["obedience"]["value"] for s in scores] == [1, 1]
    assert [s["metrics"]["f1"]["value"] for s in scores] == [1, 1]
    assert scores[0]["metrics"]["faithfulness"]["value"] == 1 and not any(
        scores[0]["malformed_kinds"].values()
    )
    assert scores[0]["totals"]["heard"][1] > 0 == scores[1]["totals"]["heard"][1]
    paired = score.difference(scores[:1], scores[1:], "f1")  # the same questions, by their ids
    assert paired.value == 0


def test_traces_that_are_not_there_are_told_before_anything_is_trained(tiny_run, tiny_data):
    think = {"tasks": {"slots_think": 1.0}, "traces": "none", "trace_tokens": 8}
    config = tiny_run(stages=[tiny_run().stages[0].model_copy(update=think)])
    with pytest.raises(UserError, match="the traces 'none' that the profile names are not in"):
        jobs.execute(config, "untraced", silent)
    assert not (paths.results("untraced") / "stages").exists()


def test_two_stages_with_lora(tiny_run, tiny_data):
    lora = LoraConfig(rank=2, alpha=8, dropout=0.1)
    [slots] = tiny_run().stages
    ast = slots.model_copy(update={"name": "ast", "tasks": {"transcription": 1.0}, "examples": 12})
    both = slots.model_copy(update={"train": ["adapter", "lora"]})
    config = tiny_run(lora=lora, stages=[ast, both])
    folder = jobs.execute(config, "two", silent)
    record, rows = runs.read_json(folder / "run.json"), curve(folder)
    assert record["stages"] == [identity.stage_digest(config, i) for i in (0, 1)]
    assert record["trained_parameters"] > record["adapter_parameters"]
    plain = jobs.execute(tiny_run(seed=5), "two", silent)
    assert record["llm_parameters"] == runs.read_json(plain / "run.json")["llm_parameters"]
    points = [(r["stage"], r["step"], r["examples"]) for r in rows if r["metric"] == "lr"]
    assert points == [("ast", "2", "8"), ("ast", "3", "12"), ("slots", "6", "24"), ("slots", "9", "36")]
    # From both stages' stored weights the run ends where it ended.
    before = predictions(folder)
    shutil.rmtree(folder)
    assert predictions(jobs.execute(config, "two", silent)) == before


@pytest.mark.parametrize("n_bytes", [-1, 100, 0])
def test_truncated_stage_weights_give_one_sentence(done, profile, n_bytes):
    weights = paths.results(profile) / "stages" / done.record["stages"][0] / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:n_bytes])
    with pytest.raises(
        UserError, match="weights.safetensors is damaged: .*delete its folder and run again"
    ) as caught:
        jobs.execute(evaluated(done.config, audio="other"), profile, silent)
    assert str(weights) in str(caught.value) and "\n" not in str(caught.value)
    assert {p.name for p in (paths.results(profile) / "runs").iterdir()} == {done.folder.name}


@pytest.fixture
def own_cache(done, tmp_path, monkeypatch):
    """A home of the test's own with the session's corpus and frames."""
    for part in ("corpora", "frames"):
        shutil.copytree(paths.cache() / part, tmp_path / ".cache" / part)
    monkeypatch.setenv("SPEECHLLM_BENCH_HOME", str(tmp_path))
    return tmp_path / ".cache"


def test_a_corrupt_frame_file_gives_one_sentence(done, own_cache):
    file = preparation.frames_folder(done.config) / "frames.bin"
    content = file.read_bytes()
    for damaged in (content[: len(content) // 2], content[:-1] + bytes([content[-1] ^ 1]), None):
        file.unlink(missing_ok=True)
        if damaged is not None:
            file.write_bytes(damaged)
        with pytest.raises(UserError, match=r"frames\.bin .*delete the folder .* and run again"):
            jobs.execute(done.config, "smoke", silent)
    assert not (paths.results("smoke")).exists()
    shutil.rmtree(file.parent)  # what the sentence says
    jobs.prepare(done.config, "smoke", 1)
    assert file.read_bytes() == content


def test_prepare_returns_at_once_when_all_is_there(done, own_cache, monkeypatch):
    monkeypatch.setattr(store, "build_corpus", lambda *a: pytest.fail("spoken again"))
    monkeypatch.setattr(preparation, "_encode", lambda *a: pytest.fail("encoded again"))
    jobs.prepare(done.config, "smoke", 1)


def test_what_preparation_took_is_of_the_part_that_was_made(done, own_cache):
    """A text LLM needs the corpus alone, and who hears after it makes frames of a corpus that is there."""
    for part in ("corpora", "frames"):
        shutil.rmtree(own_cache / part)
    file = paths.results("smoke") / "preparation.json"
    jobs.prepare(done.config.model_copy(update={"adapter": None, "stages": []}), "smoke", 1)
    spoken = runs.read_json(file)["seconds"]
    assert set(spoken) == {"synthesis"} and spoken["synthesis"] > 0
    runs.write_json(file, runs.read_json(file) | {"seconds": {"synthesis": 500.0}})  # a larger corpus
    jobs.prepare(done.config, "smoke", 1)
    seconds = runs.read_json(file)["seconds"]
    assert set(seconds) == {"synthesis", "frames"} and seconds["synthesis"] == 500.0 > seconds["frames"] > 0


def test_interrupted_encoding_leaves_no_half_store(done, own_cache, monkeypatch):
    from speechllm_bench.models import encoder

    shutil.rmtree(own_cache / "frames")
    encode = encoder.encode

    def interrupted(*arguments):
        yield from list(encode(*arguments))[:3]
        raise KeyboardInterrupt

    monkeypatch.setattr(encoder, "encode", interrupted)
    with pytest.raises(KeyboardInterrupt):
        jobs.prepare(done.config, "smoke", 1)
    assert list((own_cache / "frames").iterdir()) == []


@pytest.mark.parametrize("calls", [1, 4])
def test_ctrl_c_in_training_loses_nothing(done, own_cache, monkeypatch, calls):
    """Half-way through, then again: the numbers of a run that was never interrupted."""
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", -1)
    steps = []

    def ctrl_c(phase, share):
        if phase == "train":
            steps.append(share)
            if len(steps) == calls:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        jobs.execute(done.config, "smoke", ctrl_c)
    results = paths.results("smoke")
    assert [p for p in results.rglob("*") if p.is_file()] == []
    assert not any(p.name.endswith(".tmp") for p in own_cache.rglob("*"))
    steps.clear()
    folder = jobs.execute(done.config, "smoke", lambda phase, share: steps.append(phase))
    assert steps.count("train") == 6 - (calls - 1)  # the step under way is done again
    assert curve(folder) == curve(done.folder)
    assert predictions(folder) == predictions(done.folder)
    stage = done.record["stages"][0]
    weights = [
        (home / "stages" / stage / "weights.safetensors").read_bytes()
        for home in (results, done.folder.parents[1])
    ]
    assert weights[0] == weights[1]
    assert list((own_cache / "checkpoints").iterdir()) == []


def test_ctrl_c_in_decoding_keeps_the_stage_and_leaves_no_half_run(done, own_cache):
    def ctrl_c(phase, share):
        if phase == "decode":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        jobs.execute(done.config, "smoke", ctrl_c)
    assert list((paths.results("smoke") / "runs").iterdir()) == []
    assert [p.name for p in (paths.results("smoke") / "stages").iterdir()] == done.record["stages"]


def test_a_diverged_training_is_a_result(done, own_cache, monkeypatch):
    loss = SpeechLLM.loss
    monkeypatch.setattr(SpeechLLM, "loss", lambda self, batch: loss(self, batch) * math.nan)
    folder = jobs.execute(done.config, "smoke", silent)
    record = runs.read_json(folder / "run.json")
    assert record["status"] == "diverged"
    assert {p.name for p in folder.iterdir()} == {"run.json", "curve.csv"}
    assert [r["metric"] for r in curve(folder)] == ["diverged"]
    assert record["examples_per_second"] < 10_000
    # Who shares the stage has diverged as well, without training.
    shared = jobs.execute(evaluated(done.config, audio="other"), "smoke", silent)
    assert runs.read_json(shared / "run.json")["status"] == "diverged"
