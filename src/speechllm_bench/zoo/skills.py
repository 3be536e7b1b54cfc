"""Skills of a text LLM of the zoo besides slots: extraction, repetition, arithmetic, logic, code, plain text.

The held-out questions are the same for every LLM. Records and texts to repeat come from `written.py` and use
validation turns of the corpus. Problems come from `problems.py`, which keeps them out of training. An answer
counts if it equals the target exactly; a thought before the answer is ignored.

What is left of them after tuning on slots (2510.19326, open question 2) is measured with the weights that
training stages leave on this machine. The repository ships few of these weights, so most measurements need
the machine of the runs. Results from other machines stay in the study's table. Only LLMs of the zoo are
measured, since others have no record of their skills.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file
from transformers import PreTrainedTokenizerBase

from speechllm_bench import stats
from speechllm_bench.data.corpora import call_centre
from speechllm_bench.models.llm import load_llm, load_tokenizer
from speechllm_bench.models.speech_llm import SpeechLLM
from speechllm_bench.planning import places, studies
from speechllm_bench.planning.studies import Result
from speechllm_bench.reports.tables import smoke_mark
from speechllm_bench.settings.config import RunConfig
from speechllm_bench.settings.overrides import base_profile
from speechllm_bench.stats import with_interval
from speechllm_bench.storage import paths, runs
from speechllm_bench.storage.schema import Example
from speechllm_bench.tasks.trace import response
from speechllm_bench.zoo import fitting, llm_mini, recipes
from speechllm_bench.zoo.fitting import Item
from speechllm_bench.zoo.recipes import LLMRecipe, MixtureRecipe
from speechllm_bench.zoo.texts import problems, written

QUESTIONS = 300  # per skill
ROWS = 128  # of plain text
SEED = 2_000_003  # of all questions; no recipe uses it
TURNS = 500  # of the validation split, for plain text, repetition and context
BATCH = 100
ANSWER_TOKENS = 200
FIELDS = {"renamed": 0.35, "rare": 0.5, "typed": 0.5, "closed": 0.5, "related": 0.4}
EXACT = ("extraction", "repetition", *problems.SUBJECTS)
PLAIN = "as it is"  # the mode of an LLM without a switch
Asked = tuple[Example, str]
"""A question and the text that it is about."""


def measure(
    model: SpeechLLM,
    tokenizer: PreTrainedTokenizerBase,
    recipe: LLMRecipe | MixtureRecipe,
    n: int | None = None,
) -> dict:
    """Return mode -> skill -> value with interval: shares of exact answers, and perplexity
    per token of plain text.

    recipe: the recipe of the LLM. If it has a switch, both modes are measured. n: questions per skill, the
    first of `QUESTIONS`; None: all.
    """
    model.eval()
    modes = {PLAIN: ""}
    if isinstance(recipe, MixtureRecipe) and recipe.switched:
        modes = {switch: f"\n{switch}" for switch in problems.SWITCH.values()}
    held_out = {skill: asked[:n] for skill, asked in plain_questions().items()}
    plain = perplexity(model, tokenizer, recipe)  # without a prompt, so the same in every mode
    found: dict[str, dict] = {}
    for mode, ending in modes.items():
        found[mode] = {}
        for skill, asked in held_out.items():
            put = [(replace(e, prompt=e.prompt + ending), said) for e, said in asked]
            right = [
                response(answer) == example.target
                for answer, (example, _) in zip(answers(model, tokenizer, put), put, strict=True)
            ]
            found[mode][skill] = _interval(np.array(right, float))
        found[mode]["perplexity"] = plain
    return found


def plain_questions() -> dict[str, list[Asked]]:
    """Return `QUESTIONS` questions per skill, without a switch. Their targets have no steps."""
    turns = call_centre.utterances("validation", TURNS)
    asked = {
        "extraction": [written.extraction(i, SEED, turns, **FIELDS) for i in range(QUESTIONS)],
        "repetition": [written.post_training(i, SEED, turns, repeated=1.0) for i in range(QUESTIONS)],
    }
    for subject in problems.SUBJECTS:
        drawn = [problems.problem(i, SEED, True, subject) for i in range(QUESTIONS)]
        asked[subject] = [(p.example(f"{subject}/{i}", False, False), p.text) for i, p in enumerate(drawn)]
    return asked


def answers(model: SpeechLLM, tokenizer: PreTrainedTokenizerBase, asked: Sequence[Asked]) -> list[str]:
    said = []
    for start in range(0, len(asked), BATCH):
        items = [Item(example, text) for example, text in asked[start : start + BATCH]]
        batch = fitting.read_batch(tokenizer, items, with_answer=False)
        said += fitting.answers(model, tokenizer, batch, ANSWER_TOKENS)
    return said


@torch.inference_mode()
def perplexity(
    model: SpeechLLM, tokenizer: PreTrainedTokenizerBase, recipe: LLMRecipe | MixtureRecipe
) -> dict:
    """Return perplexity per token of plain text without marks.

    Tokens are those of the LLM's own tokenizer.
    """
    turns = call_centre.utterances("validation", TURNS)
    rows = llm_mini.pack(recipe.model_copy(update={"marked": 0.0}), tokenizer, turns, ROWS, SEED)
    nats = [llm_mini.language_loss(model.llm, row[None]).item() for row in rows]
    return {name: float(np.exp(v)) if name != "n" else v for name, v in _interval(np.array(nats)).items()}


def _interval(values: np.ndarray) -> dict:
    """Return the mean of one value per question, with its 95 % interval by bootstrap over the questions."""
    ids = [f"{i:04}" for i in range(len(values))]
    summed = stats.sum_by_speaker(ids, ids, np.stack([values, np.ones_like(values)], axis=1))
    mean = stats.bootstrap(summed, lambda sums: sums[..., 0] / sums[..., 1], np.random.default_rng(0), 2000)
    return {"value": mean.value, "low": mean.low, "high": mean.high, "n": mean.n}


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


def write_retained(frame: pd.DataFrame, study: str, profile: str) -> list[Path]:
    """Write `retained` as tables of the study, which the cards of LLMs use (`zoo
    evaluate`). No files if empty.
    """
    folder = paths.results(profile) / "tables"
    if frame.empty:
        return []
    csv, markdown = folder / f"{study}_retention.csv", folder / f"{study}_retention.md"
    runs.write_text(csv, frame.to_csv(index=False, float_format="%.6g", lineterminator="\n"))
    table = display_retained(frame).to_markdown(index=False, disable_numparse=True)
    mark = f"{mark} " if (mark := smoke_mark(profile)) else ""
    runs.write_text(markdown, f"{mark}{retained_caption(frame)}\n\n{table}\n")
    return [csv, markdown]


def _stored(study: str, profile: str) -> pd.DataFrame:
    """Return lines of this study that were measured before, on this or another machine."""
    file = paths.results(profile) / "tables" / f"{study}_retention.csv"
    return pd.read_csv(file) if file.is_file() else pd.DataFrame(columns=COLUMNS)


def read_retained(llm: str, profile: str = "mini") -> pd.DataFrame:
    """Return the LLM's skills after each tuning that a study of the profile has measured."""
    files = sorted((paths.results(profile) / "tables").glob("*_retention.csv"))
    frames = [pd.read_csv(file) for file in files]
    found = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=COLUMNS)
    return found[found["llm"] == llm].drop_duplicates(["variant", "mode", "skill"])


def retained_caption(frame: pd.DataFrame) -> str:
    """Return a caption: what `display_retained` shows, and the numbers of questions."""
    asked = frame[frame["skill"] != "perplexity"]
    before, after = (", ".join(map(str, sorted(asked[n].unique()))) for n in ("n_before", "n_after"))
    return (
        "Skills are shares of exact answers to held-out questions that ask for no slots. Perplexity is per "
        "token of plain text. A cell shows before → after an LLM was tuned on slots, in one training per "
        f"variant. Each skill has {before} questions before and {after} after. "
        "In brackets: 95 % interval over the questions."
    )


def display_retained(frame: pd.DataFrame) -> pd.DataFrame:
    """Return `retained` for display: one row per variant and mode, `before → after` for each skill."""
    shown = frame.assign(
        value=[f"{r.before:.3f} → {with_interval(r.after, r.low, r.high)}" for r in frame.itertuples()]
    )
    wide = shown.pivot(index=["variant", "mode"], columns="skill", values="value")
    wide = wide.reindex(columns=[*EXACT, "perplexity"]).reindex(
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
    found = measure(model, load_tokenizer(run.llm), recipe, n)
    runs.write_json(kept, found)
    return found
