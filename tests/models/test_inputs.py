"""From examples to tensors: what is attended, what is speech, what is the answer."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from tokenizers import processors

from speechllm_bench.models.adapters import Adapter
from speechllm_bench.models.inputs import PromptTokens, collate, pad_frames, prompt_halves, prompt_tokens
from speechllm_bench.models.llm import load_tokenizer
from speechllm_bench.models.speech_llm import shared_positions
from speechllm_bench.storage.schema import Example

SYSTEM_TEMPLATE = (
    "<s>system: be brief{% for message in messages %}<|{{ message['role'] }}|>"
    "{{ message['content'] }}<|end|>{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


@pytest.fixture(scope="module")
def tokenizer(tiny_backbones):
    return load_tokenizer(str(tiny_backbones / "llm"))


def example(prompt: str = "agent: where to\ncaller:<|audio|>\nfill in as json: city",
            target: str = '{"city": "zürich"}') -> Example:  # fmt: skip
    return Example("e", "u", "slots", prompt, target, ("city",))


def frames(*lengths: int) -> list[np.ndarray]:
    return [np.full((n, 4), n, np.float16) for n in lengths]


EIGHTFOLD = Adapter().out_length  # eight frames a token
EXAMPLES = [example(), example(target="{}"), example("caller:<|audio|>\nwrite it down", "to zürich")]


def test_the_prompt_is_the_chat_template_around_the_speech(tokenizer):
    before, after = prompt_halves(tokenizer, example())
    assert tokenizer.decode(before) == "<|user|>agent: where to\ncaller:"
    assert tokenizer.decode(after) == "\nfill in as json: city<|end|><|assistant|>"


def test_a_base_llm_without_a_chat_template_reads_plain_lines(tokenizer):
    base = copy.deepcopy(tokenizer)
    base.chat_template = None
    before, after = prompt_halves(base, example())
    assert base.decode(before) == "agent: where to\ncaller:"
    assert base.decode(after) == "\nfill in as json: city\n"
    base = copy.deepcopy(base)  # what a tokenizer puts before a text is looked up once
    base._tokenizer.post_processor = processors.TemplateProcessing(
        f"{base.pad_token} $A", None, [(base.pad_token, base.pad_token_id)]
    )  # of a Llama it is what every text begins with
    assert base.decode(prompt_halves(base, example())[0]) == f"{base.pad_token}agent: where to\ncaller:"


def test_a_thought_that_a_template_opens_is_left_to_the_answer(tokenizer):
    """DeepSeek-R1-Distill-Llama-8B's opens one behind every question."""
    other = copy.deepcopy(tokenizer)
    other.chat_template += "{{ '<think>\\n' }}"
    assert prompt_halves(other, example()) == prompt_halves(tokenizer, example())


@pytest.mark.parametrize("with_answer", [True, False])
def test_a_row_reads_as_prompt_speech_prompt_answer(tokenizer, with_answer):
    batch = collate(
        tokenizer, EXAMPLES, speech_tokens=EIGHTFOLD, frames=frames(3, 17, 40), with_answer=with_answer
    )
    for row, (one, n_speech) in enumerate(zip(EXAMPLES, (1, 3, 5), strict=True)):
        before, after = prompt_halves(tokenizer, one)
        attended = batch.attended[row]
        words = batch.tokens[row][attended & ~batch.speech[row] & ~batch.answer[row]].tolist()
        assert words == before + after
        assert int(batch.speech[row].sum()) == n_speech
        first = int(attended.nonzero()[len(before)])
        assert batch.speech[row].nonzero().flatten().tolist() == list(range(first, first + n_speech))
        said = batch.tokens[row][batch.answer[row]].tolist()
        if with_answer:
            assert said[-1] == tokenizer.eos_token_id
            assert tokenizer.decode(said[:-1]) == one.target
        else:
            assert said == []
    assert (batch.tokens[~batch.attended] == tokenizer.pad_token_id).all()
    assert not (batch.speech & ~batch.attended).any() and not (batch.answer & batch.speech).any()


def test_training_pads_right_and_generation_behind_what_prompts_begin_with(tokenizer):
    right = collate(
        tokenizer, EXAMPLES, speech_tokens=EIGHTFOLD, frames=frames(3, 17, 40), with_answer=True
    ).attended.int()
    batch = collate(tokenizer, EXAMPLES, speech_tokens=EIGHTFOLD, frames=frames(3, 17, 40), with_answer=False)
    attended = batch.attended.int()
    assert (right.diff(dim=1) <= 0).all() and right[:, 0].all()
    shared = shared_positions(batch)
    heads = {tuple(prompt_halves(tokenizer, example)[0][:shared]) for example in EXAMPLES}
    assert shared > 0 and len(heads) == 1
    assert attended[:, :shared].all() and attended[:, -1].all()
    assert (attended[:, shared:].diff(dim=1) >= 0).all()
    assert attended.sum(1).unique().numel() > 1  # or there was no padding to test


def test_the_answer_ends_a_row(tokenizer):
    batch = collate(tokenizer, EXAMPLES, speech_tokens=EIGHTFOLD, frames=frames(3, 17, 40), with_answer=True)
    for row in range(3):
        positions = batch.answer[row].nonzero().flatten()
        assert positions[-1] == batch.attended[row].nonzero()[-1]
        assert len(positions) == positions[-1] - positions[0] + 1


def test_a_chat_template_that_tells_the_day_tells_the_same_one_every_day(tokenizer):
    """Llama 3's take the machine's, where none is given."""
    other = copy.deepcopy(tokenizer)
    other.chat_template = (
        "{% if not date_string is defined %}{% set date_string = strftime_now('%d %b %Y') %}{% endif %}"
        "{{ date_string }}" + tokenizer.chat_template
    )
    before, _ = prompt_halves(other, example())
    assert other.decode(before).replace(" ", "").lower().startswith("26jul2024")


def test_a_chat_template_with_a_system_part(tokenizer):
    other = copy.deepcopy(tokenizer)
    other.chat_template = SYSTEM_TEMPLATE
    batch = collate(other, EXAMPLES, speech_tokens=EIGHTFOLD, frames=frames(3, 17, 40), with_answer=True)
    assert batch.speech.sum(1).tolist() == [1, 3, 5]
    before, _ = prompt_halves(other, example())
    assert other.decode(before).startswith("<s>system: be brief<|user|>")


def in_english() -> Example:
    return replace(example(), system="You extract.")


def test_a_system_turn_is_the_templates_own(tokenizer):
    before, after = prompt_halves(tokenizer, in_english())
    assert tokenizer.decode(before) == "<|system|>You extract.<|end|><|user|>agent: where to\ncaller:"
    assert after == prompt_halves(tokenizer, example())[1]


REFUSES = (
    "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
)
IGNORES = "{% for m in messages if m['role'] != 'system' %}<|{{ m['role'] }}|>{{ m['content'] }}{% endfor %}"


@pytest.mark.parametrize("template", ["refuses", "ignores", "none"])
def test_where_there_is_no_system_turn_it_stands_before_the_users_message(tokenizer, template):
    """Gemma's template refuses one; a base LLM has no template at all."""
    other = copy.deepcopy(tokenizer)
    other.chat_template = {
        "refuses": REFUSES + tokenizer.chat_template, "ignores": IGNORES, "none": None
    }[template]  # fmt: skip
    text = other.decode(prompt_halves(other, in_english())[0])
    assert text.removeprefix("<|user|>") == "You extract.\nagent: where to\ncaller:"


def test_tokens_of_prompts_are_counted_without_speech_and_answer(tokenizer):
    some = [example(), in_english()]
    lengths = [sum(map(len, prompt_halves(tokenizer, one))) for one in some]
    counted = prompt_tokens(tokenizer, some, spoken=True)
    assert counted == PromptTokens(mean=round(sum(lengths) / 2, 1), max=lengths[1])
    batch = collate(tokenizer, some, speech_tokens=EIGHTFOLD, frames=frames(3, 9), with_answer=True)
    assert (batch.attended & ~batch.speech & ~batch.answer).sum(1).tolist() == lengths


def test_a_transcript_stands_where_the_speech_would(tokenizer):
    batch = collate(tokenizer, EXAMPLES[:1], transcripts=["to zürich please"], with_answer=True)
    assert batch.frames is None and batch.n_frames is None
    assert tokenizer.decode(batch.tokens[0][batch.speech[0]]) == " to zürich please"
    text = tokenizer.decode(batch.tokens[0][~batch.answer[0]])
    assert text == (
        "<|user|>agent: where to\ncaller: to zürich please\nfill in as json: city<|end|><|assistant|>"
    )


def test_a_transcript_may_come_as_tokens(tokenizer):
    ids = tokenizer(" to zürich please", add_special_tokens=False)["input_ids"]
    cut, whole = (
        collate(tokenizer, EXAMPLES[:1], transcripts=[said], with_answer=True)
        for said in (ids, "to zürich please")
    )
    assert torch.equal(cut.tokens, whole.tokens) and torch.equal(cut.speech, whole.speech)


def test_frames_are_zero_beyond_their_end():
    padded, lengths = pad_frames(frames(2, 5))
    assert padded.shape == (2, 5, 4) and padded.dtype == torch.float32
    assert lengths.tolist() == [2, 5]
    assert (padded[0, :2] == 2).all() and (padded[0, 2:] == 0).all() and (padded[1] == 5).all()
