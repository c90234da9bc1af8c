"""What the commands show while they work, and how they leave files: all of them or none."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from samepoint.io.atomic import atomic_path

Advance = Callable[[int, "int | None"], None]


@contextmanager
def progress(what: str) -> Iterator[Advance]:
    """A bar on standard error that the yielded function moves (done, total or None); silent where nobody watches."""
    if not sys.stderr.isatty():
        yield lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def check_model(model: str, device: str | None) -> None:
    """Raise InputError where the model is unknown or the device cannot be used, before the long work."""
    from samepoint.models.weights import resolve

    resolve(model)
    if device is None:  # PyTorch is not loaded for nothing
        return
    from samepoint.models.precision import check_device

    check_device(device, "--device")


@contextmanager
def all_or_none(paths: Sequence[Path]) -> Iterator[list[Path]]:
    """Stand-ins for ``paths``, one each, renamed to them together when the body ends well; else nothing changes."""
    with ExitStack() as stack:
        with _uninterrupted():
            stand_ins = [stack.enter_context(atomic_path(path)) for path in paths]
        yield stand_ins
        # From here on the work is done: a Ctrl-C now must not leave one file new and another old.
        with _uninterrupted():
            stack.close()


@contextmanager
def new_folder(folder: Path) -> Iterator[None]:
    """``folder`` with its parents, those that were missing removed again if the body fails."""
    missing = [part for part in (folder, *folder.parents) if not part.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException:
        for part in missing:
            with suppress(OSError):
                part.rmdir()
        raise


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Ignore Ctrl-C for a moment in which it would leave things half done."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before or signal.SIG_DFL)
