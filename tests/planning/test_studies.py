from __future__ import annotations

import pytest
import yaml
from stored_runs import store

from speechllm_bench.errors import MissingInput, UserError
from speechllm_bench.evaluation import seeds
from speechllm_bench.planning import identity, places, studies
from speechllm_bench.reports import study as reports
from speechllm_bench.reports import summary
from speechllm_bench.settings.experiments import resolve
from speechllm_bench.storage import paths, runs, sealed


def test_the_grid_is_variants_times_seeds_in_the_studys_order(suite):
    plan = studies.plan(["adapter_size"], "mini")
    assert [(run.variant, run.seed) for run in plan.runs[:3]] == [("cnn", 0), ("cnn", 1), ("cnn_xl", 0)]
    assert len(plan.runs) == len(plan.distinct) == 6 * 2
    assert {run.status for run in plan.runs} == {"missing"}


def test_runs_that_differ_only_in_evaluation_share_their_stage(suite):
    plan = studies.plan(["adapter_size"], "smoke")
    by_name = {run.variant: run for run in plan.runs}
    assert by_name["no_audio"].stages == by_name["mlp"].stages
    assert by_name["no_audio"].digest != by_name["mlp"].digest
    assert len(plan.missing) == 6 and len(plan.untrained) == 10  # alignment and slots of five adapters


def test_each_seed_trains_its_own_stages(suite):
    first, second = studies.plan(["adapter_size"], "mini", ["mlp"]).runs
    assert first.seed != second.seed
    assert not set(first.stages) & set(second.stages)


def test_a_run_that_two_studies_want_is_done_once(suite):
    text = (suite / "experiments" / "adapter_size.yaml").read_text()
    twin = text.replace("study: adapter_size", "study: twin")
    (suite / "experiments" / "twin.yaml").write_text(twin)
    plan = studies.plan(["adapter_size", "twin"], "smoke")
    assert len(plan.runs) == 12 and len(plan.distinct) == 6


def test_what_is_on_disk_is_not_planned_again(suite):
    run = studies.run("adapter_size", "cnn", 0, "smoke")
    sealed.write(run.folder / "run.json", {"status": "diverged"}, {})
    failed = studies.run("adapter_size", "linear", 0, "smoke")
    runs.write_json(places.failure_file("smoke", failed.digest), {"status": "killed"})
    rows = {row["variant"]: row for row in studies.records("adapter_size", "smoke")}
    assert rows["cnn"]["status"] == "diverged" and rows["cnn"]["score"] is None
    assert rows["linear"]["status"] == "FAILED"
    assert rows["mlp"]["status"] == "NOT RUN" and rows["mlp"]["record"] is None
    assert "cnn" not in [run.variant for run in studies.plan(["adapter_size"], "smoke").missing]


def test_a_paper_that_no_study_is_of_is_refused_unless_a_study_cannot_be_read(suite):
    file = paths.EXPERIMENTS / "profiles" / "smoke.yaml"
    profile = yaml.safe_load(file.read_text())
    file.write_text(yaml.safe_dump(profile | {"papers": {"2510.15851": {"llm": "zoo/other"}}}))
    assert studies.load("adapter_size", "smoke")[1].llm == "zoo/other"
    file.write_text(yaml.safe_dump(profile | {"papers": {"2510.15815": {"llm": "zoo/other"}}}))
    with pytest.raises(UserError, match="papers that no study has: 2510.15815; .* papers are: 2510.15851"):
        studies.load("adapter_size", "smoke")
    (paths.EXPERIMENTS / "half_written.yaml").write_text("study: half_wri")
    studies.load("adapter_size", "smoke")


@pytest.mark.parametrize(
    ("key", "kind", "role"), [("llm", "llms", "nano"), ("audio_llm", "audio_llms", "fresh")]
)
def test_a_role_is_not_run_where_one_profile_lacks_it_and_misspelt_where_all_do(suite, key, kind, role):
    study, profile = (paths.EXPERIMENTS / f"{name}.yaml" for name in ("adapter_size", "profiles/smoke"))
    asked, lacking = (yaml.safe_load(file.read_text()) for file in (study, profile))
    asked["variants"]["mlp"] = {key: role}
    del lacking[kind][role]
    study.write_text(yaml.safe_dump(asked))
    profile.write_text(yaml.safe_dump(lacking))
    rows = {row["variant"]: row["run"] for row in studies.records("adapter_size", "smoke")}
    assert rows["mlp"] is None and rows["cnn"] is not None
    asked["variants"]["mlp"] = {key: "mirco"}
    study.write_text(yaml.safe_dump(asked))
    with pytest.raises(
        UserError, match=f"'mlp' names the role 'mirco', which no profile has under {kind}; there"
    ):
        studies.records("adapter_size", "smoke")


@pytest.mark.parametrize(("profile", "shown"), [("mini", 0.4), ("paper", 0.8)])
def test_records_show_the_profiles_version_of_partial_match(suite, profile, shown):
    run = studies.run("adapter_size", "cnn", 0, profile)
    sealed.write(run.folder / "run.json", {"status": "ok"}, {})
    old = {"versions": {"partial_match": 1}, "metrics": {"f1": 0.4, "precision": 0.4, "recall": 0.4}}
    old |= {"totals": {"partial_match": [2]}, "sums": {"partial_match": [[2]]}}
    new = {"versions": {"partial_match_v2": 2}, "totals": {"partial_match_v2": [4]}}
    new |= {"metrics": {"f1_v2": 0.8, "precision_v2": 0.8, "recall_v2": 0.8}}
    new |= {"sums": {"partial_match_v2": [[4]]}}
    runs.write_json(run.folder / "score.json", {part: old[part] | new[part] for part in old})
    row = next(r for r in studies.records("adapter_size", profile) if r["variant"] == "cnn")
    assert row["score"]["metrics"]["f1"] == shown
    assert row["score"]["sums"]["partial_match"] == [[10 * shown / 2]]
    runs.write_json(run.folder / "score.json", old)
    if profile == "mini":
        found = studies.records("adapter_size", profile)[0]["score"]
        assert found == seeds.marked(old, run.stages[-1], "own") | {
            "task": "slots",
            "run": run.digest,
            "profile": "mini",
        }
    else:
        with pytest.raises(UserError, match="rescore --profile paper"):
            studies.records("adapter_size", profile)


def test_a_done_run_without_its_score_is_refused(suite):
    run = studies.run("adapter_size", "cnn", 0, "smoke")
    sealed.write(run.folder / "run.json", {"status": "ok"}, {})
    with pytest.raises(UserError, match=r"score.json is missing; delete its folder"):
        studies.records("adapter_size", "smoke")


@pytest.mark.parametrize(
    ("study", "profile", "variants", "sentence"),
    [
        ("adapter_sizes", "smoke", None, "there is no study 'adapter_sizes'; the studies are: adapter_size"),
        ("../adapter_size", "smoke", None, "there is no study"),
        ("adapter_size", "big", None, "there is no profile 'big'; the profiles are: mini, paper, smoke"),
        ("adapter_size", "smoke", ["mpl"], "no variant 'mpl'; the variants are: cnn, cnn_xl, linear, mlp"),
    ],
)
def test_a_wrong_name_is_refused_with_the_allowed_ones(suite, study, profile, variants, sentence):
    with pytest.raises(UserError, match=sentence):
        studies.plan([study], profile, variants)


def test_file_and_study_bear_one_name(suite):
    text = (suite / "experiments" / "adapter_size.yaml").read_text()
    (suite / "experiments" / "copy.yaml").write_text(text)
    with pytest.raises(UserError, match=r"copy.yaml calls its study 'adapter_size'"):
        studies.plan(["copy"], "smoke")


def of_fetched(suite, monkeypatch, llm="fetched/smollm2-135m-instruct"):
    """The toy study with an LLM that is not on this machine, and digests that rest on it."""
    monkeypatch.setattr(identity, "_surroundings", lambda config, heard: identity.backbone_hash(config.llm))
    file = paths.EXPERIMENTS / "profiles" / "mini.yaml"
    file.write_text(yaml.safe_dump(yaml.safe_load(file.read_text()) | {"llm": llm}))
    return next(row for row in studies.records("adapter_size", "mini") if row["variant"] == "mlp")


def test_records_are_found_without_the_fetched_backbones(suite, monkeypatch):
    """A clone has the records and not the weights; their hashes are pinned."""
    run = of_fetched(suite, monkeypatch)["run"]
    with pytest.raises(MissingInput, match="fetch small"):  # nothing can be run
        studies.run("adapter_size", "mlp", 0, "mini")
    with pytest.raises(MissingInput, match="fetch small"):
        studies.plan(["adapter_size"], "mini")
    sealed.write(run.folder / "run.json", {"status": "diverged"}, {})
    rows = {row["variant"]: row for row in studies.records("adapter_size", "mini", [0])}
    assert (rows["mlp"]["status"], rows["cnn"]["status"]) == ("diverged", "NOT RUN")
    planned = studies.plan(["adapter_size"], "mini")
    assert [run.variant for run in planned.runs] == ["mlp"] and "fetch small" in planned.left_out[0]
    studies.refuse_untold(rows.values())  # nothing would be lost


def test_nothing_is_written_over_records_that_cannot_be_told_apart(suite, monkeypatch):
    assert "untold" not in of_fetched(suite, monkeypatch, "nobody/no-such-model")
    study, profile = studies.load("adapter_size", "mini")
    config = resolve(profile, study.variant("mlp"), 0)
    folder = places.run_folder("mini", "0" * 16)
    sealed.write(folder / "run.json", {"config": config.model_dump()}, {})
    row = next(row for row in studies.records("adapter_size", "mini") if row["variant"] == "mlp")
    assert row["status"] == "NOT RUN" and "no-such-model" in row["untold"]
    for write in (lambda: reports.write("adapter_size", "mini"), lambda: summary.write("mini")):
        with pytest.raises(UserError, match="cannot be identified here, so nothing is written: backbone"):
            write()
    assert not (paths.results("mini") / "tables").exists()


def test_two_trainings_of_one_stage_are_told_apart_by_where_they_ended(suite):
    """Weights are not stored with the records, so a machine without them trains a stage again."""
    marks = []
    for loss in (0.5, 0.5, 0.4):
        store("cnn", 0, 15)
        run = studies.run("adapter_size", "cnn", 0, "mini")
        points = [("slots", 5, 2.0), ("slots", 10, loss)]
        lines = [f"{stage},{step},80,validation,loss,{value}\n" for stage, step, value in points]
        (run.folder / "curve.csv").write_text("stage,step,examples,split,metric,value\n" + "".join(lines))
        row = next(r for r in studies.records("adapter_size", "mini") if r["variant"] == "cnn")
        marks.append(row["score"]["training"])
    assert marks[0] == marks[1] == f"{run.stages[-1]} loss 0.500" and marks[2].endswith(" loss 0.400")
