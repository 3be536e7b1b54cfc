"""What every test stands on: nothing is written into the checkout, nothing is fetched, few threads.

`suite` is a small suite to try things on: the real studies at toy profiles.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
import yaml

# Before numpy, torch or matplotlib is imported.
for _threads in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_threads, "1")
os.environ |= {"TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1", "MPLBACKEND": "Agg"}

from speechllm_bench.planning import identity  # noqa: E402
from speechllm_bench.storage import paths  # noqa: E402

FETCHED = paths.home() / "fetched"  # before tests move the home elsewhere


@pytest.fixture(scope="session", autouse=True)
def _outside_the_checkout(tmp_path_factory: pytest.TempPathFactory):
    """Cache and results of the whole session go to one temporary folder, unless a test asks for `home`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPEECHLLM_BENCH_HOME", str(tmp_path_factory.mktemp("home")))
        patch.delenv(paths.OWN_EXPERIMENTS, raising=False)
        yield


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home of the test's own for cache and results."""
    monkeypatch.setenv("SPEECHLLM_BENCH_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture(scope="session")
def bench_data() -> Path:
    """The folder of small real files for parity tests; skips where there is none."""
    folder = os.environ.get("SPEECHLLM_BENCH_DATA")
    if not folder:
        pytest.skip("SPEECHLLM_BENCH_DATA is not set: no folder with small real files to compare with")
    return Path(folder)


@pytest.fixture(scope="session")
def real_backbones() -> Path:
    """The folder of fetched backbones; skips where there is none."""
    if not FETCHED.is_dir():
        pytest.skip("no backbones are fetched: there is no real model to try")
    return FETCHED


ADAPTERS = {
    "cnn": {"kind": "cnn", "width": 8},
    "cnn_xl": {"kind": "cnn_xl", "width": 16},
    "linear": {"kind": "linear"},
    "mlp": {"kind": "mlp", "width": 16, "layers": 1},
    "transformer": {"kind": "transformer", "width": 16, "layers": 1, "heads": 2, "feed_forward": 32},
    "pooling": {"kind": "pooling", "steps_per_30s": 250},
}
SETTINGS = {
    "mlp_2": ADAPTERS["mlp"],
    "transformer_pre_norm": ADAPTERS["transformer"] | {"pre_norm": True},
    "pooling_125": ADAPTERS["pooling"] | {"steps_per_30s": 125},
    "pooling_500": ADAPTERS["pooling"] | {"steps_per_30s": 500},
    "pooling_750": ADAPTERS["pooling"] | {"steps_per_30s": 750},
}


ROLES = ("base", "instruct", "reasoning_0", "reasoning", "reasoning_50", "hybrid", "micro", "nano")


def toy_profile(name: str) -> dict:
    return {
        "profile": name,
        "note": "a toy",
        "corpus": {"name": "call_centre", "sizes": {"train": 40, "A-test": 10}},
        "encoder": {"path": "zoo/toy-whisper", "padding": "trimmed"},
        "llm": "zoo/toy-llm",
        "llms": {role: f"zoo/toy-{role}" for role in ROLES},
        "audio_llm": "zoo/toy-audio-llm",
        "audio_llms": {role: f"zoo/toy-audio-llm-{role}" for role in ("small", "fresh")},
        "adapters": ADAPTERS | SETTINGS,
        "lora": {"rank": 4, "alpha": 16, "dropout": 0.0},
        "lora_qkv": {"rank": 2, "alpha": 2, "dropout": 0.0, "targets": "qkv"},
        "budgets": {"alignment": 32, "slots": 64, "transcription": 32, "understanding": 32},
        "training": {
            "batch_size": 4,
            "lr": 0.001,
            "lora_lr": 0.002,
            "warmup_ratio": 0.1,
            "weight_decay": 0.0,
            "max_grad_norm": 1.0,
            "evaluations": 2,
            "validation_examples": 8,
            "decoded_turns": 4,
        },
        "decoding": {"batch_size": 4, "max_new_tokens": 16, "trace_tokens": 24},
        "precision": "fp32",
        "seeds": [0] if name == "smoke" else [0, 1],
        "headline": ["adapter_size"],
        "variants": "telling" if name == "smoke" else "all",
        "examples_per_second": 50.0,
        "time_limit_minutes": 1,
    }


SIX_VARIANTS = """
variants:
  cnn: {adapter: cnn}
  cnn_xl: {adapter: cnn_xl}
  linear: {adapter: linear}
  mlp: {}
  transformer: {adapter: transformer}
  no_audio: {evaluation: {audio: other}}
"""


@pytest.fixture
def suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder that holds experiments/, the cache and results; digests rest on the configs alone."""
    experiments = tmp_path / "experiments"
    (experiments / "profiles").mkdir(parents=True)
    study = (paths.EXPERIMENTS / "adapter_size.yaml").read_text("utf-8")
    # Six of its variants are enough, one by one so that a test can change one of them.
    study = re.sub(r"\nnames: .*?\n\nreported", f"\n{SIX_VARIANTS}\nreported", study, flags=re.S)
    (experiments / "adapter_size.yaml").write_text(study[: study.index("  - claim: After twice")])
    for name in ("smoke", "mini", "paper"):
        (experiments / "profiles" / f"{name}.yaml").write_text(yaml.safe_dump(toy_profile(name)))
    monkeypatch.setattr(paths, "EXPERIMENTS", experiments)
    monkeypatch.setattr(identity, "_surroundings", lambda config, heard: ())
    monkeypatch.setenv("SPEECHLLM_BENCH_HOME", str(tmp_path))
    return tmp_path


# A suite small enough to train in a test: random backbones of the real architectures, a few dozen turns.


@pytest.fixture(scope="session")
def tiny_backbones(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with `whisper`, `llm` and `audio_llm` of `tiny.write_backbones`."""
    from tiny import write_backbones

    folder = tmp_path_factory.mktemp("backbones")
    write_backbones(folder)
    return folder


def validated(**settings):
    """The settings of one adapter, checked. Raises ValueError for invalid ones."""
    from pydantic import TypeAdapter

    from speechllm_bench.settings.adapter_config import AdapterConfig

    return TypeAdapter(AdapterConfig).validate_python(settings)


@pytest.fixture(scope="session")
def tiny_run(tiny_backbones: Path):
    """`tiny_run(adapter="mlp", ...)`: a RunConfig of 6 steps; other keywords replace whole fields."""
    from speechllm_bench.settings.config import (
        CorpusConfig,
        EncoderConfig,
        EvaluationConfig,
        RunConfig,
        StageConfig,
    )

    def run(adapter: str = "mlp", **changes) -> RunConfig:
        fields = {
            "corpus": CorpusConfig(
                name="call_centre", sizes={"train": 24, "validation": 8, "A-test": 8, "B-test": 8}
            ),
            "encoder": EncoderConfig(path=str(tiny_backbones / "whisper"), padding="trimmed"),
            "llm": str(tiny_backbones / "llm"),
            "adapter": validated(**ADAPTERS[adapter]),
            "lora": None,
            "stages": [
                StageConfig(
                    name="slots", tasks={"slots": 1.0}, train=["adapter"], examples=24, batch_size=4,
                    lr=0.003, warmup_ratio=0.2, weight_decay=0.01, max_grad_norm=1.0, evaluations=2,
                    validation_examples=8, decoded_turns=3,
                )
            ],
            "evaluation": EvaluationConfig(split="A-test", batch_size=4, max_new_tokens=6),
            "precision": "fp32",
            "seed": 0,
        }  # fmt: skip
        return RunConfig(**{**fields, **changes})

    return run


@pytest.fixture(scope="session")
def tiny_data(tiny_run):
    """The tiny corpus, spoken and encoded once in the session's home: what a stage learns from."""
    from speechllm_bench.data import corpora
    from speechllm_bench.running import preparation
    from speechllm_bench.training.stages import Data

    config = tiny_run()
    corpus = preparation.ensure_corpus(config.corpus, n_workers=1)
    frames = preparation.ensure_frames(config, corpus)
    slot_types = corpora.slot_types("call_centre")
    return Data(corpus.utterances("train"), corpus.utterances("validation"), slot_types, frames)


@pytest.fixture
def answered(suite: Path) -> Path:
    """The home of a suite whose runs are stored with predictions and curves."""
    from stored_answers import store

    return store(suite)


@pytest.fixture
def stored(suite):
    """A study with a report: two variants with two seeds, one that diverged on one, and the rest NOT RUN."""
    from stored_runs import store

    from speechllm_bench.reports import study as reports

    for variant, seeds in {"cnn": (5, 7), "mlp": (12, 13), "linear": (2, None)}.items():
        for seed, n in enumerate(seeds):
            store(variant, seed, n)
    reports.write("adapter_size", "mini", draw=False)
    return suite
