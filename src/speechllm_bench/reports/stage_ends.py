"""How stages ended, where a caption has to say it: trained again, or unable to transcribe."""

from __future__ import annotations

from collections.abc import Sequence

from speechllm_bench.planning.stored_runs import curve_file
from speechllm_bench.planning.studies import Result
from speechllm_bench.storage.outputs import LATER, curve_text, ended, read_curve
from speechllm_bench.storage.schema import SECONDS

LISTED = "The list below the table says for which variants, and where each training ended."


def trained_again(rows: Sequence[Result]) -> list[tuple[str, list[str]]]:
    """Return each stage that was trained again for the same seed, with another result.

    It has a sentence for the caption, and an item for each training, for a list below the table.

    Weights of stages are not stored with the records. A later run that finds no weights trains the stage
    again with the same settings. On another machine the result differs slightly, and so do the rows that
    build on it. Trainings are told apart by their curves.
    """
    ends: dict[tuple[str, str], dict[tuple, tuple[list[str], str]]] = {}  # stage -> curve -> variants, ends
    for row in rows:
        if not (file := curve_file(row)):
            continue
        lines = curve_text(file).splitlines()  # parsing as text is fast enough for all studies at once
        for digest, stage in zip(row["run"].stages, row["run"].config.stages, strict=True):
            mine = (line for line in lines if line.startswith(f"{stage.name},"))
            # Left out: the seconds of no two trainings are equal, and older curves lack the later metric.
            told_apart = (f",train,{SECONDS},", f",{LATER},")
            own = tuple(line for line in mine if not any(part in line for part in told_apart))
            trainings = ends.setdefault((stage.name, digest), {})
            trainings.setdefault(own, ([], ended(own)))[0].append(row["variant"])
    by_seed: dict[tuple, list[list[str]]] = {}  # stage, variants of each training -> by seed, their ends
    for (name, _), trainings in ends.items():
        if len({end for _, end in trainings.values()}) > 1:
            who = tuple(tuple(variants) for variants, _ in trainings.values())
            by_seed.setdefault((name, who), []).append([end for _, end in trainings.values()])
    found = []
    for (name, who), of_seeds in by_seed.items():
        items = [
            f"Stage {name}, training {i + 1}, for {', '.join(variants)}. "
            f"It ended on validation, seed by seed, at: {'; '.join(ended[i] for ended in of_seeds)}."
            for i, variants in enumerate(who)
        ]
        found.append((f"The stage {name} was trained {len(who)} times.", items))
    return found


MOST_NAMED = 6  # variants in a sentence
FAILED = 1.0  # WER of a recogniser that writes nothing at all


def failed(rows: Sequence[Result]) -> list[str]:
    """Return a sentence for each stage of transcription that ended with a WER of 1 or more on validation.

    Several trainings of a stage, such as those of several seeds, share the sentence.
    """
    found: dict[str, dict[str, list[float]]] = {}  # stage -> variant -> its last values
    for row in rows:
        if not (file := curve_file(row)):
            continue
        curve = read_curve(file)
        of_words = curve[(curve["split"] == "validation") & (curve["metric"] == "wer")]
        for stage, values in of_words.groupby("stage", sort=False)["value"]:
            if values.iloc[-1] >= FAILED:
                found.setdefault(str(stage), {}).setdefault(row["variant"], []).append(values.iloc[-1])
    said = []
    for stage, variants in found.items():
        ends = sorted(value for values in variants.values() for value in values)
        between = f"{ends[0]:.2f}" if ends[0] == ends[-1] else f"{ends[0]:.2f} to {ends[-1]:.2f}"
        others = len(variants) - MOST_NAMED
        named = ", ".join([*variants][:MOST_NAMED]) + (f" and {others} more" if others > 0 else "")
        said.append(
            f"After the stage {stage} a model cannot transcribe: its WER on validation turns is {between} "
            f"({named})."
        )
    return said
