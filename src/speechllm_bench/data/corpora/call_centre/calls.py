"""Generates whole calls from the grammar: agent and caller alternate, and every caller turn has gold.

A call has 4 to 12 turns, one domain and one company. The caller opens with an intent. The agent asks for
missing slots. Some turns are confirmations, complaints, small talk or thanks. Each call has its own random
generator, so a split's first n turns do not depend on n.
"""

from __future__ import annotations

import hashlib
import random
from dataclasses import replace
from functools import cache
from importlib.metadata import version
from itertools import count, islice

from speechllm_bench.data.corpora.call_centre import disfluency
from speechllm_bench.data.corpora.call_centre.disfluency import Filled, Piece
from speechllm_bench.data.corpora.call_centre.grammar import (
    AGENT_FILE,
    DOMAINS,
    Grammar,
    Intent,
    Wording,
    embedded_grammar,
)
from speechllm_bench.data.corpora.call_centre.names import names_file
from speechllm_bench.data.corpora.call_centre.splits import FORMANT, Edition, Split
from speechllm_bench.data.corpora.call_centre.values import KINDS, Supply, Value, company_name, supply
from speechllm_bench.storage.schema import Entity, Gold, SlotType, SlotValue, Turn, Utterance

_CALLER_TURNS = {2: 12, 3: 28, 4: 28, 5: 20, 6: 12}  # number of a call's caller turns -> weight
_CLOSING, _ASIDE, _CONFIRM, _MOODY_OPENING = 0.5, 0.14, 0.25, 0.12  # probabilities of such turns
_EXTRA_QUESTION = 0.4  # probability that the agent asks for one more shared slot
_TELL_MORE = 0.35  # probability that an answer also gives the next slot that the agent would ask for
GOLD: tuple[Gold, ...] = ("transcript", "slots", "domain", "intent", "entities", "sentiment")
_MAX_TRIES = 12  # draws of a value before the next wording is tried


def utterances(split: str, n: int, edition: Edition = FORMANT) -> list[Utterance]:
    """Return the first n caller turns of a split. Raises UserError for an unknown split.

    The turns for a smaller n are the first ones of those for a larger n.
    """
    definition, rules = edition.split(split), embedded_grammar()
    calls = (_Call(definition, rules, index).turns() for index in count())
    return list(islice((utterance for call in calls for utterance in call), n))


def slot_types() -> dict[str, SlotType]:
    """Return all slot types of the corpus by name, in- and out-of-domain."""
    return {name: slot.type for name, slot in embedded_grammar().slots.items()}


@cache
def recipe_hash(edition: Edition = FORMANT) -> str:
    """Return the SHA-256 over everything that the transcripts depend on: version, grammar, names, num2words.

    Faker's version is included, since names.json records the version that it was built with.
    """
    digest = hashlib.sha256(f"{edition.version} num2words {version('num2words')}".encode())
    for path in (*sorted(DOMAINS.glob("*.yaml")), AGENT_FILE, names_file(edition.names)):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


_GREETINGS = frozenset(("hi", "hello"))  # said once per call


class _Call:
    """The state of one call: its turns, the slots filled so far, and its text, to find repeated values."""

    def __init__(self, split: Split, rules: Grammar, index: int) -> None:
        self.rng = random.Random(f"{split.edition.seed}/{split.name}/{index}")
        self.split, self.rules = split, rules
        self.id = f"{split.edition.corpus}/{split.name}/c{index:05d}"
        self.supply: Supply = supply(split.share, split.edition)
        self.domain = self.rng.choice(rules.domains)
        self.company = company_name(self.rng, self.supply, self.domain.industry)
        self.voice = split.voice(self.rng)
        self.intent = self.rng.choice(self.domain.intents)
        self.context: list[Turn] = []
        self.given: set[str] = set()  # slots filled so far
        self.heard = ""  # all of the call so far, for the checks on repeated values
        self.done: list[Utterance] = []

    def turns(self) -> list[Utterance]:
        """Generate the call and return its caller turns, in order."""
        rng, lines = self.rng, self.rules.caller
        n = rng.choices(tuple(_CALLER_TURNS), tuple(_CALLER_TURNS.values()))[0]
        closing = n > 2 and rng.random() < _CLOSING
        asides = 1
        self._agent(self.domain.greetings)
        self._open(self.intent)
        missing = self._missing(self.intent)
        while len(self.done) < n - closing:
            if asides and len(self.done) < n - closing - 1 and rng.random() < _ASIDE:
                self._aside(missing)
                asides -= 1
            elif missing:
                self._ask(missing)
            elif rng.random() < _CONFIRM:
                self._agent(self.rules.agent["checks"])
                self._say_one_of(lines["confirmations"])
            else:
                self._agent(self.rules.agent["more"])
                others = [intent for intent in self.domain.intents if intent is not self.intent]
                self.intent = rng.choice(others or [self.intent])
                self._open(self.intent)
                missing = self._missing(self.intent)
        if closing:
            self._agent(self.rules.agent["closings"])
            self._say_one_of(lines["thanks"], "positive")
        return self.done

    def _missing(self, intent: Intent) -> list[str]:
        """Return the slots that the agent still has to ask for, in order, sometimes with a shared slot."""
        missing = [slot for slot in intent.needs if slot not in self.given]
        extra = self.rng.choice(self.rules.shared_answers)
        if self.rng.random() < _EXTRA_QUESTION and extra not in self.given and extra not in missing:
            missing.append(extra)
        return missing

    def _open(self, intent: Intent) -> None:
        rng, lines = self.rng, self.rules.caller
        mood, prefix = intent.sentiment, []
        if rng.random() < _MOODY_OPENING and not self.done:
            mood = "negative" if mood == "negative" else rng.choice(("negative", "positive"))
            topic = "complaints" if mood == "negative" else "praise"
            prefix = rng.choice(lines[topic][self.split.wordings]).words(rng)
        self._say(self._fresh(intent.openings[self.split.wordings]), mood, prefix)

    def _ask(self, missing: list[str]) -> None:
        """Let the agent ask for the first missing slot. The caller may also give the second one."""
        slot = missing.pop(0)
        if slot in self.given:  # the caller has given it unasked in the meantime
            return
        answers = self.domain.answers
        self._agent(answers[slot].ask, acknowledge=self.rng.random() < 0.5)
        wordings = self._fresh(answers[slot].wordings[self.split.wordings])
        if missing and missing[0] not in self.given and self.rng.random() < _TELL_MORE:
            more = self._fresh(answers[missing[0]].wordings[self.split.wordings])
            # A wording that begins with the value alone would not show which slot it fills.
            more = [wording for wording in more if not wording.source.startswith("{")]
            # Version 4 may fill one slot in both halves of a turn; its stored runs depend on that.
            apart = self.split.edition is not FORMANT
            pairs = [
                one.then(other)
                for one in wordings
                for other in more
                if not (apart and one.slots & other.slots)
            ]
            wordings = [pair for pair in pairs if len(pair.slots) == 2] + wordings
        self._say(wordings)

    def _aside(self, missing: list[str]) -> None:
        """Add a turn without a request: small talk while the caller searches, a complaint or praise."""
        moods = {utterance.sentiment for utterance in self.done}
        topics = [("smalltalk", "neutral"), ("complaints", "negative"), ("praise", "positive")]
        if "positive" in moods:
            topics.remove(("complaints", "negative"))
        if "negative" in moods:
            topics.remove(("praise", "positive"))
        topic, mood = self.rng.choice(topics)
        if topic == "smalltalk" and missing:
            self._agent(self.domain.answers[missing[0]].ask)
        else:
            self._agent(self.rules.agent["waits"])
        self._say_one_of(self.rules.caller[topic], mood)

    def _fresh(self, wordings: tuple[Wording, ...]) -> list[Wording]:
        """Return wordings in random order, sorted by the number of slots that the call has already filled."""
        order = self.rng.sample(wordings, len(wordings))
        return sorted(order, key=lambda wording: len(wording.slots & self.given))

    def _say_one_of(self, lines: dict[str, tuple[Wording, ...]], mood: str = "neutral") -> None:
        wordings = lines[self.split.wordings]
        self._say(self.rng.sample(wordings, len(wordings)), mood)

    def _agent(self, lines: tuple[Wording, ...], acknowledge: bool = False) -> None:
        for _ in range(_MAX_TRIES):
            words = self.rng.choice(lines).words(self.rng)
            if acknowledge:
                words = self.rng.choice(self.rules.agent["acknowledgements"]).words(self.rng) + words
            text = " ".join(words).replace("{company}", self.company)
            if not any(_within(slot.value, text) for done in self.done for slot in done.slots):
                break
        self._heard("agent", text)

    def _heard(self, role: str, text: str) -> None:
        self.context.append(Turn(role, text))
        self.heard += f" {text}"

    def _say(self, wordings: list[Wording], mood: str = "neutral", prefix: list[str] | None = None) -> None:
        """Add the caller's turn, in the first wording for which values new to the call can be drawn."""
        # If no new values are found, small talk ("sorry can you repeat that") is always a possible answer.
        for wording in (*wordings, *self.rules.caller["smalltalk"][self.split.wordings]):
            words = wording.words(self.rng)
            if self.done and words[0] in _GREETINGS:
                words = words[1:]
            if pieces := self._fill(words):
                break
        assert pieces, "small talk can always be said"
        pieces = self._disfluent(pieces)
        if prefix:
            pieces = [*prefix, *pieces]
        text, slots = _join(pieces)
        entities = [
            Entity(tag, slot.value, slot.start, slot.end)
            for slot in slots
            if (tag := self.rules.slots[slot.slot].entity)
        ]
        turn = len(self.context)
        self.done.append(
            Utterance(
                id=f"{self.id}/t{turn:02d}",
                split=self.split.name,
                call_id=self.id,
                turn_index=turn,
                domain=self.domain.name,
                company=self.company,
                intent=self.intent.name,
                transcript=text,
                slots=tuple(slots),
                entities=tuple(entities),
                sentiment=mood,
                context=tuple(self.context),
                speaker=self.voice.speaker,
                voice=replace(self.voice, seed=self.rng.getrandbits(31)),
                gold=GOLD,
            )
        )
        self.given.update(slot.slot for slot in slots)
        self._heard("caller", text)

    def _fill(self, words: list[str]) -> list[Piece] | None:
        """Return the words with a value for each {slot}; None if no new values are found."""
        literal = " ".join(word for word in words if word[0] != "{")
        pieces: list[Piece] = []
        for word in words:
            if word[0] != "{":
                pieces.append(word)
                continue
            value = self._new_value(word[1:-1], literal, pieces)
            if value is None:
                return None
            if pieces and pieces[-1] == "a" and value.spoken[0] in "aeiou":
                pieces[-1] = "an"
            pieces.append(Filled(word[1:-1], value))
        return pieces

    def _new_value(self, slot: str, literal: str, pieces: list[Piece]) -> Value | None:
        """Return a value that is not in the call so far, in the turn's other words or in its other values.

        None if `_MAX_TRIES` draws give no such value.
        """
        taken = [piece.value.spoken for piece in pieces if isinstance(piece, Filled)]
        for _ in range(_MAX_TRIES):
            value = self._draw(slot)
            new = value.spoken
            if not (_within(new, self.heard) or _within(new, literal)) and not any(
                _within(new, other) or _within(other, new) for other in taken
            ):
                return value
        return None

    def _draw(self, slot: str) -> Value:
        spec = self.rules.slots[slot]
        if spec.kind is None:
            choice = self.rng.choice(spec.values)
            return Value(choice, choice)
        return KINDS[spec.kind](self.rng, self.supply)

    def _disfluent(self, pieces: list[Piece]) -> list[Piece]:
        rng = self.rng
        places = disfluency.correctable(pieces)
        if places and rng.random() < disfluency.CORRECT:
            at = rng.choice(places)
            filled = pieces[at]
            assert isinstance(filled, Filled)
            if wrong := self._new_value(filled.slot, "", pieces):
                pieces = disfluency.correct(pieces, rng, at, wrong)
        if rng.random() < disfluency.RESTART:
            pieces = disfluency.restart(pieces, rng)
        if rng.random() < disfluency.HESITATE:
            pieces = disfluency.hesitate(pieces, rng, self.rules.hesitations)
        return pieces


def _within(value: str, text: str) -> bool:
    return f" {value} " in f" {text} "


def _join(pieces: list[Piece]) -> tuple[str, list[SlotValue]]:
    text, slots = "", []
    for piece in pieces:
        if text:
            text += " "
        if isinstance(piece, Filled):
            start, value = len(text), piece.value
            text += value.spoken
            slots.append(SlotValue(piece.slot, value.spoken, value.canonical, start, len(text)))
            text += f" {value.tail}" if value.tail else ""
        else:
            text += piece
    return text, slots
