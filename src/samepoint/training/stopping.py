"""SIGINT and SIGTERM as a request that is honoured where nothing is lost."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Stop:
    """Whether one of the signals has come."""

    def __init__(self) -> None:
        self.requested = False
        self._at_once = False

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Work that may be cut off anywhere: a signal, also one that came before, raises ``KeyboardInterrupt``."""
        self._at_once = True
        try:
            if self.requested:
                raise KeyboardInterrupt
            yield
        finally:
            self._at_once = False

    def _request(self, *_: object) -> None:
        self.requested = True
        if self._at_once:
            raise KeyboardInterrupt


@contextmanager
def stop_requested() -> Iterator[Stop]:
    """SIGINT and SIGTERM are noted instead of obeyed; outside the main thread Python cannot, and nothing changes."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    previous = {number: signal.signal(number, stop._request) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
