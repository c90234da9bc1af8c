"""Files that appear whole or not at all: written under another name beside the target, then renamed over it."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from samepoint.errors import InputError


def check_writable(path: str | Path) -> None:
    """Raise InputError where a file could not be written at ``path``: call it before the long work, not after."""
    path = Path(path)
    folder = path.parent
    if path.is_dir():
        raise InputError(f"cannot write {path}: it is a folder; expected a file name")
    if not folder.is_dir():
        raise InputError(f"cannot write {path}: there is no folder {folder}")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(f"cannot write {path}: no permission to write in the folder {folder}")
    if path.exists() and not os.access(path, os.W_OK):
        raise InputError(f"cannot write {path}: the file is there and write-protected")


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """A temporary path with the same suffix in the same folder, for writers that open files themselves.

    When the block ends well the file replaces ``path`` and has its mode, or that of any new file, whatever the writer
    gave it; when anything is raised, Ctrl-C included, it is removed and
    what was at ``path`` stays. Raises InputError where ``path`` cannot be written (``check_writable``).
    """
    path = Path(path)
    check_writable(path)
    path = Path(os.path.realpath(path))  # a link keeps pointing at the file, which is what gets replaced
    temporary = path.with_name(f".{secrets.token_hex(6)}.part{path.suffix}")
    try:
        mode = path.stat().st_mode & 0o777 if path.exists() else _mode_of_new(temporary)
        yield temporary
        temporary.chmod(mode)
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename == str(temporary):
            with suppress(AttributeError):  # FFmpeg's errors keep theirs
                error.filename = str(path)  # the other name tells the user nothing
        raise


def _mode_of_new(path: Path) -> int:
    """The mode that a file made at ``path`` has: the umask cannot be asked for without changing it for all threads."""
    path.touch()
    mode = path.stat().st_mode & 0o777
    path.unlink()
    return mode


@contextmanager
def atomic_write(path: str | Path, mode: str = "wb") -> Iterator[IO[Any]]:
    """An open file, binary ("wb") or UTF-8 text without newline translation ("w"), that becomes ``path`` at the end.

    Raises what ``atomic_path`` raises; OSError (a full disk) passes through.
    """
    if mode not in ("w", "wb"):
        raise ValueError(f"mode must be 'w' or 'wb', got {mode!r}")
    text = {"encoding": "utf-8", "newline": ""} if mode == "w" else {}
    with atomic_path(path) as temporary, temporary.open(mode, **text) as file:  # type: ignore[call-overload]
        yield file
