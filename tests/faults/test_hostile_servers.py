"""Servers that an annotator may meet: endless, huge, elsewhere, thinking aloud; a network set up wrong."""

from __future__ import annotations

import json
import sys
import threading
from collections import Counter
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "data"))

from test_annotators import QUESTION, RIGHT
from test_annotators_api import KEY, annotator, client, said, serve, waited  # noqa: F401

from speechllm_bench.data.annotators import api, bounded, entities, stored
from speechllm_bench.data.annotators.client import Client, Server
from speechllm_bench.errors import UserError
from speechllm_bench.storage import sealed
from speechllm_bench.tasks import trace

ASKED = [{"role": "user", "content": "x"}]


def test_half_a_letter_is_replaced_now_and_in_what_was_kept(serve, home, tmp_path):  # noqa: F811
    server = serve(lambda request, n: (200, said('{"person": "ann \ud83d"}')))
    folder = tmp_path / "kept"
    first = client(server, folder).ask(ASKED, 0)
    assert first.text == '{"person": "ann \ufffd"}'
    (file,) = folder.glob("*.json")
    kept = sealed.without(json.loads(file.read_text()))
    kept["reply"]["text"] = '{"person": "ann \ud83d"}'  # as earlier versions kept it
    sealed.write(file, kept)
    again = client(server, folder).ask(ASKED, 0)
    assert again.kept and again.text == first.text
    shots = entities.request([])
    found = api.Api(client(server, folder), shots, show=False).annotate([QUESTION])
    name = stored.write_labels([QUESTION], found, "tiny")
    assert stored.read_labels(name) == {QUESTION.utterance.id: [("PERSON", "ann \ufffd")]}


@pytest.mark.parametrize("body", [b"[" * 200_000, b'{"choices": ' + b"[" * 200_000])
def test_brackets_without_end_are_a_reply_that_cannot_be_read(serve, tmp_path, body):  # noqa: F811
    server = serve(lambda request, n: (200, body))
    with pytest.raises(UserError, match="gave 3 replies that cannot be read"):
        client(server, tmp_path).ask(ASKED, 0)


def test_brackets_without_end_in_an_answer_are_no_answer(serve, tmp_path):  # noqa: F811
    server = serve(lambda request, n: (200, said("{" + "[" * 200_000 + "}")))
    for request in (api.TRACES, entities.request([])):
        found = api.Api(client(server, tmp_path), request, show=False).annotate([QUESTION])
        assert found.answers == [None] and found.rejected


@pytest.mark.parametrize("told", ["many", [1], 1e999, -5, None, True])
def test_tokens_that_are_no_number_count_as_none(serve, tmp_path, told):  # noqa: F811
    server = serve(lambda request, n: (200, said("{}", prompt_tokens=told)))
    for _ in range(2):  # from the server, and then as it was kept
        reply = client(server, tmp_path).ask(ASKED, 0)
        assert (reply.text, reply.tokens_in, reply.tokens_out) == ("{}", 0, 20)


@pytest.mark.parametrize("slow", ["headers", "body"])
def test_a_byte_now_and_then_is_a_time_out(serve, tmp_path, slow):  # noqa: F811
    ended = threading.Event()

    class Dripping:
        """In place of a server's file: each byte alone, until the client has given up."""

        def __init__(self, file):
            self.file = file

        def write(self, data):
            if slow == "headers" or not data.startswith(b"HTTP"):
                for i in range(len(data)):
                    self.file.write(data[i : i + 1])
                    self.file.flush()
                    if ended.wait(0.05):
                        return
            else:
                self.file.write(data)

        def __getattr__(self, name):
            return getattr(self.file, name)

    server = serve(lambda request, n: (200, said("x" * 100_000)))
    handler = server.RequestHandlerClass
    server.RequestHandlerClass = type(
        "Slow",
        (handler,),
        {"setup": lambda self: (handler.setup(self), setattr(self, "wfile", Dripping(self.wfile)))},
    )
    try:
        with pytest.raises(UserError, match="gave no answer in 2 tries \\(last: time-out\\)"):
            client(server, tmp_path, timeout=0.5, tries=2).ask(ASKED, 0)
    finally:
        ended.set()
    assert server.asked.total() == 2


@pytest.mark.parametrize("status", [200, 400])
def test_a_reply_without_end_is_not_read_whole(serve, tmp_path, monkeypatch, status):  # noqa: F811
    monkeypatch.setattr(bounded, "LARGEST_REPLY", 2**20)
    sent = Counter()

    def behave(request, n):
        sent["asked"] += 1
        return status, b"x" * 20 * 2**20

    server = serve(behave)
    with pytest.raises(UserError, match="127.0.0.1 sends a reply of more than 1 MiB, which no answer is"):
        client(server, tmp_path).ask(ASKED, 0)
    assert sent["asked"] == 1 and not list(tmp_path.iterdir())


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_told_and_not_followed(serve, tmp_path, status):  # noqa: F811
    other = serve(lambda request, n: (200, said(trace.write(RIGHT))))
    location = other.url.replace("://", "://me:hidden@") + "/chat/completions"
    server = serve(lambda request, n: (status, b"", {"Location": location}))
    with pytest.raises(UserError) as error:
        client(server, tmp_path).ask(ASKED, 0)
    host = f"127.0.0.1:{other.server_port}"
    assert f"{server.url} sends requests on to {host}, which this suite does not follow" in str(error.value)
    assert "hidden" not in str(error.value)
    assert not other.asked and server.asked.total() == 1


def test_a_key_in_the_address_is_sent_and_never_told(serve, tmp_path):  # noqa: F811
    echo = f"bad request with {KEY}".encode()
    server = serve(lambda request, n: (404, echo) if n else (200, said("yes")))
    one = Client(Server(f"{server.url}?key={KEY}", "tiny"), tmp_path, timeout=5.0)
    assert one.ask(ASKED, 0).text == "yes"
    assert server.paths == {f"/v1/chat/completions?key={KEY}"}
    assert one.where == server.url and KEY not in "".join(f.read_text() for f in tmp_path.iterdir())
    with pytest.raises(UserError, match="bad request with \\.\\.\\.") as error:
        one.ask(ASKED, 1)
    assert KEY not in str(error.value)


@pytest.mark.parametrize("address", [f"htp://host/v1?key={KEY}", f"htp://me:{KEY}@host/v1", f"me:{KEY}@host"])
def test_a_key_in_a_wrong_address_is_not_told(monkeypatch, address):
    monkeypatch.setenv("OPENAI_BASE_URL", address)
    with pytest.raises(UserError, match="OPENAI_BASE_URL is '") as error:
        Server.from_environment()
    assert KEY not in str(error.value) and "host" in str(error.value)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("ALL_PROXY", "socks5://localhost:1"),
        ("ALL_PROXY", "ftp://localhost:1"),
        ("SSL_CERT_FILE", "/no/such/file"),
    ],
)
def test_a_network_set_up_wrong_is_one_sentence(monkeypatch, tmp_path, variable, value):
    monkeypatch.setenv(variable, value)
    with pytest.raises(UserError) as error:
        Client(Server("https://127.0.0.1:9/v1", "tiny", KEY), tmp_path, tries=1).ask(ASKED, 0)
    told = str(error.value)
    assert "the settings of the network cannot be used" in told and variable in told


@pytest.mark.parametrize(
    "before", ["<think>they want a trace, so\n</think>\n\n", "so they want a trace</think>\n"]
)
def test_a_server_that_leaves_its_thought_can_annotate(serve, tmp_path, before):  # noqa: F811
    server = serve(lambda request, n: (200, said(before + trace.write(RIGHT))))
    found = annotator(server, tmp_path / "traces").annotate([QUESTION])
    assert found.answers == [RIGHT] and not found.rejected
    server = serve(lambda request, n: (200, said(before + '{"person": "ada"}')))
    found = api.Api(client(server, tmp_path / "labels"), entities.request([]), show=False).annotate(
        [QUESTION]
    )
    assert found.answers == [[("PERSON", "ada")]]
