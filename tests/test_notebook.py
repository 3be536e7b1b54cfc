from __future__ import annotations

import errno
import json
import os
import signal
import tempfile
import threading
import time
from pathlib import Path

import psutil
import pytest

from speechllm_bench import notebook
from speechllm_bench.errors import UserError
from speechllm_bench.planning import studies
from speechllm_bench.storage import paths, runs, sealed

PARAMETERS = 'profile: str = "smoke"\nseeds: list = []\nlr: float = 1.0e-3'
STORED = sorted(paths.NOTEBOOKS.glob("*.ipynb"))


@pytest.fixture
def write(suite, monkeypatch):
    """Write a notebook with a parameters cell and the given cells, where notebooks are looked for."""
    monkeypatch.setattr(paths, "NOTEBOOKS", suite / "notebooks")

    def written(name, *sources, parameters=PARAMETERS):
        cells = [
            {
                "cell_type": "code",
                "id": f"cell-{i}",
                "metadata": {"tags": ["parameters"]} if i == 0 else {},
                "execution_count": None,
                "outputs": [],
                "source": source,
            }
            for i, source in enumerate((parameters, *sources))
        ]
        kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
        content = {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}
        runs.write_json(suite / "notebooks" / f"{name}.ipynb", content)

    return written


@pytest.fixture
def temporary(monkeypatch):
    """The folder of temporary files, with nothing in it and a path short enough for sockets."""
    with tempfile.TemporaryDirectory() as folder:
        monkeypatch.setenv("TMPDIR", folder)
        monkeypatch.setattr(tempfile, "tempdir", None)
        yield Path(folder)


def outputs(file: Path) -> list[dict]:
    return [o for cell in json.loads(file.read_text())["cells"] for o in cell.get("outputs", [])]


@pytest.mark.parametrize("parameters", ['profile = "smoke"', "x: int = f(1)", "x: int = (", "profile"])
def test_a_cell_that_declares_no_parameters_is_told(suite, write, parameters):
    write("toy", parameters=parameters)
    with pytest.raises(UserError, match="notebook 'toy' needs one cell with the tag `parameters`"):
        notebook.checked("toy", {})


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({"profil": "mini"}, "notebook 'toy' has no parameter 'profil'; it has: profile, seeds, lr"),
        ({"profile": "big"}, "there is no profile 'big'; the profiles are: mini, paper, smoke"),
        ({"seeds": "0"}, "parameter 'seeds' of notebook 'toy' is a list, got '0'"),
        ({"seeds": [0, -1]}, "seeds are whole numbers from 0 to 4294967295, got -1"),
        ({"seeds": [0.5]}, "seeds are whole numbers from 0 to 4294967295, got 0.5"),
        ({"lr": "1e-4"}, "parameter 'lr' of notebook 'toy' is a float, got '1e-4'"),
        ({"lr": True}, "parameter 'lr' of notebook 'toy' is a float, got True"),
    ],
)
def test_a_wrong_parameter_is_refused_before_anything_starts(suite, write, parameters, sentence):
    write("toy", "print(1)")
    with pytest.raises(UserError) as error:
        notebook.execute("toy", parameters)
    assert str(error.value) == sentence
    assert not (suite / "results").exists()


def test_variants_are_checked_against_the_study(write):
    write("adapter_size", parameters='profile: str = "smoke"\nvariants: list = []')
    write("run", parameters='profile: str = "smoke"\nstudy: str = "adapter_size"\nvariant: str = "mlp"')
    assert notebook.checked("adapter_size", {"variants": ["cnn"]})["variants"] == ["cnn"]
    for name, wrong in (("adapter_size", {"variants": ["cnn", "cmm"]}), ("run", {"variant": "cmm"})):
        with pytest.raises(UserError, match="has no variant 'cmm'; its variants are: cnn, cnn_xl"):
            notebook.checked(name, wrong)
    with pytest.raises(UserError, match="there is no study 'adapters'"):
        notebook.checked("run", {"study": "adapters"})


def test_a_notebook_cut_short_by_a_full_disk_is_told_and_not_stored(suite, write, monkeypatch):
    import papermill

    def full(source, executed, *_, **options):
        Path(executed).write_text('{"cells": [')
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def outcome(work, log, limit):  # in this process, where there is something to stand in for papermill
        return notebook._run_papermill(work)

    monkeypatch.setattr(papermill, "execute_notebook", full)
    monkeypatch.setattr(notebook, "_outcome", outcome)
    write("toy", "print(1)")
    with pytest.raises(UserError, match="notebook 'toy': .*No space left on device"):
        notebook.execute("toy", {})
    assert [p.name for p in (suite / "results" / "smoke").rglob("*.ipynb")] == []


@pytest.fixture
def meanwhile(monkeypatch):
    """In place of papermill's process: the source itself is the executed copy, after what a test does."""
    done = []

    def stand_in(work, log, limit):
        source = Path(runs.read_json(work / "spec.json")["source"])
        (work / "executed.ipynb").write_bytes(source.read_bytes())
        done.pop()(work)
        return {"status": "ok"}

    monkeypatch.setattr(notebook, "_outcome", stand_in)
    return done.append


def test_a_copy_that_cannot_be_read_or_stored_does_not_count(suite, write, meanwhile, monkeypatch):
    write("toy")
    status = suite / "results/smoke/notebooks/toy.json"
    meanwhile(lambda work: (work / "executed.ipynb").unlink())
    with pytest.raises(UserError, match="notebook 'toy': its executed copy cannot be read; see results"):
        notebook.execute("toy", {})
    assert runs.read_json(status)["status"] == "failed" and not status.with_suffix(".ipynb").exists()

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    meanwhile(lambda work: monkeypatch.setattr(runs, "write_text", full))
    with pytest.raises(OSError, match="No space left"):
        notebook.execute("toy", {})
    assert runs.read_json(status)["status"] == "running"


def test_a_copy_is_stale_when_code_changed_on_the_way_and_when_a_run_was_made_again(
    suite, write, meanwhile, capsys
):
    def executed():
        meanwhile(lambda work: None)
        notebook.execute("adapter_size", {})
        return "nothing to do" not in capsys.readouterr().out

    write("adapter_size")
    meanwhile(lambda work: write("adapter_size", "'other'"))
    notebook.execute("adapter_size", {})
    assert executed() and not executed()
    run = studies.run("adapter_size", "cnn", 0, "smoke")
    for score in ({"n": 1}, {"n": 2}):
        runs.write_json(run.folder / "score.json", score)
        sealed.write(run.folder / "run.json", {"status": "ok"}, {})
        assert executed() and not executed()


def test_an_unknown_notebook_is_refused_with_the_known_ones(write):
    write("toy")
    with pytest.raises(UserError, match="there is no notebook 'tey'; the notebooks are: toy"):
        notebook.execute("tey", {})


def test_merge_markers_in_a_notebook_do_not_cost_the_folder(suite, write):
    write("toy")
    (suite / "notebooks" / "toy.ipynb").write_text("<<<<<<< HEAD")
    with pytest.raises(
        UserError, match="toy.ipynb is not readable JSON; mend it, or get it again from where"
    ):
        notebook.checked("toy", {})


def test_it_is_executed_with_its_parameters_by_this_python_and_not_twice(suite, write, capsys):
    write(
        "toy",
        "import sys, warnings\nfrom pathlib import Path\nprint(profile, seeds, lr)\nprint(sys.prefix)",
        "import os\nprint(os.environ['SPEECHLLM_BENCH_HOME'] + '/results', Path.home())\n"
        "warnings.warn('careful')",
        "from IPython.display import Audio, display\nimport numpy as np\n"
        "display(Audio(np.zeros(800), rate=16000))",
        "from speechllm_bench.reports import show\n"
        "class Silence:\n"
        "    def utterances(self, split): return [type('Turn', (), {'id': 'one'})]\n"
        "    def audio(self, split, i): return np.zeros(8000, 'float32')\n"
        "show.hear(Silence(), 'A-test', 'one')",
        "from tqdm.auto import tqdm\nfor _ in tqdm(range(400)): pass",
    )
    target = notebook.execute("toy", {"seeds": [1, 2], "lr": 0.5})
    assert target == suite / "results/smoke/notebooks/toy.ipynb"
    status = runs.read_json(target.with_suffix(".json"))
    assert status["status"] == "ok" and status["parameters"] == {
        "profile": "smoke",
        "seeds": [1, 2],
        "lr": 0.5,
    }
    shown = outputs(target)
    assert "".join(shown[0]["text"]) == "smoke [1, 2] 0.5\npython\n"
    assert "".join(shown[1]["text"]) == "./results ~\n"
    text = target.read_text()
    assert text.count("audio: run the notebook to hear it") == 1, "uncompressed audio stayed"
    assert text.count("base64") == text.count("data:audio/ogg;base64") == 1, "the Opus clip did not stay"
    assert "papermill" not in text.replace("injected-parameters", "") and "widget" not in text
    for place in (str(suite), str(Path.home()) + "/", "/tmp/"):
        assert place not in text
    assert not list((suite / ".cache").glob("notebook_*"))

    before = target.stat().st_mtime_ns
    capsys.readouterr()
    assert notebook.execute("toy", {"seeds": [1, 2], "lr": 0.5}) == target
    assert target.stat().st_mtime_ns == before and "nothing to do" in capsys.readouterr().out


def test_a_notebook_computes_on_one_thread_since_others_may_be_executed_beside_it(suite, write, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    write("toy", "import os\nprint(os.environ['OMP_NUM_THREADS'])")
    assert "".join(outputs(notebook.execute("toy", {}))[0]["text"]) == "1\n"


def test_a_cell_that_fails_leaves_the_good_copy_and_shows_the_failed_one(suite, write):
    write("toy", "print('good')")
    target = notebook.execute("toy", {})
    write("toy", "print('before')\n1 / 0", "print('after')")
    with pytest.raises(UserError, match=r"ZeroDivisionError: division by zero; see results/smoke/failed/toy"):
        notebook.execute("toy", {})
    assert "good" in target.read_text()
    assert runs.read_json(target.with_suffix(".json"))["status"] == "failed"
    failed = (suite / "results/smoke/failed/toy.ipynb").read_text()
    assert "before" in failed and "completed" not in failed and str(suite) not in failed


def test_a_users_mistake_in_a_cell_is_told_as_its_sentence(write):
    write("toy", "from speechllm_bench.errors import UserError\nraise UserError('no such voice')")
    with pytest.raises(UserError, match="^notebook 'toy': no such voice; see results"):
        notebook.execute("toy", {})


def test_a_dead_kernel_is_not_called_completed(suite, write):
    write("toy", "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", "print('after')")
    with pytest.raises(UserError, match="its kernel died"):
        notebook.execute("toy", {})
    assert runs.read_json(suite / "results/smoke/notebooks/toy.json")["status"] == "killed"
    assert not (suite / "results/smoke/notebooks/toy.ipynb").exists()


def test_a_notebook_over_its_limit_is_stopped(suite, write, monkeypatch):
    monkeypatch.setattr(notebook, "_limit_minutes", lambda *_: 1 / 60)
    write("toy", "import time\ntime.sleep(60)")
    with pytest.raises(UserError, match="took longer than its time limit"):
        notebook.execute("toy", {})
    assert runs.read_json(suite / "results/smoke/notebooks/toy.json")["status"] == "timeout"


def test_ctrl_c_ends_the_notebook_its_kernel_and_their_processes(suite, write, temporary):
    file = suite / "pids"
    write(
        "toy",
        "import os, subprocess, time\n"
        "child = subprocess.Popen(['sleep', '60'], start_new_session=True)\n"
        f"open('{file}', 'w').write(f'{{os.getpid()}} {{child.pid}} ')\n"
        "time.sleep(60)",
    )

    def interrupt():
        while not file.is_file() or not file.read_text().endswith(" "):
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        notebook.execute("toy", {})
    for pid in map(int, file.read_text().split()):
        assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    assert runs.read_json(suite / "results/smoke/notebooks/toy.json")["status"] == "interrupted"
    assert not list(temporary.iterdir())  # no socket and no connection file


@pytest.mark.parametrize("name", [file.stem for file in STORED])
def test_the_stored_notebooks_take_parameters(name):
    declared = notebook._declared(notebook.source(name))
    assert declared["profile"] == ("str", "mini" if name == "explore" else "smoke")  # what has records
    for kind, default in declared.values():
        assert type(default).__name__ == kind
