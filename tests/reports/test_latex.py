"""Tables for print fit a column or a page, by the widths of their letters, and their ids can be checked."""

from __future__ import annotations

import re
from types import SimpleNamespace

import matplotlib
import matplotlib.image
import numpy as np
import pandas as pd
import pytest
from matplotlib.ft2font import FT2Font
from stored_runs import store

from speechllm_bench import cli
from speechllm_bench.cite import check
from speechllm_bench.planning import studies
from speechllm_bench.reports import cells, claims, latex, tables
from speechllm_bench.reports import study as reports
from speechllm_bench.storage import numbers, paths
from speechllm_bench.tasks import TASKS

FONT = FT2Font(f"{matplotlib.get_data_path()}/fonts/ttf/cmr10.ttf")  # the letters of LaTeX
FINE = 10  # pixels of a point, since the width of each letter is rounded to whole pixels
SIGNS = {
    "±": 0.78,
    "−": 0.78,
    "_": 0.36,
    "‡": 0.44,
    "†": 0.44,
    "<": 0.78,
    "–": 0.5,
}  # em, of other fonts of LaTeX


def points(text: str, size: int) -> float:
    """The width of a text in LaTeX's own letters."""
    FONT.set_size(size, 72 * FINE)
    em = [SIGNS[c] * size for c in text if c in SIGNS]
    FONT.set_text("".join(c for c in text if c not in SIGNS), 0.0)
    return FONT.get_width_height()[0] / 64 / FINE + sum(em)


def widest(name: str) -> tuple[studies.Study, pd.DataFrame]:
    """A study's table with every cell as wide as it can be."""
    study = studies.load(name, "mini")[0]
    frame = pd.DataFrame(index=range(len(study.variants)), columns=tables.named(study.tasks), dtype=float)
    frame["variant"], frame["status"] = list(study.variants), "ok"
    frame[["n", "speakers", "seeds"]] = 1000, 32, 3
    for i, variant in enumerate(study.variants):
        main = TASKS[study.variant(variant).evaluation.task].main.name
        for column, value in ((main, 0.888), ("difference", -0.888)):
            frame.loc[i, [column, f"{column}_low", f"{column}_high"]] = value, value - 0.1, value + 0.1
    frame["difference_p"], frame["reported"], frame["differs"] = 0.0001, 0.888, True
    return study, frame.assign(above_floors=np.bool_(False).item())


def parsed(text: str) -> list[list[str]]:
    """The cells of a table as they are read."""
    rows = re.findall(r"^(.*) \\\\", text.split(r"\toprule")[1], re.M)
    plain = {
        r"\_": "_",
        "$-$": "−",
        r"$\pm$": "±",
        r"\ddag{}": "‡",
        r"\dag{}": "†",
        r"$\geq$": "≥",
        "$<$": "<",
        "--": "–",
    }
    for written, sign in plain.items():
        rows = [row.replace(written, sign) for row in rows]
    return [row.split(" & ") for row in rows]


@pytest.mark.parametrize("name", studies.known_studies())
def test_every_studys_table_fits(name):
    study, frame = widest(name)
    rows = [SimpleNamespace(name=v, key=f"{name}/{v}/A", commits=()) for v in study.variants]
    text = latex.table(study, frame, rows, "mini")
    cells_ = parsed(text)
    size = int(re.findall(r"\\fontsize\{(\d)\}", text)[0])
    widths = [max(points(cell, size) for cell in column) for column in zip(*cells_, strict=True)]
    width = sum(widths) + latex.BETWEEN * (len(widths) - 1)
    room = latex.PAGE if r"\begin{table*}" in text else latex.COLUMN
    assert width <= room, f"{width:.0f} of {room} points"
    assert len(cells_) == 1 + len(study.variants)
    caption = latex.caption(study, frame, "mini")
    assert len(caption.split()) <= 50, caption


AGAINST = "F1, version 1; Exact F1; SLU-F1"


def widest_claims(name: str) -> tuple[studies.Study, pd.DataFrame]:
    """A study's claims, each judged at length and reversed by other scores."""
    study = studies.load(name, "mini")[0]
    about = {"difference": -0.888, "low": -0.999, "high": -0.777, "p": 0.0001, "seeds": 1, "diverged": ""}
    about |= {"reversed_by": AGAINST, "verdict": claims.BELOW_FLOOR}
    return study, pd.DataFrame([about | {"claim": claim.claim} for claim in study.claims])


@pytest.mark.parametrize("name", [n for n in studies.known_studies() if studies.load(n, "mini")[0].claims])
def test_every_studys_claims_fit(name):
    """Columns fill a page, and no word is longer than its column."""
    study, found = widest_claims(name)
    cell = {"difference": numbers.Cell("")}
    rows = [
        numbers.Row(f"{name}/a-b/A", f"{name}_claims", "ok", 1000, 32, (0,), cells=cell) for _ in study.claims
    ]
    text = latex.claims_table(study, found, rows, "mini")
    head, *body = parsed(text)
    assert head == ["Claim", "Compared", "Difference", "p", "Verdict", "Reversed by"]
    assert [row[5] for row in body] == [AGAINST] * len(study.claims)
    size = int(re.findall(r"\\fontsize\{(\d)\}", text)[0])
    (aligned,) = re.findall(r"\\begin\{tabular\}\{@\{\}(.*)@\{\}\}", text)
    places = re.findall(r"r|p\{(\d+)pt\}", aligned.replace(r">{\raggedright\arraybackslash}", ""))
    assert len(places) == len(head)
    total = latex.BETWEEN * (len(head) - 1)
    for place, column in zip(places, zip(head, *body, strict=True), strict=True):
        parts = [word for cell in column for word in re.split(r" |(?<=-)", cell)] if place else column
        needed = max(points(part, size) for part in parts)
        total += int(place or 0) or needed
        assert not place or needed <= int(place)
    assert total <= latex.PAGE
    caption = latex.claims_caption(study, found, rows, "mini")
    assert len(caption.split()) <= 50, caption


def test_a_long_text_on_divergence_leaves_room_for_the_claims():
    _, found = widest_claims("stability")
    ended = ", ".join(f"{name} diverged on 3" for name in ("pre_norm_full_20", "transformer_half_rate"))
    found.loc[0, ["difference", "diverged"]] = float("nan"), ended
    columns = {"Claim": [], "Compared": [], "p": ["0.001"], "Verdict": [], "Reversed by": []}
    columns |= {"Difference": [latex._claimed(line) for line in found.to_dict("records")]}
    widths = [int(place) for place in re.findall(r"p\{(\d+)pt\}", latex._aligned(columns, 7))]
    assert ended in columns["Difference"] and len(widths) == 5 and min(widths) >= latex.SHORT["Verdict"]
    assert sum(widths) <= latex.PAGE


def test_claims_are_those_of_the_report_and_pass_the_check(suite):
    for variant, right in {"cnn": 12, "mlp": 5}.items():
        store(variant, 0, right)
    reports.write("adapter_size", "mini", draw=False)
    file = paths.results("mini") / "tables" / "adapter_size_claims.tex"
    found = numbers.find("mini/adapter_size/mlp-cnn/A/difference")
    text = file.read_text()
    (line,) = (line for line in text.splitlines() if line.endswith(f"% {found.id}"))
    assert found.row.cells["verdict"].shown in line and r"\dag{}" in line
    assert text.count(" & not run ") == 3 and "Reversed by" not in text
    assert check.check_papers([file]) == check.Checked(1, ())
    shown = numbers.escaped(f"{found.cell.value:+.3f}")
    assert shown in line
    file.write_text(text.replace(shown, "+0.999"))
    assert len(check.check_papers([file]).faults) == 1


def test_claims_of_which_none_was_tested_have_no_table_and_an_old_one_is_removed(suite):
    store("cnn", 0, 5)
    file = paths.results("mini") / "tables" / "adapter_size_claims.tex"
    file.parent.mkdir(parents=True)
    file.touch()
    reports.write("adapter_size", "mini")
    assert file.with_suffix(".md").is_file() and not file.exists()


def test_numbers_are_those_of_the_report_and_pass_the_check(suite, tmp_path):
    for variant, right in {"cnn": 5, "mlp": 12}.items():
        store(variant, 0, right)
    reports.write("adapter_size", "mini", draw=False)
    file = paths.results("mini") / "tables" / "adapter_size.tex"
    text = file.read_text()
    lines = {line.split(" & ")[0]: line for line in text.splitlines() if " & " in line}
    cell = numbers.find("mini/adapter_size/cnn/A/f1").cell
    assert lines["cnn"].endswith(r"\\ % mini/adapter_size/cnn/A/f1")
    assert rf"{cell.value:.3f} $\pm$ {(cell.high - cell.low) / 2:.3f}" in lines["cnn"]
    assert "0.402" in lines["cnn"] and lines["no audio"].startswith("no audio & NOT RUN & --")
    assert check.check_papers([file]) == check.Checked(2, ())
    file.write_text(text.replace(f"{cell.value:.3f}", "0.999"))
    assert len(check.check_papers([file]).faults) == 1
    assert text.startswith("% Written by `speechllm-bench report adapter_size --profile mini`")


def test_nothing_scored_is_still_a_table(suite):
    study, rows = studies.load("adapter_size", "mini")[0], studies.records("adapter_size", "mini")
    frame = reports.table(study, rows)
    text = latex.table(study, frame, cells.of_table(study, rows, frame), "mini")
    assert text.count("NOT RUN") == len(study.variants) and "Paper" in text


def test_columns_can_be_chosen(stored, capsys):
    line = ["report", "adapter_size", "--profile", "mini", "--columns"]
    folder = paths.results("mini") / "tables"
    csv = (folder / "adapter_size.csv").read_bytes()
    assert cli.main([*line, "recall,difference,llm_share,trained_parameters,status,recall"]) == 0
    text = (folder / "adapter_size.tex").read_text()
    headings = ["Variant", "R", "Difference", "Share of LLM", "Trained parameters", "Status"]
    head, *rows = parsed(text)
    assert head[0] == "Variant" and len(head) == len(headings) and head[-1] == "Status"
    cnn = next(row for row in rows if row[0] == "cnn")
    assert "±" in cnn[1] and cnn[4:] == ["3,703,701", "ok"]
    markdown = (folder / "adapter_size.md").read_text().split("\n\n")[1]
    assert markdown.splitlines()[0].count("|") == len(headings) + 1
    assert (folder / "adapter_size.csv").read_bytes() == csv
    assert check.check_papers([folder / "adapter_size.tex"]).faults == ()
    capsys.readouterr()
    every = "f1,precision,recall,exact_f1,slu_f1,parse_failures,difference,trained_parameters,seconds"
    for columns_, told in {
        "f1,wer": "the table has no column 'wer'; its columns are: status, trained_parameters,",
        f"{every},total_parameters,text_tokens,speech_hours,llm_share,status": "pt wide, and a page has 453;",
    }.items():
        assert cli.main([*line, columns_]) == 2
        assert told in capsys.readouterr().err


def test_figures_can_be_drawn_for_a_venue(stored, capsys):
    def width() -> int:
        file = paths.results("mini") / "figures" / "adapter_size_parameters.png"
        return matplotlib.image.imread(file).shape[1]

    line = ["report", "adapter_size", "--profile", "mini"]
    assert cli.main(line) == 0
    usual = width()
    assert cli.main([*line, "--venue", "acl"]) == 0 and width() in (909, 1890) and usual not in (909, 1890)
    assert cli.main(line) == 0 and width() == usual
    assert cli.main([*line, "--venue", "nips"]) == 2 and "acl" in capsys.readouterr().err
