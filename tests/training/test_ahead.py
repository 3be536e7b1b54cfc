"""Batches made ahead by a thread: the same numbers in the same order."""

from __future__ import annotations

import threading

import pytest
import torch
from short_memory import short_of_memory

from speechllm_bench.errors import UserError
from speechllm_bench.models.inputs import Batch
from speechllm_bench.settings.config import DistillationConfig, LoraConfig
from speechllm_bench.training import ahead as ahead_module
from speechllm_bench.training import stages
from speechllm_bench.training.accumulation import Parts
from speechllm_bench.training.ahead import Ahead

BATCHES = [[4, 1, 7], [0, 5, 3], [6, 2], [8]]


@pytest.fixture
def parts():
    return Parts(lambda i: 1)


@pytest.fixture
def ahead(parts, monkeypatch):
    """Two parts ahead; what was made, and by which thread, is in `made`."""
    monkeypatch.setitem(ahead_module.READY, "cpu", 2)
    made = []

    def collated(part) -> list[Batch]:
        made.append((list(part), threading.current_thread().name))
        tokens = torch.tensor([list(part)])
        return [Batch(tokens, *(torch.ones_like(tokens, dtype=torch.bool),) * 3, None, None)]

    found = Ahead(collated, BATCHES, parts, "cpu")
    found.made = made
    yield found
    found.close()


def seen(ahead: Ahead, parts: Parts, batches=BATCHES) -> list[list[int]]:
    return [ahead(part)[0].tokens[0].tolist() for batch in batches for _, part in parts(batch)]


def test_on_a_cpu_nothing_is_made_ahead(parts):
    found = Ahead(lambda part: [threading.current_thread()], BATCHES, parts, "cpu")
    assert found(BATCHES[0]) == [threading.current_thread()]


def test_batches_come_in_their_order_from_wherever_a_training_goes_on(ahead, parts):
    assert seen(ahead, parts) == BATCHES
    assert [part for part, _ in ahead.made] == BATCHES  # each once
    assert all(name.startswith("ahead") for _, name in ahead.made)
    assert seen(ahead, parts, BATCHES[2:]) == BATCHES[2:]
    parts.size = 2  # memory ran out
    assert seen(ahead, parts, BATCHES[1:]) == [[0, 5], [3], [6, 2], [8]]


def test_two_parts_are_made_before_they_are_asked_for(ahead, parts):
    ahead(BATCHES[0])
    ahead.close()  # waits for what has begun
    assert [part for part, _ in ahead.made][:1] == BATCHES[:1] and len(ahead.made) <= 4


def test_a_fault_of_a_batch_is_its_own_sentence(parts, monkeypatch):
    monkeypatch.setitem(ahead_module.READY, "cpu", 2)

    def refuses(part) -> list[Batch]:
        raise UserError(f"the prompt of {part[0]} holds a mark")

    with pytest.raises(UserError, match="^the prompt of 4 holds a mark$"):
        Ahead(refuses, BATCHES, parts, "cpu")(BATCHES[0])


@pytest.mark.parametrize("case", ["dropout", "parts", "short of memory", "distillation"])
def test_a_stage_has_the_same_numbers_to_the_last_bit(tiny_run, tiny_data, tmp_path, monkeypatch, case):
    config = tiny_run()
    changes: dict = {"decoded_turns": 3, "frame_shift": 4}
    if case == "dropout":
        config = config.model_copy(update={"lora": LoraConfig(rank=2, alpha=4, dropout=0.5)})
        changes["train"] = ["adapter", "lora"]
    if case == "parts":
        changes["micro_batch"] = 3
    if case == "distillation":
        changes["distillation"] = DistillationConfig(weight=0.5)
    if case == "short of memory":
        short_of_memory(monkeypatch)
    config = config.model_copy(update={"stages": [config.stages[0].model_copy(update=changes)]})
    found = []
    for n in (0, 2):
        monkeypatch.setitem(ahead_module.READY, "cpu", n)
        model, tokenizer = stages.build_model(config, tiny_data.frames.dim)
        fit, amounts = stages.train_stage(config, 0, model, tokenizer, tiny_data, tmp_path / str(n))
        found.append((fit.curve, amounts, dict(model.trained_parameters(changes.get("train", ["adapter"])))))
    (curve, amounts, weights), (other_curve, other_amounts, others) = found
    assert (curve, amounts) == (other_curve, other_amounts)
    assert all(torch.equal(kept, others[name]) for name, kept in weights.items())
    assert not [t for t in threading.enumerate() if t.name.startswith("ahead")]
