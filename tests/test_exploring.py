"""The notebook of stored results: it executes without torch, and tells in one sentence what is missing."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest
from nbclient import NotebookClient

from speechllm_bench import exploring
from speechllm_bench.cite.comparing import ALL, KINDS, Comparing
from speechllm_bench.commands import asking
from speechllm_bench.data.corpora.single_turns import SingleTurns
from speechllm_bench.errors import UserError
from speechllm_bench.evaluation import score
from speechllm_bench.exploring import Explorer
from speechllm_bench.storage import paths

NOW = datetime(2026, 1, 1, tzinfo=UTC)
NOTEBOOK = paths.NOTEBOOKS / "explore.ipynb"
STORED = paths.PROJECT / "results" / "mini" / "runs"
CHOICES = """
import sys
assert "torch" not in sys.modules
assert (explorer.first.value, explorer.second.value) == ("mlp", "mlp_lora")
assert "−" in explorer.said.value and explorer.curves.value[:4] == b"\\x89PNG"
explorer.study.value, explorer.kind.value = "sense_pooling", "all that flipped"
assert "<table>" in explorer.turn.value
explorer.file.value = "call.wav"
explorer.ask.click()
assert explorer.answer.value.startswith("<p>There is no file call.wav;")
open("call.wav", "w").close()
explorer.ask.click()
print(explorer.answer.value)
"""


@pytest.fixture
def mini(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with the stored runs of mini, and nothing else of it."""
    (home / "results" / "mini").mkdir(parents=True)
    (home / "results" / "mini" / "runs").symlink_to(STORED)
    monkeypatch.setenv("PYTHONPATH", str(paths.PROJECT / "src"))
    return home


def test_the_notebook_executes_on_stored_records_without_torch(mini: Path):
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    notebook.cells.append(nbformat.v4.new_code_cell(CHOICES))
    where = {"metadata": {"path": str(mini)}}
    done = NotebookClient(notebook, timeout=600, kernel_name="python3", resources=where).execute()
    (said,) = [out.text for out in done.cells[-1].outputs if out.output_type == "stream"]
    assert said.startswith("<p>The weights of sense_pooling ") and "are not in results" in said


def test_what_is_compared_is_what_tables_compare(mini: Path):
    found = Comparing("sense_pooling", "mini")
    names = next(names for names in found.test_sets().values() if len(names) > 1)
    first, second = names[:2]
    metric = found.metrics(first)[0]
    scores = [[one.score for one in found.runs[name]] for name in (second, first)]
    assert found.difference(first, second, metric) == score.difference(*scores, metric)
    kept = {kind: found.turns(first, second, kind) for kind in KINDS}
    one, other, both, _ = (len(some) for some in kept.values())
    assert one + other == both > 0
    inside = [found.value(first, metric, part).value for part in found.slices(first) if part != ALL]
    assert min(inside) < found.value(first, metric).value < max(inside)


def test_a_study_without_scores_is_told(home: Path):
    explorer = Explorer("lora", "mini")
    assert explorer.said.value == (
        "<p>Study &#x27;lora&#x27; has no scores at profile mini; run it by `make` first.</p>"
    )
    explorer.kind.value = "both wrong"
    assert explorer.turn.value == ""


def test_what_was_shown_goes_with_its_study(mini: Path):
    explorer = Explorer("sense_pooling", "mini")
    explorer.answer.value = "an answer"
    assert explorer.curves.value and explorer.curves.layout.display is None
    explorer.study.value = "fresh_test"
    assert explorer.said.value.startswith("<p>Study &#x27;fresh_test&#x27; has no scores")
    shown = (explorer.test_set, explorer.first, explorer.second, explorer.metric, explorer.slice)
    assert all(dropdown.options == () and dropdown.value is None for dropdown in shown)
    assert explorer.curves.value == b"" and explorer.curves.layout.display == "none"
    assert explorer.answer.value == explorer.turn.value == ""
    explorer.study.value = "sense_pooling"
    assert explorer.first.value and "Loading" not in explorer.said.value


def test_studies_without_scores_are_marked(mini: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(exploring, "without_scores", lambda profile: {"fresh_test"})
    explorer = Explorer("sense_pooling", "mini")
    assert ("fresh_test (no scores)", "fresh_test") in explorer.study.options
    assert ("sense_pooling", "sense_pooling") in explorer.study.options


def test_a_slice_is_shown_by_the_main_metric_and_keeps_its_turns(mini: Path):
    explorer = Explorer("lora", "mini")
    main = explorer.metric.value
    explorer.metric.value = "exact_f1"
    assert "−" in explorer.said.value
    explorer.slice.value = "words=6-9"
    assert explorer.metric.value == main and "−" in explorer.said.value
    assert [value for _, value in explorer.metric.options] == [main]
    kept = [first for first, _ in explorer._turns]
    assert kept and all(6 <= len(turn.transcript.split()) < 10 for turn in kept)
    explorer.slice.value = "slot=callback_number"
    assert all("callback number" in first.gold for first, _ in explorer._turns)
    assert "callback_number" not in explorer.turn.value
    explorer.answer.value = "an answer"
    explorer.second.value = "cnn"
    assert explorer.answer.value == ""


def test_kinds_of_turns_have_counts_and_one_with_turns_is_chosen(mini: Path):
    explorer = Explorer("lora", "mini")
    shown = {value: int(label.rpartition("(")[2].rstrip(")")) for label, value in explorer.kind.options}
    assert shown == {kind: len(explorer._kinds[kind]) for kind in KINDS} and sum(shown.values()) > 0
    explorer.second.value = explorer.first.value  # nothing flips
    assert explorer.kind.value == "both wrong" and "<table>" in explorer.turn.value


def test_the_baseline_is_the_studys_first_on_the_test_set(mini: Path):
    found = Comparing("baselines", "mini")
    for names in found.test_sets().values():
        known = [name for name in found.study.baselines if name in names]
        assert found.baseline(names) == next(iter(known), None)
        assert all(found.baseline_of(name) == found.baseline(names) for name in names)
    explorer = Explorer("baselines", "mini")
    explorer.test_set.value = next(label for label in explorer.test_set.options if label.startswith("B-OOD"))
    assert explorer.first.value == "speechllm_b_ood"


def test_what_takes_long_is_told_while_it_lasts(mini: Path, monkeypatch: pytest.MonkeyPatch):
    explorer = Explorer("sense_pooling", "mini")
    told = []

    class Turns(SingleTurns):
        def wav(self, split, utterance_id):
            told.append(explorer.sound_said.value)
            self._speaks()
            told.append(explorer.sound_said.value)
            return b"RIFF"

    monkeypatch.setattr(exploring, "SingleTurns", Turns)
    explorer.hear.click()
    assert told == ["<p>The turn is being loaded …</p>", "<p>The turn is being spoken …</p>"]
    assert explorer.sound_said.value == "" and len(explorer.sound.children) == 1
    monkeypatch.setattr(exploring, "Comparing", lambda *_: told.append(explorer.said.value) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        explorer._load()
    assert told[-1] == "<p>Loading …</p>"


def test_an_answer_says_who_heard_it(mini: Path, monkeypatch: pytest.MonkeyPatch):
    answer = asking.Answer("sense_pooling first", "[]", [], "good morning", 0.1, 1.0)
    encoder = SimpleNamespace(path="zoo/whisper-nano")
    model = SimpleNamespace(config=SimpleNamespace(encoder=encoder), ask=lambda *_, **__: answer)
    loaded = []
    monkeypatch.setattr(asking, "load", lambda *given: loaded.append(given) or model)
    explorer = Explorer("sense_pooling", "mini")
    explorer.ask.click()
    assert not loaded and "ame, upload or record what" in explorer.answer.value
    (mini / "call.wav").touch()
    explorer.file.value = "call.wav"
    explorer.ask.click()
    assert "heard by whisper-nano" in explorer.answer.value and "good morning" in explorer.answer.value


def test_a_file_that_is_named_uploaded_or_recorded_is_asked_about(mini: Path):
    explorer = Explorer("sense_pooling", "mini")
    with pytest.raises(UserError, match="name, upload or record what"):
        explorer._recording()
    explorer.file.value = "before.wav"  # gives way to what is uploaded after it
    explorer.upload.value = (
        {
            "name": "a.wav",
            "type": "audio/wav",
            "size": 4,
            "content": memoryview(b"RIFF"),
            "last_modified": NOW,
        },
    )
    assert explorer._recording() == b"RIFF"
    explorer.file.value = "before.wav"
    explorer.recorded.value = base64.b64encode(b"RIFF of the microphone").decode()
    assert explorer._recording() == b"RIFF of the microphone"
    explorer.file.value = "call.wav"
    with pytest.raises(UserError, match="there is no file call.wav"):
        explorer._recording()
    (mini / "call.wav").touch()  # beside the results, where the notebook is not
    assert explorer._recording() == str(mini / "call.wav")
