"""The exception a user can cause: its message is a sentence that says what, where and what to do."""

BUSY = 75  # exit code of a run that another process is doing, or trains a stage of (EX_TEMPFAIL)


class UserError(Exception):
    """Bad input. The command line prints the message alone, without a traceback, and exits with this code."""

    exit_code = 2


class MissingInput(UserError):
    """A profile's model or corpus, or what an annotator is to write for it, is not there: no run."""

    exit_code = 3  # so that `make all` can go on with the studies that do without it


class NotTestable(MissingInput):
    """A run that means nothing on its corpus, as one that shows turns of context where there are none."""


class Busy(UserError):
    """Another process is doing the run, or trains a stage that it starts from: to be tried again later."""

    exit_code = BUSY
