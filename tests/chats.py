"""Published chat LLMs, in short: their special tokens, what their tokenizers put before a text, how their
templates show a conversation, and what ends a turn. Vocabularies are small and of the tests alone.
"""

from __future__ import annotations

from dataclasses import dataclass

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

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
    "Qwen/Qwen3-8B": Chat(QWEN_3, special=(*_IM, "<think>", "</think>"), **_QWEN),
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
