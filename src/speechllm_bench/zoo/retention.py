"""Other skills of an LLM after tuning on slots (2510.19326, open question 2).

They are measured with the weights that training stages leave on this machine. The repository ships few of
these weights, so most measurements need the machine of the runs. Results from other machines stay in the
study's table. Only LLMs of the zoo are measured, since others have no record of their skills.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import torch
from safetensors.torch import load_file

from speechllm_bench.models.llm import load_llm, load_tokenizer
from speechllm_bench.models.speech_llm import SpeechLLM
from speechllm_bench.planning import places, studies
from speechllm_bench.planning.studies import Result
from speechllm_bench.reports.tables import smoke_mark
from speechllm_bench.settings.config import RunConfig
from speechllm_bench.settings.overrides import base_profile
from speechllm_bench.stats import with_interval
from speechllm_bench.storage import paths, runs
from speechllm_bench.zoo import recipes, skills

SMOKE_QUESTIONS = 20  # per skill at profile smoke, where all questions would take longer than the trainings
COLUMNS = ["stage", "variant", "llm", "mode", "skill", "before", "n_before"]
COLUMNS += ["after", "low", "high", "n_after"]


def retained(rows: Sequence[Result], study: str) -> pd.DataFrame:
    """Return one row per variant, mode and skill: its value before tuning, and after it.

    The value after tuning has a 95 % interval over the questions. It is of the variant's
    first measured training.

    rows: from `studies.records` of `study`. Variants that share a training appear once. Left out are variants
    that tune no LoRA, whose weights were on no measuring machine, or whose LLM is not of the zoo or was not
    measured (`zoo evaluate`).
    """
    lines, seen, known = [], set(), None
    for row in rows:
        run = row["run"]
        if not row["score"] or not run.stages or row["variant"] in seen:
            continue
        if run.stages[-1] in seen:  # other seeds of this variant are skipped too
            seen.add(row["variant"])
            continue
        if known is None:
            known = _stored(study, run.profile)
        own = _measured(run) or known[known["stage"] == run.stages[-1]][COLUMNS[2:]].values.tolist()
        lines += [[run.stages[-1], row["variant"], *line] for line in own]
        seen |= {row["variant"], run.stages[-1]} if own else set()
    return pd.DataFrame(lines, columns=COLUMNS)


def _measured(run: studies.Run) -> list[list]:
    """Return the run's lines without stage and variant. Empty where it cannot be measured here."""
    before = _before(run.config.llm)
    if not before:
        return []
    after = _after(run.config, run.profile, run.stages[-1])
    return [
        [
            *(run.config.llm, mode, skill, before[mode][skill]["value"], before[mode][skill]["n"]),
            *(one[key] for key in ("value", "low", "high", "n")),
        ]
        for mode, found in (after or {}).items()
        for skill, one in found.items()
    ]


def write(frame: pd.DataFrame, study: str, profile: str) -> list[Path]:
    """Write `retained` as tables of the study, which the cards of LLMs use (`zoo
    evaluate`). No files if empty.
    """
    folder = paths.results(profile) / "tables"
    if frame.empty:
        return []
    csv, markdown = folder / f"{study}_retention.csv", folder / f"{study}_retention.md"
    runs.write_text(csv, frame.to_csv(index=False, float_format="%.6g", lineterminator="\n"))
    table = display(frame).to_markdown(index=False, disable_numparse=True)
    mark = f"{mark} " if (mark := smoke_mark(profile)) else ""
    runs.write_text(markdown, f"{mark}{caption(frame)}\n\n{table}\n")
    return [csv, markdown]


def _stored(study: str, profile: str) -> pd.DataFrame:
    """Return lines of this study that were measured before, on this or another machine."""
    file = paths.results(profile) / "tables" / f"{study}_retention.csv"
    return pd.read_csv(file) if file.is_file() else pd.DataFrame(columns=COLUMNS)


def read(llm: str, profile: str = "mini") -> pd.DataFrame:
    """Return the LLM's skills after each tuning that a study of the profile has measured."""
    files = sorted((paths.results(profile) / "tables").glob("*_retention.csv"))
    frames = [pd.read_csv(file) for file in files]
    found = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=COLUMNS)
    return found[found["llm"] == llm].drop_duplicates(["variant", "mode", "skill"])


def caption(frame: pd.DataFrame) -> str:
    """Return a caption: what `display` shows, and the numbers of questions."""
    asked = frame[frame["skill"] != "perplexity"]
    before, after = (", ".join(map(str, sorted(asked[n].unique()))) for n in ("n_before", "n_after"))
    return (
        "Skills are shares of exact answers to held-out questions that ask for no slots. Perplexity is per "
        "token of plain text. A cell shows before → after an LLM was tuned on slots, in one training per "
        f"variant. Each skill has {before} questions before and {after} after. "
        "In brackets: 95 % interval over the questions."
    )


def display(frame: pd.DataFrame) -> pd.DataFrame:
    """Return `retained` for display: one row per variant and mode, `before → after` for each skill."""
    shown = frame.assign(
        value=[f"{r.before:.3f} → {with_interval(r.after, r.low, r.high)}" for r in frame.itertuples()]
    )
    wide = shown.pivot(index=["variant", "mode"], columns="skill", values="value")
    wide = wide.reindex(columns=[*skills.EXACT, "perplexity"]).reindex(
        pd.MultiIndex.from_frame(frame[["variant", "mode"]].drop_duplicates())
    )
    return wide.reset_index().rename_axis(columns=None)


def _before(name: str) -> dict | None:
    """Return the recorded skills of a backbone. None unless the record is of the present weights."""
    folder = Path(paths.backbone(name))
    if not (folder / "evaluation.json").is_file():
        return None
    record = runs.read_json(folder / "evaluation.json")
    present = record["weights_sha256"] == runs.file_sha256(folder / "model.safetensors")
    return record.get("skills") if present else None


def _after(run: RunConfig, profile: str, digest: str) -> dict | None:
    """Return the skills with the LoRA of a run's last stage. They are measured once
    and stored with the stage.
    """
    stage = places.stage_folder(profile, digest)
    weights, kept = stage / "weights.safetensors", stage / "skills.json"
    if kept.is_file():
        return runs.read_json(kept)
    if run.lora is None or not weights.is_file() or "lora" not in run.stages[-1].train:
        return None
    recipe = recipes.load_recipe(recipes.BACKBONES[Path(run.llm).name])
    model = SpeechLLM(load_llm(run.llm, run.lora), adapter=None)
    stored = load_file(weights)
    with torch.no_grad():
        for name, parameter in model.trained_parameters(["lora"]).items():
            parameter.copy_(stored[name])
    n = SMOKE_QUESTIONS if base_profile(profile) == "smoke" else None
    assert isinstance(recipe, recipes.LLMRecipe | recipes.MixtureRecipe)
    found = skills.measure(model, load_tokenizer(run.llm), recipe, n)
    runs.write_json(kept, found)
    return found
