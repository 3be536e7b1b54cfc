"""SQIT, a spoken-question instruction task: the questions of `sit`, spoken and not written.

2510.15851 (Tables 1 and 7) only names the task, so the definition is ours. After the turn the model hears an
instruction in another voice. The written prompt does not contain the question. The encoder frames of both are
concatenated, so adapter, prompt and decoding work as in every other task.
"""

from __future__ import annotations

from speechllm_bench.storage.schema import Example, Utterance
from speechllm_bench.tasks import sit
from speechllm_bench.tasks.prompt import DIALOGUE, Wordings, user_message
from speechllm_bench.tasks.task import Draw, Task

NAME = "sqit"
VERSION = 1
INSTRUCTION: Wordings = {
    None: "follow the spoken instruction",
    "english": f"Answer the question spoken after the caller, in a few words.\n{DIALOGUE}",
}


def example(utterance: Utterance, draw: Draw) -> Example:
    """Return one spoken question. `instruction` is its text; `data.corpora.spoken_instructions` speaks it."""
    asked = sit.question(utterance, draw.slot_types, draw.rng, details=False)
    prompt = user_message([], INSTRUCTION[draw.style])
    further = ((asked.asks,), asked.text)
    return Example(f"{utterance.id}/{NAME}", utterance.id, NAME, prompt, asked.answer, *further)


TASKS = (
    Task(
        NAME,
        VERSION,
        example,
        sit.parse,
        sit.count,
        metrics=(sit.ACCURACY,),
        main=sit.ACCURACY,
        gold=sit.GOLD,
        asks_of_gold=True,
        instructions=tuple(
            text for asks, wordings in sit.WORDINGS.items() if asks != "detail" for text in wordings
        ),
    ),
)
