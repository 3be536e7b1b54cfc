"""What a study's report reads off its curves."""

from __future__ import annotations

from types import SimpleNamespace

import pandas as pd
from scored_answers import claiming

from speechllm_bench.reports import claims, figures, progress
from speechllm_bench.settings.experiments import Study
from speechllm_bench.settings.reported import ClaimConfig
from speechllm_bench.storage.schema import CURVE_COLUMNS


def run(variant: str, seed: int, status: str) -> dict:
    """A run without a score; without a record where it was not run."""
    record = None if status == "NOT RUN" else {"status": status}
    return {
        "variant": variant,
        "seed": seed,
        "status": status,
        "record": record,
        "score": None,
        "profile": "mini",
    }


def judged(rows: list[dict], **claim) -> pd.Series:
    entry = ClaimConfig(claim="Half the rate tames it.", source="ours", better="half", worse="full", **claim)
    found = claims.verdicts(claiming([entry]), rows)
    assert len(claims.show_verdicts(found)) == 1
    return found.iloc[0]


def test_divergence_is_judged_and_told_and_no_survivor_is():
    rows = [run("half", s, "ok") for s in range(3)]
    rows += [run("full", s, status) for s, status in enumerate(("diverged", "ok", "diverged"))]
    found = judged(rows)
    assert (found["verdict"], found["diverged"]) == ("agrees", "full diverged on 2")
    assert pd.isna(found["difference"])
    assert claims.show_verdicts(pd.DataFrame([found]))["difference"].item() == "full diverged on 2"
    assert judged(rows, beyond=["half", "full"])["verdict"] == "inconclusive"
    assert judged(rows, scale="8 B")["verdict"] == "not testable here"


def test_divergence_beside_a_variant_that_was_not_run_is_no_verdict():
    rows = [run("half", 0, "NOT RUN"), run("full", 0, "diverged"), run("full", 1, "diverged")]
    assert (judged(rows)["verdict"], judged(rows)["diverged"]) == ("not run", "")


def test_of_too_many_curves_the_telling_ones_are_drawn(tmp_path):
    points = [(100, 0.2), (200, 0.5), (300, 0.4)]
    one = pd.DataFrame(points, columns=["examples", "value"])
    one = one.assign(stage="slots", step=one["examples"], split="validation", metric="f1")
    rows = []
    for i in range(figures.MOST_LINES + 1):
        folder = tmp_path / str(i)
        folder.mkdir()
        one[list(CURVE_COLUMNS)].to_csv(folder / "curve.csv", index=False)
        config = SimpleNamespace(evaluation=SimpleNamespace(answerer="model"))
        training = SimpleNamespace(folder=folder, stages=(str(i),), config=config)
        rows.append(run(f"v{i}", 0, "ok") | {"run": training})
    about = dict.fromkeys(("study", "title", "paper", "question"), "of_many") | {"baseline": "v0", "base": {}}
    about |= {"telling": ["v2", "v12"], "extremes": ["v0", "v1"], "reported": [], "claims": []}
    chosen = Study(**about, variants={f"v{i}": {} for i in range(13)})

    def drawn(some: list[dict]) -> list[list[str]]:
        panels = progress.curves_figure(chosen, some).axes
        named = [[line.get_label() for line in ax.lines if line.get_label()[0] != "_"] for ax in panels]
        return list(map(list, dict.fromkeys(map(tuple, named))))

    names = [f"v{i}" for i in range(figures.MOST_LINES)]
    assert drawn(rows[:-1]) == [names[:6], names[6:]]  # a row of panels for each six
    assert drawn(rows[:6]) == [names[:6]] and drawn(rows[:7]) == [names[:4], names[4:7]]
    assert drawn(rows) == [["v2", "v12"]]
    assert progress.curves_figure(chosen, []) is None
