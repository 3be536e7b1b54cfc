"""Trains the backbones of a recipe. Each is stored as a folder: config, tokenizer, safetensors, record."""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from tqdm import tqdm

from speechllm_bench.data import corpora
from speechllm_bench.storage import paths, runs, sealed
from speechllm_bench.training.learning_curve import write_curve
from speechllm_bench.training.loop import FitResult
from speechllm_bench.zoo import audio_llm_mini, llm_mini, mixtures, recipes, whisper_mini
from speechllm_bench.zoo.fitting import Progress


def train_backbones(name: str, n_workers: int) -> list[Path]:
    """Train the backbones of recipe `name` and return their folders. Resume a killed
    training if there is one.

    Raises UserError if training diverges; stored backbones are then kept.
    """
    recipe = recipes.load_recipe(name)
    checkpoints = paths.cache() / "zoo" / _training_digest(recipe)
    with tqdm(
        total=1000, unit="", desc=name, bar_format="{desc} {percentage:3.0f}%|{bar}| {remaining} left"
    ) as bar:

        def progress(phase: str, share: float) -> None:
            if bar.desc != f"{name} {phase}: ":
                bar.reset()  # every phase has its own estimate
                bar.set_description(f"{name} {phase}", refresh=False)
            bar.update(int(1000 * share) - bar.n)

        trained = _train(recipe, checkpoints, n_workers, progress)
        saved = [save(backbone, recipe, *made) for backbone, *made in trained]
    runs.remove(checkpoints)  # otherwise the next training would resume from the end of this one
    return saved


def _training_digest(recipe: recipes.Recipe) -> str:
    """Return the digest of all that the checkpoints depend on.

    It includes the source of the training texts.
    """
    files = sorted(f for f in Path(__file__).with_name("texts").iterdir() if f.suffix in {".py", ".yaml"})
    texts = {file.name: runs.file_sha256(file) for file in files}
    return runs.digest(recipe.model_dump(), texts, corpora.recipe("call_centre"), runs.NUMERICS_VERSION)


def _train(recipe: recipes.Recipe, checkpoints: Path, n_workers: int, progress: Progress) -> Iterator[tuple]:
    """Yield (name, model, tokenizer, fits) of each finished backbone; some add the amounts seen."""
    if isinstance(recipe, recipes.AudioLLMRecipe):
        return iter([(recipe.name, *audio_llm_mini.train(recipe, checkpoints, n_workers, progress))])
    if isinstance(recipe, recipes.MixtureRecipe):
        return iter([(recipe.name, *mixtures.train(recipe, checkpoints, progress))])
    if isinstance(recipe, recipes.LLMRecipe):
        return llm_mini.train(recipe, checkpoints, progress)
    return iter([(recipe.name, *whisper_mini.train(recipe, checkpoints, n_workers, progress))])


def save(name: str, recipe, model, tokenizer, fits: dict[str, FitResult], seen: dict | None = None) -> Path:
    """Write the folder of a backbone, completely or not at all: weights in fp16, training
    record, hash. Return it.

    tokenizer: the tokenizer, or the processor that contains it. seen: entries that are added to the record.
    """
    folder = recipes.folder(name)
    with runs.whole_folder(folder) as temporary:
        # A copy, since the model itself may be trained further in fp32.
        copy.deepcopy(model).to(torch.float16).save_pretrained(temporary, safe_serialization=True)
        tokenizer.save_pretrained(temporary)
        written = temporary / "tokenizer.json"  # without indentation, which is more than half of the file
        compact = json.dumps(runs.read_json(written), ensure_ascii=False, separators=(",", ":"))
        runs.write_text(written, compact)
        write_curve([(phase, fit.curve) for phase, fit in fits.items()], temporary / "curve.csv")
        record = {
            "recipe": recipe.model_dump(),
            "parameters": sum(p.numel() for p in model.parameters()),
            "seconds": {phase: round(fit.seconds) for phase, fit in fits.items()},
            **(seen or {}),
            "status": {phase: fit.status for phase, fit in fits.items()},
            # The recipe may ask for bf16, but a CPU that would emulate it trains in fp32.
            "autocast": {phase: fit.autocast for phase, fit in fits.items()},
            "threads": dict.fromkeys(fits, torch.get_num_threads()),
            "weights_sha256": runs.file_sha256(temporary / "model.safetensors"),
            "trained": time.strftime("%Y-%m-%d", time.gmtime()),
            "environment": runs.environment(),
        }
        sealed.write(temporary / "training.json", record)
    return folder
