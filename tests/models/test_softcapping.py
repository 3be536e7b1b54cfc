"""Gemma 2 draws its logits towards a bound: what is learned has to be what its own forward would say."""

from __future__ import annotations

import torch
from transformers import Gemma2Config, Gemma2ForCausalLM

from speechllm_bench.models.inputs import Batch
from speechllm_bench.models.speech_llm import SpeechLLM


def test_answers_logits_are_those_of_the_llms_own_forward():
    torch.manual_seed(0)
    config = Gemma2Config(
        vocab_size=40, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1,
        intermediate_size=32, head_dim=8, query_pre_attn_scalar=8, final_logit_softcapping=2.0,
        initializer_range=0.5, pad_token_id=0,
    )  # fmt: skip
    llm = Gemma2ForCausalLM(config).eval()
    tokens = torch.randint(1, 40, (2, 9))
    answer = torch.zeros_like(tokens, dtype=torch.bool)
    answer[:, 6:] = True
    nothing = torch.zeros_like(answer)
    batch = Batch(tokens, torch.ones_like(answer), nothing, answer, None, None)
    with torch.no_grad():
        mine = SpeechLLM(llm, None).answer_logits(batch)
        theirs = llm(input_ids=tokens).logits[:, 5:-1].flatten(0, 1)
    assert mine.abs().max() <= 2.0
    torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=1e-5)
