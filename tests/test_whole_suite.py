"""The default path from nothing to tables, a few steps long: tiny backbones, real speech, all notebooks."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from conftest import toy_profile

from speechllm_bench.planning import studies
from speechllm_bench.running import jobs
from speechllm_bench.settings import catalogue
from speechllm_bench.settings.experiments import load_study
from speechllm_bench.storage import paths

CHOSEN = {  # variants whose notebook is executed, where these are not the extremes of the study
    "baselines": "asr,whole_transcript",
    "backbones": "composite,text,untuned_b_ood,chance",
    "foundation_model": "audio_llm_zero_shot,audio_llm_fresh",
    "learning_rate": "times_1",
    "sense_learning_rate": "adapter_2,lora_half",
    "lora": "mlp,mlp_lora",
    "multistage": "single,multistage_b",
    "stability": "half_20,pre_norm_full_20",
    "adapter_sweep": "mlp_small,mlp_small_few",
    "multitask": "slots,all_b_ood,all_asked_sqit",
    "context": "drawn,context_0,described",
    "sense": "transcription,ner_all,unified_sentiment_classifier",
    "sense_pooling": "ner_125,transcription_250",
    "sense_llm_size": "ner_micro,transcription_mini",
    "sense_classifier": "a_0,a_20_unweighted",
    "sense_decoding": "ner_greedy,ner_beam_5",
    "cross_lingual": "ner_en,transcription_es,ner_fr",
    "synthetic_ner": "noise_0,scarce_filtered_20,alone_40",
    "reasoning_mode": "regular,hybrid_no_think,hybrid_think",
    "foundation_type": "base_regular,reasoning_reasoning",
    "reasoning_scale": "nano_regular,nano_reasoning,mini_regular",
    "reasoning_ood": "regular,regular_b_ood,hybrid_no_think_b_ood,hybrid_think_b_ood",
    "trace_ablation": "transcript,no_audio",
    "generalization": "cascade,distilled,distilled_b_ood,cascade_taught_described_b_ood",
    "hybrid_matched": "hybrid_think,reasoning_tokens",
    "warm_start": "mlp_both,full_rate_ctc",
    "cross_dataset": "slurp_slurp,slurp_harper,harper_harper_whole_transcript",
    "llm_family": "llama,no_audio,chance",
    "adapter_reading": "cnn,mlp_lora",
}
ELSEWHERE = {"adapter_size", "fresh_test"}
"""The study of the first test, and that of the test set that `small` alone has."""
STUDIES = {
    name: CHOSEN.get(name) or ",".join(load_study(file).extremes)
    for name, file in catalogue.study_files().items()
    if name not in ELSEWHERE
}


@pytest.fixture
def untouched(tmp_path: Path, tiny_backbones: Path) -> Path:
    """A checkout in which nothing has been run."""
    return copied(tmp_path, tiny_backbones)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory, tiny_backbones: Path) -> Path:
    """One that the other tests share, so that corpus and frames are made once."""
    return copied(tmp_path_factory.mktemp("checkout"), tiny_backbones)


def copied(folder: Path, tiny_backbones: Path) -> Path:
    """A copy of the checkout whose smoke profile trains 5 steps on a few dozen turns."""
    for name in ("src", "experiments", "notebooks"):
        shutil.copytree(paths.PROJECT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    profile = toy_profile("smoke")
    profile["corpus"]["sizes"] = {"train": 24, "validation": 8, "A-test": 24, "B-test": 8}
    profile["encoder"]["path"] = str(tiny_backbones / "whisper")
    profile["llm"] = str(tiny_backbones / "llm")
    profile["llms"] = dict.fromkeys(profile["llms"], str(tiny_backbones / "llm"))
    profile["audio_llm"] = str(tiny_backbones / "audio_llm")
    profile["audio_llms"] = dict.fromkeys(profile["audio_llms"], profile["audio_llm"])
    profile["corpora"] = dict.fromkeys(("slurp", "harper", "fluent"), profile["corpus"])
    profile["budgets"] = {"alignment": 20, "slots": 20, "transcription": 20, "understanding": 20}
    profile["time_limit_minutes"] = 5
    (folder / "experiments" / "profiles" / "smoke.yaml").write_text(yaml.safe_dump(profile))
    return folder


def bench(checkout: Path, *arguments: str) -> str:
    settings = {"PYTHONPATH": str(checkout / "src"), "SPEECHLLM_BENCH_HOME": str(checkout)}
    answer = subprocess.run(
        [sys.executable, "-m", "speechllm_bench.cli", *arguments],
        env=os.environ | settings,
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return answer.stdout


def run_here(study: str, checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The study's runs in this process: to import torch for each would take longer than all they do."""
    monkeypatch.setattr(paths, "EXPERIMENTS", checkout / "experiments")
    monkeypatch.setenv("SPEECHLLM_BENCH_HOME", str(checkout))
    for run in studies.plan([study], "smoke", STUDIES[study].split(",")).missing:
        jobs.prepare(run.config, run.profile, n_workers=1)
        jobs.execute(run.config, run.profile, lambda phase, share: None)


def test_from_nothing_to_tables_and_notebooks_and_then_nothing_to_do(untouched):
    checkout = untouched
    results = checkout / "results" / "smoke"
    two = ("--variants", "mlp,no_audio")  # of 14: importing torch is most of such a run
    told = bench(checkout, "study", *two)
    assert "runs to do: 2 (0 are there); training stages after sharing: 2;" in told
    assert "2 of 2 runs finished" in told
    table = (results / "tables" / "adapter_size.csv").read_text()
    assert len(table.splitlines()) == 15 and table.count("NOT RUN") == 12 and "FAILED" not in table
    assert (results / "figures" / "adapter_size_curves.pdf").is_file()

    bench(checkout, "notebook", "adapter_size", *two)
    bench(checkout, "notebook", "run", "data")
    for name in ("adapter_size", "run", "data"):
        text = (results / "notebooks" / f"{name}.ipynb").read_text()
        assert str(checkout) not in text and ";base64," not in text.replace("data:audio/ogg;base64,", "")
        errors = [o for c in json.loads(text)["cells"] for o in c.get("outputs", []) if "ename" in o]
        assert not errors and "image/png" in text

    assert not list(Path.cwd().glob("kernel-ipc*"))  # sockets of the kernels stay out of the checkout

    drawn = {p: p.read_bytes() for folder in ("tables", "figures") for p in (results / folder).iterdir()}
    assert "all 2 runs are there, nothing to do" in bench(checkout, "study", *two)
    assert "Notebook adapter_size is up to date" in bench(checkout, "notebook", *two)
    assert all(path.read_bytes() == before for path, before in drawn.items())


def test_a_person_labels_turns_and_annotators_are_scored_against_them(checkout):
    options = ("notebook", "hand_labels", "--profile", "smoke")
    bench(checkout, *options)
    results = checkout / "results" / "smoke"
    executed = results / "notebooks" / "hand_labels.ipynb"
    assert "0 of 8 turns are labelled" in executed.read_text()
    assert "is up to date" in bench(checkout, *options)
    (table,) = (results / "hand_labels").glob("*.csv")
    lines = table.read_text().splitlines()
    table.write_text("\n".join([lines[0], *(line.replace(",,", ",x,", 1) for line in lines[1:7])]))
    bench(checkout, *options)
    assert "6 of 8 turns are labelled" in executed.read_text()
    assert "in the transcript" in executed.read_text()  # the table of the filters


@pytest.mark.parametrize("study", STUDIES)
def test_the_notebook_of(study, checkout, monkeypatch):
    """Speech with LoRA in two stages, the text LLM, the backbones as they are, the chance copier and more."""
    results = checkout / "results" / "smoke"
    run_here(study, checkout, monkeypatch)
    bench(checkout, "notebook", study, "--variants", STUDIES[study])
    text = (results / "notebooks" / f"{study}.ipynb").read_text()
    errors = [o for c in json.loads(text)["cells"] for o in c.get("outputs", []) if "ename" in o]
    assert not errors and "image/png" in text and str(checkout) not in text
    rows = (results / "tables" / f"{study}.csv").read_text().splitlines()[1:]
    done = {row.split(",")[0] for row in rows if ",ok," in row}
    assert done >= set(STUDIES[study].split(","))  # and what other studies have run of it


def test_chosen_variants_are_those_of_a_study():
    assert set(CHOSEN) <= set(STUDIES)
