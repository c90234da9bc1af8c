"""Trying again, with patience that ends."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from ..errors import InputError
from .network import NetworkSettings
from .outcomes import Outcome, explain

T = TypeVar("T")

_log = logging.getLogger(__name__)


def persist(work: Callable[[], T], settings: NetworkSettings, deadline: float | None = None) -> T | Outcome:
    """What ``work`` returns, or why it did not.

    A second attempt is made after what may pass (no answer, a server's own fault, too many requests), later each time
    and never sooner than the server asks for.

    Args:
        work: raises what yt-dlp does.
        settings: attempts and waiting times.
        deadline: of ``time.monotonic()``; no waiting beyond it.

    Raises:
        InputError: of ``work``: what the user gave cannot be used.
        OSError: of this machine (a full disk).
    """
    attempt = 0
    while True:
        attempt += 1
        try:
            return work()
        except (InputError, MemoryError):
            raise
        except Exception as error:  # what extractors raise on pages of the web is not to be foreseen
            outcome = explain(error)
            _log.debug("attempt %d: %s", attempt, outcome.reason)
        if not outcome.transient:
            return outcome
        if attempt >= settings.attempts:
            return outcome._replace(detail=f"{outcome.detail} ({attempt} attempts)")
        wait = max(settings.backoff * 2 ** (attempt - 1), outcome.wait or 0.0)
        if wait > settings.longest_wait or (deadline is not None and time.monotonic() + wait > deadline):
            return outcome._replace(detail=f"{outcome.detail} (to wait {wait:.0f} s is too long)")
        time.sleep(wait)
