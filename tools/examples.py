"""Generates the commands of docs/examples.md with their current output."""

from __future__ import annotations

import contextlib
import io
import shlex
import tempfile
from collections.abc import Callable
from pathlib import Path

from speechllm_bench import cli

SPEECHLLM = "small/baselines/speechllm/A/f1"
PAPER = f"""The SpeechLLM reaches 0.45. % {SPEECHLLM}
The text LLM reaches 0.86. % small/baselines/golden/A/f1
"""
FRAME = """import speechllm_bench as bench

frame = bench.results("baselines", profile="small")
frame[(frame.metric == "f1") & frame.value.notna()].set_index("variant")["value"].round(3)"""


def cite() -> str:
    """Cite a number as text."""
    return _tried(f"speechllm-bench cite {SPEECHLLM}")


def latex() -> str:
    """Cite several numbers for LaTeX."""
    return _tried("speechllm-bench cite 'small/baselines/*/A/f1' --latex", "a pattern names several")


def bib() -> str:
    """Cite a number with its references."""
    return _tried(f"speechllm-bench cite {SPEECHLLM} --bib", "this suite, and the paper of the study")


def piece() -> str:
    """Cite the numbers of slices."""
    return _tried(
        f"speechllm-bench cite '{SPEECHLLM}@class=*' --latex", "slots of an open and of a closed class"
    )


def check() -> str:
    """Check a paper with two faults."""
    paper = f"```latex\n{PAPER}```\n\n"
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        Path("paper.tex").write_text(PAPER, "utf-8")
        return paper + _tried("speechllm-bench check paper.tex")


def why() -> str:
    """Show whether a number is current."""
    return _tried(f"speechllm-bench why {SPEECHLLM}")


def frame() -> str:
    """Show numbers in Python."""
    *before, last = FRAME.split("\n")
    names: dict = {}
    exec("\n".join(before), names)
    shown = eval(last, names).to_string().replace("variant\n", "", 1)
    lines = [line.rstrip() for line in shown.split("\n") if line.strip() != "variant"]
    return f"```python\n{FRAME}\n```\n\n```text\n" + "\n".join(lines) + "\n```"


PARTS: dict[str, Callable[[], str]] = {
    part.__name__: part for part in (cite, latex, bib, piece, check, why, frame)
}


def _tried(command: str, note: str = "") -> str:
    with contextlib.redirect_stdout(io.StringIO()) as out:
        cli.main(shlex.split(command)[1:])
    said = out.getvalue().rstrip("\n")
    return f"```console\n{command}{note and f'   # {note}'}\n```\n\n```text\n{said}\n```"
