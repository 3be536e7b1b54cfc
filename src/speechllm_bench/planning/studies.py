"""Plans: a study at a profile is resolved into runs and training stages, which are done or missing.

Runs are identified by digest. So two studies that resolve to the same config share one run, and runs that
differ only in their evaluation share their stages.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path

from speechllm_bench.data.testable import untestable
from speechllm_bench.errors import MissingInput, NotTestable, UserError
from speechllm_bench.evaluation import seeds, versions
from speechllm_bench.planning import identity, places
from speechllm_bench.settings import catalogue, overrides
from speechllm_bench.settings.config import RunConfig
from speechllm_bench.settings.experiments import VARIANT_SETS, Study, load_study, refuse_idle, resolve
from speechllm_bench.settings.profiles import Profile, load_profile, profile_file, refuse_unknown_role
from speechllm_bench.storage import paths, runs, sealed
from speechllm_bench.storage.outputs import last_stage_ended
from speechllm_bench.storage.status import Result, Status

NOT_TESTABLE = Status.NOT_TESTABLE.shown  # status of a row that its profile cannot test


@dataclass(frozen=True)
class Run:
    """One variant of a study with one seed, and its status on disk."""

    study: str
    variant: str
    seed: int
    profile: str
    config: RunConfig
    digest: str
    stages: tuple[str, ...]  # digests, in training order
    status: Status

    @property
    def name(self) -> str:
        return f"{self.study} {self.variant} seed {self.seed}"

    @property
    def folder(self) -> Path:
        return places.run_folder(self.profile, self.digest)

    def untrained(self) -> set[str]:
        """Return the digests of the stages that this run would have to train."""
        return {stage for stage in self.stages if not places.stage_done(self.profile, stage)}

    def trained_into(self) -> list[Path]:
        """Return the folders of the stages that this run would have to train."""
        return [places.stage_folder(self.profile, stage) for stage in sorted(self.untrained())]

    def makes(self) -> set[str]:
        """Return what this run would have to make and other runs may share.

        These are the digests of its untrained stages, and the paths of its missing ASR transcripts.
        """
        files = (places.transcripts_file(self.config, split) for split in self.config.recognised)
        return self.untrained() | {str(file) for file in files if not file.is_file()}


@dataclass(frozen=True)
class Plan:
    """The runs of some studies at one profile. A shared run is listed once for each study that has it."""

    profile: Profile
    runs: tuple[Run, ...]
    left_out: tuple[str, ...] = ()  # sentences on variants that cannot run here or are meaningless

    @property
    def distinct(self) -> list[Run]:
        """The runs, with each digest once."""
        return list({run.digest: run for run in reversed(self.runs)}.values())[::-1]

    @property
    def missing(self) -> list[Run]:
        """The runs to execute. Failed runs are included, because they are tried again."""
        return [run for run in self.distinct if run.status != Status.DONE]

    @property
    def untrained(self) -> set[str]:
        """Digests of the stages that the missing runs have to train, each once."""
        return set().union(*(run.untrained() for run in self.missing))


def known_studies() -> list[str]:
    """Return the names of the studies in this checkout and in the user's own folder."""
    return list(catalogue.study_files())


def load(study: str, profile: str) -> tuple[Study, Profile]:
    """Return a study and the profile for its paper. For an unknown name UserError lists the known ones."""
    found = _study(study)
    return found, profile_named(profile).of(found.paper)


def profile_named(name: str) -> Profile:
    """Return the profile of a name, which may include settings from the command line (`overrides.split`)."""
    name, settings = overrides.split(name)
    profile = load_profile(profile_file(name))
    if profile.papers:
        known = {_paper(file, file.stat().st_mtime_ns) for file in catalogue.study_files().values()}
        if None not in known and (unknown := sorted(set(profile.papers) - known)):
            raise UserError(
                f"{name}.yaml has papers that no study has: {', '.join(unknown)}; "
                f"the studies' papers are: {', '.join(sorted(map(str, known)))}"
            )
    return profile.with_settings(settings) if settings else profile


def plan(
    studies: Iterable[str],
    profile: str,
    variants: Sequence[str] | None = None,
    seeds: Sequence[int] | None = None,
) -> Plan:
    """Return the plan of the named studies, restricted to `variants` and `seeds`.

    variants: names, or words for several variants (`Study.chosen`); without any, the profile's choice.
    seeds: without any, the profile's seeds.
    A variant is left out if its backbone or corpus is not on this machine, or if it is meaningless on its
    corpus. Raises MissingInput if such a variant was named or no other remains, and UserError for an unknown
    study, profile or variant.
    """
    scale = profile_named(profile)
    chosen = [_study(name) for name in dict.fromkeys(studies)]
    _check_variants(chosen, variants)
    named = set(variants or ()) - set(VARIANT_SETS)  # `all` is the set, even where a variant has this name
    planned: list[Run] = []
    left_out: dict[str, dict[str, None]] = {}  # reason -> variants; the inner dict is an ordered set
    for study in chosen:
        several = study.chosen(variants or [scale.variants])
        for name, seed in product(several, _seeds(study, scale, seeds)):
            try:
                planned.append(_runnable(study, name, seed, scale.of(study.paper)))
            except MissingInput as missing:
                if name in named:
                    raise
                left_out.setdefault(str(missing), {})[f"{study.study} {name}"] = None
    if left_out and not planned:
        raise MissingInput(next(iter(left_out)))
    told = (f"Left out: {', '.join(names)}: {missing}." for missing, names in left_out.items())
    return Plan(scale, tuple(planned), tuple(told))


def run(study: str, variant: str, seed: int, profile: str, *, to_run: bool = True) -> Run:
    """Return one run by name.

    Raises UserError for an unknown name, and MissingInput where the run cannot be identified or, with
    `to_run`, where a backbone has not been fetched.
    """
    loaded, scale = load(study, profile)
    return (_runnable if to_run else _run)(loaded, variant, seed, scale)


def records(study: str, profile: str, seeds: Sequence[int] | None = None) -> list[Result]:
    """Return the stored results of a study: one row per variant and seed, in the study's order.

    A row has `variant`, `axes` (its value on each axis of the study), `seed`, `profile`, `run` (a `Run`),
    `status` (ok, diverged, FAILED, NOT RUN or NOT TESTABLE, with the reason under `why`), `record` (run.json)
    and `score` (score.json as `versions.shown` and `seeds.marked` give it, with its `task`). `record` and
    `score` may be None.
    A digest includes the weights of the run's backbones. Fetched backbones are pinned, so their runs are
    found without the files. If any other backbone is missing, the run cannot be identified. Its row is then
    NOT RUN, `run` is None, and `untold` has the reason if a run of the same settings is recorded.
    """
    loaded, scale = load(study, profile)
    chosen = _seeds(loaded, scale, seeds)
    return [_row(loaded, name, seed, scale) for name in loaded.variants for seed in chosen]


def shown_score(folder: Path, trained_by: str | None, audio: str, task: str, profile: str) -> dict:
    """Return a run's score.json as `versions.shown` and `seeds.marked` give it, with its task and place.

    trained_by: digest of the run's last stage; None without stages. audio, task: of the run's evaluation.
    """
    shown = versions.shown(runs.read_json(folder / "score.json", runs.DELETE_FOLDER), profile)
    if trained_by and (curve := folder / "curve.csv").is_file():
        trained_by = f"{trained_by} {last_stage_ended(curve)}"
    return seeds.marked(shown, trained_by, audio) | {"task": task, "run": folder.name, "profile": profile}


def refuse_untold(rows: Iterable[Result]) -> None:
    """Raise UserError if a row of `records` may have a record that was not found: a report would omit it."""
    if reason := next((row["untold"] for row in rows if row.get("untold")), None):
        raise UserError(f"recorded runs cannot be identified here, so nothing is written: {reason}")


def _seeds(study: Study, profile: Profile, seeds: Sequence[int] | None) -> Sequence[int]:
    return list(dict.fromkeys(seeds or profile.seeds[: study.n_seeds]))


def _study(name: str) -> Study:
    if not re.fullmatch(r"\w+", name) or name not in known_studies():
        raise UserError(f"there is no study '{name}'; the studies are: {', '.join(known_studies())}")
    study = load_study(catalogue.study_files()[name])
    if study.study != name:
        raise UserError(f"{name}.yaml calls its study '{study.study}'; both must have one name")
    return study


@cache
def _paper(file: Path, written: int) -> str | None:
    """Return the paper of a study; None if its file cannot be read, which loading the study reports.

    written: time of the file, only a cache key. The cache helps because profiles are loaded often.
    """
    try:
        return load_study(file).paper
    except UserError:
        return None


def _check_variants(chosen: list[Study], variants: Sequence[str] | None) -> None:
    known = [name for study in chosen for name in study.variants]
    for name in variants or ():
        if name not in (*known, *VARIANT_SETS):
            where = " or ".join(f"'{study.study}'" for study in chosen)
            raise UserError(
                f"study {where} has no variant '{name}'; the variants are: {', '.join(known)}; "
                f"several at once: {', '.join(VARIANT_SETS)}"
            )


def _run(study: Study, variant: str, seed: int, profile: Profile) -> Run:
    chosen, named = study.variant(variant), study.named(variant)
    roles = [("llms", chosen.llm), ("audio_llms", chosen.audio_llm)]
    roles += [("corpora", chosen.corpus), ("corpora", chosen.evaluation.corpus)]
    for kind, role in roles:
        if isinstance(role, str) and role not in getattr(profile, kind):
            refuse_unknown_role(kind, role, named)
    if isinstance(encoder := chosen.override.get("encoder"), str) and "/" not in encoder:
        refuse_unknown_role("encoders", encoder, named)
    config = resolve(profile, chosen, seed, named)
    refuse_idle(study, variant, profile, config)
    if why := untestable(config):
        raise NotTestable(f"not testable on this corpus: {why}")
    return resolved(study.study, variant, seed, profile.profile, config)


def resolved(study: str, variant: str, seed: int, profile: str, config: RunConfig) -> Run:
    """Return the run of a resolved config, with its digest and its status on disk."""
    digest = identity.run_digest(config)
    stages = tuple(identity.stage_digest(config, i) for i in range(len(config.stages)))
    status = Status.MISSING
    if places.run_done(profile, digest):
        status = Status.DONE
    elif places.failure_file(profile, digest).is_file():
        status = Status.FAILED
    return Run(study, variant, seed, profile, config, digest, stages, status)


def _runnable(study: Study, variant: str, seed: int, profile: Profile) -> Run:
    """Return a run that is done, or whose backbones are on this machine. Raises MissingInput otherwise."""
    run = _run(study, variant, seed, profile)
    if run.status != Status.DONE:
        identity.check_fetched(run.config)
    return run


def _recorded(study: Study, variant: str, seed: int, profile: Profile) -> bool:
    """Return whether a run of these settings is recorded, regardless of its backbones."""
    try:
        wanted = resolve(profile, study.variant(variant), seed, study.named(variant))
    except MissingInput:  # the profile names no backbone for it
        return False
    return identity.on_record(paths.results(profile.profile) / "runs", wanted)


def _refuse_other_settings(record: dict, run: Run) -> None:
    """Raise UserError for a run made with other --set settings: it must not be in this profile's tables."""
    made_with = record.get("overrides", {})
    if made_with != overrides.split(run.profile)[1]:
        told = ", ".join(f"{key}={value}" for key, value in made_with.items()) or "nothing"
        raise UserError(
            f"{run.folder} holds a run that was made with {told} set, and so does not belong to profile "
            f"'{run.profile}'; {runs.DELETE_FOLDER}"
        )


def _row(study: Study, variant: str, seed: int, profile: Profile) -> Result:
    row: Result = {
        "variant": variant,
        "axes": study.place(variant).axes,
        "seed": seed,
        "profile": profile.profile,
        "run": None,
        "record": None,
        "score": None,
        "status": Status.MISSING.shown,
    }
    try:
        run = row["run"] = _run(study, variant, seed, profile)
    except NotTestable as told:
        row["status"], row["why"] = NOT_TESTABLE, str(told)
        return row
    except MissingInput as missing:
        if _recorded(study, variant, seed, profile):
            row["untold"] = str(missing)
        return row
    if run.status != Status.DONE:
        row["status"] = run.status.shown
        return row
    record = row["record"] = sealed.read(run.folder / "run.json", runs.DELETE_FOLDER)
    _refuse_other_settings(record, run)
    row["status"] = record["status"]
    if record["status"] == Status.OK:  # a diverged run has no score
        trained_by = run.stages[-1] if run.stages else None
        asked = run.config.evaluation
        row["score"] = shown_score(run.folder, trained_by, asked.audio, asked.task, profile.profile)
    return row
