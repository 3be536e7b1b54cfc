"""The recorder of the notebook, in a browser whose microphone beeps: a wav in the hidden text of its row."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import chromium
import pytest
import soundfile

from speechllm_bench import exploring

TEXT = """
<div class="bench-recorded" style="display: none"><textarea></textarea></div>
<script>
  const widget = document.querySelector(".bench-recorded");  // ipywidgets listens there, not on the field
  widget.addEventListener("change", (event) => { window.sent = event.target.value; });
</script>
"""


def test_the_microphone_is_recorded_into_the_text_of_its_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    fake = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
    monkeypatch.setattr(chromium, "FLAGS", (*chromium.FLAGS, *fake))
    page = tmp_path / "page.html"
    row = f"<div>{exploring.recorder()}</div>{TEXT}"
    page.write_text(f'<body data-shown="claims"><div class="widget-hbox">{row}</div>', "utf-8")
    browser = chromium.Browser(tmp_path / "chromium")
    try:
        browser.go(page, "")
        click = "document.querySelector('.jupyter-button').click()"
        browser.evaluate(click)
        browser.until("document.querySelector('.jupyter-button').textContent === 'Stop'")
        browser.evaluate("new Promise((done) => setTimeout(done, 1500))")
        browser.evaluate(click)
        sent = browser.until("window.sent")
        assert browser.evaluate("document.querySelector('.jupyter-button').textContent").startswith(
            "Record again"
        )
        broken = 'async () => { throw new Error("empty"); }'
        browser.evaluate(f"OfflineAudioContext.prototype.decodeAudioData = {broken}; 1")
        browser.evaluate(click)
        browser.until("document.querySelector('.jupyter-button').textContent === 'Stop'")
        browser.evaluate(click)
        browser.until("document.querySelector('.jupyter-button').textContent.startsWith('Nothing')")
        assert browser.errors == []
    finally:
        browser.close()
    samples, rate = soundfile.read(io.BytesIO(base64.b64decode(sent)))
    assert (
        rate == 16000 and 0.5 < len(samples) / rate < 30 and abs(samples).max() > 0.05
    )  # it beeps once a second
