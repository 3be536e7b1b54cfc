from __future__ import annotations

import shutil

import pytest

from speechllm_bench.commands import doctor


@pytest.mark.parametrize("home", ["not/yet/there", "a_file/home"])
def test_a_home_that_is_not_there_is_as_free_as_the_folder_above_it(suite, monkeypatch, home):
    (suite / "a_file").touch()
    monkeypatch.setenv("SPEECHLLM_BENCH_HOME", str(suite / home))
    free = shutil.disk_usage(suite).free / 2**30
    [told] = [line for line in doctor.about_machine() if line.startswith("disk")]
    assert float(told.split()[1]) == pytest.approx(free, abs=2)
    assert any("disk     1 GiB" in line for line in doctor.profile_lines("smoke"))
    assert not (suite / "not").exists()


def test_the_disk_that_profile_paper_needs_is_with_its_models_and_corpora(monkeypatch):
    """117 GiB of models, each once, 76 of corpora, and what the suite makes of them."""

    def told() -> str:
        [line] = [line for line in doctor.profile_lines("paper") if " disk " in line]
        return line

    free = {"gib": 322.0}
    monkeypatch.setattr(doctor, "free_disk", lambda: free["gib"] * 2**30)
    assert told() == "MISSING disk     323 GiB: 193 for models and corpora, 193 of it to be fetched"
    free["gib"] = 324.0
    assert told().startswith("present")
    monkeypatch.setattr(doctor, "model_lacks", lambda model: None)
    monkeypatch.setattr(doctor, "corpus_lacks", lambda corpus: None)
    free["gib"] = 131.0
    assert told() == "present disk     323 GiB: 193 for models and corpora, 0 of it to be fetched"
    free["gib"] = 129.0
    assert told().startswith("MISSING")
