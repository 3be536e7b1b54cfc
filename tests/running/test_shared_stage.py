"""A stage that another run has trained: older records do not say how much of an answer was decoded."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from speechllm_bench.errors import UserError
from speechllm_bench.running import shared_stage
from speechllm_bench.storage import runs, sealed

DIGEST = "0123"


@pytest.fixture
def stored(tmp_path: Path):
    """An older record of a stage, beside a run of at most 32 tokens an answer that has shared it."""
    folder = tmp_path / "stages" / DIGEST
    run = {"stages": [DIGEST], "config": {"evaluation": {"max_new_tokens": 32}}}
    runs.write_text(tmp_path / "runs" / "one" / "run.json", json.dumps(run))

    def store(**stage) -> Path:
        sealed.write(folder / "stage.json", {"digest": DIGEST, "stage": stage}, {})
        return folder

    return store


@pytest.mark.parametrize("stage", [{"decoded_turns": 0}, {"decoded_turns": 100, "objective": "ctc"}])
def test_a_stage_without_decoded_answers_is_shared_at_any_limit(stored, stage):
    folder = stored(**stage)
    assert shared_stage.read(folder, None)["digest"] == DIGEST


def test_the_limit_of_an_older_stage_is_that_of_the_runs_that_share_it(stored):
    folder = stored(decoded_turns=100)
    assert shared_stage.read(folder, 32)["stage"] == {"decoded_turns": 100}
    with pytest.raises(UserError, match="at most 32 tokens an answer, and the profile now allows 64"):
        shared_stage.read(folder, 64)
