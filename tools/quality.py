"""Generates the table of docs/backbones.md on the quality of the embedded backbones,
from recorded evaluations.
"""

from __future__ import annotations

import json

from front import PROJECT, rows_of

from speechllm_bench.settings.experiments import load_study
from speechllm_bench.stats import with_interval

TESTS = ("A", "B-ID", "B-OOD")  # values of the axis test_set
SYSTEMS = {
    "text": "LLM tuned on gold transcripts (no speech)",
    "composite": "SpeechLLM: MLP adapter and LoRA, transcription, then slots",
    "no_audio": "the same, with the wrong audio",
    "untuned": "LLM on gold transcripts, untuned",
    "chance": "chance copier",
}


def table() -> str:
    """Return the table in Markdown: WER of whisper-mini's own decoder, then F1 of slots
    (partial match) by test set.
    """
    lines = ["| | A | B in-domain | B out-of-domain |", "|---|---|---|---|"]
    heard = json.loads((PROJECT / "zoo/whisper-mini/evaluation.json").read_text("utf-8"))["splits"]
    a, b = (
        with_interval(*(heard[split]["wer"][k] for k in ("value", "low", "high")))
        for split in ("A-test", "B-test")
    )
    lines.append(f"| WER of `whisper-mini`'s own decoder | {a} | {b} | the same audio |")
    study = load_study(PROJECT / "experiments/backbones.yaml")
    rows = {name: {"f1": "", "status": "NOT RUN"} for name in study.variants}
    rows |= rows_of("mini", study.study)
    places = {name: study.place(name).axes for name in study.variants}
    named = {
        (axes.get("system") or axes["control"], axes.get("test_set", TESTS[0])): name
        for name, axes in places.items()
    }
    for system, what in SYSTEMS.items():
        cells = [_cell(rows.get(named.get((system, tested), ""))) for tested in TESTS]
        lines.append(f"| F1, {what} | {' | '.join(cells)} |")
    seeds = sorted({int(row["seeds"]) for row in rows.values() if row.get("seeds")})
    if seeds:
        counted = " to ".join(str(n) for n in sorted({seeds[0], seeds[-1]}))
        lines += ["", f"{counted} seed{'s' * (seeds[-1] > 1)} per row of F1."]
    return "\n".join(lines)


def _cell(row: dict | None) -> str:
    if row is None:
        return "–"
    if not row["f1"]:
        return row["status"]
    value, low, high = (float(row[k]) for k in ("f1", "f1_low", "f1_high"))
    return with_interval(value, low, high)
