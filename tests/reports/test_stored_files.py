"""Predictions and curves of a run that are damaged: one sentence, and no number that is not theirs."""

from __future__ import annotations

import gzip
import json
from types import SimpleNamespace

import pytest

from speechllm_bench.errors import UserError
from speechllm_bench.planning import stored_runs
from speechllm_bench.reports.stage_ends import trained_again
from speechllm_bench.storage import sealed
from speechllm_bench.storage.outputs import read_curve
from speechllm_bench.storage.schema import CURVE_COLUMNS, Prediction

LINE = "slots,8,64,validation,loss,0.25\n"
CURVE = (",".join(CURVE_COLUMNS) + "\n" + LINE).encode()
SAID = Prediction("e", "u", "s", "slots", "{}", "{}", ("city",), 2, "to rome")
PACKED = gzip.compress(json.dumps(SAID.to_json()).encode() + b"\n", mtime=0)
PREDICTIONS = {
    "empty": b"",
    "cut in its checksum": PACKED[:-9],
    "cut": PACKED[:30],
    "not packed": b"{}",
    "no JSON": gzip.compress(b"{"),
    "another record": gzip.compress(b"{}"),
    "overwritten": PACKED[:40] + bytes(99),
}
CURVES = {
    "empty": b"",
    "a line's end": b"\n",
    "another value": CURVE[:-3],
    "no value": CURVE[:-6],
    "more columns": CURVE + b"1,2,3,4,5,6,7,8\n",
    "no text": b"\xff\n",
}


@pytest.mark.parametrize("damage", PREDICTIONS)
def test_damaged_predictions_are_told(tmp_path, damage):
    run = SimpleNamespace(name="lora mlp seed 0", folder=tmp_path)
    sealed.write(tmp_path / "run.json", {}, {})
    file = tmp_path / "predictions.jsonl.gz"
    file.write_bytes(PACKED)
    assert stored_runs.predictions(run) == [SAID]
    file.write_bytes(PREDICTIONS[damage])
    with pytest.raises(UserError, match="gz is damaged; delete its folder and run lora mlp seed 0 again"):
        stored_runs.predictions(run)


def test_a_curve_gives_the_plain_name_to_the_version_asked_for(tmp_path):
    file = tmp_path / "curve.csv"
    later = LINE.replace("loss,0.25", "f1,0.5") + LINE.replace("loss,0.25", "f1_v2,0.75")
    file.write_bytes(CURVE + later.encode())
    for version, value in ((1, 0.5), (2, 0.75)):
        curve = read_curve(file, version)
        assert list(zip(curve["metric"], curve["value"])) == [("loss", 0.25), ("f1", value)]
    file.write_bytes(CURVE)
    assert read_curve(file, 2)["metric"].tolist() == ["loss"]


def test_a_later_metric_tells_no_two_trainings_apart(tmp_path):
    config = SimpleNamespace(stages=[SimpleNamespace(name="slots")])
    rows = []
    for variant, more in (("mlp", ""), ("cnn", LINE.replace("loss,0.25", "f1_v2,0.75"))):
        (tmp_path / variant).mkdir()
        (tmp_path / variant / "curve.csv").write_bytes(CURVE + more.encode())
        run = SimpleNamespace(folder=tmp_path / variant, stages=["d"], config=config)
        rows.append({"record": {}, "variant": variant, "run": run})
    assert trained_again(rows) == []
    (tmp_path / "cnn" / "curve.csv").write_bytes(CURVE.replace(b"0.25", b"0.5"))
    assert len(trained_again(rows)) == 1


@pytest.mark.parametrize("damage", CURVES)
def test_a_damaged_curve_is_told(tmp_path, damage):
    file = tmp_path / "curve.csv"
    file.write_bytes(CURVE)
    assert read_curve(file)["value"].tolist() == [0.25]
    file.write_bytes(CURVES[damage])
    with pytest.raises(UserError, match="curve.csv is damaged.*; delete its folder and run again"):
        read_curve(file)
    config = SimpleNamespace(stages=[SimpleNamespace(name="slots")])
    row = {
        "record": {},
        "variant": "mlp",
        "run": SimpleNamespace(folder=tmp_path, stages=["d"], config=config),
    }
    if not CURVES[damage].endswith(b"\n"):
        with pytest.raises(UserError, match="curve.csv is damaged or cut short"):
            trained_again([row])
