"""Error rates of the cascade's recogniser on a profile's test sets. Writes benchmarks/recogniser.md.

    python benchmarks/recogniser.py [PROFILE]     # small by default; test sets that a cascade has read

The recogniser is Whisper with its own decoder, greedy. The suite's metrics score the
transcripts that cascades read.
"""

from __future__ import annotations

import statistics
import sys
from collections import defaultdict
from pathlib import Path

from tabulate import tabulate

from speechllm_bench.evaluation import score
from speechllm_bench.planning import places, studies
from speechllm_bench.running import preparation
from speechllm_bench.stats import with_interval
from speechllm_bench.storage import runs
from speechllm_bench.storage.schema import Utterance

PAGE = """# What the recogniser hears

Profile {profile}: `{encoder}`, its own decoder, greedy, on audio padded to {padding}. {again}

Word, character and digit error rates are after Whisper's normaliser, with 95 % intervals over speakers.
"Median speaker" is the median of the speakers' word error rates. Written by
`python benchmarks/recogniser.py {profile}` on {machine}.

{table}
"""


def scored(turns: list[Utterance], said: dict[str, str]) -> dict:
    """Return the metrics of the transcripts of these turns."""
    return score.score_transcripts(turns, [said[turn.id] for turn in turns])["metrics"]


def row(split: str, turns: list[Utterance], said: dict[str, str]) -> list[str]:
    """Return the table's row of a test set. said: utterance id -> transcript."""
    by_speaker = defaultdict(list)
    for turn in turns:
        by_speaker[turn.speaker].append(turn)
    alone = [scored(own, said)["wer"]["value"] for own in by_speaker.values()]
    found = scored(turns, said)
    rates = (found.get(name) for name in ("wer", "cer", "digit_error_rate"))
    shown = [with_interval(one["value"], one["low"], one["high"]) if one else "" for one in rates]
    return [split, f"{len(turns):,}", str(len(alone)), *shown, f"{statistics.median(alone):.3f}"]


def main(profile: str = "small") -> None:
    config = studies.run("baselines", "cascade", 0, profile).config
    corpus = preparation.corpus_of(config)
    rows = []
    for split in corpus.splits:
        if places.transcripts_file(config, split).is_file():
            said = preparation.ensure_transcripts(config, corpus, split)
            rows.append(row(split, corpus.utterances(split), said))
    columns = ["test set", "turns", "speakers", "WER", "CER", "digit error rate", "median speaker"]
    again = f"A turn whose transcript repeats itself is heard again, padded to {config.asr_fallback}."
    page = PAGE.format(
        profile=profile,
        again=again if config.asr_fallback else "",
        encoder=config.encoder.path,
        padding=config.encoder.padding,
        machine=runs.environment()["processor"],
        table=tabulate(rows, columns, tablefmt="pipe", disable_numparse=True),
    )
    Path(__file__).with_suffix(".md").write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
