from __future__ import annotations

import accelerate
import pytest
import torch
from torch import nn

from speechllm_bench import cli
from speechllm_bench.commands import arguments
from speechllm_bench.errors import UserError
from speechllm_bench.planning.studies import load
from speechllm_bench.settings.config import FitConfig
from speechllm_bench.settings.experiments import resolve
from speechllm_bench.storage import paths
from speechllm_bench.training import tracking
from speechllm_bench.training.loop import Point, fit

SETTINGS = {
    "batch_size": 1,
    "lr": 0.1,
    "warmup_ratio": 0.1,
    "weight_decay": 0,
    "max_grad_norm": 1,
    "evaluations": 2,
}


class Accelerator:
    """In the place of accelerate's, with what it was told in `told`."""

    told: list = []  # noqa: RUF012, emptied for each test

    def __init__(self, log_with, project_dir):
        self.told.append(("with", log_with, project_dir.name))

    def init_trackers(self, project, config, named):
        if named["wandb"]["name"].startswith("refused"):
            raise RuntimeError("no account\nsecond line")
        self.told.append(("project", project, config["seed"]))

    def log(self, values, step):
        self.told.append((step, sorted(values)))

    def end_training(self):
        self.told.append("end")


def config():
    study, profile = load("adapter_size", "smoke")
    return resolve(profile, study.variant("mlp"), 3)


def trained(checkpoint, follow):
    torch.manual_seed(0)
    weights = {"w": nn.Parameter(torch.ones(2))}
    return fit(
        FitConfig(examples=20, **SETTINGS),
        weights,
        [[i] for i in range(20)],
        lambda batch: {"loss": (weights["w"] ** 2).sum()},
        lambda: {"loss": 1.0},
        checkpoint,
        0,
        follow=follow,
    )


def test_a_curve_is_on_disk_while_its_training_goes_on_and_gone_afterwards(suite, monkeypatch):
    monkeypatch.delenv(paths.TRACK, raising=False)
    seen, file = [], tracking.curve_file("smoke", "d")
    write = tracking.Follower.point

    def spy(follower, curve):
        write(follower, curve)
        seen.append(file.read_text().splitlines())

    monkeypatch.setattr(tracking.Follower, "point", spy)
    with tracking.followed(config(), 0, "smoke", "d") as follow:
        fitted = trained(suite / "checkpoint", follow)
    assert [lines[0].split(",")[0] for lines in seen] == ["stage", "stage"]
    assert [len(lines) - 1 for lines in seen] == [len(fitted.curve) // 2, len(fitted.curve)]
    assert not file.exists()
    alone = trained(suite / "other", None)
    assert alone.curve == fitted.curve  # who looks on changes nothing


def test_trackers_have_every_tenth_step_and_every_point(suite, monkeypatch):
    Accelerator.told = []
    monkeypatch.setattr(accelerate, "Accelerator", Accelerator)
    monkeypatch.setenv(paths.TRACK, "tensorboard,wandb")
    name = config().stages[0].name
    with tracking.followed(config(), 0, "smoke", "d") as follow:
        trained(suite / "checkpoint", follow)
    begin, project, *logged, end = Accelerator.told
    assert (begin, project) == (
        ("with", ["tensorboard", "wandb"], f"{name}-d"),
        ("project", "speechllm-bench", 3),
    )
    assert end == "end" and [step for step, _ in logged] == [10, 10, 20, 20]
    assert logged[0][1] == [f"{name}/train/{part}" for part in ("gradient_norm", "loss", "lr")]
    assert f"{name}/validation/loss" in logged[1][1]


@pytest.mark.parametrize("own", [None, "http://there"])
def test_mlflow_writes_beside_the_other_trackers_unless_told(suite, monkeypatch, own):
    monkeypatch.setattr(accelerate, "Accelerator", Accelerator)
    monkeypatch.setenv(paths.TRACK, "mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", own or "")
    if not own:
        monkeypatch.delenv("MLFLOW_TRACKING_URI")
    with tracking.followed(config(), 0, "smoke", "d"):
        beside = f"sqlite:///{suite / '.cache' / 'track' / 'smoke' / 'mlflow.db'}"
        assert tracking.os.environ["MLFLOW_TRACKING_URI"] == (own or beside)


def test_a_training_that_is_stopped_keeps_its_curve(suite):
    with pytest.raises(KeyboardInterrupt), tracking.followed(config(), 0, "smoke", "d") as follow:
        follow.point([Point(1, 1, "train", "loss", 0.5)])
        raise KeyboardInterrupt
    assert tracking.curve_file("smoke", "d").read_text().endswith(",1,1,train,loss,0.5\n")


def test_a_tracker_that_does_not_start_is_one_sentence(suite, monkeypatch):
    monkeypatch.setattr(accelerate, "Accelerator", Accelerator)
    monkeypatch.setenv(paths.TRACK, "wandb")
    made = config()
    made.stages[0] = made.stages[0].model_copy(update={"name": "refused"})
    told = r"--track wandb does not start \(no account\); set it up, or leave it out"
    with pytest.raises(UserError, match=told), tracking.followed(made, 0, "smoke", "d"):
        pass


def test_unknown_and_missing_trackers_are_refused_before_anything_starts(suite, monkeypatch, capsys):
    assert cli.main(["run", "adapter_size", "mlp", "--track", "aim"]) == 2
    assert "'aim' is not a tracker; the trackers are tensorboard, wandb, mlflow" in capsys.readouterr().err
    monkeypatch.setattr(arguments.importlib.util, "find_spec", lambda name: None)
    assert cli.main(["run", "adapter_size", "mlp", "--track", "mlflow"]) == 2
    assert "needs its package; `pip install 'speechllm-bench[mlflow]'`" in capsys.readouterr().err
