"""The recipe for a metric in docs/add.md, followed word for word on a copy of the package."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys

from speechllm_bench.evaluation import seeds
from speechllm_bench.storage import paths

MODULE = "src/speechllm_bench/tasks/slots.py"
PLACES = ('    Metric("slu_f1",', '            "slu_f1": [', '            "slu_f1": slu_f1.VERSION')
"""Lines behind which the three parts of the recipe go."""

SCORED = """
import json
from speechllm_bench.evaluation import score, seeds
from speechllm_bench.storage.schema import Prediction

said = [('{"city": "rome"}', '{"city": "rome"}'), ('{"city": "rome"}', '{"city": "york"}'), ("{}", "no JSON")]
told = [Prediction(f"e{i}", f"u{i}", f"s{i}", "slots", raw, gold, ("city",), 3, "rome")
        for i, (gold, raw) in enumerate(said)]
scored = score.score_task("slots", told, score.parser("slots", None, {}))
print(json.dumps(scored | {"pooled": seeds.pooled("answers_right")}, default=float))
"""


def test_the_recipe_gives_a_metric_with_its_counts_and_version(tmp_path):
    section = re.search(r"## A metric\n(.*?)\n## ", (paths.PROJECT / "docs/add.md").read_text("utf-8"), re.S)[
        1
    ]
    assert f"`{MODULE}`" in section
    shutil.copytree(paths.PROJECT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    lines = (tmp_path / MODULE).read_text("utf-8").splitlines(keepends=True)
    for place, added in zip(PLACES, re.findall(r"```text\n(.*?)```", section, re.S), strict=True):
        (at,) = [number for number, line in enumerate(lines) if line.startswith(place)]
        lines.insert(at + 1, added)
    (tmp_path / MODULE).write_text("".join(lines), "utf-8")
    own = {"PYTHONPATH": str(tmp_path / "src"), "SPEECHLLM_BENCH_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", SCORED], env=os.environ | own, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    score = json.loads(done.stdout)
    assert score["metrics"]["answers_right"]["value"] == 1 / 3
    assert score["totals"]["answers_right"] == [1, 3] and score["versions"]["answers_right"] == 1
    assert score["pooled"] == seeds.pooled("f1")
