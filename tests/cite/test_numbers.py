"""Numbers under their ids: as the tables have them, with what they rest on, and the same bytes each time."""

from __future__ import annotations

import json
from dataclasses import replace

import pandas as pd
import pytest
from stored_runs import store

from speechllm_bench import cli
from speechllm_bench.cite import forms
from speechllm_bench.errors import UserError
from speechllm_bench.planning import studies
from speechllm_bench.reports import cells, claims
from speechllm_bench.reports import study as reports
from speechllm_bench.storage import numbers, paths, runs


def test_cells_are_those_of_the_table(stored):
    frame = pd.read_csv(paths.results("mini") / "tables" / "adapter_size.csv").set_index("variant")
    for variant in ("cnn", "mlp"):
        for column in ("f1", "recall", "slu_f1"):
            cell = numbers.find(f"mini/adapter_size/{variant}/A/{column}").cell
            ends = [frame.loc[variant, f"{column}{end}"] for end in ("", "_low", "_high")]
            assert [cell.value, cell.low, cell.high] == ends
            assert cell.shown == "{:.3f} [{:.3f}, {:.3f}]".format(*ends)
    size = numbers.find("mini/adapter_size/mlp/A/trained_parameters").cell
    assert size.value == frame.loc["mlp", "trained_parameters"] and size.shown == "3,703,701"


def test_a_number_tells_what_it_rests_on(stored):
    row = numbers.find("mini/adapter_size/cnn/A/f1").row
    digests = [studies.run("adapter_size", "cnn", seed, "mini").digest for seed in (0, 1)]
    assert (row.seeds, list(row.runs)) == ((0, 1), digests)
    assert (row.n, row.speakers, row.status) == (20, 10, "ok")
    assert (row.commits, row.machines) == (("abc123",), ("cpu a chip",))
    assert row.made_of["metric partial_match"] == 1
    assert numbers.read("mini")["adapter_size/linear/A"].status == "1 ok, 1 diverged"
    assert len(numbers.read("mini")["adapter_size/linear/A"].seeds) == 1  # no number rests on the other


def test_claims_have_ids_too(stored):
    row = numbers.find("mini/adapter_size/mlp-cnn/A/verdict").row
    found = claims.verdicts(*_study_and_rows()).set_index("compared").loc["mlp − cnn"]
    assert row.cells["verdict"].shown == found["verdict"] == "agrees"
    assert row.cells["difference"].value == pytest.approx(found["difference"], rel=1e-5)
    assert row.cells["difference"].shown.startswith("+0.") and "p" in row.cells
    assert len(row.runs) == 4


def test_a_cited_difference_tells_its_verdict_and_what_reverses_it(stored):
    number = numbers.find("mini/adapter_size/mlp-cnn/A/difference")
    told = forms.as_text(number).splitlines()
    assert "  compared: mlp − cnn" in told  # above 0 where the MLP is ahead
    assert "  verdict: agrees" in told and not any("reversed by" in line for line in told)
    cells_ = number.row.cells | {"reversed_by": numbers.Cell("SLU-F1")}
    again = replace(number, row=replace(number.row, cells=cells_))
    assert set(forms.as_text(again).splitlines()) - set(told) == {"  reversed by: SLU-F1"}
    p = numbers.find("mini/adapter_size/mlp-cnn/A/p")
    assert "verdict" not in forms.as_text(p)


def _study_and_rows():
    return studies.load("adapter_size", "mini")[0], studies.records("adapter_size", "mini")


def test_a_row_without_a_run_says_so(stored):
    with pytest.raises(UserError, match="its row is NOT RUN"):
        numbers.find("mini/adapter_size/no_audio/A/f1")


def test_the_same_records_give_the_same_bytes_and_one_change_few_lines(stored):
    file = numbers.file("mini")
    before = file.read_text()
    reports.write("adapter_size", "mini", draw=False)
    assert file.read_text() == before
    store("cnn", 0, 6)
    reports.write("adapter_size", "mini", draw=False)
    changed = set(before.splitlines()) ^ set(file.read_text().splitlines())
    told = [line for line in changed if '"shown"' not in line and '"seal"' not in line]
    assert 0 < len(changed) < 40 and not told, "a changed number is a changed line, and the seal another"


def test_other_studies_and_tables_keep_their_rows(stored):
    kept = numbers.Row("other/x/A", "other", "ok", cells={"f1": numbers.Cell("0.5", 0.5)})
    numbers.update("mini", "other", ["other"], [kept])
    by_hand = numbers.Row("adapter_size/errors:x/all", "adapter_size_errors", "ok")
    numbers.update("mini", "adapter_size", ["adapter_size_errors"], [by_hand])
    reports.write("adapter_size", "mini", draw=False)
    assert {"other/x/A", "adapter_size/errors:x/all", "adapter_size/cnn/A"} <= numbers.read("mini").keys()
    numbers.update("mini", "adapter_size", ["adapter_size_errors"], [])
    assert "adapter_size/errors:x/all" not in numbers.read("mini")


def test_numbers_are_strict_json_and_a_damaged_file_is_told(stored):
    file = numbers.file("mini")
    assert json.loads(file.read_text())["profile"] == "mini"
    assert runs.read_json(file)["format"] == numbers.FORMAT
    whole = file.read_text()
    place = whole.index('"value": 0.') + len('"value": 0.')
    file.write_text(f"{whole[:place]}{9 - int(whole[place])}{whole[place + 1 :]}")
    with pytest.raises(UserError, match="does not agree with its own seal; delete it and write it anew"):
        numbers.read("mini")
    file.write_text("{")
    with pytest.raises(UserError, match="not readable JSON; delete it and write it anew by .*report all"):
        numbers.read("mini")


def test_a_table_of_text_is_read_back_by_its_words(stored):
    study, rows = _study_and_rows()
    shown = pd.DataFrame(
        {
            "model": ["one model per task", "+ LoRA"],
            "gain over": ["adapter", "adapter"],
            "SLUE score": ["51.297 [49.580, 53.071]", "58.203 [56.209, 60.307]"],
            "gain": ["–", "+6.906* [+5.148, +8.673]"],
            "LAW (4)": ["1,024", "0.061"],
        }
    )
    found = {row.key: row for row in cells.of_further(study, rows, "slue", shown)}
    assert list(found) == [
        "adapter_size/slue:one_model_per_task:adapter/all",
        "adapter_size/slue:plus_lora:adapter/all",
    ]
    first, second = found.values()
    assert first.cells.keys() == {"slue_score", "law_4"} and first.cells["law_4"].value == 1024
    assert second.cells["gain"] == numbers.Cell("+6.906 [+5.148, +8.673]", 6.906, 5.148, 8.673)
    alike = pd.DataFrame({"variant": ["cnn", "cnn"], "seed": [0, 1], "seconds": [3.5, 4.5]})
    named = [row.key for row in cells.of_further(study, rows, "decoding", alike)]
    assert named == ["adapter_size/decoding:cnn:0/A", "adapter_size/decoding:cnn:1/A"]


@pytest.mark.parametrize(
    ("early", "now"),
    [
        ("slue:one_model_per_task:plus_lora/all/gain", "slue:single:lora/all/gain"),
        ("changes:base:hybrid_not_thinking/all/f1", "changes:base:hybrid_no_think/all/f1"),
        ("tags:ner_all/A/law_4", "tags:ner_all/A/law"),
        ("traces:hybrid/A/tokens_an_answer", "traces:hybrid/A/tokens"),
    ],
)
def test_an_early_id_is_told_by_its_name_of_today(stored, early, now):
    key, _, column = now.rpartition("/")
    row = numbers.Row(f"other/{key}", "other_table", "ok", cells={column: numbers.Cell("0.5", 0.5)})
    numbers.update("mini", "other", ["other_table"], [row])
    assert numbers.find(f"mini/other/{now}").cell.value == 0.5
    with pytest.raises(UserError, match=f"'mini/other/{early}' is called 'mini/other/{now}' now"):
        numbers.find(f"mini/other/{early}")
    with pytest.raises(UserError, match="there is no number"):
        numbers.find(f"mini/other/{early}er")


def test_the_tex_file_has_a_macro_for_each_id(stored):
    text = numbers.file("mini").with_suffix(".tex").read_text()
    cell = numbers.find("mini/adapter_size/cnn/A/difference").cell
    value, interval = (part.replace("-", "$-$") for part in cell.parts)
    assert rf"\benchdef{{mini/adapter_size/cnn/A/difference}}{{{value}}}{{{interval}}}" in text.splitlines()
    assert text.count("\n\\benchdef{") == sum(len(row.cells) for row in numbers.read("mini").values())
    assert numbers.escaped("12.5 % < a_b") == r"12.5 \% $<$ a\_b"


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ("", "n = 20 utterances of 10 speakers, 2 seeds"),
        ("--latex", "0.300~[0."),
        ("--md", "](results/mini/tables/adapter_size.md); n = 20"),
        ("--bib", r"note         = {Numbers mini/adapter\_size/cnn/A/recall; commit abc123},"),
    ],
)
def test_cite_in_each_form(stored, capsys, form, said):
    assert cli.main(["cite", "mini/adapter_size/cnn/A/recall", *form.split()]) == 0
    out = capsys.readouterr().out
    assert said in out
    if form == "--bib":
        assert "eprint        = {2510.15851}" in out and "2509.04473" not in out


def test_cite_takes_patterns_and_tells_the_nearest_of_what_there_is_not(stored, capsys):
    assert cli.main(["cite", "mini/adapter_size/*/A/f1", "--latex"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 3
    assert cli.main(["cite", "mini/adapter_size/mlpp/A/f1"]) == 2
    assert "the nearest ids are: mini/adapter_size/mlp/A/f1" in capsys.readouterr().err
    assert cli.main(["cite", "paper/adapter_size/mlp/A/f1"]) == 2
    assert "there are no numbers of a profile 'paper'" in capsys.readouterr().err
    assert cli.main(["cite"]) == 2
    assert "name at least one id" in capsys.readouterr().err
