"""One function over many rows: in a pool of processes of this machine, or on Ray.

Nothing that happens to a row ends a run: an error or the death of its process (a segmentation fault, no memory left)
becomes the row's reason. Only what would meet every row alike does: a missing package, a full disk, a model that
cannot be loaded.
"""

from __future__ import annotations

import errno
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from multiprocessing import get_context, resource_tracker
from multiprocessing.connection import Connection
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ..errors import InputError, MissingExtraError
from .rows import Row

DIED = "the worker process died (killed, crashed or out of memory)"
_NO_START = "worker processes do not start; a script must call this below: if __name__ == '__main__'"
_SOURCE_PATIENCE = 10.0  # seconds that the end waits for a source of rows that hangs
_KILL = getattr(signal, "SIGKILL", signal.SIGTERM)
_HOPELESS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


class EngineSettings(BaseModel):
    """Where rows are worked on."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["local", "ray"] = "local"
    workers: int | None = Field(None, ge=0)  # processes; the machine's or cluster's cores without; 0: this process
    threads: int | None = Field(None, ge=1)  # of each worker; as many as there are cores for it without
    device: str | None = None  # of models: cpu, cuda, cuda:1 ...; the CPU without
    retries: int = Field(1, ge=0)  # of a row whose worker died
    patience: float | None = Field(14_400.0, gt=0)  # seconds a row may take, e.g. in a decoder that hangs; None: any
    address: str | None = None  # of a Ray cluster; Ray on this machine without
    batch: int = Field(8, ge=1)  # rows handed over together, Ray only
    gpus: float = Field(0, ge=0)  # of each model-holding worker, Ray only

    @model_validator(mode="after")
    def _fit(self) -> EngineSettings:
        if self.kind != "ray":
            for name in ("address", "batch", "gpus"):
                if getattr(self, name) != type(self).model_fields[name].default:
                    raise ValueError(f"{name} is for kind: ray")
        elif self.workers == 0:
            raise ValueError("expected at least 1 worker for kind: ray")
        return self

    def processes(self) -> int:
        """How many workers there are on this machine."""
        return (os.cpu_count() or 1) if self.workers is None else self.workers


@dataclass(frozen=True)
class Work:
    """What is done to each row: ``make(*arguments)``, called once a worker, gives the function.

    Both must be importable by name, since workers are new processes; a function that holds nothing is
    ``Work(partial, (function, ...))``. ``settings`` of the row's stage and such belong into ``arguments``.
    """

    make: Callable[..., Callable[[Row], Row | list[Row]]]
    arguments: tuple[Any, ...] = ()
    holds_model: bool = False


class Outcome(NamedTuple):
    """What became of a row: its results, or the reason why there are none."""

    row: Row
    results: list[Row]
    reason: str | None = None


class Fatal(NamedTuple):
    """What ends the run; it travels from a worker as this, since not every exception can be pickled."""

    message: str
    machine: bool = False  # not the user's fault

    def error(self) -> Exception:
        return OSError(self.message) if self.machine else InputError(self.message)


def run(work: Work, rows: Iterable[Row], settings: EngineSettings) -> Generator[Outcome, None, None]:
    """The outcome of each row, in the order in which they are done.

    Closing the iterator, or an error in its consumer (Ctrl-C), ends the workers at once; rows that were in their
    hands have no outcome.

    Raises:
        InputError: the work cannot be set up (a model that is not there), Ray is not installed or not reachable.
        OSError: the disk is full or read-only.
    """
    if settings.kind == "ray":
        from .ray_engine import run_on_ray

        yield from run_on_ray(work, rows, settings)
    elif settings.processes() == 0:
        yield from _run_here(work, rows)
    else:
        yield from _run_local(work, rows, settings)


def guarded(function: Callable[[Row], Row | list[Row]], row: Row) -> Outcome | Fatal:
    """Call the function; an error is the row's reason."""
    try:
        result = function(row)
    except MissingExtraError as error:
        return Fatal(str(error))
    except Exception as error:
        if isinstance(error, OSError) and error.errno in _HOPELESS:
            return Fatal(error.strerror or explain(error), machine=True)
        return Outcome(row, [], explain(error))
    return Outcome(row, result if isinstance(result, list) else [result])


def explain(error: BaseException) -> str:
    """One line.

    >>> explain(InputError("clip.mp4: not a video")), explain(KeyError("fps"))
    ('clip.mp4: not a video', "KeyError: 'fps'")
    """
    text = " ".join(str(error).split())
    if isinstance(error, InputError):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def set_up(work: Work) -> Callable[[Row], Row | list[Row]] | Fatal:
    """The function, or why there is none."""
    try:
        return work.make(*work.arguments)
    except Exception as error:
        return Fatal(explain(error), machine=isinstance(error, (MemoryError, OSError)))


def _run_here(work: Work, rows: Iterable[Row]) -> Iterator[Outcome]:
    function = set_up(work)
    for row in rows:
        outcome = function if isinstance(function, Fatal) else guarded(function, row)
        if isinstance(outcome, Fatal):
            raise outcome.error()
        yield outcome


def _run_local(work: Work, rows: Iterable[Row], settings: EngineSettings) -> Iterator[Outcome]:
    """One thread a worker takes rows, as it gets free, and has its own process work on them."""
    shared = _Shared(iter(rows))
    count = settings.processes()
    resource_tracker.ensure_running()  # started with the first worker otherwise, it lets signals through to it again
    threads = settings.threads or max(1, (os.cpu_count() or 1) // count)
    workers = [Worker(work, threads, settings.retries, settings.patience) for _ in range(count)]
    hands = [threading.Thread(target=shared.serve, args=(worker,), daemon=True) for worker in workers]
    with ExitStack() as stack:
        for hand in hands:
            # A thread that is inside a library's C++ when the interpreter ends aborts the process.
            stack.callback(_join, hand)
        for worker in workers:
            stack.callback(worker.close)
        stack.callback(shared.stop)
        for hand in hands:
            hand.start()
        at_work = count
        while at_work:
            item = shared.results.get()
            if item is None:
                at_work -= 1
            elif isinstance(item, Outcome):
                yield item
            else:
                raise item.error() if isinstance(item, Fatal) else item


def _join(hand: threading.Thread) -> None:
    if hand.ident is not None:  # started
        hand.join(_SOURCE_PATIENCE)


@dataclass
class _Shared:
    """What the threads have in common."""

    rows: Iterator[Row]
    results: queue.SimpleQueue[Outcome | Fatal | BaseException | None] = field(default_factory=queue.SimpleQueue)
    stopped: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def next(self) -> Row | None:
        with self._lock:
            return None if self.stopped else next(self.rows, None)

    def stop(self) -> None:
        self.stopped = True

    def serve(self, worker: Worker) -> None:
        # What this thread starts never sees Ctrl-C, which reaches the whole group: the first process ends the others.
        if hasattr(signal, "pthread_sigmask"):
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            while (row := self.next()) is not None:
                self.results.put(worker(row))
        except BaseException as error:  # of the rows' source, or of the machine: not a row's own
            self.results.put(error)
        finally:
            self.results.put(None)


class Worker:
    """A pool of one process, so that when it breaks the row that broke it is known.

    The process ends with the pipe of which it holds the other end: when this one closes it, or dies.
    """

    def __init__(self, work: Work, threads: int, retries: int, patience: float | None) -> None:
        self._work, self._threads, self._retries, self._patience = work, threads, retries, patience
        self._pid = 0
        self._pool: ProcessPoolExecutor | None = None
        self._leash: Connection | None = None
        self._lock = threading.Lock()
        self._closed = self._started = False

    def __call__(self, row: Row) -> Outcome | Fatal:
        for _ in range(self._retries + 1):
            try:
                pool = self._start()
                pid = self._pid
                if not pid:
                    pid = self._pid = pool.submit(os.getpid).result()
                    self._started = True
                return pool.submit(_work_on, row).result(self._patience)
            except BrokenProcessPool:
                self._release()
            except FutureTimeout:
                with suppress(ProcessLookupError):
                    os.kill(pid, _KILL)  # it may hang where its own thread that watches us cannot run
                self._release()
                return Outcome(row, [], f"took longer than {self._patience:g} s (engine.patience)")
            if not self._started:
                return Fatal(_NO_START)
        return Outcome(row, [], DIED)

    def close(self) -> None:
        """End the process, at once if it is at work."""
        with self._lock:
            self._closed = True
        self._release()

    def _start(self) -> ProcessPoolExecutor:
        with self._lock:
            if self._closed:
                raise _Closed
            if self._pool is None:
                context = get_context("spawn")
                end, self._leash = context.Pipe(duplex=False)
                self._pool = ProcessPoolExecutor(1, context, _become_worker, (self._work, self._threads, end))
            return self._pool

    def _release(self) -> None:
        with self._lock:
            pool, leash, self._pool, self._leash, self._pid = self._pool, self._leash, None, None, 0
        if leash is not None:
            leash.close()
        if pool is not None:
            pool.shutdown(wait=True, cancel_futures=True)


class _Closed(Exception):
    """The run has ended."""


_work: Work | None = None  # of a worker process, and the function that it was set up to at its first row
_function: Callable[[Row], Row | list[Row]] | Fatal | None = None


def _become_worker(work: Work, threads: int, leash: Connection) -> None:
    global _work
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(leash,), daemon=True).start()
    limit_threads(threads)
    _work = work


def _work_on(row: Row) -> Outcome | Fatal:
    global _function
    if _function is None:
        _function = set_up(_work) if _work is not None else Fatal("not a worker process", machine=True)
    return _function if isinstance(_function, Fatal) else guarded(_function, row)


def _end_with(leash: Connection) -> None:
    try:
        leash.recv_bytes()
    except (EOFError, OSError):
        os._exit(1)


def limit_threads(threads: int) -> None:
    """For a whole process: how many threads torch, OpenCV and numba use in it."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
        os.environ.setdefault(name, str(threads))
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(threads)
