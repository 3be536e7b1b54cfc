"""An audio LLM of the real class, taken apart: its own numbers at 30 s, from frames computed once."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch
from transformers import AutoProcessor, GenerationConfig

from speechllm_bench.errors import UserError
from speechllm_bench.models import audio_llm
from speechllm_bench.models.chat import answer_ends
from speechllm_bench.models.decoding import decode
from speechllm_bench.models.inputs import collate, prompt_halves
from speechllm_bench.models.llm import load_tokenizer, with_lora
from speechllm_bench.models.speech_llm import SpeechLLM
from speechllm_bench.settings.config import LoraConfig
from speechllm_bench.storage.schema import Example, Utterance

PROMPT = "agent: hello\ncaller:<|audio|>\nfill in as json: city"
EXAMPLE = Example("0", "0", "slots", PROMPT, '{"city": "paris"}')


def sound(n_samples: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    tone = np.sin(np.arange(n_samples) * 2 * np.pi * 440 / 16_000)
    return (0.1 * tone + 0.02 * rng.standard_normal(n_samples)).astype(np.float32)


@pytest.fixture(scope="module")
def name(tiny_backbones) -> str:
    return str(tiny_backbones / "audio_llm")


@pytest.fixture(scope="module")
def tokenizer(name):
    return load_tokenizer(name)


@pytest.fixture
def model(name) -> SpeechLLM:
    return SpeechLLM(*audio_llm.language_parts(audio_llm.load_audio_llm(name))).eval()


def frames_of(name: str, audio: list[np.ndarray]) -> list[np.ndarray]:
    found = dict(audio_llm.encode(audio_llm.load_tower(name), audio))
    return [found[i] for i in range(len(audio))]


def batch(tokenizer, model, frames, with_answer: bool):
    return collate(
        tokenizer, [EXAMPLE] * len(frames), frames=frames, speech_tokens=model.speech_tokens,
        with_answer=with_answer,
    )  # fmt: skip


@pytest.mark.parametrize("n_samples", [16_000, 20_480, 50_123, 400_000, 480_000])  # up to 25 s and 30 s
@torch.no_grad()
def test_cached_frames_give_the_logits_of_the_models_own_forward(name, tokenizer, model, n_samples):
    """Against transformers' processor and the whole model, which pads to 30 s and masks the silence."""
    audio, processor = sound(n_samples), AutoProcessor.from_pretrained(name)
    text = processor.tokenizer.apply_chat_template(
        [{"role": "user", "content": PROMPT}], add_generation_prompt=True, tokenize=False
    )
    text = text.replace("<|audio|>", "<|audio_bos|><|AUDIO|><|audio_eos|>") + EXAMPLE.target
    inputs = processor(text=text, audio=[audio], sampling_rate=16_000, return_tensors="pt")
    whole, heard = audio_llm.load_audio_llm(name), []
    whole.model.multi_modal_projector.register_forward_pre_hook(lambda _, inputs: heard.append(inputs[0]))
    theirs = whole(**inputs).logits[0]

    frames = frames_of(name, [audio])
    np.testing.assert_allclose(frames[0], heard[0][0, : len(frames[0])], atol=3e-3)  # kept in fp16
    ours = batch(tokenizer, model, frames, with_answer=True)
    assert int(ours.speech.sum()) == audio_llm.tower_frames(n_samples) == (-(-n_samples // 320)) // 2
    assert ours.tokens.shape[1] == len(theirs) + 1  # and the end token
    logits = model.llm(inputs_embeds=model.embeddings(ours), attention_mask=ours.attended.long()).logits[0]
    assert (logits[:-1] - theirs).abs().mean() < 0.005 * theirs.std()


def test_company_in_a_batch_does_not_change_frames(name):
    audio = [sound(n, seed=n) for n in (9_000, 30_000, 10_000, 5_000, 30_400, 9_100)]
    for samples, together in zip(audio, frames_of(name, audio), strict=True):
        np.testing.assert_allclose(together, frames_of(name, [samples])[0], atol=2e-3)
    assert np.abs(frames_of(name, [audio[0]])[0] - frames_of(name, [audio[5]])[0][:14]).max() > 0.1


def test_the_tower_is_read_alone_and_is_the_whole_models(name, tmp_path, monkeypatch):
    whole = audio_llm.load_audio_llm(name).model.audio_tower
    monkeypatch.setattr(audio_llm, "load_audio_llm", lambda *_: pytest.fail("the whole model is loaded"))
    tower = audio_llm.load_tower(name)
    assert tower.state_dict().keys() == whole.state_dict().keys()
    assert all(torch.equal(tower.state_dict()[key], kept) for key, kept in whole.state_dict().items())
    assert {p.dtype for p in tower.parameters()} == {torch.float32} and not tower.training
    assert not any(p.requires_grad for p in tower.parameters())
    assert tower.config._attn_implementation == whole.config._attn_implementation
    folder = shutil.copytree(name, tmp_path / "audio_llm")
    weights = folder / "model.safetensors"
    key = b"audio_tower.layers.0.self_attn.q_proj.weight"
    assert key in weights.read_bytes()
    weights.write_bytes(weights.read_bytes().replace(key, key.replace(b"q_proj", b"q_prok"), 1))
    with pytest.raises(
        UserError, match=r"not those of its config\.json, such as layers\.0\.self_attn\.q_pro"
    ):
        audio_llm.load_tower(str(folder))


def test_more_than_30_s_is_refused(name):
    with pytest.raises(UserError, match=r"30\.1 s is longer than Whisper's 30 s"):
        frames_of(name, [sound(481_600)])


def test_speech_stands_between_the_models_own_marks_and_text_does_not(tokenizer, model):
    begin, end = tokenizer.convert_tokens_to_ids(["<|audio_bos|>", "<|audio_eos|>"])
    before, after = prompt_halves(tokenizer, EXAMPLE)
    assert (before[-1], after[0]) == (begin, end)
    read = collate(tokenizer, [EXAMPLE], transcripts=["to paris"], with_answer=True)
    assert not {begin, end} & set(read.tokens[0].tolist())


def test_of_the_folders_generation_settings_the_end_tokens_alone_are_taken_over(name, tokenizer):
    """Qwen2-Audio's name two, the end of a turn beside the end of a text, and ask for sampling."""
    whole = audio_llm.load_audio_llm(name)
    odd = {"eos_token_id": [1, 7], "repetition_penalty": 5.0, "do_sample": True, "top_p": 0.5}
    whole.generation_config = GenerationConfig(**odd)
    llm, _ = audio_llm.language_parts(whole)
    assert llm.generation_config == GenerationConfig(eos_token_id=[1, 7])
    assert answer_ends(tokenizer, llm) == sorted({1, 7, tokenizer.eos_token_id})


def test_it_answers_in_batches_as_alone_and_listens(name, tokenizer, model):
    utterance = Utterance("0", "A-test", "", 0, "", "", "", "to paris", (), (), "", (), "someone")
    frames = frames_of(name, [sound(400_000), sound(24_000, seed=1), sound(40_000, seed=2)])

    def said(some: list[np.ndarray]) -> list[str]:
        settings = {"batch_size": 2, "max_new_tokens": 8}
        n = len(some)
        answers = decode(model, tokenizer, [EXAMPLE] * n, [utterance] * n, frames=some, **settings)
        return [answer.raw for answer in answers]

    assert said(frames) == [said([one])[0] for one in frames]
    assert len(set(said(frames))) > 1


def test_lora_alone_learns_and_neither_tower_nor_projector_has_any(name, tokenizer):
    llm, projector = audio_llm.language_parts(audio_llm.load_audio_llm(name))
    model = SpeechLLM(with_lora(llm, LoraConfig(rank=2, alpha=8, dropout=0.0)), projector)
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    learning = model.trained_parameters(["lora"])
    assert learning and all("lora_" in n and n.startswith("llm.") for n in learning)
    layers = {n.split(".lora_")[0].split(".")[-1] for n in learning}
    assert layers == {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}
    optimizer = torch.optim.Adam(learning.values(), lr=0.01)
    examples = batch(tokenizer, model, frames_of(name, [sound(20_000), sound(9_000)]), with_answer=True)
    for _ in range(3):
        model.loss(examples).backward()
        optimizer.step()
        optimizer.zero_grad()
    assert {n for n, p in model.named_parameters() if not torch.equal(p, before[n])} == set(learning)
