"""The loop on a toy regression with dropout: exact resume, divergence, curves, damaged files."""

from __future__ import annotations

import csv
import json
import math
import signal
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn

from speechllm_bench.errors import UserError
from speechllm_bench.settings.config import FitConfig
from speechllm_bench.training import learning_curve, loop, schedule


def config(**changes) -> FitConfig:
    settings = {"examples": 24, "batch_size": 3, "lr": 0.05, "warmup_ratio": 0.25, "weight_decay": 0.01,
                "max_grad_norm": 0.5, "evaluations": 3}  # fmt: skip
    return FitConfig(**settings | changes)


class Toy:
    """Eight batches of a regression, its model and what the loop asked of them."""

    def __init__(self, fail_at: int | None = None, nan_at: int | None = None):
        torch.manual_seed(0)
        self.model = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.Linear(8, 1))
        source = torch.Generator().manual_seed(1)
        self.batches = [torch.randn(3, 4, generator=source) for _ in range(8)]
        self.fail_at, self.nan_at, self.losses, self.rates = fail_at, nan_at, [], []

    def parameters(self):
        return dict(self.model.named_parameters())

    def loss(self, batch):
        self.model.train()
        if len(self.losses) == self.fail_at:
            raise KeyboardInterrupt
        scale = math.nan if len(self.losses) == self.nan_at else 1.0
        error = scale * (self.model(batch) - batch.sum(1, keepdim=True)).pow(2).mean()
        penalty = 0.01 * sum(p.abs().sum() for p in self.model.parameters())
        self.losses.append((error + penalty).item())
        return {"error": error, "penalty": penalty}

    def validate(self):
        self.model.eval()
        torch.randn(3)  # a validation that draws random numbers does not disturb training
        with torch.no_grad():
            return {"loss": self.model(self.batches[0]).pow(2).mean().item()}

    def fit(self, folder, seed: int = 0, shares=None, autocast=False, **changes) -> loop.FitResult:
        settings, parameters = config(**changes), self.parameters()
        told = {"shares": shares, "autocast": autocast}
        return loop.fit(settings, parameters, self.batches, self.loss, self.validate, folder, seed, **told)


def values(fit: loop.FitResult, split: str, metric: str) -> list[float]:
    return [p.value for p in fit.curve if (p.split, p.metric) == (split, metric)]


def test_gradients_are_clipped_to_the_largest_norm_and_the_curve_has_them_before(tmp_path, monkeypatch):
    toy, clipped, step = Toy(), [], torch.optim.AdamW.step

    def watched(optimizer, *given):
        clipped.append(torch.stack([p.grad.norm() for p in toy.model.parameters()]).norm().item())
        return step(optimizer, *given)

    monkeypatch.setattr(torch.optim.AdamW, "step", watched)
    curve = toy.fit(tmp_path, max_grad_norm=0.1).curve
    assert len(clipped) == 8 and max(clipped) == pytest.approx(0.1)
    assert min(point.value for point in curve if point.metric == "gradient_norm") > 0.1


def test_a_spike_is_a_gradient_far_above_the_median():
    found = learning_curve.since_last_point([{"gradient_norm": n} for n in (1.0, 2.0, 1.5, 9.0, 1.0, 60.0)])
    assert (found["gradient_norm_max"], found["gradient_spikes"]) == (60.0, 2.0)
    assert found["gradient_norm"] == pytest.approx(74.5 / 6)


def test_steps_are_those_of_adamw_with_betas_of_0_9_and_0_98(tmp_path):
    """The second beta is not torch's 0.999, which would follow gradients that shrink more slowly."""
    factors, given = [4.0, 1.0, 0.25], config(examples=3, batch_size=1, warmup_ratio=0, max_grad_norm=1e9)
    ours, theirs = (nn.Parameter(torch.ones(1)) for _ in range(2))
    loop.fit(
        given, {"w": ours}, [[f] for f in factors], lambda batch: {"loss": (ours * batch[0]).sum()},
        lambda: {}, tmp_path, 0,
    )  # fmt: skip
    adamw = torch.optim.AdamW([theirs], betas=(0.9, 0.98), weight_decay=given.weight_decay)
    for step, factor in enumerate(factors):
        adamw.param_groups[0]["lr"] = schedule.learning_rate(step, 3, given.lr, 0)
        theirs.grad = torch.tensor([factor])
        adamw.step()
    assert ours.item() == theirs.item()


def test_weights_decay_as_much_as_the_config_says(tmp_path):
    def size(weight_decay: float) -> float:
        toy = Toy()
        toy.fit(tmp_path / str(weight_decay), weight_decay=weight_decay)
        return sum(p.detach().square().sum().item() for p in toy.model.parameters())

    assert size(2.0) < size(1.0) < size(0.0)


def test_a_curve_has_the_points_asked_for_the_last_at_the_end(tmp_path):
    toy = Toy()
    fit = toy.fit(tmp_path / "checkpoint")
    assert fit.status == "ok"
    assert [p.step for p in fit.curve if p.metric == "lr"] == [3, 5, 8]
    assert [p.examples for p in fit.curve if p.metric == "lr"] == [9, 15, 24]
    assert {(p.split, p.metric) for p in fit.curve} == {
        ("train", "error"), ("train", "penalty"), ("train", "gradient_norm"), ("train", "gradient_norm_max"),
        ("train", "gradient_spikes"), ("train", "lr"), ("validation", "loss"),
    }  # fmt: skip
    # A point of the training curve is the mean over the steps since the last one.
    totals = [
        sum(pair) for pair in zip(values(fit, "train", "error"), values(fit, "train", "penalty"), strict=True)
    ]
    means = [sum(toy.losses[a:b]) / (b - a) for a, b in ((0, 3), (3, 5), (5, 8))]
    assert totals == pytest.approx(means, rel=1e-5)
    assert not (tmp_path / "checkpoint").exists()  # too short for a checkpoint


def test_the_clock_counts_training_at_each_point_and_stays_out_of_the_curve(tmp_path):
    fit = Toy().fit(tmp_path / "checkpoint")
    assert [(p.step, p.examples, p.split, p.metric) for p in fit.clock] == [
        (3, 9, "train", "seconds"), (5, 15, "train", "seconds"), (8, 24, "train", "seconds"),
    ]  # fmt: skip
    seconds = [p.value for p in fit.clock]
    assert 0 <= seconds[0] <= seconds[1] <= seconds[2] == pytest.approx(fit.seconds, abs=0.01)
    assert "seconds" not in {p.metric for p in fit.curve}
    timed = fit.timed_curve()
    assert [p.step for p in timed] == sorted(p.step for p in timed) and set(timed) == {*fit.curve, *fit.clock}
    assert len(timed) == len(fit.curve) + 3 and timed[-1] == fit.curve[-1]


def test_it_learns_and_the_rate_matters(tmp_path):
    assert Toy().fit(tmp_path / "a", lr=0.05).curve != Toy().fit(tmp_path / "b", lr=0.01).curve
    toy = Toy()
    toy.batches = [toy.batches[0]] * 200
    fit = toy.fit(tmp_path / "c", evaluations=10)
    errors = values(fit, "train", "error")
    assert errors[-1] < 0.5 * errors[0]


def test_same_seed_same_numbers_another_seed_other_dropout(tmp_path):
    curves = [Toy().fit(tmp_path / str(i), seed=seed).curve for i, seed in enumerate((0, 0, 1))]
    assert curves[0] == curves[1] != curves[2]


def test_global_random_state_does_not_matter(tmp_path):
    curves = []
    for seed in (1, 2):
        toy = Toy()
        torch.manual_seed(seed)
        curves.append(toy.fit(tmp_path / str(seed)).curve)
    assert curves[0] == curves[1]


def test_a_parameter_may_learn_at_a_share_of_the_rate(tmp_path):
    def moved(shares) -> dict[str, float]:
        toy = Toy()
        before = {name: parameter.clone() for name, parameter in toy.parameters().items()}
        toy.batches = toy.batches[:1]  # the one step, of which Adam makes the rate itself
        toy.fit(tmp_path / str(shares), shares=shares, weight_decay=0.0, evaluations=1)
        return {n: (p - before[n]).abs().max().item() for n, p in toy.parameters().items()}

    whole, part = moved(None), moved({"0.weight": 0.25, "2.bias": 1.0})
    assert part.pop("0.weight") == pytest.approx(0.25 * whole.pop("0.weight"), rel=1e-4)
    assert part == whole and min(whole.values()) > 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize(
    ("at", "step"), [("loss 4", 5), ("validation 0", 3), ("validation 2", 8), ("loss 7", 8)]
)
def test_a_stop_ends_a_whole_step_with_a_checkpoint_and_the_next_start_goes_on(
    tmp_path, monkeypatch, number, at, step
):
    """Within a validation, which may take long, it ends at once."""
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 60)
    expected = Toy().fit(tmp_path / "whole")
    before, toy = signal.getsignal(number), Toy()
    calls = {"loss": 0, "validation": 0}

    def stopped(name, ask):
        def call(*batch):
            found, n = ask(*batch), calls[name]
            calls[name] += 1
            if at == f"{name} {n}":
                signal.raise_signal(number)
            return found

        return call

    toy.loss, toy.validate = stopped("loss", toy.loss), stopped("validation", toy.validate)
    with pytest.raises(KeyboardInterrupt):
        toy.fit(tmp_path / "checkpoint")
    assert signal.getsignal(number) == before
    assert json.loads((tmp_path / "checkpoint" / "state.json").read_text())["step"] == step
    resumed = Toy()
    assert resumed.fit(tmp_path / "checkpoint").curve == expected.curve
    assert len(resumed.losses) == 8 - step  # no step is done twice


def test_a_second_stop_does_not_wait_and_keeps_nothing_of_the_step(tmp_path):
    toy, ask = Toy(), Toy.loss

    def twice(batch):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        return ask(toy, batch)

    toy.loss = twice
    with pytest.raises(KeyboardInterrupt):
        toy.fit(tmp_path / "checkpoint")
    assert not toy.losses and not (tmp_path / "checkpoint").exists()


def test_outside_the_main_thread_nothing_is_held_back(tmp_path):
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(Toy().fit, tmp_path / "checkpoint").result().status == "ok"


@pytest.mark.parametrize("size", [1, 2])
def test_gradients_of_smaller_parts_sum_up_to_those_of_the_batch(tmp_path, size):
    """Without dropout, whose masks depend on the batch; the mean over 3 rows, of parts of 1 or of 2 and 1."""

    def cut(batch):
        return [(len(part) / len(batch), part) for part in batch.split(size)]

    def trained(**told):
        toy = Toy()
        toy.model[1].p = 0.0
        arguments = (config(), toy.parameters(), toy.batches, toy.loss, toy.validate, tmp_path / "c", 0)
        return loop.fit(*arguments, **told).curve, toy

    (whole, _), (parts, toy) = trained(), trained(parts=cut)
    assert len(toy.losses) == 8 * (3 if size == 1 else 2)
    assert [(p.step, p.examples, p.metric) for p in whole] == [(p.step, p.examples, p.metric) for p in parts]
    assert [p.value for p in parts] == pytest.approx([p.value for p in whole], rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("fail_at", [1, 3, 4, 7])
def test_killed_and_resumed_ends_with_the_same_numbers_to_the_last_bit(tmp_path, monkeypatch, fail_at):
    whole, shares = Toy(), {"0.weight": 0.5}
    expected = whole.fit(tmp_path / "whole", shares=shares)
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", -1)
    killed = Toy(fail_at=fail_at)
    with pytest.raises(KeyboardInterrupt):
        killed.fit(tmp_path / "checkpoint", shares=shares)
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint"]  # no temporary folder left
    resumed = Toy()
    with torch.no_grad():
        for parameter in resumed.parameters().values():
            parameter.zero_()  # all that counts comes from the checkpoint
    fit = resumed.fit(tmp_path / "checkpoint", shares=shares)
    assert killed.losses + resumed.losses == whole.losses
    assert fit.curve == expected.curve
    assert [p.step for p in fit.clock] == [3, 5, 8]
    for name, parameter in whole.parameters().items():
        assert torch.equal(parameter, resumed.parameters()[name]), name


def test_a_training_that_goes_on_in_another_arithmetic_says_so(tmp_path, monkeypatch):
    """A processor whose speed in bf16 is near the limit may decide otherwise at the next start."""
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", -1)
    with pytest.raises(KeyboardInterrupt):
        Toy(fail_at=3).fit(tmp_path / "checkpoint", autocast=True)
    assert Toy().fit(tmp_path / "checkpoint").arithmetic == "bf16, then fp32"
    assert Toy().fit(tmp_path / "other").arithmetic == "fp32"


@pytest.mark.parametrize("file", ["state.json", "weights.safetensors", "optimizer.pt"])
def test_a_damaged_checkpoint_is_dropped_and_the_stage_starts_anew(tmp_path, monkeypatch, capsys, file):
    whole = Toy()
    expected = whole.fit(tmp_path / "whole")
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(loop, "CHECKPOINT_SECONDS", -1)
        Toy(fail_at=5).fit(tmp_path / "checkpoint")
    damaged = tmp_path / "checkpoint" / file
    content = damaged.read_bytes()
    place = len(content) // 2
    damaged.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
    anew = Toy()
    fit = anew.fit(tmp_path / "checkpoint")
    assert anew.losses == whole.losses and fit.curve == expected.curve
    told = capsys.readouterr().err
    assert told.startswith("The checkpoint ") and told.count("\n") == 1 and "starts anew" in told
    assert not (tmp_path / "checkpoint").exists()


def test_killed_between_checkpoints_repeats_the_steps_since(tmp_path, monkeypatch):
    whole = Toy()
    expected = whole.fit(tmp_path / "whole")
    killed = Toy(fail_at=6)
    save = loop._save
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", -1)
    monkeypatch.setattr(loop, "_save", lambda *a: save(*a) if a[-1].step == 4 else None)
    with pytest.raises(KeyboardInterrupt):
        killed.fit(tmp_path / "checkpoint")
    resumed = Toy()
    assert resumed.fit(tmp_path / "checkpoint").curve == expected.curve
    assert resumed.losses == whole.losses[4:]


@pytest.mark.parametrize("nan_at", [0, 4])
def test_a_loss_that_is_not_finite_ends_the_training_as_diverged(tmp_path, nan_at):
    toy = Toy(nan_at=nan_at)
    fit = toy.fit(tmp_path / "checkpoint")
    assert fit.status == "diverged"
    last = fit.curve[-1]
    assert (last.metric, last.step, last.value) == ("diverged", nan_at + 1, 1.0)
    assert len(toy.losses) == nan_at + 1
    assert all(math.isfinite(p.value) for p in fit.curve)
    assert all(p.isfinite().all() for p in toy.parameters().values())  # the step was not taken
    # What the gradients did on the way there is kept.
    assert ("gradient_norm_max" in [p.metric for p in fit.curve if p.step == last.step]) == (nan_at > 0)


def test_a_gradient_that_is_not_finite_is_divergence_too(tmp_path):
    toy = Toy()
    toy.loss = lambda batch: {"root": (toy.model[2].bias * 0).sqrt().sum()}
    assert toy.fit(tmp_path / "checkpoint").status == "diverged"


def test_a_validation_that_is_not_finite_is_divergence_too(tmp_path):
    toy = Toy()
    toy.validate = lambda: {"loss": math.nan}
    fit = toy.fit(tmp_path / "checkpoint")
    assert fit.status == "diverged"
    assert (fit.curve[-1].split, fit.curve[-1].metric) == ("validation", "diverged")
    assert all(math.isfinite(p.value) for p in fit.curve)


def test_weights_come_back_to_the_last_bit(tmp_path):
    one, other = Toy(), Toy()
    one.fit(tmp_path / "checkpoint")
    loop.save_weights(one.parameters(), tmp_path / "weights.safetensors")
    loop.load_weights(other.parameters(), tmp_path / "weights.safetensors")
    assert all(torch.equal(p, other.parameters()[n]) for n, p in one.parameters().items())


def test_damaged_missing_and_foreign_weights_are_refused(tmp_path):
    toy, path = Toy(), tmp_path / "weights.safetensors"
    with pytest.raises(UserError, match=r"weights\.safetensors are missing; delete"):
        loop.load_weights(toy.parameters(), path)
    loop.save_weights(toy.parameters(), path)
    content = path.read_bytes()
    for n_bytes in (len(content) - 1, len(content) // 2, 4, 0):
        path.write_bytes(content[:n_bytes])
        with pytest.raises(UserError, match=r"weights\.safetensors are damaged.*delete its folder"):
            loop.load_weights(toy.parameters(), path)
    for parameters in (
        {"other": nn.Parameter(torch.zeros(3))},
        {n: p for n, p in toy.parameters().items() if n != "0.bias"},
        toy.parameters() | {"0.bias": nn.Parameter(torch.zeros(5))},
    ):
        path.write_bytes(content)
        with pytest.raises(UserError, match="belong to another model"):
            loop.load_weights(parameters, path)


def test_the_curve_as_csv(tmp_path):
    curve = [loop.Point(3, 9, "train", "loss", 1.5), loop.Point(3, 9, "validation", "f1", 0.1)]
    learning_curve.write_curve([("ast", curve[:1]), ("slots", curve)], tmp_path / "curve.csv")
    rows = list(csv.DictReader((tmp_path / "curve.csv").open()))
    assert [r["stage"] for r in rows] == ["ast", "slots", "slots"]
    assert rows[2] == {
        "stage": "slots", "step": "3", "examples": "9", "split": "validation", "metric": "f1", "value": "0.1"
    }  # fmt: skip


class Short(Toy):
    """A toy on a GPU whose memory runs out at one step, for as long as it has not been lightened."""

    def __init__(self, at: int, enough: int = 1):
        super().__init__()
        self.at, self.enough, self.lightened = at, enough, 0

    def loss(self, batch):
        terms = super().loss(batch)
        if len(self.losses) > self.at and self.lightened < self.enough:
            self.losses.pop()
            terms["error"].backward()  # what a step leaves behind when it breaks off
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB. And more")
        return terms

    def lighten(self) -> bool:
        self.lightened += 1
        return self.lightened <= 2

    def fit(self, folder):
        parts = self.parameters(), self.batches, self.loss, self.validate
        return loop.fit(config(), *parts, folder, 0, lighten=self.lighten)


def test_a_step_that_does_not_fit_is_done_again_with_less_memory(tmp_path):
    roomy, short = Toy(), Short(at=3)
    expected, found = roomy.fit(tmp_path / "roomy"), short.fit(tmp_path / "short")
    assert short.lightened == 1
    assert found.curve == expected.curve
    assert torch.equal(short.model[0].weight, roomy.model[0].weight)


def test_a_step_that_never_fits_ends_in_a_sentence(tmp_path):
    short = Short(at=3, enough=9)
    with pytest.raises(UserError, match="memory does not hold the training on a batch of 3 examples") as told:
        short.fit(tmp_path / "short")
    assert "training.batch_size" in str(told.value) and "\n" not in str(told.value)
    assert short.lightened == 3, "it is asked until it has nothing left"
