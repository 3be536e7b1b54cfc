"""Generates the numbers of the README from recorded tables: the answer of the first figure, and the findings.

No number is typed by hand. Sentences name variants, and the tables give their main metric. `{a__f1_v1}` is
another column of variant a, and `{a__against__b}` the verdict on the claim that a is ahead of b.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Mapping
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
PROFILES = ("small", "mini")  # the first one with a record is shown
METRICS = ("f1", "ner_f1", "wer")  # a variant has one of them

FIRST = {
    "lora": (
        "lora_parameters",
        "Does LoRA on the LLM fill more slots than a frozen LLM? With it F1 goes "
        "from {cnn} to {cnn_lora} behind the CNN adapter and from {mlp} to {mlp_lora} behind the MLP.",
        "Behind the Transformer it goes from {transformer} to {transformer_lora}, or to "
        "{transformer_lora_own_rate} if the adapter keeps its own learning rate.",
        "A model that hears the wrong audio has {no_audio}.",
    ),
    "baselines": (
        "baselines_systems",
        "How far is the SpeechLLM from a text LLM? On test set A the LLM that reads gold transcripts has an "
        "F1 of {gold}, and the SpeechLLM {speechllm}. "
        "The whole transcript in every slot has {whole_transcript}.",
        "The cascade has {cascade}. By words as they are spelt, and not as they are said, it has "
        "{cascade__f1_v1} and the SpeechLLM {speechllm__f1_v1}.",
        "A model that hears the wrong audio has {no_audio}.",
    ),
}
"""Studies for the first screen of the README: a figure, and sentences that name its variants."""

FOUND_SMALL = {
    "baselines": (
        "**Baselines.** The text LLM on gold transcripts has an F1 of {gold}, the cascade {cascade} and the "
        "SpeechLLM {speechllm}. In the paper the SpeechLLM is ahead of the cascade "
        "({speechllm__against__cascade}).",
        "On slot types that training never asked for they have {gold_b_ood}, {cascade_b_ood} and "
        "{speechllm_b_ood}. The whole transcript in every slot has {whole_transcript_b_ood} there.",
        "**Other scores reverse the order of cascade and SpeechLLM.** By F1, version 1, the cascade has "
        "{cascade__f1_v1} and the SpeechLLM {speechllm__f1_v1}; by SLU-F1 {cascade__slu_f1} and "
        "{speechllm__slu_f1}. These scores count the digits that a recogniser writes as wrong words.",
    ),
    "lora": (
        "**LoRA.** LoRA raises F1 behind the MLP adapter from {mlp} to {mlp_lora}, as the paper finds "
        "({mlp_lora__against__mlp}). The whole transcript in every slot has {whole_transcript}, and a model "
        "that hears the wrong audio {no_audio}.",
    ),
    "multistage": (
        "**Stages.** Transcription before slots changes F1 from {single} to {multistage_c}; the paper finds "
        "a gain ({multistage_c__against__single}). Here the single stage, too, follows a "
        "[CTC warm start](docs/glossary.md) on transcripts.",
    ),
    "adapter_reading": (
        "**Adapters.** Before an LLM that has learned slots from text and is then frozen, the MLP reaches "
        "{mlp} and the CNN {cnn} ({mlp__against__cnn}).",
        "The Transformer reaches {transformer} at the MLP's learning rate, which was not swept; in the paper "
        "it is the best adapter ({transformer__against__mlp}).",
        "CNN-XL, larger than the CNN, reaches {cnn_xl} ({cnn__against__cnn_xl}).",
    ),
    "fresh_test": (
        "**Fresh turns.** On test set C, which no choice has seen, the text LLM has {gold_c}, the cascade "
        "{cascade_c} and the SpeechLLM {speechllm_c}. By F1, version 1, the cascade has "
        "{cascade_c__f1_v1} and the SpeechLLM {speechllm_c__f1_v1}.",
    ),
}
"""Sentences by study, for profile `small`. All but the first are left out where a variant has no number."""

FOUND = {
    "adapter_size": (
        "**Adapters.** With a frozen LLM the MLP reaches an F1 of {mlp}, the CNN {cnn}, CNN-XL {cnn_xl}, the "
        "Transformer {transformer} and the Linear adapter {linear}. The whole transcript in every slot has "
        "{whole_transcript}. The Transformer is the paper's best adapter ({transformer__against__mlp})."
    ),
    "baselines": (
        "**Baselines.** The text LLM on gold transcripts has {gold}, the cascade {cascade} and the SpeechLLM "
        "{speechllm}. On slot types that training never asked for they have {gold_b_ood}, {cascade_b_ood} "
        "and {speechllm_b_ood}, and the whole transcript in every slot {whole_transcript_b_ood}. In the "
        "paper the SpeechLLM is ahead of the cascade on seen slot types ({speechllm__against__cascade})."
    ),
    "multistage": (
        "**Stages.** Transcription before slots raises F1 from {single} to {multistage_c}, as the paper "
        "finds ({multistage_c__against__single}). Slots alone, for as many examples in all, reach "
        "{single_long}."
    ),
    "foundation_model": (
        "**Audio LLM.** An audio LLM that was pre-trained on {audio_llm__pretraining_speech_hours} hours of "
        "speech has {audio_llm}, and the composite, tuned on the same slots, {composite} "
        "({audio_llm__against__composite})."
    ),
    "reasoning_mode": (
        "**Reasoning.** A trace before the answer lowers F1 from {regular} to {reasoning}. The paper also "
        "finds a loss by traces, for LLMs of 4 B parameters or fewer ({regular__against__reasoning})."
    ),
    "sense": (
        "**SENSE.** LoRA raises the F1 of entities from {ner} to {ner_lora} and lowers the word error rate "
        "from {transcription} to {transcription_lora}. With the classifier they are {ner_classifier} and "
        "{transcription_classifier}."
    ),
}
"""One or two sentences by study. F1 is of slots, on test set A, unless the sentence names something else."""


def answer() -> str:
    """Return the first existing figure, by profile and then by study, and the answer that it gives."""
    for profile in PROFILES:
        for study, (figure, first, *more) in FIRST.items():
            image = f"results/{profile}/figures/{figure}.png"
            rows = rows_of(profile, study)
            said = _sentences(profile, study, (first, *more))
            if not (PROJECT / image).is_file() or not said:
                continue
            told = " ".join(said)
            seeds = max(int(row["seeds"]) for row in rows.values() if row["seeds"])
            rests_on = f"Study `{study}`, profile `{profile}`, {seeds} seed{'s' * (seeds > 1)} per variant."
            return f'<img src="{image}" width="560" alt="F1 in study {study}">\n\n*{told}* {rests_on}'
    return "No study of the first screen has a record yet."


def found() -> str:
    """Return one line per study of profile `mini`."""
    return _lines("mini", {study: (text,) for study, text in FOUND.items()})


def found_small() -> str:
    """Return one line per study of profile `small`."""
    return _lines("small", FOUND_SMALL)


def _lines(profile: str, texts: dict[str, tuple[str, ...]]) -> str:
    """Return a list with one item per study whose first sentence has all its numbers, and how to read it."""
    lines, widths = [], []
    for study, parts in texts.items():
        if said := _sentences(profile, study, parts):
            lines.append(f"- {' '.join(said)}")
            named = set(re.findall(r"{(\w+)}", " ".join(parts)))
            widths += [_width(row) for name, row in rows_of(profile, study).items() if name in named]
    reading = (
        "In brackets is the verdict on what the paper claims. The numbers' 95 % intervals reach up to "
        f"{max(widths, default=0):.3f} to each side."
    )
    return "\n".join([*lines, "", reading])


def _sentences(profile: str, study: str, parts: tuple[str, ...]) -> list[str]:
    """Return the filled sentences; none where the first one lacks a number."""
    rows, verdicts = rows_of(profile, study), verdicts_of(profile, study)
    said = [filled(text, rows, verdicts) for text in parts]
    return [one for one in said if one] if said[0] else []


def _width(row: Mapping[str, str]) -> float:
    """Return the longer side of the interval of a variant's main metric; 0 without one."""
    name = next((m for m in METRICS if row.get(m)), None)
    ends = [abs(float(row[f"{name}_{end}"]) - float(row[name])) for end in ("low", "high")] if name else [0.0]
    return max(ends)


def rows_of(profile: str, study: str) -> dict[str, dict]:
    """Return variant -> row of a recorded table. Empty if there is no table."""
    file = PROJECT / "results" / profile / "tables" / f"{study}.csv"
    if not file.is_file():
        return {}
    with open(file, encoding="utf-8", newline="") as table:
        return {row["variant"]: row for row in csv.DictReader(table)}


def verdicts_of(profile: str, study: str) -> dict[str, str]:
    """Return `a__against__b` -> recorded verdict on the claim that variant a is ahead of b."""
    file = PROJECT / "results" / profile / "numbers.json"
    rows = json.loads(file.read_text("utf-8"))["rows"] if file.is_file() else {}
    found = ((key.split("/"), row["cells"].get("verdict")) for key, row in rows.items())
    return {
        row.replace("-", "__against__"): cell["shown"]
        for (of, row, *_), cell in found
        if of == study and cell and row.count("-") == 1
    }


def filled(text: str, rows: dict[str, dict], verdicts: Mapping[str, str] | None = None) -> str:
    """Return the text with its numbers and verdicts filled in. Empty if one is missing."""
    shown = dict(verdicts or {})
    for name, row in rows.items():
        numbers = {f"{name}__{column}": value for column, value in row.items() if _is_number(value)}
        main = [row[m] for m in METRICS if row.get(m)]
        shown |= {key: _rounded(value) for key, value in numbers.items()}
        shown |= {name: _rounded(main[0])} if main else {}
    return text.format_map(shown) if set(re.findall(r"{(\w+)}", text)) <= set(shown) else ""


def _is_number(text: str | None) -> bool:
    return bool(re.fullmatch(r"-?\d+(\.\d+)?(e-?\d+)?", text or ""))


def _rounded(number: str) -> str:
    value = float(number)
    return f"{value:.0f}" if value >= 10 else f"{value:.3f}"
