"""A headless Chromium that is driven by its debugging protocol: open, evaluate, press, picture."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import time
import urllib.request
from pathlib import Path

import pytest

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--disable-dev-shm-usage", "--remote-debugging-port=0"),
)
PATIENCE = 120  # seconds that one step may take, on a busy machine


def program() -> str:
    """The Chromium on PATH; the test is skipped where there is none."""
    found = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if found is None:
        pytest.skip("no Chromium on PATH: the pages are not tried in a browser")
    return found


class Browser:
    """One page of a Chromium with a profile of its own; `errors` and `requests` are what it has told."""

    def __init__(self, folder: Path):
        websocket = pytest.importorskip("websocket", reason="websocket-client, which Jupyter brings")
        command = [program(), *FLAGS, f"--user-data-dir={folder}", "about:blank"]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.errors: list[str] = []
        self.requests: list[str] = []
        self._asked = 0
        try:
            port = self._port(folder / "DevToolsActivePort")
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/json", timeout=PATIENCE) as answer:
                (page,) = [one for one in json.load(answer) if one["type"] == "page"]
            self._socket = websocket.create_connection(
                page["webSocketDebuggerUrl"], timeout=PATIENCE, suppress_origin=True
            )
            for domain in ("Page", "Runtime", "Log", "Network"):
                self.call(f"{domain}.enable")
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(PATIENCE)

    def call(self, method: str, **given) -> dict:
        """One command of the protocol, and its result."""
        self._asked += 1
        self._socket.send(json.dumps({"id": self._asked, "method": method, "params": given}))
        while True:
            message = json.loads(self._socket.recv())
            if message.get("id") == self._asked:
                assert "error" not in message, (method, message["error"])
                return message["result"]
            self._told(message)

    def evaluate(self, script: str):
        """The value of a script, awaited."""
        found = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def until(self, script: str):
        """The first value of a script that is true."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            if value := self.evaluate(script):
                return value
            time.sleep(0.1)
        raise AssertionError(f"still not true: {script}; errors: {self.errors}")

    def go(self, page: Path, place: str) -> None:
        """Open a place of the site, as #/effects, and wait until it is shown."""
        self.call("Page.navigate", url=f"{page.as_uri()}{place}")
        shown = place.removeprefix("#/") or "claims"
        self.until(f"document.body && document.body.dataset.shown === {json.dumps(shown)}")

    def choose(self, label: str, value: object) -> None:
        """Choose in a list by its label, and wait until the page shows that."""
        self._changed(
            f"const s = document.querySelector('select[name={json.dumps(label)}]');"
            f"s.value = {json.dumps(value)}; s.dispatchEvent(new Event('change'))"
        )

    def press(self, key: str) -> None:
        """A key where the focus is."""
        text = {"text": "\r"} if key == "Enter" else {}
        code = {"Enter": 13, "ArrowDown": 40, "ArrowRight": 39, "Escape": 27}[key]
        about = {"key": key, "code": key, "windowsVirtualKeyCode": code}
        self.call("Input.dispatchKeyEvent", type="keyDown", **about, **text)
        self.call("Input.dispatchKeyEvent", type="keyUp", **about)

    def picture(self, file: Path, width: int = 1200, height: int = 900, dark: bool = False) -> None:
        """Write what is shown at this width as a PNG file."""
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.call("Emulation.setEmulatedMedia", features=scheme)
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=width < 600,
        )  # fmt: skip
        time.sleep(1)
        shot = self.call("Page.captureScreenshot", format="png")
        file.write_bytes(base64.b64decode(shot["data"]))

    def _changed(self, script: str) -> None:
        before = self.evaluate("document.body.dataset.turn")
        self.evaluate(f"{{ {script} }}")
        self.until(f"document.body.dataset.turn !== {json.dumps(before)}")

    def _port(self, file: Path) -> int:
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            if file.is_file() and (lines := file.read_text().split()):
                return int(lines[0])
            time.sleep(0.1)
        raise AssertionError("Chromium does not start")

    def _told(self, message: dict) -> None:
        about = message.get("params", {})
        match message["method"]:
            case "Runtime.exceptionThrown":
                self.errors.append(str(about["exceptionDetails"]))
            case "Runtime.consoleAPICalled" if about["type"] in ("error", "assert"):
                self.errors.append(str(about["args"]))
            case "Log.entryAdded" if about["entry"]["level"] == "error":
                self.errors.append(about["entry"]["text"])
            case "Network.requestWillBeSent":
                self.requests.append(about["request"]["url"])
