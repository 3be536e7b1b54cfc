"""Tests of inputs that runs share."""

from __future__ import annotations

from speechllm_bench.models import bf16
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
