"""HarperValleyBank in its published layout: callers' turns, what they tell, and who is heard where."""

from __future__ import annotations

import json
import re
import shutil

import numpy as np
import pytest
import soundfile

from speechllm_bench.data import corpora
from speechllm_bench.data.corpora import RECORDED, harper_valley
from speechllm_bench.data.corpora.harper_valley import spoken
from speechllm_bench.errors import MissingInput, UserError
from speechllm_bench.tasks import slots
from speechllm_bench.tasks.task import Draw

CORPUS = RECORDED["harper_valley"]

RATE = 8000  # of its recordings


def record(caller: int, task: str, name: str = "Linda Brown", **told) -> dict:
    about = {"metadata": {"first and last name": name}, "speaker_id": caller}
    return {"caller": about, "agent": {"speaker_id": 1}, "tasks": [{"task_type": task} | told]}


def transcript(*turns: tuple[str, str]) -> list[dict]:
    """Two seconds each, one after the other; the agent's clock is another."""
    return [
        {
            "speaker_role": role,
            "human_transcript": text,
            "index": i + 1,
            "start_ms": 2000 * i if role == "caller" else 0,
            "start_timestamp_ms": 10_000 + 2000 * i,
            "duration_ms": 1500,
        }
        for i, (role, text) in enumerate(turns)
    ]


CARD = transcript(
    ("agent", "hello this is harper valley national bank"),
    ("caller", "[noise] hi my name is linda brown i lost my credit card"),
    ("agent", "which card would you like to replace"),
    ("caller", "my credit card"),
    ("caller", "[noise]"),
    ("caller", "[unintelligible] thank you"),
)
MONEY = transcript(
    ("caller", "move one hundred and thirty five dollars from checking to savings"),
    ("caller", "i said one thirty"),
    ("caller", "that is for linda"),
    ("caller", "can you send me a new one"),
)
BILL = transcript(("caller", "pay fossil gas a hundred three dollars"))


@pytest.fixture
def published(tmp_path, monkeypatch):
    """Three callers' calls of each kind, whose recordings are tones that rise by the second."""
    folder = tmp_path / "harper_valley"
    for name in ("metadata", "transcript", "audio/caller"):
        (folder / name).mkdir(parents=True)
    calls = {
        "card": (lambda who: record(who, "replace card", **{"replacement card type": "credit"}), CARD),
        "money": (
            lambda who: record(
                who, "transfer money",
                **{"transfer source account": "checking", "transfer destination account": "savings",
                   "transfer amount": 135},
            ),
            MONEY,
        ),
        "bill": (
            lambda who: record(who, "pay bill", **{"company name": "Fossil Gas", "money amount": 103}), BILL
        ),
    }  # fmt: skip
    for caller in range(30):
        for kind, (about, said) in calls.items():
            sid = f"{kind}{caller}"
            (folder / "metadata" / f"{sid}.json").write_text(json.dumps(about(caller)))
            (folder / "transcript" / f"{sid}.json").write_text(json.dumps(said))
            seconds = np.arange(13 * RATE) / RATE
            tone = 0.3 * np.sin(2 * np.pi * (200 + 100 * np.floor(seconds)) * seconds)
            soundfile.write(folder / "audio" / "caller" / f"{sid}.wav", tone, RATE)
    monkeypatch.setenv("SPEECHLLM_BENCH_DATA", str(tmp_path))
    for cached in (harper_valley._sids, harper_valley._record, harper_valley._segments):
        cached.cache_clear()
    return folder


def test_callers_turns_are_utterances_with_verbatim_values_and_all_that_was_said_before(published):
    of_card = [u for u in CORPUS.utterances("train") if "card" in u.id][:2]
    first, second = of_card
    assert first.transcript == "hi my name is linda brown i lost my credit card"
    assert [(s.slot, s.value, s.canonical) for s in first.slots] == [
        ("caller_name", "linda brown", "Linda Brown"), ("card_type", "credit", "credit")
    ]  # fmt: skip
    assert all(u.transcript[s.start : s.end] == s.value for u in of_card for s in u.slots)
    assert first.id.rpartition("-")[2] == "2" and first.domain == first.intent == "replace_card"
    assert [(t.role, t.text) for t in second.context] == [
        ("agent", "hello this is harper valley national bank"),
        ("caller", "hi my name is linda brown i lost my credit card"),
        ("agent", "which card would you like to replace"),
    ]
    said = {u.transcript for u in CORPUS.utterances("train")}
    assert not {t for t in said if "thank you" in t or not t}  # not understood, or a noise alone


def test_a_value_that_is_told_otherwise_or_in_part_leaves_its_turn_out(published):
    said = {u.transcript: u for u in CORPUS.utterances("train") if "money" in u.id}
    assert set(said) == {
        "move one hundred and thirty five dollars from checking to savings", "can you send me a new one"
    }  # fmt: skip
    whole = next(iter(said.values()))
    assert {s.slot: s.value for s in whole.slots} == {
        "transfer_amount": "one hundred and thirty five dollars",
        "source_account": "checking",
        "destination_account": "savings",
    }


def test_no_caller_is_heard_in_two_splits_and_the_held_out_task_in_b_test_alone(published):
    found = {split: CORPUS.utterances(split) for split in CORPUS.splits}
    heard = {split: {u.speaker for u in some} for split, some in found.items()}
    assert all(heard.values()) and heard["A-test"] == heard["B-test"]
    assert len(heard["train"] | heard["validation"] | heard["A-test"]) == 30
    assert sum(len(heard[split]) for split in ("train", "validation", "A-test")) == 30
    types = CORPUS.slot_types()
    unseen = {split: {types[s.slot].ood for u in some for s in u.slots} for split, some in found.items()}
    assert unseen == {"train": {False}, "validation": {False}, "A-test": {False}, "B-test": {True}}
    assert {s.slot for u in found["B-test"] for s in u.slots} == {"company_name", "bill_amount"}


def test_a_turn_is_the_part_of_its_recording_that_the_transcript_says(published):
    turn = next(u for u in CORPUS.utterances("train") if u.id.endswith("-2"))
    audio = CORPUS.recording(turn)
    assert len(audio) == 1.5 * 16_000
    crossings = np.sum(np.diff(np.sign(audio[:16_000])) != 0)
    assert crossings == pytest.approx(2 * 400, rel=0.05)  # of its third second
    sid = turn.id.rpartition("/")[2].split("-")[0]
    soundfile.write(published / "audio" / "caller" / f"{sid}.wav", 0.1 * np.ones(RATE), RATE)
    with pytest.raises(UserError, match=r"lasts 1\.00 s, and its transcript has a turn at 2\.00 s"):
        CORPUS.recording(turn)


def test_context_is_shown_in_a_question(published):
    import random

    turn = next(u for u in CORPUS.utterances("train") if u.transcript == "my credit card")
    asked = slots.example(turn, Draw(CORPUS.slot_types(), random.Random(0)), context=3)
    assert asked.prompt.startswith("agent: hello") or "agent: which card" in asked.prompt
    assert json.loads(asked.target) == {"card type": "credit"}


@pytest.mark.parametrize(
    ("pattern", "value", "said"),
    [
        (spoken.amount, "135", "one hundred thirty five"),
        (spoken.amount, "135", "a hundred and thirty five dollars"),
        (spoken.amount, "135", "one thirty five"),
        (spoken.amount, "103", "one oh three"),
        (spoken.amount, "92", "ninety two dollars"),
        (spoken.amount, "100", "a hundred dollars"),
        (spoken.clock, "11:00 AM", "eleven a m"),
        (spoken.clock, "11:00 AM", "eleven o'clock"),
        (spoken.clock, "1:30 PM", "one thirty p.m."),
        (spoken.digits, "715-139-0787", "seven one five one three nine zero seven eight seven"),
        (spoken.address, "910 First Street, Forest Ranch, California, 78311",
         "nine ten first street forest ranch california seven eight three one one"),
        (spoken.address, "001 Main Street, Forest Ranch, California, 70023",
         "zero oh one main street forest ranch california seven zero zero two three"),
    ],
)  # fmt: skip
def test_values_are_found_as_they_are_said(pattern, value, said):
    text = f"it is {said} please"
    start, end = spoken.find_value(pattern, value, text)
    assert text[start:end] == said
    assert spoken.find_value(pattern, value, "it is seven please") is None


def test_a_value_of_another_form_is_not_found_and_harms_nothing():
    assert spoken.find_value(spoken.clock, "8:30 am to 5:00 pm", "eight thirty") is None
    assert spoken.find_value(spoken.amount, "much", "much") is None


def test_what_is_missing_or_damaged_is_named(published, monkeypatch):
    file = next(iter(sorted((published / "metadata").glob("*.json"))))
    file.write_text("{}")
    harper_valley._record.cache_clear()
    with pytest.raises(UserError, match=r"is no record of a call \(it has no 'caller'\); fetch it again"):
        CORPUS.utterances("train")
    shutil.rmtree(published / "transcript")
    harper_valley._sids.cache_clear()
    with pytest.raises(MissingInput, match="harper_valley has no transcript"):
        corpora.recipe("harper_valley")
    with pytest.raises(UserError, match="has no split 'C-test'"):
        CORPUS.utterances("C-test")


def test_no_two_slots_share_a_name():
    types = CORPUS.slot_types().values()
    names = [t.name.replace("_", " ") for t in types] + [text for t in types for text in t.paraphrases]
    assert len(names) == len(set(names))
    assert {slot for slot, _ in harper_valley.KEYS.values()} == set(CORPUS.slot_types())


def test_the_published_format(bench_data, tmp_path, monkeypatch):
    """One conversation as its authors publish it."""
    real = bench_data / "harper_valley"
    (sid,) = (re.fullmatch(r"metadata_(\w+)\.json", f.name)[1] for f in real.glob("metadata_*.json"))
    for kind in ("metadata", "transcript"):
        (tmp_path / "harper_valley" / kind).mkdir(parents=True)
        shutil.copy(real / f"{kind}_{sid}.json", tmp_path / "harper_valley" / kind / f"{sid}.json")
    monkeypatch.setenv("SPEECHLLM_BENCH_DATA", str(tmp_path))
    for cached in (harper_valley._sids, harper_valley._record, harper_valley._segments):
        cached.cache_clear()
    turns = [u for split in CORPUS.splits for u in CORPUS.utterances(split)]
    said = {u.transcript: {s.slot: s.value for s in u.slots} for u in turns}
    assert said["my name is patricia brown"] == {"caller_name": "patricia brown"}
    assert said["i lost my debit card"] == said["debit card"] == {"card_type": "debit"}
    assert said["hi"] == said["can you send me a new one"] == {}
    assert {u.speaker for u in turns} == {"harper_valley/44"}
    assert [t.role for t in turns[0].context] == ["agent"] * 3
