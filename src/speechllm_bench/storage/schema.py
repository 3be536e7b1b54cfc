"""The records that one step of the suite passes to the next. They are plain data, without torch.

Every record is frozen. Those that are stored convert to and from plain JSON with `to_json` and `from_json`,
so each step of the pipeline can be inspected, tested and rerun alone.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal, get_args

Gold = Literal["transcript", "slots", "domain", "intent", "entities", "sentiment"]
ALL_GOLD: tuple[Gold, ...] = get_args(Gold)
"""Fields of an utterance that can have gold."""
SENTIMENTS = ("negative", "neutral", "positive")
CURVE_COLUMNS = ("stage", "step", "examples", "split", "metric", "value")
"""Columns of every curve.csv. Losses are in nats per target token."""
SECONDS = "seconds"  # curve metric: training time so far, without validation

EntityTag = Literal["WHEN", "QUANT", "PLACE", "NORP", "ORG", "LAW", "PERSON"]
ENTITY_TAGS: tuple[EntityTag, ...] = get_args(EntityTag)
"""SLUE's combined named-entity tags (slue-toolkit, raw_to_combined_tag_map)."""


@dataclass(frozen=True)
class SlotType:
    """A kind of information that a question can ask for."""

    name: str  # snake_case; prompts and answers have spaces
    description: str  # a short phrase
    open_class: bool  # True: values come from an unbounded set (names, amounts)
    ood: bool  # True: only asked in out-of-domain questions of the B-test
    domain: str
    paraphrases: tuple[str, ...] = ()  # other names for the same slot


@dataclass(frozen=True)
class SlotValue:
    """A slot filled by a verbatim span of the transcript: transcript[start:end] == value."""

    slot: str
    value: str
    canonical: str  # e.g. "$19.50" for "nineteen fifty"
    start: int  # characters
    end: int


@dataclass(frozen=True)
class Entity:
    """A named entity: transcript[start:end] == text; tag is one of ENTITY_TAGS."""

    tag: str
    text: str
    start: int
    end: int


@dataclass(frozen=True)
class Turn:
    """One earlier turn of the dialogue, as text."""

    role: str  # "agent" or "caller"
    text: str


@dataclass(frozen=True)
class Voice:
    """Synthesis settings of an utterance. Accent and variant identify the speaker; pitch and rate do not."""

    accent: str  # espeak-ng voice name, such as "en-us"; neural: engine and accent, such as "kokoro-us"
    variant: str  # espeak-ng variant, such as "m3"; neural: as in `data.neural_voices`
    rate: int  # espeak-ng: words a minute; neural: percent of the engine's own speed
    pitch: int  # espeak-ng: 0 to 99; neural: percent of the variant's own scale
    snr_db: float  # signal-to-noise ratio of the telephone channel, dB
    seed: int  # seed of synthesis and noise

    @property
    def speaker(self) -> str:
        return f"{self.accent}+{self.variant}"


@dataclass(frozen=True)
class Utterance:
    """One caller turn with all its labels."""

    id: str  # of corpus, split, call and turn: unique and independent of the files on disk
    split: str
    call_id: str
    turn_index: int = 0
    domain: str = ""
    company: str = ""
    intent: str = ""
    transcript: str = ""  # lower case, as spoken: no digits, no punctuation except the apostrophe
    slots: tuple[SlotValue, ...] = ()
    entities: tuple[Entity, ...] = ()
    sentiment: str = ""
    context: tuple[Turn, ...] = ()  # all earlier turns of the call, oldest first
    speaker: str = ""
    voice: Voice | None = None  # None for recorded speech
    gold: tuple[Gold, ...] = ()  # the fields with gold; the others are unknown

    def to_json(self) -> dict:
        return asdict(self)

    def hashed(self) -> dict:
        """Return the record for hashing, without `gold`, which the corpus reader decides."""
        return {name: value for name, value in self.to_json().items() if name != "gold"}

    @classmethod
    def from_json(cls, record: dict) -> Utterance:
        """Return an utterance from its record.

        A record without `gold` is of an older synthetic corpus, which has gold for all fields.
        """
        return cls(
            **{
                **record,
                "slots": tuple(SlotValue(**s) for s in record["slots"]),
                "entities": tuple(Entity(**e) for e in record["entities"]),
                "context": tuple(Turn(**t) for t in record["context"]),
                "voice": Voice(**record["voice"]) if record["voice"] else None,
                "gold": ALL_GOLD if record.get("gold") is None else tuple(record["gold"]),
            }
        )


@dataclass(frozen=True)
class Example:
    """One question about one utterance: the prompt and the target answer."""

    id: str  # utterance id, task and draw
    utterance_id: str
    task: str  # a name in tasks.TASKS
    prompt: str  # the user's message; tasks.AUDIO marks where the speech goes
    target: str  # the answer that the model should give
    asked: tuple[str, ...] = ()  # slot names asked for, including distractors; for sit and sqit the question
    instruction: str = ""  # id of the spoken instruction after the turn (sqit)
    system: str = ""  # the system turn before the user's message; "": none


@dataclass(frozen=True)
class Prediction:
    """A model's raw answer to one example, with the gold answer."""

    example_id: str
    utterance_id: str
    speaker: str
    task: str
    raw: str  # generated text, unchanged
    gold: str  # the example's target
    asked: tuple[str, ...]
    n_tokens: int  # generated tokens, including the end token
    transcript: str  # of the utterance, for error analysis
    trace_tokens: int = 0  # tokens up to the end of the thought, part of n_tokens

    def to_json(self) -> dict:
        return asdict(self)

    @classmethod
    def from_json(cls, record: dict) -> Prediction:
        return cls(**{**record, "asked": tuple(record["asked"])})


@dataclass(frozen=True)
class Interval:
    """A number with its 95 % confidence interval and its numbers of examples, speakers and seeds."""

    value: float
    low: float  # lower end of the 95 % interval
    high: float  # upper end
    n: int  # examples
    n_speakers: int
    n_seeds: int
