"""Answers of runs as the page reads them: counts by slice and speaker, right answers, and texts.

What all runs on a test set have in common stands once, in a file of the set: its slices and the counts of its
first run, which is the reference. A run has 0 for a column of counts that is the reference's, as a count of
what is wanted is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from speechllm_bench.cite import comparing
from speechllm_bench.planning import stored_runs
from speechllm_bench.planning.stored_runs import StoredRun
from speechllm_bench.site import packed, recordings
from speechllm_bench.storage import runs
from speechllm_bench.storage.schema import Prediction
from speechllm_bench.tasks import slots

FORMAT = 5  # of the data: raised when the page needs it otherwise
SAME = 0
"""Stands in a run for a column that equals the column of the reference."""
NOT_SAID, AS_WANTED = 0, 1
"""Stand in a short answer for a slot without a value, and for the gold value."""

Columns = dict[str, list[list]]
"""The columns of counts by slice. A column has one number for each speaker."""


def set_name(one: StoredRun) -> str:
    """Return a name that identifies the questions of a test set and the wording of their answers."""
    asked = one.config["evaluation"]
    return "-".join(filter(None, [one.score["items"], asked["task"], asked.get("wording")]))


def of_set(found: comparing.Answered) -> dict:
    """Return labels, turns and columns of counts by slice, which runs on a test set share."""
    return {
        "labels": {name: comparing.slice_label(name) for name in found.counts},
        "turns": found.turns,
        "columns": _columns(found),
    }


def of_run(found: comparing.Answered, shared: Mapping, texts: bool) -> dict:
    """Return one run's columns and right answers. shared: see `of_set`. texts: add the answers."""
    own = [name for name in found.counts if name not in shared["labels"]]
    none: list = []
    made: dict = {"slices": {}, "right": "".join("01"[bool(right)] for right in found.right)}
    for name, columns in _columns(found).items():
        others = [*shared["columns"].get(name, none), *[none] * len(columns)]
        made["slices"][name] = [SAME if one == other else one for one, other in zip(columns, others)]
    if own:
        made["labels"] = {name: comparing.slice_label(name) for name in own}
        made["turns"] = {name: found.turns[name] for name in own}
    return made | ({"raw": [short(p) for p in found.predictions]} if texts else {})


def short(p: Prediction) -> str | list[str | int]:
    """Return an answer as its values of the slots asked for, or as it is where they do not tell all of it."""
    try:
        said, gold = json.loads(p.raw), json.loads(p.gold)
    except (ValueError, RecursionError):
        return p.raw
    if not (isinstance(said, dict) and isinstance(gold, dict)):
        return p.raw
    names = [slots.spoken_name(name) for name in p.asked]
    kept = {name: said[name] for name in names if isinstance(said.get(name), str)}
    if json.dumps(kept, ensure_ascii=False) != p.raw:
        return p.raw
    same = {name for name in kept if kept[name] == gold.get(name)}
    return [AS_WANTED if name in same else kept.get(name, NOT_SAID) for name in names]


def turns(one: StoredRun) -> tuple[dict, dict]:
    """Return what is said in the turns of a run's test set, and what is asked and wanted there.

    Many sets ask differently about the same turns, so what is said is stored apart from it.
    """
    found = one.predictions()
    said = {
        "utterances": [p.utterance_id for p in found],
        "speakers": [p.speaker for p in found],
        "transcripts": [p.transcript for p in found],
    }
    asked = [", ".join(map(slots.spoken_name, p.asked)) for p in found]
    return said, {"golds": [p.gold for p in found], "asked": asked}


class Writer:
    """Writes the answers of a profile's runs, each once. `kept` has the files that are up to date."""

    def __init__(self, folder: Path, profile: str):
        self.folder, self.profile = folder, profile
        self.kept: set[Path] = set()
        self._sets: dict[str, tuple[StoredRun, dict, str]] = {}  # reference, what it shares, digest of that
        self._written: dict[str, bool] = {}  # by run, whether with texts

    def add(self, found: Mapping[str, Sequence[StoredRun]]) -> None:
        """Write the runs of a study by variant. Each variant's first seed has answer texts."""
        for some in found.values():
            for i, one in enumerate(stored_runs.alike(some)):
                texts = i == 0
                if one.digest not in self._written or (texts and not self._written[one.digest]):
                    self._add(one, texts)

    def finish(self) -> None:
        """Write the test sets, with the recordings that the repository ships."""
        of_sets = {name: turns(one) for name, (one, _, _) in self._sets.items()}
        heard = {id for said, _ in of_sets.values() for id in said["utterances"]}
        audio = recordings.write(self.profile, heard, self.folder)
        self.kept |= {self.folder / name for name in audio.values()}
        for name, (said, asked) in of_sets.items():
            where = f"{self.profile}/said/{runs.digest(said)}"
            made = {
                where: said | {"audio": [audio.get(id) for id in said["utterances"]]},
                f"{self.profile}/turns/{name}": asked | {"said": where},
                f"{self.profile}/sets/{name}": self._sets[name][1],
            }
            self.kept |= {packed.write(self.folder, file, value) for file, value in made.items()}

    def _add(self, one: StoredRun, texts: bool) -> None:
        name, found = f"{self.profile}/runs/{one.digest}", None
        if (key := set_name(one)) not in self._sets:
            found = self._answers(one)
            shared = of_set(found)
            self._sets[key] = (one, shared, runs.digest(shared))
        _, shared, digest = self._sets[key]
        about = (FORMAT, one.record, one.score["versions"], digest)
        stamps = {spoken: runs.digest(*about, spoken) for spoken in (True, texts)}
        # A file with texts also serves where none are needed: a later study may need them.
        if not any(packed.stamped(self.folder, name, stamp) for stamp in stamps.values()):
            made = of_run(found or self._answers(one), shared, texts)
            packed.write(self.folder, name, made, stamps[texts])
        self._written[one.digest] = texts
        self.kept.add(packed.file(self.folder, name))

    def _answers(self, one: StoredRun) -> comparing.Answered:
        return comparing.answers_of(one.predictions(), one.config, self.profile)


def _columns(found: comparing.Answered) -> Columns:
    return {name: packed.counts(sums.T) for name, sums in found.all_sums().items()}
