"""What `make` does around the commands that it calls, with a stand-in for them."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from speechllm_bench.storage.paths import PROJECT

STUDIES = ["a", "b", "c"]
OUTSIDE = ("MAKE", "MFLAGS", "SPEECHLLM_BENCH_HOME")


@pytest.fixture
def make(tmp_path: Path):
    """`make(study=1, a=2)`: its exit code, what it said and the commands, where `study` ends with 1 and the
    notebook of study `a` with 2. The headline studies are b and c.
    """
    shutil.copy(PROJECT / "Makefile", tmp_path)
    for name in ("requirements.lock", "pyproject.toml", *(f"experiments/{name}.yaml" for name in STUDIES)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    command = tmp_path / ".venv" / "bin" / "speechllm-bench"
    command.parent.mkdir(parents=True)
    (tmp_path / ".venv" / "installed").touch()

    def made(*given: str, environment: dict | None = None, **codes: int) -> tuple[int, str, list[str]]:
        cases = "".join(f"{name}*|notebook*' {name} '*) exit {code};; " for name, code in codes.items())
        command.write_text(
            f'#!/bin/bash\necho "$*" >> log\ncase "$*" in list*) echo b; echo c;; {cases}esac\n'
        )
        command.chmod(0o755)
        (tmp_path / "log").unlink(missing_ok=True)
        plain = {key: value for key, value in os.environ.items() if not key.startswith(OUTSIDE)}
        done = subprocess.run(
            ["make", *(given or ("STUDY=all", "SEEDS=0"))],
            cwd=tmp_path, env=plain | (environment or {}), capture_output=True, text=True,
        )  # fmt: skip
        log = tmp_path / "log"
        commands = sorted(log.read_text().splitlines()) if log.is_file() else []
        return done.returncode, done.stdout + done.stderr, commands

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


NAMED = ("PROFILE", "STUDY", "VARIANTS", "SEEDS", "JOBS", "TURNS")
CODE = (
    "a; touch x",
    "a & touch x",
    "a | touch x",
    "a > x",
    "`touch x`",
    "$(touch x)",
    "$$(touch x)",
    "$(shell touch x)",
    "2;touch x",
    "a[$$(touch x)]",
    "' ; touch x; '",
    '" ; touch x; "',
    "a\ntouch x",
    "$(eval $(shell touch x))",
    "*",
)


@pytest.mark.parametrize("code", CODE)
@pytest.mark.parametrize("variable", NAMED)
def test_what_is_given_is_never_run(make, tmp_path, variable, code):
    for given in ({}, {variable: code}):
        exit_code, said, commands = make("run", *([] if given else [f"{variable}={code}"]), environment=given)
        assert exit_code == 2 and commands == [] and f"{variable} is '" in said, said
        assert "it may hold letters, digits and _ . - alone" in said
        assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("code", CODE)
def test_paths_are_never_run(make, tmp_path, code):
    for given in ({}, {"SPEECHLLM_BENCH_HOME": code}):
        exit_code, said, commands = make(
            *([] if given else [f"SPEECHLLM_BENCH_HOME={code}"]), "STUDY=a", environment=given
        )
        assert exit_code == 0 and commands == ["notebook a --profile smoke", "study a --profile smoke"]
        assert f"Summary: {code}/results/smoke/README.md" in said
        assert not (tmp_path / "x").exists()
    (tmp_path / ".venv" / "installed").unlink()
    for given in ({}, {"PYTHON": code}):
        exit_code, said, commands = make("run", *([] if given else [f"PYTHON={code}"]), environment=given)
        assert exit_code == 2 and commands == [] and f"needed, and {code} is not; name one" in said
        assert not (tmp_path / "x").exists()


def test_all_hands_on_what_is_given_as_it_was_given(make, tmp_path):
    home = "$(shell touch x) `touch x`"
    _, said, commands = make("all", f"SPEECHLLM_BENCH_HOME={home}", "SEEDS=0,1", "JOBS=08")
    assert commands[-1] == "study a b c --profile smoke --seeds 0,1 --variants extremes --jobs 08"
    assert f"Summary: {home}/results/smoke" in said and not (tmp_path / "x").exists()


def test_without_a_study_the_profile_names_them_asked_for_once(make, tmp_path):
    assert make("PROFILE=mini", "JOBS=1")[2] == [
        "list headline --profile mini",
        "notebook b c --profile mini --jobs 1",
        "study b c --profile mini --jobs 1",
    ]
    assert make("STUDY=b a", "JOBS=1")[2][1] == "study b a --profile smoke --jobs 1"


def test_verify_fetches_two_backbones_and_takes_a_number_of_turns(make):
    fetched = "fetch small --only whisper-base smollm2-135m-instruct"
    for given, option in (([], ""), (["TURNS=all"], " --turns all")):
        code, _, commands = make("verify", "PROFILE=small", *given)
        assert (code, commands) == (0, [fetched, f"verify --profile small{option}"])


def test_the_lab_opens_a_copy_that_stays_changed_and_for_root_too(make, tmp_path):
    for name, text in (("jupyter", 'echo "$*" >> log'), ("id", "echo $USER_NUMBER")):
        (tmp_path / ".venv" / "bin" / name).write_text(f"#!/bin/bash\n{text}\n")
        (tmp_path / ".venv" / "bin" / name).chmod(0o755)
    path = f"{tmp_path / '.venv' / 'bin'}:{os.environ['PATH']}"
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "explore.ipynb").write_text("the notebook")
    home = tmp_path / "my home"
    for number, option in (("0", " --allow-root"), ("1000", "")):
        given = {"PATH": path, "USER_NUMBER": number, "SPEECHLLM_BENCH_HOME": str(home)}
        assert make("lab", environment=given)[2] == [
            f"lab --notebook-dir={home}/.cache/lab --LabApp.default_url=/lab/tree/explore.ipynb{option}"
        ]
    copy = home / ".cache" / "lab" / "explore.ipynb"
    assert copy.read_text() == "the notebook"
    copy.write_text("changed")
    make("lab", environment=given)
    assert copy.read_text() == "changed"
    os.utime(copy, (0, 0))  # the notebook is newer now
    make("lab", environment=given)
    assert copy.read_text() == "the notebook"
