"""An HTTP client with limits on the time and size of each whole reply. It follows no redirects.

The time-outs of HTTP libraries apply to single reads. A server that sends a byte now and then never exceeds
them.
"""

from __future__ import annotations

import importlib
import queue
import threading
import time

import openai

from speechllm_bench.errors import UserError

LARGEST_REPLY = 16 * 2**20  # bytes; an LLM's answer has thousands

# The HTTP library that this version of `openai` uses: httpx or httpx2.
_HTTP = importlib.import_module(
    next(
        base.__module__ for base in openai.DefaultHttpxClient.__mro__ if base.__name__ == "Client"
    ).partition(".")[0]
)


def bounded_client(seconds: float):
    """Return an HTTP client for openai.OpenAI. Raises UserError for unusable network settings."""
    try:
        return _Bounded(seconds)
    except (ImportError, OSError, ValueError) as error:
        raise UserError(
            f"the settings of the network cannot be used ({error}); correct or unset ALL_PROXY, HTTPS_PROXY, "
            "HTTP_PROXY, SSL_CERT_FILE and SSL_CERT_DIR"
        ) from None


class _Bounded(openai.DefaultHttpxClient):
    def __init__(self, seconds: float) -> None:
        super().__init__(timeout=seconds, follow_redirects=False)
        self._seconds = seconds

    def send(self, request, *, stream: bool = False, **options):
        """Return a response that was read completely.

        Another thread does the request, so that a server that sends its headers slowly cannot block this one.
        """
        ended: queue.SimpleQueue = queue.SimpleQueue()
        deadline = time.monotonic() + self._seconds

        def work() -> None:
            try:
                ended.put((self._read(super(_Bounded, self).send, request, deadline, options), None))
            except BaseException as error:
                ended.put((None, error))

        threading.Thread(target=work, daemon=True).start()
        try:
            response, error = ended.get(timeout=self._seconds)
        except queue.Empty:
            raise self._late(request) from None
        if error:
            raise error
        return response

    def _read(self, send, request, deadline: float, options: dict):
        response = send(request, stream=True, **options | {"follow_redirects": False})
        body, size = [], 0
        try:
            for chunk in response.iter_bytes():
                body.append(chunk)
                size += len(chunk)
                if size > LARGEST_REPLY:
                    raise UserError(
                        f"{request.url.host} sends a reply of more than {LARGEST_REPLY // 2**20} MiB, which "
                        "no answer is; set OPENAI_BASE_URL to a server that speaks OpenAI's chat protocol"
                    )
                if time.monotonic() > deadline:
                    raise self._late(request)
        finally:
            response.close()
        left_out = ("content-encoding", "content-length", "transfer-encoding")
        headers = [(k, v) for k, v in response.headers.multi_items() if k.lower() not in left_out]
        return type(response)(response.status_code, headers=headers, content=b"".join(body), request=request)

    def _late(self, request):
        return _HTTP.ReadTimeout(f"no whole reply in {self._seconds:g} s", request=request)
