"""Writes files of a profile that other machines need: its corpus as clips, its data card, its test turns.

    python tools/ship.py small

Run it on the machine where the profile's corpus was synthesized. Trained weights are shipped as they are:
`git add --force results/small/stages/DIGEST`.
"""

from __future__ import annotations

import sys

from speechllm_bench.commands import answering_again
from speechllm_bench.data import corpora
from speechllm_bench.data.clips import Clips
from speechllm_bench.data.corpora import shipped
from speechllm_bench.planning import studies
from speechllm_bench.running import preparation
from speechllm_bench.storage import paths

TEST_SPLITS = ("A-test", "B-test", "C-test")

ABOUT = """
This is the data card of the corpus of profile `{profile}`. `tools/ship.py` writes it. The corpus itself lies
in `.cache/corpora` once it is built from the speech in `clips`.
"""


def write_card(profile: str) -> None:
    """Write the data card of the profile's corpus, which is built where it is missing."""
    corpus = preparation.ensure_corpus(studies.profile_named(profile).corpus, n_workers=1)
    _, _, card = corpus.card().split("---\n", 2)  # without the header, whose paths are those of the corpus
    title, text = card.strip().split("\n", 1)
    about = ABOUT.format(profile=profile)
    (paths.results(profile) / "corpus.md").write_text(f"{title}\n{about}{text}\n", "utf-8")


def main(profile: str) -> None:
    corpus = studies.profile_named(profile).corpus
    splits = [split for split in TEST_SPLITS if split in corpus.sizes]
    clips = Clips(preparation.clips_folder())
    shipped.write(corpus, splits, clips, answering_again.turns_folder(profile))
    turns = [turn for split in corpora.utterances(corpus).values() for turn in split]
    spoken = [(turn.transcript, turn.voice) for turn in turns if turn.voice]
    clips.pack(spoken, paths.results(profile) / "clips")
    write_card(profile)
    files = (f for part in ("clips", "turns", "stages") for f in paths.results(profile).glob(f"{part}/**/*"))
    total = sum(file.stat().st_size for file in files)
    print(f"{total / 1e6:.1f} MB")


if __name__ == "__main__":
    main(*sys.argv[1:])
