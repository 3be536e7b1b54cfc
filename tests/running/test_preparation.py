"""Tests of inputs that runs share."""

from __future__ import annotations

import pytest

from speechllm_bench.models import bf16, encoder
from speechllm_bench.running import preparation


def test_frames_in_bf16_and_in_fp32_are_kept_apart(tiny_run, tiny_data, monkeypatch):
    config = tiny_run().model_copy(update={"precision": "mixed"})
    corpus = preparation.ensure_corpus(config.corpus, 1)
    found = {}
    for in_bf16 in (False, True):  # a machine without fast bf16, and one with it
        monkeypatch.setattr(bf16, "computes_in_bf16", lambda precision, device, here=in_bf16: here)
        found[in_bf16] = preparation.ensure_frames(config, corpus)
    assert found[True].folder != found[False].folder
    assert found[True].key == found[False].key | {"bf16": True}


def test_encoding_goes_on_after_a_stop_and_gives_the_same_frames(tiny_run, tiny_data, monkeypatch):
    config = tiny_run()
    corpus = preparation.ensure_corpus(config.corpus, 1)
    whole = preparation.ensure_frames(config, corpus)
    expected = (whole.folder / "frames.bin").read_bytes()
    preparation.runs.remove(whole.folder)
    monkeypatch.setattr(preparation, "CHECKPOINT_SECONDS", 0)
    encoded, encode = [], encoder.encode

    def counted(model, audio, *settings):
        if stops and len(encoded) > 1:
            raise KeyboardInterrupt
        encoded.append(len(audio))
        return encode(model, audio, *settings)

    monkeypatch.setattr(encoder, "encode", counted)
    stops = True
    with pytest.raises(KeyboardInterrupt):
        preparation.ensure_frames(config, corpus)
    assert not whole.folder.exists()
    stops = False
    again = preparation.ensure_frames(config, corpus)
    assert (again.folder / "frames.bin").read_bytes() == expected
    assert len(encoded) == len(corpus.splits)  # each split has one chunk here, and none was encoded twice
