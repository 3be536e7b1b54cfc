"""What `make` does around the commands that it calls, with a stand-in for them."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from speechllm_bench.paths import PROJECT

STUDIES = ["a", "b", "c"]


@pytest.fixture
def make(tmp_path: Path):
    """`make(study=1, a=2)`: its exit code, what it said and the commands, where `study` ends with 1 and the
    notebook of study `a` with 2. The headline studies are b and c; `which` asks for others.
    """
    shutil.copy(PROJECT / "Makefile", tmp_path)
    for name in ("requirements.lock", "pyproject.toml", *(f"experiments/{name}.yaml" for name in STUDIES)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    command = tmp_path / ".venv" / "bin" / "speechllm-bench"
    command.parent.mkdir(parents=True)
    (tmp_path / ".venv" / "installed").touch()

    def made(which: str = "STUDY=all", **codes: int) -> tuple[int, str, list[str]]:
        cases = "".join(f"{name}*|notebook*' {name} '*) exit {code};; " for name, code in codes.items())
        command.write_text(
            f'#!/bin/bash\necho "$*" >> log\ncase "$*" in list*) echo b; echo c;; {cases}esac\n'
        )
        command.chmod(0o755)
        (tmp_path / "log").unlink(missing_ok=True)
        plain = {key: value for key, value in os.environ.items() if not key.startswith(("MAKE", "MFLAGS"))}
        done = subprocess.run(
            ["make", which, "SEEDS=0"], cwd=tmp_path, env=plain, capture_output=True, text=True
        )
        return done.returncode, done.stdout, sorted((tmp_path / "log").read_text().splitlines())

    return made


NOTEBOOKS = ["notebook a b --profile smoke --seeds 0", "notebook c --profile smoke --seeds 0"]
STUDY = "study a b c --profile smoke --seeds 0"


def test_a_process_makes_several_notebooks_and_so_the_summary_once(make):
    code, said, commands = make()
    assert (code, commands) == (0, [*NOTEBOOKS, STUDY]) and said.startswith("Summary: ")


@pytest.mark.parametrize("codes", [{"study": 1}, {"b": 2}, {"study": 1, "b": 2, "c": 3}])
def test_what_fails_is_told_at_the_end_and_keeps_nothing_else_from_being_made(make, codes):
    code, said, commands = make(**codes)
    assert code != 0 and commands == [*NOTEBOOKS, STUDY] and said.startswith("Summary: ")


def test_a_notebook_without_its_backbone_is_no_failure(make):
    assert make(c=3)[0] == 0


@pytest.mark.parametrize("code", [2, 3, 130])
def test_a_mistake_or_a_stop_ends_it_at_once(make, code):
    assert make(study=code)[0] != 0 and make(study=code)[2] == [STUDY]


def test_without_a_study_the_profiles_headline_studies_are_made_and_asked_for_once(make):
    code, _, commands = make("STUDY=")
    assert code == 0 and commands == [
        "list headline --profile smoke",
        "notebook b --profile smoke --seeds 0",
        "notebook c --profile smoke --seeds 0",
        "study b c --profile smoke --seeds 0",
    ]
