"""The API annotator: an LLM on a server, such as GPT-4o in 2510.19326 and 2509.04473.

A `Request` defines the task of the LLM. For traces (`TRACES`) the LLM gets the transcript, the slots of the
question and the gold answer, and writes the reasoning. A text is accepted only if the request finds no fault.
Otherwise the LLM is asked again, up to `TEXTS` times.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Generic

from tqdm import tqdm

from speechllm_bench.data.annotators import Annotated, Answer, Question, Request
from speechllm_bench.data.annotators.client import Client, Refused, Reply
from speechllm_bench.metrics import pairs
from speechllm_bench.tasks import slots, trace
from speechllm_bench.tasks.prompt import contains
from speechllm_bench.tasks.trace import Trace
from speechllm_bench.tasks.traced_slots import ABSENT

PRICES = {"gpt-4o": (2.50, 10.00)}
"""US dollars per million input and output tokens: OpenAI's list price of 2025."""

TEXTS = 3  # number of texts requested for a question before it is given up
REFUSED = "refused by the server"

_EXAMPLE = Trace(
    {"arrival_city": "salt lake city"},
    "uh to salt lake city please for two",
    ("salt lake city", "two"),
    {"arrival_city": 'salt lake city since it follows "to"', "travel_date": "not said"},
)
_SYSTEM = (
    "You write down how the slots of a caller's turn are filled, step by step and short, for a model to "
    "learn from. You are given the transcript, the slots asked for and the right answer. Write exactly this "
    "form and nothing else: inside <think> a line `caller:` with the transcript word for word; a line "
    "`found:` with all words of it that may be the value of any slot, copied exactly and separated by commas "
    "(or `nothing`); and for each slot that is asked for, in that order, a line with its name, a colon, and "
    "its value and in a few words of your own what in the transcript speaks for it, or `not said` where it "
    "has none. Then inside <response> the right answer as it is given. For instance:\n"
)


def messages(question: Question) -> list[dict]:
    asked = ", ".join(slots.spoken_name(name) for name in question.example.asked)
    told = (
        f"transcript: {question.utterance.transcript}\nasked: {asked}\n"
        f"right answer: {question.example.target}"
    )
    return [
        {"role": "system", "content": _SYSTEM + trace.write(_EXAMPLE)},
        {"role": "user", "content": told},
    ]


def faults(written: Trace, question: Question) -> list[str]:
    """Return all faults of a whole trace against transcript and gold. Training uses traces without any."""
    said, asked = question.utterance.transcript, question.example.asked
    mentions, reasons, answer = written.mentions or (), written.reasons or {}, pairs(written.answer)
    gold = slots.parse(question.example.target)
    found = {
        "no transcript": not written.transcript,
        "no mentions": written.mentions is None,
        "asked slot without a reason": any(not reasons.get(name) for name in asked),
        "reason for a slot nobody asked for": any(name not in asked for name in reasons),
        "transcript changed": (written.transcript or said).split() != said.split(),
        "mention not in the transcript": any(not contains(said, mention) for mention in mentions),
        "value not in the transcript": any(not contains(said, value) for value in answer.values()),
        "value not among the mentions": any(value not in mentions for value in answer.values()),
        "reason without its value": any(
            not contains(reasons[name], value) or reasons[name].startswith(ABSENT)
            for name, value in answer.items()
            if reasons.get(name)
        ),
        "reason for a value that is not answered": written.answer is not None
        and any(why and not why.startswith(ABSENT) for name, why in reasons.items() if name not in answer),
        "answer unlike gold": written.answer is not None and written.answer != gold,
    }
    return [*written.malformed, *(fault for fault, there in found.items() if there)]


TRACES: Request[Trace] = Request(messages, trace.parse, faults, "traces")


class Api(Generic[Answer]):
    """An annotator that sends questions to `client`, several at once."""

    def __init__(self, client: Client, request: Request[Answer], workers: int = 8, show: bool = True):
        self.client, self.request, self.workers, self.show = client, request, workers, show

    def annotate(self, questions: Sequence[Question]) -> Annotated[Answer]:
        """Return answers in the order of `questions`, and show progress and cost in a bar.

        Raises UserError as `Client.ask` does; earlier answers are kept for the next start. A question that
        the server refuses is given up. If the first question to return was refused, the annotation ends,
        since the cause is probably the model or something that all questions share.
        """
        answers: list[Answer | None] = [None] * len(questions)
        rejected: Counter[str] = Counter()
        spent = [0, 0]  # input and output tokens of replies that did not come from disk
        answered = False
        pool, stop = ThreadPoolExecutor(self.workers), threading.Event()
        try:
            asked = {pool.submit(self._one, question, stop): i for i, question in enumerate(questions)}
            with tqdm(total=len(asked), desc=self.request.unit, unit="turn", disable=not self.show) as bar:
                for done in as_completed(asked):
                    answers[asked[done]], wrong, replies, refusal = done.result()
                    if refusal and not answered:
                        raise refusal
                    answered = True
                    rejected += wrong
                    for reply in replies:
                        spent[0] += reply.tokens_in * (not reply.kept)
                        spent[1] += reply.tokens_out * (not reply.kept)
                    bar.set_postfix_str(
                        f"{cost(self.client.server.model, *spent)}, {rejected.total()} faults"
                    )
                    bar.update()
        finally:
            stop.set()  # requests under way are paid for, so they are awaited; no new ones start
            pool.shutdown(wait=True, cancel_futures=True)
        return Annotated(answers, rejected, cost(self.client.server.model, *spent))

    def _one(
        self, question: Question, stop: threading.Event
    ) -> tuple[Answer | None, Counter[str], list[Reply], Refused | None]:
        """Return the first answer without faults or None, the faults of rejected texts, and all replies.

        The last item is the server's refusal of the question, or None.
        """
        wrong: Counter[str] = Counter()
        replies: list[Reply] = []
        for seed in range(TEXTS):
            if stop.is_set():
                break
            try:
                replies.append(self.client.ask(self.request.messages(question), seed))
            except Refused as refusal:
                return None, wrong + Counter({REFUSED: 1}), replies, refusal
            read = [self.request.parse(text) for text in _readings(replies[-1].text)]
            faults = [self.request.faults(written, question) for written in read]
            for written, found in zip(read, faults):
                if not found:
                    return written, wrong, replies, None
            fewest: list[str] = min(faults, key=len)
            wrong.update(fewest)
        return None, wrong, replies, None


def _readings(text: str) -> list[str]:
    """Return a text as it is, and also without a thought of the LLM itself that some servers leave in it.

    If the chat template opens the thought, the text contains only `</think>`.
    """
    thought, closed, answer = text.partition("</think>")
    own = closed and answer.strip() and thought.count("<think>") <= 1
    return [text, answer.strip()] if own else [text]


def cost(model: str, tokens_in: int, tokens_out: int) -> str:
    """Return a text with the numbers of tokens, and their cost in dollars if the price is known."""
    tokens = f"{tokens_in:,} tokens in, {tokens_out:,} out"
    if model not in PRICES:
        return tokens
    price_in, price_out = PRICES[model]
    return f"{tokens}, ${(tokens_in * price_in + tokens_out * price_out) / 1e6:.2f}"
