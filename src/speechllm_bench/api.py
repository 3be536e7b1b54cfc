"""The Python API: the functions of `import speechllm_bench as bench`.

bench.results("lora", profile="mini")                   # a tidy data frame of the study's numbers
bench.load("lora", "mlp_lora", profile="small").ask("call.wav", slots=["name", "city"])
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from speechllm_bench.storage import numbers
from speechllm_bench.storage.numbers import Row

if TYPE_CHECKING:
    import pandas as pd

    from speechllm_bench.commands.asking import Model

COLUMNS = (
    *("id", "study", "variant", "test_set", "metric", "value", "low", "high", "shown"),
    *("n", "speakers", "seeds", "status", "runs"),
)


def results(study: str, profile: str = "smoke", table: str | None = None) -> pd.DataFrame:
    """Return the numbers of a study's table, one row per variant and metric (columns: `COLUMNS`).

    A variant without numbers has one row. table: another table of the study, for example "claims". The
    numbers are those of the last report. Without a report they are computed from the records, which takes
    longer. Torch is not loaded.
    """
    import pandas as pd

    name = f"{study}_{table}" if table else study
    rows = [row for row in numbers.read(profile).values() if row.study == study]
    if not rows:
        from speechllm_bench.reports import study as reports

        rows = reports.numbered(study, profile)
    lines = [line for row in rows if row.table == name for line in _lines(profile, row)]
    return pd.DataFrame(lines, columns=COLUMNS)


def load(study: str, variant: str, profile: str = "smoke", seed: int | None = None) -> Model:
    """Return a trained model that answers questions about recordings (`asking.Model`)."""
    from speechllm_bench.commands import asking

    return asking.load(study, variant, profile, seed)


def _lines(profile: str, row: Row) -> list[dict]:
    about = {
        "study": row.study,
        "variant": row.name,
        "test_set": row.test_set,
        "n": row.n,
        "speakers": row.speakers,
        "seeds": len(row.seeds),
        "status": row.status,
        "runs": row.runs,
    }
    found = [
        {**about, "id": number.id, "metric": number.column, **vars(number.cell)}
        for number in numbers.of_row(profile, row)
    ]
    return found or [about]
