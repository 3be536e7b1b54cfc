"""A step of decoding without transformers around it gives the logits of transformers, bit for bit."""

from __future__ import annotations

import copy

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from speechllm_bench.models import greedy
from speechllm_bench.models.greedy import decode_greedily
from speechllm_bench.models.llama_step import LlamaStep, step_of
from speechllm_bench.models.llm import load_llm, merged_lora, with_lora
from speechllm_bench.settings.config import LoraConfig

N_ROWS, LONGEST, STEPS = 5, 9, 6
LORA = LoraConfig(rank=2, alpha=2, dropout=0.0)


def made(n_keys: int) -> LlamaForCausalLM:
    torch.manual_seed(0)
    shape = {"hidden_size": 48, "intermediate_size": 80, "num_hidden_layers": 3, "num_attention_heads": 6}
    config = LlamaConfig(vocab_size=97, num_key_value_heads=n_keys, initializer_range=0.5, **shape)
    return LlamaForCausalLM(config).eval()


@pytest.fixture(params=["zoo", "heads of their own", "shared heads", "lora"])
def llm(request):
    if request.param == "zoo":
        return load_llm("zoo/llm-mini").eval()
    llm = made(6 if request.param == "heads of their own" else 2)
    if request.param == "lora":
        llm = with_lora(llm, LORA).eval()
        for name, weight in llm.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(weight)
    return llm


@pytest.fixture(params=[True, False], ids=["padded", "whole"])
def prompts(request, llm):
    """(B, N, E) and (B, N): prompts of 5 to 9 positions, padded on the left; or all of 9."""
    lengths = torch.arange(N_ROWS) + LONGEST - N_ROWS + 1 if request.param else torch.full((N_ROWS,), LONGEST)
    attended = (torch.arange(LONGEST) >= LONGEST - lengths[:, None]).long()
    ids = torch.randint(1, 97, (N_ROWS, LONGEST), generator=torch.Generator().manual_seed(1))
    return llm.get_input_embeddings()(ids), attended


@torch.inference_mode()
def test_logits_are_those_of_transformers_bit_for_bit(llm, prompts):
    embedded, attended = prompts
    with merged_lora(llm):
        found = llm(inputs_embeds=embedded, attention_mask=attended, use_cache=True)
        theirs = copy.deepcopy(found.past_key_values)
        step = step_of(llm, found.past_key_values, STEPS)
        places, logits = (attended.cumsum(1) - 1)[:, -1:], found.logits[:, -1]
        for n in range(STEPS):
            tokens, places = logits.argmax(-1), places + 1
            attended = torch.cat([attended, attended.new_ones(len(attended), 1)], 1)
            told = {"attention_mask": attended, "past_key_values": theirs, "position_ids": places}
            expected = llm(input_ids=tokens[:, None], use_cache=True, **told).logits[:, -1]
            logits = step(tokens, places, attended)
            assert torch.equal(logits, expected)
            if n == 2:  # rows leave
                stay = torch.tensor([0, 3])
                step.select(stay)
                theirs.batch_select_indices(stay)
                logits, places, attended = logits[stay], places[stay], attended[stay]


@torch.inference_mode()
def test_decoding_takes_these_steps(prompts, llm, monkeypatch):
    taken = []
    step = LlamaStep.__call__
    monkeypatch.setattr(LlamaStep, "__call__", lambda self, *told: taken.append(1) or step(self, *told))
    with merged_lora(llm):
        said = decode_greedily(llm, *prompts, STEPS, [-1], 0)
        assert len(taken) == STEPS - 1
        monkeypatch.setattr(greedy, "step_of", lambda *_: None)
        assert torch.equal(decode_greedily(llm, *prompts, STEPS, [-1], 0), said)


def test_an_llm_whose_step_may_be_another_is_left_to_transformers(tiny_backbones):
    def found(llm):
        cache = llm(input_ids=torch.ones(1, 2, dtype=torch.long), use_cache=True).past_key_values
        return step_of(llm, cache, 1)

    assert found(made(2)) and found(load_llm(str(tiny_backbones / "llm")).eval())
    assert found(with_lora(made(2), LORA).eval()) is None  # not merged
    assert found(made(2).train()) is None
    assert found(made(2).to(torch.bfloat16)) is None
    hooked = made(2)
    hooked.model.layers[0].mlp.register_forward_hook(lambda *_: None)
    assert found(hooked) is None
    eager = made(2)
    eager.set_attn_implementation("eager")
    assert found(eager) is None
