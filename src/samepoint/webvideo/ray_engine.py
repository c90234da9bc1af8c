"""The engine on Ray Data, of this machine or a cluster: actors that hold the function, batches, back-pressure."""

from __future__ import annotations

import gc
import json
import logging
import math
import os
import signal
import sys
import threading
import warnings
from collections.abc import Generator, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from ..errors import InputError, MissingExtraError
from .engine import DIED, EngineSettings, Fatal, Outcome, Work, Worker
from .rows import Row

_WINDOW = 50_000  # rows that Ray is given at once: what it has to hold in memory
_STORE = 256 << 20  # bytes of shared memory on this machine; rows are all that goes through it
_SILENT = {"RAY_BACKEND_LOG_LEVEL": "fatal"}
_PRIVATE = {  # for a Ray of our own; the second is what keeps it to the loopback, on Linux too
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
}


def run_on_ray(work: Work, rows: Iterable[Row], settings: EngineSettings) -> Iterator[Outcome]:
    """The outcome of each row, in the order in which they are done.

    Ray is started on this machine, reachable from it alone and without dashboard or usage report, or joined at
    ``settings.address``; a Ray that this process has joined already is used and left as it is. All nodes must see the
    output folder under the same path, and have samepoint installed.

    Each actor has the rows worked on in a process of its own, as the local engine does: a row that kills it is known,
    and the actor with the rest of its batch goes on. Batches that Ray itself gives up are tried again, then set aside.

    Raises:
        MissingExtraError: Ray is not installed.
        InputError: no Ray at the address, or the work cannot be set up.
        OSError: the disk is full or read-only.
    """
    remaining = iter(rows)
    with _joined(settings) as cores:
        workers = settings.workers or cores
        while window := list(islice(remaining, _WINDOW)):
            for _ in range(settings.retries + 1):
                if window:
                    window = yield from _pass(work, window, settings, workers)
            for row in window:
                yield Outcome(row, [], DIED)


def _pass(
    work: Work, rows: list[Row], settings: EngineSettings, workers: int
) -> Generator[Outcome, None, list[Row]]:  # and the rows that have no outcome
    import ray

    # Rows travel as text: a column may be null in one block and numbers in the next.
    items = [{"number": number, "row": json.dumps(row)} for number, row in enumerate(rows)]
    blocks = math.ceil(len(items) / settings.batch)
    missing = dict(enumerate(rows))
    with _quiet():
        data = ray.data.from_items(items, override_num_blocks=blocks).map_batches(
            Actor,
            fn_constructor_args=(work, settings.threads or 1, settings.retries, settings.patience),
            batch_size=settings.batch,
            batch_format="numpy",
            compute=ray.data.ActorPoolStrategy(size=min(workers, blocks)),
            num_cpus=1,
            num_gpus=settings.gpus if work.holds_model and settings.gpus else None,
        )
        done = iter(data.iter_batches(batch_size=None, batch_format="numpy", prefetch_batches=0))
    while True:
        with _quiet():
            block = next(done, None)
        if block is None:
            return list(missing.values())
        for number, text in zip(block["number"].tolist(), block["outcome"].tolist(), strict=True):
            outcome = json.loads(text)
            if "fatal" in outcome:
                raise Fatal(*outcome["fatal"]).error()
            yield Outcome(missing.pop(number), outcome["results"], outcome["reason"])


class Actor:
    """Answers batches of rows, as JSON texts; for Ray, which makes one for each worker."""

    def __init__(self, work: Work, threads: int, retries: int, patience: float | None) -> None:
        # A new process imports the file that its parent runs, here a program of Ray's that it has no use for.
        vars(sys.modules["__main__"]).pop("__file__", None)
        self._worker = Worker(work, threads, retries, patience)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        answers = [self._answer(json.loads(text)) for text in batch["row"].tolist()]
        return {"number": batch["number"], "outcome": answers}

    def _answer(self, row: Row) -> str:
        outcome = self._worker(row)
        if isinstance(outcome, Fatal):
            return json.dumps({"fatal": list(outcome)})
        try:
            return json.dumps({"results": outcome.results, "reason": outcome.reason})
        except (TypeError, ValueError) as error:
            return json.dumps({"results": [], "reason": f"its results are not JSON values: {error}"})


@contextmanager
def _joined(settings: EngineSettings) -> Iterator[int]:
    """Ray, started or joined, and how many cores it has."""
    started = settings.address is None
    with ExitStack() as stack:
        stack.enter_context(_environment(_SILENT | _PRIVATE if started else _SILENT))
        stack.enter_context(_quiet())
        try:
            import ray
            import ray.data
            from ray._private import ray_constants
        except ModuleNotFoundError as error:
            raise MissingExtraError("--engine ray", "scale") from error
        ours = not ray.is_initialized()
        if ours:
            # Ray takes SIGTERM for itself; who called keeps it.
            stack.enter_context(_signals_kept())
            if started:
                stack.enter_context(_attribute(ray_constants, "ENABLE_RAY_CLUSTER", False))
            stack.enter_context(_hushed())
            _init(settings)
    try:
        with _data_settings():
            yield max(1, int(ray.cluster_resources().get("CPU", 1)))
    finally:
        if ours:
            with _quiet():
                ray.shutdown()
                gc.collect()  # what Ray leaves to the collector, open files among it, complains when it is found


def _init(settings: EngineSettings) -> None:
    import ray

    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.CRITICAL}
    if settings.address is None:
        cores = settings.workers or os.cpu_count()
        ray.init(num_cpus=cores, include_dashboard=False, object_store_memory=_STORE, **quiet)
        return
    try:
        ray.init(address=settings.address, **quiet)
    except (ConnectionError, ValueError, RuntimeError, TimeoutError) as error:
        raise InputError(f"--address {settings.address}: no Ray there ({str(error).splitlines()[0]})") from error


@contextmanager
def _data_settings() -> Iterator[None]:
    """No bars, no reports; a batch that fails does not end the others."""
    with _quiet():
        from ray.data import DataContext

        context = DataContext.get_current()
    wanted = {"enable_progress_bars": False, "print_on_execution_start": False, "max_errored_blocks": -1}
    with ExitStack() as stack:
        for name, value in wanted.items():
            if hasattr(context, name):
                stack.enter_context(_attribute(context, name, value))
        yield


@contextmanager
def _quiet() -> Iterator[None]:
    """Without Ray's warnings, which concern its own future, and its log."""
    logger = logging.getLogger("ray.data")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


@contextmanager
def _hushed() -> Iterator[None]:
    """Nothing on standard error, of C++ neither: Ray reports there that it has been told to be silent."""
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with Path(os.devnull).open("wb") as nothing:
            os.dup2(nothing.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def _attribute(owner: object, name: str, value: object) -> Iterator[None]:
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


@contextmanager
def _signals_kept() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    kept = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)
