import json

import pytest

from speechllm_bench.data.corpora import slurp
from speechllm_bench.errors import UserError

ROW = {
    "scenario": "calendar",
    "action": "set",
    "intent": "not_the_one_scored",
    "tokens": [{"surface": "Meet"}, {"surface": "New"}, {"surface": "York"}],
    "entities": [{"type": "place", "span": [1, 2]}],
    "recordings": [{"file": "a.flac"}, {"file": "a-headset.flac"}],
}


def test_gold_is_one_item_a_recording(tmp_path):
    (tmp_path / "gold.jsonl").write_text(json.dumps(ROW) + "\n")
    answer = {"intent": "calendar_set", "entities": [{"type": "place", "filler": "new york"}]}
    assert slurp.read_gold(tmp_path / "gold.jsonl") == {"a.flac": answer, "a-headset.flac": answer}


def test_predictions_are_left_as_they_are(tmp_path):
    entities = [{"type": "place", "filler": "New  York", "score": 1}]
    row = {"file": "a.flac", "scenario": "calendar", "action": "set", "entities": entities}
    (tmp_path / "said.jsonl").write_text(json.dumps(row) + "\n")
    found = slurp.read_predictions(tmp_path / "said.jsonl")
    assert found == {"a.flac": {"intent": "calendar_set", "entities": entities}}


@pytest.mark.parametrize(("line", "message"), [("{", "line 1: not readable"), ('{"file": 1}', "no scenario")])
def test_other_files_are_refused(tmp_path, line, message):
    (tmp_path / "x.jsonl").write_text(line + "\n")
    with pytest.raises(UserError, match=message):
        slurp.read_predictions(tmp_path / "x.jsonl")
