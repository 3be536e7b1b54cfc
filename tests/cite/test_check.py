"""A paper's numbers are checked where they stand; what is wrong is told with its line and the right value."""

from __future__ import annotations

import pytest
from stored_runs import store

from speechllm_bench import cli
from speechllm_bench.cite import check, why
from speechllm_bench.planning import identity
from speechllm_bench.reports import study as reports
from speechllm_bench.storage import numbers

F1 = "mini/adapter_size/mlp/A/f1"


@pytest.fixture(autouse=True)
def _fresh():
    check._causes.cache_clear()


@pytest.fixture
def faults(stored, tmp_path):
    """`faults(line, ...)`: what is wrong with a paper of these lines."""

    def found(*lines: str) -> list[str]:
        paper = tmp_path / "paper.tex"
        paper.write_text("\n".join(lines) + "\n")
        return [str(fault).removeprefix(f"{paper}:") for fault in check.check_papers([paper]).faults]

    return found


def written(id: str = F1) -> tuple[str, str]:
    return numbers.find(id).cell.parts


@pytest.mark.parametrize(
    "line",
    [
        "{0} {1}",
        "${0}$~${1}$",
        "{2:.2f} [{3:.2f}, {4:.2f}]",
        r"{5:.1f}\,\% [{6:.1f}, {7:.1f}]\,\%",
        r"${2:.2f} \pm {8:.2f}$ of 32",
        "{5:.1f} [{6:.1f}, {7:.1f}]",
        "{5:.0f}~[{6:.0f},~{7:.0f}]",
    ],
)
def test_right_literals_pass(faults, line):
    cell = numbers.find(F1).cell
    ends = (cell.value, cell.low, cell.high)
    text = line.format(*cell.parts, *ends, *(100 * end for end in ends), (cell.high - cell.low) / 2)
    assert faults(f"F1 is {text} % {F1}") == []


def test_wrong_literals_are_told_with_line_and_value(faults):
    value, interval = written()
    right = f"{value} {interval}"
    off = f"{float(value) + 0.001:.3f}"
    assert faults("", f"F1 is {off} {interval} % {F1}") == [f"2: {F1} is written as {off}; it is {right}"]
    (said,) = faults(f"F1 is {value} % {F1}")
    assert said == f"1: {F1} does not stand with its interval; it is {right}"
    cell = numbers.find(F1).cell
    (said,) = faults(f"F1 is {value} [0.001, 0.999] % {F1}")
    assert said == f"1: {F1} stands with [0.001, 0.999] and not with {interval}; it is {right}"
    (said,) = faults(f"F1 is ${value}$~[${cell.low:.1f}$, ${cell.high + 0.3:.1f}$] % {F1}")
    assert (
        f"stands with [{cell.low:.1f}, {cell.high + 0.3:.1f}] and not with [{cell.low:.1f}, {cell.high:.1f}];"
        in said
    )
    low = f"{float(value) - 0.004:.3f}"  # nearer than what stands for the value
    (said,) = faults(f"F1 is 0.999 [{low}, 0.999] % {F1}")
    assert said == f"1: {F1} is written as 0.999; it is {right}"
    points = 100 * float(value)
    (said,) = faults(f"F1 is {points:.1f}; % {F1}")
    assert said.startswith(f"1: {F1} is written as {points:.1f}"), "in per cent without a sign or an interval"
    assert faults(f"F1 is {points:.1f} [0.1, 99.9] % {F1}") != []
    (said,) = faults(rf"F1 is {points:.1f}\,\% [0.1, 99.9] % {F1}")
    assert f"stands with [0.1, 99.9] and not with [{100 * cell.low:.1f}, {100 * cell.high:.1f}];" in said
    assert faults(f"Nothing here % {F1}") == [f"1: {F1} is not in the line; it is {right}"]
    assert faults("3,703,702 parameters % mini/adapter_size/mlp/A/trained_parameters") != []
    assert faults("3{,}703{,}701 parameters % mini/adapter_size/mlp/A/trained_parameters") == []
    assert "it is agrees" in faults("It disagreed % mini/adapter_size/mlp-cnn/A/verdict")[0]
    assert faults("It agrees % mini/adapter_size/mlp-cnn/A/verdict") == []


def test_macros_are_known_current_and_not_without_their_interval(faults, tmp_path):
    assert faults(rf"\bench{{{F1}}}", rf"\benchvalue{{{F1}}}") == []  # one paragraph
    (said,) = faults(rf"\benchinterval{{{F1}}}", "", rf"\benchvalue{{{F1}}}")
    assert said.startswith(f"3: {F1} stands without its interval")
    (said,) = faults(r"\bench{mini/adapter_size/mlpp/A/f1}")
    assert said.startswith("1: there is no number 'mini/adapter_size/mlpp/A/f1'; the nearest ids are:")
    text = numbers.file("mini").with_suffix(".tex").read_text()
    copy = tmp_path / "numbers.tex"
    copy.write_text(text)
    assert faults(r"\input{numbers}", rf"\bench{{{F1}}}") == []
    value, interval = written()
    copy.write_text(text.replace(f"{{{F1}}}{{{value}}}", f"{{{F1}}}{{0.999}}"))
    (said,) = faults(r"\input{numbers}", rf"\bench{{{F1}}}")
    line = 1 + text.splitlines().index(rf"\benchdef{{{F1}}}{{{value}}}{{{interval}}}")
    assert said == (
        f"{copy}:{line}: {F1} is defined as 0.999 {interval}, it is {value} {interval}; copy numbers.tex anew"
    )


def put(folder, name: str, *lines: str) -> None:
    file = folder / name
    file.parent.mkdir(exist_ok=True)
    file.write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize("inner", ["sections/b", "sections/b.tex", "b"])
def test_a_nested_input_is_found_from_the_main_file_or_else_from_the_including_one(faults, tmp_path, inner):
    put(tmp_path, "sections/a.tex", rf"\input{{{inner}}}", r"\include{sections/a}")  # a circle
    put(tmp_path, "sections/b.tex", f"F1 is 0.9 % {F1}", r"\input{paper}")
    (said,) = faults(r"\input{sections/a}")
    assert said.startswith(f"{tmp_path}/sections/b.tex:1: {F1} is written as 0.9;")
    put(tmp_path, "b.tex", "TeX reads this one")
    assert faults(r"\input{sections/a}") == ([] if inner == "b" else [said])


@pytest.mark.parametrize("line", [r"\input b", r"See {\input  b.tex} and \input b\relax", r'\input{"b"}'])
def test_an_input_is_followed_without_braces_and_in_quotes(faults, tmp_path, line):
    put(tmp_path, "b.tex", f"F1 is 0.9 % {F1}")
    (said,) = faults(line)
    assert said.startswith(f"{tmp_path}/b.tex:1: {F1} is written as 0.9;")


@pytest.mark.parametrize(
    "line",
    [r"\subfile{sections/b}", r"\subfileinclude{sections/b}", r"\import{sections/}{b}",
     r"\import*{sections/}{b.tex}", r"\subimport{sections}{b}", r"\inputfrom{sections/}{b}",
     r"\subincludefrom{./sections/}{b}",
     r"\InputIfFileExists{sections/b}{}{}"],
)  # fmt: skip
def test_an_input_by_another_command_is_followed(faults, tmp_path, line):
    put(tmp_path, "sections/b.tex", f"F1 is 0.9 % {F1}")
    (said,) = faults(line)
    assert said.startswith(f"{tmp_path}/sections/b.tex:1: {F1} is written as 0.9;")
    (tmp_path / "sections/b.tex").unlink()
    assert [s.partition(" is not found")[0] for s in faults(line)] == (
        [] if "Exists" in line else ["1: sections/b" + ".tex" * (".tex" in line)]
    )


def test_an_input_that_is_not_found_is_a_fault(faults, tmp_path, capsys):
    put(tmp_path, "sections/a.tex", "", r"\input{sections/b}")
    remedy = "write its path from the main file's folder, and check the main file"
    told = "is not found, so it is not checked"
    (said,) = faults(r"\input{sections/a}")
    assert said == f"{tmp_path}/sections/a.tex:2: sections/b {told}; {remedy}"
    assert faults(r"\input c", rf"\input{{{tmp_path}/c}}") == [
        f"1: c {told}; {remedy}",
        f"2: {tmp_path}/c {told}; {remedy}",
    ]
    assert cli.main(["check", str(tmp_path / "paper.tex")]) == 1
    closing = "0 numbers cited; nothing is wrong with them. Inputs that are not checked: 2."
    assert capsys.readouterr().out.splitlines()[-1] == closing


@pytest.mark.parametrize(
    "line",
    [r"% \input{c} and \input c", r"\input{glyphtounicode}", r"\input xy.tex", r"\inputencoding{utf8}",
     r"\let\old\input", r"\includegraphics{plot}"],
)  # fmt: skip
def test_what_is_no_input_of_the_paper_is_not_missing(faults, line):
    assert faults(line) == []


def test_a_file_that_two_papers_input_is_checked_once(stored, tmp_path):
    for name in ("one.tex", "two.tex"):
        put(tmp_path, name, r"\input{sections/a}")
    put(tmp_path, "sections/a.tex", r"\input{sections/b}")
    put(tmp_path, "sections/b.tex", f"F1 is 0.9 % {F1}")
    found = check.check_papers([tmp_path / name for name in ("one.tex", "two.tex", "sections/a.tex")])
    assert found.n == len(found.faults) == 1


def test_the_command_ends_in_1_for_faults_and_in_0_without(faults, tmp_path, capsys):
    faults(f"{' '.join(written())} % {F1}, and a path a/b/c/d/e")
    assert cli.main(["check", str(tmp_path / "paper.tex")]) == 0
    assert capsys.readouterr().out == "1 numbers cited; nothing is wrong with them.\n"
    faults(f"0.5 % {F1}")
    assert cli.main(["check", str(tmp_path / "paper.tex")]) == 1
    assert cli.main(["check", str(tmp_path / "no.tex")]) == 2
    assert "no.tex cannot be read: No such file" in capsys.readouterr().err


def test_a_changed_setting_makes_a_number_stale_and_is_named(faults, stored):
    assert why.told(numbers.find(F1)).endswith("is what this checkout and its records give.")
    profile = stored / "experiments" / "profiles" / "mini.yaml"
    text = profile.read_text()
    profile.write_text(text.replace("  lr: 0.001", "  lr: 0.003"))
    said = why.told(numbers.find(F1)).splitlines()
    assert said[0] == f"{F1} = {' '.join(written())} is stale:"
    assert said[1:] == [f"  setting stages.{i}.lr: 0.001 → 0.003" for i in (0, 1)]
    (fault,) = faults(f"{' '.join(written())} % {F1}")
    assert fault.startswith(f"1: {F1} is stale (setting stages.0.lr: 0.001 → 0.003; ")
    profile.write_text(text)
    assert why.causes("mini", numbers.find(F1).row) == []


def test_further_runs_other_scores_and_renamed_variants_are_named(stored):
    number = numbers.find(F1)
    store("mlp", 1, 3)
    (cause,) = why._recomputed(number)
    assert cause.component == "scores, or the code of tables and statistics"
    assert cause.before == number.cell.shown != cause.now
    store("transformer", 0, 3)
    claim = numbers.read("mini")["adapter_size/transformer-cnn/A"]
    assert [str(c) for c in why.causes("mini", claim)] == ["runs: 2 on record → besides transformer seed 0"]
    study = stored / "experiments" / "adapter_size.yaml"
    study.write_text(study.read_text().replace("linear", "affine"))
    (cause,) = why.causes("mini", numbers.read("mini")["adapter_size/linear/A"])
    assert (cause.component, cause.before) == ("variant", "linear")


def test_another_backbone_is_named(stored, monkeypatch):
    digest = iter("abcdefgh")
    monkeypatch.setattr(identity, "_surroundings", lambda config, heard: (next(digest), "llm 2", 1))
    row = numbers.find(F1).row
    row = numbers.Row(**{**vars(row), "made_of": {"backbone zoo/toy-llm": "llm 1", "NUMERICS_VERSION": 1}})
    causes = why.causes("mini", row)
    assert "backbone zoo/toy-llm: llm 1 → llm 2" in map(str, causes)
    assert not [c for c in causes if c.component == "NUMERICS_VERSION"]


def test_a_report_without_any_run_has_no_numbers_and_no_fault(suite):
    reports.write("adapter_size", "smoke", draw=False)
    row = numbers.read("smoke")["adapter_size/mlp/A"]
    assert row.status == "NOT RUN" and row.cells.keys() <= {"reported"}
