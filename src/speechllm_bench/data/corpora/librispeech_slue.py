"""LibriSpeech for transcription, SLUE-VoxPopuli for entities, SLUE-VoxCeleb for sentiment, as in 2509.04473.

Sources: Panayotov et al., ICASSP 2015; Shon et al., ICASSP 2022. The corpus has three sources, each with its
own task only. Nothing is downloaded. The published files are expected below
$SPEECHLLM_BENCH_DATA/librispeech_slue:

    LibriSpeech/{train-clean-100,dev-clean,test-clean}/<speaker>/<chapter>/*.trans.txt, *.flac
    slue-voxpopuli/slue-voxpopuli_{fine-tune,dev,test}.tsv    {fine-tune,dev,test}/<id>.ogg
    slue-voxceleb/slue-voxceleb_{fine-tune,dev,test}.tsv      {fine-tune,dev,test}_raw/<id>.flac

LibriSpeech contributes its 100 hours of clean speech; the paper does not say which part it uses. Texts are
lower case without punctuation. Raw entity tags become SLUE's combined tags, and tags that SLUE discards are
left out. Turns with another sentiment than the three are left out. So are turns longer than 30 s, the length
of Whisper's input. If SLUE names no speaker, each session of parliament counts as one.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from hashlib import sha256
from itertools import chain, islice
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from speechllm_bench.data.audio import SAMPLE_RATE, read_audio, seconds
from speechllm_bench.data.corpora.published import file_hash, published_file, table_rows
from speechllm_bench.data.corpora.recorded import Recorded
from speechllm_bench.errors import MissingInput, UserError
from speechllm_bench.storage.schema import SENTIMENTS, Entity, Gold, Utterance

NAME = "librispeech_slue"
SPLITS = {"train": ("train-clean-100", "fine-tune"), "validation": ("dev-clean", "dev"),
          "A-test": ("test-clean", "test")}  # fmt: skip
"""Names of each split in LibriSpeech and in SLUE."""

SOURCES: dict[str, Gold] = {"librispeech": "transcript", "voxpopuli": "entities", "voxceleb": "sentiment"}
"""The one field that each source has gold for. SLUE's transcripts are not used as gold."""

COMBINED = {
    **dict.fromkeys(("DATE", "TIME"), "WHEN"),
    **dict.fromkeys(("CARDINAL", "MONEY", "ORDINAL", "PERCENT", "QUANTITY"), "QUANT"),
    **dict.fromkeys(("GPE", "LOC"), "PLACE"),
    **{tag: tag for tag in ("LAW", "NORP", "ORG", "PERSON")},
    **dict.fromkeys(("EVENT", "FAC", "LANGUAGE", "PRODUCT", "WORK_OF_ART"), None),
}
"""SLUE's combined tag for each raw tag; None: discarded (slue-toolkit, raw_to_combined_tag_map)."""

PUBLISHED = {
    "LibriSpeech": {"train": 28539, "validation": 2703, "A-test": 2620},
    "SLUE-VoxPopuli": {"train": 5000, "validation": 1753, "A-test": 1842},
    "SLUE-VoxCeleb": {"train": 5777, "validation": 1454, "A-test": 3553},
}
"""Published numbers of utterances."""

LONGEST = 30  # seconds
ROUNDING = 0.1  # seconds by which an annotation may extend beyond its recording

PUNCTUATION = frozenset(".,!?;")


class LibriSpeechSlue(Recorded):
    name = NAME
    version = "3"
    splits = SPLITS
    published: ClassVar = {f"{s}, {split}": n for s, told in PUBLISHED.items() for split, n in told.items()}

    @property
    def sources(self) -> tuple[frozenset[Gold], ...]:
        return tuple(frozenset({field}) for field in SOURCES.values())

    def turns(self, split: str) -> Iterator[Utterance]:
        return chain.from_iterable(_sources(split))

    def first(self, split: str, n: int | None) -> list[Utterance]:
        """Return the first n utterances of each source."""
        return list(chain.from_iterable(islice(source, n) for source in _sources(split)))

    def files(self) -> dict[str, dict[str, str]]:
        return {
            split: {
                "librispeech": _transcripts_hash(self.file(f"LibriSpeech/{subset}")),
                **{source: file_hash(_table(source, part)) for source in ("voxpopuli", "voxceleb")},
            }
            for split, (subset, part) in SPLITS.items()
        }

    def size(self, part: str) -> int:
        source, split = part.split(", ")
        subset, name = SPLITS[split]
        if source == "LibriSpeech":
            files = _transcripts(self.file(f"LibriSpeech/{subset}"))
            return sum(len(file.read_text("utf-8").splitlines()) for file in files)
        return len(_rows(_table(source.rpartition("-")[2].lower(), name)))

    def recording(self, utterance: Utterance) -> np.ndarray:
        whole = read_audio(_file(utterance))
        if utterance.domain != "voxceleb":
            return whole
        start, end = (round(second * SAMPLE_RATE) for second in _part(utterance))
        if not 0 <= start < end <= len(whole) + ROUNDING * SAMPLE_RATE:
            raise UserError(
                f"{_file(utterance)} lasts {len(whole) / SAMPLE_RATE:.2f} s, and its annotation is of the "
                f"part from {start / SAMPLE_RATE:.2f} to {end / SAMPLE_RATE:.2f} s; fetch the recording again"
            )
        return whole[start:end]


def _sources(split: str) -> Iterator[Iterator[Utterance]]:
    for read in (_librispeech, _voxpopuli, _voxceleb):
        yield filter(_can_be_heard, read(split))


def _can_be_heard(utterance: Utterance) -> bool:
    """Whether an utterance is at most `LONGEST` seconds long.

    If the header says it is longer, the audio is read to check that. An unreadable file counts as short
    enough, since a later step reports it.
    """
    if utterance.domain == "voxceleb":
        return _seconds(utterance) <= LONGEST
    try:
        if _seconds(utterance) <= LONGEST:
            return True
        return len(read_audio(_file(utterance))) <= LONGEST * SAMPLE_RATE
    except MissingInput:
        raise
    except UserError:
        return True


def _seconds(utterance: Utterance) -> float:
    if utterance.domain != "voxceleb":
        return seconds(_file(utterance))
    start, end = _part(utterance)
    return max(end - start, 0.0)


def _file(utterance: Utterance) -> Path:
    """Return the file of an utterance's recording. For VoxCeleb, the utterance is a part of it."""
    source, split, name = utterance.id.split("/", 2)
    subset, part = SPLITS[split]
    if source == "librispeech":
        return _chapter(subset, name) / f"{name}.flac"
    if source == "voxpopuli":
        return published_file(NAME, f"slue-voxpopuli/{part}") / f"{name}.ogg"
    return published_file(NAME, f"slue-voxceleb/{part}_raw") / f"{name}.flac"


def _part(utterance: Utterance) -> tuple[float, float]:
    _, split, name = utterance.id.split("/", 2)
    row = _rows(_table("voxceleb", SPLITS[split][1]))[name]
    try:
        return float(row["start_second"]), float(row["end_second"])
    except ValueError:
        table = _table("voxceleb", SPLITS[split][1])
        raise UserError(f"{table.name}: {name} has no start and end in seconds; fetch it again") from None


def _librispeech(split: str) -> Iterator[Utterance]:
    for file in _transcripts(published_file(NAME, f"LibriSpeech/{SPLITS[split][0]}")):
        for line in filter(None, file.read_text(encoding="utf-8").split("\n")):
            name, _, text = line.partition(" ")
            speaker = name.split("-")[0]
            yield _utterance("librispeech", split, name, speaker, text.lower())


def _voxpopuli(split: str) -> Iterator[Utterance]:
    for name, row in _rows(_table("voxpopuli", SPLITS[split][1])).items():
        speaker = row.get("speaker_id") or ""
        text, entities = annotated(row["normalized_text"], row["normalized_ner"])
        known = speaker if speaker not in ("", "None") else name.split("_")[0]
        yield _utterance("voxpopuli", split, name, known, text, entities=entities)


def _voxceleb(split: str) -> Iterator[Utterance]:
    for name, row in _rows(_table("voxceleb", SPLITS[split][1])).items():
        if (sentiment := row["sentiment"].lower()) in SENTIMENTS:
            text, _ = annotated(row["normalized_text"], "[]")
            speaker = row.get("speaker_id") or name.split("_")[0]
            yield _utterance("voxceleb", split, name, speaker, text, sentiment=sentiment)


def _utterance(source: str, split: str, name: str, speaker: str, text: str, **fields: Any) -> Utterance:
    id = f"{source}/{split}/{name}"
    about: dict[str, Any] = {"speaker": f"{source}/{speaker}", "gold": (SOURCES[source],), **fields}
    return Utterance(id, split, id, domain=source, transcript=text, **about)


def annotated(text: str, raw_entities: str) -> tuple[str, tuple[Entity, ...]]:
    """Return a text without punctuation, and its entities, from SLUE's list of [tag, start, length]."""
    kept: list[str] = []  # characters
    place: list[int] = []  # position in `kept` of each character of `text`
    for character in text:
        place.append(len(kept))
        if character not in PUNCTUATION and not (character == " " and (not kept or kept[-1] == " ")):
            kept.append(character)
    place.append(len(kept))
    clean = "".join(kept).rstrip()
    entities = []
    try:
        found = [
            (COMBINED[tag], int(start), int(n)) for tag, start, n in ast.literal_eval(raw_entities) or ()
        ]
        if not all(0 <= start <= start + n <= len(text) for _, start, n in found):
            raise ValueError("outside the text")
    except (KeyError, SyntaxError, TypeError, ValueError):
        raise UserError(
            f"{raw_entities} is no list of SLUE's tags with start and length in {len(text)} characters"
        ) from None
    for combined, start, length in found:
        phrase = clean[place[start] : place[start + length]].rstrip()
        if combined and phrase:
            entities.append(Entity(combined, phrase, place[start], place[start] + len(phrase)))
    return clean, tuple(sorted(entities, key=lambda entity: entity.start))


def _transcripts(folder: Path) -> list[Path]:
    found = sorted(folder.glob("*/*/*.trans.txt"))
    if not found:
        raise UserError(f"LibriSpeech/{folder.name} has no <speaker>/<chapter>/*.trans.txt; unpack it again")
    return found


@cache
def _transcripts_hash(folder: Path) -> str:
    read = sha256()
    for file in _transcripts(folder):
        read.update(file.name.encode() + b"\0" + file.read_bytes())
    return read.hexdigest()


def _chapter(subset: str, name: str) -> Path:
    speaker, chapter, _ = name.split("-")
    return published_file(NAME, f"LibriSpeech/{subset}") / speaker / chapter


def _table(source: str, part: str) -> Path:
    return published_file(NAME, f"slue-{source}/slue-{source}_{part}.tsv")


@cache
def _rows(file: Path) -> dict[str, dict[str, str]]:
    """Return SLUE's rows by id, in the file's order. Raises UserError for repeated ids or missing columns."""
    of_one = {"normalized_ner"} if "voxpopuli" in file.name else {"sentiment", "start_second", "end_second"}
    rows: dict[str, dict[str, str]] = {}
    wanted = {"id", "normalized_text", *of_one}
    for where, row in table_rows(file, wanted, "SLUE's file", delimiter="\t"):
        if None in row or any("\t" in field for field in row.values() if isinstance(field, str)):
            raise UserError(
                f"{where}: a row has more fields than the header; a quotation mark may have no counterpart; "
                "fetch it again"
            )
        id = row["id"] or ""
        if id in rows:
            raise UserError(f"{where}: {id} occurs twice")
        rows[id] = row
    for row in rows.values():
        if lacking := {key for key in wanted if row[key] is None}:
            raise UserError(f"{file.name} has no {', '.join(sorted(lacking))}; is it SLUE's file?")
    return rows
