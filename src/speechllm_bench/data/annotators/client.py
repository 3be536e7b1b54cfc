"""Sends requests to a server with OpenAI's chat protocol: OpenAI itself, or a local vLLM or Ollama.

Answers are stored on disk under the hash of their request. So no request is paid for twice, and a stopped
annotation can resume. The API key is sent, but never stored.
"""

from __future__ import annotations

import os
import re
import threading
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import openai
from openai.types.chat import ChatCompletion

from speechllm_bench.data.annotators.bounded import bounded_client
from speechllm_bench.errors import UserError
from speechllm_bench.storage import runs, sealed

OPENAI = "https://api.openai.com/v1"
MODEL = "gpt-4o"  # as in 2510.19326
READINGS = 3  # requests for one answer, if replies do not follow the protocol


@dataclass(frozen=True)
class Server:
    """Address, model and API key of a server. A server of the user may need no key."""

    base_url: str = OPENAI
    model: str = MODEL
    key: str = field(default="", repr=False)

    @classmethod
    def from_environment(cls) -> Server:
        """Return the server set by OPENAI_BASE_URL, OPENAI_MODEL and OPENAI_API_KEY.

        Raises UserError for an invalid address or key, and for OpenAI's own server without a key.
        """
        get = os.environ.get
        server = cls(
            get("OPENAI_BASE_URL") or OPENAI, get("OPENAI_MODEL") or MODEL, get("OPENAI_API_KEY", "")
        )
        if not _is_address(server.base_url):
            raise UserError(
                f"OPENAI_BASE_URL is '{_shown(server.base_url)}'; it is to be an address that begins with "
                "http:// or https://, such as http://localhost:11434/v1"
            )
        if not (server.key.isascii() and server.key.isprintable()):
            raise UserError("OPENAI_API_KEY has a line break or a letter with an accent; copy the key again")
        if server.base_url == OPENAI and not server.key:
            raise UserError(
                f"{OPENAI} asks for a key: set OPENAI_API_KEY, or OPENAI_BASE_URL to a server of your own"
            )
        return server


class Refused(UserError):
    """The server refuses this one request, but it may answer others."""


@dataclass(frozen=True)
class Reply:
    text: str
    tokens_in: int
    tokens_out: int
    kept: bool  # True: read from disk, so it costs nothing
    whole: bool = True  # False: cut off at the server's limit of tokens


class Client:
    """Sends requests to one server. Several threads may share it."""

    def __init__(self, server: Server, folder: Path, tries: int = 8, timeout: float = 120.0):
        """folder: for stored answers. tries: attempts per request, with growing pauses, if the server is busy
        or fails. timeout: seconds per attempt.
        """
        self.server, self.folder, self.tries = server, folder, tries
        self._lock = threading.Lock()
        url = urlsplit(server.base_url)
        self._openai = openai.OpenAI(
            base_url=url._replace(query="", fragment="").geturl(),
            default_query=dict(parse_qsl(url.query)),
            api_key=server.key or "none",  # the client needs some key, but the user's server may not
            timeout=timeout,
            max_retries=tries - 1,
            http_client=bounded_client(timeout),
        )

    def ask(self, messages: list[dict], seed: int) -> Reply:
        """Return the answer to a conversation. Another seed requests another answer.

        Raises UserError if no server answers, the key is refused, or all tries failed; `Refused` if only this
        request is refused. A cut-off answer is not stored, since another limit gives another answer.
        """
        request = {"model": self.server.model, "messages": messages, "temperature": 0.7, "seed": seed}
        file = self.folder / f"{runs.digest('chat', self.where, request)}.json"
        if file.is_file():
            return _whole_letters(_kept(file))
        reply = self._request(request)
        if not reply.whole:
            return reply
        with self._lock:
            kept = {"text": reply.text, "tokens_in": reply.tokens_in, "tokens_out": reply.tokens_out}
            sealed.write(file, {"request": request, "reply": kept}, {})
        return reply

    def close(self) -> None:
        self._openai.close()

    def _request(self, request: dict) -> Reply:
        for _ in range(READINGS):
            try:
                return _whole_letters(_reply(self._openai.chat.completions.create(**request)))
            except openai.APITimeoutError:
                raise self._silent("time-out") from None
            except openai.APIConnectionError as error:
                if isinstance(error.__cause__, UserError):
                    raise error.__cause__ from None
                raise UserError(
                    f"no server answers at {self.where}; start it, or set OPENAI_BASE_URL to one that runs"
                ) from None
            except openai.APIStatusError as error:
                raise self._refused(error) from None
            # Other errors from replies that are cut off or lack fields of the protocol.
            except (openai.APIResponseValidationError, RecursionError):
                continue
            except (ValueError, LookupError, TypeError, AttributeError):
                continue
        raise UserError(
            f"{self.where} gave {READINGS} replies that cannot be read; set OPENAI_BASE_URL to a server "
            "that speaks OpenAI's chat protocol"
        )

    @property
    def where(self) -> str:
        """The server's address without a user name, password or key that it may contain."""
        return _shown(self.server.base_url)

    def _secrets(self) -> list[str]:
        """Return texts that may be keys or passwords, and must not appear in messages."""
        url = urlsplit(self.server.base_url)
        beside = [url.password, *(value for _, value in parse_qsl(url.query))]
        return [secret for secret in (self.server.key, *beside) if secret]

    def _silent(self, reason: str) -> UserError:
        return UserError(
            f"{self.where} gave no answer in {self.tries} tries (last: {reason}); try again later, "
            "what it has answered so far is kept"
        )

    def _refused(self, error: openai.APIStatusError) -> UserError:
        if 300 <= error.status_code < 400:
            host = urlsplit(error.response.headers.get("location", "")).netloc.rpartition("@")[2]
            return UserError(
                f"{self.where} sends requests on to {host or 'another place of its own'}, which this suite "
                "does not follow; set OPENAI_BASE_URL to the server that is to answer"
            )
        if error.status_code in (401, 403):
            return UserError(f"{self.where} refuses the key; set OPENAI_API_KEY to one that it knows")
        if error.code == "insufficient_quota":
            return UserError(f"the account at {self.where} has no credit left; what it has answered is kept")
        if error.status_code in (408, 409, 429) or error.status_code >= 500:
            return self._silent(f"status {error.status_code}")
        told = error.response.text
        for secret in self._secrets():
            told = told.replace(secret, "...")
        told = "".join(c for c in " ".join(told.split()) if c.isprintable())[:200]
        return (Refused if error.status_code in (400, 413, 422) else UserError)(
            f"{self.where} refuses the request for model '{self.server.model}' with status "
            f"{error.status_code} ({told}); set OPENAI_BASE_URL and OPENAI_MODEL to what there is"
        )


def _reply(answer: ChatCompletion) -> Reply:
    """Return the reply in a completion.

    Raises LookupError, TypeError or AttributeError if fields of the protocol are missing. An LLM that refuses
    to answer, or whose thought uses up the tokens, returns no content. This becomes an empty text.
    """
    choice, usage = answer.choices[0], answer.usage
    text = "" if choice.message.content is None else choice.message.content
    if not isinstance(text, str):
        raise TypeError("no text")
    tokens = _count(usage, "prompt_tokens"), _count(usage, "completion_tokens")
    return Reply(text, *tokens, kept=False, whole=getattr(choice, "finish_reason", None) != "length")


def _count(usage: object, name: str) -> int:
    """Return a number of tokens that the server reports; 0 if it reports none or no valid number."""
    told = getattr(usage, name, 0)
    return told if type(told) is int and told >= 0 else 0


def _kept(file: Path) -> Reply:
    stored = sealed.read(file, "delete this file, and the server is asked once more")
    return Reply(**stored["reply"], kept=True)


def _whole_letters(reply: Reply) -> Reply:
    """Replace lone surrogates, which JSON can contain ("\\ud83d") but UTF-8 files cannot."""
    return replace(reply, text=re.sub("[\ud800-\udfff]", "\ufffd", reply.text))


def _shown(address: str) -> str:
    """Return an address without its secret parts. The text need not be a valid address."""
    address = re.sub(r"[?#].*", "", address, flags=re.S)
    scheme, slashes, _ = address.partition("//")
    place = address.rpartition("@")[2]
    return f"{scheme}{slashes}{place}" if slashes and "@" in address else place


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 (a port that is no number raises here)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname)
