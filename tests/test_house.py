"""The rules of the house that no tool checks: versions agree, notebooks are thin, nothing unsafe is read."""

from __future__ import annotations

import ast
import configparser
import json
import re
import subprocess
import sys
import sysconfig
import tomllib
from collections import Counter
from importlib.machinery import PathFinder
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from speechllm_bench.settings.profiles import known_profiles, load_profile, profile_file
from speechllm_bench.storage.paths import EXPERIMENTS, NOTEBOOKS, PROJECT

SOURCES = sorted((PROJECT / "src").rglob("*.py"))
NOTEBOOK_FILES = sorted(NOTEBOOKS.glob("*.ipynb"))
QUICK = ("cli", "planning.studies", "running.runner")  # what a command needs before its own work begins
HEAVY = ("torch", "transformers", "whisper", "peft")
WHOLE = ("pandas", "matplotlib", "papermill", "datasets")  # beside `HEAVY`: a second of start-up each


@pytest.mark.parametrize("folder", ["benchmarks", "tools"])
def test_no_script_bears_a_packages_name(folder):
    """A script's folder is searched first: `coverage.py` there was what numba found under that name, which
    it looks for whether it is installed or not.
    """
    places = [sysconfig.get_paths()[kind] for kind in ("stdlib", "purelib", "platlib")]
    names = [path.stem for path in (PROJECT / folder).glob("*.py")]
    taken = [name for name in names if name == "coverage" or PathFinder.find_spec(name, places)]
    assert names and not taken


def _relative(path: Path) -> str:
    return path.relative_to(PROJECT).as_posix()


def _project() -> dict:
    return tomllib.loads((PROJECT / "pyproject.toml").read_text("utf-8"))["project"]


def _locked(file: str = "requirements.lock") -> dict[str, str]:
    """Package name to version, as a lock pins it."""
    lines = (PROJECT / file).read_text("utf-8").splitlines()
    pins = [Requirement(line) for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(pin.name): str(pin.specifier).removeprefix("==") for pin in pins}


def _tracked() -> list[Path]:
    """Files that are, or would be, in the repository."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [p for name in listed.stdout.split("\0") if name and (p := PROJECT / name).is_file()]


def _code_cells(path: Path) -> list[dict]:
    return [c for c in json.loads(path.read_text("utf-8"))["cells"] if c["cell_type"] == "code"]


def test_every_dependency_is_locked_at_an_allowed_version():
    locked = _locked()
    project = _project()
    for text in [*project["dependencies"], *project["optional-dependencies"]["test"]]:
        wanted = Requirement(text)
        version = locked.get(canonicalize_name(wanted.name))
        assert version, f"{wanted.name} is in pyproject.toml but not in requirements.lock"
        assert wanted.specifier.contains(version), (
            f"requirements.lock has {wanted.name} {version}, not {wanted}"
        )


def test_the_extra_small_has_a_lock_of_its_own_that_only_adds():
    added = _locked("requirements-small.lock")
    assert not set(added) & set(_locked())
    for text in _project()["optional-dependencies"]["small"]:
        wanted = Requirement(text)
        version = added.get(canonicalize_name(wanted.name))
        assert version, f"{wanted.name} is in the extra small but not in requirements-small.lock"
        assert wanted.specifier.contains(version), f"the lock has {wanted.name} {version}, not {wanted}"


@pytest.mark.parametrize("file", ["requirements.lock", "requirements-small.lock"])
def test_a_lock_holds_exact_versions_and_no_addresses(file: str):
    text = (PROJECT / file).read_text("utf-8")
    assert not re.search(r"://|--hash|^-|@ |\+(cpu|cu)", text, re.M)
    for line in text.splitlines():
        assert line.startswith("#") or re.fullmatch(r"[a-z0-9-]+==[0-9][^\s+]*( ; .+)?", line), line
    assert _locked()["torch"] == "2.13.0"


def test_what_runs_here_is_what_is_locked():
    from importlib.metadata import version

    locked = _locked()
    for text in _project()["dependencies"]:
        name = canonicalize_name(Requirement(text).name)
        assert version(name).split("+")[0] == locked[name], f"{name} is not the locked one: run `make setup`"


def test_conda_installs_the_lock_and_an_allowed_python():
    environment = yaml.safe_load((PROJECT / "environment.yml").read_text("utf-8"))
    conda = [d for d in environment["dependencies"] if isinstance(d, str)]
    (pip,) = [d["pip"] for d in environment["dependencies"] if isinstance(d, dict)]
    assert pip == ["-r requirements.lock", "-e ."]
    (python,) = [Requirement(d.replace("=", "==", 1)) for d in conda if d.startswith("python=")]
    version = str(python.specifier).removeprefix("==")
    allowed = Requirement(f"python{_project()['requires-python']}").specifier
    assert allowed.contains(version)
    assert environment["name"] == _project()["name"]


@pytest.mark.parametrize("profile", known_profiles())
def test_a_profiles_headline_studies_are_there(profile: str):
    headline = load_profile(profile_file(profile)).headline
    assert headline and set(headline) <= {path.stem for path in EXPERIMENTS.glob("*.yaml")}


def test_every_study_has_its_notebook():
    assert {p.stem for p in EXPERIMENTS.glob("*.yaml")} <= {p.stem for p in NOTEBOOK_FILES}


def test_every_third_party_import_is_a_dependency():
    project = _project()
    extras = (project["optional-dependencies"][name] for name in ("small", "ray", "slurm", "tensorboard"))
    wanted = [*project["dependencies"], *(text for extra in extras for text in extra)]
    named = {canonicalize_name(Requirement(d).name) for d in wanted}
    provides = {"yaml": "pyyaml", "whisper": "openai-whisper", "piper": "piper-tts"}
    known = set(sys.stdlib_module_names) | {"speechllm_bench"}
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            modules = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                modules = [node.module]
            for top in {m.split(".")[0] for m in modules} - known:
                package = canonicalize_name(provides.get(top, top))
                assert package in named, f"{_relative(path)} imports {top}, unnamed in pyproject.toml"


@pytest.mark.parametrize("path", NOTEBOOK_FILES, ids=lambda p: p.stem)
def test_a_notebook_is_thin_and_stored_without_outputs(path: Path):
    cells = json.loads(path.read_text("utf-8"))["cells"]
    assert len(cells) <= 12
    code = _code_cells(path)
    for cell in code:
        assert not cell["outputs"] and cell["execution_count"] is None, "clear all outputs and save again"
        source = "".join(cell["source"])
        assert not re.search(r"^\s*(async def|def|class) ", source, re.M), "functions belong into src/"
    assert sum("parameters" in c["metadata"].get("tags", []) for c in code) == 1


BINARY = {".safetensors", ".gz", ".png", ".pdf", ".flac", ".wav", ".parquet"}


def test_no_tracked_file_names_a_path_of_one_machine():
    machine = re.compile(r"""(?<![\w.~-])/(?:home|root|Users|tmp|work|mnt|opt)/\w|[A-Z]:\\\\?\w""")
    here = Path(__file__).resolve()
    for path in _tracked():
        if path == here or path.suffix in BINARY:
            continue
        found = machine.search(path.read_text("utf-8"))
        assert not found, f"{_relative(path)} holds {found[0]!r}"


@pytest.mark.parametrize("path", SOURCES, ids=_relative)
def test_a_source_file_is_short_documented_and_safe(path: Path):
    text = path.read_text("utf-8")
    assert text.count("\n") <= 320, "one concept a file"
    assert ast.get_docstring(ast.parse(text)), "the module says nothing of itself"
    assert "trust_remote_code" not in text
    assert not re.search(r"\b(import pickle|pickle\.load|yaml\.load\(|yaml\.unsafe_load)", text)
    for call in re.finditer(r"torch\.load\((?:[^()]|\([^()]*\))*\)", text):
        assert "weights_only=True" in call[0]


def test_no_duration_is_of_a_clock_that_can_be_set_back():
    wall = {p.name for p in SOURCES if "time.time()" in p.read_text("utf-8")}
    assert wall <= {"heartbeat.py"}  # it stores a time of day


def test_every_yaml_is_plain():
    for path in [*(PROJECT / "experiments").rglob("*.yaml"), *(PROJECT / "src").rglob("*.yaml")]:
        assert yaml.safe_load(path.read_text("utf-8")), f"{_relative(path)} is empty"


def torch_free() -> list[str]:
    """The modules of the import contract, with all that lies below them."""
    contracts = configparser.ConfigParser()
    contracts.read(PROJECT / ".importlinter")
    named = contracts["importlinter:contract:torch"]["source_modules"].split()
    files = [PROJECT / "src" / (name.replace(".", "/") + ".py") for name in named]
    folders = [file.with_suffix("") for file in files if not file.is_file()]
    below = [file for folder in folders for file in folder.rglob("*.py")]
    found = [file.relative_to(PROJECT / "src").with_suffix("") for file in [*files, *below] if file.is_file()]
    return [".".join(part for part in file.parts if part != "__init__") for file in found]


@pytest.mark.parametrize(
    ("modules", "refused"),
    [
        (torch_free(), HEAVY),
        ([f"speechllm_bench.{name}" for name in QUICK], HEAVY + WHOLE),
    ],
    ids=["scores and reports", "commands"],
)
def test_what_needs_no_torch_loads_none(modules, refused):
    """import-linter sees our own imports; this sees what the libraries behind them load."""
    code = "\n".join(["import sys", *(f"import {name}" for name in modules)])
    code += f"\nprint(*sorted(set({refused}) & set(sys.modules)))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert loaded.returncode == 0, loaded.stderr
    assert loaded.stdout.strip() == ""


def test_no_two_modules_have_one_name():
    """`api`: the front door in Python and OpenAI's protocol; `languages`: a corpus and its table."""
    modules = Counter(map(_module, SOURCES))
    assert {name for name, n in modules.items() if n > 1} <= {"api", "languages"}


def test_no_function_has_the_name_of_a_module():
    """Else `score.score` and `from ... import score` cannot be told apart where they are read."""
    modules = set(map(_module, SOURCES))
    for path in SOURCES:
        functions = (n for n in ast.parse(path.read_text("utf-8")).body if isinstance(n, ast.FunctionDef))
        taken = sorted({function.name for function in functions} & modules)
        assert not taken, f"{_relative(path)} defines {', '.join(taken)}, which are modules too"


def _module(path: Path) -> str:
    return path.parent.name if path.stem == "__init__" else path.stem


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "docs/add.md"])
def test_a_file_that_a_guide_names_is_there(page: str):
    """Only the module of CONTRIBUTING.md's example is not."""
    text = (PROJECT / page).read_text("utf-8")
    named = set(re.findall(r"`([\w/]+/\w+\.(?:py|yaml|json|ipynb))`", text))
    places = (PROJECT, PROJECT / "src" / "speechllm_bench")
    lacking = {name for name in named if not any((place / name).is_file() for place in places)}
    assert named and lacking <= {"src/speechllm_bench/tasks/length.py"}
