"""An LLM's own chat format: a prompt as its template shows it, and the tokens that begin and end a text.

All of it is the tokenizer's: nothing is known here of any one LLM.
"""

from __future__ import annotations

import re
from functools import cache

from jinja2 import TemplateError
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from speechllm_bench.errors import UserError
from speechllm_bench.storage.schema import Example
from speechllm_bench.tasks.prompt import AUDIO

DATE = "26 Jul 2024"
"""The day that templates tell: Llama 3's own default. Today's would be another prompt tomorrow."""

_FORMS = {
    **{"%d": "26", "%-d": "26", "%b": "Jul", "%B": "July", "%m": "07", "%Y": "2024", "%y": "24"},
    **{"%a": "Fri", "%A": "Friday", "%H": "12", "%M": "00", "%S": "00"},
}
_TOLD = "".join(f" | replace({form!r}, {text!r})" for form, text in _FORMS.items())
_SAME_DAY = "{% macro strftime_now(form) %}{{ form" + _TOLD + " }}{% endmacro %}"
_ANSWER = "answer"


def chat_prompt(tokenizer: PreTrainedTokenizerBase, example: Example) -> str:
    """The prompt up to the answer, with `AUDIO` once in it; of a base LLM without a template, plain lines.

    The system turn is the template's own. Where that has none, it stands before the user's message. A thought
    that a template opens (R1's distillations) is left out: thoughts are part of the answer here.

    Raises UserError for a template that cannot show a question, or shows it more than once.
    """
    if (n := example.prompt.count(AUDIO)) != 1:
        raise UserError(
            f"the text of question {example.id} has the mark {AUDIO} {n} times, which stands once, where the "
            "speech goes; take it out of the corpus's dialogues"
        )
    if not tokenizer.chat_template:
        return f"{_together(example)}\n"
    text = _shown_question(tokenizer, example)
    if (n := text.count(AUDIO)) != 1:
        raise UserError(
            f"the chat template of {tokenizer.name_or_path} shows the user's message {n} times, not once; "
            "correct its chat_template, or name another LLM in the profile"
        )
    return re.sub(r"<think>\s*$", "", text)


@cache
def text_begin(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """The text that the tokenizer itself puts before another: its token for the beginning, or nothing."""
    plain, whole = (tokenizer("a", add_special_tokens=added)["input_ids"] for added in (False, True))
    return whole[: next(i for i in range(len(whole)) if whole[i : i + len(plain)] == plain)]


@cache
def turn_end(tokenizer: PreTrainedTokenizerBase) -> int:
    """The token that ends an answer: the special one that the template puts behind an assistant's turn.

    Many chat LLMs end a turn by another token than a text: Gemma by <end_of_turn>, Phi-3 by <|end|>,
    Qwen2-Audio by <|im_end|>. Where the template puts none there, or is missing, it is the tokenizer's eos.
    """
    if tokenizer.chat_template:
        turns = [{"role": "user", "content": "question"}, {"role": "assistant", "content": _ANSWER}]
        for before in ([], [{"role": "system", "content": "system"}]):
            text, _ = _shown(tokenizer, [*before, *turns])
            _, found, behind = (text or "").rpartition(_ANSWER)
            for token in tokenizer(behind, add_special_tokens=False)["input_ids"] if found else []:
                if token in tokenizer.added_tokens_decoder:
                    return token
                if tokenizer.decode([token]).strip():
                    break
    return tokenizer.eos_token_id


def answer_ends(tokenizer: PreTrainedTokenizerBase, llm: PreTrainedModel) -> list[int]:
    """Every token that ends an answer: the one that is learned, the tokenizer's eos, and those that the LLM's
    generation settings name (`eos_token_id`, one or several).
    """
    named = llm.generation_config.eos_token_id
    named = named if isinstance(named, list) else [named]
    ends = {turn_end(tokenizer), tokenizer.eos_token_id, *named}
    return sorted(end for end in ends if end is not None)


def _shown_question(tokenizer: PreTrainedTokenizerBase, example: Example) -> str:
    """By the template, with the generation prompt behind it."""
    user = {"role": "user", "content": example.prompt}
    if example.system:
        turns = [{"role": "system", "content": example.system}, user]
        text, _ = _shown(tokenizer, turns, add_generation_prompt=True)
        if text and example.system in text:  # not refused, and not left out
            return text
    alone = [user | {"content": _together(example)}]
    text, why = _shown(tokenizer, alone, add_generation_prompt=True)
    if text is None:
        raise UserError(
            f"the chat template of {tokenizer.name_or_path} cannot show a question ({why}); where it wants a "
            "system turn first set `prompt: english` in the profile, else name another LLM"
        )
    return text


def _shown(tokenizer: PreTrainedTokenizerBase, turns: list[dict], **told) -> tuple[str | None, str]:
    """The conversation by the template, and "", or None and why it refuses it.

    A template that asks for the day itself is told `DATE`, too, by a macro of the same name before it.
    """
    try:
        template = tokenizer.get_chat_template()
        told["chat_template"] = _SAME_DAY * ("strftime_now" in template) + template
        return tokenizer.apply_chat_template(turns, tokenize=False, date_string=DATE, **told), ""
    except (TemplateError, TypeError, ValueError) as error:
        return None, " ".join(str(error).split())


def _together(example: Example) -> str:
    """The system turn, if there is one, as the first line of the user's message."""
    return f"{example.system}\n{example.prompt}" if example.system else example.prompt
