"""A hub on this machine, as far as `export --hub` needs one: it takes a repository's files and keeps them."""

from __future__ import annotations

import base64
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TOKEN = "hf_token_of_the_test"


class FakeHub(ThreadingHTTPServer):
    """`files` by name, as committed; without `TOKEN` it answers 401."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files: dict[str, bytes] = {}
        self.said: list[str] = []  # commit messages
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self._answer({"error": "not found"}, 404)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self._answer({"error": "Invalid username or password."}, 401)
        elif "/preupload/" in self.path:
            told = [
                {"path": file["path"], "uploadMode": "regular", "shouldIgnore": False} for file in _of(body)
            ]
            self._answer({"files": told})
        elif "/commit/" in self.path:
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    self.server.files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
                elif line["key"] == "header":
                    self.server.said.append(line["value"]["summary"])
            address = f"{self.server.url}/someone/lora/commit/0"
            self._answer({"success": True, "commitOid": "0", "commitUrl": address, "hookOutput": ""})
        elif self.path == "/api/repos/create":
            about = json.loads(body)
            name = f"{about['organization']}/{about['name']}"
            self._answer({"url": f"{self.server.url}/{name}", "name": name, "id": "0"})
        else:  # the card's YAML is valid
            self._answer({"errors": [], "warnings": []})

    def _answer(self, record: dict, status: int = 200) -> None:
        content = json.dumps(record).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_) -> None:
        pass


def _of(body: bytes) -> list[dict]:
    return json.loads(body)["files"]
