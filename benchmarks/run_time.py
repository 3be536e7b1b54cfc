"""Time of a profile by phase, from the records of its runs. Writes benchmarks/README.md.

    python benchmarks/run_time.py [PROFILE]

Reads results/<profile>/preparation.json and every run.json; measures nothing itself.
"""

from __future__ import annotations

import sys
from pathlib import Path

from speechllm_bench.planning import studies
from speechllm_bench.storage import paths, runs

PAGE = Path(__file__).with_name("README.md")
PHASES = ("startup", "train", "validate", "decode", "score", "total")


def page(profile: str) -> str:
    prepared = runs.read_json(paths.results(profile) / "preparation.json")
    environment = prepared["environment"]
    lines = [
        "# Where the time goes",
        "",
        f"Times of profile `{profile}`, from stored records, written by `python benchmarks/run_time.py`. "
        f"{environment['processor']}, {environment['cores']} cores, {environment['system']}, "
        f"torch {environment['libraries']['torch']}.",
        "",
        "## Preparation, once",
        "",
        "| what | seconds | a second |",
        "|---|---|---|",
    ]
    n, hours = prepared["utterances"], prepared["speech_seconds"] / 3600
    for what, seconds in prepared["seconds"].items():
        lines.append(f"| {what} of {n:,} utterances | {seconds:.0f} | {n / seconds:.0f} utterances |")
    lines += [
        "",
        f"{hours:.2f} hours of speech; peak memory {prepared['peak_memory_mib']:,} MiB.",
        "",
        "## Runs",
        "",
        "The table is in seconds. A run includes the training of its stages, even if another run did it. "
        "Each run is listed once, under the first study that has it.",
        "",
        "| study | variant | seed | threads | "
        + " | ".join(PHASES)
        + " | examples a second | padding | peak MiB |",
        "|---" * (len(PHASES) + 7) + "|",
    ]
    told: set[str] = set()
    for study in studies.known_studies():
        for row in studies.records(study, profile):
            record, run = row["record"], row["run"]
            if record and run and run.digest not in told:
                told.add(run.digest)
                seconds = " | ".join(f"{record['seconds'].get(phase, 0):.1f}" for phase in PHASES)
                lines.append(
                    f"| {study} | {row['variant']} | {row['seed']} | {record['threads']} | {seconds} | "
                    f"{record['examples_per_second']:.0f} | {record['padding_share']:.1%} | "
                    f"{record['peak_memory_mib']:,} |"
                )
    lines += ["", "[Another page](speed.md) has speed claims as ratios."]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    runs.write_text(PAGE, page(sys.argv[1] if len(sys.argv) > 1 else "smoke"))
    print(f"wrote benchmarks/{PAGE.name}")
