"""How llm-mini's last phase reads: everything that was said is still there, and nothing else is touched."""

from __future__ import annotations

import random

import pytest
import torch

from speechllm_bench.models.inputs import collate
from speechllm_bench.models.llm import load_llm, load_tokenizer
from speechllm_bench.models.speech_llm import SpeechLLM
from speechllm_bench.storage.schema import Example
from speechllm_bench.zoo.texts.soft_reading import Pieces, SoftReader

SAID = "it broke down on friday the seventeenth in mayshaven"


@pytest.fixture(scope="module")
def tokenizer(tiny_backbones):
    return load_tokenizer(str(tiny_backbones / "llm"))


@pytest.fixture(scope="module")
def reader(tiny_backbones):
    return SoftReader(load_llm(str(tiny_backbones / "llm")))


@pytest.fixture(scope="module")
def batch(tokenizer):
    example = Example("e", "u", "transcription", "caller:<|audio|>\nwrite it down", SAID)
    return collate(tokenizer, [example] * 3, transcripts=[SAID] * 3, with_answer=True)


def test_pieces_spell_what_was_said_but_for_blanks():
    tokenizer = load_tokenizer("zoo/llm-mini")
    pieces = Pieces(tokenizer)
    whole = tokenizer(" " + SAID, add_special_tokens=False)["input_ids"]
    drawn = [pieces(SAID, random.Random(seed)) for seed in range(60)]
    for ids in drawn:
        assert tokenizer.decode(ids).replace(" ", "") == SAID.replace(" ", "")
    assert any(ids == whole for ids in drawn)  # now and then it stays as it is
    assert sum(len(ids) for ids in drawn) > 1.3 * len(whole) * len(drawn)
    assert any(len([i for i in ids if i == pieces.blank]) > 3 for ids in drawn)


def test_the_draw_decides(tokenizer):
    pieces = Pieces(tokenizer)
    assert pieces(SAID, random.Random(1)) == pieces(SAID, random.Random(1))


def test_in_training_the_transcript_alone_is_soft(reader, batch):
    plain = reader.eval().embeddings(batch)
    soft = reader.train().embeddings(batch)
    assert torch.equal(soft[~batch.speech], plain[~batch.speech])
    assert (soft[batch.speech] != plain[batch.speech]).all(dim=-1).all()
    assert soft.isfinite().all()


def test_every_example_draws_its_own_softness(reader, batch):
    reader.train()
    torch.manual_seed(0)
    first, second, third = reader.embeddings(batch)
    assert not torch.equal(first, second) and not torch.equal(second, third)
    torch.manual_seed(0)
    assert torch.equal(reader.embeddings(batch)[0], first)


def test_evaluated_it_is_the_llm_itself(reader, batch):
    plain = SpeechLLM(reader.llm, adapter=None)
    with torch.no_grad():
        assert torch.equal(reader.eval().loss(batch), plain.loss(batch))
