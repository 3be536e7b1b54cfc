"""Problems with their steps: right by construction, checked by other means; held-out ones stay out."""

from __future__ import annotations

import re

import pytest

from speechllm_bench.data.corpora import call_centre
from speechllm_bench.tasks import AUDIO, slots, trace
from speechllm_bench.tasks.traced_slots import FORMS
from speechllm_bench.zoo.texts import problems as drawing
from speechllm_bench.zoo.texts.small_worlds import unseen_words

N = 1500


@pytest.fixture(scope="module")
def problems():
    return {s: [drawing.problem(i, 7, subject=s) for i in range(N)] for s in drawing.SUBJECTS}


def computed(step: str) -> str:
    """The result that a step's left side has, read from the text alone."""
    a, operation, b = re.fullmatch(r"(?:\w=)?(\d+)([+*-])(\d+)=\d+", step).groups()
    return str({"+": int(a) + int(b), "-": int(a) - int(b), "*": int(a) * int(b)}[operation])


def test_arithmetic_is_right_step_by_step_and_in_words(problems):
    words = {"add": "+", "plus": "+", "take away": "-", "minus": "-", "times": "*"}
    for p in problems["arithmetic"]:
        assert [s.rsplit("=")[-1] for s in p.steps] == [computed(s) for s in p.steps]
        first, *told = p.text.split(" then ")
        value = int(first.split()[-1])
        for part, step in zip(told, p.steps, strict=True):
            word, operand = part.rsplit(" ", 1)
            assert step.startswith(f"{value}{words[word]}{operand}=")
            value = int(step.rsplit("=")[-1])
            assert 0 <= value <= drawing.LARGEST
        assert p.answer == str(value)


def test_a_program_prints_what_python_prints(problems):
    for p in problems["code"]:
        *lines, printed = p.text.split("\n")
        values: dict[str, int] = {}
        for line in lines:
            name, expression = line.split("=")
            assert re.fullmatch(r"\d+|[a-z][+*-]\d+", expression)
            values[name] = eval(expression, {}, values)
        assert p.answer == str(values[printed.removeprefix("print ")])
        assert p.steps[-1] == f"{printed.removeprefix('print ')}={p.answer}"
        assert all(s.rsplit("=")[-1] == computed(s) for s in p.steps[:-1])


def test_a_row_of_things_answers_as_its_order_does(problems):
    for p in problems["logic"]:
        told, asked = re.fullmatch(r"(.*) is (the \w+ before the \w+)", p.text).groups()
        pairs = {(a, b) for a, b in re.findall(r"the (\w+) is before the (\w+)", told)}
        pairs |= {(b, a) for a, b in re.findall(r"the (\w+) is after the (\w+)", told)}
        before = set(pairs)
        for _ in pairs:  # transitive closure
            before |= {(a, d) for a, b in before for c, d in before if b == c}
        a, b = re.fullmatch(r"the (\w+) before the (\w+)", asked).groups()
        assert ((a, b) in before, (b, a) in before) == ((True, False) if p.answer == "yes" else (False, True))
        for step in p.steps:
            assert tuple(step.removeprefix("so ").split(" before ")) in before
    share = sum(p.answer == "yes" for p in problems["logic"]) / N
    assert 0.45 < share < 0.55


def test_what_is_held_out_is_never_trained_on(problems):
    trained = {p.text for some in problems.values() for p in some}
    kept = {drawing.problem(i, 99, True, s).text for s in drawing.SUBJECTS for i in range(300)}
    assert len(trained) > 0.9 * 3 * N and len(kept) > 800
    assert not trained & kept
    assert all(not p.held_out for some in problems.values() for p in some)


def test_a_problem_is_put_with_and_without_its_steps():
    p = drawing.problem(3, 7)
    thinks, plain = p.example("a", True, True), p.example("a", False, True)
    assert thinks.prompt.endswith("\n/think") and plain.prompt.endswith("\n/no_think")
    assert {f.thinks: f.switch for f in FORMS.values() if f.switch} == drawing.SWITCH
    assert p.example("a", True, False).prompt == plain.prompt.removesuffix("\n/no_think")
    assert thinks.prompt.count(AUDIO) == 1
    assert re.fullmatch(r"<think>[^<]+</think><response>[^<]+</response>", thinks.target)
    assert plain.target == p.answer == trace.response(thinks.target) == trace.response(plain.target)
    assert thinks.target.split("</think>")[0].removeprefix("<think>").split("\n") == list(p.steps)


@pytest.mark.parametrize(
    ("said", "response"),
    [
        ("<think>1+1=2</think><response>2</response>", "2"),
        ("<think>1+1=2</think> 2 ", "2"),
        ("<think>1+1=2", ""),
        ("2", "2"),
        ("", ""),
    ],
)
def test_what_is_responded_can_be_read_of_anything(said, response):
    assert trace.response(said) == response


def test_no_slot_and_no_word_of_an_unseen_slot_is_in_a_problem(problems):
    texts = [" ".join([p.text, *p.steps]) for some in problems.values() for p in some]
    words = set(re.findall(r"[a-z]+", " ".join(texts)))
    assert len(words) > 150 and not words & unseen_words()
    names = {slots.spoken_name(name) for name in call_centre.slot_types()}
    assert not words & {name for name in names if " " not in name}


def test_the_seed_and_the_number_decide(problems):
    assert problems["code"] == [drawing.problem(i, 7, subject="code") for i in range(N)]
    assert problems["code"][:50] != [drawing.problem(i, 8, subject="code") for i in range(50)]
    mixed = [drawing.problem(i, 7).subject for i in range(600)]
    assert all(150 < mixed.count(s) < 250 for s in drawing.SUBJECTS)
