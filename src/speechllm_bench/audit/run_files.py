"""Checks of sealed records and their files: runs, stages, backbones and caches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from speechllm_bench import backbones
from speechllm_bench.commands import rescore
from speechllm_bench.data import clips
from speechllm_bench.data.corpora import shipped
from speechllm_bench.data.frames import FrameStore
from speechllm_bench.errors import UserError
from speechllm_bench.storage import paths, runs, sealed
from speechllm_bench.storage.outputs import read_curve
from speechllm_bench.storage.status import Status

DROPPED = "delete its folder; the stage starts anew"


@dataclass(frozen=True)
class Found:
    """A finding. `part` is its row in the report's table. `wrong` says what is wrong and what to do.

    `unchecked`: nothing records what the item should be.
    """

    part: str
    wrong: str | None = None
    unchecked: bool = False


def inside(place: Path) -> list[Path]:
    """Return the folders in `place`. Hidden ones are left out: another process may be writing one."""
    return [p for p in sorted(place.glob("[!.]*")) if p.is_dir()]


def check_run(folder: Path, quick: bool) -> Iterator[Found]:
    """Check a run's record and files; unless quick, its curve and its score as well."""
    looked = list(sealed_record(folder / "run.json", "runs: records and files", runs.DELETE_FOLDER))
    yield from looked
    if any(one.wrong for one in looked):
        return
    record = runs.read_json(folder / "run.json")
    yield from _told("runs: records and files", lambda: _belongs(record, folder))
    if quick:
        return
    yield from _told("runs: curves", lambda: read_curve(folder / "curve.csv"))
    if record.get("status") == Status.OK:
        yield from _told("runs: scores from predictions", lambda: _recompute(folder))


def check_shipped(results: Path) -> Iterator[Found]:
    """Check the test turns and the packs of clips that the repository ships for a profile."""
    if any((results / "turns").glob("*.parquet")):
        yield from sealed_record(results / "turns" / shipped.RECORD, "shipped turns", shipped.BRING_BACK)
    for pack in sorted((results / "clips").glob("*.parquet")):
        yield from _told("shipped clips", partial(clips.clips_in, pack))


def check_backbones() -> Iterator[Found]:
    """Check that backbones, of the zoo and fetched ones, are complete and match their records."""
    for kind, place in (("zoo", paths.PROJECT / "zoo"), ("fetched", paths.fetched())):
        for folder in inside(place):
            name, part = f"{kind}/{folder.name}", f"backbones: {kind}"
            if kind == "fetched" and not (folder / "config.json").is_file():
                continue  # it is a voice
            if lacking := backbones.fault(folder):
                yield Found(part, f"backbone '{name}' is not whole ({lacking}); {backbones.remedy(name)}")
                continue
            yield from _told(part, partial(backbones.refuse_changed, name))


def caches(cache: Path) -> Iterator[Found]:
    """Check corpora, encoder frames, recognised transcripts and checkpoints."""
    for record in sorted(cache.glob("corpora/[!.]*/corpus.json")):
        yield from sealed_record(record, "cache: corpora", f"delete the folder {record.parent}")
    for index in sorted(cache.glob("frames/[!.]*/index.json")):
        yield from _told("cache: encoder frames", partial(_verify, index.parent))
    for file in sorted(cache.glob("transcripts/*/[!.]*.json")):
        yield from sealed_record(file, "cache: transcripts", "delete this file")
    for state in sorted(cache.glob("checkpoints/[!.]*/state.json")):
        yield from sealed_record(state, "cache: checkpoints", DROPPED)


def sealed_record(path: Path, part: str, remedy: str) -> Iterator[Found]:
    """Yield one finding for a sound or unreadable record, or one for each sealed file that has changed."""
    try:
        record = runs.read_json(path, remedy)
    except UserError as error:
        yield Found(part, str(error))
        return
    wrong = list(sealed.faults(path, record))
    yield from [Found(part, f"{sentence}; {remedy}") for sentence in wrong] or [Found(part)]


def _told(part: str, check: Callable[[], object]) -> Iterator[Found]:
    try:
        check()
    except UserError as error:
        yield Found(part, str(error))
    else:
        yield Found(part)


def _belongs(record: dict, folder: Path) -> None:
    """Raise UserError unless a run's record belongs to its folder and the files of its status are there."""
    if record.get("digest") != folder.name:
        raise UserError(
            f"{folder / 'run.json'} is of another run ({record.get('digest')}); {runs.DELETE_FOLDER}"
        )
    if record.get("status") not in (Status.OK, Status.DIVERGED):
        raise UserError(
            f"{folder / 'run.json'} has the status {record.get('status')!r}; {runs.DELETE_FOLDER}"
        )
    wanted = ["curve.csv"] + ["score.json", "predictions.jsonl.gz"] * (record["status"] == Status.OK)
    for name in wanted:
        if not (folder / name).is_file():
            raise UserError(f"{folder / name} is missing; {runs.DELETE_FOLDER}")


def _recompute(folder: Path) -> None:
    file = folder / "score.json"
    stored, fresh = runs.read_json(file, runs.DELETE_FOLDER), rescore.scored(folder)
    found = list(rescore.differences(stored, fresh))
    if found:
        more = f", and {len(found) - 1} more" if found[1:] else ""
        raise UserError(
            f"{file} does not agree with the predictions beside it ({found[0]}{more}); {runs.DELETE_FOLDER}"
        )


def _verify(folder: Path) -> None:
    FrameStore.open(folder).verify(stamped=False)  # all bytes, even where sizes and times are unchanged
