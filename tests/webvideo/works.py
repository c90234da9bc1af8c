"""Functions for the engine's tests, importable by name in worker processes."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from samepoint.errors import InputError, MissingExtraError
from samepoint.webvideo.rows import Row


def squares() -> Callable[[Row], Row]:
    """n to its square; every hundredth row is poisoned."""

    def work(row: Row) -> Row:
        if row["n"] % 100 == 37:
            raise InputError(f"row {row['n']}: poisoned")
        return {"n": row["n"], "square": row["n"] ** 2, "note": None if row["n"] % 2 else [row["n"]]}

    return work


def deadly() -> Callable[[Row], Row | list[Row]]:
    """Does what the row asks for."""
    holder = os.getpid()

    def work(row: Row) -> Row | list[Row]:
        do = row["do"]
        if do == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif do == "exit":
            os._exit(3)
        elif do == "once":  # dies at the first attempt only
            marker = Path(row["marker"])
            if not marker.exists():
                marker.touch()
                os.kill(os.getpid(), signal.SIGKILL)
        elif do == "sleep":
            time.sleep(row["seconds"])
        elif do == "memory":
            raise MemoryError
        elif do == "many":
            return [{"part": part} for part in range(3)]
        elif do == "full":
            raise OSError(28, "No space left on device")
        elif do == "extra":
            raise MissingExtraError("this", "web")
        elif do == "error":
            raise KeyError("fps")
        return {"done": do, "holder": holder}

    return work


def unusable(message: str) -> Callable[[Row], Row]:
    raise InputError(message)


def record(path: str, seconds: float) -> Callable[[Row], Row]:
    """Notes in a file of which process each row began and ended."""

    def work(row: Row) -> Row:
        for event in ("begin", "end"):
            with Path(path).open("a") as file:
                file.write(f"{event} {row['n']}\n")
            if event == "begin":
                time.sleep(seconds)
        return {"n": row["n"]}

    return work


def settings_of(value: Any) -> Callable[[Row], Row]:
    return lambda row: {"n": row["n"], "value": value}
