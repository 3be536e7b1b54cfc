"""A stage that another run has trained is shared where its curve was decoded with the same limit."""

from __future__ import annotations

from pathlib import Path

import pytest

from speechllm_bench.errors import UserError
from speechllm_bench.running import jobs
from speechllm_bench.storage import sealed


def stored(folder: Path, **record) -> Path:
    sealed.write(folder / "stage.json", record, {})
    return folder


def test_a_curve_of_another_limit_is_refused(tmp_path):
    folder = stored(tmp_path, decoded_tokens=32)
    assert jobs.trained_before(folder, 32)["decoded_tokens"] == 32
    with pytest.raises(UserError, match="at most 32 tokens an answer, and the profile now allows 64"):
        jobs.trained_before(folder, 64)


@pytest.mark.parametrize("record", [{"decoded_tokens": None}, {"digest": "an older record"}])
def test_a_stage_that_decoded_nothing_or_does_not_say_is_shared_at_any_limit(tmp_path, record):
    assert jobs.trained_before(stored(tmp_path, **record), 64).items() >= record.items()
