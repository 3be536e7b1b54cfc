"""Parts of the training of whisper-mini: reading CTC, masking, padding, its loss on a tiny model."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from speechllm_bench.zoo import whisper
from speechllm_bench.zoo.config import load_recipe
from speechllm_bench.zoo.whisper import CHARACTERS


def classes(text: str) -> list[int]:
    """One class a frame; an underscore is the blank."""
    return [0 if c == "_" else CHARACTERS.index(c) + 1 for c in text]


@pytest.mark.parametrize(
    ("frames", "text"),
    [("", ""), ("___", ""), ("a", "a"), ("aaa", "a"), ("_a_", "a"), ("a_a", "aa"), ("hheel_llo__", "hello"),
     ("a  b", "a b"), ("it''s", "it's")],
)  # fmt: skip
def test_greedy_text_merges_repeats_and_drops_blanks(frames, text):
    assert whisper.greedy_text(classes(frames)) == text


def test_pad_mels_fills_each_row_with_its_own_floor():
    rows = [torch.rand(80, 7) + 1, torch.rand(80, 12) - 3]
    padded = whisper.pad_mels(rows)
    assert padded.shape == (2, 80, 12)
    assert torch.equal(padded[0, :, :7], rows[0]) and torch.equal(padded[1], rows[1])
    assert (padded[0, :, 7:] == rows[0].min()).all()


def test_mask_features_sets_a_few_bands_and_gaps_to_the_mean():
    shares = []
    for seed in range(40):
        mel = torch.randn(80, 400, generator=torch.Generator().manual_seed(seed))
        kept = mel.clone()
        masked = whisper.mask_features(mel, np.random.default_rng(seed))
        assert torch.equal(mel, kept)  # the store's features stay as they are
        changed = masked != mel
        assert (masked[changed] == mel.mean()).all()
        bands, gaps = changed.all(dim=1).sum(), changed.all(dim=0).sum()
        assert bands <= 24 and gaps <= 32
        assert changed.sum() == bands * 400 + gaps * 80 - bands * gaps
        shares.append(changed.float().mean().item())
    assert 0.08 < np.mean(shares) < 0.3


def test_mask_features_is_the_same_for_the_same_generator_and_takes_a_short_mel():
    mel = torch.randn(80, 64)
    one, same = (whisper.mask_features(mel, np.random.default_rng([7, 1, 0])) for _ in range(2))
    assert torch.equal(one, same) and one.shape == mel.shape


class Tokens:
    """As much of a tokenizer as the model's configuration asks for."""

    pad_token_id, bos_token_id, eos_token_id = 0, 1, 2

    def __len__(self):
        return 8


@pytest.fixture(scope="module")
def model():
    sizes = {
        "d_model": 16,
        "encoder_layers": 1,
        "decoder_layers": 1,
        "encoder_ffn_dim": 32,
        "decoder_ffn_dim": 32,
    }
    return whisper.WhisperCTC(
        whisper.build(load_recipe("whisper-mini").model_copy(update=sizes), Tokens())
    ).eval()


MEL = torch.randn(2, 80, 64, generator=torch.Generator().manual_seed(0))
TEXTS = [classes("hi"), classes("it's me")]
TOKENS = torch.tensor([[1, 4, 5, 2, 0, 0], [1, 4, 5, 6, 7, 2]])  # start, words, end, padding


def losses(model, rows=(0, 1)):
    rows = list(rows)
    return model.losses(MEL[rows], torch.tensor([20, 32])[rows], [TEXTS[i] for i in rows], TOKENS[rows])


@torch.no_grad()
def test_the_losses_are_sums_over_characters_and_tokens(model):
    both, one, other = losses(model), losses(model, [0]), losses(model, [1])
    n = [len(t) for t in TEXTS]
    ctc = (one["ctc"] * n[0] + other["ctc"] * n[1]) / sum(n)
    assert both["ctc"].item() == pytest.approx(ctc.item(), rel=1e-5)
    decoder = (one["decoder"] * 3 + other["decoder"] * 5) / 8  # padding is no target, the end token is
    assert both["decoder"].item() == pytest.approx(decoder.item(), rel=1e-5)


@torch.no_grad()
def test_frames_beyond_the_audio_do_not_count_for_ctc(model):
    """As log-probabilities go: the loss of the first 20 frames alone."""
    _, logits = model.character_logits(MEL[:1])
    theirs = torch.nn.functional.ctc_loss(
        logits[0, :20].log_softmax(-1)[:, None], torch.tensor([TEXTS[0]]), torch.tensor([20]),
        torch.tensor([2]), reduction="sum",
    )  # fmt: skip
    assert losses(model, [0])["ctc"].item() == pytest.approx(theirs.item() / 2, rel=1e-5)


def test_encoder_and_decoder_learn_and_positions_stay(model):
    sum(losses(model).values()).backward()
    learning = {n for n, p in model.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
    assert any("encoder.layers" in n for n in learning) and any("decoder.layers" in n for n in learning)
    assert {"head.weight", "whisper.model.encoder.conv1.weight"} <= learning
    positions = dict(model.named_parameters())["whisper.model.encoder.embed_positions.weight"]
    assert not positions.requires_grad
    model.zero_grad(set_to_none=True)


def test_a_text_longer_than_its_frames_is_left_out_and_not_infinite(model):
    value = model.losses(MEL[:1], torch.tensor([3]), [classes("hello there")], TOKENS[:1])["ctc"]
    assert math.isfinite(value.item())
