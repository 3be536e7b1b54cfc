"""Tasks: a task's prompt, target and parser stand together in one module.

Each has `example(utterance, slot_types, rng, ood, training, style=...) -> Example` and `parse(raw)`, with
parse(example(...).target) equal to the gold answer. Style changes the words of the prompt and nothing else.
"""

from speechllm_bench.data.tasks import ner, sentiment, sit, slots, sqit, transcription
from speechllm_bench.data.tasks.prompt import AUDIO
from speechllm_bench.data.tasks.traced_slots import FORMS

TASKS = {
    "slots": slots,
    **FORMS,
    "transcription": transcription,
    "sit": sit,
    "sqit": sqit,
    "ner": ner,
    "sentiment": sentiment,
}

__all__ = ["AUDIO", "TASKS"]
