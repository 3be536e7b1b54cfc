from __future__ import annotations

import os
import re
import signal
import subprocess
import sys

import pytest

from speechllm_bench import cli
from speechllm_bench.planning import places, studies
from speechllm_bench.storage import paths, runs, sealed


@pytest.fixture
def jobs(suite, monkeypatch):
    """Stands in for the torch side: `execute` writes the record of a run that went well."""
    import types

    done = types.SimpleNamespace(executed=[], prepared=[])

    def execute(config, profile, progress):
        progress("train", 0.5)
        digest = studies.identity.run_digest(config)
        done.executed.append((digest, os.environ["OMP_NUM_THREADS"]))
        sealed.write(places.run_folder(profile, digest) / "run.json", {"status": "diverged"}, {})
        return places.run_folder(profile, digest)

    module = types.ModuleType("speechllm_bench.running.jobs")
    module.execute = execute
    module.prepare = lambda config, profile, n: done.prepared.append((config.corpus.name, profile, n))
    monkeypatch.setitem(sys.modules, "speechllm_bench.running.jobs", module)
    monkeypatch.setattr("speechllm_bench.running.jobs", module, raising=False)
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "TOKENIZERS_PARALLELISM"):
        monkeypatch.setenv(name, "1")
    return done


def told(capsys):
    return capsys.readouterr().err.strip()


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        (
            "stdy adapter_size",
            "invalid choice: 'stdy' (choose from 'list', 'plan', 'prepare', 'run', 'study'",
        ),
        ("", "the following arguments are required: COMMAND"),
        ("run", "the following arguments are required: study, variant"),
        (
            "study adapter_size --profil mini",
            "'study' has no argument --profil mini; its options are --help",
        ),
        ("study adapter_size --profile big", "there is no profile 'big'; the profiles are: mini, paper,"),
        ("study adapter_size --seeds 0,x", "'x' is not a seed; seeds are whole numbers from 0"),
        ("study adapter_size --seeds -1", "'-1' is not a seed"),
        ("study adapter_size --jobs 0", "'0' is not a whole number from 1 to"),
        ("study adaptersize", "there is no study 'adaptersize'; the studies are: adapter_size"),
        ("study adapter_size --variants mlp,mpl", "no variant 'mpl'; the variants are: cnn, cnn_xl"),
        ("run adapter_size mpl", "no variant 'mpl'; its variants are: cnn, cnn_xl"),
        ("run adapter_size", "the following arguments are required: variant"),
        ("report adapter", "there is no study 'adapter'"),
        ("zoo trian whisper", "invalid choice: 'trian' (choose from 'train', 'evaluate')"),
        ("notebook adapter_sizes", "there is no notebook 'adapter_sizes'; the notebooks are:"),
    ],
)
def test_a_mistake_is_one_sentence_with_what_is_allowed_and_exit_code_2(suite, capsys, line, sentence):
    assert cli.main(line.split()) == 2
    message = told(capsys)
    assert sentence in message
    assert message.startswith("speechllm-bench: ") and "\n" not in message


def test_a_home_is_made_and_one_that_cannot_be_is_told(suite, jobs, capsys, monkeypatch):
    new = suite / "new" / "home"
    monkeypatch.setenv("SPEECHLLM_BENCH_HOME", str(new))
    assert cli.main(["prepare"]) == 0 and new.is_dir()
    (suite / "a_file").touch()
    for home, why in ((suite / "a_file", "File exists"), (suite / "a_file" / "home", "Not a directory")):
        monkeypatch.setenv("SPEECHLLM_BENCH_HOME", str(home))
        assert cli.main(["prepare"]) == 2
        assert told(capsys).endswith(
            f"results and cache cannot be kept in {home} ({why}); "
            "let SPEECHLLM_BENCH_HOME name a folder that can be written to"
        )
    monkeypatch.setenv("SPEECHLLM_BENCH_HOME", str(new))
    monkeypatch.setattr(os, "access", lambda folder, mode: False)
    assert cli.main(["prepare"]) == 2 and f"kept in {new} (Permission denied)" in told(capsys)


def test_run_executes_once_and_then_finds_it_done(suite, jobs, capsys):
    line = ["run", "adapter_size", "mlp", "--seed", "3", "--threads", "2"]
    run = studies.run("adapter_size", "mlp", 3, "smoke")
    runs.write_json(places.failure_file("smoke", run.digest), {"status": "killed"})
    assert cli.main(line) == 0
    assert jobs.executed == [(run.digest, "2")]
    assert f"adapter_size mlp seed 3: results/smoke/runs/{run.digest}" in capsys.readouterr().out
    assert not places.failure_file("smoke", run.digest).exists()
    assert not list((suite / ".cache" / "status").iterdir())
    assert cli.main(line) == 0
    assert len(jobs.executed) == 1 and "is there already" in capsys.readouterr().out


@pytest.mark.parametrize("content", ["{}", "[]", "3", "{", None])
def test_a_config_that_is_none_is_told_and_not_to_be_deleted(suite, jobs, capsys, content):
    file = suite / "config.json"
    file.mkdir() if content is None else file.write_text(content)
    assert cli.main(["run", "adapter_size", "mlp", "--config", str(file)]) == 2
    message = told(capsys)
    known = {"{": "is not readable JSON", None: "is a folder and should be a file"}
    wrong = known.get(content, "does not hold the settings of a run")
    assert message.endswith(f"{file} {wrong}; leave out --config, then `run` finds the settings itself")


def test_prepare_makes_the_profiles_corpus(suite, jobs, capsys):
    assert cli.main(["prepare", "--profile", "mini", "--jobs", "3"]) == 0
    assert jobs.prepared == [("call_centre", "mini", 3)]


def test_ctrl_c_is_one_sentence_and_exit_code_130(suite, jobs, capsys, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(sys.modules["speechllm_bench.running.jobs"], "execute", interrupted)
    assert cli.main(["run", "adapter_size", "mlp"]) == 130
    assert (
        told(capsys) == "speechllm-bench: Stopped; what is finished stays, the next start goes on from there."
    )


def test_report_without_runs_says_not_run(suite, capsys):
    assert cli.main(["report", "all"]) == 0
    written = capsys.readouterr().out.split()
    assert "results/smoke/tables/adapter_size.csv" in written
    assert (suite / "results/smoke/tables/adapter_size.csv").read_text().count("NOT RUN") == 6
    assert (suite / "results/smoke/tables/adapter_size_claims.md").read_text().count("not run") == 4


def test_a_report_without_the_backbones_shows_every_row_as_not_run(suite, monkeypatch, capsys):
    from speechllm_bench.errors import MissingInput
    from speechllm_bench.planning import identity

    def missing(config, heard):
        raise MissingInput("backbone 'big' is not on this machine")

    monkeypatch.setattr(identity, "_surroundings", missing)
    assert cli.main(["report", "adapter_size", "--profile", "paper"]) == 0
    table = (suite / "results/paper/tables/adapter_size.md").read_text()
    assert table.count("NOT RUN") == 6 and "0.742" in table and "nothing has been scored" in table
    assert cli.main(["study", "adapter_size", "--profile", "paper"]) == 3
    assert "backbone 'big' is not on this machine" in capsys.readouterr().err


def test_of_several_notebooks_the_executed_ones_are_summed_up_once_and_a_failed_one_keeps_none(
    suite, monkeypatch, capsys
):
    from speechllm_bench import notebook
    from speechllm_bench.errors import MissingInput, UserError
    from speechllm_bench.reports import summary

    folder, written = suite / "results" / "smoke" / "notebooks", []

    def execute(name, *_):
        if name in failing:
            raise failing[name](f"no {name}")
        if name != "there":
            runs.write_text(folder / f"{name}.ipynb", str(len(written)))
        return folder / f"{name}.ipynb"

    monkeypatch.setattr(notebook, "execute", execute)
    monkeypatch.setattr(summary, "write", lambda profile: written.append(profile) or suite / "README.md")
    failing = {"bad": UserError, "without": MissingInput}
    runs.write_text(folder / "there.ipynb", "up to date")
    assert cli.main(["notebook", "without", "bad", "one", "there", "two"]) == 2
    assert written == ["smoke"] and {p.stem for p in folder.iterdir()} == {"one", "there", "two"}
    assert told(capsys).splitlines() == ["speechllm-bench: no without", "speechllm-bench: no bad"]
    assert cli.main(["notebook", "without", "there"]) == 3 and cli.main(["notebook", "there"]) == 0
    assert written == ["smoke"]  # nothing that it shows has changed


def test_term_ends_a_command_as_ctrl_c_does(tmp_path):
    program = (
        "import sys, time, speechllm_bench.cli as cli\n"
        "cli.tell_machine = lambda _: (print('on', flush=True), time.sleep(60))\n"
        "sys.exit(cli.main(['doctor']))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "on\n"
    process.send_signal(signal.SIGTERM)
    _, message = process.communicate(timeout=25)  # the command alone would sleep for longer
    assert process.returncode == 130 and "Stopped" in message and "Traceback" not in message


def test_version_is_that_of_the_citation(capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["--version"])
    assert ended.value.code == 0
    cited = re.search(r"^version: (\S+)", (paths.PROJECT / "CITATION.cff").read_text(), re.M)
    assert capsys.readouterr().out == f"speechllm-bench {cited[1]}\n"


@pytest.mark.parametrize("action", ["train", "evaluate"])
def test_a_backbone_without_a_recipe_is_told_before_torch_is_imported(action):
    code = (
        "import sys; from speechllm_bench import cli;"
        f"status = cli.main(['zoo', '{action}', 'whisper-mega']);"
        "print(status, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["2", "False"]
    assert "no recipe 'whisper-mega'; choose one of" in done.stderr
