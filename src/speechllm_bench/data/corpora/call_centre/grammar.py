"""Reads and checks the call-centre grammar, which consists of domain files in YAML.

A domain file defines slots, intents with A and B wordings, and answers. `domains/shared.yaml` defines slots
and lines that every domain uses. In a wording, ``[x|y|]`` stands for one of its alternatives (possibly none)
and ``{slot}`` for a value. Every mistake raises UserError with file and key.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from pathlib import Path
from typing import TypeVar

import yaml

from speechllm_bench.data.corpora.call_centre.values import KINDS
from speechllm_bench.errors import UserError
from speechllm_bench.settings.strict import read_yaml
from speechllm_bench.storage.schema import ENTITY_TAGS, SENTIMENTS, SlotType

FOLDER = Path(__file__).parent
DOMAINS = FOLDER / "domains"
AGENT_FILE = FOLDER / "agent.yaml"
SHARED = "shared"
WORDINGS = ("A", "B")

_ALTERNATIVES = re.compile(r"\[([^\[\]]*)\]")
_SLOT = re.compile(r"\{([a-z_0-9]+)\}")
_CALLER_LINES = ("confirmations", "thanks", "complaints", "praise", "smalltalk")
_AGENT_LINES = ("acknowledgements", "patience", "checks", "waits", "more", "closings")


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

    def expansions(self) -> Iterator[str]:
        for choice in product(*self.pieces):
            yield " ".join("".join(choice).split())


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


def parse_wording(text: object, where: str) -> Wording:
    """Return a template split into pieces. Raises UserError unless it is spoken text with [..] and {..}."""
    if not isinstance(text, str):
        raise UserError(
            f"{where}: {text!r} is not text (YAML reads yes, no, on, off as truth values: quote it)"
        )
    pieces: list[tuple[str, ...]] = []
    end = 0
    for match in _ALTERNATIVES.finditer(text):
        pieces += [(text[end : match.start()],), tuple(match[1].split("|"))]
        end = match.end()
    pieces.append((text[end:],))
    slots = frozenset(_SLOT.findall(text))
    bare = _SLOT.sub(" ", text[end:] + "".join(" ".join(p) for p in pieces[:-1]))
    if wrong := re.search(r"[^a-z' ]", bare):
        raise UserError(
            f'{where}: "{text}" has "{wrong[0]}"; only lower-case words, [x|y|] and {{slot}} can stand'
        )
    if glued := re.search(r"[^ \[|]\{|\}[^ \]|]", text):
        raise UserError(f'{where}: "{text}" needs a space at "{glued[0]}"')
    return Wording(text, tuple(p for p in pieces if p != ("",)), slots)


def load_grammar(folder: Path = DOMAINS, agent_file: Path = AGENT_FILE) -> Grammar:
    """Return the checked grammar in `<folder>/*.yaml` (one of them shared.yaml) and the agent's lines."""
    records = {path.stem: _File(path) for path in sorted(folder.glob("*.yaml"))}
    if SHARED not in records or len(records) < 2:
        raise UserError(f"{folder} needs {SHARED}.yaml and at least one domain file")
    slots: dict[str, Slot] = {}
    for file in records.values():
        for name, slot in file.slots().items():
            if name in slots:
                raise UserError(f'{file}: slot "{name}" is already one of "{slots[name].type.domain}"')
            slots[name] = slot
    shared = records.pop(SHARED)
    shared_answers = shared.answers(slots)
    caller = {topic: shared.wordings(topic, shared.get(topic, dict), {}) for topic in _CALLER_LINES}
    agent = _File(agent_file)
    return Grammar(
        slots=slots,
        domains=tuple(file.domain(slots, shared_answers) for file in records.values()),
        shared_answers=tuple(shared_answers),
        caller=caller,
        hesitations=tuple(w.source for w in shared.lines("hesitations", shared.get("hesitations", list), {})),
        agent={topic: agent.lines(topic, agent.get(topic, list), {}) for topic in _AGENT_LINES},
    )


@lru_cache(1)
def embedded_grammar() -> Grammar:
    return load_grammar()


Kind = TypeVar("Kind")


class _File:
    """One YAML file. Its methods convert parts of it to checked records."""

    def __init__(self, path: Path) -> None:
        self._name = path.name
        try:
            self._record = read_yaml(path)
        except yaml.YAMLError as error:
            raise UserError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from error
        if not isinstance(self._record, dict):
            raise UserError(f"{path} must be a mapping with keys such as slots and answers")

    def __str__(self) -> str:
        return self._name

    def get(self, key: str, kind: type[Kind]) -> Kind:
        value = self._record.get(key)
        if not isinstance(value, kind) or not value:
            raise UserError(f"{self}: {key} is missing or is no {_KIND_WORDS[kind]}")
        return value

    def slots(self) -> dict[str, Slot]:
        return {name: self._slot(name, spec) for name, spec in self.get("slots", dict).items()}

    def _slot(self, name: str, spec: dict) -> Slot:
        where = f"{self}: slots.{name}"
        _check_keys(where, spec, {"description"}, {"values", "kind", "entity", "paraphrases", "ood"})
        if ("values" in spec) == ("kind" in spec):
            raise UserError(f"{where} needs either values (closed class) or kind (open class)")
        if "kind" in spec and spec["kind"] not in KINDS:
            raise UserError(f"{where}.kind is {spec['kind']!r}; choose one of {', '.join(sorted(KINDS))}")
        if spec.get("entity", "ORG") not in ENTITY_TAGS:
            raise UserError(f"{where}.entity is {spec['entity']!r}; choose one of {', '.join(ENTITY_TAGS)}")
        values = tuple(w.source for w in self.lines(f"slots.{name}.values", spec.get("values", []), {}))
        slot_type = SlotType(
            name=name,
            description=spec["description"],
            open_class="kind" in spec,
            ood=spec.get("ood", False),
            domain=self.get("domain", str),
            paraphrases=tuple(spec.get("paraphrases", ())),
        )
        return Slot(slot_type, spec.get("kind"), values, spec.get("entity"))

    def lines(self, key: str, texts: list, slots: dict[str, Slot], ood: bool = False) -> tuple[Wording, ...]:
        """Return checked wordings. They may use only `slots`, and out-of-domain slots only if `ood`."""
        if not isinstance(texts, list):
            raise UserError(f"{self}: {key} must be a list of lines")
        wordings = tuple(parse_wording(text, f"{self}: {key}") for text in texts)
        for wording in wordings:
            for name in sorted(wording.slots):
                used = f'{self}: {key}: "{wording.source}" uses {{{name}}}'
                if name not in slots:
                    raise UserError(f"{used}, which cannot stand here")
                if slots[name].type.ood and not ood:
                    raise UserError(f"{used}, which only B may use")
        return wordings

    def wordings(self, key: str, spec: dict, own: dict[str, Slot]) -> dict[str, tuple[Wording, ...]]:
        """Return the A and B lists of one entry. own: its slots; an empty dict allows no slots."""
        _check_keys(f"{self}: {key}", spec, set(WORDINGS), {"ask", "needs", "sentiment"} if own else set())
        return {w: self.lines(f"{key}.{w}", spec[w], own, ood=w == "B") for w in WORDINGS}

    def answers(self, slots: dict[str, Slot]) -> dict[str, Answer]:
        found = {}
        for name, spec in self.get("answers", dict).items():
            key = f"answers.{name}"
            _check_keys(f"{self}: {key}", spec, {"ask", *WORDINGS}, set())
            if name not in slots:
                raise UserError(f'{self}: answers has "{name}", which is no slot')
            answer = Answer(self.lines(f"{key}.ask", spec["ask"], {}), self.wordings(key, spec, slots))
            for wording in (*answer.wordings["A"], *answer.wordings["B"]):
                if not all(f"{{{name}}}" in text for text in wording.expansions()):
                    raise UserError(f'{self}: {key}: "{wording.source}" does not answer with {{{name}}}')
            found[name] = answer
        return found

    def domain(self, slots: dict[str, Slot], shared_answers: dict[str, Answer]) -> Domain:
        name = self.get("domain", str)
        slots = {n: s for n, s in slots.items() if s.type.domain in (name, SHARED)}
        answers = {**shared_answers, **self.answers(slots)}
        intents = []
        for intent, spec in self.get("intents", dict).items():
            key = f"intents.{intent}"
            _check_keys(f"{self}: {key}", spec, {*WORDINGS, "needs"}, {"sentiment"})
            if unanswered := [need for need in spec["needs"] if need not in answers]:
                raise UserError(f"{self}: {key}.needs has {unanswered[0]}, for which there are no answers")
            sentiment = spec.get("sentiment", "neutral")
            if sentiment not in SENTIMENTS:
                known = ", ".join(SENTIMENTS)
                raise UserError(f"{self}: {key}.sentiment is {sentiment!r}; choose one of {known}")
            openings = self.wordings(key, spec, slots)
            intents.append(Intent(intent, openings, tuple(spec["needs"]), sentiment))
        greetings = self.lines("greetings", self.get("greetings", list), {"company": _COMPANY})
        return Domain(name, self.get("industry", str), tuple(intents), answers, greetings)


_COMPANY = Slot(SlotType("company", "the company called", True, False, SHARED), None, (), None)
_KIND_WORDS: dict[type, str] = {dict: "mapping", list: "list", str: "text"}


def _check_keys(where: str, spec: object, required: set[str], optional: set[str]) -> None:
    if not isinstance(spec, dict):
        raise UserError(f"{where} must be a mapping with {', '.join(sorted(required))}")
    if missing := sorted(required - set(spec)):
        raise UserError(f"{where} lacks {missing[0]}")
    if unknown := sorted(str(key) for key in set(spec) - required - optional):
        known = ", ".join(sorted(required | optional))
        raise UserError(f'{where} has the unknown key "{unknown[0]}"; known: {known}')
