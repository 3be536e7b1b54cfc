"""The README says what is there: generated parts are up to date, links lead somewhere, commands exist."""

from __future__ import annotations

import re
import subprocess
import sys

from speechllm_bench import cli
from speechllm_bench.paths import PROJECT
from speechllm_bench.profiles import known_profiles

README = (PROJECT / "README.md").read_text("utf-8")
FIRST_SCREEN = README[: README.index("\n## ")]


def _shell_lines() -> list[str]:
    blocks = re.findall(r"```(?:sh|bash|console)\n(.*?)```", README, re.S)
    return [line.split("#")[0].strip() for block in blocks for line in block.splitlines() if line.strip()]


def test_the_generated_parts_are_up_to_date():
    check = [sys.executable, "tools/readme.py", "--check"]
    done = subprocess.run(check, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_first_screen_says_what_matters():
    for words in ("synthetic", "NOT RUN", "\nmake  ", "\nmake test"):
        assert words in FIRST_SCREEN, words
    assert FIRST_SCREEN.count("\n") < 45


def test_relative_links_lead_somewhere():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        if "://" not in target:
            assert (PROJECT / target).exists(), target


def test_every_profile_and_only_real_ones_are_in_the_table():
    rows = re.findall(r"^\| `(\w+)`(?: \(default\))? \|", README, re.M)
    assert sorted(rows) == known_profiles()


def test_make_targets_exist():
    targets = set(re.findall(r"^([a-z]+):", (PROJECT / "Makefile").read_text("utf-8"), re.M))
    for line in _shell_lines():
        if line.startswith("make "):
            wanted = {word for word in line.split()[1:] if "=" not in word}
            assert wanted <= targets, line


def test_commands_are_real(capsys):
    commands = {line.split()[1] for line in _shell_lines() if line.startswith("speechllm-bench ")}
    assert commands
    try:
        cli.main(["--help"])
    except SystemExit as end:
        assert end.code in (0, None)
    shown = capsys.readouterr().out
    for command in commands:
        assert re.search(rf"\b{command}\b", shown), command
