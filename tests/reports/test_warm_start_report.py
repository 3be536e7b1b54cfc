"""The report on warm starts: ends of stages, and curves over core-seconds."""

from __future__ import annotations

from types import SimpleNamespace

import matplotlib.pyplot as plt
import pandas as pd
import pytest

from speechllm_bench.planning import studies
from speechllm_bench.reports import progress
from speechllm_bench.storage.schema import CURVE_COLUMNS

WARM = [("warm_start", 4, 64, "train", "seconds", 2.0), ("warm_start", 4, 64, "validation", "wer", 0.3)]
SLOTS = [("slots", 8, 96, "train", "seconds", 10.0), ("slots", 8, 96, "validation", "f1", 0.5)]


def run(folder, variant: str, seed: int, lines: list[tuple], audio: str = "own", kind: str = "mlp") -> dict:
    folder = folder / f"{variant}{seed}"
    folder.mkdir()
    pd.DataFrame(lines, columns=CURVE_COLUMNS).to_csv(folder / "curve.csv", index=False)
    asked = SimpleNamespace(audio=audio, answerer="model")
    config = SimpleNamespace(evaluation=asked, adapter=SimpleNamespace(kind=kind) if kind else None)
    record = {"threads": 2, "device_kind": "cpu"}
    training = SimpleNamespace(folder=folder, stages=(variant,), config=config)
    return {"variant": variant, "seed": seed, "run": training, "record": record, "profile": "mini"}


def changed(lines: list[tuple], value: float) -> list[tuple]:
    """The lines with other values of the clock and of WER."""
    return [(*line[:-1], line[-1] + value) for line in lines]


def test_each_training_ends_where_its_stages_end(tmp_path):
    rows = [
        run(tmp_path, "mlp_ctc", 0, WARM + SLOTS),
        run(tmp_path, "mlp_ctc", 1, changed(WARM, 0.1) + SLOTS),
        run(tmp_path, "mlp", 0, [("transcription", 2, 32, "validation", "wer", 0.9), *SLOTS]),
        run(tmp_path, "no_audio", 0, WARM + SLOTS, audio="other"),
        {"variant": "cnn", "seed": 0, "run": None, "record": None},
    ]
    table = progress.alignment(rows).set_index("variant")
    assert list(table.index) == ["mlp_ctc", "mlp"]
    assert list(table.loc["mlp_ctc"]) == ["0.350", "–", "0.500", "96", "20"]  # ten seconds of two threads
    assert list(table.loc["mlp"]) == ["–", "0.900", "0.500", "96", "20"]
    assert progress.alignment([]).empty
    of_version_2 = [("slots", 8, 96, "validation", "f1_v2", 0.6)]
    row = run(tmp_path, "cnn_ctc", 0, WARM + SLOTS + of_version_2) | {"profile": "small"}
    assert progress.alignment([row])["validation F1"].tolist() == ["0.600"]


def curve(rows: list[dict]) -> pd.DataFrame:
    frames = [
        pd.read_csv(row["run"].folder / "curve.csv").assign(variant=row["variant"], seed=row["seed"])
        for row in rows
    ]
    return pd.concat(frames, ignore_index=True)


def test_points_have_the_mean_core_seconds_of_their_seeds(tmp_path):
    rows = [
        run(tmp_path, "mlp_ctc", 0, WARM + SLOTS),
        run(tmp_path, "mlp_ctc", 1, changed(WARM, 1.0) + SLOTS),
        run(tmp_path, "old", 0, [line for line in SLOTS if line[4] != "seconds"]),  # made without a clock
    ]
    found = progress.timed(rows, curve(rows))
    assert set(found["variant"]) == {"mlp_ctc"}
    f1 = found[found["metric"].isin(["wer", "f1"])].groupby(["metric", "seed"])["seconds"].last()
    assert f1.to_dict() == pytest.approx(
        {("f1", 0): 20, ("f1", 1): 20, ("wer", 0): 5, ("wer", 1): 5}, abs=1e-4
    )


def test_the_figure_is_of_one_adapter_and_none_without_a_curve(tmp_path):
    same_time = [("slots", step, 8 * step, "train", "seconds", 0.0) for step in (1, 2)]
    f1 = [("slots", step, 8 * step, "validation", "f1", 0.1) for step in (1, 2)]
    rows = [
        run(tmp_path, "mlp_ctc", 0, WARM + SLOTS),
        run(tmp_path, "mlp_alone", 0, same_time + f1),
        run(tmp_path, "cnn", 0, WARM + SLOTS, kind="cnn"),
        run(tmp_path, "chance", 0, [], kind=""),
    ]
    study = studies.load("warm_start", "mini")[0]
    figure = progress.seconds_figure(study, rows, curve(rows))
    assert len(figure.axes) == 2
    labels = {line.get_label() for ax in figure.axes for line in ax.lines if line.get_label()[0] != "_"}
    assert labels == {"MLP, CTC for transcription", "MLP, slots alone"}
    assert figure.axes[1].get_xlabel() == "core-seconds (own machine)"
    plt.close(figure)
    assert progress.seconds_figure(study, rows, curve(rows)[:0]) is None
    assert progress.seconds_figure(study, [], curve(rows)[:0]) is None
