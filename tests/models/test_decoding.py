"""Decoding: every example kept, in order, cut at the end token."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import GenerationConfig

from speechllm_bench.errors import UserError
from speechllm_bench.models.adapters import Adapter
from speechllm_bench.models.decoding import decode
from speechllm_bench.models.llm import load_tokenizer
from speechllm_bench.storage.schema import Example, Utterance


@pytest.fixture(scope="module")
def tokenizer(tiny_backbones):
    return load_tokenizer(str(tiny_backbones / "llm"))


class Answers(torch.nn.Module):
    """Says a row's number of speech positions, then ends, then goes on talking."""

    def __init__(self, tokenizer):
        super().__init__()
        self.tokenizer, self.llm, self.batch_sizes = tokenizer, torch.nn.Linear(1, 1), []
        self.llm.device = torch.device("cpu")
        self.llm.generation_config = GenerationConfig()
        self.speech_tokens = Adapter().out_length

    def generate(self, batch, max_new_tokens, eos_token_id, pad_token_id, beams):
        assert not self.training
        self.batch_sizes.append(len(batch.tokens))
        rows = []
        for n in batch.speech.sum(1).tolist():
            ids = self.tokenizer(f"{n} tokens")["input_ids"]
            rows.append(ids + eos_token_id[:1] * (n % 2) + [pad_token_id] * 4)
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


def test_an_answer_ends_at_the_first_of_all_end_tokens(tokenizer, monkeypatch):
    """Those of the LLM's generation settings too, which another token than the tokenizer's eos may be."""
    model, other = Answers(tokenizer), tokenizer.convert_tokens_to_ids("a")
    model.llm.generation_config.eos_token_id = [other]
    told, said = [], tokenizer("b")["input_ids"]

    def generate(batch, n, eos_token_id, pad_token_id, beams):
        told.append(eos_token_id)
        end = tokenizer.eos_token_id
        return torch.tensor(
            [[*said, other, *said, end], [*said, end, *said, other], [*said, *said, *said, *said]]
        )

    monkeypatch.setattr(model, "generate", generate)
    examples = [Example(f"e{i}", f"u{i}", "slots", "<|audio|>", "{}") for i in range(3)]
    answers = decode(model, tokenizer, examples, [utterance(i) for i in range(3)],
                     transcripts=["x"] * 3, batch_size=3, max_new_tokens=4)  # fmt: skip
    assert told == [sorted([other, tokenizer.eos_token_id])]
    assert [(a.raw, a.n_tokens) for a in answers] == [("b", 2), ("b", 2), ("bbbb", 4)]


def test_text_is_decoded_by_the_same_code(tokenizer):
    examples = [Example("e", "u", "slots", "caller:<|audio|>", "{}")]
    [said] = decode(Answers(tokenizer), tokenizer, examples, [utterance(0)], transcripts=["hello"],
                    batch_size=4, max_new_tokens=4)  # fmt: skip
    n = len(tokenizer(" hello", add_special_tokens=False)["input_ids"])
    assert said.raw == f"{n} tokens"


@pytest.mark.parametrize(
    ("answer", "counted"),
    [
        ("<think>so</think>{}", "<think>so</think>"),
        ("so</think>{}</think>", "so</think>"),  # to the first end
        ("<think>and so on", "<think>and so on"),  # it never ends: all of it
        ("{}", ""),
    ],
)
def test_the_tokens_of_a_trace_are_those_up_to_its_end(tokenizer, monkeypatch, answer, counted):
    model, ids = Answers(tokenizer), tokenizer(answer)["input_ids"]
    monkeypatch.setattr(model, "generate", lambda *_: torch.tensor([[*ids, tokenizer.eos_token_id]]))
    [said] = decode(model, tokenizer, [Example("e", "u", "slots_think", "<|audio|>", "{}")], [utterance(0)],
                    transcripts=["hello"], batch_size=1, max_new_tokens=99)  # fmt: skip
    assert (said.raw, said.n_tokens) == (answer, len(ids) + 1)
    assert tokenizer.decode(ids[: said.trace_tokens]) == counted


class Short(Answers):
    """On a GPU whose memory holds so many answers at a time."""

    def __init__(self, tokenizer, room: int):
        super().__init__(tokenizer)
        self.room = room

    def generate(self, batch, *told):
        if len(batch.tokens) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return super().generate(batch, *told)


@pytest.mark.parametrize(
    ("room", "sizes"), [(8, [8, 3]), (4, [4, 4, 3]), (3, [2, 2, 2, 2, 2, 1]), (1, [1] * 11)]
)
def test_batches_that_do_not_fit_in_memory_are_halved_and_nothing_is_lost(tokenizer, capsys, room, sizes):
    examples = [Example(f"e{i}", f"u{i}", "slots", "<|audio|>\nx", "{}", ("a",)) for i in range(11)]
    turns, frames = [utterance(i) for i in range(11)], [np.zeros((9 + i, 4), np.float16) for i in range(11)]
    shares, told = [], {"frames": frames, "batch_size": 8, "max_new_tokens": 9}
    model = Short(tokenizer, room)
    said = decode(model, tokenizer, examples, turns, **told, progress=shares.append)
    assert model.batch_sizes == sizes and shares[-1] == 1.0 and shares == sorted(shares)
    roomy = decode(Answers(tokenizer), tokenizer, examples, turns, **told)
    assert [(one.example_id, one.raw) for one in said] == [(one.example_id, one.raw) for one in roomy]
    assert capsys.readouterr().err.count("does not hold 8 answers") == (room < 8)


def test_one_answer_that_does_not_fit_in_memory_ends_in_a_sentence(tokenizer):
    example = Example("e0", "u0", "slots", "<|audio|>\nx", "{}", ("a",))
    with pytest.raises(UserError, match=r"not hold one answer at a time") as told:
        decode(
            Short(tokenizer, 0), tokenizer, [example], [utterance(0)], frames=[np.zeros((9, 4), np.float16)],
            batch_size=4, max_new_tokens=8,
        )  # fmt: skip
    assert "\n" not in str(told.value)
