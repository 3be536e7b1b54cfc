"""A step of decoding without transformers around it gives the logits of transformers, bit for bit."""

from __future__ import annotations

import copy

import pytest
import torch
from peft import LoraConfig as PeftLoraConfig
from peft import PeftModel, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM

from speechllm_bench.models import greedy
from speechllm_bench.models.greedy import decode_greedily
from speechllm_bench.models.llama_step import LlamaStep, step_of
from speechllm_bench.models.llm import load_llm, merged_lora, with_lora
from speechllm_bench.settings.config import LoraConfig

N_ROWS, LONGEST, STEPS = 5, 9, 6
LORA = LoraConfig(rank=2, alpha=2, dropout=0.0)


def made(n_keys: int, **more) -> LlamaForCausalLM:
    torch.manual_seed(0)
    shape = {"hidden_size": 48, "intermediate_size": 80, "num_hidden_layers": 3, "num_attention_heads": 6}
    config = LlamaConfig(vocab_size=97, num_key_value_heads=n_keys, initializer_range=0.5, **shape | more)
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


def found(llm):
    """Return what `step_of` says of an LLM. The cache is as it was where it says None."""
    cache = llm(input_ids=torch.ones(1, 2, dtype=torch.long), use_cache=True).past_key_values
    n_layers = len(cache.layers)
    step = step_of(llm, cache, 1)
    assert len(cache.layers) == (0 if step else n_layers)
    return step


def merged(llm):
    llm.base_model.merge_adapter()
    return llm


@torch.inference_mode()
def test_a_usual_llama_takes_lean_steps(tiny_backbones):
    assert found(made(2)) and found(load_llm(str(tiny_backbones / "llm")).eval())
    assert found(merged(with_lora(made(2), LORA).eval()))


def of_rope(kind: str, **more) -> LlamaForCausalLM:
    return made(2, rope_parameters={"rope_type": kind, "rope_theta": 1e4, "factor": 4.0, **more})


def hooked() -> LlamaForCausalLM:
    llm = made(2)
    llm.model.layers[0].mlp.register_forward_hook(lambda *_: None)
    return llm


def replaced() -> LlamaForCausalLM:
    """Return an LLM with a forward that is replaced on the module, as accelerate does to move weights."""
    llm = made(2)
    part = llm.model.layers[1].self_attn.o_proj
    forward = part.forward
    part.forward = lambda x: 2 * forward(x)
    return llm


def partly_training() -> LlamaForCausalLM:
    llm = made(2, attention_dropout=0.5)
    llm.model.layers[0].self_attn.train()
    return llm


def eager() -> LlamaForCausalLM:
    llm = made(2)
    llm.set_attn_implementation("eager")
    return llm


def compiled() -> LlamaForCausalLM:
    llm = made(2)
    llm.model.layers[0]._compiled_call_impl = llm.model.layers[0].forward  # as `compile` sets it
    return llm


def other_norm() -> LlamaForCausalLM:
    llm = made(2)
    llm.model.norm = torch.nn.RMSNorm(48)
    return llm.eval()


def bounded() -> LlamaForCausalLM:
    llm = made(2)
    llm.model.embed_tokens.max_norm = 0.1
    return llm


def peft(**settings) -> PeftModel:
    return get_peft_model(made(2), PeftLoraConfig(r=2, lora_alpha=2, **settings)).eval()


OTHERS = {
    "LoRA that is not merged": lambda: with_lora(made(2), LORA).eval(),
    "LoRA on embeddings alone": lambda: peft(target_modules=["embed_tokens"]),
    "a trained output layer": lambda: merged(peft(target_modules=["q_proj"], modules_to_save=["lm_head"])),
    "trained embeddings": lambda: merged(peft(target_modules=["q_proj"], modules_to_save=["embed_tokens"])),
    "a trained norm": lambda: merged(peft(target_modules=["q_proj"], modules_to_save=["input_layernorm"])),
    "training": lambda: made(2).train(),
    "a part in training": partly_training,
    "bf16": lambda: made(2).to(torch.bfloat16),
    "a hook": hooked,
    "a forward of its own": replaced,
    "compiled": compiled,
    "eager attention": eager,
    "biases of attention": lambda: made(2, attention_bias=True),
    "biases of feed-forward layers": lambda: made(2, mlp_bias=True),
    "a sliding window": lambda: made(2, sliding_window=4),
    "wide heads": lambda: made(2, head_dim=264),
    "heads of odd width": lambda: made(2, head_dim=6),
    "positions by length": lambda: of_rope("dynamic"),
    "yarn": lambda: of_rope("yarn"),
    "another norm": other_norm,
    "embeddings of bounded norm": bounded,
}


@pytest.mark.parametrize("other", OTHERS)
@torch.inference_mode()
def test_an_llm_whose_step_may_be_another_is_left_to_transformers(other):
    assert found(OTHERS[other]()) is None


@torch.inference_mode()
def test_a_sliding_window_changes_no_answer():
    llm = made(2, sliding_window=4)
    prompt = llm.get_input_embeddings()(torch.arange(1, 10)[None]), torch.ones(1, 9, dtype=torch.long)
    told = {"do_sample": False, "eos_token_id": [98], "pad_token_id": 0, "max_new_tokens": STEPS}
    expected = llm.generate(inputs_embeds=prompt[0], attention_mask=prompt[1], **told)
    assert torch.equal(decode_greedily(llm, *prompt, STEPS, [98], 0), expected)


KINDS = {
    "one row": {"rows": 1},
    "linear positions": {"rope_parameters": {"rope_type": "linear", "rope_theta": 1e4, "factor": 4.0}},
    "positions of Llama 3": {
        "rope_parameters": {
            **{"rope_type": "llama3", "rope_theta": 1e4, "factor": 8.0, "low_freq_factor": 1.0},
            **{"high_freq_factor": 4.0, "original_max_position_embeddings": 8},
        }
    },
    "wider heads": {"head_dim": 32},
    "one key for all": {"n_keys": 1},
    "tied": {"tie_word_embeddings": True},
    "another activation": {"hidden_act": "gelu"},
}


@pytest.mark.parametrize("padded", [True, False])
@pytest.mark.parametrize("kind", KINDS)
@torch.inference_mode()
def test_answers_are_those_of_generate(kind, padded):
    shape = {"n_keys": 2, "rows": N_ROWS} | KINDS[kind]
    rows = shape.pop("rows")
    llm = made(shape.pop("n_keys"), **shape)
    attended = torch.ones(rows, LONGEST, dtype=torch.long)
    attended[0, : 3 * padded] = 0
    ids = torch.randint(1, 97, (rows, LONGEST), generator=torch.Generator().manual_seed(1))
    embedded = llm.get_input_embeddings()(ids)

    def generated(ends):
        told = {"do_sample": False, "eos_token_id": ends, "pad_token_id": 0, "max_new_tokens": STEPS}
        return llm.generate(inputs_embeds=embedded, attention_mask=attended, **told)

    free = generated([98])
    for ends in ([98], free[:, 2].tolist(), free[:, 0].tolist()):  # none ends, some do, all do at once
        assert torch.equal(decode_greedily(llm, embedded, attended, STEPS, ends, 0), generated(ends))
