"""LLMs that scale their logits, or are built otherwise: their loss is right, or they are refused."""

from __future__ import annotations

import pytest
import torch
import transformers
from peft.tuners.lora import LoraLayer

from speechllm_bench.errors import UserError
from speechllm_bench.models.inputs import Batch
from speechllm_bench.models.llm import with_lora
from speechllm_bench.models.speech_llm import SpeechLLM
from speechllm_bench.settings.config import LoraConfig
from speechllm_bench.training import stages

SIZES = {
    "vocab_size": 40, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
    "num_key_value_heads": 1, "intermediate_size": 32,
    "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
HEADS = {"head_dim": 8}
MAMBA = {"mamba_d_ssm": 32, "mamba_n_heads": 4, "mamba_d_head": 8, "mamba_d_state": 8, "mamba_n_groups": 1}
EXPERTS = {"num_local_experts": 2, "num_experts_per_tok": 1}
TRAINED = {
    "Llama": {},
    "Qwen2": {},
    "Qwen3": HEADS,
    "Gemma2": HEADS | {"final_logit_softcapping": 2.0, "initializer_range": 0.5},
    "Phi3": {},
    "Granite": {"logits_scaling": 8.0},
    "Cohere2": {"logit_scale": 0.0625},
    "FalconH1": {"lm_head_multiplier": 0.04} | MAMBA,
}


def untrained(name: str, **further):
    torch.manual_seed(0)
    config = getattr(transformers, f"{name}Config")(**SIZES, **further)
    return getattr(transformers, f"{name}ForCausalLM")(config).eval()


@pytest.mark.parametrize("name", TRAINED)
def test_answer_logits_are_those_of_the_llms_own_forward(name):
    llm = untrained(name, **TRAINED[name])
    tokens = torch.randint(3, 40, (2, 9))
    answer = torch.zeros_like(tokens, dtype=torch.bool)
    answer[:, 6:] = True
    batch = Batch(tokens, torch.ones_like(answer), torch.zeros_like(answer), answer, None, None)
    model = SpeechLLM(llm, None)
    model.refuse_other_logits("it")
    with torch.no_grad():
        theirs = llm(input_ids=tokens).logits[:, 5:-1].flatten(0, 1)
        torch.testing.assert_close(model.answer_logits(batch), theirs, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("autocast", [False, True])
def test_rounding_to_bf16_is_not_another_scale(dtype, autocast):
    llm = untrained("Qwen2").to(dtype)
    SpeechLLM(llm, None, bf16=autocast).refuse_other_logits("it")


@pytest.mark.parametrize(
    ("name", "further", "why"),
    [
        ("HyperCLOVAX", {"logits_scaling": 0.5}, "its logits are not those of its `lm_head`"),  # multiplies
        ("GPTNeoX", {}, "it lacks `model` or `lm_head`"),
        ("Mixtral", EXPERTS, "its layers have another form"),
    ],
)
def test_an_llm_whose_loss_would_be_wrong_is_refused(name, further, why):
    if not hasattr(transformers, f"{name}Config"):
        pytest.skip(f"this release of transformers has no {name}")
    with pytest.raises(UserError, match=f"^some/llm is a {name}ForCausalLM, which cannot be trained .*{why}"):
        SpeechLLM(untrained(name, **further), None).refuse_other_logits("some/llm")


def test_a_gpt2_is_refused_before_anything_is_trained(tiny_run, monkeypatch):
    config = transformers.GPT2Config(vocab_size=40, n_embd=16, n_layer=1, n_head=2)
    other = transformers.GPT2LMHeadModel(config).eval()
    monkeypatch.setattr(stages, "load_llm", lambda *_: other)
    run = tiny_run()
    with pytest.raises(UserError, match=f"^{run.llm} is a GPT2LMHeadModel, .* lacks `model` or `lm_head`"):
        stages.build_model(run, 16)


def test_the_comparison_draws_no_random_numbers_and_leaves_lora_on():
    llm = with_lora(untrained("Llama"), LoraConfig(rank=2, alpha=8, dropout=0.5))
    model = SpeechLLM(llm, None).train()
    trained = {name for name, part in model.named_parameters() if part.requires_grad}
    before = torch.get_rng_state()
    model.refuse_other_logits("it")
    assert torch.equal(before, torch.get_rng_state()) and model.training
    assert trained == {name for name, part in model.named_parameters() if part.requires_grad}
    assert not any(part.disable_adapters for part in model.modules() if isinstance(part, LoraLayer))
