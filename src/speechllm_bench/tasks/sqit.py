"""SQIT, a spoken-question instruction task: the questions of `sit`, but heard and not read.

2510.15851 (Tables 1 and 7) names the task and no more; the definition is ours. Behind the turn the model
hears an instruction in another voice; the written prompt does not say what is asked. Both are one stretch
of encoder frames, so adapter, prompt and decoding are those of every other task.
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
    """Ask one question aloud: `instruction` has its words, `data.corpora.spoken_instructions` the voices."""
    asked = sit.question(utterance, draw.slot_types, draw.rng, details=False)
    return Example(
        id=f"{utterance.id}/sqit",
        utterance_id=utterance.id,
        task=NAME,
        prompt=user_message([], INSTRUCTION[draw.style]),
        target=asked.answer,
        asked=(asked.asks,),
        instruction=asked.text,
    )


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
        instructions=tuple(
            text for asks, wordings in sit.WORDINGS.items() if asks != "detail" for text in wordings
        ),
    ),
)
