"""Parts of the training of whisper-mini: reading CTC, padding, its loss on a tiny model."""

from __future__ import annotations

import math

import pytest
import torch

from speechllm_bench.zoo import whisper_mini
from speechllm_bench.zoo.recipes import load_recipe
from speechllm_bench.zoo.whisper_mini import CHARACTERS


def classes(text: str) -> list[int]:
    """One class a frame; an underscore is the blank."""
    return [0 if c == "_" else CHARACTERS.index(c) + 1 for c in text]


@pytest.mark.parametrize(
    ("frames", "text"),
    [("", ""), ("___", ""), ("a", "a"), ("aaa", "a"), ("_a_", "a"), ("a_a", "aa"), ("hheel_llo__", "hello"),
     ("a  b", "a b"), ("it''s", "it's")],
)  # fmt: skip
def test_greedy_text_merges_repeats_and_drops_blanks(frames, text):
    assert whisper_mini.greedy_text(classes(frames)) == text


def test_pad_mels_fills_each_row_with_its_own_floor():
    rows = [torch.rand(80, 7) + 1, torch.rand(80, 12) - 3]
    padded = whisper_mini.pad_mels(rows)
    assert padded.shape == (2, 80, 12)
    assert torch.equal(padded[0, :, :7], rows[0]) and torch.equal(padded[1], rows[1])
    assert (padded[0, :, 7:] == rows[0].min()).all()


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
    return whisper_mini.WhisperCTC(
        whisper_mini.untrained(load_recipe("whisper-mini").model_copy(update=sizes), Tokens())
    ).eval()


MEL = torch.randn(2, 80, 64, generator=torch.Generator().manual_seed(0))
TEXTS = [classes("hi"), classes("it's me")]
TOKENS = torch.tensor([[1, 4, 5, 2, 0, 0], [1, 4, 5, 6, 7, 2]])  # start, words, end, padding


def losses(model, rows=(0, 1)):
    rows = list(rows)
    return model.losses(MEL[rows], torch.tensor([20, 32])[rows], [TEXTS[i] for i in rows], TOKENS[rows])


def test_sound_enters_the_encoder_as_loud_as_the_positions():
    """With transformers' own start it enters at about a thirtieth of their spread."""
    encoder = whisper_mini.untrained(load_recipe("whisper-mini"), Tokens()).model.encoder
    sound = torch.randn(1, 80, 200) * 0.5  # about a log-mel's spread
    with torch.no_grad():
        entered = torch.nn.functional.gelu(encoder.conv2(torch.nn.functional.gelu(encoder.conv1(sound))))
    assert 0.1 < entered.std() / encoder.embed_positions.weight.std() < 1


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
