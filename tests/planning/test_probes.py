from __future__ import annotations

from dataclasses import replace

import pytest

from speechllm_bench import cli
from speechllm_bench.errors import UserError
from speechllm_bench.planning import probes, studies
from speechllm_bench.planning.probes import CHIPS, Probe
from speechllm_bench.running import probing
from speechllm_bench.storage import runs

H200 = "NVIDIA H200"


def made(**other):
    plain = {"model": "m", "traced": False, "precision": "bf16", "batch_size": 16, "step_seconds": 0.5}
    plain |= {
        "answer_seconds": 0.1,
        "peak_gib": 30.0,
        "trained": 2**28,
        "device": H200,
        "source": "today, c0ffee",
    }
    return Probe(**plain | other)


def planned(*variants):
    return studies.plan(["adapter_size"], "smoke", list(variants))


def probed(plan, probe):
    probes.keep("smoke", {probes.key(run.config): probe for run in plan.missing})


@pytest.mark.parametrize(
    ("device", "chip"),
    [("NVIDIA A10G", "a10g"), ("NVIDIA A100-SXM4-80GB", "a100"), ("NVIDIA H100 80GB HBM3", "h100"),
     (H200, "h200"), ("CPU", None), ("NVIDIA GeForce RTX 4090", None)],
)  # fmt: skip
def test_a_device_is_known_by_the_name_of_its_driver(device, chip):
    assert made(device=device).chip == chip


def test_hours_are_of_what_is_untrained_and_scale_with_the_chips(suite):
    plan = planned("mlp", "cnn")
    probed(plan, made())
    (row,) = probes.table(plan)
    stages = [stage for run in plan.missing for stage in run.config.stages]
    assert row["disk"] == len(stages)  # GiB, at 2**28 parameters of four bytes
    steps = sum(stage.examples / stage.batch_size for stage in stages)
    n = sum(probes.answers(run, run.config.stages) for run in plan.missing)
    assert row["hours"]["h200"] == pytest.approx((0.5 * steps + 0.1 * n) / 3600)
    assert row["hours"]["h100"] == pytest.approx((0.5 * steps + 0.1 * n * 4.8 / 3.35) / 3600)
    assert row["hours"]["a10g"] > row["hours"]["a100"] > row["hours"]["h100"]
    test = plan.missing[0].config.corpus.sizes["A-test"]
    assert probes.answers(plan.missing[0], []) == test


def test_the_table_tells_its_source_and_where_memory_is_short(suite, capsys):
    plan = planned("mlp")
    probed(plan, made())
    assert cli.main(["plan", "adapter_size", "--variants", "mlp"]) == 0
    line, told = capsys.readouterr().out.splitlines()[-2:]
    assert line.count("*") == 1 and "30 GiB" in line  # on the chip of 24
    assert "GPU hours by probes of 20 steps and 20 answers a model (NVIDIA H200, today, c0ffee)" in told


def test_without_a_known_gpu_the_hours_are_not_run(suite):
    plan = planned("mlp")
    assert probes.table(plan) == [] and "Hours on GPUs are NOT RUN" in probes.told(plan)
    probed(plan, made(device="CPU"))
    assert "(a10g, a100, h100, h200) (probes are of CPU)" in probes.told(plan)


WHOLE = made().model_dump()
DAMAGED = [[], None, 3, {"a": {"model": "m"}}, {"a": []}]
DAMAGED += [{"a": WHOLE | wrong} for wrong in ({"device": 3}, {"step_seconds": "x"}, {"other": 1})]


@pytest.mark.parametrize("content", DAMAGED)
def test_a_damaged_file_is_one_sentence(suite, content):
    probes.keep("smoke", {"a": made()})
    assert probes.known("smoke") == {"a": made()}
    runs.write_json(probes.file("smoke"), content)
    with pytest.raises(UserError, match="is damaged; delete it and probe again"):
        probes.known("smoke")


def test_each_model_is_probed_once_a_device_and_floors_never(suite, monkeypatch):
    plan, tried = planned("mlp", "cnn"), []
    monkeypatch.setattr(probing, "device_name", lambda: H200)
    monkeypatch.setattr(probing, "probe", lambda config: tried.append(config) or made())
    probing.probe_missing(plan, lambda step: None)
    assert len(tried) == len({probes.key(config) for config in tried}) == len(probes.wanted(plan)) >= 1
    before = len(tried)
    probing.probe_missing(plan, lambda step: None)
    assert len(tried) == before
    monkeypatch.setattr(probing, "device_name", lambda: "NVIDIA A10G")
    probing.probe_missing(plan, lambda step: None)
    assert len(tried) == 2 * before


def test_who_answers_without_a_model_is_not_probed(suite):
    (run,) = planned("mlp").missing
    asked = run.config.evaluation.model_copy(update={"answerer": "chance_copier"})
    floor = replace(run, config=run.config.model_copy(update={"evaluation": asked}))
    assert probes.wanted(studies.Plan(planned("mlp").profile, (floor,))) == {}


def test_a_probe_trains_twenty_steps_and_answers_twenty(tiny_run):
    config = tiny_run()
    short = probing.shortened(config)
    assert short.stages[0].examples == 20 * short.stages[0].batch_size and len(short.stages) == 1
    found = probing.probe(config)
    assert found.step_seconds > 0 and found.answer_seconds > 0 and found.trained > 0
    assert found.device in ("CPU", probing.device_name()) and set(CHIPS) > {found.chip} - {None}
