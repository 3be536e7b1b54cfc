"""Generates the commands of docs/examples.md with their current output."""

from __future__ import annotations

import contextlib
import io
import shlex
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from speechllm_bench import cli

SPEECHLLM = "small/baselines/speechllm/A/f1"
PAPER = f"""The SpeechLLM reaches 0.45. % {SPEECHLLM}
The text LLM reaches 0.86. % small/baselines/golden/A/f1
"""
COMMANDS = {
    "cite": (f"speechllm-bench cite {SPEECHLLM}", ""),
    "latex": ("speechllm-bench cite 'small/baselines/*/A/f1' --latex", "a pattern names several"),
    "bib": (f"speechllm-bench cite {SPEECHLLM} --bib", "this suite, and the paper of the study"),
    "piece": (
        f"speechllm-bench cite '{SPEECHLLM}@class=*' --latex",
        "slots of an open and of a closed class",
    ),
    "why": (f"speechllm-bench why {SPEECHLLM}", ""),
}
"""Commands, each with a note that stands behind it."""
FRAME = """import speechllm_bench as bench

frame = bench.results("baselines", profile="small")
frame[(frame.metric == "f1") & frame.value.notna()].set_index("variant")["value"].round(3)"""


def check() -> str:
    """Check a paper with two faults."""
    paper = f"```latex\n{PAPER}```\n\n"
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        Path("paper.tex").write_text(PAPER, "utf-8")
        return paper + _tried("speechllm-bench check paper.tex")


def frame() -> str:
    """Show numbers in Python."""
    *before, last = FRAME.split("\n")
    names: dict = {}
    exec("\n".join(before), names)
    shown = eval(last, names).to_string().replace("variant\n", "", 1)
    lines = [line.rstrip() for line in shown.split("\n") if line.strip() != "variant"]
    return f"```python\n{FRAME}\n```\n\n```text\n" + "\n".join(lines) + "\n```"


def _tried(command: str, note: str = "") -> str:
    with contextlib.redirect_stdout(io.StringIO()) as out:
        cli.main(shlex.split(command)[1:])
    said = out.getvalue().rstrip("\n")
    return f"```console\n{command}{note and f'   # {note}'}\n```\n\n```text\n{said}\n```"


PARTS: dict[str, Callable[[], str]] = {name: partial(_tried, *tried) for name, tried in COMMANDS.items()}
PARTS |= {"check": check, "frame": frame}
