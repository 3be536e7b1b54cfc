"""The composite model against naive computations: loss, splice, generation, LoRA, what is frozen."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import ADAPTERS, validated
from torch.nn import functional
from transformers import LlamaForCausalLM

from speechllm_bench.models import speech_llm
from speechllm_bench.models.adapters import Adapter, build_adapter, n_parameters
from speechllm_bench.models.inputs import collate, prompt_halves
from speechllm_bench.models.llm import load_llm, load_tokenizer
from speechllm_bench.models.speech_llm import SpeechLLM
from speechllm_bench.settings.config import LoraConfig
from speechllm_bench.settings.profiles import load_profile
from speechllm_bench.storage import paths
from speechllm_bench.storage.schema import Example
from speechllm_bench.zoo.llm_mini import untrained
from speechllm_bench.zoo.recipes import load_recipe

D = 6
EIGHTFOLD = Adapter().out_length  # eight frames a token, as of all the adapters here but one
LORA = LoraConfig(rank=2, alpha=8, dropout=0.0)
EXAMPLES = [
    Example("0", "0", "slots", "agent: hello\ncaller:<|audio|>\nfill in as json: city", '{"city": "paris"}'),
    Example("1", "1", "slots", "caller:<|audio|>\nfill in as json: first name, city", "{}"),
    Example("2", "2", "transcription", "caller:<|audio|>\nwrite it down", "i was charged"),
]
RNG = np.random.default_rng(0)
FRAMES = [RNG.standard_normal((n, D)).astype(np.float16) for n in (21, 5, 40)]


@pytest.fixture(scope="module")
def tokenizer(tiny_backbones):
    return load_tokenizer(str(tiny_backbones / "llm"))


@pytest.fixture
def make(tiny_backbones):
    def model(kind: str = "mlp", lora: LoraConfig | None = None) -> SpeechLLM:
        llm = load_llm(str(tiny_backbones / "llm"), lora)
        torch.manual_seed(3)
        return SpeechLLM(llm, build_adapter(validated(**ADAPTERS[kind]), D, 16)).eval()

    return model


def batch(tokenizer, rows=(0, 1, 2), with_answer=True, speech_tokens=EIGHTFOLD):
    examples, frames = [EXAMPLES[i] for i in rows], [FRAMES[i] for i in rows]
    return collate(tokenizer, examples, frames=frames, speech_tokens=speech_tokens, with_answer=with_answer)


def by_hand(model: SpeechLLM, tokenizer, i: int, with_answer: bool) -> tuple[torch.Tensor, list[int]]:
    """(1, N, E) embeddings of one example by concatenation, and its answer's ids."""
    before, after = prompt_halves(tokenizer, EXAMPLES[i])
    answer = [*tokenizer(EXAMPLES[i].target)["input_ids"], tokenizer.eos_token_id] if with_answer else []
    embed = model.llm.get_input_embeddings()
    frames = torch.from_numpy(FRAMES[i].astype(np.float32))[None]
    speech = model.adapter(frames, torch.tensor([frames.shape[1]]))[0]
    parts = [embed(torch.tensor(before)), speech, embed(torch.tensor([*after, *answer]))]
    return torch.cat(parts)[None], answer


@pytest.mark.parametrize("with_answer", [True, False])
@pytest.mark.parametrize("kind", list(ADAPTERS))
def test_splice_equals_concatenation(make, tokenizer, kind, with_answer):
    model = make(kind)
    inputs = batch(tokenizer, with_answer=with_answer, speech_tokens=model.speech_tokens)
    with torch.no_grad():
        embedded = model.embeddings(inputs)
        for i in range(3):
            theirs, _ = by_hand(model, tokenizer, i, with_answer)
            torch.testing.assert_close(embedded[i][inputs.attended[i]], theirs[0], atol=1e-5, rtol=0)


def naive_loss(model: SpeechLLM, tokenizer, i: int) -> tuple[float, int]:
    """Summed nats and number of target tokens, from full logits of one example without padding."""
    embedded, answer = by_hand(model, tokenizer, i, True)
    logits = model.llm(inputs_embeds=embedded).logits[0]
    nats = -logits.log_softmax(-1)[-len(answer) - 1 : -1].gather(1, torch.tensor(answer)[:, None])
    return nats.sum().item(), len(answer)


@torch.no_grad()
def test_loss_equals_full_logits_of_each_example_alone(make, tokenizer):
    model = make()
    nats, targets = zip(*(naive_loss(model, tokenizer, i) for i in range(3)), strict=True)
    assert max(n / t for n, t in zip(nats, targets, strict=True)) - min(
        n / t for n, t in zip(nats, targets, strict=True)
    ) > 0.01  # fmt: skip
    for i in range(3):
        alone = model.loss(batch(tokenizer, [i])).item()
        assert alone == pytest.approx(nats[i] / targets[i], abs=1e-5)
    # A batch's loss is the mean over target tokens, not over examples.
    assert model.loss(batch(tokenizer)).item() == pytest.approx(sum(nats) / sum(targets), abs=1e-5)


@torch.no_grad()
def test_speech_reaches_the_loss(make, tokenizer):
    model = make()
    one = collate(tokenizer, EXAMPLES[:1], speech_tokens=EIGHTFOLD, frames=FRAMES[:1], with_answer=True)
    other = collate(tokenizer, EXAMPLES[:1], speech_tokens=EIGHTFOLD, frames=[-FRAMES[0]], with_answer=True)
    assert model.loss(one).item() != model.loss(other).item()


@torch.no_grad()
def test_without_an_adapter_it_is_the_text_llm(make, tokenizer):
    llm = make().llm
    inputs = collate(tokenizer, EXAMPLES, transcripts=["to paris", "hello", "um"], with_answer=True)
    logits = llm(input_ids=inputs.tokens, attention_mask=inputs.attended.long()).logits
    labels = inputs.tokens.masked_fill(~inputs.answer, -100)
    theirs = functional.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())
    assert SpeechLLM(llm, None).loss(inputs).item() == pytest.approx(theirs.item(), abs=1e-5)


def test_generation_in_a_batch_equals_one_by_one_and_no_cache(make, tokenizer):
    model, end, pad = make(), tokenizer.eos_token_id, tokenizer.pad_token_id
    together = model.generate(batch(tokenizer, with_answer=False), 12, end, pad).tolist()
    for i in range(3):
        [alone] = model.generate(batch(tokenizer, [i], with_answer=False), 12, end, pad).tolist()
        assert together[i][: len(alone)] == alone
        assert set(together[i][len(alone) :]) <= {pad}
        embedded, _ = by_hand(model, tokenizer, i, False)
        greedy: list[int] = []
        with torch.no_grad():
            while len(greedy) < 12 and end not in greedy:
                greedy.append(int(model.llm(inputs_embeds=embedded).logits[0, -1].argmax()))
                word = model.llm.get_input_embeddings()(torch.tensor([[greedy[-1]]]))
                embedded = torch.cat([embedded, word], dim=1)
        assert alone == greedy
    assert len({tuple(row) for row in together}) > 1  # or nothing was listened to


def nats(model: SpeechLLM, embedded: torch.Tensor, said: list[int]) -> float:
    """A token, of an answer behind a prompt (1, N, E): what beam search keeps low."""
    with torch.no_grad():
        words = model.llm.get_input_embeddings()(torch.tensor([said]))
        logits = model.llm(inputs_embeds=torch.cat([embedded, words], dim=1)).logits[0]
    chosen = logits[embedded.shape[1] - 1 : -1].log_softmax(-1).gather(1, torch.tensor(said)[:, None])
    return -chosen.mean().item()


def test_beams_in_a_batch_are_those_of_each_example_alone_and_likelier_than_greedy(make, tokenizer):
    model, end, pad = make(), tokenizer.eos_token_id, tokenizer.pad_token_id
    prompts = batch(tokenizer, with_answer=False)
    greedy = model.generate(prompts, 6, end, pad).tolist()
    assert model.generate(prompts, 6, end, pad, beams=1).tolist() == greedy
    together = model.generate(prompts, 6, end, pad, beams=5).tolist()
    assert together != greedy
    backwards = model.generate(batch(tokenizer, [2, 1, 0], with_answer=False), 6, end, pad, beams=5).tolist()
    likelier = 0
    for i in range(3):
        [alone] = model.generate(batch(tokenizer, [i], with_answer=False), 6, end, pad, beams=5).tolist()
        for several in (together[i], backwards[2 - i]):
            assert several[: len(alone)] == alone and set(several[len(alone) :]) <= {pad}
        embedded, _ = by_hand(model, tokenizer, i, False)
        searched, taken = (
            nats(model, embedded, ids[: ids.index(end) + 1] if end in ids else ids)
            for ids in (alone, greedy[i])
        )
        assert searched <= taken + 1e-5
        likelier += searched < taken - 1e-5
    assert likelier


def steps(model: SpeechLLM, tokenizer, parts: list[str]) -> tuple[set[str], set[str]]:
    """Three steps of Adam on the parts; names of the parameters that got a gradient, and that changed."""
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    optimizer = torch.optim.Adam(model.trained_parameters(parts).values(), lr=0.01)
    with_gradient: set[str] = set()
    for _ in range(3):
        model.loss(batch(tokenizer)).backward()
        with_gradient |= {n for n, p in model.named_parameters() if p.grad is not None}
        optimizer.step()
        optimizer.zero_grad()
    changed = {n for n, p in model.named_parameters() if not torch.equal(p, before[n])}
    return with_gradient, changed


@pytest.mark.parametrize(("parts", "prefixes"), [
    (["adapter"], {"adapter"}), (["lora"], {"llm"}), (["adapter", "lora"], {"adapter", "llm"}),
])  # fmt: skip
def test_only_the_chosen_parts_learn(make, tokenizer, parts, prefixes):
    model = make(lora=LORA)
    with_gradient, changed = steps(model, tokenizer, parts)
    chosen = set(model.trained_parameters(parts))
    assert chosen == with_gradient == changed
    assert {n.split(".")[0] for n in chosen} == prefixes
    assert all("lora_" in n or n.startswith("adapter.") for n in chosen)


def test_a_frozen_llm_stays_as_it_was_to_the_last_bit(make, tokenizer):
    _, changed = steps(model := make("transformer"), tokenizer, ["adapter"])
    assert changed == {n for n, _ in model.named_parameters() if n.startswith("adapter.")}


@torch.no_grad()
def test_untrained_lora_changes_nothing(make, tokenizer):
    """LoRA starts at zero; the adapter is the same in both."""
    without, with_lora = make(), make(lora=LORA)
    assert with_lora.loss(batch(tokenizer)).item() == pytest.approx(
        without.loss(batch(tokenizer)).item(), abs=1e-6
    )


def test_trained_lora_is_heard_in_generation(make, tokenizer):
    model, end, pad = make(lora=LORA), tokenizer.eos_token_id, tokenizer.pad_token_id
    prompts = batch(tokenizer, with_answer=False)
    before = model.generate(prompts, 8, end, pad).tolist()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0)))
    assert model.generate(prompts, 8, end, pad).tolist() != before


ODD = {
    **{"repetition_penalty": 9.0, "no_repeat_ngram_size": 1, "min_new_tokens": 7, "do_sample": True},
    **{"temperature": 0.1, "top_k": 3, "num_beams": 3, "length_penalty": 5.0, "max_length": 3},
    **{"bad_words_ids": [[5]], "suppress_tokens": [6, 7], "forced_eos_token_id": 4},
}


@pytest.mark.parametrize("lora", [None, LORA])
@pytest.mark.parametrize("beams", [1, 3])
def test_greedy_is_greedy_whatever_the_folder_asks_for(
    make, tokenizer, tiny_backbones, tmp_path, lora, beams
):
    """And beam search is beam search."""
    folder = shutil.copytree(tiny_backbones / "llm", tmp_path / "llm")
    file = folder / "generation_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | ODD))
    plain, odd = make(lora=lora), make(lora=lora)
    odd.llm = load_llm(str(folder), lora)
    prompts, end, pad = batch(tokenizer, with_answer=False), tokenizer.eos_token_id, tokenizer.pad_token_id
    said = [model.generate(prompts, 12, [end], pad, beams).tolist() for model in (plain, odd)]
    assert said[0] == said[1] and any(len(set(row)) < len(row) for row in said[0])  # it does repeat itself
    assert odd.llm.generation_config.eos_token_id == end


def test_a_folder_that_asks_for_it_in_its_configuration_is_not_obeyed_either(
    tiny_backbones, tmp_path, tokenizer
):
    """As folders of older versions of transformers do."""
    folder = shutil.copytree(tiny_backbones / "llm", tmp_path / "llm")
    (folder / "generation_config.json").unlink()
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"repetition_penalty": 9.0, "min_length": 30}))
    prompts = collate(tokenizer, EXAMPLES, transcripts=["x"] * 3, with_answer=False)
    ends = [tokenizer.eos_token_id], tokenizer.pad_token_id
    said = [
        SpeechLLM(load_llm(str(name)), None).generate(prompts, 12, *ends).tolist()
        for name in (tiny_backbones / "llm", folder)
    ]
    assert said[0] == said[1]


def test_a_row_ends_at_the_first_of_several_end_tokens(make, tokenizer):
    model, pad = make(), tokenizer.pad_token_id
    prompts = batch(tokenizer, with_answer=False)
    free = model.generate(prompts, 8, tokenizer.eos_token_id, pad).tolist()
    other = free[0][2]
    cut = model.generate(prompts, 8, [tokenizer.eos_token_id, other], pad).tolist()
    for row, whole in zip(cut, free, strict=True):
        n = whole.index(other) + 1 if other in whole else len(whole)
        assert row[:n] == whole[:n] and set(row[n:]) <= {pad}


@pytest.mark.parametrize("profile", ["smoke", "mini"])
def test_lora_trains_two_to_five_percent_of_the_zoos_llm(profile, tmp_path):
    """Protocol, rule 7, and alpha / rank = 4; on all linear layers (2510.15851, section 3.1)."""
    recipe = load_recipe("llm-mini")

    class Sizes:
        eos_token_id, pad_token_id = 1, 0

        def __len__(self):
            return recipe.vocabulary

    llm = untrained(recipe, Sizes())
    assert isinstance(llm, LlamaForCausalLM)
    llm.save_pretrained(tmp_path)
    lora = load_profile(paths.EXPERIMENTS / "profiles" / f"{profile}.yaml").lora
    model = SpeechLLM(load_llm(str(tmp_path), lora), None)
    trained = model.trained_parameters(["lora"])
    share = sum(p.numel() for p in trained.values()) / n_parameters(llm)
    assert 0.02 <= share <= 0.05
    assert lora.alpha / lora.rank == 4
    layers = {n.split(".lora_")[0].split(".")[-1] for n in trained}
    assert layers == {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}


def test_what_all_prompts_begin_with_is_computed_once_with_the_same_loss_and_gradients(
    make, tokenizer, monkeypatch
):
    model = make(lora=LORA)
    learning = model.trained_parameters(["adapter", "lora"])
    with torch.no_grad():
        for name, parameter in learning.items():
            if "lora_B" in name:  # zero at first, and with it the gradient of lora_A
                parameter.normal_(std=0.1)
    head = "You extract what a caller says from a phone call, word for word."
    alike = [replace(e, prompt=f"{head}\n{e.prompt}") for e in EXAMPLES]
    given = {"frames": FRAMES, "speech_tokens": EIGHTFOLD, "with_answer": True}
    asked = collate(tokenizer, alike, **given)
    n_shared = len(tokenizer(head)["input_ids"])
    assert n_shared <= speech_llm.shared_positions(asked) <= n_shared + 3
    assert speech_llm.shared_positions(collate(tokenizer, alike[:1], **dict(given, frames=FRAMES[:1]))) == 0
    found, read = [], []
    layer = model.llm.get_base_model().model.layers[0]
    layer.mlp.register_forward_hook(lambda _, inputs, out: read.append(inputs[0].shape[:2].numel()))
    for shortest in (10**6, 4):
        monkeypatch.setattr(speech_llm, "SHORTEST_SHARED", shortest)
        read.clear()
        loss = model.loss(asked)
        loss.backward()
        gradients = {name: p.grad.clone() for name, p in learning.items()}
        found.append((sum(read), loss.item(), gradients))
        model.zero_grad()
    assert found[0][0] - found[1][0] == 2 * speech_llm.shared_positions(asked)  # of three examples
    assert found[0][1] == pytest.approx(found[1][1], rel=1e-6)
    for name, gradient in found[0][2].items():
        assert gradient.abs().sum() > 0
        torch.testing.assert_close(found[1][2][name], gradient, msg=name)


def test_activations_computed_again_give_the_same_gradients_and_the_same_answers(make, tokenizer):
    model, gradients = make(lora=LoraConfig(rank=2, alpha=8, dropout=0.5)), []
    prompts, forwards = batch(tokenizer, with_answer=False), []
    layer = model.llm.get_base_model().model.layers[0]
    layer.self_attn.register_forward_hook(lambda *_: forwards.append(1))
    answers = model.generate(prompts, 4, tokenizer.eos_token_id, tokenizer.pad_token_id)
    learning = model.trained_parameters(["adapter", "lora"])
    for n_forwards in (1, 2):
        forwards.clear()
        torch.manual_seed(0)  # dropout is the same again too
        model.train()
        model.loss(batch(tokenizer)).backward()
        assert len(forwards) == n_forwards
        gradients.append({name: p.grad.clone() for name, p in learning.items()})
        model.zero_grad()
        assert model.recompute_activations() == (n_forwards == 1)
    assert any(g.abs().sum() > 0 for g in gradients[0].values())
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, msg=name)
    model.eval()
    again = model.generate(prompts, 4, tokenizer.eos_token_id, tokenizer.pad_token_id)
    assert torch.equal(again, answers)
