"""Turns that are heard one by one, without a corpus on disk."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from speechllm_bench.data.corpora import store
from speechllm_bench.data.corpora.single_turns import SingleTurns
from speechllm_bench.running import preparation
from speechllm_bench.settings.corpus_config import CorpusConfig

CORPUS = CorpusConfig(name="call_centre", sizes={"train": 2, "validation": 1, "A-test": 3, "B-test": 1})


def test_a_turn_alone_is_that_of_the_corpus(home, tmp_path):
    profile = SimpleNamespace(corpus=CORPUS, profile="tiny")
    asked = []
    turns = SingleTurns(CORPUS, tmp_path / "turns", lambda: asked.append("spoken"))
    heard = turns.audio("A-test", 2)
    assert turns.audio("A-test", 2) is heard and asked == ["spoken"]  # spoken once

    without = preparation.corpus_to_hear(profile)
    assert isinstance(without, SingleTurns) and not preparation.corpus_folder(CORPUS).exists()
    corpus = preparation.ensure_corpus(CORPUS, n_workers=1)
    assert isinstance(preparation.corpus_to_hear(profile), store.Corpus)
    assert turns.utterances("A-test") == corpus.utterances("A-test") and turns.utterances("C-test") == []
    np.testing.assert_array_equal(heard, corpus.audio("A-test", 2))
    np.testing.assert_array_equal(turns.n_samples("A-test"), corpus.n_samples("A-test"))
