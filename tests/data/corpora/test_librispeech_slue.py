from collections import Counter

import numpy as np
import pytest
import soundfile

from speechllm_bench.data import corpora
from speechllm_bench.data.corpora import RECORDED, librispeech_slue
from speechllm_bench.errors import MissingInput, UserError
from speechllm_bench.running import jobs, preparation
from speechllm_bench.settings.config import ClassifierConfig, CorpusConfig
from speechllm_bench.storage import runs
from speechllm_bench.storage.schema import Entity
from speechllm_bench.tasks import TASKS
from speechllm_bench.training import stages

CORPUS = RECORDED["librispeech_slue"]

VOXPOPULI = "id\traw_text\tnormalized_text\tspeaker_id\tsplit\traw_ner\tnormalized_ner\n"
VOXCELEB = "id\tnormalized_text\tspeaker_id\tsentiment\tsplit\tstart_second\tend_second\n"
MEPS = {
    "20131007-0900-PLENARY-19-en_7": (
        "article twenty one, i say, in rome",
        "None",
        "[['LAW', 0, 18], ['GPE', 30, 4]]",
    ),
    "20131007-0900-PLENARY-19-en_8": ("we meet at the louvre", "12", "[['FAC', 11, 10]]"),
}
STARS = {
    "id10001_a_00001": ("i loved it.", "Positive", 0.5, 1.5),
    "id10002_b_00001": ("who knows", "<mixed>", 0.0, 1.0),
    "id10002_b_00002": ("that was bad", "Negative", 0.0, 1.0),
}


def write(path, seconds: float, pitch: float, **options) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, 0.3 * np.sin(np.arange(int(16000 * seconds)) * pitch), 16000, **options)


@pytest.fixture
def published(tmp_path, monkeypatch):
    """The three corpora as they are published, a few turns large, each a tone."""
    root = tmp_path / "librispeech_slue"
    for subset, part in CORPUS.splits.values():
        chapter = root / "LibriSpeech" / subset / "103" / "1240"
        for i in range(3):
            write(chapter / f"103-1240-000{i}.flac", 1, 0.05 + 0.01 * i)
        lines = [f"103-1240-000{i} CHAPTER {word}\n" for i, word in enumerate(("ONE", "TWO", "THREE"))]
        (chapter / "103-1240.trans.txt").write_text("".join(lines))
        for name in MEPS:
            write(root / "slue-voxpopuli" / part / f"{name}.ogg", 1, 0.09, format="OGG", subtype="VORBIS")
        rows = [f"{n}\t\t{text}\t{who}\t{part}\t[]\t{ner}\n" for n, (text, who, ner) in MEPS.items()]
        (root / "slue-voxpopuli" / f"slue-voxpopuli_{part}.tsv").write_text(VOXPOPULI + "".join(rows))
        for name in STARS:
            write(root / "slue-voxceleb" / f"{part}_raw" / f"{name}.flac", 2, 0.12)
        rows = [
            f"{n}\t{text}\t{n[:7]}\t{felt}\t{part}\t{a}\t{b}\n" for n, (text, felt, a, b) in STARS.items()
        ]
        (root / "slue-voxceleb" / f"slue-voxceleb_{part}.tsv").write_text(VOXCELEB + "".join(rows))
    monkeypatch.setenv("SPEECHLLM_BENCH_DATA", str(tmp_path))
    return root


def test_each_source_is_asked_for_its_own_task(published):
    turns = CORPUS.utterances("A-test")
    assert [(u.domain, u.gold) for u in turns] == [
        *[("librispeech", ("transcript",))] * 3,
        *[("voxpopuli", ("entities",))] * 2,
        *[("voxceleb", ("sentiment",))] * 2,
    ]
    assert turns[0].id == "librispeech/A-test/103-1240-0000" and turns[0].transcript == "chapter one"
    assert {u.speaker for u in turns[3:5]} == {"voxpopuli/20131007-0900-PLENARY-19-en", "voxpopuli/12"}
    assert [(u.sentiment, u.transcript) for u in turns[5:]] == [
        ("positive", "i loved it"),
        ("negative", "that was bad"),
    ]
    assert [u.id for u in CORPUS.utterances("A-test", 1)] == [turns[i].id for i in (0, 3, 5)]


def test_entities_keep_their_words_when_punctuation_goes(published):
    first, second = CORPUS.utterances("train")[3:5]
    assert first.transcript == "article twenty one i say in rome"
    assert first.entities == (Entity("LAW", "article twenty one", 0, 18), Entity("PLACE", "rome", 28, 32))
    assert second.entities == ()  # a building: SLUE discards it
    assert librispeech_slue.annotated(" a ,  b ", "[['ORG', 1, 6]]") == ("a b", (Entity("ORG", "a b", 0, 3),))
    with pytest.raises(UserError, match="is no list of SLUE's tags"):
        librispeech_slue.annotated("rome", "[['CITY', 0, 4]]")
    for start, length in [(0, 5), (-1, 2), (2, -1)]:
        with pytest.raises(UserError, match="with start and length in 4 characters"):
            librispeech_slue.annotated("rome", f"[['GPE', {start}, {length}]]")


def test_a_piece_of_a_recording_is_cut_out(published):
    turn = CORPUS.utterances("validation")[5]
    whole, _ = soundfile.read(published / "slue-voxceleb/dev_raw/id10001_a_00001.flac", dtype="float32")
    assert np.array_equal(CORPUS.recording(turn), whole[8000:24000])


@pytest.fixture
def sense(tiny_run, home):
    """A run on the three corpora that learns all three tasks, with a classifier and another task beside."""
    stage = tiny_run("pooling").stages[0].model_dump()
    tasks = {"transcription": 0.4, "ner": 0.3, "sentiment": 0.3}
    stage |= {"tasks": tasks, "decoded_task": "ner", "validation_examples": 4, "beside": {"sentiment": 8}}
    stage |= {"classifier": ClassifierConfig(alpha=0.2, class_weights=True)}

    def run(task: str):
        config = tiny_run("pooling", corpus=CorpusConfig(name="librispeech_slue"))
        stages = [config.stages[0].model_copy(update=stage)]
        asked = config.evaluation.model_copy(update={"task": task})
        return config.model_copy(update={"stages": stages, "evaluation": asked})

    return run


@pytest.mark.parametrize(("task", "n"), [("transcription", 3), ("ner", 2), ("sentiment", 2)])
def test_one_model_learns_all_three_and_is_asked_where_there_is_gold(published, sense, task, n):
    folder = jobs.execute(sense(task), "recorded", lambda phase, share: None)
    assert runs.read_json(folder / "run.json")["status"] == "ok"
    assert runs.read_json(folder / "score.json")["n"] == n
    corpus = preparation.ensure_corpus(CorpusConfig(name="librispeech_slue"), 1)
    assert corpus.utterances("train") == CORPUS.utterances("train")


def test_each_task_has_its_share_whatever_the_size_of_its_source(published, sense):
    train = CORPUS.utterances("train")
    stage = sense("ner").stages[0].model_copy(update={"examples": 108, "beside": {"sentiment": 8}})
    asked = stages._asked(stage, train, 0, 0, np.random.default_rng(0))
    counted = Counter(task for _, (task,) in asked)
    assert counted == {"transcription": 40, "ner": 30, "sentiment": 30 + 8}
    assert all(TASKS[task].can_ask(train[place]) for (place, _), (task,) in asked)


def test_what_nothing_is_known_of_cannot_be_asked(published, sense):
    with pytest.raises(UserError, match="no utterance of the corpus has gold for slots"):
        jobs.execute(sense("slots"), "recorded", lambda phase, share: None)


def test_what_whisper_cannot_hear_whole_is_left_out(published):
    chapter = published / "LibriSpeech" / "test-clean" / "103" / "1240"
    write(chapter / "103-1240-0001.flac", 30.5, 0.05)
    table = published / "slue-voxceleb" / "slue-voxceleb_test.tsv"
    table.write_text(table.read_text().replace("\t0.5\t1.5", "\t0.5\t31.5"))
    left = [u.id.split("/")[-1] for u in CORPUS.utterances("A-test", 2)]
    assert left[:2] == ["103-1240-0000", "103-1240-0002"] and left[-1] == "id10002_b_00002"
    assert len(left) == 5  # of VoxCeleb one is too long and one is no sentiment


def test_what_is_missing_is_named(published, monkeypatch):
    (published / "slue-voxceleb" / "slue-voxceleb_dev.tsv").write_text(
        VOXCELEB.replace("sentiment", "mood") + "a\tb\tc\td\te\t0\t1\n"
    )
    with pytest.raises(UserError, match=r"slue-voxceleb_dev\.tsv has no sentiment"):
        CORPUS.utterances("validation")
    (published / "slue-voxceleb" / "slue-voxceleb_test.tsv").unlink()
    with pytest.raises(MissingInput, match=r"slue-voxceleb has no slue-voxceleb_test\.tsv"):
        corpora.recipe("librispeech_slue")
    monkeypatch.delenv("SPEECHLLM_BENCH_DATA")
    with pytest.raises(MissingInput, match="SPEECHLLM_BENCH_DATA is not set"):
        corpora.recipe("librispeech_slue")
    with pytest.raises(UserError, match="has no split 'B-test'"):
        CORPUS.utterances("B-test")
