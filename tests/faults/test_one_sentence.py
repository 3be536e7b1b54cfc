"""What a machine or a corpus may lack, told in one sentence and not in a traceback."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from dataclasses import replace

import pytest
from transformers import AutoTokenizer

from speechllm_bench import cli
from speechllm_bench.data.annotators import Annotated, Question, stored
from speechllm_bench.errors import MissingInput, UserError
from speechllm_bench.models.inputs import collate, prompt_halves
from speechllm_bench.planning import identity
from speechllm_bench.running import trouble
from speechllm_bench.storage import notebook_copy, paths, runs
from speechllm_bench.storage.schema import Example, Utterance
from speechllm_bench.tasks.prompt import AUDIO

EXAMPLE = Example("u/slots", "u", "slots", f"caller:{AUDIO}\nslots: city", "{}")


def told(monkeypatch, capsys, error: Exception) -> str:
    def fail(chosen):
        raise error

    monkeypatch.setattr(cli, "tell_machine", fail)
    assert cli.main(["doctor"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:117] . DefaultCPUAllocator: can't allocate memory: you "
                     "tried to allocate 4096 bytes. Error code 12 (Cannot allocate memory)"),
        RuntimeError("can't start new thread"),
        ImportError("libtorch_cpu.so: failed to map segment from shared object"),
    ],
)  # fmt: skip
def test_a_memory_limit_is_told(monkeypatch, capsys, error):
    assert told(monkeypatch, capsys, error).startswith("speechllm-bench: memory is short (")


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_AS holds on Linux")
def test_a_real_memory_limit_is_told(home):
    code = (
        "import resource, sys\nfrom speechllm_bench import cli\n"
        "def fill(chosen):\n    return bytearray(2**33)\n"
        "cli.tell_machine = fill\n"
        "resource.setrlimit(resource.RLIMIT_AS, (2**32, 2**32))\nsys.exit(cli.main(['doctor']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.startswith("speechllm-bench: memory is short (MemoryError)")


@pytest.mark.parametrize("name", ["results/mini/tables/.lora.csv.x-0.tmp", ".cache/status/d.json"])
def test_a_file_of_another_user_is_told(home, monkeypatch, capsys, name):
    error = PermissionError(errno.EACCES, "Permission denied", str(home / name))
    line = told(monkeypatch, capsys, error)
    assert f"{(home / name).parent} belongs to another user or cannot be written to; share {home}" in line


@pytest.mark.parametrize("name", [".cache", ".cache/locks", "results", "results/mini", "results/mini/tables"])
def test_a_file_in_the_place_of_a_folder_is_told(home, monkeypatch, capsys, name):
    def work(chosen):
        runs.write_text(home / "results" / "mini" / "tables" / "lora.csv", "")
        with runs.lock(home / "results" / "mini" / "numbers.json"):
            return 0

    (home / name).parent.mkdir(parents=True, exist_ok=True)
    (home / name).write_text("")
    monkeypatch.setattr(cli, "tell_machine", work)
    assert cli.main(["doctor"]) == 2
    line = capsys.readouterr().err
    assert f"{home / name} is a file, and a folder is needed in its place; move it away" in line


def test_a_folder_in_the_place_of_a_file_is_told(home, monkeypatch, capsys):
    (home / "README.md").mkdir()
    monkeypatch.setattr(cli, "tell_machine", lambda chosen: runs.write_text(home / "README.md", ""))
    assert cli.main(["doctor"]) == 2
    assert f"{home / 'README.md'} is a folder, and a file is needed in its place" in capsys.readouterr().err
    with pytest.raises(UserError, match=r"README\.md is a folder and should be a file; move it away"):
        runs.read_json(home / "README.md")
    assert trouble.sentence(FileExistsError(errno.EEXIST, "is there", "/elsewhere")) is None


def test_a_mistake_of_ours_is_no_want_of_the_machine(home):
    assert trouble.sentence(PermissionError(errno.EACCES, "no", "/elsewhere")) is None
    assert trouble.sentence(PermissionError(errno.EACCES, "no")) is None
    assert trouble.sentence(ValueError("3 is no memory")) is None
    assert trouble.sentence(RuntimeError("sizes differ")) is None


def test_too_little_memory_is_told_though_a_library_hides_it():
    hidden = OSError("Could not find/load shared object file 'libx.so'")
    hidden.__context__ = OSError("libx.so: failed to map segment from shared object")
    assert "memory is short (libx.so: failed to map segment" in (trouble.sentence(hidden) or "")


def no_home(monkeypatch):
    def unknown(*_):
        raise KeyError("uid not found")

    pwd = pytest.importorskip("pwd")
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    for name in ("HOME", "HF_HOME", "HF_HUB_CACHE"):
        monkeypatch.delenv(name, raising=False)


def test_without_a_home_folder_a_notebook_is_cleaned_all_the_same(monkeypatch):
    no_home(monkeypatch)
    assert notebook_copy._without_paths(f"{paths.PROJECT}/src") == "./src"


def test_progress_bars_are_not_stored_with_a_notebook():
    said = ["synthesis: 100%|█████████▉| 299/300 [00:20<00:00, 14.72 utt/s]\n", "a warning\n"]
    streams = [{"output_type": "stream", "name": "stderr", "text": text} for text in (said[0], said)]
    cell = {"cell_type": "code", "metadata": {}, "outputs": streams}
    notebook_copy.clean({"metadata": {}, "cells": [cell]})
    assert [output["text"] for output in cell["outputs"]] == ["a warning\n"]


def test_without_a_home_folder_a_hub_model_is_missing(monkeypatch):
    no_home(monkeypatch)

    def look(*_, **__):
        os.path.expanduser("~")
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr("huggingface_hub.snapshot_download", look)
    with pytest.raises(MissingInput, match="below the home folder, and there is none; set HOME or HF_HOME"):
        identity.backbone_folder("openai/whisper-base")


def utterance(id: str, transcript: str) -> Utterance:
    return Utterance(
        id=id, split="train", call_id=id, turn_index=0, domain="", company="", intent="",
        transcript=transcript, slots=(), entities=(), sentiment="", context=(), speaker="s",
        gold=("entities",),
    )  # fmt: skip


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\r"])
def test_lines_of_json_may_hold_other_line_ends(home, separator):
    phrase = f"rose{separator}mathis"
    question = Question(utterance("u", phrase), replace(EXAMPLE, task="ner"))
    name = stored.write_labels([question, question], Annotated([[("PERSON", phrase)]] * 2), "tiny")
    assert stored.read_labels(name) == {"u": [("PERSON", phrase)]}


@pytest.fixture
def tokenizer(tiny_backbones):
    return AutoTokenizer.from_pretrained(tiny_backbones / "llm", local_files_only=True)


def test_a_mark_inside_a_dialogue_is_told_with_its_place(tokenizer):
    assert len(prompt_halves(tokenizer, EXAMPLE)) == 2
    for mark in (AUDIO, tokenizer.eos_token, tokenizer.pad_token):
        prompt = f"agent: hello {mark} there\n{EXAMPLE.prompt}"
        with pytest.raises(UserError) as error:
            prompt_halves(tokenizer, replace(EXAMPLE, prompt=prompt))
        assert str(error.value).startswith(
            f"the prompt of u/slots holds '{mark}', which this LLM reads as a mark"
        )
    with pytest.raises(UserError, match="^the transcript of u holds"):
        collate(tokenizer, [EXAMPLE], transcripts=[f"to rome {AUDIO}"], with_answer=False)


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """`checkout(folder)`: the project is there; a repository with one commit is in tmp_path."""
    (tmp_path / "repository" / "src").mkdir(parents=True)
    folder = tmp_path / "repository"
    git = ["git", "-c", "user.name=n", "-c", "user.email=e@x", "-C", str(folder)]
    for command in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "first"]):
        subprocess.run([*git, *command], check=True, capture_output=True)
    monkeypatch.setattr(paths, "PROJECT", folder)
    return folder


def test_a_record_names_the_commit_of_this_project_alone(checkout, monkeypatch):
    clean = runs.environment()
    assert len(clean["commit"]) == 40 and clean["uncommitted_changes"] is False
    (checkout / "src" / "new.py").write_text("1")
    assert runs.environment()["uncommitted_changes"] is True
    for place in (checkout / "src", checkout.parent):  # unpacked inside another repository; in none
        monkeypatch.setattr(paths, "PROJECT", place)
        found = runs.environment()
        assert (found["commit"], found["uncommitted_changes"]) == (None, None)


@pytest.mark.parametrize("refused", ["git is not there", "another user's checkout"])
def test_what_git_does_not_tell_is_null(checkout, monkeypatch, refused):
    if refused == "git is not there":
        monkeypatch.setenv("PATH", "")
    else:
        monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    found = runs.environment()
    assert (found["commit"], found["uncommitted_changes"]) == (None, None)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_a_stored_number_that_is_none_is_damage(home, number):
    file = home / "score.json"
    file.write_text(f'{{"value": {number}}}')
    with pytest.raises(UserError, match="score.json is not readable JSON; delete this file"):
        runs.read_json(file)
