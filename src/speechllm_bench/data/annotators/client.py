"""One request to a server that speaks OpenAI's chat protocol: OpenAI itself, or a local vLLM or Ollama.

Answers are kept on disk under the hash of their request, so what was paid for once is never asked for again
and a stopped annotation goes on where it was. The key is sent and nowhere kept.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from speechllm_bench import runs
from speechllm_bench.errors import UserError

OPENAI = "https://api.openai.com/v1"
MODEL = "gpt-4o"  # as in 2510.19326
RETRIED = (408, 409, 429, 500, 502, 503, 504)
LONGEST_WAIT = 60.0  # seconds


@dataclass(frozen=True)
class Server:
    """Where to ask whom. A server of one's own may need no key."""

    base_url: str = OPENAI
    model: str = MODEL
    key: str = field(default="", repr=False)

    @classmethod
    def from_environment(cls) -> Server:
        """Of OPENAI_BASE_URL, OPENAI_MODEL and OPENAI_API_KEY; UserError where OpenAI's own lacks a key."""
        get = os.environ.get
        server = cls(
            get("OPENAI_BASE_URL") or OPENAI, get("OPENAI_MODEL") or MODEL, get("OPENAI_API_KEY", "")
        )
        if httpx.URL(server.base_url).scheme not in ("http", "https"):
            raise UserError(
                f"OPENAI_BASE_URL is '{server.base_url}'; it is to begin with http:// or https://"
            )
        if server.base_url == OPENAI and not server.key:
            raise UserError(
                f"{OPENAI} asks for a key: set OPENAI_API_KEY, or OPENAI_BASE_URL to a server of your own"
            )
        return server


@dataclass(frozen=True)
class Reply:
    text: str
    tokens_in: int
    tokens_out: int
    kept: bool  # read from disk: it costs nothing


class Client:
    """Asks one server, from several threads at once; `retries` counts what was asked again, by reason."""

    def __init__(
        self, server: Server, folder: Path, tries: int = 6, pause: float = 1.0, timeout: float = 120.0
    ):
        """pause: seconds before the second try, doubled with each; timeout: seconds of one try."""
        self.server, self.folder, self.tries, self.pause = server, folder, tries, pause
        self.retries: Counter[str] = Counter()
        self._lock = threading.Lock()
        headers = {"Authorization": f"Bearer {server.key}"} if server.key else {}
        self._http = httpx.Client(base_url=server.base_url, headers=headers, timeout=timeout)

    def ask(self, messages: list[dict], seed: int) -> Reply:
        """The answer to a conversation; another seed asks for another one.

        Raises UserError where nobody answers, the key is refused, or the tries are used up.
        """
        request = {"model": self.server.model, "messages": messages, "temperature": 0.7, "seed": seed}
        digest = runs.digest("chat", self._where, request)
        file = self.folder / f"{digest}.json"
        if file.is_file():
            return Reply(**runs.read_json(file)["reply"], kept=True)
        reply = self._post(request, random.Random(digest))
        with self._lock:
            kept = {"text": reply.text, "tokens_in": reply.tokens_in, "tokens_out": reply.tokens_out}
            runs.write_json(file, {"request": request, "reply": kept})
        return reply

    def close(self) -> None:
        self._http.close()

    def _post(self, request: dict, rng: random.Random) -> Reply:
        reason, asked_to_wait = "", 0.0
        for attempt in range(self.tries):
            if attempt:
                with self._lock:
                    self.retries[reason] += 1
                wait = self.pause * 2 ** (attempt - 1) * rng.uniform(1, 1.5)
                time.sleep(min(LONGEST_WAIT, max(asked_to_wait, wait)))
                asked_to_wait = 0.0
            try:
                answer = self._http.post("chat/completions", json=request)
                if answer.status_code not in RETRIED:
                    self._refuse(answer)
                    return _reply(answer.json())
                reason, asked_to_wait = f"status {answer.status_code}", _retry_after(answer)
            except httpx.ConnectError:
                raise UserError(
                    f"no server answers at {self._where}; start it, or set OPENAI_BASE_URL to one that runs"
                ) from None
            except httpx.TimeoutException:
                reason = "time-out"
            except (httpx.TransportError, ValueError, LookupError, TypeError, AttributeError):
                reason = "unreadable reply"
        raise UserError(
            f"{self._where} gave no answer in {self.tries} tries (last: {reason}); try again later, "
            "what it has answered so far is kept"
        )

    @property
    def _where(self) -> str:
        """The address without a name or password that may stand in it."""
        url = httpx.URL(self.server.base_url)
        return str(url.copy_with(username=None, password=None))

    def _refuse(self, answer: httpx.Response) -> None:
        """UserError for an answer that asking again would not change."""
        if answer.status_code in (401, 403):
            raise UserError(f"{self._where} refuses the key; set OPENAI_API_KEY to one that it knows")
        if answer.is_error:
            told = answer.text.replace(self.server.key or "\0", "...")
            told = " ".join(told.split())[:200]
            raise UserError(
                f"{self._where} refuses the request for model '{self.server.model}' with status "
                f"{answer.status_code} ({told}); set OPENAI_BASE_URL and OPENAI_MODEL to what there is"
            )


def _reply(content: dict) -> Reply:
    """Raises LookupError, TypeError or AttributeError where the protocol's fields are not there."""
    usage = content.get("usage") or {}
    text = content["choices"][0]["message"]["content"]
    if not isinstance(text, str):
        raise TypeError("no text")
    return Reply(text, usage.get("prompt_tokens") or 0, usage.get("completion_tokens") or 0, kept=False)


def _retry_after(answer: httpx.Response) -> float:
    told = answer.headers.get("retry-after", "")
    return float(told) if told.replace(".", "", 1).isdigit() else 0.0
