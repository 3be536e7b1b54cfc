"""A local LLM as annotator of entities. It reads the transcript, zero-shot or after a few examples."""

from __future__ import annotations

from collections.abc import Sequence

from speechllm_bench.data.annotators import Annotated, Question, entities
from speechllm_bench.models.decoding import decode
from speechllm_bench.models.devices import device
from speechllm_bench.models.llm import load_llm, load_tokenizer
from speechllm_bench.models.speech_llm import SpeechLLM
from speechllm_bench.storage.schema import Utterance
from speechllm_bench.tasks import ner

MAX_NEW_TOKENS = 72


class LLMAnnotator:
    """Asks the untuned backbone `name` the question of the task `ner`, after the examples `shots`."""

    def __init__(self, name: str, shots: Sequence[Utterance], batch_size: int = 50):
        self.shots, self.batch_size = shots, batch_size
        llm = load_llm(name).to(device())
        self._model, self._tokenizer = SpeechLLM(llm, None), load_tokenizer(name)

    def annotate(self, questions: Sequence[Question]) -> Annotated[list[tuple[str, str]]]:
        """Return greedy answers in the order of `questions`: (tag, text) pairs, or None for invalid JSON."""
        said = decode(
            self._model,
            self._tokenizer,
            [entities.shown(question, self.shots) for question in questions],
            [question.utterance for question in questions],
            transcripts=[question.utterance.transcript for question in questions],
            batch_size=self.batch_size,
            max_new_tokens=MAX_NEW_TOKENS,
        )
        return Annotated([ner.parse(prediction.raw) for prediction in said])
