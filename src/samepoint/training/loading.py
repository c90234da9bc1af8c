"""Micro-batches by their position in the run, made ahead in other processes."""

from __future__ import annotations

import atexit
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeVar

import torch
from torch.utils.data import DataLoader, Dataset

from ..errors import InputError

Batch = TypeVar("Batch")


def in_order(dataset: Dataset[Batch], positions: range, workers: int = 0, ahead: int = 4) -> Iterator[Batch]:
    """``dataset[position]`` for each position in turn; ``workers`` processes make up to ``ahead`` each in advance.

    An item must depend on its position only, never on what was drawn before it. With 0 workers it is made when asked
    for. The dataset is pickled to the workers, which ignore SIGINT and SIGTERM: the trainer still needs their batches
    to end its step and save, and ends them itself. An InputError or OSError of a worker arrives as it is here, without
    the worker's traceback in its message.
    """
    loader = DataLoader(
        _Telling(dataset) if workers else dataset,
        sampler=positions,
        batch_size=None,
        num_workers=workers,
        prefetch_factor=ahead if workers else None,
        collate_fn=_unchanged,
        multiprocessing_context="spawn" if workers else None,
        generator=torch.Generator(),  # else the loader draws from the global one
        worker_init_fn=_leave_at_once,
    )
    with _signals_held():
        iterator = iter(loader)
    try:
        for batch in iterator:
            if isinstance(batch, _Mistake):
                raise batch.error
            yield batch
    finally:
        # Workers that hold SIGTERM back end by being told to only, and Python would wait for them for ever.
        shut_down = getattr(iterator, "_shutdown_workers", None)
        if shut_down is not None:
            shut_down()


class _Mistake(NamedTuple):
    error: InputError | OSError


class _Telling(Dataset[Any]):
    """Gives errors that say all that a user needs as items: a loader makes their tracebacks part of the message."""

    def __init__(self, dataset: Dataset[Any]) -> None:
        self.dataset = dataset

    def __getitem__(self, position: int) -> Any:
        # The errors are made anew, for not every kind of them can be pickled.
        try:
            return self.dataset[position]
        except InputError as error:
            return _Mistake(InputError(str(error)))
        except OSError as error:
            if error.errno is None:
                return _Mistake(OSError(str(error)))
            return _Mistake(OSError(error.errno, error.strerror, error.filename))


def _leave_at_once(worker: int) -> None:
    """End a worker without the libraries' own ends: one whose threads were still starting aborts the process there.

    By then what the worker had to hand over has been flushed.
    """
    atexit.register(os._exit, 0)


def _unchanged(batch: Any) -> Any:
    return batch


@contextmanager
def _signals_held() -> Iterator[None]:
    """Processes started meanwhile never see the signals that ask the trainer to stop."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    from multiprocessing import resource_tracker

    # Started with the first worker otherwise, and its start lets the signals through again.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
