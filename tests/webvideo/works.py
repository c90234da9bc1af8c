"""Functions for the engines' tests, importable by name in worker processes."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from samepoint.errors import InputError, MissingExtraError
from samepoint.webvideo.rows import Row


def squares() -> Callable[[Row], Row]:
    """n to its square; every hundredth row is poisoned."""

    def work(row: Row) -> Row:
        if row["n"] % 100 == 37:
            raise InputError(f"row {row['n']}: poisoned")
        if row.get("deadly"):
            os.kill(os.getpid(), signal.SIGKILL)
        return {"n": row["n"], "square": row["n"] ** 2, "note": None if row["n"] % 2 else [row["n"]]}

    return work


def obedient() -> Callable[[Row], Row | list[Row]]:
    """Does what the row asks for, and tells which process did and how many rows it had done before."""
    done = 0

    def work(row: Row) -> Row | list[Row]:
        nonlocal done
        do = row["do"]
        if do == "die" or (do == "die once" and not Path(row["marker"]).exists()):
            Path(row["marker"]).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if do == "sleep":
            Path(row["marker"]).write_text(str(os.getpid()))
            time.sleep(60)
        if do == "fail":
            raise KeyError("fps")
        if do == "run out of memory":
            raise MemoryError
        if do == "fill the disk":
            raise OSError(28, "No space left on device")
        if do == "miss a package":
            raise MissingExtraError("this", "web")
        done += 1
        return [{"part": part} for part in range(3)] if do == "many" else {"pid": os.getpid(), "done": done}

    return work


def unusable(model: str) -> Callable[[Row], Row]:
    raise InputError(f"{model}: no such model")
