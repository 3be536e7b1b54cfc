from __future__ import annotations

import json
import math
import multiprocessing
import os
import subprocess
import time

import pytest

from speechllm_bench.errors import UserError
from speechllm_bench.storage import paths, runs


def test_a_digest_depends_on_content_alone():
    assert runs.digest({"a": 1, "b": [1.5, None]}) == runs.digest({"b": [1.5, None], "a": 1})
    assert len(runs.digest("x")) == 16
    seen = {runs.digest(x) for x in ({"a": 1}, {"a": 2}, {"a": "1"}, {"a": [1]}, {"b": 1}, {"a": 1.5}, None)}
    assert len(seen) == 7


def test_a_digest_is_the_same_on_every_machine_and_refuses_what_json_cannot_hold():
    assert runs.digest("run", {"a": 1, "b": "ü"}) == "774cd6919a5ec12c"
    with pytest.raises(ValueError):
        runs.digest(math.nan)


def test_text_is_written_whole_or_not_at_all(tmp_path):
    file = tmp_path / "new" / "a.json"
    runs.write_json(file, {"a": 1})
    assert runs.read_json(file) == {"a": 1}
    with pytest.raises(ValueError):
        runs.write_json(file, {"a": math.nan})
    assert runs.read_json(file) == {"a": 1}
    assert [p.name for p in file.parent.iterdir()] == ["a.json"]


def test_a_missing_or_broken_json_says_what_to_do(tmp_path):
    file = tmp_path / "kept.json"
    for remedy, told in ((None, "run again"), (runs.DELETE_FOLDER, "delete its folder and run again")):
        with pytest.raises(UserError, match=f"kept.json is missing; {told}$"):
            runs.read_json(file, remedy)
    for text in ('{"a": ', "[" * 100_000):
        file.write_text(text)
        for remedy, told in ((None, "delete this file and run again"), ("fetch it again", "fetch it again")):
            with pytest.raises(UserError, match=f"kept.json is not readable JSON; {told}$"):
                runs.read_json(file, remedy)


def test_a_folder_appears_whole(tmp_path):
    target = tmp_path / "runs" / "d"
    with runs.whole_folder(target) as folder:
        (folder / "a").write_text("1")
        assert not target.exists()
    assert (target / "a").read_text() == "1"
    assert target.stat().st_mode & 0o777 == 0o755
    assert list(target.parent.iterdir()) == [target]


def test_a_folder_that_fails_leaves_the_old_one(tmp_path):
    target = tmp_path / "d"
    with runs.whole_folder(target) as folder:
        (folder / "a").write_text("old")
    with pytest.raises(KeyboardInterrupt), runs.whole_folder(target) as folder:
        (folder / "a").write_text("new")
        raise KeyboardInterrupt
    assert (target / "a").read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_folder_that_is_stopped_while_it_is_put_in_place_leaves_the_old_one(tmp_path, monkeypatch):
    target = tmp_path / "d"
    with runs.whole_folder(target) as folder:
        (folder / "a").write_text("old")
    replace, moved = os.replace, []

    def stopped(source, place):
        moved.append(place)
        if len(moved) == 2:  # the old one is away, the new one is not there yet
            raise KeyboardInterrupt
        replace(source, place)

    monkeypatch.setattr(os, "replace", stopped)
    with pytest.raises(KeyboardInterrupt), runs.whole_folder(target) as folder:
        (folder / "a").write_text("new")
    assert (target / "a").read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def _hold(home, events):
    os.environ["SPEECHLLM_BENCH_HOME"] = str(home)
    with runs.lock(paths.home() / "runs" / "d", lambda: events.put(("waits", time.monotonic()))):
        events.put(("in", time.monotonic()))
        time.sleep(0.3)
        events.put(("out", time.monotonic()))


def test_a_lock_is_held_by_one_process_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setenv("SPEECHLLM_BENCH_HOME", str(tmp_path))
    context = multiprocessing.get_context("spawn")
    events = context.Queue()
    other = context.Process(target=_hold, args=(tmp_path, events))
    with runs.lock(paths.home() / "runs" / "d"):
        other.start()
        seen = [events.get(timeout=60)]
        ours = time.monotonic()
    seen += [events.get(timeout=60) for _ in range(2)]
    other.join()
    assert [what for what, _ in seen] == ["waits", "in", "out"]
    assert seen[0][1] < ours < seen[1][1]


def test_the_environment_is_plain_json():
    record = json.loads(json.dumps(runs.environment()))
    assert record["numerics_version"] == runs.NUMERICS_VERSION
    assert record["libraries"]["numpy"] and record["cores"] >= 1
    assert str(paths.PROJECT) not in json.dumps(record)


def test_the_commit_is_this_projects_whatever_repository_git_is_told(monkeypatch, tmp_path):
    own = runs.environment()["commit"]
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    monkeypatch.setenv("GIT_DIR", str(tmp_path / ".git"))
    assert runs.environment()["commit"] == own


def test_peak_memory_is_that_of_a_python_process():
    assert 10 < runs.peak_memory_mib() < 100_000


def test_home_moves_with_the_variable(tmp_path, monkeypatch):
    monkeypatch.setenv("SPEECHLLM_BENCH_HOME", str(tmp_path))
    assert paths.results("smoke") == tmp_path / "results" / "smoke"
    assert paths.cache() == tmp_path / ".cache"
    assert paths.backbone("zoo/x") == paths.PROJECT / "zoo" / "x"
    assert paths.backbone("openai/whisper-base") == "openai/whisper-base"
