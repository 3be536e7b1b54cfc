"""Exceptions for errors that a user can correct. The message says what is wrong, where, and what to do."""

BUSY = 75  # exit code if another process executes the run or trains a stage of it (EX_TEMPFAIL)


class UserError(Exception):
    """Bad input. The command line prints only the message, no traceback, and exits with `exit_code`."""

    exit_code = 2


class MissingInput(UserError):
    """A model or corpus of the profile, or an annotator's output for it, is missing, so no run can start."""

    exit_code = 3  # so that `make all` can continue with studies that do not need it


class NotTestable(MissingInput):
    """A run that its profile cannot test.

    It is meaningless on the corpus, for example with dialogue context on a corpus without it, or the profile
    names no backbone or corpus for it.
    """


class Busy(UserError):
    """Another process executes the run, or trains a stage of it. The run can be tried again later."""

    exit_code = BUSY
