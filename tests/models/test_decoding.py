"""Decoding: every example kept, in order, cut at the end token."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from speechllm_bench.models.adapters import Adapter
from speechllm_bench.models.decoding import decode
from speechllm_bench.models.llm import load_tokenizer
from speechllm_bench.schema import Example, Utterance


@pytest.fixture(scope="module")
def tokenizer(tiny_backbones):
    return load_tokenizer(str(tiny_backbones / "llm"))


class Answers(torch.nn.Module):
    """Says a row's number of speech positions, then ends, then goes on talking."""

    speech_tokens = staticmethod(Adapter.out_length)

    def __init__(self, tokenizer):
        super().__init__()
        self.tokenizer, self.llm, self.batch_sizes = tokenizer, torch.nn.Linear(1, 1), []
        self.llm.device = torch.device("cpu")

    def generate(self, batch, max_new_tokens, eos_token_id, pad_token_id):
        assert not self.training
        self.batch_sizes.append(len(batch.tokens))
        rows = []
        for n in batch.speech.sum(1).tolist():
            ids = self.tokenizer(f"{n} tokens")["input_ids"]
            rows.append(ids + [eos_token_id] * (n % 2) + [pad_token_id] * 4)
        longest = max(map(len, rows))
        return torch.tensor([row + [pad_token_id] * (longest - len(row)) for row in rows])


def utterance(i: int) -> Utterance:
    return Utterance(f"u{i}", "A-test", "c", i, "", "", "", f"words {i}", (), (), "", (), f"s{i % 2}")


def test_every_example_comes_back_in_order(tokenizer):
    lengths = [9, 40, 1, 17, 25, 60, 33]
    examples = [Example(f"e{i}", f"u{i}", "slots", "<|audio|>\nx", "{}", ("a",)) for i in range(7)]
    model, shares = Answers(tokenizer).train(), []
    said = decode(
        model, tokenizer, examples, [utterance(i) for i in range(7)],
        frames=[np.zeros((n, 4), np.float16) for n in lengths],
        batch_size=3, max_new_tokens=9, progress=shares.append,
    )  # fmt: skip
    assert model.training  # put back as it was
    assert model.batch_sizes == [3, 3, 1]
    assert shares[-1] == 1.0 and shares == sorted(shares)
    for i, prediction in enumerate(said):
        n = -(-lengths[i] // 8)
        assert prediction.example_id == f"e{i}" and prediction.utterance_id == f"u{i}"
        assert prediction.speaker == f"s{i % 2}" and prediction.transcript == f"words {i}"
        assert prediction.raw == f"{n} tokens"
        assert (prediction.gold, prediction.asked, prediction.task) == ("{}", ("a",), "slots")


def test_counts_the_end_token_and_nothing_after_it(tokenizer):
    examples = [Example(f"e{i}", f"u{i}", "slots", "<|audio|>", "{}") for i in range(2)]
    ended, cut = decode(
        Answers(tokenizer), tokenizer, examples, [utterance(0), utterance(1)],
        frames=[np.zeros((8, 4), np.float16), np.zeros((16, 4), np.float16)],
        batch_size=2, max_new_tokens=9,
    )  # fmt: skip
    assert ended.n_tokens == len(tokenizer("1 tokens")["input_ids"]) + 1
    assert ended.raw == "1 tokens" and cut.raw == "2 tokens"


def test_text_is_decoded_by_the_same_code(tokenizer):
    examples = [Example("e", "u", "slots", "caller:<|audio|>", "{}")]
    [said] = decode(Answers(tokenizer), tokenizer, examples, [utterance(0)], transcripts=["hello"],
                    batch_size=4, max_new_tokens=4)  # fmt: skip
    n = len(tokenizer(" hello", add_special_tokens=False)["input_ids"])
    assert said.raw == f"{n} tokens"
