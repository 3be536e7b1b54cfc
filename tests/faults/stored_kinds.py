"""One of everything that the suite stores, made small: what is flipped (`flips`)."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import tiny
import torch
from conftest import validated
from flips import Audit, Kind
from safetensors.torch import load_file
from torch import nn

from speechllm_bench import notebook
from speechllm_bench.audit import notebooks as audited
from speechllm_bench.audit import run_files
from speechllm_bench.data import corpora
from speechllm_bench.data.annotators import Annotated, stored
from speechllm_bench.data.annotators.client import Client, Reply, Server
from speechllm_bench.data.clips import Clips
from speechllm_bench.data.corpora import shipped
from speechllm_bench.data.corpora.store import Corpus
from speechllm_bench.data.frames import FrameStore
from speechllm_bench.errors import UserError
from speechllm_bench.evaluation import intervals
from speechllm_bench.metrics import quotient
from speechllm_bench.models.asr import load_asr
from speechllm_bench.models.audio_llm import load_audio_llm
from speechllm_bench.models.llm import load_llm, load_tokenizer
from speechllm_bench.planning import identity
from speechllm_bench.running import jobs, preparation
from speechllm_bench.settings.config import (
    CorpusConfig,
    EncoderConfig,
    EvaluationConfig,
    FitConfig,
    RunConfig,
    StageConfig,
)
from speechllm_bench.stats import Comparison, SpeakerSums, contrast
from speechllm_bench.storage import numbers, paths, runs, sealed
from speechllm_bench.storage.outputs import read_curve, read_predictions
from speechllm_bench.storage.schema import Voice
from speechllm_bench.training import loop

VOICE = Voice("kokoro-us", "jf_alpha:6+jm_kumo:4@96", 100, 100, 35.0, 7)


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
             _record_of("stage.json")),
        _checkpoint(home),
        Kind("corpus", corpus, _files(corpus, "README.md"), _corpus, _record_of("corpus.json")),
        Kind("encoder frames", frames, _files(frames), _frames),
        Kind("transcripts", transcripts, _files(transcripts), _said, spoken),
        _notebook(home),
        _clips(home),
        _shipped_turns(home),
        *_annotations(home),
        *_of_reports(home),
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
    """What reports read: as `studies.records` and `storage.outputs` do."""
    record = sealed.read(folder / "run.json", runs.DELETE_FOLDER)
    score = runs.read_json(folder / "score.json", runs.DELETE_FOLDER)
    said = read_predictions(folder / "predictions.jsonl.gz", runs.DELETE_FOLDER)
    return repr((record, score, read_curve(folder / "curve.csv").to_csv(), said))


def _stage(folder: Path, shapes: dict[str, torch.Size]) -> object:
    """What a run that shares the stage starts from."""
    record = sealed.read(folder / "stage.json", runs.DELETE_FOLDER)
    trained = {name: nn.Parameter(torch.zeros(shape)) for name, shape in shapes.items()}
    loop.load_weights(trained, folder / "weights.safetensors")
    weights = {name: t.tolist() for name, t in trained.items()}
    head = load_file(folder / "ctc_head.safetensors")
    return repr((record, weights, {name: t.tolist() for name, t in head.items()}))


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


def _clips(home: Path) -> Kind:
    clips = Clips(home / "clips" / "speech")
    said = [(f"turn {i}", VOICE) for i in range(3)]
    for one in said:
        clips.keep(*one, noise(16000, one[0]), 16000)
    clips.pack(said, home / "clips" / "packs")

    def use(folder: Path) -> object:
        """What is heard where packs are taken in first, as `preparation` does."""
        copy = Clips(folder / "speech")
        copy.unpack(sorted((folder / "packs").iterdir()))
        heard = [copy.read(*one) for one in said]
        if any(samples is None for samples in heard):
            raise UserError("it is spoken again")
        return [samples.tobytes() for samples in heard]

    return Kind("clips", home / "clips", _files(home / "clips"), use)


def _shipped_turns(home: Path) -> Kind:
    corpus = CorpusConfig(name="call_centre_neural", sizes={"A-test": 3})
    clips, folder = Clips(home / "clips of turns"), home / "turns"
    for turn in corpora.utterances(corpus)["A-test"]:
        clips.keep(turn.transcript, turn.voice, noise(16000, turn.id), 16000)
    shipped.write(corpus, ["A-test"], clips, folder)

    def use(folder: Path) -> object:
        turns, read = shipped.shipped_utterances(corpus, folder), shipped.recording(folder)
        return repr({turn.id: read(turn).tobytes() for some in turns.values() for turn in some})

    return Kind("shipped turns", folder, _files(folder), use, _record_of(shipped.RECORD))


def _annotations(home: Path) -> list[Kind]:
    """What an annotator was paid for: its replies, and the labels that were made of them."""
    replies = home / "replies"
    asked = [{"role": "user", "content": "Label the entities."}]

    def ask(folder: Path, told: str | None = None) -> object:
        client = Client(Server("http://localhost:9", "tiny", ""), folder)

        def answer(request: dict) -> Reply:
            if told is None:
                raise UserError("the server is asked again")
            return Reply(told, 3, 5, kept=False)

        with contextlib.closing(client):
            client._request = answer
            return client.ask(asked, 0)

    ask(replies, "city: rome")
    turns = [SimpleNamespace(utterance=SimpleNamespace(id=f"turn {i}")) for i in range(3)]
    found = Annotated([[("city", "rome")], None, [("name", "zoë")]], Counter({"no entity": 1}), "2 $")
    name = stored.write_labels(turns, found, "tiny")
    place, labels = stored.file("labels", name).parent, home / "labels"
    place.rename(labels)

    def read(folder: Path) -> object:
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(folder, place)
        return repr((stored.read_labels(name), stored.about("labels", name)))

    return [
        Kind("annotator's replies", replies, _files(replies), ask),
        Kind("annotator's labels", labels, _files(labels), read),
    ]


def _of_reports(home: Path) -> list[Kind]:
    """Numbers that are cited, and what is kept so that reports take less time."""
    profile = "cited"
    cells = {"f1": numbers.Cell("0.512 [0.430, 0.594]", 0.512, 0.43, 0.594)}
    rows = [numbers.Row(f"lora/{name}/A", "lora", "ok", 40, 8, (0,), cells=cells) for name in ("mlp", "cnn")]
    numbers.update(profile, "lora", ["lora"], rows)
    cited = numbers.file(profile).parent

    def cite(folder: Path) -> object:
        return repr(numbers._read.__wrapped__(folder / "numbers.json", profile, ()))

    kept = home / "reports"
    one = SpeakerSums(8, 1, ("a", "b", "c"), np.arange(6.0).reshape(1, 3, 2) + 1)
    drawn: list[Comparison] = []

    def draw() -> Comparison:
        drawn.append(contrast([one], [1.0], quotient, np.random.default_rng(0), 0.01))
        return drawn[-1]

    def interval(folder: Path) -> object:
        """Read, or drawn anew where it is damaged."""
        intervals._known.clear()
        with intervals.kept(folder / "lora.json"):
            return repr(intervals.interval_of([one], [1.0], quotient, 0.01, draw))

    interval(kept)
    large, stamps = home / "large", home / ".cache" / "hashes"
    runs.write_text(large, "weights")
    shutil.rmtree(stamps, ignore_errors=True)
    sealed._known.clear()
    sealed.known_sha256(large, stamped=True)

    def hashed(folder: Path) -> object:
        shutil.copytree(folder, stamps, dirs_exist_ok=True)
        return sealed.known_sha256(large, stamped=True)

    made = home / "stamps"
    shutil.copytree(stamps, made)
    return [
        Kind("cited numbers", cited, ("numbers.json",), cite),
        Kind("kept intervals", kept, _files(kept), interval),
        Kind("kept hashes", made, _files(made), hashed),
    ]


def noise(samples: int, seed: str) -> np.ndarray:
    """int16 samples."""
    return (3000 * np.random.default_rng(list(seed.encode())).standard_normal(samples)).astype(np.int16)


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
