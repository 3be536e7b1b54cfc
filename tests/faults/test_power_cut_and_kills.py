"""What a power cut or a kill may leave: nothing that counts as done, nothing that stays for good."""

from __future__ import annotations

import errno
import fcntl
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import filelock
import psutil
import pytest

from speechllm_bench.commands import housekeeping
from speechllm_bench.errors import UserError
from speechllm_bench.planning import places
from speechllm_bench.running import heartbeat, lifeline
from speechllm_bench.storage import leftovers, paths, runs, sealed

WAIT = 60  # seconds at most, for what takes a moment


def until(true, what: str, seconds: float = WAIT):
    deadline = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < deadline, what
        time.sleep(0.02)
    return found


@pytest.fixture
def order(monkeypatch) -> list[tuple[str, str]]:
    """What was brought to the disk and what was renamed, in order."""
    done, sync, replace = [], os.fsync, os.replace

    def synced(descriptor):
        done.append(("sync", Path(os.readlink(f"/proc/self/fd/{descriptor}")).name))
        sync(descriptor)

    def replaced(source, target):
        done.append(("rename", Path(target).name))
        replace(source, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", replaced)
    return done


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="names of descriptors are read from /proc")
def test_a_file_is_on_the_disk_before_it_has_its_name(home, order):
    runs.write_text(home / "d" / "run.json", "{}")
    (first, name), *rest = order
    assert first == "sync" and name.startswith(".run.json.")
    assert rest == [("rename", "run.json"), ("sync", "d")]
    order.clear()
    runs.write_text(home / "d" / "run.json", "{}", lasting=False)
    assert order == [("rename", "run.json")]


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="names of descriptors are read from /proc")
def test_a_folder_is_on_the_disk_before_it_has_its_name(home, order):
    with runs.whole_folder(home / "runs" / "d") as folder:
        (folder / "data").mkdir()
        (folder / "data" / "a").write_text("1")
        (folder / "run.json").write_text("{}")
    renamed = order.index(("rename", "d"))
    assert {("sync", "a"), ("sync", "data"), ("sync", "run.json")} <= set(order[:renamed])
    assert order[renamed - 1][1].startswith(".d.") and order[renamed + 1 :] == [("sync", "runs")]


@pytest.mark.parametrize(("umask", "mode"), [(0o002, 0o775), (0o027, 0o750)])
def test_a_group_shares_what_the_umask_lets_it(home, umask, mode):
    before = os.umask(umask)
    try:
        with runs.whole_folder(home / "runs" / "d") as folder:
            (folder / "a").write_text("1")
        heartbeat.write_status("smoke", "0" * 16, "train", 0.5)
        with runs.lock(home / "runs" / "d"):
            pass
    finally:
        os.umask(before)
    made = [home / "runs" / "d", *(paths.cache() / name for name in ("locks", "status"))]
    assert [p.stat().st_mode & 0o777 for p in made] == [mode] * 3
    files = [
        home / "runs" / "d" / "a",
        heartbeat.status_file("smoke", "0" * 16),
        runs.lock_file(home / "runs" / "d"),
    ]
    assert [p.stat().st_mode & 0o777 for p in files] == [mode & 0o666] * 3


def test_places_of_one_name_do_not_wait_for_each_other(home):
    def waits():
        raise AssertionError("another place's lock was waited for")

    with runs.lock(home / "a" / "whisper"), runs.lock(home / "b" / "whisper", waits):
        pass
    (home / "link").symlink_to(home / "a")
    assert runs.lock_file(home / "link" / "whisper") == runs.lock_file(home / "a" / "whisper")


def test_a_home_has_the_same_locks_wherever_it_is_mounted(tmp_path, monkeypatch):
    names = []
    for place in ("x", "y"):
        monkeypatch.setenv("SPEECHLLM_BENCH_HOME", str(tmp_path / place))
        names.append(runs.lock_file(tmp_path / place / "results" / "mini" / "runs" / "d").name)
    assert names[0] == names[1]


def test_what_is_linked_from_another_home_has_its_lock_there(home, tmp_path, monkeypatch):
    frames = paths.cache() / "frames"
    frames.mkdir(parents=True)
    lock = runs.lock_file(frames / "d")
    monkeypatch.setenv("SPEECHLLM_BENCH_HOME", str(tmp_path / "other"))
    paths.cache().mkdir(parents=True)
    (paths.cache() / "frames").symlink_to(frames)
    assert runs.lock_file(paths.cache() / "frames" / "d") == lock


@pytest.mark.parametrize("code", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_disk_that_cannot_lock_is_told_and_gets_no_marker_file(home, monkeypatch, code):
    def cannot(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", cannot)
    with (
        pytest.raises(UserError, match="cannot lock files, so .* SPEECHLLM_BENCH_HOME"),
        runs.lock(home / "runs" / "d"),
    ):
        raise AssertionError("it holds what cannot be held")
    runs.write_text(home / "a", "1")  # files can be written all the same
    assert (home / "a").read_text() == "1" and leftovers.sweep() == []


def test_a_damaged_journal_is_no_hindrance(home):
    owners = paths.cache() / "owners"
    owners.mkdir(parents=True)
    half = home / "results" / f".score.json.{'a' * 12}-0.tmp"
    half.parent.mkdir(parents=True)
    half.write_text("{")
    (owners / f"{'a' * 12}.lock").touch()
    lines = [b"\xff", b"[1]", b"3", b"null", json.dumps(str(half.parent)).encode(), b'"cut of']
    (owners / f"{'a' * 12}.jsonl").write_bytes(b"\n".join(lines))
    assert leftovers.sweep() == [half]
    assert not half.exists() and not list(owners.glob("a*"))


def test_a_lock_of_another_user_is_told(home, monkeypatch):
    def refused(self, timeout):
        raise PermissionError(errno.EACCES, "no")

    monkeypatch.setattr(filelock.FileLock, "acquire", refused)
    with pytest.raises(UserError, match="belongs to another user; share"), runs.lock(home / "runs" / "d"):
        pass


def _write_and_hang(home, ready):
    os.environ["SPEECHLLM_BENCH_HOME"] = str(home)
    replace = os.replace

    def hang(source, target):
        if Path(target).name != "moved":
            replace(source, target)
            return
        ready.set()
        time.sleep(WAIT)

    with runs.whole_folder(home / "runs" / "moved") as folder:
        (folder / "a").write_text("old")
    os.replace = hang
    leftovers.temporary(home / "results" / "score.json").write_text('{"half":')
    with (
        leftovers.scratch(paths.cache(), "notebook") as scratch,
        runs.whole_folder(home / "runs" / "moved") as folder,
    ):
        (scratch / "executed.ipynb").write_text("{")
        (folder / "a").write_text("new")


@pytest.fixture
def hanging(home):
    """A process in the middle of writing a file, a scratch folder and a folder that replaces an old one."""
    (home / "results").mkdir()
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    process = context.Process(target=_write_and_hang, args=(home, ready), daemon=True)
    process.start()
    assert ready.wait(WAIT)
    yield process
    process.kill()
    process.join()


def temporaries(home: Path) -> list[Path]:
    return [p for p in home.rglob(".*") if p.suffix in (".tmp", ".old")]


def test_leftovers_of_a_killed_process_are_swept_and_those_of_a_living_one_are_not(home, hanging):
    before = temporaries(home)
    assert len(before) == 4 and not (home / "runs" / "moved").exists()
    housekeeping.tidy()
    assert temporaries(home) == before
    hanging.kill()
    hanging.join()
    housekeeping.tidy()
    assert temporaries(home) == []
    assert (home / "runs" / "moved" / "a").read_text() == "old"  # which had been moved away
    assert leftovers.sweep() == [] and list((paths.cache() / "owners").iterdir()) == []


def test_our_own_temporaries_are_not_leftovers(home):
    with runs.whole_folder(home / "d") as folder:
        housekeeping.tidy()
        assert folder.is_dir()


def test_checkpoints_of_finished_stages_are_swept(home):
    """Another profile may train a stage that this one has."""
    going = [("mini", "going"), ("mini+lora.rank=8", "done")]
    for profile, digest in [("mini", "done"), *going]:
        runs.write_json(places.checkpoint_folder(profile, digest) / "state.json", {})
    runs.write_json(paths.results("mini") / "stages" / "done" / "stage.json", {})
    housekeeping.tidy()
    kept = {places.checkpoint_folder(*one) for one in going}
    assert set((paths.cache() / "checkpoints").iterdir()) == kept


def test_a_status_of_a_run_that_nobody_executes_is_swept(home):
    """Wherever its process was: who dies loses the lock, on any host."""
    for digest in ("alive", "dead", "elsewhere"):
        with runs.lock(paths.results("smoke") / "runs" / digest):
            heartbeat.write_status("smoke", digest, "train", 0.5)
    own = runs.read_json(heartbeat.status_file("smoke", "alive"))
    runs.write_json(heartbeat.status_file("smoke", "dead"), own | {"born": "another's number"})
    runs.write_json(heartbeat.status_file("smoke", "elsewhere"), own | {"host": "another", "pid": 2**22 + 1})
    assert heartbeat.read_status("smoke", "dead", 1)["phase"] == "starting"
    assert heartbeat.read_status("smoke", "alive", 1)["phase"] == "waiting"
    with runs.lock(paths.results("smoke") / "runs" / "alive"):
        housekeeping.tidy()
    assert [p.stem for p in (paths.cache() / "status").iterdir()] == ["smoke.alive"]


def test_a_notebook_that_nobody_executes_any_more_is_not_running(home):
    running = {"notebook": "x", "status": "running", "pid": 1}
    folder = paths.results("smoke") / "notebooks"
    for name in ("dead", "held"):
        runs.write_json(folder / f"{name}.json", running)
    with runs.lock(folder / "held.ipynb"):
        housekeeping.tidy()
    assert runs.read_json(folder / "held.json") == running
    assert sealed.read(folder / "dead.json") == {
        "notebook": "x",
        "status": "killed",
        "message": "the command that executed it was killed",
        "pid": None,
    }


CHILD = """
import os, subprocess, sys, time
from pathlib import Path
from speechllm_bench.running import lifeline
below = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
lifeline.watch(lambda: Path("{told}").write_text("orphaned"))
Path("{pids}.part").write_text(f"{{os.getpid()}} {{below.pid}}")
os.replace("{pids}.part", "{pids}")
time.sleep(600)
"""
PARENT = """
import os, sys, time
from speechllm_bench.running import lifeline
child = lifeline.start([sys.executable, "-c", {child!r}], os.environ)
time.sleep(600)
"""


def test_children_end_with_a_killed_parent(tmp_path):
    pids, told = tmp_path / "pids", tmp_path / "told"
    code = PARENT.format(child=CHILD.format(pids=pids, told=told))
    parent = subprocess.Popen([sys.executable, "-c", code])
    until(pids.is_file, "the child never started")
    family = [int(pid) for pid in pids.read_text().split()]
    assert all(map(psutil.pid_exists, family))
    parent.kill()
    parent.wait()

    until(lambda: all(map(gone, family)), "a child outlived its parent")
    assert told.read_text() == "orphaned"


def gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_a_killed_notebook_leaves_no_kernel_and_is_not_running(suite, monkeypatch):
    """The command is killed while a cell goes on; its process and its kernel end, and the status says so."""
    pid = suite / "pid"
    work = f"import os, time; open({str(pid)!r}, 'w').write(str(os.getpid())); time.sleep(600)"
    sources = [('profile: str = "smoke"', ["parameters"]), (work, [])]
    cells = [
        {"cell_type": "code", "id": f"cell-{i}", "metadata": {"tags": tags}, "execution_count": None,
         "outputs": [], "source": source}
        for i, (source, tags) in enumerate(sources)
    ]  # fmt: skip
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    content = {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}
    runs.write_json(suite / "notebooks" / "toy.ipynb", content)
    code = (
        "from pathlib import Path\nfrom speechllm_bench import notebook\n"
        "from speechllm_bench.storage import paths\n"
        f"paths.NOTEBOOKS = Path({str(suite / 'notebooks')!r})\n"
        f"paths.EXPERIMENTS = Path({str(paths.EXPERIMENTS)!r})\n"
        "notebook.execute('toy', {}, 60)"
    )
    command = subprocess.Popen([sys.executable, "-c", code])
    until(lambda: pid.is_file() and pid.read_text(), "the kernel never started", 5 * WAIT)
    command.kill()
    command.wait()
    until(lambda: gone(int(pid.read_text())), "the kernel outlived the command")
    record = paths.results("smoke") / "notebooks" / "toy.json"
    assert until(lambda: runs.read_json(record)["status"] != "running", "it runs for good")
    assert runs.read_json(record)["status"] == "killed"


def test_a_process_without_such_a_parent_watches_nothing(monkeypatch):
    monkeypatch.delenv(lifeline.VARIABLE, raising=False)
    lifeline.watch(lambda: pytest.fail("there is nobody to outlive"))


def test_an_interrupt_within_a_callback_is_not_lost(home):
    code = (
        "import signal, sys, time\nfrom ctypes import CFUNCTYPE\nfrom speechllm_bench import cli\n"
        "def speak(chosen):\n"
        "    CFUNCTYPE(None)(lambda: signal.raise_signal(signal.SIGTERM))()\n"
        "    time.sleep(600)\n"
        "cli.tell_machine = speak\nsys.exit(cli.main(['doctor']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=WAIT)
    assert done.returncode == 130 and "Traceback" not in done.stderr


def test_a_lost_terminal_stops_a_command_as_ctrl_c_does(home):
    code = (
        "import sys, time\nfrom speechllm_bench import cli\n"
        "def wait(chosen):\n    print('ready', flush=True)\n    time.sleep(600)\n"
        "cli.tell_machine = wait\nsys.exit(cli.main(['doctor']))"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGHUP)
    assert process.wait(WAIT) == 130
