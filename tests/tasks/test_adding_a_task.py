"""Adding a task by the recipe in CONTRIBUTING, word for word: one module and one line give all the rest."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from io import StringIO
from pathlib import Path

import pytest
import yaml
from conftest import toy_profile

from speechllm_bench import tasks
from speechllm_bench.storage import paths

STUDY = {
    "study": "counting",
    "title": "Counting words",
    "paper": "none",
    "question": "Does the MLP count better than the CNN?",
    "baseline": "mlp",
    "extremes": ["cnn", "mlp"],
    "n_seeds": 1,
    "base": {
        "adapter": "mlp",
        "lora": False,
        "stages": [
            {
                "name": "counting",
                "tasks": {"length": 1.0},
                "train": ["adapter"],
                "budget": ["slots"],
                "decoded_task": "length",
            }
        ],
        "evaluation": {"task": "length"},
    },
    "variants": {"mlp": {}, "cnn": {"adapter": "cnn"}},
    "reported": [{"variant": "mlp", "metric": "words_off", "value": 0.5, "source": "nowhere"}],
    "claims": [
        {"claim": "The MLP counts better.", "source": "nowhere", "better": "mlp", "worse": "cnn"},
    ],
}


def recipe() -> dict[str, str]:
    """The code of the section, by the file that the text before it names."""
    text = (paths.PROJECT / "CONTRIBUTING.md").read_text("utf-8")
    section = re.search(r"## Adding a task\n(.*?)\n## ", text, re.S)[1]
    parts = re.findall(r"`(src/[\w/]+\.py)`[^`]*?:\n\n```\w+\n(.*?)```", section, re.S)
    assert 2 * len(parts) == section.count("```")
    return dict(parts)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory, tiny_backbones) -> Path:
    """A copy of the package with the new task, and a study and a profile that use it."""
    root = tmp_path_factory.mktemp("checkout")
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(paths.PROJECT / "src", root / "src", ignore=ignored)
    (module, written), (listed, line) = recipe().items()
    assert not (root / module).exists() and line.count("\n") == 1
    (root / module).write_text(written)
    before, after = (root / listed).read_text().split('    "sentiment",\n')
    (root / listed).write_text(f'{before}    "sentiment",\n{line}{after}')
    profile = toy_profile("tiny") | {
        "corpus": {"name": "call_centre", "sizes": {"train": 24, "validation": 8, "A-test": 8}},
        "encoder": {"path": str(tiny_backbones / "whisper"), "padding": "trimmed"},
        "llm": str(tiny_backbones / "llm"),
        "budgets": {"alignment": 0, "transcription": 0, "slots": 16, "understanding": 0},
    }
    shutil.copytree(paths.EXPERIMENTS / "shared", root / "experiments" / "shared")
    (root / "experiments" / "profiles").mkdir(parents=True)
    (root / "experiments" / "counting.yaml").write_text(yaml.safe_dump(STUDY, sort_keys=False))
    (root / "experiments" / "profiles" / "tiny.yaml").write_text(yaml.safe_dump(profile))
    return root


@pytest.fixture(scope="module")
def found(checkout: Path) -> dict:
    """What with_new_task.py prints."""
    own = {"PYTHONPATH": str(checkout / "src"), "SPEECHLLM_BENCH_HOME": str(checkout)}
    script = Path(__file__).with_name("with_new_task.py")
    done = subprocess.run(
        [sys.executable, script], env=os.environ | own, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout.splitlines()[-1])
    assert printed["package"] == str(checkout / "src" / "speechllm_bench") and "length" not in tasks.TASKS
    return printed


def test_it_is_trained_on_asked_and_scored_by_its_own_metric(found):
    assert found["status"] == ["ok", "ok"]
    said = [p for p in found["predictions"] if p["task"] == "length"]
    assert len(said) == len(found["predictions"]) == 8
    assert all(p["gold"] == str(len(p["transcript"].split())) for p in said)
    score = found["score"]
    assert list(score["metrics"]) == ["words_off"] and score["versions"] == {"length": 1, "task length": 1}
    assert score["metrics"]["words_off"]["value"] == 1  # six tokens of a random model are no number
    words = sum(int(p["gold"]) for p in said)
    assert score["totals"]["missed_words"] == [words, words]


def test_its_metric_is_on_the_curve_in_the_table_and_in_the_figures(found):
    curve = list(csv.DictReader(StringIO(found["curve"])))
    assert {("validation", "words_off"), ("validation", "loss")} <= {(r["split"], r["metric"]) for r in curve}
    lines = {line["variant"]: line for line in csv.DictReader(StringIO(found["csv"]))}
    off = found["score"]["metrics"]["words_off"]["value"]
    assert float(lines["mlp"]["words_off"]) == pytest.approx(off, abs=1e-4)
    assert float(lines["mlp"]["words_off_high"]) > off and float(lines["cnn"]["difference"]) == 0
    assert float(lines["cnn"]["difference_high"]) > 0  # with the variance between seeds of `varies_as`
    assert lines["mlp"]["reported"] == "0.5"
    assert "Words off: between the number" in found["markdown"]
    assert re.search(r"\| Words off +\| Difference to baseline +\|", found["markdown"])
    assert "The MLP counts better." in found["claims"] and "not confirmed" not in found["claims"]
    assert found["curves"] == ["loss (nats per target token)", "words off the count"]
    assert found["parameters"] == ["words off the count"]
    named = {f"counting_{ending}.{kind}" for ending in ("curves", "parameters") for kind in ("pdf", "png")}
    assert named <= set(found["figures"])


def test_a_name_stands_for_one_task_and_one_metric():
    found = tasks._FOUND
    assert len({task.name for task in found}) == len(found)
    assert all(tasks.METRICS[metric.name] == metric for task in found for metric in task.metrics)


@pytest.mark.parametrize("name", tasks.TASKS)
def test_a_table_shows_a_main_metric_with_its_interval(name):
    task = tasks.TASKS[name]
    assert task.main in task.metrics and task.main.column == "with interval"
