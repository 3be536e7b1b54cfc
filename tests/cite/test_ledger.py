"""The ledger of claims names what there is, agrees with the studies, and shows what profiles have found."""

from __future__ import annotations

import json
import re

import pandas as pd
import pytest

from speechllm_bench import cli
from speechllm_bench.cite import ledger
from speechllm_bench.errors import UserError
from speechllm_bench.planning import studies
from speechllm_bench.reports import cells, tables
from speechllm_bench.settings.strict import load_yaml
from speechllm_bench.storage import numbers, paths
from speechllm_bench.storage.numbers import Cell, Row

LEDGER = load_yaml(ledger.Ledger, paths.PROJECT / "experiments" / "papers" / "claims.yaml")
STUDIES = {name: studies.load(name, "mini")[0] for name in studies.known_studies()}


def claims_of(study) -> dict[str, object]:
    named = ((c, [c.better, c.worse, *(c.beyond or ())]) for c in study.claims)
    return {f"{study.study}/{cells.claim_row(names)}": claim for claim, names in named}


CLAIMS = {key: claim for study in STUDIES.values() for key, claim in claims_of(study).items()}


def test_claims_are_those_that_studies_test_each_in_one_entry():
    tested = [key for claim in LEDGER.claims for key in claim.tested]
    assert len(tested) == len(set(tested))
    in_tables = {key for key in tested if ":" in key}  # verdicts of a further table
    assert in_tables == {
        f"multistage/convergence:multistage_c:{n}_stage{s}" for n, s in (("last", ""), ("all", "s"))
    }
    of_papers = {key for key, claim in CLAIMS.items() if "ours" not in claim.source}
    # Papers' claims against a control of ours, or under a condition of ours that the ledger names.
    ours = {"synthetic_ner/scarce_filtered_20-scarce_twice", "adapter_reading/cnn-cnn_xl"}
    ours |= {f"adapter_reading/{pair}-mlp" for pair in ("transformer", "transformer_half_rate")}
    ours |= {"adapter_reading/mlp-cnn", "adapter_reading/transformer_half_rate-transformer"}
    assert set(tested) - in_tables == of_papers | ours
    for claim in LEDGER.claims:
        assert all(claim.paper in CLAIMS[key].source for key in claim.tested if ":" not in key), claim.id


def test_numbers_of_further_tables_are_those_of_studies_that_have_the_table():
    keys = [
        key
        for one in (*LEDGER.figures, *LEDGER.claims)
        for key in (*one.measured, *getattr(one, "tested", ()))
    ]
    further = [key.split("/")[:2] for key in keys if ":" in key]
    assert further
    for study, row in further:
        assert row.split(":")[0] in STUDIES[study].tables, (study, row)


def test_records_have_the_rows_of_further_tables_by_the_ids_that_the_ledger_names():
    """The text of such a row names it, so a label that changes would turn a number into "not run"."""
    stored = json.loads((paths.PROJECT / "results" / "mini" / "numbers.json").read_text("utf-8"))["rows"]
    tables = {key.split(":")[0] for key in stored}
    named = [key.rpartition("/")[::2] for figure in LEDGER.figures for key in figure.measured]
    named += [(key, "verdict") for claim in LEDGER.claims for key in claim.tested]
    further = [(key, column) for key, column in named if ":" in key and key.split(":")[0] in tables]
    assert len(further) >= 3
    for key, column in further:
        rows = [row for one, row in stored.items() if f"{one}/".startswith(f"{key}/")]
        assert rows and column in rows[0]["cells"], key


def test_figures_are_measured_in_rows_that_reports_write():
    for figure in LEDGER.figures:
        for key in figure.measured:
            name, row, test_set, column = key.split("/")
            study = STUDIES[name]
            variant = row.split("-")[0]
            if ":" in row:
                continue  # a further table: its rows are named by its text
            assert row in study.variants or f"{name}/{row}" in CLAIMS, key
            assert test_set == cells.test_set(study, variant), key
            assert column == "difference" or column in {
                metric.name for metric in tables.of_task(study.variant(variant).evaluation.task)
            }


def test_figures_are_those_that_studies_report():
    by_row = {
        key.rsplit("/", 2)[0]: f for f in LEDGER.figures for key in f.measured if key[-10:] != "difference"
    }
    for study in STUDIES.values():
        for reported in study.reported:
            assert any(reported.source.startswith(paper) for paper in LEDGER.papers)
            known = {f.value for f in LEDGER.figures if f.paper == reported.source[:10]}
            value = reported.value * (100 if reported.metric == "SLUE score gain" else 1)
            assert any(value == pytest.approx(one) for one in known), (study.study, reported)
            if reported.metric == "f1":
                keys = [key for f in LEDGER.figures if f.value == reported.value for key in f.measured]
                assert f"{study.study}/{reported.variant}" in {key.rsplit("/", 2)[0] for key in keys}
    assert by_row


def small(**figure) -> ledger.Ledger:
    entry = {"id": "f", "paper": "2510.15851", "cell": "CNN, F1", "value": 0.4, "measured": ["lora/cnn/A/f1"]}
    claim = {"id": "c", "paper": "2510.15851", "claim": "LoRA helps.", "tested": ["lora/a-b", "lora/c-d"]}
    untested = {"id": "u", "paper": "2510.15851", "claim": "It is fast.", "tested": []}
    parts = {
        "papers": {"2510.15851": "Slot filling"},
        "figures": [entry | figure],
        "claims": [claim, untested],
    }
    return ledger.Ledger.model_validate(parts)


def rows(low=0.1, high=0.3) -> dict[str, Row]:
    f1 = Row("lora/cnn/A", "lora", "ok", cells={"f1": Cell(f"0.200 [{low}, {high}]", 0.2, low, high)})
    judged = {"verdict": Cell("agrees"), "difference": Cell("+0.1", 0.1, 0.05, 0.15), "p": Cell("0.01", 0.01)}
    claim = Row("lora/a-b/A", "lora_claims", "ok", cells=judged)
    return {row.key: row for row in (f1, claim)}


@pytest.mark.parametrize(
    ("profile", "bounds", "figure", "verdict"),
    [
        ("mini", (0.1, 0.3), {}, ledger.OTHER_SCALE),
        ("paper", (0.1, 0.3), {}, "below"),
        ("paper", (0.1, 0.45), {}, "as reported"),
        ("paper", (0.1, 0.35), {"value": 0.3, "to": 0.5}, "as reported"),
        ("paper", (0.1, 0.3), {"value": 0.05}, "above"),
        ("paper", (0.1, 0.3), {"measured": ["lora/mlp/A/f1"]}, "not run"),
        ("paper", (0.1, 0.3), {"measured": []}, ledger.NOT_TESTED),
    ],
)
def test_a_figure_is_judged_at_the_papers_scale_alone(profile, bounds, figure, verdict):
    frame = ledger.judged(small(**figure), {profile: rows(*bounds)}).set_index("id")
    assert frame.loc["f", "verdict"] == verdict
    assert frame["verdict"].loc[["c"]].tolist() == ["agrees", "not run"]
    assert frame.loc["u", "verdict"] == ledger.NOT_TESTED


@pytest.mark.parametrize(
    ("bounds", "seeds", "above", "verdict"),
    [
        ((0.41, 0.59), (0, 1), "yes", "agrees"),
        ((0.41, 0.59), (0,), "yes", "weak support"),
        ((0.70, 0.90), (0, 1), "–", "disagrees"),
        ((0.10, 0.30), (0,), "yes", "weak contradiction"),
        ((0.50, 0.70), (0, 1), "yes", "inconclusive"),
        ((0.41, 0.59), (0, 1), "no", "not testable here: below the floor"),
        (None, (0, 1), "yes", "not run"),
    ],
)
def test_a_claim_of_a_range_is_judged_by_the_whole_interval(bounds, seeds, above, verdict):
    claim = {"id": "c", "paper": "2510.15851", "claim": "It loses half.", "within": [0.4, 0.6]}
    claim |= {"measured": ["baselines/losses:gold/A/lost"]}
    parts = {"papers": {"2510.15851": "Slot filling"}, "figures": [], "claims": [claim]}
    lost = Cell("–") if bounds is None else Cell("0.5", 0.5, *bounds)
    row = Row("baselines/losses:gold/A", "baselines_losses", "ok", seeds=seeds,
              cells={"lost": lost, "above_floors": Cell(above)})  # fmt: skip
    found = ledger.judged(ledger.Ledger.model_validate(parts), {"mini": {row.key: row}}).iloc[0]
    assert found["verdict"] == verdict
    assert found["number"] == "mini/baselines/losses:gold/A/lost"


@pytest.mark.parametrize("lacks", ["within", "measured"])
def test_a_claim_of_a_range_needs_range_and_numbers(lacks):
    claim = {"id": "c", "paper": "1", "claim": "Half.", "within": [0.4, 0.6], "measured": ["a/b/A/f1"]}
    del claim[lacks]
    with pytest.raises(ValueError, match="claim 'c' needs both"):
        ledger.Ledger.model_validate({"papers": {"1": "One"}, "figures": [], "claims": [claim]})


def test_table_and_picture_show_both_sides(home, monkeypatch):
    monkeypatch.setattr(ledger, "load_yaml", lambda kind, file: small())
    numbers.update("mini", "lora", ["lora", "lora_claims"], list(rows().values()))
    written = {path.name: path for path in ledger.write(["mini"])}
    assert written.keys() == {"claims.csv", "claims.md", "claims.html", "claims.pdf", "claims.png"}
    text = written["claims.md"].read_text()
    assert "| 0.4        | 0.200 [0.1, 0.3] |" in text and "1 agrees; 1 not run" in text
    assert "no study tests it" in text and "Slot filling: [2510.15851]" in text
    assert "F1 of slots is by partial match, version 1 at `mini`." in text
    apart = "version 1 at `mini` and version 2 at `small`, which cannot be compared."
    assert apart in ledger._versions(["mini", "small"])
    page = written["claims.html"].read_text()
    told = ["CNN, F1", "–", "–", "0.4", "0.200 [0.1, 0.3]"], ["LoRA helps.", "–", "–", "1 agrees; 1 not run"]
    assert re.findall(r"<td>(.*?)</td>", page)[:9] == [*told[0], *told[1]]
    assert 'src="claims.png"' in page and "<script" not in page and "`" not in page
    frame = pd.read_csv(written["claims.csv"]).set_index("id")
    assert frame.loc["f", "number"] == "mini/lora/cnn/A/f1" and frame.loc["f", "high"] == 0.3
    before = [path.read_bytes() for path in written.values()]
    assert [path.read_bytes() for path in ledger.write(["mini"])] == before
    picture = ledger.picture_of(small(), ledger.judged(small(), {"mini": rows()}))
    reported, measured = picture.axes
    assert reported.lines[0].get_xdata().tolist() == [0.4]
    assert measured.lines[0].get_xdata().tolist() == [0.2] and measured.get_xlim() == reported.get_xlim()
    assert measured.lines[-1].get_xdata().tolist() == [0.2]  # a filled marker
    low = rows()
    low["lora/cnn/A"].cells["above_floors"] = Cell("False")
    picture = ledger.picture_of(small(), ledger.judged(small(), {"mini": low}))
    hollow, filled = picture.axes[1].lines[-2:]
    assert hollow.get_mfc() == "white" and len(hollow.get_xdata()) == 1 and not len(filled.get_xdata())
    assert "hollow" in picture.get_supxlabel()
    other = {"mini": {key: row for key, row in rows().items() if row.table != "lora"}}
    assert ledger.picture_of(small(), ledger.judged(small(), other)) is None


def test_without_any_numbers_there_is_a_ledger_and_no_picture(home):
    assert [path.name for path in ledger.write([])] == ["claims.csv", "claims.md", "claims.html"]


def test_reports_write_it_where_there_is_one(suite, capsys):
    assert cli.main(["report", "all"]) == 0
    assert "results/claims.md" not in capsys.readouterr().out
    ledger.file().parent.mkdir()
    ledger.file().write_text((paths.PROJECT / "experiments" / "papers" / "claims.yaml").read_text("utf-8"))
    assert cli.main(["report", "all"]) == 0
    assert {"results/claims.md", "results/claims.csv"} <= set(capsys.readouterr().out.splitlines())


def test_reports_of_one_study_and_of_smoke_leave_it_as_it_is(suite):
    ledger.file().parent.mkdir()
    ledger.file().write_text((paths.PROJECT / "experiments" / "papers" / "claims.yaml").read_text("utf-8"))
    study = (suite / "experiments" / "adapter_size.yaml").read_text("utf-8")
    (suite / "experiments" / "other.yaml").write_text(study.replace("study: adapter_size", "study: other"))
    assert cli.main(["report", "all", "--profile", "mini"]) == 0
    claims = paths.home() / "results" / "claims.md"
    claims.unlink()
    for asked in (["adapter_size", "--profile", "mini"], ["all", "--profile", "smoke"]):
        assert cli.main(["report", *asked]) == 0
        assert not claims.exists()


def test_an_entry_of_another_paper_is_refused(tmp_path):
    file = tmp_path / "claims.yaml"
    file.write_text("papers: {a: A}\nfigures: []\nclaims: [{id: c, paper: b, claim: It is., tested: []}]\n")
    with pytest.raises(UserError, match="an entry names paper b, which is not among papers: a"):
        load_yaml(ledger.Ledger, file)
