"""Greedy generation without the finished rows says what transformers' own says with them."""

from __future__ import annotations

import pytest
import torch

from speechllm_bench.models import greedy as greedy_module
from speechllm_bench.models.greedy import decode_greedily
from speechllm_bench.models.llm import load_llm
from speechllm_bench.settings.config import LoraConfig

N_ROWS, LONGEST, NEW = 6, 9, 14
PAD = 0


@pytest.fixture(
    scope="module", params=[None, LoraConfig(rank=2, alpha=2, dropout=0.0)], ids=["plain", "lora"]
)
def llm(request, tiny_backbones):
    torch.manual_seed(0)
    return load_llm(str(tiny_backbones / "llm"), request.param).eval()


@pytest.fixture(scope="module")
def prompts(llm):
    """(B, N, E) and (B, N): prompts of 4 to 9 positions, padded on the left."""
    rng = torch.Generator().manual_seed(1)
    lengths = torch.arange(N_ROWS) + LONGEST - N_ROWS + 1
    attended = (torch.arange(LONGEST) >= LONGEST - lengths[:, None]).long()
    ids = torch.randint(1, llm.config.vocab_size, (N_ROWS, LONGEST), generator=rng)
    return llm.get_input_embeddings()(ids) * 3, attended  # so that rows say different things


@torch.inference_mode()
def by_transformers(llm, prompts, ends):
    embedded, attended = prompts
    return llm.generate(
        inputs_embeds=embedded, attention_mask=attended, max_new_tokens=NEW, do_sample=False,
        eos_token_id=ends, pad_token_id=PAD,
    )  # fmt: skip


@pytest.fixture
def without_lean_steps(monkeypatch):
    """Let transformers take every step, so that its calls can be counted."""
    monkeypatch.setattr(greedy_module, "step_of", lambda *_: None)


@pytest.mark.parametrize("lean", [True, False])
@pytest.mark.parametrize("leave", [0.0, 0.75, 1.0])
@torch.inference_mode()
def test_answers_are_those_of_transformers(llm, prompts, leave, lean, monkeypatch):
    monkeypatch.setattr(greedy_module, "LEAVE", leave)
    if not lean:
        monkeypatch.setattr(greedy_module, "step_of", lambda *_: None)
    free = by_transformers(llm, prompts, [llm.config.vocab_size + 1])
    ends = sorted({int(free[row, step]) for row, step in ((0, 0), (2, 3), (4, 7))})
    expected = by_transformers(llm, prompts, ends)
    assert len({int((row != PAD).sum()) for row in expected}) > 2, "rows end at different steps"
    assert torch.equal(decode_greedily(llm, *prompts, NEW, ends, PAD), expected)


@torch.inference_mode()
def test_what_prompts_begin_with_is_computed_once(llm, prompts, monkeypatch, without_lean_steps):
    embedded, attended = prompts
    head = embedded[:1, -5:].repeat(N_ROWS, 1, 1)
    embedded, attended = (
        torch.cat([head, embedded], 1),
        torch.cat([torch.ones(N_ROWS, 5), attended], 1).long(),
    )
    ends = [llm.config.vocab_size + 1]
    expected, read, forward = by_transformers(llm, (embedded, attended), ends), [], type(llm).forward

    def counted(self, *args, **kwargs):
        read.append(kwargs["inputs_embeds"].shape[:2].numel() if "inputs_embeds" in kwargs else N_ROWS)
        return forward(self, *args, **kwargs)

    monkeypatch.setattr(type(llm), "forward", counted)
    assert torch.equal(decode_greedily(llm, embedded, attended, NEW, ends, PAD, shared=5), expected)
    assert sum(read) == 5 + N_ROWS * LONGEST + N_ROWS * (NEW - 1)


@torch.inference_mode()
def test_rows_that_ended_are_not_computed(llm, prompts, monkeypatch, without_lean_steps):
    free = by_transformers(llm, prompts, [llm.config.vocab_size + 1])
    sizes, forward = [], type(llm).forward

    def counted(self, *args, **kwargs):
        sizes.append(len(kwargs["attention_mask"]))
        return forward(self, *args, **kwargs)

    monkeypatch.setattr(type(llm), "forward", counted)
    decode_greedily(llm, *prompts, NEW, [int(free[0, 0]), int(free[1, 2])], PAD)
    assert sizes[0] == N_ROWS and sizes == sorted(sizes, reverse=True) and sizes[-1] < N_ROWS
