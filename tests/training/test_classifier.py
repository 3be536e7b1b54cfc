"""The classifier beside the LLM: a label each, whatever the lengths, and no influence of padding."""

from __future__ import annotations

import torch

from speechllm_bench.training.regulariser import Classifier


def build(n_labels: int = 4) -> Classifier:
    torch.manual_seed(1)
    return Classifier(n_labels)


def test_padding_changes_nothing():
    classifier, lengths = build(), torch.tensor([1, 2, 7, 16, 23])
    speech = torch.randn(5, 23, 12)  # not zero beyond the ends: an adapter's biases are there too
    together = classifier(speech, lengths)
    assert together.shape == (5, 4)
    for row, n in enumerate(lengths.tolist()):
        alone = classifier(speech[row : row + 1, :n], lengths[row : row + 1])
        torch.testing.assert_close(together[row : row + 1], alone, atol=1e-6, rtol=1e-5)


def test_every_parameter_and_every_position_counts():
    classifier, speech = build(), torch.randn(2, 9, 12, requires_grad=True)
    classifier(speech, torch.tensor([9, 5])).pow(2).sum().backward()
    assert all(p.grad.abs().sum() > 0 for p in classifier.parameters())
    heard = speech.grad.abs().sum(-1) > 0
    assert heard[0].all() and heard[1].tolist() == [True] * 5 + [False] * 4


def test_three_two_dimensional_convolutions():
    """2509.04473, method."""
    layers = [m for m in build().modules() if isinstance(m, torch.nn.Conv2d)]
    assert len(layers) == 3
