"""vLLM as the engine of an evaluation, by a stand-in with vLLM's interface: no GPU, and no package."""

from __future__ import annotations

import importlib.machinery
import sys
import weakref
from types import ModuleType, SimpleNamespace

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from speechllm_bench import cli
from speechllm_bench.data import questions
from speechllm_bench.data.testable import untestable
from speechllm_bench.errors import UserError
from speechllm_bench.models import vllm_engine
from speechllm_bench.models.decoding import decode
from speechllm_bench.planning import identity
from speechllm_bench.planning.studies import load, profile_named
from speechllm_bench.running import evaluating, jobs
from speechllm_bench.settings.config import LoraConfig
from speechllm_bench.settings.experiments import resolve
from speechllm_bench.storage import paths, runs
from speechllm_bench.training import stages


class LLM:
    """Greedy search from prompt embeddings, one prompt at a time, by transformers."""

    def __init__(self, model, *, dtype, enable_prompt_embeds, max_model_len, gpu_memory_utilization):
        assert enable_prompt_embeds and 0 < gpu_memory_utilization < 1
        self.llm = AutoModelForCausalLM.from_pretrained(model, dtype=dtype).eval()
        self.max_model_len = max_model_len
        AutoTokenizer.from_pretrained(model)

    @torch.inference_mode()
    def generate(self, prompts, sampling_params, *, use_tqdm):
        return [self.answer(prompt["prompt_embeds"], sampling_params) for prompt in prompts]

    def answer(self, embedded, wanted):
        assert embedded.ndim == 2 and len(embedded) + wanted.max_tokens <= self.max_model_len
        read, cache, said = {"inputs_embeds": embedded[None]}, None, []
        while len(said) < wanted.max_tokens and not set(said) & set(wanted.stop_token_ids):
            found = self.llm(**read, past_key_values=cache, use_cache=True)
            said.append(int(found.logits[0, -1].argmax()))
            read, cache = {"input_ids": torch.tensor([said[-1:]])}, found.past_key_values
        return SimpleNamespace(outputs=[SimpleNamespace(token_ids=tuple(said))])


class SamplingParams:
    def __init__(self, temperature, max_tokens, stop_token_ids, detokenize):
        assert temperature == 0 and stop_token_ids and not detokenize
        self.max_tokens, self.stop_token_ids = max_tokens, stop_token_ids


@pytest.fixture
def vllm(monkeypatch):
    """The package `vllm` and a GPU, as far as the engine asks for them."""
    module = ModuleType("vllm")
    module.__spec__ = importlib.machinery.ModuleSpec("vllm", None)
    module.LLM, module.SamplingParams = LLM, SamplingParams
    monkeypatch.setitem(sys.modules, "vllm", module)
    monkeypatch.setattr(vllm_engine, "refuse_unfit", lambda: None)
    monkeypatch.setattr(vllm_engine, "memory_share", lambda: 0.5)
    monkeypatch.setattr(evaluating, "version", lambda name: "1.2.3")
    return module


@pytest.fixture
def asked(tiny_run, tiny_data, monkeypatch):
    """A model with LoRA that changes its answers, its tokenizer and seven questions."""
    config = tiny_run(lora=LoraConfig(rank=2, alpha=8, dropout=0.0))
    model, tokenizer = stages.build_model(config, tiny_data.frames.dim)
    rng = torch.Generator().manual_seed(0)
    for name, weight in model.named_parameters():
        if "lora_" in name:
            weight.data = 0.3 * torch.randn(weight.shape, generator=rng)
    turns = tiny_data.train[:7]
    examples = [questions.evaluation_example(u, tiny_data.slot_types, "slots") for u in turns]
    monkeypatch.setattr(vllm_engine, "CHUNK", 3)
    monkeypatch.setattr(vllm_engine, "COMPARED", 4)
    return model, tokenizer, examples, turns


@pytest.mark.parametrize("kind", ["frames", "transcripts"])
def test_it_says_what_the_suite_s_own_decoding_says(vllm, asked, tiny_data, kind):
    model, tokenizer, examples, turns = asked
    heard = {"frames": [tiny_data.frames[u.id] for u in turns], "transcripts": [u.transcript for u in turns]}
    given = {"frames": None, "transcripts": None, kind: heard[kind]}
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    shares = []
    settings = {"batch_size": 2, "max_new_tokens": 12}
    said, agreement = vllm_engine.decode_by_vllm(
        model.train(), tokenizer, examples, turns, **given, **settings, progress=shares.append
    )
    assert said == decode(model, tokenizer, examples, turns, **given, **settings)
    with model.llm.disable_adapter():
        assert said != decode(model, tokenizer, examples, turns, **given, **settings)
    assert len({a.raw for a in said}) > 1
    assert agreement == 1 and shares == [3 / 7, 6 / 7, 1]
    assert model.training and all(torch.equal(w, before[name]) for name, w in model.state_dict().items())
    assert not any(p.name.startswith(".llm") for p in (paths.cache() / "vllm").iterdir())


def test_the_share_of_equal_answers_is_of_the_first_ones(vllm, asked, monkeypatch):
    model, tokenizer, examples, turns = asked
    answer = LLM.answer
    told = []

    def third_differs(self, *asked):
        told.append(answer(self, *asked))
        if len(told) in (3, 7):
            told[-1].outputs[0].token_ids = tokenizer("other")["input_ids"]
        return told[-1]

    monkeypatch.setattr(LLM, "answer", third_differs)
    texts = [u.transcript for u in turns]
    said, agreement = vllm_engine.decode_by_vllm(
        model, tokenizer, examples, turns, transcripts=texts, batch_size=2, max_new_tokens=12
    )
    assert agreement == 0.75 and said[2].raw == said[6].raw == "other"


def test_an_engine_that_fails_is_gone_before_the_model_is_back(vllm, asked, monkeypatch):
    model, tokenizer, examples, turns = asked
    engines, there = [], []

    def fails(self, *asked, use_tqdm):
        engines.append(weakref.ref(self))
        try:
            raise ValueError("out of blocks")
        except ValueError as error:
            raise RuntimeError("the engine is dead") from error

    back = type(model).to

    def to(self, place):
        there.append(bool(engines) and engines[0]() is not None)
        return back(self, place)

    monkeypatch.setattr(LLM, "generate", fails)
    monkeypatch.setattr(type(model), "to", to)
    texts = [u.transcript for u in turns]
    with pytest.raises(RuntimeError, match="the engine is dead"):
        vllm_engine.decode_by_vllm(
            model.train(), tokenizer, examples, turns, transcripts=texts, batch_size=2, max_new_tokens=12
        )
    assert engines and there == [False, False] and model.training


def test_a_run_says_which_engine_answered_and_how_often_alike(vllm, tiny_run, tiny_data):
    untuned = tiny_run().model_copy(update={"adapter": None, "stages": []})
    changed = untuned.evaluation.model_copy(update={"engine": "vllm"})
    by_vllm = untuned.model_copy(update={"evaluation": changed})
    plain, other = (runs.read_json(jobs.execute(c, "by_vllm", lambda *_: None) / "run.json")
                    for c in (untuned, by_vllm))  # fmt: skip
    assert other["engine"] == "vllm 1.2.3" and other["engine_agreement"] == 1.0
    assert other["config"]["evaluation"]["engine"] == "vllm" and other["digest"] != plain["digest"]
    assert "engine" not in plain and "engine" not in plain["config"]["evaluation"]


def config(**settings):
    study, _ = load("adapter_size", "smoke")
    profile = profile_named("smoke").with_settings(settings) if settings else profile_named("smoke")
    return resolve(profile, study.variant("mlp"), 0)


def test_it_is_another_run_of_the_same_stages(suite):
    plain, null = config(), config(**{"decoding.engine": None})
    by_vllm = config(**{"decoding.engine": "vllm"})
    assert identity.run_digest(plain) == identity.run_digest(null) != identity.run_digest(by_vllm)
    assert identity.stage_digest(plain, 0) == identity.stage_digest(by_vllm, 0)
    assert "engine" not in plain.as_stored()["evaluation"]


def test_beams_and_four_bits_are_left_out(suite):
    assert untestable(config(**{"decoding.engine": "vllm"})) is None
    five = config(**{"decoding.engine": "vllm", "decoding.beams": 5})
    assert "decodes greedily, and the run has 5 beams" in untestable(five)
    packed = config(**{"decoding.engine": "vllm", "precision": "nf4"})
    assert "precision nf4 keeps 4 bits" in untestable(packed)


def test_without_a_gpu_or_the_package_it_is_refused_in_one_sentence(suite, monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert cli.main(["run", "adapter_size", "mlp", "--set", "decoding.engine=vllm"]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1 and "decoding.engine vllm needs a CUDA GPU" in told
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(vllm_engine.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"`pip install 'speechllm-bench\[vllm\]'`"):
        vllm_engine.refuse_unfit()
