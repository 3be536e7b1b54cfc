from __future__ import annotations

import pytest
import yaml

from speechllm_bench.errors import MissingInput, NotTestable, UserError
from speechllm_bench.planning import studies
from speechllm_bench.settings import experiments, profiles
from speechllm_bench.settings.config import RunConfig, StageConfig
from speechllm_bench.storage import paths

SLOTS = {"name": "slots", "tasks": {"slots": 1.0}, "train": ["adapter"], "budget": ["slots"]}


def toy(suite, name="smoke"):
    return suite / "experiments" / "profiles" / f"{name}.yaml"


def changed(path, change):
    """The file with `change` applied to its content."""
    content = yaml.safe_load(path.read_text())
    change(content)
    path.write_text(yaml.safe_dump(content))
    return path


def refused(path, load=profiles.load_profile):
    with pytest.raises(UserError) as error:
        load(path)
    return str(error.value)


def test_a_variant_resolves_to_the_profiles_sizes(suite):
    study, profile = studies.load("adapter_size", "smoke")
    resolved = experiments.resolve(profile, study.variant("transformer"), seed=3)
    assert resolved.adapter.kind == "transformer" and resolved.adapter.heads == 2
    assert resolved.lora is None and resolved.seed == 3
    assert [(s.name, s.examples, s.lr, s.train) for s in resolved.stages] == [
        ("transcription", 32, 0.001, ["adapter"]),
        ("slots", 64, 0.001, ["adapter"]),
    ]
    assert resolved.evaluation.split == "A-test" and resolved.evaluation.audio == "own"


def test_a_variant_changes_only_what_it_names(suite):
    study, profile = studies.load("adapter_size", "smoke")
    mlp, no_audio = (
        experiments.resolve(profile, study.variant(v), 0).model_dump() for v in ("mlp", "no_audio")
    )
    assert no_audio["evaluation"].pop("audio") == "other"
    assert mlp["evaluation"].pop("audio") == "own"
    assert mlp == no_audio


def test_a_budget_is_the_sum_of_those_named_and_a_variant_may_scale_the_learning_rate(suite):
    def change(study):
        study["variants"]["mlp"] = {
            "lr_factor": 10,
            "stages": [
                {
                    "name": "both",
                    "tasks": {"slots": 0.5, "transcription": 0.5},
                    "train": ["adapter"],
                    "budget": ["slots", "transcription"],
                }
            ],
        }

    changed(suite / "experiments" / "adapter_size.yaml", change)
    study, profile = studies.load("adapter_size", "smoke")
    stage = experiments.resolve(profile, study.variant("mlp"), 0).stages[0]
    assert (stage.examples, stage.lr, stage.warmup_ratio) == (96, 0.01, 0.1)


def test_tasks_beside_a_stages_own_add_to_its_examples(suite):
    study, profile = studies.load("adapter_size", "smoke")
    variant = study.variant("mlp")
    alone = experiments.resolve(profile, variant, 0).stages[1]
    more = {"transcription": ["slots"], "sit": ["slots", "transcription"]}
    mixed = variant.model_copy(update={"stages": [variant.stages[1].model_copy(update={"beside": more})]})
    beside = experiments.resolve(profile, mixed, 0).stages[0]
    assert beside.beside == {"transcription": 64, "sit": 96}
    assert (beside.examples, beside.own_examples) == (224, 64)
    assert (alone.beside, alone.examples, alone.own_examples) == (None, 64, 64)


@pytest.mark.parametrize("beside", [{"sit": 64}, {"sit": 0}, {"sit": -3}])
def test_a_stage_has_examples_of_its_own_and_of_all_beside(suite, beside):
    study, profile = studies.load("adapter_size", "smoke")
    stage = experiments.resolve(profile, study.variant("mlp"), 0).stages[1].model_dump()
    with pytest.raises(ValueError, match="leaves (0|64|67) of 64 examples"):
        StageConfig.model_validate(stage | {"beside": beside})


def test_labels_of_an_annotator_are_of_entities_and_not_beside_a_classifier(suite):
    study, profile = studies.load("adapter_size", "smoke")
    stage = experiments.resolve(profile, study.variant("mlp"), 0).stages[1].model_dump()
    labels = {"annotation": {"noise": 0.2, "filtered": True}}
    with pytest.raises(ValueError, match="annotation is of entities, but this stage does not train on"):
        StageConfig.model_validate(stage | labels)
    entities = stage | labels | {"tasks": {"ner": 1.0}}
    assert StageConfig.model_validate(entities).annotation.noise == 0.2
    with pytest.raises(ValueError, match="a stage has it or annotation, not both"):
        StageConfig.model_validate(entities | {"classifier": {"alpha": 0.2, "class_weights": True}})


def test_a_stage_may_see_fewer_turns_than_its_variant(suite):
    study, profile = studies.load("adapter_size", "smoke")
    first, second = study.variant("mlp").stages
    fewer = second.model_copy(update={"train_share": 0.25})
    variant = study.variant("mlp").model_copy(update={"train_share": 0.5, "stages": [first, fewer]})
    assert [s.train_share for s in experiments.resolve(profile, variant, 0).stages] == [0.5, 0.25]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"evaluation": {"split": "es"}}, "turns in es are for transcription and ner, not for slots"),
        ({"evaluation": {"split": "fr", "task": "ner"}, "adapter": None, "stages": []},
         "turns in fr are heard, but this variant has no adapter"),
    ],
)  # fmt: skip
def test_other_languages_are_heard_and_have_no_slots(suite, change, told):
    def put(study):
        study["variants"]["mlp"] = change

    changed(suite / "experiments" / "adapter_size.yaml", put)
    with pytest.raises(UserError, match=told):
        studies.run("adapter_size", "mlp", 0, "smoke")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"adapter": None}, "a stage trains the adapter, but adapter is null for this variant"),
        ({"stages": [SLOTS | {"train": ["lora"]}]},
         "a stage trains lora, but lora is off for this variant"),
    ],
)  # fmt: skip
def test_a_conflict_in_a_study_is_one_sentence_that_names_variant_and_profile(suite, change, told):
    changed(suite / "experiments" / "adapter_size.yaml", lambda s: s["variants"].update(mlp=change))
    with pytest.raises(UserError) as error:
        studies.plan(["adapter_size"], "smoke")
    assert str(error.value) == f"adapter_size.yaml, variant 'mlp' at profile 'smoke': {told}"


@pytest.mark.parametrize(
    ("change", "key", "told"),
    [
        ({"stages": [SLOTS | {"tasks": {"slots": 0.5}}]}, "stages.0",
         "tasks are shares above 0 that sum to 1, got {'slots': 0.5}"),
        ({"stages": [SLOTS | {"train_share": 1.5}]}, "stages.0.train_share", "Input should be less than 1"),
        ({"evaluation": {"task": "ner", "context": 2}}, "evaluation",
         "context can be fixed of the task slots alone, not ner"),
    ],
)  # fmt: skip
def test_what_no_profile_mends_is_refused_as_the_study_is_read_by_its_place_in_the_file(
    suite, change, key, told
):
    path = changed(suite / "experiments" / "adapter_size.yaml", lambda s: s["variants"].update(mlp=change))
    said = refused(path, experiments.load_study)
    assert said.startswith(f"adapter_size.yaml: key 'variants.mlp.{key}' has value ") and said.endswith(told)


def test_a_profiles_training_is_checked_as_it_is_read(suite):
    told = refused(changed(toy(suite), lambda p: p["training"].update(batch_size=0)))
    assert told == "smoke.yaml: key 'training.batch_size' has value 0: Input should be greater than 0"


def test_traces_are_decoded_further_and_only_runs_that_may_have_them_say_so(suite):
    study, profile = studies.load("adapter_size", "smoke")
    plain = experiments.resolve(profile, study.variant("mlp"), 0)
    assert "trace_tokens" not in str(plain.model_dump(exclude_none=True))

    variant = study.variant("mlp").model_copy(deep=True)
    variant.stages[1].tasks.clear()
    variant.stages[1].tasks.update(slots_think=0.5, slots_no_think=0.5)
    resolved = experiments.resolve(profile, variant, 0)  # asked without a switch, it may think
    assert [s.trace_tokens for s in resolved.stages] == [None, 24]
    assert (resolved.evaluation.max_new_tokens, resolved.evaluation.trace_tokens) == (16, 24)

    assert resolved.stages[1].traces is None
    stored = profile.model_copy(update={"traces": "0123456789abcdef"})
    named = experiments.resolve(stored, variant, 0)
    assert [s.traces for s in named.stages] == [None, "0123456789abcdef"]
    # Slots without a trace are asked the same questions.
    asked = experiments.resolve(stored, study.variant("mlp"), 0)
    assert [s.traces for s in asked.stages] == [None, "0123456789abcdef"]
    assert [s.trace_tokens for s in asked.stages] == [None, None]

    asked = study.variant("mlp").evaluation.model_copy(update={"task": "slots_think"})
    other = study.variant("mlp").model_copy(update={"evaluation": asked})
    resolved = experiments.resolve(profile, other, 0)
    assert resolved.evaluation.trace_tokens == 24 and resolved.stages == plain.stages


def test_a_stage_may_take_its_budget_some_times(suite):
    study, profile = studies.load("adapter_size", "smoke")
    variant = study.variant("mlp").model_copy(deep=True)
    variant.stages[1] = variant.stages[1].model_copy(update={"times": 2.5})
    assert [s.examples for s in experiments.resolve(profile, variant, 0).stages] == [32, 160]


def test_a_profile_without_a_budget_has_no_such_stage(suite):
    changed(toy(suite), lambda p: p["budgets"].update(alignment=0))
    study, profile = studies.load("adapter_size", "smoke")
    assert [s.name for s in experiments.resolve(profile, study.variant("mlp"), 0).stages] == ["slots"]


WARM = {
    "name": "warm_start", "tasks": {"transcription": 1.0}, "train": ["adapter"], "budget": ["warm_start"],
    "objective": "ctc",
}  # fmt: skip


def test_a_warm_start_has_the_profiles_size_whatever_the_variant_changes(suite):
    def change(study):
        study["base"]["scaled"] = True
        study["base"]["stages"].insert(0, WARM)

    changed(suite / "experiments" / "adapter_size.yaml", change)
    study, profile = studies.load("adapter_size", "smoke")
    cold = experiments.resolve(profile, study.variant("mlp"), 0)
    assert [s.name for s in cold.stages] == ["transcription", "slots"] and cold.adapter.scaled
    sizes = {"examples": 96, "batch_size": 16, "lr": 0.02, "dropout": 0.1}
    changed(toy(suite), lambda p: p.update(warm_start=sizes))
    study, profile = studies.load("adapter_size", "smoke")
    fast = study.variant("mlp").model_copy(update={"lr_factor": 3, "warmup_ratio": 0.4})
    runs = [experiments.resolve(profile, variant, 0) for variant in (study.variant("mlp"), fast)]
    warm, after = runs[0].stages[:2]
    assert (warm.objective, warm.examples, warm.batch_size, warm.lr) == ("ctc", 96, 16, 0.02)
    assert (warm.frame_dropout, warm.warmup_ratio, warm.evaluations) == (0.1, 0.1, 2)
    assert (after.objective, after.batch_size, after.lr, after.frame_dropout) == (None, 4, 0.001, None)
    assert runs[1].stages[0] == warm and runs[1].stages[1].lr == 0.003
    shared = [{stages[0] for stages in [r.stages]} for r in studies.plan(["adapter_size"], "smoke").runs]
    assert len(set().union(*shared)) == 5  # one an adapter


def test_a_warm_start_has_no_other_budget_and_no_adapter_of_another_norm(suite):
    path = suite / "experiments" / "adapter_size.yaml"
    changed(path, lambda s: s["base"]["stages"].insert(0, WARM | {"budget": ["alignment"]}))
    assert "objective: ctc has the budget [warm_start], got ['alignment']" in refused(
        path, experiments.load_study
    )
    changed(path, lambda s: s["base"]["stages"][0].update(budget=["warm_start"]))
    changed(toy(suite), lambda p: p.update(warm_start={"examples": 8, "batch_size": 4, "lr": 0.01}))
    with pytest.raises(UserError, match="at profile 'smoke': objective: ctc needs an adapter"):
        studies.plan(["adapter_size"], "smoke")


def test_a_stage_that_trains_lora_has_its_own_learning_rate_which_the_variant_scales_too(suite):
    study, profile = studies.load("adapter_size", "smoke")
    variant = study.variant("mlp").model_copy(update={"lora": True})
    variant.stages[1].train.append("lora")
    assert [s.lr for s in experiments.resolve(profile, variant, 0).stages] == [0.001, 0.002]
    variant = variant.model_copy(update={"lr_factor": 5})
    run = experiments.resolve(profile, variant, 0)
    assert [(s.lr, s.adapter_lr) for s in run.stages] == [(0.005, None), (0.01, None)]
    variant = variant.model_copy(update={"separate_rates": True})
    run = experiments.resolve(profile, variant, 0)
    assert [(s.lr, s.adapter_lr) for s in run.stages] == [(0.005, None), (0.01, 0.005)]
    run = experiments.resolve(profile, variant.model_copy(update={"lora_factor": 3}), 0)
    assert [(s.lr, s.adapter_lr) for s in run.stages] == [(0.005, None), (0.03, 0.005)]


def test_a_variant_scales_the_adapters_width_and_takes_a_share_of_the_turns(suite):
    study, profile = studies.load("adapter_size", "smoke")
    wide = study.variant("transformer").model_copy(update={"width_factor": 2, "train_share": 0.25})
    (base, run) = (experiments.resolve(profile, v, 0) for v in (study.variant("transformer"), wide))
    assert run.adapter.width == 2 * base.adapter.width
    assert run.adapter.feed_forward == 2 * base.adapter.feed_forward
    assert run.adapter.heads == base.adapter.heads
    assert [s.train_share for s in run.stages] == [0.25, 0.25]
    assert [s.train_share for s in base.stages] == [None, None]
    assert base.adapter.at_width(0.01).width == 8


def test_a_width_that_the_heads_do_not_divide_is_refused_where_it_is_scaled(suite):
    study, profile = studies.load("adapter_size", "smoke")
    many = profile.adapters["transformer"].model_copy(update={"width": 48, "heads": 12})
    profile = profile.model_copy(update={"adapters": profile.adapters | {"transformer": many}})
    scaled = study.variant("transformer").model_copy(update={"width_factor": 0.84})
    with pytest.raises(UserError, match=r"at width_factor 0.84 .* 12 heads do not divide 40"):
        experiments.resolve(profile, scaled, 0)


def test_several_variants_have_a_name_together(suite):
    changed(suite / "experiments" / "adapter_size.yaml", lambda s: s.update(telling=["mlp", "cnn"]))
    study, _ = studies.load("adapter_size", "smoke")
    assert study.chosen(["telling"]) == ["cnn", "mlp"]
    assert study.chosen(["extremes", "cnn"]) == ["cnn", "mlp", "no_audio"]
    assert study.chosen(["all"]) == list(study.variants)


def test_a_study_may_take_fewer_seeds(suite):
    changed(suite / "experiments" / "adapter_size.yaml", lambda s: s.update(n_seeds=1))
    assert {row["seed"] for row in studies.records("adapter_size", "mini")} == {0}
    assert {run.seed for run in studies.plan(["adapter_size"], "mini", None, [1, 2]).runs} == {1, 2}


def test_an_unknown_key_is_refused_with_those_allowed_there(suite):
    told = refused(changed(toy(suite), lambda p: p["training"].update(learning_rate=1.0)))
    assert "smoke.yaml: unknown key 'training.learning_rate' (value 1.0)" in told
    assert "allowed here: batch_size, lr, warmup" in told


def test_an_unknown_key_of_a_variant_names_the_variant(suite):
    path = changed(
        suite / "experiments" / "adapter_size.yaml", lambda s: s["variants"]["cnn"].update(adaptor="cnn")
    )
    told = refused(path, experiments.load_study)
    assert told.startswith("adapter_size.yaml: unknown key 'variants.cnn.adaptor' (value 'cnn'); allowed")
    assert "allowed here: adapter, lora, stages" in told


@pytest.mark.parametrize(
    ("block", "change", "key"),
    [
        ("variants.mlp", {"evaluation": {"task": "slot"}}, "variants.mlp.evaluation.task"),
        ("variants.no_audio", {"stages": [SLOTS | {"times": 0.0}]}, "variants.no_audio.stages.0.times"),
        ("base", {"evaluation": {"task": "slot"}}, "base.evaluation.task"),
        ("base", {"warmup_ratio": "much"}, "base.warmup_ratio"),
    ],
)
def test_a_wrong_setting_is_told_by_its_path_in_the_file(suite, block, change, key):
    def put(study):
        place = study
        for part in block.split("."):
            place = place[part]
        place |= change

    told = refused(changed(suite / "experiments" / "adapter_size.yaml", put), experiments.load_study)
    assert told.startswith(f"adapter_size.yaml: key '{key}' has value ")


def test_several_mistakes_are_told_at_once(suite):
    def change(profile):
        profile["sedes"] = profile.pop("seeds")

    told = refused(changed(toy(suite), change))
    assert "key 'seeds' is missing" in told and "unknown key 'sedes'" in told


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda p: p["training"].update(batch_size="4"), "key 'training.batch_size' has value '4'"),
        (lambda p: p["training"].update(batch_size=4.5), "key 'training.batch_size' has value 4.5"),
        (lambda p: p.update(precision="fp16"), "'fp32', 'bf16', 'mixed' or 'nf4'"),
        (
            lambda p: p.update(profile="huge"),
            "smoke.yaml calls its profile 'huge'; both need the same name",
        ),
        (lambda p: p.update(profile="../x"), "key 'profile' has value '../x': String should match pattern"),
        (lambda p: p["adapters"]["cnn"].update(width=0), "greater than 0"),
        (lambda p: p["adapters"]["cnn"].update(kind="rnn"), "'cnn', 'cnn_xl', 'linear', 'mlp'"),
        (lambda p: p.update(seeds=[]), "at least 1 item"),
        (lambda p: p["training"].update(lr=float("inf")), "finite"),
    ],
)
def test_a_wrong_value_is_refused_with_what_is_allowed(suite, change, told):
    assert told in refused(changed(toy(suite), change))


def test_a_learning_rate_that_yaml_reads_as_text_gets_a_hint(suite):
    path = toy(suite)
    path.write_text(path.read_text().replace("lr: 0.001", "lr: 1e-4"))
    told = refused(path)
    assert "training.lr" in told and "'1e-4'" in told and "1.0e-4" in told
    path.write_text(path.read_text().replace("lr: 1e-4", "lr: 1.0e-4"))
    assert profiles.load_profile(path).training.lr == 1e-4


def test_unreadable_yaml_and_a_missing_file_are_told_in_a_sentence(suite):
    toy(suite).write_text("profile: [smoke")
    assert "smoke.yaml is not readable YAML" in refused(toy(suite))
    toy(suite).write_bytes("note: für immer".encode("latin-1"))
    assert "smoke.yaml is not readable YAML" in refused(toy(suite))
    toy(suite).write_text("profile: smoke\nlora: {rank: 2, alpha: 4, rank: 8}\n")
    assert "key 'rank' stands twice in the block that begins in line 2" in refused(toy(suite))
    told = refused(toy(suite, "big"))
    assert told == "there is no big.yaml in profiles/; known there: mini, paper, smoke"
    toy(suite).write_text("")
    assert "smoke.yaml" in refused(toy(suite))


@pytest.mark.parametrize("variant", ["mpl", "MLP", ""])
def test_an_unknown_variant_is_refused_with_the_known_ones(suite, variant):
    study, _ = studies.load("adapter_size", "smoke")
    with pytest.raises(UserError, match=f"no variant '{variant}'; its variants are: cnn, cnn_xl, linear"):
        study.variant(variant)


def test_an_adapter_without_a_size_in_the_profile_is_refused(suite):
    variants = suite / "experiments" / "adapter_size.yaml"
    changed(variants, lambda s: s["variants"]["linear"].update(adapter="linaer"))
    study, profile = studies.load("adapter_size", "smoke")
    with pytest.raises(UserError, match="profile 'smoke' gives no size for adapter 'linaer'; it has cnn,"):
        experiments.resolve(profile, study.variant("linear"), 0)


def test_a_lora_for_a_role_that_the_profile_has_not_is_refused(suite):
    told = refused(changed(toy(suite), lambda p: p.update(loras={"micor": p["lora"]})))
    assert told.startswith("smoke.yaml: loras are of roles in llms, but name ['micor'], not among ['base',")


def test_a_claim_about_a_variant_that_is_not_there_is_refused(suite):
    path = changed(
        suite / "experiments" / "adapter_size.yaml", lambda s: s["claims"][0].update(better="transformr")
    )
    assert "['transformr'], not among" in refused(path, experiments.load_study)


def test_conflicts_between_parts_are_refused(suite):
    study, profile = studies.load("adapter_size", "smoke")
    whole = experiments.resolve(profile, study.variant("mlp"), 0).model_dump()
    whole["stages"][0]["train"] = ["adapter", "lora"]
    with pytest.raises(ValueError, match="a stage trains lora, but lora is off"):
        RunConfig.model_validate(whole)
    with pytest.raises(ValueError, match="a stage trains the adapter, but adapter is null"):
        RunConfig.model_validate(whole | {"adapter": None, "lora": profile.lora.model_dump()})
    chance = whole["evaluation"] | {"answerer": "chance_copier", "task": "ner"}
    with pytest.raises(ValueError, match="chance_copier answers the task slots alone, not ner"):
        RunConfig.model_validate(whole | {"stages": [], "evaluation": chance})
    majority = whole["evaluation"] | {"answerer": "majority"}
    with pytest.raises(ValueError, match="majority answers the task sentiment alone, not slots"):
        RunConfig.model_validate(whole | {"stages": [], "evaluation": majority})
    whole["evaluation"]["audio"] = "other"
    with pytest.raises(ValueError, match="audio: other needs an adapter"):
        RunConfig.model_validate(whole | {"adapter": None, "stages": []})
    whole["stages"][0] |= {"train": ["adapter"], "tasks": {"slots": 0.5}}
    with pytest.raises(ValueError, match="shares above 0 that sum to 1"):
        RunConfig.model_validate(whole)


MAKERS = ("qwen_2_5", "gemma", "phi", "qwen_3_8b")
PROFILE_FILES = sorted((paths.EXPERIMENTS / "profiles").glob("*.yaml"))


@pytest.mark.parametrize("name", [p.stem for p in PROFILE_FILES])
def test_every_variant_of_every_study_resolves_at_every_profile(name):
    scale = profiles.load_profile(paths.EXPERIMENTS / "profiles" / f"{name}.yaml")
    assert scale.profile == name
    assert set(scale.headline) <= set(studies.known_studies())
    for study in studies.known_studies():
        loaded = experiments.load_study(paths.EXPERIMENTS / f"{study}.yaml")
        assert loaded.study == study
        profile = scale.of(loaded.paper)
        for variant in loaded.variants:
            chosen = loaded.variant(variant)
            annotations = [stage.annotation for stage in chosen.stages if stage.annotation]
            # No such model is published, and profile small has none at all.
            if chosen.audio_llm and (
                name == "small" or (isinstance(chosen.audio_llm, str) and name == "paper")
            ):
                with pytest.raises(NotTestable, match="names no audio LLM"):
                    experiments.resolve(profile, chosen, 0)
                continue
            if (chosen.corpus or chosen.evaluation.corpus) and name != "paper":
                with pytest.raises(NotTestable, match="names no corpus for the role"):
                    experiments.resolve(profile, chosen, 0)
                continue
            if chosen.llm and name == "small":
                with pytest.raises(NotTestable, match="names no LLM for the role"):
                    experiments.resolve(profile, chosen, 0)
                continue
            # There is one distillation, and the zoo's LLMs are of one family.
            none = {"paper": ("reasoning_0", "reasoning_50")}.get(name, MAKERS)
            if chosen.llm in none:
                with pytest.raises(NotTestable, match="names no LLM for the role"):
                    experiments.resolve(profile, chosen, 0)
                continue
            if any(annotation.noise is None for annotation in annotations):  # nobody has asked a server yet
                with pytest.raises(MissingInput, match="names no labels of an annotator"):
                    experiments.resolve(profile, chosen, 0)
                labelled = profile.model_copy(update={"labels": "a name"})
                resolved = experiments.resolve(labelled, chosen, 0)
                assert {s.annotation.stored for s in resolved.stages if s.annotation} == {"a name"}
                continue
            resolved = experiments.resolve(profile, chosen, profile.seeds[0])
            assert RunConfig.model_validate(resolved.model_dump()) == resolved


@pytest.mark.parametrize("name", studies.known_studies())
def test_every_study_of_speech_has_a_row_that_hears_another_turn(name):
    """Protocol, rule 4."""
    study = experiments.load_study(paths.EXPERIMENTS / f"{name}.yaml")
    found = [study.variant(variant) for variant in study.variants]
    assert any(v.evaluation.audio == "other" for v in found) or not any(
        v.adapter or v.audio_llm for v in found
    )


@pytest.mark.parametrize(
    ("study", "corpus", "encoder", "llm"),
    [
        ("lora", "slurp", "openai/whisper-base", "meta-llama/Llama-3.2-1B-Instruct"),
        ("reasoning_mode", "slurp", "openai/whisper-base", "Qwen/Qwen3-4B"),
        ("sense", "librispeech_slue", "openai/whisper-small", "TinyLlama/TinyLlama-1.1B-Chat-v1.0"),
    ],
)
def test_at_paper_the_studies_of_each_paper_have_its_models_and_corpora(study, corpus, encoder, llm):
    loaded, scale = studies.load(study, "paper")
    run = experiments.resolve(scale, loaded.variant(loaded.baseline), 0)
    assert (run.corpus.name, run.encoder.path, run.llm) == (corpus, encoder, llm)
    own, mini = studies.load(study, "mini")[1], studies.profile_named("mini")
    assert (own.corpus, own.encoder) == (mini.corpus, mini.encoder)  # one zoo for all
    assert own.llm == ("zoo/llm-mini-hybrid" if study == "reasoning_mode" else mini.llm)
    assert (own.budgets == mini.budgets) == (study != "sense") and own.budgets.slots == mini.budgets.slots


def test_again_doubles_a_stages_examples_and_leaves_its_own_as_they_are():
    """2510.19326: both sets merged are twice the examples of one."""
    study, profile = studies.load("hybrid_matched", "mini")
    once, merged = (
        experiments.resolve(profile, study.variant(name), 0).stages[-1]
        for name in ("hybrid_no_think", "hybrid_merged_no_think")
    )
    assert (once.again, merged.again) == (None, "slots_think")
    assert once.examples == once.own_examples == merged.own_examples == profile.budgets.slots
    assert merged.examples == 2 * once.examples


def test_a_recogniser_that_hears_30_s_at_once_has_no_fallback():
    study, small = studies.load("baselines", "small")
    cascade = study.variant("cascade")
    wide = small.overridden({"encoder.padding": "30s"}, "--set")
    found = [experiments.resolve(profile, cascade, 0) for profile in (small, wide)]
    assert [(config.encoder.padding, config.asr_fallback) for config in found] == [
        ("10s", "30s"),
        ("30s", None),
    ]
    assert experiments.resolve(small, study.variant("speechllm"), 0).asr_fallback is None
