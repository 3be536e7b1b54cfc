"""The LLM as annotator: it reads each transcript after the examples, and says None where it says no JSON."""

from __future__ import annotations

import pytest

from speechllm_bench.data import questions
from speechllm_bench.data.annotators import Question, entities
from speechllm_bench.data.corpora import call_centre
from speechllm_bench.models import annotator
from speechllm_bench.models.annotator import LLMAnnotator
from speechllm_bench.models.decoding import decode

TRAIN = call_centre.utterances("train", 12)


@pytest.fixture
def given() -> list[Question]:
    types = call_centre.slot_types()
    return [Question(u, questions.evaluation_example(u, types, "ner")) for u in TRAIN]


def test_each_transcript_is_read_after_the_examples(tiny_backbones, given, monkeypatch):
    asked = {}

    def spy(model, tokenizer, examples, utterances, **rest):
        asked.update(zip((e.prompt for e in examples), rest["transcripts"], strict=True))
        said = decode(model, tokenizer, examples, utterances, **rest | {"max_new_tokens": 2})
        answers = ['{"place": ["rome"]}', "rome", "{}"]
        return [type(p)(**p.to_json() | {"raw": answers[i % 3]}) for i, p in enumerate(said)]

    monkeypatch.setattr(annotator, "decode", spy)
    shots = entities.few_shots(TRAIN, 3)
    found = LLMAnnotator(str(tiny_backbones / "llm"), shots, batch_size=5).annotate(given)
    assert found.answers == [[("PLACE", "rome")], None, []] * 4
    assert asked == {entities.shown(q, shots).prompt: q.utterance.transcript for q in given}


def test_it_says_the_same_whatever_the_batch(tiny_backbones, given, monkeypatch):
    monkeypatch.setattr(annotator, "MAX_NEW_TOKENS", 4)
    name = str(tiny_backbones / "llm")
    together, alone = (LLMAnnotator(name, [], n).annotate(given).answers for n in (12, 1))
    assert together == alone
