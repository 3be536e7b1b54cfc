"""Published corpora in their own layouts, a few turns large, each a tone: what readers read."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import soundfile

from speechllm_bench.data.corpora import RECORDED, common_voice, slurp

REQUESTS = [  # scenario, tokens, and what they fill: slot and the places of its first and last token
    ("alarm", "wake me at six", {"time": (3, 3)}),
    ("weather", "is it dry in new york on friday", {"place_name": (4, 5), "date": (7, 7)}),
    ("calendar", "meet john at noon tomorrow", {"person": (1, 1), "time": (3, 3), "date": (4, 4)}),
    ("music", "play some jazz", {"music_genre": (2, 2)}),
    ("lists", "what is on my shopping list", {"list_name": (4, 4)}),
    ("transport", "a train to leeds today", {"transport_type": (1, 1), "place_name": (3, 3), "date": (4, 4)}),
    ("takeaway", "order some curry", {"food_type": (2, 2)}),
]  # fmt: skip
A_CHARACTER = 0.2  # s: a CTC warm start needs a speech token for each of the transcript's, here of bytes
VOXPOPULI = "id\traw_text\tnormalized_text\tspeaker_id\tsplit\traw_ner\tnormalized_ner\n"
VOXCELEB = "id\tnormalized_text\tspeaker_id\tsentiment\tsplit\tstart_second\tend_second\n"
PLENARIES = [
    ("article twenty one, i say, in rome", "[['LAW', 0, 18], ['GPE', 30, 4]]"),
    ("mr barroso met us on monday", "[['PERSON', 3, 7], ['DATE', 21, 6]]"),
    ("the council has ten members", "[['ORG', 4, 7], ['CARDINAL', 16, 3]]"),
    ("nothing was agreed", "[]"),
]
FELT = [("i loved it.", "Positive"), ("that was bad", "Negative"), ("it is four o'clock", "Neutral")]


def write_slurp(root: Path) -> None:
    """$SPEECHLLM_BENCH_DATA/slurp: each request read by two people."""
    folder, people = root / "slurp", {}
    for number, part in enumerate(dict.fromkeys(RECORDED["slurp"].splits.values())):
        rows = [_request(1000 * number + i, *request) for i, request in enumerate(REQUESTS)]
        folder.mkdir(exist_ok=True)
        (folder / f"{part}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        for row in rows:
            about = {f["file"]: {"usrid": f"FE-{number}{i}"} for i, f in enumerate(row["recordings"])}
            people[str(row["slurp_id"])] = {"recordings": about}
            for file in about:
                seconds = A_CHARACTER * len(row["sentence"])
                _tone(folder / slurp.AUDIO / file, seconds, 0.01 * (row["slurp_id"] % 97 + 1))
    (folder / slurp.METADATA).write_text(json.dumps(people))


def write_librispeech_slue(root: Path) -> None:
    """$SPEECHLLM_BENCH_DATA/librispeech_slue: one speaker of LibriSpeech, and both tables of SLUE."""
    folder = root / "librispeech_slue"
    for subset, part in RECORDED["librispeech_slue"].splits.values():
        chapter = folder / "LibriSpeech" / subset / "103" / "1240"
        lines = [
            f"103-1240-000{i} CHAPTER {word}\n" for i, word in enumerate(("ONE", "TWO", "THREE", "FOUR"))
        ]
        for line in lines:
            _tone(chapter / f"{line.split()[0]}.flac", 1, 0.05)
        (chapter / "103-1240.trans.txt").write_text("".join(lines))
        rows = []
        for i, (text, entities) in enumerate(PLENARIES):
            name = f"2013100{i}-0900-PLENARY-19-en_7"
            _tone(folder / "slue-voxpopuli" / part / f"{name}.ogg", 1, 0.09, format="OGG", subtype="VORBIS")
            rows.append(f"{name}\t\t{text}\tNone\t{part}\t[]\t{entities}\n")
        (folder / "slue-voxpopuli" / f"slue-voxpopuli_{part}.tsv").write_text(VOXPOPULI + "".join(rows))
        rows = []
        for i, (text, felt) in enumerate(FELT):
            name = f"id1000{i}_a_00001"
            _tone(folder / "slue-voxceleb" / f"{part}_raw" / f"{name}.flac", 2, 0.12)
            rows.append(f"{name}\t{text}\t{name[:7]}\t{felt}\t{part}\t0.5\t1.5\n")
        (folder / "slue-voxceleb" / f"slue-voxceleb_{part}.tsv").write_text(VOXCELEB + "".join(rows))


def write_harper_valley(root: Path) -> None:
    """$SPEECHLLM_BENCH_DATA/harper_valley: calls of thirty callers, each about a card and about a bill."""
    folder = root / "harper_valley"
    for caller, kind in ((caller, kind) for caller in range(30) for kind in ("card", "bill")):
        told = {"task_type": "replace card", "replacement card type": "debit"}
        said = ["hello how can i help you", "i lost my debit card", "which card", "the debit card"]
        if kind == "bill":
            told = {"task_type": "pay bill", "company name": "Fossil Gas", "money amount": 103}
            said = ["hello how can i help you", "i pay fossil gas one hundred three dollars"]
        about = {"metadata": {"first and last name": "Mary Smith"}, "speaker_id": caller}
        record = {"caller": about, "agent": {"speaker_id": 99}, "tasks": [told]}
        turns = [
            {
                "speaker_role": ("agent", "caller")[i % 2],
                "human_transcript": text,
                "index": i + 1,
                "start_ms": 1000 * i,
                "start_timestamp_ms": 1000 * i,
                "duration_ms": 900,
            }
            for i, text in enumerate(said)
        ]
        for part, content in (("metadata", record), ("transcript", turns)):
            file = folder / part / f"{kind}{caller}.json"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(content))
        _tone(folder / "audio" / "caller" / f"{kind}{caller}.wav", 4, 0.05)


def write_fluent_speech(root: Path) -> None:
    """$SPEECHLLM_BENCH_DATA/fluent_speech: a few commands of one speaker a split."""
    folder = root / "fluent_speech"
    commands = ("turn on the lights,activate,lights,none", "heat up in the kitchen,increase,heat,kitchen")
    for part in RECORDED["fluent_speech"].splits.values():
        lines = [",path,speakerId,transcription,action,object,location"]
        for i, command in enumerate(commands * 2):
            path = f"wavs/speakers/{part}/{i}.wav"
            _tone(folder / path, 1, 0.07)
            lines.append(f"{i},{path},{part},{command}")
        (folder / "data").mkdir(exist_ok=True)
        (folder / "data" / f"{part}_data.csv").write_text("\n".join(lines) + "\n")


def write_common_voice(root: Path) -> None:
    """$SPEECHLLM_BENCH_DATA/common_voice: three sentences of three people a language."""
    for language, sentence in (("es", "¿Dónde está la estación?"), ("fr", "L’été est fini.")):
        folder = root / "common_voice" / language
        rows = ["\t".join(common_voice.COLUMNS)]
        for i in range(3):
            _tone(folder / "clips" / f"{language}_{i}.mp3", 1, 0.05, format="MP3")
            rows.append(f"person{i}\t{language}_{i}.mp3\t{sentence}\t2\t0")
        (folder / "test.tsv").write_text("\n".join(rows) + "\n", "utf-8")


def _request(number: int, scenario: str, sentence: str, spans: dict[str, tuple[int, int]]) -> dict:
    return {
        "slurp_id": number,
        "sentence": sentence,
        "scenario": scenario,
        "action": "set",
        "tokens": [{"surface": token} for token in sentence.split()],
        "entities": [{"type": kind, "span": [first, last]} for kind, (first, last) in spans.items()],
        "recordings": [{"file": f"audio-{number}.flac"}, {"file": f"audio-{number}-headset.flac"}],
    }


def _tone(path: Path, seconds: float, pitch: float, **options) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, 0.3 * np.sin(np.arange(int(16000 * seconds)) * pitch), 16000, **options)
