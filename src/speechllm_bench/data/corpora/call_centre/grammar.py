"""The call-centre grammar: domain files in YAML, and the lines that every domain uses.

A domain file has slots, intents with A and B wordings, and answers. `domains/shared.yaml` has what every
domain uses. In a wording, ``[x|y|]`` stands for one of its alternatives (possibly none) and ``{slot}`` for a
value. The files are part of the package, so tests check them, and not each start.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from speechllm_bench.settings.strict import read_yaml
from speechllm_bench.storage.schema import SlotType

FOLDER = Path(__file__).parent
DOMAINS = FOLDER / "domains"
AGENT_FILE = FOLDER / "agent.yaml"
SHARED = "shared"
WORDINGS = ("A", "B")
CALLER_LINES = ("confirmations", "thanks", "complaints", "praise", "smalltalk")
_ALTERNATIVES = re.compile(r"\[([^\[\]]*)\]")
_SLOT = re.compile(r"\{([a-z_0-9]+)\}")


@dataclass(frozen=True)
class Wording:
    """A template: literal pieces and alternatives, in order. The word "{slot}" is a placeholder."""

    source: str
    pieces: tuple[tuple[str, ...], ...]
    slots: frozenset[str]  # in any of the alternatives

    def words(self, rng: random.Random) -> list[str]:
        """Return one drawn expansion, as words."""
        return "".join(p[0] if len(p) == 1 else rng.choice(p) for p in self.pieces).split()

    def then(self, other: Wording) -> Wording:
        return Wording(
            f"{self.source} and {other.source}",
            (*self.pieces, (" and ",), *other.pieces),
            self.slots | other.slots,
        )


@dataclass(frozen=True)
class Slot:
    """A slot of a domain file. Closed-class slots have `values`, open-class ones a `kind`."""

    type: SlotType
    kind: str | None
    values: tuple[str, ...]
    entity: str | None


@dataclass(frozen=True)
class Intent:
    name: str
    openings: dict[str, tuple[Wording, ...]]  # by "A" and "B"
    needs: tuple[str, ...]
    sentiment: str


@dataclass(frozen=True)
class Answer:
    ask: tuple[Wording, ...]
    wordings: dict[str, tuple[Wording, ...]]


@dataclass(frozen=True)
class Domain:
    name: str
    industry: str
    intents: tuple[Intent, ...]
    answers: dict[str, Answer]  # by slot; shared ones included
    greetings: tuple[Wording, ...]


@dataclass(frozen=True)
class Grammar:
    slots: dict[str, Slot]
    domains: tuple[Domain, ...]
    shared_answers: tuple[str, ...]  # slots that any agent may ask for
    caller: dict[str, dict[str, tuple[Wording, ...]]]  # slot-free lines: topic -> "A" or "B"
    hesitations: tuple[str, ...]
    agent: dict[str, tuple[Wording, ...]]


def parse_wording(text: str) -> Wording:
    """Return a template split into pieces."""
    pieces: list[tuple[str, ...]] = []
    end = 0
    for match in _ALTERNATIVES.finditer(text):
        pieces += [(text[end : match.start()],), tuple(match[1].split("|"))]
        end = match.end()
    pieces.append((text[end:],))
    return Wording(text, tuple(p for p in pieces if p != ("",)), frozenset(_SLOT.findall(text)))


@cache
def embedded_grammar() -> Grammar:
    """Return the grammar of `domains/*.yaml` and the agent's lines."""
    files = {path.stem: read_yaml(path) for path in sorted(DOMAINS.glob("*.yaml"))}
    slots = {
        name: _slot(name, spec, f["domain"]) for f in files.values() for name, spec in f["slots"].items()
    }
    shared = files.pop(SHARED)
    answers = _answers(shared)
    return Grammar(
        slots=slots,
        domains=tuple(_domain(file, answers) for file in files.values()),
        shared_answers=tuple(answers),
        caller={topic: _wordings(shared[topic]) for topic in CALLER_LINES},
        hesitations=tuple(shared["hesitations"]),
        agent={topic: _lines(texts) for topic, texts in read_yaml(AGENT_FILE).items()},
    )


def _slot(name: str, spec: Mapping, domain: str) -> Slot:
    of_type = {
        "description": spec["description"],
        "open_class": "kind" in spec,
        "ood": spec.get("ood", False),
    }
    slot_type = SlotType(name, **of_type, domain=domain, paraphrases=tuple(spec.get("paraphrases", ())))
    return Slot(slot_type, spec.get("kind"), tuple(spec.get("values", ())), spec.get("entity"))


def _domain(file: Mapping, shared_answers: Mapping[str, Answer]) -> Domain:
    intents = (
        Intent(name, _wordings(spec), tuple(spec["needs"]), spec.get("sentiment", "neutral"))
        for name, spec in file["intents"].items()
    )
    answers = {**shared_answers, **_answers(file)}
    return Domain(file["domain"], file["industry"], tuple(intents), answers, _lines(file["greetings"]))


def _answers(file: Mapping) -> dict[str, Answer]:
    return {name: Answer(_lines(spec["ask"]), _wordings(spec)) for name, spec in file["answers"].items()}


def _wordings(spec: Mapping) -> dict[str, tuple[Wording, ...]]:
    return {name: _lines(spec[name]) for name in WORDINGS}


def _lines(texts: Iterable[str]) -> tuple[Wording, ...]:
    return tuple(map(parse_wording, texts))
