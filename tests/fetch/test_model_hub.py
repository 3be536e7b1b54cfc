"""`fetch paper` by the hub's own client, from a hub on this machine: what it leaves in the cache is found."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

FREE, GATED = "Qwen/Qwen3-0.6B", "google/gemma-2-2b-it"
WEIGHTS = "model.safetensors"
FILES = {"config.json": b"{}", WEIGHTS: save({"a": np.ones(999, np.float32)}), "tokenizer.json": b"{ }"}
OTHERS = {"README.md": b"# a model", "pytorch_model.bin": b"the weights again"}  # that nobody needs
FETCH = """
import sys
from speechllm_bench import cli
from speechllm_bench.commands import doctor
code = cli.main(["fetch", "paper", "--only", *sys.argv[1:]])
for name in sys.argv[1:]:
    print(name, "lacks", doctor.model_lacks(name))
sys.exit(code)
"""


class Hub(ThreadingHTTPServer):
    """It has `FILES` of any model. `sent`: what it was asked for. `cut`: it breaks off in the weights."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.sent: list[str] = []
        self.cut = False
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Handler(BaseHTTPRequestHandler):
    server: Hub

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if GATED in path and ("/resolve/" in path or path.endswith("/auth-check")):
            return self.answer(b"", 401, X_Error_Code="GatedRepo")
        if "/resolve/" in path:
            return self.send_file(path.rpartition("/")[2])
        if "/tree/" in path:
            told = [
                {"type": "file", "path": f, "size": len(c), "oid": oid(c)}
                for f, c in (FILES | OTHERS).items()
            ]
            return self.answer(json.dumps(told).encode())
        files = [{"rfilename": name, "size": len(content)} for name, content in (FILES | OTHERS).items()]
        about = {"id": FREE, "sha": "0" * 40, "gated": "manual" if GATED in path else False}
        return self.answer(json.dumps(about | {"siblings": files, "tags": [], "private": False}).encode())

    def send_file(self, name: str) -> None:
        content = FILES[name]
        if self.command == "GET":
            self.server.sent.append(name)
        self.answer(content, ETag=f'"{oid(content)}"', X_Repo_Commit="0" * 40)

    def answer(self, content: bytes, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        for name, value in (headers | {"Content-Length": str(len(content))}).items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(
                content[: len(content) // 2 if self.server.cut and len(content) > 2000 else None]
            )

    def log_message(self, *_) -> None:
        pass


def oid(content: bytes) -> str:
    return sha256(content).hexdigest()


@pytest.fixture
def hub(tmp_path: Path):
    """The hub, and `fetch(names)`: how a process of its own ended that fetches them."""
    made = Hub()
    env = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    env |= {"HF_ENDPOINT": f"http://127.0.0.1:{made.server_port}", "HF_HOME": str(tmp_path / "hf")}
    env |= {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "SPEECHLLM_BENCH_HOME": str(tmp_path)}

    def fetch(*names: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", FETCH, *names]
        return subprocess.run(command, env=env, capture_output=True, text=True, timeout=300)

    yield made, fetch
    made.shutdown()
    made.server_close()


def test_a_fetched_model_is_found_by_its_name_and_not_fetched_again(hub):
    made, fetch = hub
    ended = fetch(FREE)
    assert ended.returncode == 0 and f"{FREE} lacks None" in ended.stdout, ended.stderr
    assert sorted(made.sent) == sorted(FILES)
    assert "is there" in fetch(FREE).stdout and len(made.sent) == len(FILES)


def test_a_gated_model_is_told_and_keeps_no_other_back(hub):
    made, fetch = hub
    ended = fetch(GATED, FREE)
    assert ended.returncode == 2 and f"{FREE} lacks None" in ended.stdout
    assert f"do so at https://huggingface.co/{GATED}, log in with" in ended.stderr
    assert f"{GATED} lacks backbone" in ended.stdout and sorted(made.sent) == sorted(FILES)


def test_a_broken_download_is_told_and_continues_with_its_file(hub):
    made, fetch = hub
    made.cut = True
    ended = fetch(FREE)
    told = ended.stderr.splitlines()[-1]
    assert ended.returncode == 2 and told.startswith(f"speechllm-bench: the hub cannot be reached for {FREE}")
    assert "Traceback" not in ended.stderr and "lacks None" not in ended.stdout
    made.cut, made.sent = False, []
    assert f"{FREE} lacks None" in fetch(FREE).stdout
    assert made.sent == [WEIGHTS]
