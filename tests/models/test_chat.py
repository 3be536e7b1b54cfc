"""Chat formats of real LLMs, in short: one beginning, no date, no open thought, the right end learned.

The tokenizers are small and of this file alone. Their special tokens, what they put before a text, and how
the templates show a conversation are as the models publish them; tools and the like are left out.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
import torch
import yaml
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import GenerationConfig, PreTrainedTokenizerFast

from speechllm_bench import paths
from speechllm_bench.errors import UserError
from speechllm_bench.models.chat import answer_ends, text_begin, turn_end
from speechllm_bench.models.inputs import collate, prompt_halves
from speechllm_bench.schema import Example
from speechllm_bench.tasks import AUDIO
from speechllm_bench.tasks.prompt import SYSTEM

TERSE = Example(
    "e", "u", "slots", f"agent: where to\ncaller:{AUDIO}\nfill in as json: city", '{"city": "rome"}'
)
ENGLISH = replace(TERSE, system=SYSTEM["english"])

LLAMA_3 = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{% set told = messages[0]['content'] | trim %}"
    "{% set messages = messages[1:] %}{% else %}{% set told = '' %}{% endif %}"
    "{% if not date_string is defined %}{% if strftime_now is defined %}"
    "{% set date_string = strftime_now('%d %b %Y') %}{% else %}{% set date_string = '26 Jul 2024' %}"
    "{% endif %}{% endif %}<|start_header_id|>system<|end_header_id|>\n\n"
    "Cutting Knowledge Date: December 2023\nToday Date: {{ date_string }}\n\n{{ told }}<|eot_id|>"
    "{% for m in messages %}"
    "<|start_header_id|>{{ m['role'] }}<|end_header_id|>\n\n{{ m['content'] | trim }}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
R1 = (
    "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'system' %}{{ m['content'] }}"
    "{% elif m['role'] == 'user' %}<｜User｜>{{ m['content'] }}{% else %}"
    "<｜Assistant｜>{{ m['content'].split('</think>')[-1] }}<｜end▁of▁sentence｜>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<｜Assistant｜><think>\n{% endif %}"
)
CHATML = (  # with a system turn of its own where none is given
    "{% for m in messages %}{% if loop.first and m['role'] != 'system' %}<|im_start|>system\n"
    "GIVEN<|im_end|>\n{% endif %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
QWEN_3 = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{% if m['role'] == 'assistant' and loop.last %}"
    "<think>\n\n</think>\n\n{% endif %}{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>\n\n{% endif %}{% endif %}"
)
TINY_LLAMA = (
    "{% for m in messages %}{{ '<|' + m['role'] + '|>\n' + m['content'] + eos_token }}\n"
    "{% if loop.last and add_generation_prompt %}<|assistant|>\n{% endif %}{% endfor %}"
)
GEMMA = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}"
    "{{ raise_exception('System role not supported') }}{% endif %}{% for m in messages %}"
    "{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate') }}{% endif %}<start_of_turn>"
    "{{ 'model' if m['role'] == 'assistant' else m['role'] }}\n{{ m['content'] | trim }}<end_of_turn>\n"
    "{% endfor %}{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
PHI_3 = (
    "{% for m in messages %}<|{{ m['role'] }}|>\n{{ m['content'] }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% else %}{{ eos_token }}{% endif %}"
)
PHI_4 = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}<|im_sep|>{{ m['content'] }}<|im_end|>{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant<|im_sep|>{% endif %}"
)


@dataclass(frozen=True)
class Chat:
    """A published chat LLM: its special tokens, what its tokenizer does, and what is to come of it."""

    template: str | None
    bos: str | None  # the tokenizer's token of that name
    eos: str
    end: str  # of an answer: what is to be learned
    special: tuple[str, ...] = ()
    adds: bool = False  # the tokenizer puts `bos` before a text
    begins: bool = False  # so a prompt begins with it
    stops: tuple[str, ...] = ()  # of its generation settings

    def tokenizer(self) -> PreTrainedTokenizerFast:
        special = list(dict.fromkeys(filter(None, (self.bos, self.eos, self.end, *self.special))))
        alphabet = {c: i for i, c in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
        made = Tokenizer(models.BPE(vocab=alphabet, merges=[]))
        made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        made.decoder = decoders.ByteLevel()
        made.add_special_tokens(special)
        if self.adds:
            ids = [(self.bos, made.token_to_id(self.bos))]
            made.post_processor = processors.TemplateProcessing(f"{self.bos} $A", None, ids)
        names = {"bos_token": self.bos, "eos_token": self.eos, "pad_token": self.eos}
        return PreTrainedTokenizerFast(tokenizer_object=made, chat_template=self.template, **names)


_HEADERS = ("<|start_header_id|>", "<|end_header_id|>", "<|end_of_text|>", "<|eom_id|>")
_IM = ("<|im_start|>", "<|endoftext|>")
_SMOL = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"
_LLAMA_STOPS = ("<|end_of_text|>", "<|eom_id|>", "<|eot_id|>")
_R1 = ("<｜User｜>", "<｜Assistant｜>", "<think>", "</think>")
_QWEN = {"bos": None, "eos": "<|im_end|>", "end": "<|im_end|>", "stops": ("<|im_end|>", "<|endoftext|>")}
_LLAMA = {"bos": "<|begin_of_text|>", "adds": True, "begins": True}

CHATS = {
    "meta-llama/Llama-3.2-1B-Instruct": Chat(
        LLAMA_3, eos="<|eot_id|>", end="<|eot_id|>", special=_HEADERS, stops=_LLAMA_STOPS, **_LLAMA
    ),
    "meta-llama/Llama-3.1-8B-Instruct": Chat(
        LLAMA_3, eos="<|eot_id|>", end="<|eot_id|>", special=_HEADERS, stops=_LLAMA_STOPS, **_LLAMA
    ),
    "meta-llama/Llama-3.1-8B": Chat(None, eos="<|end_of_text|>", end="<|end_of_text|>", **_LLAMA),
    "deepseek-ai/DeepSeek-R1-Distill-Llama-8B": Chat(
        R1, "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜end▁of▁sentence｜>", _R1, True, True
    ),
    "Qwen/Qwen3-4B": Chat(QWEN_3, special=(*_IM, "<think>", "</think>"), **_QWEN),
    "Qwen/Qwen3-1.7B": Chat(QWEN_3, special=(*_IM, "<think>", "</think>"), **_QWEN),
    "Qwen/Qwen3-0.6B": Chat(QWEN_3, special=(*_IM, "<think>", "</think>"), **_QWEN),
    "TinyLlama/TinyLlama-1.1B-Chat-v1.0": Chat(TINY_LLAMA, "<s>", "</s>", "</s>", adds=True, begins=True),
    "Qwen/Qwen2-Audio-7B-Instruct": Chat(
        CHATML.replace("GIVEN", "You are a helpful assistant."), None, "<|endoftext|>", "<|im_end|>",
        (*_IM, "<|audio_bos|>", "<|audio_eos|>"), stops=("<|endoftext|>", "<|im_end|>"),
    ),
    "Qwen/Qwen2.5-1.5B-Instruct": Chat(
        CHATML.replace("GIVEN", "You are Qwen, created by Alibaba Cloud. You are a helpful assistant."),
        special=_IM, **_QWEN,
    ),
    "google/gemma-2-2b-it": Chat(
        GEMMA, "<bos>", "<eos>", "<end_of_turn>", ("<start_of_turn>",), adds=True, begins=True,
        stops=("<eos>", "<end_of_turn>"),
    ),
    "microsoft/Phi-3-mini-4k-instruct": Chat(
        PHI_3, "<s>", "<|endoftext|>", "<|end|>", ("<|user|>", "<|assistant|>", "<|system|>"),
        stops=("<|endoftext|>", "<|assistant|>", "<|end|>"),
    ),
    "microsoft/phi-4": Chat(
        PHI_4, "<|endoftext|>", "<|im_end|>", "<|im_end|>", ("<|im_start|>", "<|im_sep|>")
    ),
    "HuggingFaceTB/SmolLM2-135M-Instruct": Chat(
        CHATML.replace("GIVEN", _SMOL), "<|im_start|>", "<|im_end|>", "<|im_end|>", ("<|endoftext|>",)
    ),
}  # fmt: skip
QUESTIONS = {"terse": TERSE, "english": ENGLISH}


@pytest.fixture(params=CHATS)
def chat(request) -> Chat:
    return CHATS[request.param]


def test_every_llm_that_profile_paper_names_is_here():
    profile = yaml.safe_load((paths.EXPERIMENTS / "profiles" / "paper.yaml").read_text("utf-8"))
    own = [paper["llm"] for paper in profile["papers"].values() if "llm" in paper]
    assert {profile["llm"], *profile["llms"].values(), profile["audio_llm"], *own} <= set(CHATS)


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_prompt_begins_as_the_tokenizer_begins_a_text_and_once(chat, question):
    tokenizer = chat.tokenizer()
    before, after = prompt_halves(tokenizer, QUESTIONS[question])
    bos = tokenizer.bos_token_id
    assert text_begin(tokenizer) == [bos] * chat.adds
    assert (before + after).count(bos) == chat.begins or chat.bos in ("<|im_start|>", None)
    assert (before[0] == bos) == chat.begins or chat.bos == "<|im_start|>"


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_prompt_is_the_templates_with_no_thought_and_no_day_but_the_fixed_one(chat, question, monkeypatch):
    """The system turn as the template has it, or before the user's message."""
    tokenizer, example = chat.tokenizer(), QUESTIONS[question]
    before, after = prompt_halves(tokenizer, example)
    text = f"{tokenizer.decode(before)}{AUDIO}{tokenizer.decode(after)}"
    text = text.replace("<|audio_bos|>", "").replace("<|audio_eos|>", "")  # around the speech
    assert text.count(example.prompt) == 1 and text.count(example.system or AUDIO) == 1
    assert "<think>" not in text
    assert "202" not in text.replace("December 2023", "").replace("26 Jul 2024", "")
    assert ("You are a helpful" in text) == (
        question == "terse" and "You are a helpful" in str(chat.template)
    )
    if chat.template and not chat.template.count("System role not supported"):
        turns = [{"role": "user", "content": example.prompt}]
        turns = [{"role": "system", "content": example.system}, *turns] if example.system else turns
        told = {"tokenize": False, "add_generation_prompt": True, "date_string": "26 Jul 2024"}
        published = tokenizer.apply_chat_template(turns, **told).removesuffix("<think>\n")
        begun = not chat.adds or published.startswith(chat.bos)
        assert text == (published if begun else chat.bos + published)
    else:
        assert f"{example.system}\n{example.prompt}".strip() in text


def test_the_learned_end_is_the_one_that_ends_a_turn(chat):
    tokenizer = chat.tokenizer()
    assert tokenizer.decode([turn_end(tokenizer)]) == chat.end
    batch = collate(tokenizer, [TERSE], transcripts=["to rome"], with_answer=True)
    assert tokenizer.decode(batch.tokens[0][batch.answer[0]]) == f'{{"city": "rome"}}{chat.end}'


def test_decoding_stops_at_every_end_that_template_tokenizer_and_settings_name(chat):
    tokenizer = chat.tokenizer()
    llm = torch.nn.Module()
    for stops in ([], list(chat.stops), *([stop] for stop in chat.stops)):
        ids = tokenizer.convert_tokens_to_ids(stops)
        named = {0: None, 1: ids[0] if ids else None}.get(len(ids), ids)  # one, several or none
        llm.generation_config = GenerationConfig(eos_token_id=named)
        found = tokenizer.convert_ids_to_tokens(answer_ends(tokenizer, llm))
        assert set(found) == {chat.end, chat.eos, *stops} and len(found) == len(set(found))


def other(template: str) -> PreTrainedTokenizerFast:
    tokenizer = CHATS["microsoft/phi-4"].tokenizer()
    tokenizer.chat_template = template
    return tokenizer


WANTS = (
    "{% if messages[0]['role'] != 'system' %}{{ raise_exception('A system turn comes first!') }}{% endif %}"
    + PHI_4
)


def test_a_template_that_wants_a_system_turn_first_gets_one_or_ends_in_a_sentence():
    tokenizer = other(WANTS)
    text = tokenizer.decode(prompt_halves(tokenizer, ENGLISH)[0])
    assert text.startswith("<|im_start|>system<|im_sep|>You extract information from a phone call.<|im_end|>")
    with pytest.raises(UserError, match=r"A system turn comes first!.*prompt: english") as told:
        prompt_halves(tokenizer, TERSE)
    assert "\n" not in str(told.value)
    assert tokenizer.decode([turn_end(tokenizer)]) == "<|im_end|>"


@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.parametrize(
    ("template", "sentence"),
    [
        (PHI_4 + PHI_4, "shows the user's message 2 times, not once"),
        ("<|im_start|>hello<|im_end|>", "shows the user's message 0 times, not once"),
        ("{% for m in messages %}{{ m.content", "cannot show a question"),
        ("{{ raise_exception('no\nchat') }}", r"cannot show a question \(no chat\)"),
        ("{{ messages[7]['content'] + 1 }}", "cannot show a question"),
    ],
)
def test_a_template_that_cannot_show_a_question_ends_in_a_sentence(template, sentence, question):
    with pytest.raises(UserError, match=sentence) as told:
        prompt_halves(other(template), QUESTIONS[question])
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("form", ["%d %B %Y", "%Y-%m-%d"])
def test_a_template_that_asks_for_the_day_is_told_the_same_one_every_day(form):
    """SmolLM3's and Mistral's call strftime_now without asking for `date_string`."""
    tokenizer = other("Today is {{ strftime_now('FORM') }}. ".replace("FORM", form) + PHI_4)
    text = tokenizer.decode(prompt_halves(tokenizer, TERSE)[0])
    assert text.startswith(f"Today is {'26 July 2024' if 'B' in form else '2024-07-26'}. ")


def test_a_mark_of_the_speech_in_a_dialogue_ends_in_a_sentence():
    twice = replace(TERSE, prompt=f"agent: {AUDIO}\n{TERSE.prompt}")
    with pytest.raises(UserError, match=r"the prompt of e holds '<\|audio\|>'"):
        prompt_halves(other(PHI_4), twice)


def test_what_a_template_puts_behind_an_answer_is_an_end_only_if_it_comes_first():
    """Text behind it, or nothing: the end is the tokenizer's."""
    for template in (
        "{% for m in messages %}{{ m['content'] }} over\n<|im_sep|>{% endfor %}",
        "{% for m in messages %}{{ m['content'] }}{% endfor %}",
        "{{ messages[5]['content'] }}",
    ):
        assert turn_end(other(template)) == other(template).eos_token_id
    spaced = other("{% for m in messages %}{{ m['content'] }} \n<|im_sep|>{% endfor %}")
    assert spaced.decode([turn_end(spaced)]) == "<|im_sep|>"
