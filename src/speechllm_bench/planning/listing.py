"""Lists for `speechllm-bench list` and `plan`: studies, variants and profiles, and the runs of a plan.

Both lists are rows of plain data first, so that text and JSON Lines agree. Nothing is started or written.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Literal

import yaml

from speechllm_bench.errors import UserError
from speechllm_bench.planning import places, studies
from speechllm_bench.planning.estimate import clock, describe, run_seconds
from speechllm_bench.planning.studies import Plan, Run
from speechllm_bench.settings import catalogue, experiments, profiles
from speechllm_bench.storage.status import Status

WIDTH = 80  # characters of a variant's settings in text
Kind = Literal["studies", "variants", "profiles", "headline"]


class _Dumper(yaml.SafeDumper):
    """A dumper that writes a repeated value out each time, without anchors and aliases."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def jsonl(rows: Iterable[dict]) -> str:
    """Format rows as JSON Lines."""
    return "\n".join(json.dumps(row, ensure_ascii=False) for row in rows)


def there_are(kind: Kind | None, profile: str) -> list[dict]:
    """Return one row per study, variant, profile or headline study of `profile`.

    kind: None is studies, variants and profiles. A study or profile whose file cannot be read has the error
    sentence under `error`.
    """
    if kind == "headline":
        return [{"kind": "study", "name": name} for name in studies.profile_named(profile).headline]
    asked = [kind] if kind else ["studies", "variants", "profiles"]
    rows = _studies({"studies": "study", "variants": "variant"}[one] for one in asked if one != "profiles")
    return rows + ([_profile(name) for name in profiles.known_profiles()] if "profiles" in asked else [])


def there_are_text(rows: list[dict]) -> str:
    """Format the rows of `there_are` as indented lines."""
    lines, margins = [], {"study": "", "variant": "  ", "profile": ""}
    about = {"study": "title", "variant": "changes", "profile": "note"}
    widths = {kind: max((len(r["name"]) for r in rows if r["kind"] == kind), default=0) for kind in about}
    for row in rows:
        kind = row["kind"]
        said = f"cannot be read: {row['error']}" if "error" in row else row.get(about[kind], "")
        if isinstance(said, dict):  # the changed settings of a variant
            said = _shortened(said)
        if kind == "study" and "paper" in row:
            said += f" ({row['paper']})"
        lines.append(f"{margins[kind]}{row['name']:{widths[kind]}}  {said}".rstrip())
    return "\n".join(lines)


def would_run(plan: Plan) -> list[dict]:
    """Return one row per distinct run of a plan, then one row per sentence on variants that are left out.

    The status of a stage is `done`, `missing` (this run would train it) or `shared` (an earlier run of the
    plan trains it). `seconds` is the expected time of a run that is not done, including the stages it trains.
    """
    seconds = run_seconds(plan)
    begun: set[str] = set()
    rows: list[dict] = []
    for run in plan.distinct:
        rows.append(_run(run, seconds.get(run.digest), begun))
        begun |= {stage["digest"] for stage in rows[-1]["stages"]}
    return rows + [{"status": "left out", "message": message} for message in plan.left_out]


def would_run_text(plan: Plan, jobs: int) -> str:
    """Return the sentences on the plan, then one line per distinct run."""
    return "\n".join([describe(plan, jobs), *(_line(row) for row in would_run(plan) if "digest" in row)])


def _studies(kinds: Iterable[str]) -> list[dict]:
    kinds = list(kinds)
    rows: list[dict] = []
    for name, file in catalogue.study_files().items() if kinds else ():
        try:
            study = experiments.load_study(file)
        except UserError as error:
            rows.append({"kind": "study", "name": name, "error": str(error)})
            continue
        about = {"title": study.title, "paper": study.paper, "question": study.question}
        if "study" in kinds:
            rows.append({"kind": "study", "name": name, **about, "baseline": study.baseline})
        if "variant" in kinds:
            changed = study.variants.items()
            rows += [
                {"kind": "variant", "name": v, "study": name, "changes": change} for v, change in changed
            ]
    return rows


def _profile(name: str) -> dict:
    try:
        profile = studies.profile_named(name)
    except UserError as error:
        return {"kind": "profile", "name": name, "error": str(error)}
    about = {"note": profile.note, "seeds": profile.seeds, "headline": profile.headline}
    return {"kind": "profile", "name": name, **about}


def _shortened(changes: dict) -> str:
    """Format a variant's settings as one line of YAML, cut at `WIDTH` characters."""
    told = yaml.dump(changes, Dumper=_Dumper, default_flow_style=True, sort_keys=False, width=float("inf"))
    told = told.strip()
    return told if len(told) <= WIDTH else told[: WIDTH - 1] + "…"


def _run(run: Run, seconds: float | None, begun: set[str]) -> dict:
    stages = [
        {
            "name": stage.name,
            "digest": digest,
            "examples": stage.examples,
            "status": _stage_status(run, digest, begun),
        }
        for stage, digest in zip(run.config.stages, run.stages, strict=True)
    ]
    named = {"study": run.study, "variant": run.variant, "seed": run.seed, "profile": run.profile}
    expected = None if seconds is None else round(seconds, 1)
    return {**named, "digest": run.digest, "status": run.status, "stages": stages, "seconds": expected}


def _stage_status(run: Run, digest: str, begun: set[str]) -> str:
    if places.stage_done(run.profile, digest) or run.status == Status.DONE:  # stages may be gone
        return Status.DONE
    return Status.SHARED if digest in begun else Status.MISSING


def _line(row: dict) -> str:
    stages = [
        f"{stage['name']} {stage['examples']} examples"
        + (f" ({stage['status']})" if stage["status"] != Status.MISSING else "")
        for stage in row["stages"]
    ]
    about = "" if row["seconds"] is None else f", about {clock(row['seconds'])}"
    name = f"{row['study']} {row['variant']} seed {row['seed']}"
    return f"  {name}: {row['status']}{about}; " + (", ".join(stages) or "nothing is trained")
