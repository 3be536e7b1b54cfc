"""The API annotator against a local server that speaks the protocol, and misbehaves before it behaves."""

from __future__ import annotations

import json
import re
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest
from embedded_annotator import Embedded
from test_annotators import QUESTION, RIGHT, asked

from speechllm_bench import cli
from speechllm_bench.data import questions
from speechllm_bench.data.annotators import Question, api, drawn, entities, stored
from speechllm_bench.data.annotators.client import READINGS, Client, Server
from speechllm_bench.data.corpora import call_centre
from speechllm_bench.errors import UserError
from speechllm_bench.running import preparation
from speechllm_bench.tasks import ner, trace

KEY = "sk-secret-0123456789"
SLEEP = time.sleep


class Misbehaving(ThreadingHTTPServer):
    """Answers each request as `behave(request, n)` says, n how often its turn was asked for before.

    behave returns a status, a body and headers.
    """

    daemon_threads = True

    def __init__(self, behave):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.behave, self.lock = behave, threading.Lock()
        self.asked, self.at_once, self.most_at_once = Counter(), 0, 0
        self.headers, self.paths = [], set()
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"

    def handle_error(self, request, client_address):
        """A client that gave up waiting is no news."""


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        server = self.server
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        turn = request["messages"][-1]["content"]
        with server.lock:
            n = server.asked[turn]
            server.asked[turn] += 1
            server.at_once += 1
            server.most_at_once = max(server.most_at_once, server.at_once)
            server.headers.append(self.headers.get("Authorization"))
            server.paths.add(self.path)
        status, body, *headers = server.behave(request, n)
        with server.lock:
            server.at_once -= 1
        self.send_response(status)
        for name, value in ({"Content-Length": len(body)} | (headers[0] if headers else {})).items():
            self.send_header(name, str(value))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        """Silent."""


def said(text, **usage) -> bytes:
    tokens = {"prompt_tokens": 100, "completion_tokens": 20} | usage
    return json.dumps(
        {"choices": [{"message": {"role": "assistant", "content": text}}], "usage": tokens}
    ).encode()


@pytest.fixture
def serve(monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    servers = []

    def start(behave) -> Misbehaving:
        servers.append(Misbehaving(behave))
        return servers[-1]

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture(autouse=True)
def waited(monkeypatch) -> list[float]:
    """The pauses between tries, which no test sits out."""
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    return pauses


def client(server, folder, **settings) -> Client:
    return Client(Server(server.url, "tiny", KEY), folder, **{"timeout": 5.0} | settings)


def annotator(server, folder, **settings) -> api.Api:
    return api.Api(client(server, folder, **settings), api.TRACES, workers=4, show=False)


def test_it_behaves_as_the_embedded_annotator_does(serve, tmp_path):
    given = asked("train")[:24]
    right = Embedded(0).annotate(given).answers
    by_turn = {api.messages(q)[-1]["content"]: trace.write(t) for q, t in zip(given, right)}

    def behave(request, n):
        SLEEP(0.01)
        return 200, said(by_turn[request["messages"][-1]["content"]])

    server = serve(behave)
    both = [annotator(server, tmp_path), Embedded(0)]
    found, wanted = (one.annotate(given) for one in both)
    assert found.answers == wanted.answers == right  # in the order of the questions
    assert server.paths == {"/v1/chat/completions"} and server.most_at_once > 1
    assert set(server.headers) == {f"Bearer {KEY}"}
    assert found.cost == "2,400 tokens in, 480 out" and not found.rejected


def test_it_labels_entities_as_the_embedded_annotator_does(serve, tmp_path):
    train = call_centre.utterances("train", 300)
    shots = entities.few_shots(train)
    types = call_centre.slot_types()
    given = [Question(u, questions.evaluation_example(u, types, "ner")) for u in train if u not in shots][:24]
    embedded = drawn.Drawn(0, 0.4, shots)
    request = entities.request(shots)
    by_turn = {
        request.messages(q)[-1]["content"]: ner.target(labels)
        for q, labels in zip(given, embedded.annotate(given).answers)
    }
    silent = request.messages(given[5])[-1]["content"]

    def behave(request, n):
        turn = request["messages"][-1]["content"]
        return 200, said("i would say rome" if turn == silent else by_turn[turn])

    server = serve(behave)
    both = [api.Api(client(server, tmp_path), request, show=False), embedded]
    found, wanted = (one.annotate(given) for one in both)
    assert found.rejected == {"no JSON object": api.TEXTS} and found.answers[5] is None
    for i, (mine, drawn_ones) in enumerate(zip(found.answers, wanted.answers)):
        assert i == 5 or Counter(mine) == Counter(drawn_ones)


def test_busy_broken_and_slow_servers_are_asked_again_with_growing_pauses(serve, tmp_path, waited):
    whole = said(trace.write(RIGHT))

    def behave(request, n):
        if n == 2:
            SLEEP(0.6)  # longer than the client waits
        return [
            (429, b"slow down"), (500, b"oops"), (200, whole),
            (200, whole[:40], {"Content-Length": len(whole)}), (503, b""), (200, whole),
        ][n]  # fmt: skip

    server = serve(behave)
    one = client(server, tmp_path, timeout=0.3)
    assert api.Api(one, api.TRACES, show=False).annotate([QUESTION]).answers == [RIGHT]
    assert server.asked.total() == 6 and len(waited) == 5 and waited[0] < waited[2] < waited[4]


def test_a_reply_that_cannot_be_read_is_asked_for_again_and_then_given_up(serve, tmp_path):
    whole = said(trace.write(RIGHT))
    unreadable = [(200, whole[:40]), (200, b'{"choices": []}')]
    server = serve(lambda request, n: [*unreadable, (200, whole)][n])
    assert annotator(server, tmp_path).annotate([QUESTION]).answers == [RIGHT]
    assert server.asked.total() == 3

    for body in (whole[:40], b'{"choices": []}', b"[]", b"null", b'{"choices": [{"message": null}]}'):
        server = serve(lambda request, n, body=body: (200, body))
        with pytest.raises(UserError, match="gave 3 replies that cannot be read"):
            client(server, tmp_path / "never").ask([{"role": "user", "content": ""}], 0)
        assert server.asked.total() == READINGS


def test_it_waits_as_long_as_the_server_asks_it_to(serve, tmp_path, waited):
    busy = (429, b"", {"Retry-After": "7"})
    server = serve(lambda request, n: (200, said(trace.write(RIGHT))) if n else busy)
    annotator(server, tmp_path).annotate([QUESTION])
    assert waited == [7.0]


def test_wrong_traces_are_rejected_by_kind_and_asked_for_anew(serve, tmp_path):
    written = trace.write(RIGHT)
    wrong = [written.replace("rome", "oslo"), written[:-30]]
    seeds = []

    def behave(request, n):
        seeds.append(request["seed"])
        return 200, said([*wrong, written][n])

    server = serve(behave)
    found = annotator(server, tmp_path).annotate([QUESTION])
    assert found.answers == [RIGHT] and seeds == [0, 1, 2]
    faults = [api.faults(trace.parse(text), QUESTION) for text in wrong]
    assert all(faults) and found.rejected == Counter(fault for some in faults for fault in some)
    assert found.rejected["value not in the transcript"] == 1 and found.rejected["answer unlike gold"] == 1
    assert found.cost == "300 tokens in, 60 out"  # what was rejected is paid for


def test_a_question_that_is_never_answered_right_is_given_up_and_the_others_stay(serve, home, tmp_path):
    given = [QUESTION, *asked("train")[:3]]
    server = serve(lambda request, n: (200, said(trace.write(RIGHT))))
    found = annotator(server, tmp_path).annotate(given)
    assert found.answers == [RIGHT, None, None, None]
    assert sum(server.asked.values()) == 1 + 3 * api.TEXTS
    assert found.rejected["transcript changed"] == 3 * api.TEXTS
    assert stored.read_traces(stored.write_traces(given, found, "tiny")) == {"u": (QUESTION.example, RIGHT)}


def test_a_stopped_annotation_goes_on_and_pays_nothing_twice(serve, tmp_path):
    given = asked("train")[:8]
    right = dict(zip((api.messages(q)[-1]["content"] for q in given), Embedded(0).annotate(given).answers))
    broken = threading.Event()
    broken.set()

    def behave(request, n):
        turn = request["messages"][-1]["content"]
        if broken.is_set() and list(right).index(turn) >= 5:
            return 404, b"no such model"
        return 200, said(trace.write(right[turn]))

    server = serve(behave)
    with pytest.raises(UserError, match="refuses the request for model 'tiny' with status 404"):
        annotator(server, tmp_path).annotate(given)
    kept = len(list(tmp_path.glob("*.json")))
    assert 0 < kept <= 5
    broken.clear()
    before = server.asked.total()
    found = annotator(server, tmp_path).annotate(given)
    assert found.answers == list(right.values())
    assert server.asked.total() - before == 8 - kept
    assert found.cost == f"{100 * (8 - kept):,} tokens in, {20 * (8 - kept):,} out"
    again = annotator(server, tmp_path).annotate(given)
    assert again.answers == found.answers and again.cost == "0 tokens in, 0 out"


def test_a_question_that_the_server_refuses_is_given_up_and_the_others_stay(serve, tmp_path):
    given = asked("train")[:6]
    right = dict(zip((api.messages(q)[-1]["content"] for q in given), Embedded(0).annotate(given).answers))
    refused = list(right)[2]

    def behave(request, n):
        turn = request["messages"][-1]["content"]
        if turn == refused:
            SLEEP(0.2)  # it is not the first to come back
            return 400, b"content filter"
        return 200, said(trace.write(right[turn]))

    found = annotator(serve(behave), tmp_path).annotate(given)
    assert found.answers == [None if turn == refused else answer for turn, answer in right.items()]
    assert found.rejected == {api.REFUSED: 1}
    with pytest.raises(UserError, match="with status 400"):  # the first to come back: likely all are refused
        annotator(serve(lambda request, n: (400, b"no")), tmp_path / "other").annotate(given)


def test_an_llm_that_says_nothing_is_asked_anew_and_what_was_cut_off_is_not_kept(serve, tmp_path):
    whole = trace.write(RIGHT)
    cut = json.loads(said(whole[:40]))
    cut["choices"][0]["finish_reason"] = "length"
    server = serve(lambda request, n: (200, [said(None), json.dumps(cut).encode(), said(whole)][n]))
    found = annotator(server, tmp_path).annotate([QUESTION])
    assert found.answers == [RIGHT] and found.rejected["no answer"] == 2
    assert len(list(tmp_path.glob("*.json"))) == 2


def test_labels_are_read_out_of_what_stands_around_them():
    fenced = 'Here it is:\n```json\n{"person": "Rose Mathis"}\n```'
    assert entities.read(fenced) == [("PERSON", "rose mathis")]
    assert entities.read("{}") == [] and entities.read("none") is None and entities.read("} {") is None


def test_another_model_is_another_request(serve, tmp_path):
    server = serve(lambda request, n: (200, said(trace.write(RIGHT))))
    for model in ("tiny", "small", "tiny"):
        api.Api(Client(Server(server.url, model), tmp_path), api.TRACES, show=False).annotate([QUESTION])
    assert server.asked.total() == 2
    assert server.headers == ["Bearer none"] * 2  # a server of one's own needs no key


def test_the_key_is_nowhere(serve, home, tmp_path, capsys):
    server = serve(lambda request, n: (404, f"unknown model for {KEY}".encode()) if "x" in request["model"]
                   else (200, said(trace.write(RIGHT))))  # fmt: skip
    one = client(server, tmp_path / "annotations")
    found = api.Api(one, api.TRACES, show=True).annotate([QUESTION])
    name = stored.write_traces([QUESTION], found, "tiny")
    assert stored.file("traces", name).is_relative_to(home)
    files = [file for file in home.rglob("*") if file.is_file() and file.parent.name != "owners"]
    assert len(files) == 3 and all(KEY not in file.read_text() for file in files)
    with pytest.raises(UserError) as error:
        Client(Server(server.url, "x", KEY), tmp_path).ask([{"role": "user", "content": ""}], 0)
    told = capsys.readouterr()
    assert KEY not in str(error.value) + repr(one.server) + told.out + told.err
    assert "unknown model for ..." in str(error.value)


def test_what_ends_an_annotation_is_one_sentence(serve, tmp_path, monkeypatch):
    def told(address: str, **settings) -> str:
        with pytest.raises(UserError) as error:
            Client(Server(address, "tiny", KEY), tmp_path, **settings).ask(
                [{"role": "user", "content": ""}], 0
            )
        return str(error.value)

    refusing, busy = serve(lambda request, n: (401, KEY.encode())), serve(lambda request, n: (429, b""))
    assert told(refusing.url) == f"{refusing.url} refuses the key; set OPENAI_API_KEY to one that it knows"
    assert "gave no answer in 2 tries (last: status 429)" in told(busy.url, tries=2)
    poor = serve(lambda request, n: (429, b'{"error": {"code": "insufficient_quota", "message": ""}}'))
    assert "has no credit left" in told(poor.url, tries=1)
    silent = serve(lambda request, n: (200, b""))
    silent.shutdown()
    silent.server_close()
    assert f"no server answers at {silent.url}; start it" in told(silent.url)
    hidden = told(silent.url.replace("://", "://me:hidden@"))
    assert silent.url in hidden and "hidden" not in hidden


def test_the_environment_names_the_server(monkeypatch):
    for name in ("OPENAI_BASE_URL", "OPENAI_MODEL", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(UserError, match="asks for a key: set OPENAI_API_KEY, or OPENAI_BASE_URL"):
        Server.from_environment()
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    assert Server.from_environment() == Server("https://api.openai.com/v1", "gpt-4o", KEY)
    for address in ("localhost:11434/v1", "http://localhost:abc/v1", "http://[::1/v1", "http:///v1"):
        monkeypatch.setenv("OPENAI_BASE_URL", address)
        with pytest.raises(UserError, match="is to be an address that begins with http"):
            Server.from_environment()
    for key in ("sk-\n", "schl\u00fcssel"):
        monkeypatch.setenv("OPENAI_BASE_URL", "http://localhost:11434/v1")
        monkeypatch.setenv("OPENAI_API_KEY", key)
        with pytest.raises(UserError, match="OPENAI_API_KEY has a line break"):
            Server.from_environment()
    monkeypatch.setenv("OPENAI_BASE_URL", "http://localhost:11434/v1")
    monkeypatch.setenv("OPENAI_MODEL", "qwen3")
    monkeypatch.delenv("OPENAI_API_KEY")
    assert Server.from_environment() == Server("http://localhost:11434/v1", "qwen3", "")


def test_the_command_tells_what_is_missing(monkeypatch, capsys):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    assert cli.main(["annotate", "--turns", "3"]) == 2
    assert "asks for a key" in capsys.readouterr().err


def test_the_command_stores_labels_and_tells_their_name(serve, home, monkeypatch, capsys):
    server = serve(lambda request, n: (200, said('{"person": ["ada"]}')))
    for name, value in {"BASE_URL": server.url, "MODEL": "tiny", "API_KEY": KEY}.items():
        monkeypatch.setenv(f"OPENAI_{name}", value)
    train = call_centre.utterances("train", 40)
    monkeypatch.setattr(
        preparation, "ensure_corpus", lambda *_: SimpleNamespace(utterances={"train": train}.get)
    )
    assert cli.main(["annotate", "labels", "--turns", "3"]) == 0
    told = capsys.readouterr().out
    (name,) = re.findall("write `labels: (.*)` into the profile", told)
    assert stored.about("labels", name)["by"] == f"tiny at {server.url}"
    assert "3 of 3 turns have labels" in told
    assert stored.read_labels(name) == {u.id: [("PERSON", "ada")] for u in train[:3]}


def test_cost_is_in_dollars_where_the_price_is_known():
    assert api.cost("gpt-4o", 1_000_000, 100_000) == "1,000,000 tokens in, 100,000 out, $3.50"
    assert api.cost("llama", 10, 5) == "10 tokens in, 5 out"
