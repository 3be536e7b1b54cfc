"""What the studies of traces show beside the common table, from stored scores and predictions."""

from __future__ import annotations

import gzip
import json
from types import SimpleNamespace

import matplotlib.pyplot as plt
import pytest

from speechllm_bench.errors import UserError
from speechllm_bench.evaluation import score, versions
from speechllm_bench.planning import studies
from speechllm_bench.reports import cells, show, traces
from speechllm_bench.storage import numbers, sealed
from speechllm_bench.storage.schema import Prediction
from speechllm_bench.tasks import slots, trace
from speechllm_bench.tasks.trace import Trace
from speechllm_bench.tasks.traced_slots import FORMS

SAID = "to rome on monday"


def answer(task: str, city: str | None) -> str:
    pairs = {"city": city} if city else {}
    if task in FORMS and FORMS[task].thinks:
        return trace.write(Trace(pairs, SAID, ("rome",), {"city": f"{city} after to"}))
    return slots.target(pairs)


def run_of(variant: str) -> SimpleNamespace:
    asked = SimpleNamespace(audio="own", answerer="model")
    return SimpleNamespace(name=variant, config=SimpleNamespace(evaluation=asked))


@pytest.fixture
def rows(tmp_path):
    """Four turns by three variants; the second turn wants nothing."""
    made = []
    for variant, task, said in (
        ("regular", "slots", ["rome", None, "oslo", "rome"]),
        ("hybrid_think", "slots_think", ["rome", "rome", "rome", "oslo"]),
        ("reasoning", "slots_reasoning", None),
    ):
        row = {"variant": variant, "seed": 0, "status": "ok", "score": None, "run": run_of(variant)}
        row["record"] = {"seconds": {"decode": 12.4}}
        made.append(row)
        if said is None:
            continue
        wanted = ["rome", None, "rome", "rome"]
        found = [
            Prediction(f"e{i}", f"u{i}", f"s{i}", task, answer(task, s), answer(task, w), ("city",), 20, SAID)
            for i, (s, w) in enumerate(zip(said, wanted))
        ]
        if task == "slots_think":
            found[0] = Prediction(**{**found[0].to_json(), "raw": found[0].raw + " so", "asked": ("city",)})
        row["run"].folder = tmp_path / variant
        row["run"].folder.mkdir()
        sealed.write(row["run"].folder / "run.json", {}, {})
        with gzip.open(row["run"].folder / "predictions.jsonl.gz", "wt") as file:
            file.writelines(json.dumps(p.to_json()) + "\n" for p in found)
        traced = task in FORMS
        row["score"] = score.score_task(task if traced else "slots", found)
    return made


def test_costs_has_a_row_for_what_was_scored_and_nothing_where_nothing_was_counted(rows):
    frame = traces.costs(rows).set_index("variant")
    assert list(frame.index) == ["regular", "hybrid_think"]
    regular, hybrid = frame.loc["regular"], frame.loc["hybrid_think"]
    assert regular["tokens"].value == 20 and regular["trace_wer"] is None and regular["obedience"] is None
    assert hybrid["obedience"].value == 1 and hybrid["faithfulness"].value == 0.75
    assert hybrid["malformed"].value == 0.25
    shown = traces.table(rows)
    assert shown["In the mode asked for"].tolist() == ["–", "1.000 [0.997, 1.000]"]
    assert shown["Seconds of decoding"].tolist() == ["12", "12"]
    assert shown["Tokens an answer"].tolist() == ["20.0", "20.0"]
    assert shown["Traces"].tolist() == ["0 of 4", "4 of 4"]
    _, line = cells.of_further(studies.load("reasoning_mode", "mini")[0], [], "traces", shown)
    assert line.cells["obedience"] == numbers.Cell("1.000 [0.997, 1.000]", 1, 0.997, 1), (
        "as the metric's name"
    )
    assert traces.table(rows[:1]).empty


def test_a_seed_without_a_trace_leaves_the_others_theirs(rows):
    silent = [
        Prediction(
            f"e{i}", f"u{i}", f"s{i}", "slots_think", "{}", answer("slots_think", "rome"), ("city",), 2, SAID
        )
        for i in range(4)
    ]
    second = {**rows[1], "seed": 1, "score": score.score_task("slots_think", silent)}
    both = traces.costs([*rows, second]).set_index("variant").loc["hybrid_think"]
    assert both["faithfulness"].value == 0.75 and (both["traces"], both["answers"]) == (4, 8)
    assert traces.costs([second])["faithfulness"].tolist() == [None]


def test_only_the_kinds_of_malformation_that_came_up_are_shown(rows):
    frame = traces.malformed(rows)
    assert frame.to_dict("index") == {"hybrid_think": {"text behind": 1}}
    assert traces.malformed(rows[:1]).empty


def test_a_turn_is_shown_by_every_variant_that_has_it(rows):
    shown = traces.side_by_side(rows, "u2")
    assert shown["variant"].tolist() == ["regular", "hybrid_think"] and shown["F1"].tolist() == [0, 1]
    assert shown["says"].tolist()[0] == '{"city": "oslo"}' and "<think>" in shown["says"].tolist()[1]
    assert traces.side_by_side(rows, "nobody").empty
    assert traces.telling_turn(rows) == "u1"  # u1, u2 and u3 differ by 1: the first
    rows[0]["run"].config.evaluation.audio = "other"
    assert traces.telling_turn(rows) == "u0"  # of the one that is left none differs
    with pytest.raises(UserError, match="no run of this study has a score yet"):
        traces.telling_turn(rows[2:])


def test_the_tags_of_a_trace_are_to_be_seen(rows):
    page = show.full(traces.side_by_side(rows, "u2")).to_html()
    assert "&lt;think&gt;caller: to rome" in page and "<think>" not in page


def test_single_answers_are_counted_by_the_version_that_the_scores_show(rows):
    file = rows[0]["run"].folder / "predictions.jsonl.gz"
    twice = '{"city": "rome", "city": "rome"}'
    with gzip.open(file, "rt") as read:
        lines = [json.loads(line) for line in read]
    with gzip.open(file, "wt") as written:
        written.writelines(json.dumps(line | {"raw": twice}) + "\n" for line in lines)
    assert traces.side_by_side(rows, "u0")["F1"].tolist() == [1, 1]
    for row in rows:
        row["score"] = row["score"] and versions.shown(row["score"], "paper")
    assert traces.side_by_side(rows, "u0")["F1"].tolist() == [0.667, 1]
    assert traces.telling_turn(rows) == "u3"  # 2/3 against 0, where u0 has 2/3 against 1


def test_where_thinking_helped_and_where_it_hurt(rows):
    frame = traces.helped(rows, "regular", "hybrid_think")
    assert frame["gain"].tolist() == [1, -1]  # u2 and u3; in u1 nothing was wanted
    assert traces.helped(rows, "regular", "reasoning").empty
    gained, lost = traces.ends(frame)
    assert (gained["gain"] > 0).all() and (lost["gain"] < 0).all() and len(gained) + len(lost) == len(frame)
    assert traces.ends(frame, 0)[0].empty
    told = traces.gained_and_lost(rows, "regular", "hybrid_think")
    assert told == "**hybrid_think** against **regular**: of the first seed, 1 turns gain, and 1 lose."
    rows.append({"variant": "hybrid", "seed": 0, "status": "NOT TESTABLE", "record": None, "score": None})
    assert traces.gained_and_lost(rows, "regular", "hybrid") == "No turns to compare. `hybrid`: NOT TESTABLE."


def test_the_figure_has_a_point_a_variant_and_is_not_drawn_without_any(rows):
    study = studies.load("reasoning_mode", "mini")[0]
    figure = traces.cost_figure(study, rows)
    (ax,) = figure.axes
    assert set(ax.get_legend_handles_labels()[1]) == {"regular", "hybrid, thinking"}
    plt.close(figure)
    assert traces.cost_figure(study, rows[2:]) is None


def test_shares_of_a_handful_of_answers_are_not_shown(rows):
    row = next(row for row in rows if row["variant"] == "hybrid_think")
    assert traces.costs(rows).set_index("variant").loc["hybrid_think", "grounding"] is not None
    few = {**row["score"], "n": 21 * row["score"]["totals"]["grounded"][1]}
    shown = traces.costs([{**row, "score": few}]).iloc[0]
    assert shown["grounding"] is None and shown["trace_wer"] is not None
