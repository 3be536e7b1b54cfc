"""How large a corpus is, beside what its authors tell."""

from __future__ import annotations

import pytest
from published import write_fluent_speech, write_harper_valley, write_librispeech_slue, write_slurp

from speechllm_bench.commands import doctor
from speechllm_bench.data import corpora
from speechllm_bench.data.corpora import RECORDED, fluent_speech, harper_valley, librispeech_slue, slurp

WRITTEN = [
    ("slurp", write_slurp, {"train": 14, "validation": 14, "A-test": 14}),
    ("fluent_speech", write_fluent_speech, {"train": 4, "validation": 4, "A-test": 4}),
    ("harper_valley", write_harper_valley, {"calls": 60}),
    (
        "librispeech_slue",
        write_librispeech_slue,
        {
            f"{source}, {split}": n
            for source, n in (("LibriSpeech", 4), ("SLUE-VoxPopuli", 4), ("SLUE-VoxCeleb", 3))
            for split in ("train", "validation", "A-test")
        },
    ),
]


@pytest.fixture(autouse=True)
def unread():
    """What other tests have read of a corpus in another folder is forgotten, and so is what these read."""
    modules = (slurp, fluent_speech, harper_valley, librispeech_slue)
    cached = [f for module in modules for f in vars(module).values() if hasattr(f, "cache_clear")]
    for read in cached:
        read.cache_clear()
    yield
    for read in cached:
        read.cache_clear()


@pytest.mark.parametrize(("name", "write", "found"), WRITTEN, ids=[name for name, *_ in WRITTEN])
def test_what_is_there_is_counted_beside_what_was_published(name, write, found, tmp_path, monkeypatch):
    write(tmp_path)
    monkeypatch.setenv("SPEECHLLM_BENCH_DATA", str(tmp_path))
    counts = RECORDED[name].counts()
    assert {part: n for part, (n, _) in counts.items()} == found
    assert all(told > 1000 for _, told in counts.values())


def test_doctor_tells_a_corpus_that_is_other_than_published(tmp_path, monkeypatch):
    write_harper_valley(tmp_path)
    monkeypatch.setenv("SPEECHLLM_BENCH_DATA", str(tmp_path))
    told = doctor._corpus_line("harper_valley")
    assert told.startswith("present") and told.endswith("other than published, calls has 60 and not 1,446")
    monkeypatch.setattr(RECORDED["harper_valley"], "published", {"calls": 60})
    assert corpora.miscounted("harper_valley") == []
    assert doctor._corpus_line("harper_valley").endswith("about 1.5 GiB)")
