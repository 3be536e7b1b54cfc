"""The studies of foundations (2510.19326): which LLM a variant takes, who shares which training."""

from __future__ import annotations

import shutil

import pytest

from speechllm_bench.errors import MissingInput
from speechllm_bench.planning import identity, studies
from speechllm_bench.reports import claims
from speechllm_bench.settings import experiments
from speechllm_bench.settings.config import LoraConfig
from speechllm_bench.settings.experiments import resolve
from speechllm_bench.settings.profiles import load_profile
from speechllm_bench.storage import paths
from speechllm_bench.zoo.recipes import load_recipe

NAMES = ("foundation_type", "reasoning_scale", "reasoning_ood", "reasoning_mode")
SUPERVISIONS = ("regular", "reasoning", "hybrid_no_think", "hybrid_think")


@pytest.fixture
def planned(suite):
    """Runs at toy size by study and variant."""
    for name in NAMES:
        shutil.copy(paths.PROJECT / "experiments" / f"{name}.yaml", suite / "experiments")
    return {(r.study, r.variant): r for r in studies.plan(NAMES, "smoke", ["all"]).runs}


def test_a_variant_names_its_llm_by_a_role_and_none_leaves_digests_as_they_are(suite):
    study, profile = studies.load("adapter_size", "smoke")
    plain = study.variant("mlp")
    named = resolve(profile, plain.model_copy(update={"llm": "reasoning"}), 0)
    assert named.llm == "zoo/toy-reasoning"
    before = resolve(profile.model_copy(update={"llms": {}}), plain, 0)
    assert identity.run_digest(resolve(profile, plain, 0)) == identity.run_digest(before)
    assert identity.run_digest(named) != identity.run_digest(before)
    with pytest.raises(MissingInput, match="'smoke' names no LLM for the role 'chat'; its roles are: base,"):
        resolve(profile, plain.model_copy(update={"llm": "chat"}), 0)
    with pytest.raises(MissingInput, match="for the role 'chat'; it names none$"):
        resolve(profile.model_copy(update={"llms": {}}), plain.model_copy(update={"llm": "chat"}), 0)


def test_lora_is_as_large_a_share_of_llms_of_other_sizes():
    """Protocol, rule 7."""
    study = experiments.load_study(paths.EXPERIMENTS / "reasoning_scale.yaml")
    for scale in ("smoke", "mini"):
        profile = load_profile(paths.EXPERIMENTS / "profiles" / f"{scale}.yaml")
        for size, recipe in (
            ("nano", "llm-nano-hybrid"),
            ("micro", "llm-micro-hybrid"),
            ("mini", "llm-mini-plain"),
        ):
            sizes, lora = load_recipe(recipe), resolve(profile, study.variant(f"{size}_regular"), 0).lora
            width, inner = sizes.hidden_size, sizes.intermediate_size
            matrices = [(width, width)] * 4 + [(width, inner)] * 3  # of a block: attention, and the gated MLP
            whole = load_recipe("llm-mini-plain").vocabulary * width
            whole += sizes.num_hidden_layers * sum(a * b for a, b in matrices)
            trained = sizes.num_hidden_layers * sum(lora.rank * (a + b) for a, b in matrices)
            assert 0.045 < trained / whole < 0.053 and lora.alpha == 4 * lora.rank


def test_every_foundation_is_given_every_supervision(planned):
    for foundation in ("base", "instruct", "reasoning", "hybrid"):
        configs = [planned["foundation_type", f"{foundation}_{s}"].config for s in SUPERVISIONS]
        assert {c.llm for c in configs} == {f"zoo/toy-{foundation}"}
        assert [c.evaluation.task for c in configs] == [
            "slots",
            "slots_reasoning",
            "slots_no_think",
            "slots_think",
        ]
        assert len({tuple(sorted(c.stages[1].tasks)) for c in configs}) == 3
        assert {s.examples for c in configs for s in c.stages[1:]} == {64}
        assert all(s.train == ["adapter", "lora"] for c in configs for s in c.stages)
    runs = [run for (study, _), run in planned.items() if study == "foundation_type"]
    # One transcription an LLM, the swept ones among them; chance trains nothing.
    assert len({run.stages[0] for run in runs if run.stages}) == 6
    hybrids = [planned["foundation_type", f"base_hybrid_{mode}"] for mode in ("think", "no_think")]
    assert hybrids[0].stages == hybrids[1].stages and hybrids[0].digest != hybrids[1].digest


def test_the_largest_of_the_scale_is_the_hybrid_foundation(planned):
    for supervision in SUPERVISIONS:
        mini = planned["reasoning_scale", f"mini_{supervision}"]
        assert mini.digest == planned["foundation_type", f"hybrid_{supervision}"].digest
        llms = [planned["reasoning_scale", f"{size}_{supervision}"].config.llm for size in ("nano", "micro")]
        assert llms == ["zoo/toy-nano", "zoo/toy-micro"]


def test_unseen_slot_types_are_asked_of_the_systems_of_reasoning_mode(planned):
    for supervision in SUPERVISIONS:
        trained = planned["reasoning_mode", supervision]
        assert planned["reasoning_ood", supervision].digest == trained.digest
        for ending, kind in (("_b_id", "in_domain"), ("_b_ood", "out_of_domain")):
            run = planned["reasoning_ood", supervision + ending]
            assert run.stages == trained.stages
            asked = run.config.evaluation
            assert (asked.split, asked.slot_types, asked.task) == (
                "B-test",
                kind,
                trained.config.evaluation.task,
            )


@pytest.mark.parametrize(
    ("study", "variant", "of_type"),
    [
        ("reasoning_mode", "regular", "hybrid_regular"),
        ("reasoning_mode", "hybrid_think", "hybrid_hybrid_think"),
        ("reasoning_ood", "reasoning", "hybrid_reasoning"),
        ("reasoning_scale", "mini_hybrid_no_think", "hybrid_hybrid_no_think"),
        ("hybrid_matched", "hybrid_no_think", "hybrid_hybrid_no_think"),
        ("trace_ablation", "justification", "hybrid_reasoning"),
    ],
)
def test_at_mini_they_all_stand_on_the_hybrid_and_train_it_once(study, variant, of_type):
    def config(name, wanted):
        loaded, scale = studies.load(name, "mini")
        return resolve(scale, loaded.variant(wanted), 0)

    assert config(study, variant) == config("foundation_type", of_type)
    assert config(study, variant).llm == "zoo/llm-mini-hybrid"


def test_at_paper_scale_the_papers_llms_are_named():
    profile = load_profile(paths.EXPERIMENTS / "profiles" / "paper.yaml")
    study = experiments.load_study(paths.EXPERIMENTS / "foundation_type.yaml")
    named = {
        resolve(profile, study.variant(f"{f}_regular"), 0).llm for f in ("base", "instruct", "reasoning")
    }
    assert named == {
        "meta-llama/Llama-3.1-8B",
        "meta-llama/Llama-3.1-8B-Instruct",
        "deepseek-ai/DeepSeek-R1-Distill-Llama-8B",
    }
    scale = experiments.load_study(paths.EXPERIMENTS / "reasoning_scale.yaml")
    sizes = [resolve(profile, scale.variant(f"{size}_regular"), 0).llm for size in ("nano", "mini")]
    assert sizes == ["Qwen/Qwen3-0.6B", "Qwen/Qwen3-4B"]
    with pytest.raises(MissingInput, match="names no LLM for the role 'reasoning_50'"):  # there is one
        resolve(profile, study.variant("reasoning_50_regular"), 0)


def test_what_lacks_its_backbone_is_not_run_and_the_others_are_told_apart(planned, monkeypatch):
    """In a table; a plan says in one sentence what is missing."""

    def hashed(config, heard):
        if config.llm == "zoo/toy-nano":
            identity.backbone_folder("zoo/toy-nano")
        return ()

    monkeypatch.setattr(identity, "_surroundings", hashed)
    rows = studies.records("reasoning_scale", "smoke")
    missing = {row["variant"] for row in rows if row["run"] is None}
    assert missing == {f"nano_{s}" for s in SUPERVISIONS}
    assert {row["status"] for row in rows} == {"NOT RUN"}
    plan = studies.plan(["reasoning_scale"], "smoke", ["all"])
    assert {run.variant for run in plan.runs} == {row["variant"] for row in rows} - missing
    assert "backbone 'zoo/toy-nano' is missing; train it with" in plan.left_out[0]
    with pytest.raises(MissingInput, match="backbone 'zoo/toy-nano' is missing; train it with"):
        studies.plan(["reasoning_scale"], "smoke", ["nano_regular"])
    assert len(studies.plan(["reasoning_scale"], "smoke", ["mini_regular"]).runs) == 1


def test_what_tuning_leaves_of_other_skills_is_read_from_the_stages_weights(
    tiny_backbones, tiny_run, home, monkeypatch
):
    from safetensors.numpy import save_file

    from speechllm_bench.models.llm import load_llm
    from speechllm_bench.models.speech_llm import SpeechLLM
    from speechllm_bench.zoo import recipes, skills

    lora = LoraConfig(rank=2, alpha=8, dropout=0.0)
    stage = tiny_run().stages[0].model_copy(update={"train": ["adapter", "lora"]})
    run_config = tiny_run(lora=lora, stages=[stage])
    run = studies.Run("s", "v", 0, "smoke", run_config, "digest", ("stage",), "done")
    rows = [
        {"variant": "v", "score": {}, "run": run},
        {"variant": "v", "score": {"f1": 1}, "run": run},
        {"variant": "same", "score": {"f1": 1}, "run": run},
    ]
    measured = {"as it is": {skill: {"value": 0.5, "n": 300} for skill in (*skills.EXACT, "perplexity")}}
    monkeypatch.setattr(skills, "_before", lambda name: measured)
    assert skills.retained(rows, "s").empty  # no weights on this machine
    assert skills.write_retained(skills.retained(rows, "s"), "s", "mini") == []
    assert skills.read_retained(run_config.llm).empty

    folder = paths.results("smoke") / "stages" / "stage"
    folder.mkdir(parents=True)
    tuned = SpeechLLM(load_llm(run_config.llm, lora), None).trained_parameters(["lora"])
    weights = {name: p.detach().numpy() * 0 + 0.25 for name, p in tuned.items()}
    save_file(weights | {"adapter.unused": weights[next(iter(weights))]}, folder / "weights.safetensors")
    told = []

    def measure(model, tokenizer, recipe, n):
        assert n == skills.SMOKE_QUESTIONS
        told.extend(p.mean().item() for p in model.trained_parameters(["lora"]).values())
        one = {"value": 0.25, "low": 0.2, "high": 0.3, "n": n}
        return {"as it is": dict.fromkeys((*skills.EXACT, "perplexity"), one)}

    monkeypatch.setattr(skills, "measure", measure)
    monkeypatch.setitem(recipes.BACKBONES, "llm", "llm-mini")
    frame = skills.retained(rows, "s")
    assert told and set(told) == {0.25}
    assert set(frame["variant"]) == {"v"} and len(frame) == 6
    assert skills.display_retained(frame).iloc[0].to_dict() == {
        "variant": "v",
        "mode": "as it is",
        **dict.fromkeys((*skills.EXACT, "perplexity"), "0.500 → 0.250 [0.200, 0.300]"),
    }
    n = len(told)
    assert len(skills.retained(rows, "s")) == 6 and len(told) == n  # kept beside the stage
    assert {path.name for path in skills.write_retained(frame, "s", "mini")} == {
        "s_retention.csv",
        "s_retention.md",
    }
    left = skills.read_retained(run_config.llm)  # as a card reads it
    assert left.to_dict("records") == frame.to_dict("records")
    assert "Each skill has 300 questions before and 20 after." in skills.retained_caption(left)
    assert skills.read_retained("zoo/another").empty


def test_what_was_measured_on_another_machine_stays(tiny_run, home, monkeypatch):
    from speechllm_bench.zoo import skills

    here, elsewhere = (
        studies.Run("s", v, 0, "smoke", tiny_run(), v, (v,), "done") for v in ("here", "elsewhere")
    )
    rows = [{"variant": run.variant, "score": {"f1": 1}, "run": run} for run in (here, elsewhere)]
    line = ["zoo/llm", "as it is", "logic", 0.5, 300, 0.25, 0.2, 0.3, 20]
    monkeypatch.setattr(skills, "_measured", lambda run: [line])
    skills.write_retained(skills.retained(rows, "s"), "s", "smoke")
    monkeypatch.setattr(skills, "_measured", lambda run: [line] if run is here else [])
    assert skills.retained(rows, "s").values.tolist() == [[v, v, *line] for v in ("here", "elsewhere")]
    rows[1]["run"] = studies.Run("s", "elsewhere", 0, "smoke", tiny_run(), "x", ("another",), "done")
    assert skills.retained(rows, "s")["variant"].tolist() == ["here"]  # another training was not measured


def test_what_tuning_leaves_is_of_one_seed_and_once_of_variants_that_share_it(tiny_run, monkeypatch):
    from speechllm_bench.zoo import skills

    trained = [
        studies.Run("s", variant, seed, "smoke", tiny_run(), variant, (stage,), "done")
        for variant in ("no_think", "think")
        for seed, stage in enumerate(("hybrid_0", "hybrid_1"))
    ]
    rows = [{"variant": run.variant, "score": {"f1": 1}, "run": run} for run in trained]
    monkeypatch.setattr(skills, "_measured", lambda run: [[*"abc", 0, 0, 0, 0, 0, 0]])
    assert skills.retained(rows, "s")[["stage", "variant"]].values.tolist() == [["hybrid_0", "no_think"]]


def test_what_the_paper_says_of_8_b_is_not_judged_at_a_smaller_scale(planned):

    study, _ = studies.load("foundation_type", "smoke")
    for profile, n in (("smoke", 8), ("paper", 0)):
        rows = [row | {"profile": profile} for row in studies.records("foundation_type", "smoke")]
        assert list(claims.verdicts(study, rows)["verdict"]).count("not testable here") == n
