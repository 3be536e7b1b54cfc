"""The pooled variance between seeds: that of the records, and how it adds up over systems."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from speechllm_bench.evaluation import seeds
from speechllm_bench.storage.paths import PROJECT
from speechllm_bench.tasks import MAIN_METRICS, METRICS

OWN, APART = seeds.pooled("f1"), seeds.table()["share_of_an_evaluation"]


def test_the_stored_variances_are_those_of_the_records():
    check = [sys.executable, "tools/seed_variance.py", "--check"]
    done = subprocess.run(check, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_variance_is_the_mean_of_the_systems_own(tmp_path):
    sys.path.insert(0, str(PROJECT / "tools"))
    import seed_variance

    f1 = {
        "a": (0.1, 0.3),
        "b": (0.5, 0.5),
        "c": (0.2, 0.2),
        "d": (0.4, 0.4),
        "e": (0.6, 0.8),
        "untrained": (0, 1),
    }
    for name, values in f1.items():
        for seed, value in enumerate(values):
            folder = tmp_path / f"{name}{seed}"
            folder.mkdir()
            config = {"name": name, "seed": seed, "evaluation": {"audio": "own"}}
            record = {"digest": folder.name, "status": "ok", "config": config, "seed": seed}
            record |= {"stages": [] if name == "untrained" else ["shared" if name in "ab" else name]}
            (folder / "run.json").write_text(json.dumps(record))
            stored = {"items": "x", "metrics": {"f1": {"value": value}}}
            (folder / "score.json").write_text(json.dumps(stored))
    found = seed_variance.pool(seed_variance.systems(tmp_path))
    assert found["own"]["f1"] == {"variance": pytest.approx(0.04 / 5), "systems": 5}
    assert found["rests_on"]["runs"] == 10 and found["other"] == {}
    assert found["share_of_an_evaluation"] == 1.0  # a - b varies by 0.02: more than both alone


def marked(training, audio="own"):
    return seeds.marked({}, training, audio)


def test_variances_of_systems_add_up():
    def of(*systems, weights=(1, -1)):
        return seeds.variance(systems, weights, "f1", n_seeds=3)

    assert of(marked("a"), weights=[1]) == pytest.approx(OWN)
    assert of(marked("a"), marked("b")) == pytest.approx(2 * OWN)
    assert of(marked("a"), marked(None)) == pytest.approx(OWN)  # the untrained side does not vary
    assert of(marked(None), marked(None)) == 0
    assert of({}, {}) == pytest.approx(2 * OWN)  # unmarked: a training each
    assert of(marked("a"), marked("a")) == pytest.approx(2 * OWN * APART) and 0.2 < APART < 0.8
    heard = seeds.pooled("f1", "other")
    assert of(marked("a"), marked("a", "other")) == pytest.approx(OWN + heard) and heard < OWN / 10
    assert of(*map(marked, "abcd"), weights=(1, -1, -1, 1)) == pytest.approx(4 * OWN)


def test_a_metric_without_records_takes_its_kin_or_none(monkeypatch):
    assert seeds.pooled("accuracy") == seeds.pooled("f1_v1") == OWN
    monkeypatch.setitem(METRICS, "new", replace(METRICS["f1"], name="new"))
    assert seeds.pooled("new") is None
    assert seeds.variance([{}], [1], "new", n_seeds=1) is None
    names = {name for name in (*MAIN_METRICS, "precision", "recall", "slu_f1", "exact_f1", "cer")}
    assert all(0 < np.sqrt(seeds.pooled(name)) < 0.05 for name in names)


@pytest.mark.parametrize("name", [metric.name for metric in METRICS.values() if metric.column])
def test_every_metric_that_tables_show_has_a_variance_between_seeds(name):
    """Else a row of one seed is marked as having it, and its interval lacks it."""
    assert seeds.pooled(name) is not None
    kin = METRICS[name].varies_as
    assert not kin or METRICS[kin].unit == METRICS[name].unit


def test_one_seed_on_other_audio_varies_as_with_its_own_where_nothing_else_is_known():
    """Entities are known with own audio alone. Several seeds show their own variance."""
    assert seeds.pooled("ner_f1", "other") is None
    pair, own = [marked("a", "other"), marked("b")], seeds.pooled("ner_f1")
    assert seeds.variance(pair, [1, -1], "ner_f1", n_seeds=1) == pytest.approx(2 * own)
    assert seeds.variance(pair, [1, -1], "ner_f1", n_seeds=3) is None


def test_a_score_that_shows_version_2_varies_as_version_2():
    shown = marked("a") | {"versions": {"partial_match": 2}}
    assert seeds.variance([shown], [1], "f1", n_seeds=1) == pytest.approx(seeds.pooled("f1_v2")) != OWN
