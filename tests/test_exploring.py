"""The notebook of stored results: it executes without torch, and tells in one sentence what is missing."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from speechllm_bench.errors import UserError
from speechllm_bench.evaluation import score
from speechllm_bench.exploring import Explorer
from speechllm_bench.reports.comparing import ALL, KINDS, Comparing
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
    done = NotebookClient(notebook, timeout=600, kernel_name="python3").execute()
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


def test_a_file_that_is_named_or_uploaded_is_asked_about(mini: Path):
    explorer = Explorer("sense_pooling", "mini")
    with pytest.raises(UserError, match="name or upload a recording"):
        explorer._recording()
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
    explorer.file.value = "call.wav"
    assert explorer._recording() == "call.wav"
