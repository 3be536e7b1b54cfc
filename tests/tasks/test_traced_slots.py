"""The text of a trace, and slot filling with one: written and read over the corpus, and when malformed."""

from __future__ import annotations

import random
from functools import cache
from typing import get_args

import pytest

from speechllm_bench.data import questions
from speechllm_bench.data.corpora import call_centre
from speechllm_bench.settings.config import PromptStyle
from speechllm_bench.settings.evaluation_config import TaskName
from speechllm_bench.settings.experiments import load_study
from speechllm_bench.settings.profiles import load_profile
from speechllm_bench.storage import paths
from speechllm_bench.storage.schema import Utterance
from speechllm_bench.tasks import TASKS, slots, trace
from speechllm_bench.tasks.trace import MALFORMED, Trace
from speechllm_bench.tasks.traced_slots import ABSENT, FORMS

N = 400
TYPES = call_centre.slot_types()
CASES = [("train", False), ("A-test", False), ("B-test", False), ("B-test", True)]


@cache
def corpus(split: str) -> list[Utterance]:
    return call_centre.utterances(split, N)


def train(task: str, epoch: int = 0, n: int = N, style: PromptStyle | None = None):
    turns = corpus("train")[:n]
    return [questions.training_example(u, TYPES, {task: 1.0}, 3, epoch, style=style) for u in turns]


def test_every_task_of_a_config_is_there():
    assert set(get_args(TaskName)) == set(TASKS) and set(FORMS) < set(TASKS)
    assert all(name == form.name for name, form in FORMS.items())


@pytest.mark.parametrize(("split", "ood"), CASES)
@pytest.mark.parametrize("task", FORMS)
def test_what_is_written_is_read_back(split, ood, task):
    for utterance in corpus(split):
        example = questions.evaluation_example(utterance, TYPES, task, ood)
        plain = questions.evaluation_example(utterance, TYPES, "slots", ood)
        read = trace.parse(example.target)
        assert read.malformed == () and trace.write(read) == example.target
        assert trace.parse(trace.write(read)) == read
        assert TASKS[task].parse(example.target) == read.answer == slots.parse(plain.target)
        assert (example.id, example.asked) == (plain.id, plain.asked) and example.task == task
        assert read.thinks == FORMS[task].thinks


def test_each_form_has_its_parts():
    parts = {task: trace.parse(train(task)[0].target) for task in FORMS}
    there = {task: (t.transcript is not None, t.mentions is not None, t.reasons is not None)
             for task, t in parts.items()}  # fmt: skip
    assert there == {
        "slots_transcript": (True, False, False),
        "slots_mentions": (True, True, False),
        "slots_reasoning": (True, True, True),
        "slots_think": (True, True, True),
        "slots_no_think": (False, False, False),
    }


@pytest.mark.parametrize("style", [None, "english"])
def test_every_form_puts_the_question_of_slots_from_the_same_draws(style):
    plain = train("slots", epoch=2, style=style)
    for task, form in FORMS.items():
        says = "First write" in form.below(style)
        assert says == (style == "english" and form.thinks)  # terse prompts leave it to the examples
        for one, other in zip(plain, train(task, epoch=2, style=style)):
            assert other.prompt.startswith(one.prompt) and other.system == one.system
            if style is None:
                assert other.prompt == one.prompt + (f"\n{form.switch}" if form.switch else "")
            assert other.prompt.endswith(f"\n{form.switch}" if form.switch else "")
            assert (other.asked, slots.parse(one.target)) == (one.asked, trace.parse(other.target).answer)
            assert form.plain(other) == one


def test_reasons_name_each_asked_slot_and_words_that_stand_beside_its_value():
    wordings = set()
    for utterance, example in zip(corpus("train"), train("slots_reasoning")):
        read = trace.parse(example.target)
        spoken = f" {utterance.transcript} "
        assert set(read.reasons) == set(example.asked)
        for name, why in read.reasons.items():
            if name not in read.answer:
                assert why in ABSENT
                wordings.add(why)
                continue
            value = read.answer[name]
            assert why.startswith(value)
            kind, _, word = why.removeprefix(f"{value} ").partition(" ")
            beside = {"after": f" {word} {value}", "before": f"{value} {word}", "alone": value}
            assert beside[kind] in spoken
            wordings.add(kind)
    assert wordings >= {*ABSENT, "after", "before"}


def test_a_hybrid_stage_sees_each_turn_once_in_a_drawn_mode_with_its_switch():
    shares = {"slots_think": 0.5, "slots_no_think": 0.5}
    drawn = [questions.training_example(u, TYPES, shares, 1, 0) for u in corpus("train")]
    assert [e.utterance_id for e in drawn] == [u.id for u in corpus("train")]
    thinking = [e for e in drawn if e.prompt.endswith("\n/think")]
    assert abs(len(thinking) / len(drawn) - 0.5) < 0.08
    for example in drawn:
        thinks = example in thinking
        assert thinks or example.prompt.endswith("\n/no_think")
        assert trace.parse(example.target).thinks == thinks
    again = [questions.training_example(u, TYPES, shares, 1, 1) for u in corpus("train")]
    assert 0.3 < sum(a.task != b.task for a, b in zip(drawn, again)) / len(drawn) < 0.7  # drawn anew


WHOLE = (
    '<think>caller: to rome\nfound: rome\ncity: rome after to</think><response>{"city": "rome"}</response>'
)


def test_a_whole_trace():
    assert trace.parse(WHOLE) == Trace({"city": "rome"}, "to rome", ("rome",), {"city": "rome after to"})
    assert trace.parse(WHOLE).malformed == ()


ROME = {"city": "rome"}


@pytest.mark.parametrize(
    ("text", "answer", "kinds"),
    [
        ('{"city": "rome"}', ROME, ()),
        ('<think>\n\n</think>\n\n{"city": "rome"}', ROME, ()),  # Qwen3 where it does not think
        (WHOLE.removeprefix("<think>"), ROME, ("think not opened",)),
        (WHOLE.replace("</think>", ""), ROME, ("think not closed",)),
        (WHOLE.replace("<response>", ""), ROME, ("response not opened",)),
        (WHOLE.replace("</response>", ""), ROME, ("response not closed",)),
        (WHOLE.replace("<response>", "").replace("</response>", ""), ROME, ("response not opened",)),
        (WHOLE + " that is it", ROME, ("text behind",)),
        ("well " + WHOLE, ROME, ("text around the answer",)),
        (WHOLE.replace("</think>", "</think>so "), ROME, ("text around the answer",)),
        (WHOLE.replace('{"city"', 'so {"city"'), None, ("text around the answer",)),
        (WHOLE + '<response>{"city": "oslo"}</response>', None, ("two responses",)),
        (WHOLE.replace('"}', '"} {"city": "oslo"}'), None, ("two answers",)),
        (WHOLE.replace('"}', ""), None, ("broken answer",)),
        (WHOLE.replace('{"city": "rome"}', ""), None, ("no answer",)),
        (WHOLE.replace('{"city": "rome"}', "rome"), None, ("no answer",)),
        (WHOLE.split("</think>")[0], None, ("think not closed", "no answer")),
        (WHOLE.replace("found: ", "hm\nfound: "), ROME, ("stray line",)),
        (WHOLE.replace("</think>", "\ncity: not said</think>"), ROME, ("stray line",)),
        (WHOLE.replace("</think>", "\nfound: oslo</think>"), ROME, ("stray line",)),
        (WHOLE.replace("</think>", '\n{"city": "oslo"}</think>'), ROME, ("stray line",)),
        ("", None, ("no answer",)),
        ("rome", None, ("no answer",)),
        ('{"city": "rome"} ok', None, ("text around the answer",)),
        ("<response><think></response></think>", None, ("text around the answer", "no answer", "stray line")),
    ],
)
def test_what_is_malformed_is_named_and_never_raised(text, answer, kinds):
    read = trace.parse(text)
    assert (read.answer, read.malformed) == (answer, kinds)
    assert set(kinds) <= set(MALFORMED)


def test_an_answer_without_a_trace_counts_as_it_does_in_the_task_slots():
    for raw in ['{"a": "b"}', '{"a": "b"} {"c": "d"}', "[]", "", '{"a": "b"', ' {"first name": null} ']:
        assert trace.parse(raw).answer == slots.parse(raw)


def test_torn_and_shuffled_traces_are_read_too():
    rng = random.Random(0)
    texts = [e.target for e in train("slots_think", n=100)]
    seen = set()
    for _ in range(3000):
        a, b = rng.choice(texts), rng.choice(texts)
        i, j = sorted(rng.sample(range(len(a)), 2))
        read = trace.parse(rng.choice([a[:i] + a[j:], a[:i] + b[j:], a[i:] + b, a[:i], a[j:]]))
        assert read.answer is None or isinstance(read.answer, dict)
        seen.update(read.malformed)
    assert seen <= set(MALFORMED) and len(seen) >= 8


@pytest.fixture(scope="module")
def n_tokens():
    from speechllm_bench.models.llm import load_tokenizer

    tokenizer = load_tokenizer("zoo/llm-mini-hybrid")  # on which the studies stand
    return lambda text: len(tokenizer(text, add_special_tokens=False)["input_ids"])


def test_traces_are_short_and_decoding_goes_far_enough(n_tokens):
    profiles = [load_profile(paths.EXPERIMENTS / "profiles" / f"{p}.yaml") for p in ("smoke", "mini")]
    longest = min(profile.decoding.trace_tokens for profile in profiles)
    thoughts, said = 0, 0
    for split, ood in CASES:
        for utterance in corpus(split)[:200]:
            example = questions.evaluation_example(utterance, TYPES, "slots_think", ood)
            thought = example.target.removeprefix("<think>").split("</think>")[0]
            thoughts, said = thoughts + n_tokens(thought), said + n_tokens(utterance.transcript)
            assert n_tokens(example.target) < longest
    assert 2 < thoughts / said < 4.5


def test_hybrid_matched_gives_its_controls_the_hybrids_tokens_within_5_percent(n_tokens):
    """Protocol, rule 8: tokens that the loss is taken over, of the answers and their ends."""
    study = load_study(paths.EXPERIMENTS / "hybrid_matched.yaml")
    mean = {t: 1 + sum(n_tokens(e.target) for e in train(t)) / N for t in (*FORMS, "slots", "transcription")}

    def tokens(variant: str) -> float:
        stage = study.variant(variant).stages[-1]
        beside = sum(len(budgets) * mean[task] for task, budgets in (stage.beside or {}).items())
        return stage.times * sum(share * mean[task] for task, share in stage.tasks.items()) + beside

    hybrid = tokens("hybrid_think")
    for control in ("regular_tokens", "reasoning_tokens", "regular_ast_tokens"):
        assert tokens(control) / hybrid == pytest.approx(1, abs=0.05), control
    assert tokens("regular") < 0.5 * hybrid and study.variant("regular").stages[-1].times == 1
