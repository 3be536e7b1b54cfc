"""Recognition of real recordings of digits by a trained model. Writes benchmarks/recordings.md.

    python benchmarks/recordings.py [STUDY VARIANT]     # lora mlp_lora of profile small by default

The recordings are those of the Free Spoken Digit Dataset below SPEECHLLM_BENCH_DATA: ten digits by each of
six speakers, 8 kHz. They are tested one by one, and as codes of five digits of one speaker, 0.2 s apart.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from tabulate import tabulate

from speechllm_bench.commands import asking
from speechllm_bench.data import audio
from speechllm_bench.metrics import wer
from speechllm_bench.storage import runs

PROFILE = "small"
ASKED = {"one digit": ["digit"], "five digits": ["account number"]}
PAUSE = np.zeros(audio.SAMPLE_RATE // 5, np.float32)
PAGE = """# Real recordings

Profile {profile}, the Free Spoken Digit Dataset: ten digits by each of six speakers, recorded at 8 kHz. "One
digit" asks each recording for the slot `digit`. "Five digits" joins five recordings of a speaker, 0.2 s
apart, and asks for the slot `account_number`. An answer is right if it has exactly the digits
that are said. The digit error rate counts substituted, missing and extra digits per digit said. The models
were trained on synthetic voices alone. Written by `python benchmarks/recordings.py` on {machine}.

{table}
"""


def recordings(folder: Path) -> Iterator[tuple[str, str, np.ndarray]]:
    """Yield the row of the table, the digits said, and the samples (n,) at 16 kHz."""
    for speaker in sorted({file.stem.split("_")[1] for file in folder.glob("*.wav")}):
        said = [audio.read_audio(folder / f"{digit}_{speaker}_0.wav") for digit in range(10)]
        for digit, samples in enumerate(said):
            yield "one digit", str(digit), samples
        for digits in ((0, 1, 2, 3, 4), (5, 6, 7, 8, 9)):
            parts = [part for digit in digits for part in (said[digit], PAUSE)]
            yield "five digits", "".join(map(str, digits)), np.concatenate(parts[:-1])


def main(study: str = "lora", variant: str = "mlp_lora") -> None:
    model = asking.load(study, variant, PROFILE)
    reader = asking.cascade(model.run)
    told: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for row, digits, samples in recordings(Path(os.environ["SPEECHLLM_BENCH_DATA"]) / "fsdd"):
        answer = model.ask(samples, ASKED[row], cascade=reader)
        told.setdefault((row, "recogniser alone"), []).append((digits, answer.transcript))
        for one in filter(None, (answer, answer.cascade)):
            value = " ".join(map(str, one.slots.values()))
            told.setdefault((row, one.model), []).append((digits, value))
        print(digits, answer, flush=True)
    rows = []
    for (row, name), pairs in told.items():
        counts = np.array([wer.digit_counts(digits, said) for digits, said in pairs])
        rows.append(
            [row, name, f"{(counts[:, 0] == 0).sum()} of {len(pairs)}", f"{wer.rate(counts.sum(0)):.2f}"]
        )
    columns = ["recordings", "system", "right", "digit error rate"]
    table = tabulate(rows, columns, tablefmt="pipe", disable_numparse=True)
    page = PAGE.format(profile=PROFILE, machine=runs.environment()["processor"], table=table)
    Path(__file__).with_suffix(".md").write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
