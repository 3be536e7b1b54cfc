"""Transcription of a turn. 2510.15851 calls this task AST, which elsewhere means speech translation."""

from __future__ import annotations

from collections.abc import Sequence

from speechllm_bench.metrics import wer
from speechllm_bench.storage.schema import Example, Prediction, Utterance
from speechllm_bench.tasks.metric import RATIO, Metric
from speechllm_bench.tasks.prompt import DIALOGUE, Wordings, user_message
from speechllm_bench.tasks.task import Counted, Draw, Parse, Task

NAME = "transcription"
VERSION = 1
INSTRUCTION: Wordings = {None: "write it down", "english": f"Write down the caller's words.\n{DIALOGUE}"}


def example(utterance: Utterance, draw: Draw) -> Example:
    """Return the question for the transcript, without dialogue context."""
    prompt = user_message([], INSTRUCTION[draw.style])
    return Example(f"{utterance.id}/{NAME}", utterance.id, NAME, prompt, utterance.transcript)


def parse(raw: str) -> str:
    return raw.strip()


WER = Metric("wer", "WER", "words", wer.rate, unit=RATIO, lower_is_better=True, column="with interval")
METRICS = (
    WER,
    Metric("cer", "CER", "characters", wer.rate, unit=RATIO, lower_is_better=True, column="plain"),
    Metric(
        "digit_error_rate", "Digit error rate", "digits", wer.rate, unit=RATIO, lower_is_better=True,
        column="later", always=False, varies_as="wer",
        how="Digit error rate: edits of the digits alone over the digits said.",
    ),
)  # fmt: skip


def count(predictions: Sequence[Prediction], parse: Parse) -> Counted:
    """Return the word and character errors of transcripts, after Whisper's English normaliser.

    If the test set contains any digit, the counts include digit errors.
    """
    counts = {
        "words": [wer.word_counts(p.gold, p.raw) for p in predictions],
        "characters": [wer.char_counts(p.gold, p.raw) for p in predictions],
    }
    versions = {"wer": wer.VERSION}
    digits = [wer.digit_counts(p.gold, p.raw) for p in predictions]
    if any(counted.reference for counted in digits):
        counts["digits"] = digits
        versions["digit_error_rate"] = wer.DIGITS_VERSION
    return Counted(counts, versions)


TASKS = (
    Task(
        NAME,
        VERSION,
        example,
        parse,
        count,
        METRICS,
        main=WER,
        gold=("transcript",),
        how="WER, CER: after Whisper's English normaliser; lower is better.",
    ),
)
