"""The CTC head: scores, loss and greedy paths by hand, and what an adapter makes audible."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import nn

from speechllm_bench.models import ctc
from speechllm_bench.models.adapters import Adapter
from speechllm_bench.models.speech_llm import SpeechLLM


@pytest.fixture
def embeddings():
    torch.manual_seed(0)
    return torch.randn(7, 4)


def test_scores_are_scaled_cosines_the_blanks_first(embeddings):
    head = ctc.CtcHead(embeddings, {5, 2})
    speech = torch.randn(2, 3, 4)
    scores = head(speech)
    assert head.tokens == [2, 5] and head.places == {2: 1, 5: 2} and scores.shape == (2, 3, 3)
    for place, against in enumerate((head.blank, embeddings[2], embeddings[5])):
        cosine = nn.functional.cosine_similarity(speech, against.detach(), dim=-1)
        torch.testing.assert_close(scores[..., place], cosine * math.exp(2.5))
    torch.testing.assert_close(head(7 * speech), scores)  # only directions count


def test_only_the_blank_and_the_scale_learn(embeddings):
    embeddings.requires_grad_()
    head = ctc.CtcHead(embeddings, [1, 2])
    head(torch.randn(1, 2, 4)).pow(2).sum().backward()
    assert {name for name, _ in head.named_parameters()} == {"blank", "log_scale"}
    assert head.blank.grad.abs().sum() > 0 and head.log_scale.grad.abs() > 0 and embeddings.grad is None


def by_hand(probabilities: torch.Tensor, target: list[int]) -> float:
    """Minus the log of the summed probability of all paths that collapse to the target."""
    length, n_places = probabilities.shape
    total = 0.0
    for path in itertools.product(range(n_places), repeat=length):
        said = [place for place, _ in itertools.groupby(path) if place != 0]
        if said == target:
            total += math.prod(probabilities[i, place].item() for i, place in enumerate(path))
    return -math.log(total)


def test_the_loss_sums_over_all_paths_and_is_a_mean_over_target_tokens():
    torch.manual_seed(1)
    scores, targets = torch.randn(3, 4, 3), [[1, 2], [2], [1, 1]]
    lengths = torch.tensor([4, 2, 3])
    nats = [by_hand(s[:n].softmax(-1), t) for s, n, t in zip(scores, lengths, targets, strict=True)]
    assert ctc.loss(scores, lengths, targets).item() == pytest.approx(sum(nats) / 5, rel=1e-5)
    flat = torch.tensor([1, 2, 2, 1, 1])
    of_torch = nn.functional.ctc_loss(
        scores.log_softmax(-1).transpose(0, 1), flat, lengths, torch.tensor([2, 1, 2]), reduction="none"
    )
    assert of_torch.tolist() == pytest.approx(nats, rel=1e-5)


def test_an_utterance_that_is_too_short_counts_for_nothing():
    torch.manual_seed(1)
    scores = torch.randn(2, 3, 4, requires_grad=True)
    lengths = torch.tensor([3, 2])
    assert ctc.positions_needed([1, 1, 3]) == 4 and ctc.positions_needed([1, 2, 1]) == 3
    both = ctc.loss(scores, lengths, [[1, 2], [3, 3]])  # two alike need a blank between them: three
    assert both.item() == pytest.approx(ctc.loss(scores[:1], lengths[:1], [[1, 2]]).item())
    both.backward()
    assert scores.grad[0].abs().sum() > 0 and scores.grad[1].abs().sum() == 0
    none = ctc.loss(scores, lengths, [[1, 1, 2], [3, 3]])
    none.backward()
    assert none.item() == 0 and scores.grad.isfinite().all()


def test_greedy_takes_out_repetitions_then_blanks():
    paths = torch.tensor([[0, 3, 3, 0, 3, 1], [2, 2, 0, 0, 0, 4], [0, 0, 0, 0, 0, 0]])
    scores = nn.functional.one_hot(paths, 5).float()
    assert ctc.best_path(scores, torch.tensor([6, 5, 6])) == [[3, 3, 1], [2], []]


class Spelled(Adapter):
    """Each stack of eight frames says the token that its first value names."""

    def __init__(self, embeddings):
        super().__init__()
        self.embeddings = nn.Parameter(embeddings)

    def forward(self, frames, lengths):
        return self.embeddings[frames[:, ::8, 0].long()]


def test_what_an_adapter_makes_audible_is_decoded_by_the_llms_tokenizer(tiny_backbones):
    from speechllm_bench.models.llm import load_llm, load_tokenizer

    name = str(tiny_backbones / "llm")
    llm, tokenizer = load_llm(name), load_tokenizer(name)
    embeddings = llm.get_input_embeddings().weight
    said = ["i was charged", "at the café"]
    ids = [ctc.token_ids(tokenizer, text) for text in said]
    assert ids[0] == tokenizer(" i was charged", add_special_tokens=False)["input_ids"]
    head = ctc.CtcHead(embeddings, {i for tokens in ids for i in tokens})
    model = SpeechLLM(llm, Spelled(embeddings.detach().float())).train()
    frames = [torch.tensor(tokens).repeat_interleave(8)[:, None].half().numpy() for tokens in ids]
    assert ctc.transcribe(model, head, tokenizer, frames, batch_size=1) == said
    assert ctc.transcribe(model, head, tokenizer, frames, batch_size=2) == said
    assert model.training
