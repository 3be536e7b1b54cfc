"""Tasks: a task's prompt, target and parser stand together in one module.

Each has `example(utterance, slot_types, rng, ood, training) -> Example` and `parse(raw)`, with
parse(example(...).target) equal to the gold answer.
"""

from speechllm_bench.data.tasks import slots, transcription
from speechllm_bench.data.tasks.prompt import AUDIO
from speechllm_bench.data.tasks.traced_slots import FORMS

TASKS = {"slots": slots, "transcription": transcription, **FORMS}

__all__ = ["AUDIO", "TASKS"]
