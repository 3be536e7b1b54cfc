"""Small problems of arithmetic, logic and code with every step to the answer, right by construction.

What reasoning LLMs are mostly trained on, at the size of the embedded one: a chain of two or three operations
on numbers below 100, which of three or four things stands before which, and what a program of a few lines
prints. A problem stands where a caller's words stand. None of it asks for a field.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal
from zlib import crc32

from speechllm_bench.storage.schema import Example
from speechllm_bench.tasks.prompt import user_message
from speechllm_bench.tasks.trace import tagged
from speechllm_bench.tasks.traced_slots import FORMS, SWITCHED
from speechllm_bench.zoo.texts.small_worlds import NOUNS

Subject = Literal["arithmetic", "logic", "code"]
SUBJECTS: tuple[Subject, ...] = ("arithmetic", "logic", "code")
HELD_OUT = 16  # one problem in so many is never trained on
LARGEST = 99  # number on the way to an answer
SWITCH = dict(sorted(((FORMS[name].thinks, switch) for name, switch in SWITCHED.items()), reverse=True))
INSTRUCTION = "work it out"
OPERATIONS = {"+": ("add", "plus"), "-": ("take away", "minus"), "*": ("times",)}
VARIABLES = "abcdxyz"


@dataclass(frozen=True)
class Problem:
    """A problem in words, the steps that lead to its answer, and the answer."""

    subject: Subject
    text: str
    steps: tuple[str, ...]
    answer: str

    @property
    def held_out(self) -> bool:
        """Whether it is kept for measuring: decided by its text alone, whoever draws it."""
        return crc32(self.text.encode()) % HELD_OUT == 0

    def example(self, id: str, thinks: bool, switched: bool) -> Example:
        """With its steps as a thought, or the answer alone; `switched` asks for the one or the other."""
        asked = f"{INSTRUCTION}\n{SWITCH[thinks]}" if switched else INSTRUCTION
        target = tagged("\n".join(self.steps), self.answer) if thinks else self.answer
        return Example(id, id, self.subject, user_message([], asked), target)


def problem(index: int, seed: int, held_out: bool = False, subject: Subject | None = None) -> Problem:
    """Problem `index` of those that are trained on, or of those that are held out."""
    rng = random.Random(f"zoo/{seed}/reasoning/{subject}/{held_out}/{index}")
    while True:
        drawn = DRAW[subject or rng.choice(SUBJECTS)](rng)
        if drawn.held_out == held_out:
            return drawn


def arithmetic(rng: random.Random) -> Problem:
    """Two or three operations, told one after the other, so that none goes before its turn."""
    value = rng.randint(2, 30)
    words, steps = [f"{rng.choice(('start with', 'from', 'take'))} {value}"], []
    for _ in range(rng.choice((2, 3))):
        operation, operand, result = _operation(value, rng)
        words.append(f"{rng.choice(OPERATIONS[operation])} {operand}")
        steps.append(f"{value}{operation}{operand}={result}")
        value = result
    return Problem("arithmetic", " then ".join(words), tuple(steps), str(value))


def logic(rng: random.Random) -> Problem:
    """Things in a row, told pair by pair in any order; does one stand before another?

    The steps walk along the row from the first of the two in it: yes if it is the one asked about.
    """
    row = rng.sample(NOUNS, k=rng.choice((3, 4)))
    told = [rng.choice((f"the {a} is before the {b}", f"the {b} is after the {a}")) for a, b in pairwise(row)]
    rng.shuffle(told)
    first, last = sorted(rng.sample(range(len(row)), k=2))
    steps = [f"{row[i]} before {row[i + 1]}" for i in range(first, last)]
    if last - first > 1:
        steps.append(f"so {row[first]} before {row[last]}")
    asked, other = (first, last) if (yes := rng.random() < 0.5) else (last, first)
    text = f"{' '.join(told)} is the {row[asked]} before the {row[other]}"
    return Problem("logic", text, tuple(steps), "yes" if yes else "no")


def code(rng: random.Random) -> Problem:
    """Assignments to two variables; the steps are their values, line by line."""
    names = rng.sample(VARIABLES, k=2)
    values = {names[0]: rng.randint(2, 20)}
    lines, steps = [f"{names[0]}={values[names[0]]}"], []
    for i in range(rng.choice((2, 3))):
        read = rng.choice(sorted(values))
        written = names[1] if i == 0 else rng.choice(names)
        operation, operand, result = _operation(values[read], rng)
        lines.append(f"{written}={read}{operation}{operand}")
        steps.append(f"{written}={values[read]}{operation}{operand}={result}")
        values[written] = result
    printed = rng.choice(names)
    steps.append(f"{printed}={values[printed]}")
    return Problem("code", "\n".join([*lines, f"print {printed}"]), tuple(steps), str(values[printed]))


DRAW = {"arithmetic": arithmetic, "logic": logic, "code": code}


def _operation(value: int, rng: random.Random) -> tuple[str, int, int]:
    """An operation on `value`, its operand and the result, which is between 0 and `LARGEST`."""
    possible = []
    if value < LARGEST:
        possible.append(("+", rng.randint(1, min(30, LARGEST - value))))
    if value:
        possible.append(("-", rng.randint(1, min(30, value))))
    if value and (most := min(5, LARGEST // value)) > 1:
        possible.append(("*", rng.randint(2, most)))
    operation, operand = rng.choice(possible)
    result = {"+": value + operand, "-": value - operand, "*": value * operand}[operation]
    return operation, operand, result
