"""Stored learning curves tell trainings of one stage apart."""

from types import SimpleNamespace

import pandas as pd

from speechllm_bench.reports.progress import trainings
from speechllm_bench.reports.stage_ends import failed, trained_again

HEADING = "stage,step,examples,split,metric,value\n"


def row(folder, variant, *ends):
    """A variant whose one stage ends on validation with these (metric, value)."""
    (folder / variant).mkdir()
    lines = [f"slots,10,80,validation,{metric},{value}\n" for metric, value in [("loss", 2.0), *ends]]
    (folder / variant / "curve.csv").write_text(HEADING + "".join(lines))
    config = SimpleNamespace(stages=[SimpleNamespace(name="slots")])
    run = SimpleNamespace(folder=folder / variant, stages=["one digest"], config=config)
    return {"record": {}, "variant": variant, "run": run}


def test_a_stage_that_was_trained_twice_is_told_with_where_it_ended(tmp_path):
    first, same = (row(tmp_path, name, ("loss", 0.5), ("f1", 0.25)) for name in ("mlp", "no_audio"))
    assert trained_again([first, same, row(tmp_path, "mlp_long", ("loss", 0.5001), ("f1", 0.25))]) == []
    ((sentence, items),) = trained_again(
        [first, same, row(tmp_path, "mlp_b_id", ("loss", 0.4), ("f1", 0.3125))]
    )
    assert sentence == "The stage slots was trained 2 times."
    ended = "It ended on validation, seed by seed, at"
    assert items == [
        f"Stage slots, training 1, for mlp, no_audio. {ended}: loss 0.500, f1 0.250.",
        f"Stage slots, training 2, for mlp_b_id. {ended}: loss 0.400, f1 0.312.",
    ]


def test_variants_that_share_a_stage_are_one_training_of_its_metrics():
    def points(variant, stage, metric, *values):
        named = {"variant": variant, "stage": stage, "metric": metric, "split": "validation"}
        last_digit = 1 + 1e-6 * ord(variant)  # as two machines that train the same stage
        return [named | {"value": value * last_digit} for value in values]

    lines = [line for v in ("a", "b", "c") for line in points(v, "transcription", "wer", 0.5, 0.4)]
    lines += [
        *points("a", "ner", "f1", 0.1),
        *points("b", "ner", "f1", 0.1),
        *points("b", "ner", "loss", 2.0),
    ]
    found = {metric: trainings(pd.DataFrame(lines), metric) for metric in ("wer", "f1", "loss", "exact_f1")}
    assert found == {"wer": 1, "f1": 2, "loss": 1, "exact_f1": 0}  # equal ends of two trainings are two


def test_a_stage_after_which_a_model_cannot_transcribe_is_told(tmp_path):
    lost, better = ("wer", 3.954), ("wer", 0.4)
    rows = [row(tmp_path, "ner", lost), row(tmp_path, "ner_lora", lost), row(tmp_path, "mlp", better)]
    (said,) = failed(rows)
    assert said.endswith("its WER on validation turns is 3.95 (ner, ner_lora).")
    assert failed(rows[2:]) == []
    many = failed([row(tmp_path, f"v{i}", ("wer", 1.0 + i)) for i in range(8)])
    assert many[0].endswith("is 1.00 to 8.00 (v0, v1, v2, v3, v4, v5 and 2 more).")
