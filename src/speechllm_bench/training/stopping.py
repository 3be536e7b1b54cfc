"""A stop that waits for the end of a training step, so that what is kept is a whole one."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType, TracebackType
from typing import Any

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Stopping:
    """Holds SIGTERM and Ctrl-C back within its block: `asked` says whether one came.

    A second one, and one within `at_once`, does what it did before. Outside the main thread, which alone gets
    signals, nothing is held back.
    """

    def __init__(self) -> None:
        self.asked = False
        self._open = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Stopping:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._came) for number in SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @contextlib.contextmanager
    def at_once(self) -> Iterator[None]:
        """For what takes long and changes nothing that is kept."""
        self._open = True
        try:
            yield
        finally:
            self._open = False

    def _came(self, number: int, frame: FrameType | None) -> None:
        held = not (self.asked or self._open)
        self.asked = True
        if not held:
            before = self._before[number]
            if callable(before):
                before(number, frame)
            raise KeyboardInterrupt
