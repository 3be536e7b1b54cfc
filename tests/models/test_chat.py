"""Chat formats of real LLMs, in short: one beginning, no date, no open thought, the right end learned.

The tokenizers (`chats.py`) are small. Their special tokens, what they put before a text, and how the
templates show a conversation are as the models publish them; tools and the like are left out.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import yaml
from chats import CHATS, PHI_4, Chat
from transformers import GenerationConfig, PreTrainedTokenizerFast

from speechllm_bench.errors import UserError
from speechllm_bench.models.chat import answer_ends, text_begin, turn_end
from speechllm_bench.models.inputs import collate, prompt_halves
from speechllm_bench.storage import paths
from speechllm_bench.storage.schema import Example
from speechllm_bench.tasks import AUDIO
from speechllm_bench.tasks.prompt import SYSTEM

TERSE = Example(
    "e", "u", "slots", f"agent: where to\ncaller:{AUDIO}\nfill in as json: city", '{"city": "rome"}'
)
ENGLISH = replace(TERSE, system=SYSTEM["english"])

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
        ("{{ 1 / 0 }}", "cannot show a question"),
        ("{% macro a() %}{{ a() }}{% endmacro %}{{ a() }}", "cannot show a question"),
        ("{% for m in messages %}{{ m.content[:-3] }}{% endfor %}", "shows the whole of .* 0 times"),
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


@pytest.mark.parametrize(
    ("call", "day"),
    [("format='%d %B'", "26 July"), ("'%-m/%d/%y'", "7/26/24"), ("'%A, %j, %I %p'", "Friday, 208, 12 PM")],
)
def test_a_template_may_ask_for_the_day_in_any_form(call, day):
    tokenizer = other("{{ strftime_now(CALL) }}. ".replace("CALL", call) + PHI_4)
    assert tokenizer.decode(prompt_halves(tokenizer, TERSE)[0]).startswith(f"{day}. ")


def test_a_template_that_shows_the_system_turn_twice_is_refused():
    twice = "{{ messages[0]['content'] }}" + PHI_4
    with pytest.raises(UserError, match="shows the system turn 2 times, not once"):
        prompt_halves(other(twice), ENGLISH)


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
