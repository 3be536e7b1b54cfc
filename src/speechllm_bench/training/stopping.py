"""Delayed stop signals: a training stops only after a whole step, so that its checkpoint is consistent."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType, TracebackType
from typing import Any

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Stopping:
    """A context manager that delays SIGTERM and Ctrl-C; `asked` tells whether one came.

    A second signal, or one within `at_once`, has its usual effect and raises KeyboardInterrupt. Outside the
    main thread nothing is delayed, because only the main thread can handle signals.
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
        """Let signals stop the program at once within the block: for long work that changes no state."""
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
