"""The training loop: AdamW, warm-up and decay, gradient clipping, a curve, and checkpoints to resume from."""

from __future__ import annotations

import copy
import io
import math
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from speechllm_bench.errors import UserError
from speechllm_bench.settings.config import FitConfig
from speechllm_bench.storage import runs, sealed
from speechllm_bench.storage.schema import SECONDS
from speechllm_bench.storage.status import Status
from speechllm_bench.training.learning_curve import Point, since_last_point
from speechllm_bench.training.schedule import learning_rate
from speechllm_bench.training.stopping import Stopping

if TYPE_CHECKING:
    from speechllm_bench.training.tracking import Follower

CHECKPOINT_SECONDS = 60
STOPPED = "Stopped after step {step} of {n}, with a checkpoint from which the next start goes on."


@dataclass(frozen=True)
class FitResult:
    """The results of a training besides the weights."""

    status: Status  # ok or diverged
    curve: list[Point]
    seconds: float  # of training steps and checkpoints, summed over resumed sessions
    validation_seconds: float
    autocast: bool  # whether the steps ran in bf16 on this machine
    arithmetic: str  # "fp32", "bf16", or both in their order, if a resumed training changed it
    clock: list[Point] = field(default_factory=list)  # `SECONDS` at each point: those of `seconds` so far

    def timed_curve(self) -> list[Point]:
        """Return the curve and the clock, sorted by step.

        The clock is not part of `curve`, because its values differ between identical trainings.
        """
        return sorted([*self.clock, *self.curve], key=lambda point: point.step)

    def sound(self, backbone: str, phase: str) -> FitResult:
        """Return self. Raises UserError where the training diverged: such a backbone is not stored."""
        if self.status == Status.DIVERGED:
            raise UserError(
                f"{backbone} diverged in phase '{phase}' after {self.curve[-1].examples} examples and was "
                "not stored; lower the lr in its recipe and train again"
            )
        return self


def fit(
    config: FitConfig,
    parameters: dict[str, nn.Parameter],
    batches: Sequence,
    loss: Callable[[Any], dict[str, Tensor]],
    validate: Callable[[], dict[str, float]],
    checkpoint: Path,
    seed: int,
    *,
    shares: Mapping[str, float] | None = None,
    parts: Callable[[Any], Sequence[tuple[float, Any]]] = lambda batch: [(1.0, batch)],
    autocast: bool = False,
    lighten: Callable[[], bool] = lambda: False,
    progress: Callable[[float], None] = lambda share: None,
    follow: Follower | None = None,
    counted: dict[str, int] | None = None,
) -> FitResult:
    """Train `parameters` on `batches`, in order, once.

    loss: returns named terms of a batch, which are summed for the gradient.
    validate: returns named values, recorded at `config.evaluations` evenly spaced steps.
    checkpoint: folder to resume from. On the CPU a killed and resumed training gives bit-identical losses,
    because random numbers (dropout) depend only on seed and step.
    shares: factors of `config.lr` by parameter name; parameters that are not named have the factor 1.
    parts: cuts a batch into smaller ones, each with its share of the loss; their gradients are summed.
    lighten: reduces the memory of a step, which is then repeated. It is called when GPU memory runs out.
    follow: gets every step and every point of the curve. counted: sums of `loss`, which a checkpoint keeps.

    SIGTERM and Ctrl-C end the training after the current step, with a checkpoint. Raises UserError where
    `lighten` returns False, which means that it cannot save more memory.
    """
    groups: dict[float, list[nn.Parameter]] = {}  # by factor of the learning rate
    for name, parameter in parameters.items():
        groups.setdefault((shares or {}).get(name, 1.0), []).append(parameter)
    optimizer = torch.optim.AdamW(
        [{"params": some} for some in groups.values()],
        lr=config.lr,
        betas=(0.9, 0.98),
        weight_decay=config.weight_decay,
    )
    device = next(iter(parameters.values())).device
    n_steps = len(batches)
    marks = {round(n_steps * (i + 1) / config.evaluations) for i in range(config.evaluations)}
    state = _resume(checkpoint, parameters, optimizer)
    if counted is not None:
        counted.update(state.counted)
        state.counted = counted
    started = saved = time.perf_counter()
    earlier, validating = state.seconds, state.validation_seconds
    if state.step and not state.arithmetic:
        state.arithmetic.append("not on record")  # a checkpoint of an older version
    if state.arithmetic[-1:] != [mine := "bf16" if autocast else "fp32"]:
        state.arithmetic.append(mine)
    status = Status.OK

    def gradients() -> dict[str, float]:
        torch.manual_seed(seed * 1_000_003 + state.step)
        values: Counter[str] = Counter()
        for share, part in parts(batches[state.step]):
            with torch.autocast(device.type, torch.bfloat16, enabled=autocast):
                terms = loss(part)
            whole = sum(terms.values())
            (whole if share == 1 else share * whole).backward()
            values.update({name: share * term.item() for name, term in terms.items()})
        return dict(values)

    def step() -> bool:
        """Do one step; return False where it diverged."""
        rate = learning_rate(state.step, n_steps, config.lr, config.warmup_ratio)
        for share, group in zip(groups, optimizer.param_groups, strict=True):
            group["lr"] = share * rate
        before = dict(state.counted)

        def lighter() -> bool:
            state.counted.update(before)  # the step is repeated, and its parts are counted then
            return lighten()

        terms = _in_memory(gradients, optimizer, lighter, len(batches[state.step]))
        norm = nn.utils.clip_grad_norm_(parameters.values(), config.max_grad_norm)
        state.examples += len(batches[state.step])
        state.step += 1
        values = {**terms, "gradient_norm": norm.item()}
        spent = time.perf_counter() - started - (state.validation_seconds - validating)
        state.seconds = earlier + spent
        if not all(math.isfinite(value) for value in values.values()):
            state.add("train", {**since_last_point(state.window), "diverged": 1.0})
            return False
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        state.window.append(values)
        state.rate = rate
        progress(state.step / n_steps)
        if follow:
            follow.step(state.step, values | {"lr": rate})
        return True

    def point() -> bool:
        """Add the due point of the curve; return False where its validation diverged."""
        begin = time.perf_counter()
        try:
            with stopping.at_once():
                found = validate()
        except KeyboardInterrupt:
            _save(checkpoint, parameters, optimizer, state)  # the next start computes the point
            raise
        state.validation_seconds += time.perf_counter() - begin
        state.add("train", {**since_last_point(state.window), "lr": state.rate})
        state.window, state.marked = [], state.step
        state.clock.append(Point(state.step, state.examples, "train", SECONDS, round(state.seconds, 2)))
        sound = all(math.isfinite(value) for value in found.values())
        state.add("validation", found if sound else {"diverged": 1.0})
        if follow:
            follow.point(state.curve)
        return sound

    with Stopping() as stopping:
        while status == Status.OK and (state.due(marks) or state.step < n_steps):
            if not (point() if state.due(marks) else step()):
                status = Status.DIVERGED
            elif stopping.asked:
                _save(checkpoint, parameters, optimizer, state)
                raise KeyboardInterrupt(STOPPED.format(step=state.step, n=n_steps))
            elif state.step < n_steps and time.perf_counter() - saved > CHECKPOINT_SECONDS:
                _save(checkpoint, parameters, optimizer, state)
                saved = time.perf_counter()
    done_in = ", then ".join(state.arithmetic)
    return FitResult(
        status, state.curve, state.seconds, state.validation_seconds, autocast, done_in, state.clock
    )


def _in_memory(
    gradients: Callable[[], dict[str, float]],
    optimizer: torch.optim.Optimizer,
    lighten: Callable[[], bool],
    n_examples: int,
) -> dict[str, float]:
    """Return `gradients()`. Where GPU memory runs out, call `lighten` and repeat.

    Raises UserError where `lighten` cannot save more memory.
    """
    while True:
        try:
            return gradients()
        except torch.OutOfMemoryError as error:
            told = str(error).split(". ")[0]
        optimizer.zero_grad(set_to_none=True)
        torch.cuda.empty_cache()
        if not lighten():
            raise UserError(
                f"the GPU's memory does not hold the training on a batch of {n_examples} examples ({told}); "
                "take a larger GPU, or lower training.batch_size in the profile, which makes it another run"
            )


@dataclass
class _State:
    """The state of a training that a checkpoint stores, besides weights and optimizer."""

    step: int = 0
    examples: int = 0
    seconds: float = 0.0
    validation_seconds: float = 0.0
    curve: list[Point] = field(default_factory=list)
    window: list[dict[str, float]] = field(default_factory=list)  # the steps since the last point
    clock: list[Point] = field(default_factory=list)  # `SECONDS` at the points
    marked: int = 0  # the step of the last point
    rate: float = 0.0  # learning rate of the last step
    arithmetic: list[str] = field(default_factory=list)  # fp32 or bf16, of each session that changed it
    counted: dict[str, int] = field(default_factory=dict)  # sums of `loss`

    def due(self, marks: set[int]) -> bool:
        """Return whether the current step is one of `marks` and the curve has no point there yet."""
        return self.step in marks and self.marked < self.step

    def add(self, split: str, values: dict[str, float]) -> None:
        self.curve += [Point(self.step, self.examples, split, k, v) for k, v in values.items()]


def _save(folder: Path, parameters: dict, optimizer: torch.optim.Optimizer, state: _State) -> None:
    with runs.whole_folder(folder) as temporary:
        save_weights(parameters, temporary / "weights.safetensors")
        state_dict = io.BytesIO()  # serialised in memory first, as in `save_weights`
        torch.save(optimizer.state_dict(), state_dict)
        (temporary / "optimizer.pt").write_bytes(state_dict.getbuffer())
        sealed.write(temporary / "state.json", asdict(state))


def _resume(folder: Path, parameters: dict, optimizer: torch.optim.Optimizer) -> _State:
    """Load a checkpoint and return its state, or a new state where there is none.

    A damaged checkpoint is deleted with a message, and the stage starts anew.
    """
    if not folder.is_dir():
        return _State()
    untouched = copy.deepcopy(optimizer.state_dict())
    try:
        record = sealed.read(folder / "state.json", "")
        points = {name: [Point(**point) for point in record[name]] for name in ("curve", "clock")}
        state = _State(**record | points)
        optimizer.load_state_dict(torch.load(folder / "optimizer.pt", weights_only=True))
        load_weights(parameters, folder / "weights.safetensors")  # last: a fault copies nothing
        return state
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # torch and json raise many kinds of error on damage
        told = str(error).partition("\n")[0].partition(";")[0]
    print(f"The checkpoint {folder} is dropped, the stage starts anew: {told}", file=sys.stderr, flush=True)
    optimizer.load_state_dict(untouched)
    runs.remove(folder)
    return _State()


def round_to_16_bits(parameters: Mapping[str, nn.Parameter]) -> None:
    with torch.no_grad():
        for parameter in parameters.values():
            parameter.copy_(parameter.half())


def save_weights(parameters: Mapping[str, Tensor], path: Path, dtype: torch.dtype | None = None) -> None:
    """Write the trained parameters as safetensors. dtype: of the file; None keeps each parameter's own.

    They are serialised in memory first: on a full disk the libraries' own writers raise unclear errors.
    """
    kept = {name: p.detach().to("cpu", dtype).contiguous() for name, p in parameters.items()}
    path.write_bytes(save(kept))


def load_weights(parameters: dict[str, nn.Parameter], path: Path) -> None:
    """Fill `parameters` from a file that must have exactly these names and shapes.

    Raises UserError where the file is missing, damaged or of another model.
    """
    try:
        stored = load_file(path)
    except FileNotFoundError:
        raise UserError(f"weights {path} are missing; delete its folder and run again") from None
    except SafetensorError as error:
        raise UserError(f"weights {path} are damaged ({error}); delete its folder and run again") from None
    if {k: v.shape for k, v in stored.items()} != {k: p.shape for k, p in parameters.items()}:
        raise UserError(f"weights {path} belong to another model; delete its folder and run again")
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(stored[name])
