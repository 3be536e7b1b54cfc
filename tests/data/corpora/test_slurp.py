import json
import shutil

import numpy as np
import pytest
import slurp_answers
import soundfile

from speechllm_bench.data import corpora
from speechllm_bench.data.corpora import RECORDED, recorded, slurp
from speechllm_bench.errors import MissingInput, UserError
from speechllm_bench.running import jobs, preparation
from speechllm_bench.settings.config import CorpusConfig
from speechllm_bench.storage import runs
from speechllm_bench.storage.schema import SlotValue

CORPUS = RECORDED["slurp"]

ROW = {
    "scenario": "calendar",
    "action": "set",
    "intent": "not_the_one_scored",
    "tokens": [{"surface": "Meet"}, {"surface": "New"}, {"surface": "York"}],
    "entities": [{"type": "place", "span": [1, 2]}],
    "recordings": [{"file": "a.flac"}, {"file": "a-headset.flac"}],
}


def test_gold_is_one_item_a_recording(tmp_path):
    (tmp_path / "gold.jsonl").write_text(json.dumps(ROW) + "\n")
    answer = {"intent": "calendar_set", "entities": [{"type": "place", "filler": "new york"}]}
    assert slurp_answers.read_gold(tmp_path / "gold.jsonl") == {"a.flac": answer, "a-headset.flac": answer}


def test_predictions_are_left_as_they_are(tmp_path):
    entities = [{"type": "place", "filler": "New  York", "score": 1}]
    row = {"file": "a.flac", "scenario": "calendar", "action": "set", "entities": entities}
    (tmp_path / "said.jsonl").write_text(json.dumps(row) + "\n")
    found = slurp_answers.read_predictions(tmp_path / "said.jsonl")
    assert found == {"a.flac": {"intent": "calendar_set", "entities": entities}}


def test_answers_to_gold_transcripts_are_items_by_sentence(tmp_path):
    """The gold file has the id as a number, the prediction files as text."""
    (tmp_path / "gold.jsonl").write_text(json.dumps(ROW | {"slurp_id": 9054}) + "\n")
    said = {"slurp_id": "9054", "scenario": "email", "action": "query", "entities": []}
    (tmp_path / "said.jsonl").write_text(json.dumps(said) + "\n")
    gold = slurp_answers.read_gold(tmp_path / "gold.jsonl", by="slurp_id")
    assert {id: answer["intent"] for id, answer in gold.items()} == {"9054": "calendar_set"}
    found = slurp_answers.read_predictions(tmp_path / "said.jsonl")
    assert found == {"9054": {"intent": "email_query", "entities": []}}
    (tmp_path / "gold.jsonl").write_text(json.dumps(ROW) + "\n")
    with pytest.raises(UserError, match="line 1: no slurp_id"):
        slurp_answers.read_gold(tmp_path / "gold.jsonl", by="slurp_id")


def test_a_prediction_file_names_its_items_in_one_way(tmp_path):
    answer = {"scenario": "email", "action": "query", "entities": []}
    lines = [answer | {"slurp_id": "1"}, answer | {"file": "a.flac"}]
    for some, message in ((lines, "line 2: no slurp_id"), (lines[::-1], "line 2: no file")):
        (tmp_path / "said.jsonl").write_text("".join(json.dumps(line) + "\n" for line in some))
        with pytest.raises(UserError, match=message):
            slurp_answers.read_predictions(tmp_path / "said.jsonl")
    both = answer | {"file": "a.flac", "slurp_id": "1"}
    (tmp_path / "said.jsonl").write_text(
        json.dumps(both) + "\n" + json.dumps(both | {"action": "send"}) + "\n"
    )
    found = slurp_answers.read_predictions(tmp_path / "said.jsonl")
    assert {name: one["intent"] for name, one in found.items()} == {"a.flac": "email_send"}  # the last stands


def test_a_line_separator_within_text_ends_no_line(tmp_path):
    row = {"file": "a\u2028b", "scenario": "email", "action": "query", "entities": []}
    (tmp_path / "said.jsonl").write_text(json.dumps(row, ensure_ascii=False) + "\n", encoding="utf-8")
    assert list(slurp_answers.read_predictions(tmp_path / "said.jsonl")) == ["a\u2028b"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 1: not readable"),
        ("", "line 1: not readable"),
        ("[" * 100_000, "line 1: not readable"),
        ("[]", "line 1: not a JSON object"),
        ('{"file": 1}', "no scenario"),
        ('{"scenario": "a", "action": "b", "entities": []}', "line 1: no file"),
    ],
)
def test_other_files_are_refused(tmp_path, line, message):
    (tmp_path / "x.jsonl").write_text(line + "\n")
    with pytest.raises(UserError, match=message):
        slurp_answers.read_predictions(tmp_path / "x.jsonl")


def request(number: int, scenario: str, tokens: str, sentence: str, **spans: list[int]) -> dict:
    return {
        "slurp_id": number,
        "sentence": sentence,
        "scenario": scenario,
        "action": "set",
        "tokens": [{"surface": token} for token in tokens.split()],
        "entities": [{"type": kind, "span": span} for kind, span in spans.items()],
        "recordings": [{"file": f"audio-{number}.flac"}, {"file": f"audio-{number}-headset.flac"}],
    }


ALARM = request(1, "alarm", "Wake me at six", "wake me at six", time=[3])
WEATHER = request(2, "weather", "what 's it like in Bath on friday", "what's it like in bath on friday",
                  place_name=[5], date=[7])  # fmt: skip
TRAIN = request(3, "transport", "a train to Leeds", "a train to leeds", transport_type=[1], place_name=[3])
HEARD_ELSEWHERE = request(4, "calendar", "my train goes at six", "my train goes at six", transport_type=[1])
THREE = [ALARM, WEATHER, TRAIN]
REQUESTS = {"train": [*THREE, HEARD_ELSEWHERE], "devel": [WEATHER], "test": THREE}


@pytest.fixture
def slurp_files(tmp_path, monkeypatch):
    """SLURP as it is published, four requests large, each a second of a tone of its own."""
    folder, people = tmp_path / "slurp", {}
    (folder / slurp.AUDIO).mkdir(parents=True)
    for name, some in REQUESTS.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in some))
        for row in some:
            about = {f["file"]: {"usrid": f"FE-{i}"} for i, f in enumerate(row["recordings"])}
            people[str(row["slurp_id"])] = {"recordings": about}
            for file in about:
                tone = 0.3 * np.sin(np.arange(16000) * 0.05 * row["slurp_id"])
                soundfile.write(folder / slurp.AUDIO / file, tone, 16000)
    (folder / slurp.METADATA).write_text(json.dumps(people))
    monkeypatch.setenv("SPEECHLLM_BENCH_DATA", str(tmp_path))
    return folder


def test_every_recording_is_an_utterance_with_verbatim_values(slurp_files):
    first, second = CORPUS.utterances("A-test", 3)[1:]
    assert (first.id, second.id) == ("slurp/A-test/audio-1-headset", "slurp/A-test/audio-2")
    assert (first.call_id, first.speaker, second.speaker) == ("slurp/A-test/1", "FE-1", "FE-0")
    assert second.transcript == "what's it like in bath on friday" and second.intent == "weather_set"
    assert second.slots == (
        SlotValue("place_name", "bath", "bath", 18, 22),
        SlotValue("date", "friday", "friday", 26, 32),
    )


def test_held_out_scenarios_and_their_slots_come_in_b_test_alone(slurp_files):
    ids = {split: [u.call_id.rpartition("/")[2] for u in CORPUS.utterances(split)] for split in CORPUS.splits}
    assert ids == {"train": ["1", "1", "2", "2"], "validation": ["2", "2"], "A-test": ["1", "1", "2", "2"],
                   "B-test": ["3", "3"]}  # fmt: skip
    types = CORPUS.slot_types()
    assert [types[s.slot].ood for s in CORPUS.utterances("B-test")[0].slots] == [True, False]


def test_no_two_slots_share_a_name():
    types = CORPUS.slot_types().values()
    names = [t.name.replace("_", " ") for t in types] + [text for t in types for text in t.paraphrases]
    assert len(names) == len(set(names)) and all(t.description and t.paraphrases for t in types)


def test_words_that_the_tokens_do_not_have_give_way_to_the_tokens():
    assert slurp.spelled(["Tweet", "@acme", "'s"], "tweet at acme's") == (
        "tweet @acme 's",
        [(0, 5), (6, 11), (12, 14)],
    )


def test_a_study_runs_on_recordings(slurp_files, tiny_run, home):
    config = tiny_run(corpus=CorpusConfig(name="slurp"))
    record = runs.read_json(jobs.execute(config, "recorded", lambda phase, share: None) / "run.json")
    assert record["status"] == "ok" and record["data"]["corpus"]
    corpus = preparation.ensure_corpus(config.corpus, 1)
    assert corpus.info["versions"] == {} and corpus.splits == tuple(CORPUS.splits)
    assert abs(corpus.audio("B-test", 0) - CORPUS.recording(corpus.utterances("B-test")[0])).max() < 1e-4
    card = (corpus.folder / "README.md").read_text()
    assert "do not hand this copy on" in card and "| B-test | 2 | 2 | 0.00 |" in card


def test_what_is_missing_is_named(slurp_files, monkeypatch):
    (slurp_files / slurp.AUDIO / "audio-3.flac").unlink()
    with pytest.raises(UserError, match=r"audio-3\.flac does not exist"):
        CORPUS.recording(CORPUS.utterances("B-test")[0])
    (slurp_files / "devel.jsonl").unlink()
    with pytest.raises(MissingInput, match=r"not whole on this machine: .*slurp has no devel\.jsonl"):
        corpora.recipe("slurp")
    monkeypatch.delenv("SPEECHLLM_BENCH_DATA")
    with pytest.raises(MissingInput, match="SPEECHLLM_BENCH_DATA is not set"):
        corpora.recipe("slurp")


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("metadata.json", "{}", "metadata.json does not know the recording audio-1.flac"),
        ("metadata.json", '{"1": {}}', "has no recordings with usrid"),
        ("metadata.json", '{"1": ', "metadata.json is not readable JSON; fetch it again"),
        ("test.jsonl", json.dumps(ALARM | {"entities": [{"type": "mood", "span": [0]}]}), "'mood' is not in"),
    ],
)
def test_files_that_do_not_fit_are_refused(slurp_files, file, text, message):
    (slurp_files / file).write_text(text)
    slurp._speakers.cache_clear()
    with pytest.raises(UserError, match=message):
        CORPUS.utterances("A-test")


def test_it_is_not_asked_for_what_it_has_no_gold_for(slurp_files, tiny_run, home):
    config = tiny_run(corpus=CorpusConfig(name="slurp"))
    asked = config.evaluation.model_copy(update={"task": "ner"})
    with pytest.raises(UserError, match="no utterance of the corpus has gold for ner"):
        jobs.execute(config.model_copy(update={"evaluation": asked}), "recorded", lambda phase, share: None)


def test_the_published_test_set(bench_data, tmp_path, monkeypatch):
    shutil.copy(bench_data / "slurp" / "test.jsonl", tmp_path)
    gold = slurp_answers.read_gold(tmp_path / "test.jsonl")
    monkeypatch.setattr(recorded, "published_file", lambda corpus, name: tmp_path / name)
    monkeypatch.setattr(slurp, "_speakers", lambda file: dict.fromkeys(gold, "FE-1"))
    turns = CORPUS.utterances("A-test") + CORPUS.utterances("B-test")
    assert len(gold) == 13078 and len(turns) == len({u.id for u in turns}) > 13000
    for turn in turns:
        name = turn.id.rpartition("/")[2] + ".flac"
        fillers = {e["filler"].replace(" ", "") for e in gold[name]["entities"]}
        assert all(turn.transcript[s.start : s.end] == s.value for s in turn.slots)
        assert {s.value.replace(" ", "") for s in turn.slots} <= fillers
        assert turn.intent == gold[name]["intent"]
