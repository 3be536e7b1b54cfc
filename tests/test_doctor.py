from __future__ import annotations

import shutil

import pytest

from speechllm_bench import doctor


@pytest.mark.parametrize("home", ["not/yet/there", "a_file/home"])
def test_a_home_that_is_not_there_is_as_free_as_the_folder_above_it(suite, monkeypatch, home):
    (suite / "a_file").touch()
    monkeypatch.setenv("SPEECHLLM_BENCH_HOME", str(suite / home))
    free = shutil.disk_usage(suite).free / 2**30
    [told] = [line for line in doctor.machine() if line.startswith("disk")]
    assert float(told.split()[1]) == pytest.approx(free, abs=2)
    assert any("disk     1 GiB" in line for line in doctor.profile_lines("smoke"))
    assert not (suite / "not").exists()
