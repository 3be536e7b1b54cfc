"""Stored learning curves tell trainings of one stage apart."""

from types import SimpleNamespace

from speechllm_bench.reports.curves import trained_again

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
    (said,) = trained_again([first, same, row(tmp_path, "mlp_b_id", ("loss", 0.4), ("f1", 0.3125))])
    assert said == (
        "The stage slots was trained 2 times: for mlp, no_audio, and again for mlp_b_id (where they "
        "ended apart on validation, seed by seed: loss 0.500, f1 0.250 against loss 0.400, f1 0.312)."
    )
