"""Generates the numbers of the README from recorded tables: the answer of the first figure, and the findings.

No number is typed by hand. Sentences name variants, and the tables give their main metric.
"""

from __future__ import annotations

import csv
import re
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
        "The cascade has {cascade}.",
        "A model that hears the wrong audio has {no_audio}.",
    ),
}
"""Studies for the first screen of the README: a figure, and sentences that name its variants."""

FOUND_SMALL = {
    "baselines": (
        "**Baselines.** The text LLM on gold transcripts has an F1 of {gold}, the cascade {cascade} and the "
        "SpeechLLM {speechllm}. In the paper the SpeechLLM is ahead of the cascade.",
        "On slot types that training never asked for they have {gold_b_ood}, {cascade_b_ood} and "
        "{speechllm_b_ood}. The whole transcript in every slot has {whole_transcript_b_ood} there.",
    ),
    "lora": (
        "**LoRA.** LoRA raises F1 behind the MLP adapter from {mlp} to {mlp_lora}, as the paper finds. The "
        "whole transcript in every slot has {whole_transcript}, and a model that hears the wrong audio "
        "{no_audio}.",
    ),
    "multistage": (
        "**Stages.** Transcription before slots changes F1 from {single} to {multistage_c}; the paper finds "
        "a gain.",
    ),
    "adapter_reading": (
        "**Adapters.** Before an LLM that has learned slots from text and is then frozen, the MLP reaches "
        "{mlp} and the CNN {cnn}.",
        "The Transformer reaches {transformer}; in the paper it is the best adapter.",
        "CNN-XL, larger than the CNN, reaches {cnn_xl}.",
    ),
    "fresh_test": (
        "**Fresh turns.** On test set C, which no choice has seen, the text LLM has {gold_c}, the cascade "
        "{cascade_c} and the SpeechLLM {speechllm_c}.",
    ),
}
"""Sentences by study, for profile `small`. All but the first are left out where a variant has no number."""

FOUND = {
    "adapter_size": (
        "**Adapters.** With a frozen LLM the MLP reaches an F1 of {mlp}, the CNN {cnn}, CNN-XL {cnn_xl}, the "
        "Transformer {transformer} and the Linear adapter {linear}. A chance copier has {chance}. The "
        "Transformer is the paper's best adapter."
    ),
    "baselines": (
        "**Baselines.** The text LLM on gold transcripts has {gold}, the cascade {cascade} and the SpeechLLM "
        "{speechllm}. On slot types that training never asked for they have {gold_b_ood}, {cascade_b_ood} "
        "and {speechllm_b_ood}. In the paper the SpeechLLM is ahead of the cascade on seen slot types."
    ),
    "multistage": (
        "**Stages.** Transcription before slots raises F1 from {single} to {multistage_c}. Slots alone, for "
        "as many examples in all, reach {single_long}."
    ),
    "foundation_model": (
        "**Audio LLM.** An audio LLM that was pre-trained on 63 hours of speech has {audio_llm}, and the "
        "composite, tuned on the same slots, {composite}."
    ),
    "reasoning_mode": (
        "**Reasoning.** A trace before the answer lowers F1 from {regular} to {reasoning}. The paper also "
        "finds a loss by traces, for LLMs of 4 B parameters or fewer."
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
            if not (PROJECT / image).is_file() or not (said := filled(first, rows)):
                continue
            told = " ".join([said, *(s for text in more if (s := filled(text, rows)))])
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
    """Return a list with one item per study whose first sentence has all its numbers."""
    lines = []
    for study, (first, *more) in texts.items():
        rows = rows_of(profile, study)
        if said := filled(first, rows):
            lines.append(" ".join([f"- {said}", *(s for text in more if (s := filled(text, rows)))]))
    return "\n".join(lines)


def rows_of(profile: str, study: str) -> dict[str, dict]:
    """Return variant -> row of a recorded table. Empty if there is no table."""
    file = PROJECT / "results" / profile / "tables" / f"{study}.csv"
    if not file.is_file():
        return {}
    with open(file, encoding="utf-8", newline="") as table:
        return {row["variant"]: row for row in csv.DictReader(table)}


def filled(text: str, rows: dict[str, dict]) -> str:
    """Return the text with each variant's main metric filled in. Empty if a variant has none."""
    values = {name: [row[m] for m in METRICS if row.get(m)] for name, row in rows.items()}
    shown = {name: f"{float(of[0]):.3f}" for name, of in values.items() if of}
    return text.format_map(shown) if set(re.findall(r"{(\w+)}", text)) <= set(shown) else ""
