"""The site's folder: whole, small, kept where nothing changed, and never over other files."""

from __future__ import annotations

import json
from hashlib import sha256
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from speechllm_bench import cli, stats
from speechllm_bench.evaluation import score
from speechllm_bench.site import build, draws

VENDOR = files(build.__package__) / "vendor"


def test_a_site_is_whole_and_kept_where_nothing_changed(answered: Path):
    page = build.write(["mini"], answered / "site")
    folder = page.parent
    for line in page.read_text("utf-8").split('src="')[1:]:
        assert (folder / line.split('"')[0]).is_file()
    assert "://" not in page.read_text("utf-8")
    of_runs = sorted((folder / "data" / "mini" / "runs").iterdir())
    assert len(of_runs) == 7
    written = [file.stat().st_mtime_ns for file in of_runs]
    left = folder / "data" / "mini" / "runs" / "old.js"
    left.touch()
    assert build.write(["mini"], folder) == page
    assert [file.stat().st_mtime_ns for file in of_runs] == written and not left.exists()


def test_a_folder_with_other_files_is_left_alone(answered: Path, capsys):
    (answered / "mine").mkdir()
    (answered / "mine" / "thesis.tex").touch()
    assert cli.main(["site", "--out", str(answered / "mine")]) == 2
    assert "holds other files" in capsys.readouterr().err
    assert [file.name for file in (answered / "mine").iterdir()] == ["thesis.tex"]


def test_a_profile_without_runs_is_told(suite: Path, capsys):
    assert cli.main(["site", "--profile", "mini"]) == 2
    assert "there are no stored runs of mini" in capsys.readouterr().err


def test_the_draws_are_those_of_our_intervals():
    """By the formula of `stats.contrast`, on the shipped draws alone."""
    rng = np.random.default_rng(5)
    counts = rng.integers(1, 9, (2, 40, 3)) + np.array([0, 9, 9])
    speakers = [f"s{i % 7}" for i in range(40)]
    summed = stats.sum_by_speaker([str(i) for i in range(40)], speakers, counts)
    rule = lambda sums: 2 * sums[..., 0] / (sums[..., 1] + sums[..., 2])  # noqa: E731
    ours = stats.contrast([summed], [1], rule, score.rng(), 0.0)
    times, widths = stats.bootstrap_draws(7, score.rng(), stats.N_BOOT)
    of_seeds = np.stack([rule(times @ sums) for sums in summed.sums])
    deviations = (of_seeds.mean(axis=0) - ours.value) * np.sqrt(7 / 6) * widths
    assert ours.value + np.quantile(deviations, [0.025, 0.975]) == pytest.approx(
        [ours.low, ours.high], abs=1e-12
    )
    assert set(draws.of(7, 2)["t"]) == {"1", "4", "5"}


@pytest.mark.parametrize(
    "library", json.loads((VENDOR / "vendor.json").read_text("utf-8")), ids=lambda one: one["file"]
)
def test_libraries_are_those_that_are_named_and_bear_their_licence(library: dict):
    content = (VENDOR / library["file"]).read_bytes()
    assert sha256(content).hexdigest() == library["sha256"]
    assert library["version"] in content[:200].decode() and library["version"] in library["source"]
    assert "Permission to use, copy, modify" in (VENDOR / library["licence_file"]).read_text("utf-8")


def test_the_pages_name_every_script_and_nothing_outside():
    page = (files(build.__package__) / "assets" / "index.html").read_text("utf-8")
    assert [f"assets/{name}.js" for name in build.SCRIPTS] == [
        part.split('"')[0] for part in page.split('src="')[1:] if part.startswith("assets/")
    ]
