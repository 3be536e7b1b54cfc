from __future__ import annotations

import pytest
import torch

from speechllm_bench import cli
from speechllm_bench.data.testable import untestable
from speechllm_bench.errors import UserError
from speechllm_bench.models import four_bit, pretrained
from speechllm_bench.planning import identity
from speechllm_bench.planning.estimate import gpu_gib
from speechllm_bench.planning.studies import load, profile_named
from speechllm_bench.settings.experiments import resolve


def config(variant="mlp", study="adapter_size", **settings):
    found, _ = load(study, "smoke")
    profile = profile_named("smoke").with_settings(settings) if settings else profile_named("smoke")
    return resolve(profile, found.variant(variant), 0)


def test_without_a_cuda_gpu_it_is_refused_in_one_sentence(suite, monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match="needs a CUDA GPU, and there is none here"):
        four_bit.packing()
    assert cli.main(["run", "adapter_size", "mlp", "--set", "precision=nf4"]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1 and "needs a CUDA GPU" in told


def test_without_its_package_it_is_refused_in_one_sentence(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(four_bit.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"`pip install 'speechllm-bench\[bitsandbytes\]'`"):
        four_bit.packing()


def test_an_llm_is_loaded_in_nf4_and_computes_in_bf16(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(four_bit.importlib.util, "find_spec", lambda name: True)
    told, model = {}, torch.nn.Linear(1, 1)

    class Kind:
        @staticmethod
        def from_pretrained(name, **settings):
            told.update(settings)
            return model, {"missing_keys": [], "unexpected_keys": [], "mismatched_keys": []}

    monkeypatch.setattr(pretrained.backbones, "refuse_changed", lambda name: None)
    assert pretrained.load_pretrained(Kind, "an/llm", "nf4") is model
    quantized = told["quantization_config"]
    assert quantized.load_in_4bit and quantized.bnb_4bit_quant_type == "nf4"
    assert quantized.bnb_4bit_compute_dtype == torch.bfloat16 and told["dtype"] == "bfloat16"
    assert told["device_map"] == {"": 0}


def test_it_is_another_run_that_takes_less_memory(suite, monkeypatch):
    monkeypatch.setattr(identity, "n_stored", lambda name: 10**9)
    plain, packed = config(precision="bf16"), config(precision="nf4")
    assert identity.run_digest(plain) != identity.run_digest(packed)
    assert identity.stage_digest(plain, 0) != identity.stage_digest(packed, 0)
    assert gpu_gib(packed) < gpu_gib(plain)


def test_an_audio_llm_is_left_out(suite):
    packed = config().model_copy(update={"precision": "nf4", "audio_llm": "an/audio-llm"})
    assert "keeps text LLMs in 4 bits" in untestable(packed)
    assert untestable(config()) is None
