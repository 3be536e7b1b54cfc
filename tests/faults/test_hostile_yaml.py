"""YAML that would hang or end the process, names that would run on a web page, things named twice."""

from __future__ import annotations

import pandas as pd
import pytest
import yaml
from conftest import toy_profile

from speechllm_bench import cli, notebook
from speechllm_bench.commands import arguments
from speechllm_bench.errors import UserError
from speechllm_bench.planning import studies
from speechllm_bench.reports import tables
from speechllm_bench.settings import strict
from speechllm_bench.settings.config import LARGEST_SEED
from speechllm_bench.settings.experiments import load_study
from speechllm_bench.settings.profiles import Profile
from speechllm_bench.storage import numbers

NINE = ", ".join(["x"] * 9)
BOMB = f"a0: &a0 [{NINE}]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 10)
)


class Anything(strict.Strict):
    a: list | dict | str


@pytest.fixture(params=["CSafeLoader", "SafeLoader"])
def loader(request, monkeypatch):
    monkeypatch.setattr(strict, "_LOADER", getattr(yaml, request.param))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (BOMB, "has more than 100,000 values with its aliases written out"),
        ("[" * 50_000, "in line 1 blocks are nested more than 50 deep"),
        ("a: " + "{b: " * 50_000, "in line 1 blocks are nested more than 50 deep"),
        ("- " * 50_000, "in line 1 blocks are nested more than 50 deep"),
        ("a: &a [*a]", "the block that begins in line 1 holds itself by an alias"),
    ],
)
def test_a_bomb_is_refused(tmp_path, loader, text, sentence):
    file = tmp_path / "study.yaml"
    file.write_text(text)
    with pytest.raises(UserError, match=f"^study.yaml is not readable YAML: .*{sentence}"):
        strict.load_yaml(Anything, file)


@pytest.mark.parametrize("value", ["[" * 50_000, "{a: " * 50_000, "{" + BOMB.replace("\n", ", ") + "}"])
def test_a_bomb_on_the_command_line_is_refused_too(home, capsys, value):
    assert cli.main(["plan", "lora", "--set", f"lora.rank={value}"]) == 2
    assert "--set has too many settings for the name of a folder" in capsys.readouterr().err


def test_aliases_and_blocks_as_studies_have_them_are_read(tmp_path, loader):
    file = tmp_path / "study.yaml"
    file.write_text("a:\n  - &x {b: [1, 2]}\n  - *x\n  - {<<: *x, c: 3}\n")
    both = {"b": [1, 2]}
    assert strict.load_yaml(Anything, file).a == [both, both, both | {"c": 3}]


def test_a_long_value_is_not_repeated_whole(tmp_path):
    file = tmp_path / "study.yaml"
    file.write_text("a: 1\nb: " + "x" * 5000)
    with pytest.raises(UserError) as refused:
        strict.load_yaml(Anything, file)
    assert len(str(refused.value)) < 1000


@pytest.mark.parametrize("name", ["<script>", "a|b", "a b", "../a", "-a", "a\nb", ""])
def test_a_variant_has_a_name_that_can_be_shown(suite, name):
    file = suite / "experiments" / "adapter_size.yaml"
    content = yaml.safe_load(file.read_text())
    content["variants"][name] = {}
    file.write_text(yaml.safe_dump(content))
    with pytest.raises(UserError, match="a name holds letters, digits and _ . \\+ - alone"):
        load_study(file)


def test_a_title_holds_no_markup(suite):
    file = suite / "experiments" / "adapter_size.yaml"
    content = yaml.safe_load(file.read_text())
    file.write_text(yaml.safe_dump(content | {"title": "F1 < 0.5"}))
    assert load_study(file).title == "F1 < 0.5"
    file.write_text(yaml.safe_dump(content | {"title": "<script>alert(1)</script>"}))
    with pytest.raises(UserError, match="key 'title' has value .*: text holds no markup"):
        load_study(file)


def test_a_table_shows_no_tag(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "display", lambda frame: frame)
    frame = pd.DataFrame({"Variant": ["<script>"], "Status": ["ok"]})
    _, markdown = tables.write(frame, tmp_path, "s", "<b>")
    assert "<" not in markdown.read_text() and "&lt;script>" in markdown.read_text()
    found = numbers.escaped("{50 %}\\input{x}~^")
    assert found == r"\{50 \%\}\textbackslash{}input\{x\}\textasciitilde{}\textasciicircum{}"


def test_what_is_named_twice_counts_once(suite):
    once = studies.plan(["adapter_size"], "smoke", ["cnn"], [0])
    again = studies.plan(["adapter_size", "adapter_size"], "smoke", ["cnn", "cnn"], [0, 0])
    assert [run.digest for run in again.runs] == [run.digest for run in once.runs]
    assert len(studies.records("adapter_size", "smoke", [0, 0])) == len(
        studies.records("adapter_size", "smoke", [0])
    )
    chosen = arguments.parser(cli._commands()).parse_args(
        ["study", "adapter_size", "adapter_size", "--seeds", "1,1,0", "--variants", "cnn,cnn"]
    )
    assert (chosen.seeds, chosen.variants) == ([1, 0], ["cnn"])
    assert cli._studies(chosen.study, "smoke") == ["adapter_size"]


@pytest.mark.parametrize(
    ("key", "twice"), [("seeds", [0, 0]), ("headline", ["adapter_size", "adapter_size"])]
)
def test_a_profile_names_nothing_twice(key, twice):
    with pytest.raises(UserError, match=f"{twice[0]!r} stands twice"):
        strict.checked(Profile, toy_profile("smoke") | {key: twice}, "smoke.yaml")


@pytest.mark.parametrize(("key", "twice"), [("extremes", ["cnn", "cnn"]), ("telling", ["mlp", "cnn", "mlp"])])
def test_a_study_names_nothing_twice(suite, key, twice):
    file = suite / "experiments" / "adapter_size.yaml"
    file.write_text(yaml.safe_dump(yaml.safe_load(file.read_text()) | {key: twice}))
    with pytest.raises(UserError, match=f"'{twice[0]}' stands twice"):
        load_study(file)


@pytest.mark.parametrize("seeds", ["9" * 23, str(LARGEST_SEED + 1), "9" * 5000, "²", "-1"])
def test_a_seed_that_torch_cannot_draw_from_is_refused(home, capsys, seeds):
    assert cli.main(["run", "adapter_size", "cnn", f"--seed={seeds}"]) == 2
    told = capsys.readouterr().err
    assert told.startswith("speechllm-bench: ") and told.count("\n") == 1
    assert f"seeds are whole numbers from 0 to {LARGEST_SEED}" in told


def test_a_notebook_names_no_seed_twice(suite):
    with pytest.raises(
        UserError, match="parameter 'seeds' of notebook 'x' names something twice: \\[0, 0\\]"
    ):
        notebook._check_values("x", {"profile": "smoke", "seeds": [0, 0]})
