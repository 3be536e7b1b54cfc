"""One flipped bit in a stored file is refused, repaired or harmless; it never gives other results in silence.

Each `Kind` is a folder as the suite stores it, what the suite reads of it, and what an audit says of it. A
flip is made in a copy, which is then read as a new process would read it.
"""

from __future__ import annotations

import contextlib
import io
import json
import random
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import tiny
import torch
from safetensors.torch import load_file
from torch import nn

from speechllm_bench import identity, jobs, notebook, paths, preparation, runs, sealed
from speechllm_bench.adapter_config import validated
from speechllm_bench.audit import notebooks as audited
from speechllm_bench.audit import run_files
from speechllm_bench.config import (
    CorpusConfig,
    EncoderConfig,
    EvaluationConfig,
    FitConfig,
    RunConfig,
    StageConfig,
)
from speechllm_bench.data.corpora.store import Corpus
from speechllm_bench.data.frames import FrameStore
from speechllm_bench.errors import UserError
from speechllm_bench.models import ctc
from speechllm_bench.models.asr import load_asr
from speechllm_bench.models.audio_llm import load_audio_llm
from speechllm_bench.models.llm import load_llm, load_tokenizer
from speechllm_bench.reports.stored_runs import read_curve, read_predictions
from speechllm_bench.training import loop

REFUSED, HARMLESS, NOTICED = "refused", "harmless", "another digest"
SILENT, LOST, FALSE_OK, TRACEBACK = "silently different", "lost", "false ok", "traceback"
OUTCOMES = (REFUSED, HARMLESS, NOTICED, SILENT, LOST, FALSE_OK, TRACEBACK)
BAD = (SILENT, LOST, FALSE_OK, TRACEBACK)

Audit = Callable[[Path], list]


@dataclass(frozen=True)
class Kind:
    """`use(folder)` gives what the suite reads, to be compared; `audit(folder)` what is wrong in sentences.

    dropped: a damaged folder may be deleted, since what it held is made again.
    digest: what names the thing; where it changes, nothing takes the damaged one for the whole one.
    """

    name: str
    source: Path
    files: tuple[str, ...]
    use: Callable[[Path], object]
    audit: Audit | None = None
    dropped: bool = False
    digest: Callable[[Path], str] | None = None


@dataclass(frozen=True)
class Flip:
    """One trial: bit `bit` of byte `at` of a file, and how it went."""

    kind: str
    file: str
    at: int
    bit: int
    outcome: str
    told: str

    def __str__(self) -> str:
        return f"{self.kind} {self.file} byte {self.at} bit {self.bit}: {self.outcome}: {self.told}"


def flips(kinds: list[Kind], n: int, seed: int, scratch: Path) -> Iterator[Flip]:
    """`n` flips over all files in turn, each at a place drawn at random; half of them near a file's start.

    There lie headers, which are small and where damage does most.
    """
    rng = random.Random(seed)
    files = [(kind, file) for kind in kinds for file in kind.files]
    whole = {kind.name: _read(kind, kind.source)[1] for kind in kinds}
    for number in range(n):
        kind, file = files[number % len(files)]
        size = (kind.source / file).stat().st_size
        at = rng.randrange(min(size, 2048) if rng.random() < 0.5 else size)
        yield _flip(kind, file, at, rng.randrange(8), whole[kind.name], scratch)


def table(found: list[Flip]) -> list[dict]:
    """A row a kind of file, and one of all: how many flips ended how."""
    rows = []
    for name in [*dict.fromkeys(flip.kind for flip in found), "all"]:
        own = [flip for flip in found if name in (flip.kind, "all")]
        counts = Counter(flip.outcome for flip in own)
        rows.append({"kind": name, "flips": len(own)} | {outcome: counts[outcome] for outcome in OUTCOMES})
    return rows


def _flip(kind: Kind, file: str, at: int, bit: int, whole: object, scratch: Path) -> Flip:
    folder = scratch / kind.source.name  # of the same name, which a run's record repeats
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(kind.source, folder)
    content = bytearray((folder / file).read_bytes())
    content[at] ^= 1 << bit
    (folder / file).write_bytes(content)
    before = _names(folder)
    wrong = kind.audit(folder) if kind.audit else None
    outcome, told = _read(kind, folder)
    if outcome == HARMLESS and told != whole:
        outcome = NOTICED if kind.digest and kind.digest(folder) != kind.digest(kind.source) else SILENT
        told = ""
    if outcome == REFUSED and wrong == []:
        outcome = FALSE_OK
    if outcome in (REFUSED, HARMLESS) and not kind.dropped and _names(folder) != before:
        outcome = LOST
    return Flip(kind.name, file, at, bit, outcome, str(told)[:300])


def _read(kind: Kind, folder: Path) -> tuple[str, object]:
    """How reading ended, and what was read or told."""
    sealed._known.clear()  # as in a new process
    identity.backbone_hash.cache_clear()
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            return HARMLESS, kind.use(folder)
    except UserError as error:
        told = str(error)
        return (REFUSED, told) if told and "\n" not in told else (TRACEBACK, told)
    except Exception as error:
        return TRACEBACK, f"{type(error).__name__}: {error}"
    except BaseException as error:  # a panic of the tokenizers' Rust is no Exception
        if isinstance(error, KeyboardInterrupt | SystemExit):
            raise
        return TRACEBACK, f"{type(error).__name__}: {error}"


def _names(folder: Path) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*")}


# What the suite stores, made small.


def build(home: Path) -> list[Kind]:
    """Make one of everything that is stored. `home` is SPEECHLLM_BENCH_HOME and `paths.PROJECT`."""
    zoo = home / "zoo"
    tiny.write_backbones(zoo)
    shutil.copytree(zoo, home / "models")  # whose files nothing is recorded of
    for folder in zoo.iterdir():
        sealed.write(folder / "training.json", {"recipe": "tiny", "speech_hours": 1.5})
    config = run_config()
    run = jobs.execute(config, "faults", lambda phase, share: None)
    (stage,) = [p for p in (paths.results("faults") / "stages").iterdir() if p.suffix != ".tmp"]
    shapes = {name: t.shape for name, t in load_file(stage / "weights.safetensors").items()}
    corpus, frames = preparation.corpus_folder(config.corpus), preparation.frames_folder(config)
    preparation.ensure_transcripts(config, Corpus.load(corpus), "A-test")
    (transcripts,) = (paths.cache() / "transcripts").glob("*")
    spoken = _record_of("A-test.json")
    return [
        Kind("run", run, _files(run), _run, lambda f: _wrong(run_files.check_run(f, quick=True))),
        Kind("stage", stage, _files(stage), lambda f: _stage(f, shapes),
             lambda f: _wrong(run_files.check_stage(f, quick=True))),
        _checkpoint(home),
        Kind("corpus", corpus, _files(corpus, "README.md"), _corpus, _record_of("corpus.json")),
        Kind("encoder frames", frames, _files(frames), _frames),
        Kind("transcripts", transcripts, _files(transcripts), _said, spoken),
        _notebook(home),
        *(_backbone(zoo / name) for name in LOADERS),
        *(_model_folder(home / "models" / name) for name in LOADERS),
    ]  # fmt: skip


def run_config() -> RunConfig:
    """A warm start of 3 steps, of which a CTC head is left, then an evaluation of 4 turns."""
    stage = StageConfig(
        name="warm_start", tasks={"transcription": 1.0}, train=["adapter"], objective="ctc", examples=6,
        batch_size=2, lr=0.003, warmup_ratio=0.2, weight_decay=0.01, max_grad_norm=1.0, evaluations=1,
        validation_examples=2, decoded_turns=0,
    )  # fmt: skip
    return RunConfig(
        corpus=CorpusConfig(name="call_centre", sizes={"train": 8, "validation": 2, "A-test": 4}),
        encoder=EncoderConfig(path="zoo/whisper", padding="trimmed"),
        llm="zoo/llm",
        adapter=validated(kind="pooling", steps_per_30s=750, scaled=True),
        lora=None,
        stages=[stage],
        evaluation=EvaluationConfig(split="A-test", batch_size=4, max_new_tokens=4),
        precision="fp32",
        seed=0,
    )


def _files(folder: Path, *unread: str) -> tuple[str, ...]:
    found = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    return tuple(name for name in found if name not in unread)


def _wrong(found) -> list[str]:
    sealed._known.clear()
    return [one.wrong for one in found if one.wrong]


def _record_of(name: str) -> Audit:
    return lambda folder: _wrong(run_files.sealed_record(folder / name, "", "delete it"))


def _run(folder: Path) -> object:
    """What reports read: as `studies.records` and `reports.stored_runs` do."""
    record = sealed.read(folder / "run.json", runs.DELETE_FOLDER)
    score = runs.read_json(folder / "score.json", runs.DELETE_FOLDER)
    said = read_predictions(folder / "predictions.jsonl.gz", runs.DELETE_FOLDER)
    return repr((record, score, read_curve(folder / "curve.csv").to_csv(), said))


def _stage(folder: Path, shapes: dict[str, torch.Size]) -> object:
    """What a run that shares the stage starts from."""
    record = sealed.read(folder / "stage.json", runs.DELETE_FOLDER)
    trained = {name: nn.Parameter(torch.zeros(shape)) for name, shape in shapes.items()}
    loop.load_weights(trained, folder / "weights.safetensors")
    head = ctc.CtcHead.load(folder / "ctc_head.safetensors", torch.ones(2048, 16))
    weights = {name: t.tolist() for name, t in trained.items()}
    return repr((record, weights, {name: t.tolist() for name, t in head.weights().items()}))


def _corpus(folder: Path) -> object:
    corpus = Corpus.load(folder)
    audio = [
        corpus.audio(split, i).tobytes()
        for split in corpus.splits
        for i in range(len(corpus.n_samples(split)))
    ]
    return repr((corpus.info, [corpus.utterances(split) for split in corpus.splits], audio))


def _frames(folder: Path) -> object:
    store = FrameStore.open(folder)
    store.verify()
    return repr((store.key, store.dim, {id: store[id].tobytes() for id in store._rows}))


def _said(folder: Path) -> object:
    return sealed.read(folder / "A-test.json")


def _checkpoint(home: Path) -> Kind:
    """A training stopped after its fourth step: whatever happens to it, its end is the same."""
    folder = home / "checkpoints" / "checkpoint"
    toy, seconds = _toy(stop_at=4), loop.CHECKPOINT_SECONDS
    try:
        loop.CHECKPOINT_SECONDS = -1
        with contextlib.suppress(InterruptedError):
            toy.fit(folder)
    finally:
        loop.CHECKPOINT_SECONDS = seconds
    files = ("state.json", "weights.safetensors", "optimizer.pt")
    return Kind("checkpoint", folder, files, lambda f: _toy().fit(f), _record_of("state.json"), dropped=True)


def _toy(stop_at: int = -1) -> SimpleNamespace:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.Linear(8, 1))
    batches = list(torch.randn(8, 3, 4, generator=torch.Generator().manual_seed(1)))
    settings = {"examples": 24, "batch_size": 3, "lr": 0.05, "warmup_ratio": 0.25, "weight_decay": 0.01}
    config = FitConfig(**settings, max_grad_norm=0.5, evaluations=3)

    def loss(batch):
        if stop_at >= 0 and torch.equal(batch, batches[stop_at]):
            raise InterruptedError
        return {"loss": (model(batch) - batch.sum(1, keepdim=True)).pow(2).mean()}

    def fit(folder: Path) -> str:
        parameters = dict(model.named_parameters())
        fitted = loop.fit(config, parameters, batches, loss, lambda: {"loss": 1.0}, folder, 0)
        return repr((fitted.status, fitted.curve, {n: p.tolist() for n, p in parameters.items()}))

    return SimpleNamespace(fit=fit)


def _notebook(home: Path) -> Kind:
    folder = home / "results" / "faults" / "notebooks"
    cell = {"cell_type": "code", "metadata": {}, "source": ["1 + 1"], "execution_count": 1, "outputs": []}
    shown = {"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    runs.write_json(folder / "study.ipynb", shown)
    status = {"notebook": "study", "parameters": {}, "status": "ok", "pid": None, "made_of": "0123"}
    sealed.write(folder / "study.json", status)

    def use(folder: Path) -> object:
        if not notebook._up_to_date(folder / "study.json", "0123"):
            raise UserError("it is executed again")
        return json.dumps(runs.read_json(folder / "study.ipynb"))

    return Kind(
        "executed notebook", folder, _files(folder), use, lambda f: _wrong(audited.check_notebooks(f))
    )


LOADERS = {
    "whisper": lambda name: load_asr(name),
    "llm": lambda name: (load_llm(name), load_tokenizer(name)),
    "audio_llm": lambda name: (load_audio_llm(name), load_tokenizer(name)),
}


def _loaded(name: str, kind: str) -> object:
    """All that the suite takes from a backbone, and what its digest is over."""
    identity.backbone_hash(name)
    model, tokenizer = LOADERS[kind](name)
    weights = {key: value.numpy().tobytes() for key, value in model.state_dict().items()}
    said = (
        tokenizer("caller: i was charged")["input_ids"],
        tokenizer.chat_template,
        sorted(tokenizer.get_vocab()),
    )
    generation = {key: value for key, value in model.generation_config.to_dict().items()}
    return repr((weights, model.config.to_json_string(), said, generation))


def _backbone(folder: Path) -> Kind:
    """One of the zoo, whose `training.json` seals its files."""

    def use(copy: Path) -> object:
        place = folder.parent.parent / "zoo" / "copy"
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(copy, place)
        return _loaded("zoo/copy", folder.name)

    return Kind(f"zoo {folder.name}", folder, _files(folder), use, _record_of("training.json"))


def _model_folder(folder: Path) -> Kind:
    """A user's own: nothing says what its files were, but a changed file is another backbone."""

    def digest(copy: Path) -> str:
        identity.backbone_hash.cache_clear()
        sealed._known.clear()
        return identity.backbone_hash(str(copy))

    names = _files(folder)
    return Kind(
        f"folder {folder.name}", folder, names, lambda copy: _loaded(str(copy), folder.name), digest=digest
    )
