"""The status of a run, stage, training, process or notebook, and the type of result rows."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, NotRequired, TypedDict


class Status(StrEnum):
    """A status. Records hold its value, and tables hold `shown`."""

    OK = "ok"  # a training, record, process or notebook that ended without an error
    DIVERGED = "diverged"  # a loss or gradient was not finite, in training or validation

    DONE = "done"  # a run or stage of a plan that is stored
    MISSING = "missing"  # a run or stage of a plan that is not stored
    SHARED = "shared"  # a missing stage that an earlier run of the plan trains

    RUNNING = "running"
    BUSY = "busy"  # another process executes it
    FAILED = "failed"
    KILLED = "killed"
    TIMEOUT = "timeout"
    INTERRUPTED = "interrupted"

    NOT_TESTABLE = "not testable"  # meaningless on the corpus, or the profile names no backbone for it

    @property
    def shown(self) -> str:
        """The status as tables show it, in capitals if there is no record."""
        told = {Status.MISSING: "NOT RUN", Status.FAILED: "FAILED", Status.NOT_TESTABLE: "NOT TESTABLE"}
        return told.get(self, self.value)


class Result(TypedDict):
    """The result of one variant of a study with one seed. Reports are made from these rows."""

    variant: str
    axes: dict[str, str]  # axis of the study -> value of the variant
    seed: int
    profile: str
    run: Any  # Run; None if the profile has no such run
    record: Any  # run.json; None if there is none
    score: Any  # score.json as it is shown, with its task; None if there is none
    status: str  # as `Status.shown`
    why: NotRequired[str]  # the reason why the profile cannot test it
    untold: NotRequired[str]  # the reason (a missing backbone) why a recorded run cannot be identified
