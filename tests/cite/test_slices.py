"""Numbers of slices are cited by id, and are those that a comparison shows."""

from __future__ import annotations

from pathlib import Path

import pytest

from speechllm_bench import cli
from speechllm_bench.cite import check, sliced
from speechllm_bench.cite.comparing import Comparing
from speechllm_bench.errors import UserError
from speechllm_bench.reports import study as reports
from speechllm_bench.storage import numbers

F1 = "mini/adapter_size/cnn/A/f1"


@pytest.fixture(autouse=True)
def written(answered: Path):
    sliced._comparing.cache_clear()
    check._causes.cache_clear()
    reports.write("adapter_size", "mini", draw=False)


def test_a_slice_has_the_number_of_a_comparison():
    found = Comparing("adapter_size", "mini")
    named = {number.id: number for number in sliced.matching(f"{F1}@words=*")}
    assert len(named) > 1
    for id, number in named.items():
        part = id.partition("@")[2]
        value = found.value("cnn", "f1", part)
        ends = (number.cell.value, number.cell.low, number.cell.high)
        assert ends == tuple(map(numbers.rounded, (value.value, value.low, value.high)))
        assert number.row.n == found.turns_in("cnn", part) < numbers.find(F1).row.n
    part = next(iter(named)).partition("@")[2]
    gap = sliced.find(f"mini/adapter_size/cnn/A/difference@{part}").cell
    assert gap.value == numbers.rounded(found.difference("mlp", "cnn", "f1", part).value)
    assert gap.shown[0] in "+-"
    assert sliced.matching(F1) == numbers.matching(F1)


@pytest.mark.parametrize(
    ("id", "said"),
    [
        (f"{F1}@words=6-7", "has no slice 'words=6-7'; its slices are: words="),
        ("mini/adapter_size/cnn/A/recall@words=6-9", "a slice has only f1 and difference, not recall"),
        ("mini/adapter_size/mlp/A/verdict@words=6-9", "there is no number"),
        ("mini/adapter_size/mlp-cnn/A/difference@words=6-9", "has no slices"),
    ],
)
def test_what_has_no_slice_is_told(id: str, said: str):
    with pytest.raises(UserError, match=said):
        sliced.find(id)


def test_a_paper_may_cite_a_slice_in_a_comment(tmp_path: Path, capsys):
    id = f"{F1}@words=6-9"
    assert cli.main(["cite", id, "--latex"]) == 0
    paper = tmp_path / "paper.tex"
    line = capsys.readouterr().out
    paper.write_text(line)
    assert check.check_papers([paper]).faults == ()
    paper.write_text(line.replace("[", "[9"))
    assert len(check.check_papers([paper]).faults) == 1
    paper.write_text(rf"\bench{{{id}}}")
    (fault,) = check.check_papers([paper]).faults
    assert "numbers.tex has none" in fault.said
    assert cli.main(["why", id]) == 0
    assert id in capsys.readouterr().out
