"""A spoken corpus on disk: what goes in comes out, anyone can load it, nothing broken is read."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import yaml

from speechllm_bench.data.audio import read_audio, to_int16
from speechllm_bench.data.corpora import store
from speechllm_bench.data.corpora.corpus_card import data_card, repeated_fills, shared_speakers
from speechllm_bench.data.corpora.store import Corpus
from speechllm_bench.data.synthesis import speak_all
from speechllm_bench.errors import UserError
from speechllm_bench.storage.paths import PROJECT
from speechllm_bench.storage.schema import ALL_GOLD, Entity, SlotValue, Turn, Utterance, Voice

RECIPE = {"corpus": "by hand", "version": 1}


def utterance(split: str, i: int) -> Utterance:
    voice = Voice("en-us", f"m{1 + i % 3}", 190, 50, 15.25, i)
    return Utterance(
        id=f"hand/{split}/{i:03d}",
        split=split,
        call_id=f"{split}{i // 2}",
        turn_index=i % 2,
        domain="bank",
        company="acme",
        intent="greet",
        transcript="hello ann" if i % 2 else "yes",
        slots=(SlotValue("name", "ann", "Ann", 6, 9),) if i % 2 else (),
        entities=(Entity("PERSON", "ann", 6, 9),) if i % 2 else (),
        sentiment="neutral",
        context=(Turn("agent", "who is it?"),) * (i % 2),
        speaker=voice.speaker,
        voice=voice,
        gold=("transcript", "slots"),
    )


SPLITS = {split: [utterance(split, i) for i in range(n)] for split, n in {"train": 70, "A-test": 3}.items()}


def test_what_there_is_gold_for_is_stored_and_changes_no_hash():
    one = utterance("train", 1)
    bare = replace(one, gold=())
    assert [Utterance.from_json(json.loads(json.dumps(u.to_json()))) for u in (one, bare)] == [one, bare]
    assert bare.hashed() == one.hashed() and "gold" not in one.hashed()
    assert Utterance.from_json(one.hashed()).gold == ALL_GOLD  # stored before there was such a list


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("corpus") / "hand"
    store.build_corpus(SPLITS, folder, RECIPE, n_workers=2)
    return folder


@pytest.fixture
def broken(built, tmp_path) -> Path:
    """A copy that a test may break."""
    return shutil.copytree(built, tmp_path / "hand")


def test_utterances_come_back(built):
    corpus = Corpus.load(built)
    assert corpus.splits == ("train", "A-test")
    for split, utterances in SPLITS.items():
        assert corpus.utterances(split) == utterances


def test_an_unspoken_corpus_is_the_spoken_one_without_its_audio(built):
    unspoken, spoken = store.Unspoken(SPLITS, RECIPE, recorded=False), Corpus.load(built)
    assert (unspoken.fingerprint, unspoken.splits) == (spoken.fingerprint, spoken.splits)
    assert unspoken.utterances("train") == spoken.utterances("train")
    assert store.Unspoken(SPLITS, RECIPE, recorded=True).fingerprint != spoken.fingerprint
    assert store.Unspoken(SPLITS | {"A-test": []}, RECIPE, recorded=False).fingerprint != spoken.fingerprint


def test_audio_comes_back_to_the_last_bit(built):
    corpus = Corpus.load(built)
    lengths = corpus.n_samples("train")
    for i, (_, samples) in enumerate(speak_all(SPLITS["train"], 2)):
        assert lengths[i] == len(samples)
        if i in (0, 1, 63, 64, 69):  # both row groups and their ends
            assert np.array_equal(corpus.audio("train", i), samples)


def test_the_record_can_be_checked(built):
    corpus = Corpus.load(built)
    counts = corpus.info["splits"]["A-test"]
    audio = [corpus.audio("A-test", i) for i in range(3)]
    digest = hashlib.sha256(b"".join(to_int16(a).astype("<i2").tobytes() for a in audio)).hexdigest()
    assert counts["audio_sha256"] == corpus.audio_hashes["A-test"] == digest
    assert counts["n_utterances"] == 3
    assert counts["n_speakers"] == 3
    assert counts["seconds"] == pytest.approx(sum(map(len, audio)) / 16000, abs=0.01)
    assert corpus.info["recipe"] == RECIPE
    assert corpus.info["versions"]["espeak"]


def test_anyone_can_load_it(built, tmp_path):
    datasets = pytest.importorskip("datasets")
    loaded = datasets.load_dataset(str(built), cache_dir=str(tmp_path))
    assert set(loaded) == {"train", "A_test"}
    assert loaded["train"].features["audio"] == datasets.Audio(sampling_rate=16000, decode=False)
    row = loaded["train"][1]
    assert row["transcript"] == "hello ann"
    assert row["slots"] == [{"slot": "name", "value": "ann", "canonical": "Ann", "start": 6, "end": 9}]
    assert row["voice"]["snr_db"] == 15.25
    samples = read_audio(row["audio"]["bytes"])
    assert len(samples) == row["n_samples"]
    assert np.array_equal(samples, Corpus.load(built).audio("train", 1))


def test_the_card_says_what_it_is(built):
    _, header, text = (built / "README.md").read_text().split("---\n", 2)
    card = yaml.safe_load(header)
    assert card["license"] == "cc-by-4.0"
    files = card["configs"][0]["data_files"]
    assert [f["split"] for f in files] == ["train", "A_test"]
    assert all((built / f["path"]).is_file() for f in files)
    assert "synthetic" in text
    assert "| A-test | 3 | 3 |" in text
    for field in store._SCHEMA.names:
        assert f"`{field}`" in text


def test_the_card_gives_rate_and_pitch_the_units_of_its_voices(built):
    info = Corpus.load(built).info
    assert "words a minute, pitch (0 to 99), SNR (dB)" in data_card(info)
    neural = data_card(info | {"recipe": info["recipe"] | {"neural_voices": 2}})
    assert "words a minute" not in neural and "rate and pitch (in percent of the voice's own), SNR" in neural


def test_the_stored_card_of_small_has_the_text_that_this_code_writes(built):
    """But for the numbers, which need the whole corpus: `tools/ship.py` writes them."""
    info = Corpus.load(built).info
    now = data_card(info | {"recipe": info["recipe"] | {"neural_voices": 2}})
    stored = (PROJECT / "results" / "small" / "corpus.md").read_text("utf-8")
    made = now[now.index("Caller turns of") : now.index("Synthesis version")]
    assert made in stored and now[now.index("## Fields") :].strip() in stored


def test_the_card_counts_the_test_values_that_training_has_too():
    def turns(*values):
        slots = tuple(SlotValue(slot, value, value, 0, 1) for slot, value in values)
        return [SimpleNamespace(slots=slots)]

    splits = {
        "train": turns(("name", "ann"), ("age", "nine")),
        "validation": turns(("name", "ann")),
        "A-test": turns(("name", "ann"), ("name", "bob"), ("reason", "nine"), ("reason", "ten")),
    }
    said = repeated_fills(splits, {"name", "age"})
    assert said == (
        "Of A-test's open-class fills 1 of 2 (50%), and of all fills 2 of 4 (50%), have a value that train "
        "has too. "
    )
    assert repeated_fills({"A-test": splits["A-test"]}, {"name"}) == ""  # nothing to compare with


def test_the_card_of_recordings_counts_the_speakers_that_two_splits_share(built):
    def turns(*speakers):
        return [SimpleNamespace(speaker=speaker) for speaker in speakers]

    splits = {"train": turns("a", "b"), "A-test": turns("c", "d", "c"), "B-test": turns("d", "c")}
    said = shared_speakers(splits)
    assert said == "A-test and B-test have 2 speakers in common."
    assert said in data_card(Corpus.load(built).info | {"versions": {}}, said)
    assert shared_speakers({"train": turns("a"), "A-test": turns("c")}) == "No speaker is in two splits."


def test_the_card_of_other_languages_is_not_that_of_the_call_centre(built):
    info = Corpus.load(built).info
    split = info["splits"]["train"]
    card = data_card(info | {"recipe": {"corpus": "languages"}, "splits": {"es": split, "fr": split}})
    header, text = yaml.safe_load(card.split("---\n")[1]), card.split("---\n", 2)[2]
    assert header["language"] == ["es", "fr"] and "synthetic" in text
    assert "two-party" not in text and "zoo" not in text


def test_identity_rests_on_recipe_and_utterances(built, tmp_path):
    fingerprint = Corpus.load(built).fingerprint
    one = {"A-test": SPLITS["A-test"]}
    again = store.build_corpus(one, tmp_path / "one", RECIPE, 1)
    twice = store.build_corpus(one, tmp_path / "two", RECIPE, 1)
    other_recipe = store._record({**RECIPE, "version": 2}, again.info["versions"], again.info["splits"])
    assert again.fingerprint == twice.fingerprint != fingerprint
    assert other_recipe["fingerprint"] != again.fingerprint
    for name in ("corpus.json", "README.md", again.info["splits"]["A-test"]["file"]):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_an_utterance_that_is_there_twice_is_refused(tmp_path):
    twice = SPLITS | {"B-test": SPLITS["A-test"][:1]}
    with pytest.raises(UserError, match="'hand/A-test/000' is 2 times in the corpus"):
        store.build_corpus(twice, tmp_path / "corpus", RECIPE, 1)


def test_a_failed_build_leaves_nothing(tmp_path):
    mute = replace(utterance("train", 0), transcript=" ")
    with pytest.raises(UserError, match="empty transcript"):
        store.build_corpus({"train": [utterance("train", 1), mute]}, tmp_path / "hand", RECIPE, 1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["corpus.json", "data/train-00000.parquet", "data/A_test-00000.parquet"])
def test_a_missing_file_is_named(broken, name):
    (broken / name).unlink()
    with pytest.raises(UserError, match=f"{name} is missing.*delete"):
        Corpus.load(broken)


def test_a_truncated_file_is_named(broken):
    path = broken / "data/train-00000.parquet"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UserError, match=r"train-00000.parquet is damaged: its sha256 .*delete"):
        Corpus.load(broken)


def test_a_corrupt_file_is_named(broken):
    path = broken / "data/train-00000.parquet"
    path.write_bytes(b"\0" * path.stat().st_size)
    with pytest.raises(UserError, match=r"train-00000.parquet is damaged: its sha256 .*delete"):
        Corpus.load(broken).utterances("train")


def test_a_file_that_is_damaged_after_it_was_checked_is_named(broken):
    path = broken / "data/train-00000.parquet"
    content, corpus = path.read_bytes(), Corpus.load(broken)
    path.write_bytes(b"\0" * len(content))
    with pytest.raises(UserError, match=r"train-00000.parquet is corrupt.*delete"):
        corpus.utterances("train")


def test_audio_that_is_damaged_after_it_was_checked_ends_in_a_sentence(broken):
    path = broken / "data/train-00000.parquet"
    content, corpus = path.read_bytes(), Corpus.load(broken)
    assert content.count(b"fLaC") == len(corpus.utterances("train"))
    path.write_bytes(content.replace(b"fLaC", b"fLaX"))
    with pytest.raises(UserError, match=r"audio of utterance 0 in .*train-00000.parquet is damaged.*delete"):
        Corpus(broken, corpus.info).audio("train", 0)


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"splits": {"train": {}}}'])
def test_a_corrupt_record_is_named(broken, content):
    (broken / "corpus.json").write_text(content)
    with pytest.raises(UserError, match=r"corpus.json.*delete"):
        Corpus.load(broken)


def test_an_unknown_split_is_named(built):
    corpus = Corpus.load(built)
    for ask in (corpus.utterances, corpus.n_samples, lambda split: corpus.audio(split, 0)):
        with pytest.raises(UserError, match="no split 'C-test': it has train, A-test"):
            ask("C-test")


def test_the_record_is_plain_json(built):
    record = json.loads((built / "corpus.json").read_text())
    assert set(record.pop("seal")["files"]) == {"data/train-00000.parquet", "data/A_test-00000.parquet"}
    assert record == Corpus.load(built).info
