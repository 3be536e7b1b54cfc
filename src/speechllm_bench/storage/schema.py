"""The records that pass from one stage of the suite to the next; plain data, no torch.

Every record is frozen and converts to and from plain JSON with `to_json` and `from_json`, so each
arrow of the pipeline is a file that can be printed, tested and rerun alone.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal, get_args

Gold = Literal["transcript", "slots", "domain", "intent", "entities", "sentiment"]
ALL_GOLD: tuple[Gold, ...] = get_args(Gold)
"""Fields of an utterance that there can be gold for."""
SENTIMENTS = ("negative", "neutral", "positive")
CURVE_COLUMNS = ("stage", "step", "examples", "split", "metric", "value")
"""Of every curve.csv. Losses are in nats per target token."""
SECONDS = "seconds"  # the metric of a curve that is training time so far, without validation

EntityTag = Literal["WHEN", "QUANT", "PLACE", "NORP", "ORG", "LAW", "PERSON"]
ENTITY_TAGS: tuple[EntityTag, ...] = get_args(EntityTag)
"""SLUE's combined named-entity tags (slue-toolkit, raw_to_combined_tag_map)."""


@dataclass(frozen=True)
class SlotType:
    """A kind of information a caller can be asked for."""

    name: str  # snake_case, as it is written in prompts
    description: str  # a short phrase
    open_class: bool  # True: values are drawn from an unbounded supply (names, amounts)
    ood: bool  # True: asked in B-test's out-of-domain questions alone
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
    """One turn of the dialogue so far, as text."""

    role: str  # "agent" or "caller"
    text: str


@dataclass(frozen=True)
class Voice:
    """How an utterance is spoken. Speaker identity is accent and variant; pitch and rate are not."""

    accent: str  # espeak-ng voice name, e.g. "en-us"
    variant: str  # espeak-ng variant, e.g. "m3"
    rate: int  # words a minute
    pitch: int  # 0 to 99
    snr_db: float  # of the noise added on the telephone channel
    seed: int  # of synthesis and noise

    @property
    def speaker(self) -> str:
        return f"{self.accent}+{self.variant}"


@dataclass(frozen=True)
class Utterance:
    """One caller turn with everything that is known about it."""

    id: str  # corpus, split, call and turn: unique and independent of what is on disk
    split: str
    call_id: str
    turn_index: int
    domain: str
    company: str
    intent: str
    transcript: str  # lower case, as spoken: no digits, no punctuation but the apostrophe
    slots: tuple[SlotValue, ...]
    entities: tuple[Entity, ...]
    sentiment: str
    context: tuple[Turn, ...]  # all earlier turns of the call, oldest first
    speaker: str
    voice: Voice | None = None  # None for recorded speech
    gold: tuple[Gold, ...] = ()  # the fields that there is gold for; what is not listed is not known

    def to_json(self) -> dict:
        return asdict(self)

    def hashed(self) -> dict:
        """The part that a hash of utterances rests on; what it has gold for is its reader's to say."""
        return {name: value for name, value in self.to_json().items() if name != "gold"}

    @classmethod
    def from_json(cls, record: dict) -> Utterance:
        """An utterance from its record. Without `gold`: only synthetic corpora were stored before there was
        such a list, and these had gold for all fields.
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
    """One question about one utterance: what the model reads and what it is to say."""

    id: str  # utterance id, task and draw
    utterance_id: str
    task: str  # a name in tasks.TASKS
    prompt: str  # the user's message; tasks.AUDIO marks where the speech goes
    target: str  # what the model is to say
    asked: tuple[str, ...] = ()  # slot names asked for, distractors included; of sit and sqit what is asked
    instruction: str = ""  # id of the spoken instruction that is heard behind the turn (sqit)
    system: str = ""  # the system turn before the user's message, in the LLM's own chat format; "": none


@dataclass(frozen=True)
class Prediction:
    """A model's answer to one example, raw and parsed, beside the gold answer."""

    example_id: str
    utterance_id: str
    speaker: str
    task: str
    raw: str  # generated text, untouched
    gold: str  # the example's target
    asked: tuple[str, ...]
    n_tokens: int  # tokens generated, the end token included
    transcript: str  # of the utterance, for error analysis
    trace_tokens: int = 0  # of n_tokens, those up to the end of the thought

    def to_json(self) -> dict:
        return asdict(self)

    @classmethod
    def from_json(cls, record: dict) -> Prediction:
        return cls(**{**record, "asked": tuple(record["asked"])})


@dataclass(frozen=True)
class Interval:
    """A number with its 95 % confidence interval and what it rests on."""

    value: float
    low: float
    high: float
    n: int  # examples
    n_speakers: int
    n_seeds: int
