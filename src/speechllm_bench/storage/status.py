"""The status of a run, a stage, a training, a process or a notebook; and the rows of results."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, NotRequired, TypedDict


class Status(StrEnum):
    """A status; its value is what records hold, and `shown` what tables say."""

    OK = "ok"  # ended well: a training, a record, a process, a notebook
    DIVERGED = "diverged"  # a loss or gradient was not finite, in training or validation

    DONE = "done"  # stored: a run or a stage of a plan
    MISSING = "missing"  # to be made
    SHARED = "shared"  # to be made by an earlier run of the plan

    RUNNING = "running"
    BUSY = "busy"  # another process makes it
    FAILED = "failed"
    KILLED = "killed"
    TIMEOUT = "timeout"
    INTERRUPTED = "interrupted"

    NOT_TESTABLE = "not testable"  # it means nothing on the profile's corpus

    @property
    def shown(self) -> str:
        """The status in a table: what has no record stands out in capitals."""
        told = {Status.MISSING: "NOT RUN", Status.FAILED: "FAILED", Status.NOT_TESTABLE: "NOT TESTABLE"}
        return told.get(self, self.value)


class Result(TypedDict):
    """The result of one variant of a study with one seed; reports are made of these rows."""

    variant: str
    axes: dict[str, str]  # its value on each axis of the study
    seed: int
    profile: str
    run: Any  # Run; None where the profile has no such run
    record: Any  # run.json; None where there is none
    score: Any  # score.json as it is shown, with its task; None where there is none
    status: str  # as `Status.shown`
    why: NotRequired[str]  # in words: the run means nothing on the profile's corpus
    untold: NotRequired[str]  # in words: for want of a backbone a run on record cannot be told apart
