"""A sample of turns is fixed, and takes the same share of every speaker."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from speechllm_bench.evaluation.sample import TURNS, sampled
from speechllm_bench.storage.schema import Utterance


@pytest.fixture
def turns():
    """300 turns of 24 speakers, who have 1 to 24 turns each."""
    return [
        Utterance(f"s{speaker}/{turn}", "A-test", f"s{speaker}", speaker=f"s{speaker}")
        for speaker in range(1, 25)
        for turn in range(speaker)
    ]


@pytest.mark.parametrize("n", [1, 60, TURNS, 100, 299, 300])
def test_each_speaker_has_its_share_rounded_up_or_down(turns, n):
    chosen = sampled(turns, n)
    assert len(chosen) == n and chosen <= {turn.id for turn in turns}
    of_speaker = Counter(turn.speaker for turn in turns if turn.id in chosen)
    for speaker, of_all in Counter(turn.speaker for turn in turns).items():
        assert abs(of_speaker[speaker] - of_all * n / len(turns)) < 1


def test_a_sample_depends_on_nothing_but_the_turns(turns):
    chosen = sampled(turns, TURNS)
    random.Random(0).shuffle(turns)
    assert sampled(turns, TURNS) == chosen
    assert sampled(turns, 1000) == {turn.id for turn in turns}
    first = {turn.id for turn in sorted(turns, key=lambda turn: turn.id)[:TURNS]}
    assert chosen != first
