"""Digests: what makes a run or a stage another one, and what does not (protocol, rule 16)."""

from __future__ import annotations

import shutil

import pytest

from speechllm_bench import backbones as backbones_module
from speechllm_bench.data import corpora
from speechllm_bench.data.corpora import spoken_instructions
from speechllm_bench.errors import MissingInput, UserError
from speechllm_bench.planning import identity, studies
from speechllm_bench.settings.config import (
    ClassifierConfig,
    DistillationConfig,
    LoraConfig,
    RunConfig,
    from_stored,
)
from speechllm_bench.settings.experiments import load_study, resolve
from speechllm_bench.settings.profiles import load_profile
from speechllm_bench.storage import paths, runs
from speechllm_bench.tasks import traced_slots


@pytest.fixture
def backbones(tiny_backbones, tmp_path):
    """A copy to change; hashes are remembered by name within a process, so each test has its own."""
    return shutil.copytree(tiny_backbones, tmp_path / "backbones")


@pytest.fixture
def config(tiny_run, backbones):
    run = tiny_run()
    encoder = run.encoder.model_copy(update={"path": str(backbones / "whisper")})
    return run.model_copy(update={"encoder": encoder, "llm": str(backbones / "llm")})


def changed(config, path: str, value):
    """The config with one field, named by its dotted path, replaced."""
    head, _, rest = path.partition(".")
    if rest:
        inner = getattr(config, head)
        value = [changed(inner[0], rest, value), *inner[1:]] if isinstance(inner, list) else changed(
            inner, rest, value
        )  # fmt: skip
    return config.model_copy(update={head: value})


def digests(config) -> tuple[str, str, str]:
    return identity.run_digest(config), identity.stage_digest(config, 0), identity.frames_digest(config)


def test_digests_are_stable_and_short(config):
    assert digests(config) == digests(config.model_copy(deep=True))
    assert all(len(d) == 16 and int(d, 16) >= 0 for d in digests(config))
    assert len(set(digests(config))) == 3


@pytest.mark.parametrize(
    ("path", "value", "changes"),
    [  # changes: digest of the run, of the stage, of the frames
        ("seed", 1, (True, True, False)),
        ("prompt", "english", (True, True, False)),
        ("precision", "bf16", (True, True, True)),
        ("adapter.width", 17, (True, True, False)),
        (
            "lora",
            LoraConfig(rank=2, alpha=8, dropout=0.0),
            (True, False, False),
        ),  # the stage does not train it
        ("stages.lr", 0.5, (True, True, False)),
        ("stages.examples", 25, (True, True, False)),
        ("encoder.padding", "30s", (True, True, True)),
        ("corpus.sizes", {"train": 25, "validation": 8, "A-test": 8}, (True, True, True)),
        ("evaluation.audio", "other", (True, False, False)),
        ("evaluation.split", "B-test", (True, False, False)),
        ("evaluation.slot_types", "out_of_domain", (True, False, False)),
        ("evaluation.max_new_tokens", 7, (True, False, False)),
        ("evaluation.context", 0, (True, False, False)),
        ("evaluation.distractors", 3, (True, False, False)),
        ("evaluation.wording", "described", (True, False, False)),
        ("stages.beside", {"transcription": 8}, (True, True, False)),
        ("stages.described", 0.5, (True, True, False)),
    ],
)
def test_what_a_change_of_the_config_changes(config, path, value, changes):
    pairs = zip(digests(config), digests(changed(config, path, value)), strict=True)
    assert tuple(a != b for a, b in pairs) == changes


def test_what_a_run_does_not_use_is_not_in_its_digest(config):
    """A setting that comes later has to be None by default: else every run there is would be another."""
    used = config.model_dump(exclude_none=True)
    assert set(used["evaluation"]) == {
        *("split", "task", "slot_types", "audio", "answerer", "text", "batch_size", "max_new_tokens")
    }
    assert set(used["stages"][0]) == {
        *(
            "examples",
            "batch_size",
            "lr",
            "warmup_ratio",
            "weight_decay",
            "max_grad_norm",
            "evaluations",
            "name",
            "tasks",
        ),
        *("train", "validation_examples", "decoded_turns", "text"),
    }


def test_only_runs_that_hear_instructions_depend_on_them(config, monkeypatch):
    aloud = changed(config, "stages.beside", {"sqit": 8})
    asked = changed(config, "evaluation.task", "sqit")
    before = [digests(one) for one in (config, aloud, asked)]
    changed_recipe = (spoken_instructions.utterances, lambda: {"corpus": "instructions", "text": "changed"})
    monkeypatch.setitem(identity.EXTRA, "instructions", changed_recipe)
    after = [digests(one) for one in (config, aloud, asked)]
    differ = [
        [a != b for a, b in zip(one, other, strict=True)] for one, other in zip(before, after, strict=True)
    ]
    assert differ == [[False, False, False], [True, True, False], [True, False, False]]


def test_only_runs_that_think_depend_on_the_form_of_traces(config, monkeypatch):
    taught = changed(config, "stages.tasks", {"slots_think": 1.0})
    asked = changed(config, "evaluation.task", "slots_think")
    before = [digests(c) for c in (config, taught, asked)]
    monkeypatch.setattr(traced_slots, "VERSION", traced_slots.VERSION + 1)
    after = [digests(c) for c in (config, taught, asked)]
    changes = [tuple(a != b for a, b in zip(*pair)) for pair in zip(before, after)]
    assert changes == [(False, False, False), (True, True, False), (True, False, False)]


def test_settings_that_came_later_leave_older_runs_what_they_are(tiny_run, monkeypatch):
    """Literal digests: a setting that a config does not use must not be part of them."""
    monkeypatch.setattr(identity, "_surroundings", lambda config, heard: ())
    run = tiny_run()
    encoder = run.encoder.model_copy(update={"path": "whisper"})
    run = run.model_copy(update={"encoder": encoder, "llm": "llm"})
    assert (identity.run_digest(run), identity.stage_digest(run, 0)) == (
        "7a80fbd3e4f1ea45",
        "77d36140eb73422e",
    )
    thinking = changed(run, "evaluation.task", "slots_think")
    assert (
        identity.run_digest(thinking) != "7a80fbd3e4f1ea45"
        and identity.stage_digest(thinking, 0) == "77d36140eb73422e"
    )
    assert identity.stage_digest(changed(run, "stages.trace_tokens", 9), 0) != "77d36140eb73422e"


@pytest.mark.parametrize(("backbone", "frames"), [("llm", False), ("whisper", True)])
@pytest.mark.parametrize("file", ["model.safetensors", "config.json"])
def test_a_backbones_files_count(config, backbones, backbone, frames, file):
    before = digests(config)
    path = backbones / backbone / file
    path.write_bytes(path.read_bytes()[:-1] + b" ")
    identity.backbone_hash.cache_clear()
    after = digests(config)
    assert tuple(a != b for a, b in zip(before, after, strict=True)) == (True, True, frames)


def test_a_text_llm_does_not_depend_on_the_encoder(config, backbones):
    text = config.model_copy(update={"adapter": None, "stages": []})
    before = identity.run_digest(text)
    path = backbones / "whisper" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b" ")
    identity.backbone_hash.cache_clear()
    assert identity.run_digest(text) == before


def test_the_tokenizer_counts_and_the_training_record_does_not(config, backbones):
    before = digests(config)
    (backbones / "llm" / "training.json").write_text('{"seconds": 3}')
    (backbones / "llm" / "README.md").write_text("a card")
    identity.backbone_hash.cache_clear()
    assert digests(config) == before
    with open(backbones / "llm" / "tokenizer.json", "a") as file:
        file.write("\n")
    identity.backbone_hash.cache_clear()
    assert identity.run_digest(config) != before[0]


def test_the_corpus_recipe_and_the_numerics_version_count(config, monkeypatch):
    before = digests(config)
    with monkeypatch.context() as patch:
        recipe = corpora.recipe("call_centre")
        patch.setattr(corpora, "recipe", lambda name: {**recipe, "text": "changed"})
        assert not set(before) & set(digests(config))
    monkeypatch.setattr(runs, "NUMERICS_VERSION", runs.NUMERICS_VERSION + 1)
    run, stage, _ = digests(config)
    assert run != before[0] and stage != before[1]


def test_a_large_file_is_hashed_once_until_it_changes(config, backbones, monkeypatch, tmp_path):
    hashed = []
    monkeypatch.setenv("SPEECHLLM_BENCH_HOME", str(tmp_path))
    monkeypatch.setattr(backbones_module, "LARGE", 0)
    monkeypatch.setattr(runs, "file_sha256", lambda p: hashed.append(p.name) or "0" * 64)
    before = digests(config)
    once = len(hashed)
    identity.backbone_hash.cache_clear()
    assert digests(config) == before and len(hashed) == once > 0
    weights = backbones / "llm" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b" ")
    identity.backbone_hash.cache_clear()
    digests(config)
    assert hashed[once:] == ["model.safetensors"]


def test_frames_have_a_version_of_their_own(config, monkeypatch):
    """Runs do not depend on it: they have the numerics version."""
    before, frames = digests(config)[:2], identity.frames_digest(config)
    monkeypatch.setattr(identity, "FRAMES_VERSION", identity.FRAMES_VERSION + 1)
    assert identity.frames_digest(config) != frames
    assert digests(config)[:2] == before


def test_a_stage_depends_on_those_before_it_and_not_on_those_after(config):
    first = config.stages[0]
    second = first.model_copy(update={"name": "more"})
    two = changed(config, "stages", [first, second])
    assert identity.stage_digest(two, 0) == identity.stage_digest(config, 0)
    other = changed(config, "stages", [first.model_copy(update={"lr": 0.5}), second])
    assert identity.stage_digest(two, 1) != identity.stage_digest(other, 1)
    assert identity.stage_digest(two, 1) != identity.stage_digest(two, 0)


def test_variants_of_one_adapter_share_its_first_stage_and_nothing_else_does(monkeypatch):
    monkeypatch.setattr(identity, "backbone_hash", lambda name: name)
    study = load_study(paths.EXPERIMENTS / "adapter_size.yaml")
    profile = load_profile(paths.EXPERIMENTS / "profiles" / "smoke.yaml")
    configs = {name: resolve(profile, study.variant(name), 0) for name in study.variants}
    stage = {name: identity.stage_digest(config, 0) for name, config in configs.items() if config.stages}
    assert stage["mlp"] == stage["no_audio"] == stage["mlp_long"] == stage["no_audio_long"]
    assert len(set(stage.values())) == 5  # adapters
    assert len({identity.run_digest(config) for config in configs.values()}) == len(configs)
    assert len({identity.frames_digest(config) for config in configs.values()}) == 1
    assert identity.stage_digest(configs["mlp"], 1) != identity.stage_digest(configs["mlp_long"], 1)
    planned = {run.variant: run for run in studies.plan(["adapter_size"], "smoke").runs}
    assert planned["mlp"].stages == planned["no_audio"].stages


def test_missing_backbones_are_named_with_the_remedy(config):
    identity.backbone_hash.cache_clear()
    with pytest.raises(UserError, match="backbone 'zoo/none' is missing; train it with"):
        identity.run_digest(changed(config, "llm", "zoo/none"))
    with pytest.raises(UserError, match="'nobody/no-such-model' is not on this machine"):
        identity.run_digest(changed(config, "llm", "nobody/no-such-model"))


def test_a_folder_without_weights_is_refused(config, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(MissingInput, match=r"no \.safetensors file"):
        identity.run_digest(changed(config, "llm", str(tmp_path / "empty")))


def test_a_stage_that_trains_lora_depends_on_it(config):
    stage = config.stages[0].model_copy(update={"train": ["adapter", "lora"]})
    small, large = (
        config.model_copy(update={"stages": [stage], "lora": LoraConfig(rank=r, alpha=4 * r, dropout=0.0)})
        for r in (2, 4)
    )
    assert identity.stage_digest(small, 0) != identity.stage_digest(large, 0)


def test_settings_that_came_later_leave_older_configs_what_they_were(monkeypatch):
    """The digests of a config as it was written before there were beams, classifiers and pooling."""
    monkeypatch.setattr(identity, "_surroundings", lambda config, heard: ())
    stage = {
        "name": "slots", "tasks": {"slots": 1.0}, "train": ["adapter", "lora"], "examples": 8,
        "batch_size": 4, "lr": 0.1, "warmup_ratio": 0.1, "weight_decay": 0.0,
        "max_grad_norm": 1.0, "evaluations": 1, "validation_examples": 4, "decoded_turns": 2,
    }  # fmt: skip
    config = RunConfig(
        corpus={"name": "call_centre"},
        encoder={"path": "e", "padding": "trimmed"},
        llm="l",
        adapter={"kind": "mlp", "width": 8, "layers": 1},
        lora={"rank": 2, "alpha": 8, "dropout": 0.0},
        stages=[stage],
        evaluation={"split": "A-test", "batch_size": 4, "max_new_tokens": 8},
        precision="fp32",
        seed=0,
    )
    assert identity.run_digest(config) == "6a099b82411e13fe"
    assert identity.stage_digest(config, 0) == "cb5398aa994d77b5"


@pytest.mark.parametrize(
    ("path", "value", "changes"),
    [
        ("evaluation.beams", 5, (True, False)),
        ("stages.classifier", ClassifierConfig(alpha=0.2, class_weights=True), (True, True)),
        ("stages.distillation", DistillationConfig(weight=0.5), (True, True)),
        ("stages.decoded_task", "ner", (True, True)),
        ("stages.objective", "ctc", (True, True)),
        ("stages.frame_dropout", 0.1, (True, True)),
        ("stages.frame_shift", 8, (True, True)),
        ("adapter.scaled", True, (True, True)),
    ],
)
def test_what_the_later_settings_change(config, path, value, changes):
    pairs = zip(digests(config)[:2], digests(changed(config, path, value))[:2], strict=True)
    assert tuple(a != b for a, b in pairs) == changes


def test_records_and_digests_have_the_first_words_of_a_setting(config):
    """So that what is stored keeps its digest, and is read back as it was."""
    stored = config.as_stored()
    words = stored["stages"][0].keys()
    assert words > {"warmup", "clip", "points"}
    assert words.isdisjoint({"warmup_ratio", "max_grad_norm", "evaluations"})
    assert from_stored(type(config), stored) == config
