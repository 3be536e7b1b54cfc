"""Asking models about recordings of any format, and folders that peft loads alone; on tiny random weights."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import load_file

from speechllm_bench import cli
from speechllm_bench.commands import asking, exporting
from speechllm_bench.errors import MissingInput, UserError
from speechllm_bench.planning import identity, places, studies
from speechllm_bench.running import preparation
from speechllm_bench.settings.config import LoraConfig
from speechllm_bench.storage import paths, runs, sealed
from speechllm_bench.storage.schema import Turn
from speechllm_bench.tasks import slots
from speechllm_bench.training import loop, stages

LORA = LoraConfig(rank=2, alpha=8, dropout=0.0)


@pytest.fixture
def trained(home, tiny_run):
    """`trained(...)`: a run of study lora at profile mini, whose stages have random weights on disk."""

    def made(hears: bool = True, seed: int = 0) -> studies.Run:
        config = tiny_run(lora=LORA, seed=seed)
        parts = ["adapter", "lora"] if hears else ["lora"]
        stage = config.stages[0].model_copy(update={"train": parts})
        adapter = config.adapter if hears else None
        config = config.model_copy(update={"stages": [stage], "adapter": adapter})
        digests = (identity.stage_digest(config, 0),)
        digest = identity.run_digest(config)
        run = studies.Run("lora", "mlp_lora", seed, "mini", config, digest, digests, "missing")
        model, _ = stages.build_model(config, asking._width(config))
        generator = torch.Generator().manual_seed(seed)
        learned = model.trained_parameters(parts)
        with torch.no_grad():
            for parameter in learned.values():
                parameter.copy_(torch.randn(parameter.shape, generator=generator))
        folder = places.stage_folder("mini", digests[0])
        folder.mkdir(parents=True)
        loop.save_weights(learned, folder / "weights.safetensors")
        sealed.write(folder / "stage.json", {"status": "ok"}, sealed.present(folder / "weights.safetensors"))
        return run

    return made


@pytest.fixture
def samples():
    return (0.1 * np.random.default_rng(0).standard_normal(24000)).astype(np.float32)


@pytest.mark.parametrize(
    ("name", "rate"), [("a.wav", 8000), ("a.flac", 44100), ("a.ogg", 16000), ("a.mp3", 16000)]
)
def test_recordings_of_any_format_and_rate_are_answered(trained, samples, tmp_path, name, rate):
    soundfile.write(tmp_path / name, samples[:12000], rate)
    answer = asking.Model(trained()).ask(tmp_path / name, ["name: who calls", "city"])
    assert answer.raw and isinstance(answer.transcript, str) and answer.seconds > 0
    assert answer.audio_seconds == pytest.approx(12000 / rate, abs=0.1)
    assert answer.model == "lora mlp_lora seed 0" and answer.cascade is None
    assert answer.value is None and answer.slots == {}  # random weights write no JSON


def test_it_is_the_trained_weights_that_answer(trained, samples):
    first, second = (asking.Model(trained(seed=seed)) for seed in (0, 1))
    said = first.ask(samples, ["city"]).raw
    assert said != second.ask(samples, ["city"]).raw
    assert said == asking.Model(first.run).ask((samples, 16000), ["city"]).raw
    assert said != first.ask(samples[:8000], ["city"]).raw, "it hears"
    assert said != first.ask(samples, ["city"], context=[Turn("agent", "where do you live")]).raw


def test_a_question_is_worded_as_in_training(trained):
    example = asking.Model(trained())._question(["caller name: who calls", "city"], [Turn("agent", "hello")])
    assert example.prompt == slots.question(["caller name (who calls)", "city"], [Turn("agent", "hello")])
    assert example.prompt.startswith("agent: hello\ncaller:") and example.asked == ("caller_name", "city")


def test_a_text_model_reads_what_is_heard_and_stands_beside(trained, samples):
    reading = trained(hears=False, seed=3)
    model = asking.Model(trained())
    answer = model.ask(samples, ["city"], cascade=asking.Model(reading))
    assert answer.cascade.raw == asking.Model(reading).ask(samples, ["city"]).raw
    assert answer.cascade.transcript == answer.transcript
    assert model.ask(samples, ["city"], cascade=model).cascade is None


def test_what_cannot_be_asked_is_told(trained, samples, tmp_path):
    run = trained()
    model = asking.Model(run)
    for slots_, source, said in (
        ([], samples, "fills slots: name some"),
        ([": x"], samples, "names no slot"),
        (["city"], tmp_path / "no.wav", "does not exist"),
        (["city"], np.zeros((2, 9)), "one channel of numbers, got an array of shape"),
        (["city"], np.ones(16000 * 31, np.float32), "longer than Whisper's 30 s"),
    ):
        with pytest.raises(UserError, match=said):
            model.ask(source, slots_)
    runs.remove(places.stage_folder("mini", run.stages[0]))
    with pytest.raises(MissingInput, match="train them by `speechllm-bench run lora mlp_lora --seed 0"):
        asking.Model(run)
    floor = run.config.evaluation.model_copy(update={"answerer": "chance_copier"})
    config = run.config.model_copy(update={"evaluation": floor})
    with pytest.raises(UserError, match="is a floor"):
        asking.Model(studies.Run("lora", "chance", 0, "mini", config, "d", (), "missing"))


@pytest.mark.parametrize("task", ["sit", "sqit"])
def test_a_question_that_is_drawn_from_gold_cannot_be_asked(trained, samples, task):
    run = trained()
    asked = run.config.evaluation.model_copy(update={"task": task})
    model = asking.Model(run)
    model.run = replace(run, config=run.config.model_copy(update={"evaluation": asked}))
    told = rf"answers {task}, .* gold, .* that answers slots, .*, transcription, ner, sentiment$"
    with pytest.raises(UserError, match=told):
        model.ask(samples)


@pytest.mark.parametrize(("padding", "expected"), [("10s", "30s"), ("30s", None)])
def test_what_is_heard_has_the_fallback_of_the_profile(trained, samples, monkeypatch, padding, expected):
    from speechllm_bench.models import asr

    profile = studies.profile_named("mini").model_copy(update={"asr_fallback": "30s"})
    monkeypatch.setattr(studies, "profile_named", lambda name: profile)
    given = []
    monkeypatch.setattr(asr, "transcribe", lambda *_, fallback: given.append(fallback) or ["hello"])
    run = trained()
    encoder = run.config.encoder.model_copy(update={"padding": padding})
    model = asking.Model(run)
    model.run = replace(run, config=run.config.model_copy(update={"encoder": encoder}))
    assert model.hear(samples) == "hello" and given == [expected]


@pytest.mark.parametrize("in_bf16", [False, True])
def test_it_encodes_in_the_arithmetic_of_the_tables(trained, samples, monkeypatch, in_bf16):
    from speechllm_bench.models import encoder

    monkeypatch.setattr(preparation, "encodes_in_bf16", lambda config: in_bf16)
    model = asking.Model(trained())
    ((_, frames),) = model._encoded([samples])
    whisper = encoder.load_encoder(model.config.encoder.path)
    ((_, expected),) = encoder.encode(whisper, [samples], model.config.encoder.padding, in_bf16)
    ((_, other),) = encoder.encode(whisper, [samples], model.config.encoder.padding, not in_bf16)
    assert np.array_equal(frames, expected) and not np.array_equal(frames, other)


def test_a_cascade_is_found_where_one_is_trained(suite):
    (suite / "experiments" / "baselines.yaml").write_text(
        (paths.PROJECT / "experiments/baselines.yaml").read_text()
    )
    of = studies.run("adapter_size", "mlp", 0, "mini")
    assert asking.cascade(of) is None
    reads = studies.run("baselines", "cascade_long", 0, "mini")
    for digest in reads.stages:
        folder = places.stage_folder("mini", digest)
        runs.write_bytes(folder / "weights.safetensors", b"")
        sealed.write(folder / "stage.json", {"status": "ok"}, sealed.present(folder / "weights.safetensors"))
    assert asking.cascade(of).run == reads
    sealed.write(folder / "stage.json", {"status": "diverged"}, {})
    assert asking.cascade(of) is None


def test_the_command_prints_answer_transcript_and_seconds(trained, samples, tmp_path, monkeypatch, capsys):
    run = trained()
    monkeypatch.setattr(studies, "run", lambda *_: run)
    monkeypatch.setattr(asking, "cascade", lambda of: asking.Model(trained(hears=False, seed=3)))
    file = tmp_path / "call.wav"
    soundfile.write(file, samples, 16000)
    line = ["ask", "lora", "mlp_lora", str(file), "--slots", "name: the caller's name, city"]
    assert cli.main([*line, "--profile", "mini"]) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0] == f"{file} (1.5 s)" and told[1].split()[0] == "heard" and len(told) == 4
    assert cli.main([*line, "--profile", "mini", "--alone", "--format", "jsonl"]) == 0
    (record,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert {"raw", "transcript", "seconds", "value"} <= record.keys() and record["cascade"] is None


def test_an_export_loads_with_peft_alone(trained, tmp_path):
    from huggingface_hub import ModelCard
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    run = trained()
    folder = exporting.export(run, tmp_path / "export")
    llm = AutoModelForCausalLM.from_pretrained(run.config.llm, dtype=torch.float32)
    loaded = PeftModel.from_pretrained(llm, folder).eval()
    own, _ = asking.trained(run)
    tokens = torch.arange(4, 12)[None]
    with torch.no_grad():
        logits = own.llm(tokens).logits
        assert torch.equal(loaded(tokens).logits, logits)
        with loaded.disable_adapter():
            assert not torch.allclose(loaded(tokens).logits, logits)
    modes = {file.name: oct(file.stat().st_mode) for file in folder.iterdir()}
    assert set(modes.values()) == {modes["README.md"]}, "a colleague may read all files or none"
    weights = load_file(folder / "speech_adapter.safetensors")
    assert all(torch.equal(weights[name], w) for name, w in own.adapter.state_dict().items())
    assert json.loads((folder / "speech_adapter.json").read_text())["adapter"]["kind"] == "mlp"
    card = ModelCard.load(folder / "README.md")
    assert card.data.base_model == run.config.llm and card.data.library_name == "peft"
    assert "has not been evaluated" in card.text
    assert str(tmp_path) not in (folder / "adapter_config.json").read_text().replace(run.config.llm, "")
    with pytest.raises(UserError, match="is there already; name a new folder"):
        exporting.export(run, folder)


def test_a_card_names_a_fetched_llm_as_the_hub_does(trained):
    assert exporting._public("fetched/smollm2-135m-instruct") == "HuggingFaceTB/SmolLM2-135M-Instruct"
    assert exporting._public("zoo/llm-mini") == "zoo/llm-mini" and not exporting._trained_on("zoo/llm-mini")
    run = trained()
    fetched = run.config.model_copy(update={"llm": "fetched/smollm2-135m-instruct"})
    text = exporting.card(replace(run, config=fetched))
    assert 'AutoModelForCausalLM.from_pretrained("HuggingFaceTB/SmolLM2-135M-Instruct")' in text
    assert "trained on `fetched/smollm2-135m-instruct`" in text


def test_a_card_has_the_runs_numbers(trained, tmp_path, monkeypatch):
    from stored_runs import scored

    run = trained()
    made = {"status": "ok", "trained_parameters": 1234, "environment": {"commit": "abc"}}
    score = run.folder / "score.json"
    runs.write_json(score, scored(7))
    sealed.write(run.folder / "run.json", made)
    text = exporting.card(run)
    f1 = scored(7)["metrics"]["f1"]
    assert f"| f1 | {f1['value']:.3f} [{f1['low']:.3f}, {f1['high']:.3f}] |" in text
    assert "1,234" in text and "`abc`" not in text and "commit | abc" in text
    assert f"value: {round(f1['value'], 6)}" in text.split("---")[1]
    monkeypatch.setattr(paths, "PROJECT", paths.home())  # a record of the repository, from another folder
    monkeypatch.setenv(paths.HOME, str(tmp_path / "other"))
    assert exporting.card(run) == text
    score.write_text(score.read_text().replace("0.", "0.9", 1))
    with pytest.raises(
        UserError, match=r"score\.json is damaged: its sha256.*delete its folder and run again"
    ):
        exporting.card(run)


@pytest.fixture
def hub(monkeypatch):
    from fake_hub import TOKEN, FakeHub
    from huggingface_hub import constants

    server = FakeHub()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", server.url)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    yield server
    server.shutdown()
    server.server_close()


def test_a_hub_gets_the_folder_with_a_card_of_its_name(trained, hub, tmp_path):
    run = trained()
    assert exporting.publish(run, "someone/lora") == f"{hub.url}/someone/lora"
    folder = exporting.export(run, tmp_path / "export", place="someone/lora")
    assert hub.files == {file.name: file.read_bytes() for file in folder.iterdir()}
    assert "from_pretrained" in (card := hub.files["README.md"].decode()) and '"someone/lora")' in card
    assert hub.said == [f"lora mlp_lora seed 0, run {run.digest}"]


def test_a_hub_that_does_not_take_it_is_told_in_a_sentence(trained, hub, monkeypatch, capsys):
    from huggingface_hub import constants

    model = asking.Model(trained())
    monkeypatch.setattr(asking, "load", lambda *_: model)
    line = ["export", "lora", "mlp_lora", "--profile", "mini", "--hub"]

    def told(name: str) -> str:
        assert cli.main([*line, name]) == 2
        sentence = capsys.readouterr().err.strip().splitlines()[-1]  # behind bars of loading weights
        assert sentence.startswith("speechllm-bench: ")
        return sentence

    assert told("lora").endswith("'lora' is not the name of a hub repository; write owner/model")
    assert told("a/b/c").endswith("'a/b/c' is not the name of a hub repository; write owner/model")
    monkeypatch.setenv("HF_TOKEN", "another")
    assert told("someone/lora").endswith("you are not logged in; run `hf auth login`")
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    assert "http://127.0.0.1:9 is not reached (" in told("someone/lora")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert told("someone/lora").endswith("HF_HUB_OFFLINE is set; unset it and start again")
    assert hub.files == {}


def test_without_lora_there_is_nothing_for_peft(home, tiny_run, tmp_path):
    config = tiny_run()
    run = studies.Run("lora", "mlp", 0, "mini", config, "d", ("s",), "missing")
    with pytest.raises(UserError, match="has no LoRA"):
        exporting.export(run, tmp_path / "export")


def test_one_of_several_channels_is_heard(trained, samples, tmp_path):
    model = asking.Model(trained())
    soundfile.write(tmp_path / "two.wav", np.stack([0 * samples + 0.01, samples], axis=1), 16000)
    soundfile.write(tmp_path / "one.wav", samples, 16000)
    with pytest.raises(UserError, match="pick one"):
        model.ask(tmp_path / "two.wav", ["city"])
    assert (
        model.ask(tmp_path / "two.wav", ["city"], channel=1).raw
        == model.ask(tmp_path / "one.wav", ["city"]).raw
    )


def test_weights_of_the_repository_answer_for_another_home(trained, home, tmp_path, monkeypatch):
    run = trained()
    stored = asking._weights(run)
    monkeypatch.setattr(paths, "PROJECT", home)
    monkeypatch.setenv(paths.HOME, str(tmp_path / "other"))
    assert asking._weights(run) == stored


def test_weights_that_are_damaged_or_diverged_do_not_answer(trained):
    run = trained()
    (file,) = asking._weights(run)
    sealed.write(file.with_name("stage.json"), {"status": "diverged"}, sealed.present(file))
    with pytest.raises(MissingInput, match="lora mlp_lora seed 0 diverged in training"):
        asking.trained(run)
    sealed.write(file.with_name("stage.json"), {"status": "ok"}, sealed.present(file))
    content = bytearray(file.read_bytes())
    content[-1] ^= 1  # the last weight, which the format does not check
    file.write_bytes(content)
    with pytest.raises(UserError, match="bring it back with `git checkout`"):
        asking.trained(run)


def test_missing_weights_name_a_model_that_is_there(trained, monkeypatch):
    run = trained()
    other = studies.Run("lora", "cnn_lora", 0, "mini", run.config, "1", ("2",), "missing")
    monkeypatch.setattr(studies, "plan", lambda *_: studies.Plan(None, (other, run)))
    with pytest.raises(MissingInput, match=r"weights are there \(lora mlp_lora\)"):
        asking._weights(other)
    monkeypatch.setattr(studies, "plan", lambda *_: studies.Plan(None, (other,)))
    with pytest.raises(MissingInput, match="or ask one of `small`, which has weights"):
        asking._weights(other)
