"""An LLM's own chat format: the prompt by its chat template, and the tokens that begin and end a text.

Everything comes from the tokenizer. No code here is specific to one LLM.
"""

from __future__ import annotations

import re
from datetime import datetime
from functools import cache

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from speechllm_bench.errors import UserError
from speechllm_bench.storage.schema import Example
from speechllm_bench.tasks.prompt import AUDIO

DAY = datetime(2024, 7, 26, 12)
"""The fixed day for templates that show one: Llama 3's own default. Today's date would change prompts."""

DATE = DAY.strftime("%d %b %Y")
_FORMS = {f"%{letter}": DAY.strftime(f"%{letter}") for letter in "aAbBcdDFHIjMmpRSTuUVwWxXyY"}
_FORMS |= {form.replace("%", "%-"): text.lstrip("0") or "0" for form, text in _FORMS.items()}
_TOLD = "".join(f" | replace({form!r}, {text!r})" for form, text in _FORMS.items())
_SAME_DAY = "{% macro strftime_now(format) %}{{ format" + _TOLD + " }}{% endmacro %}"
_ANSWER = "answer"


def chat_prompt(tokenizer: PreTrainedTokenizerBase, example: Example) -> str:
    """Return the prompt up to the answer, with `AUDIO` in it once; plain lines if there is no chat template.

    The system turn uses the template. Where the template has no system turn, its text precedes the user's
    message. A `<think>` at the end of a template (R1 distillations) is removed, because here the thought is
    part of the answer.

    Raises UserError where the question does not have `AUDIO` once, and for a template that cannot show a
    question, changes it, or shows a part of it more than once.
    """
    if (n := example.prompt.count(AUDIO)) != 1:
        raise UserError(
            f"the text of question {example.id} has the mark {AUDIO} {n} times, not once, where the speech "
            "goes; take it out of the corpus's dialogues"
        )
    if not tokenizer.chat_template:
        return f"{_together(example)}\n"
    text = _shown_question(tokenizer, example)
    wanted = {"the user's message": AUDIO, "the whole of the user's message": example.prompt.strip()}
    for what, part in (wanted | {"the system turn": example.system or AUDIO}).items():
        if (n := text.count(part)) != 1:
            raise UserError(
                f"the chat template of {tokenizer.name_or_path} shows {what} {n} times, not once; "
                "correct its chat_template, or name another LLM in the profile"
            )
    return re.sub(r"<think>\s*$", "", text)


@cache
def text_begin(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Return the token ids that the tokenizer puts before every text: its BOS token, or none."""
    plain, whole = (tokenizer("a", add_special_tokens=added)["input_ids"] for added in (False, True))
    return whole[: next(i for i in range(len(whole)) if whole[i : i + len(plain)] == plain)]


@cache
def turn_end(tokenizer: PreTrainedTokenizerBase) -> int:
    """Return the id of the token that ends an answer: the special token after the template's assistant turn.

    Many chat LLMs end a turn with another token than a text: Gemma with <end_of_turn>, Phi-3 with <|end|>,
    Qwen2-Audio with <|im_end|>. Without such a token, or without a template, it is the tokenizer's EOS.
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
    """Return the ids of all tokens that end an answer, sorted.

    They are the trained one (`turn_end`), the tokenizer's EOS, and `eos_token_id` (one or several) of the
    LLM's generation settings.
    """
    named = llm.generation_config.eos_token_id
    named = named if isinstance(named, list) else [named]
    ends = {turn_end(tokenizer), tokenizer.eos_token_id, *named}
    return sorted(end for end in ends if end is not None)


def _shown_question(tokenizer: PreTrainedTokenizerBase, example: Example) -> str:
    """Return the question by the template, followed by the generation prompt."""
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
    """Return the conversation by the template and "", or None and the reason why the template fails.

    A template that calls `strftime_now` gets `DAY`, from a macro of that name put before it. Templates are
    programs, which may raise any error.
    """
    try:
        template = tokenizer.get_chat_template()
        told["chat_template"] = _SAME_DAY * ("strftime_now" in template) + template
        return tokenizer.apply_chat_template(turns, tokenize=False, date_string=DATE, **told), ""
    except MemoryError:
        raise
    except Exception as error:
        return None, " ".join(str(error).split())


def _together(example: Example) -> str:
    """Return the user's message, with the system turn as its first line if there is one."""
    return f"{example.system}\n{example.prompt}" if example.system else example.prompt
