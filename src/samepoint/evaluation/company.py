"""Processes that were started together and share the work: by ``accelerate launch``, ``torchrun`` or ``mpirun``."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from types import FrameType

from samepoint.errors import InputError

_SIZE = ("WORLD_SIZE", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MV2_COMM_WORLD_SIZE")
_RANK = ("RANK", "OMPI_COMM_WORLD_RANK", "PMI_RANK", "MV2_COMM_WORLD_RANK")
_LOCAL = ("LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID", "MV2_COMM_WORLD_LOCAL_RANK")
_PATIENCE = timedelta(days=30)  # one process may have long videos left when another is done; a dead one is noticed


@dataclass(frozen=True)
class Company:
    """This process among those that were started together."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    """Among the processes of the same machine."""

    @contextmanager
    def meeting(self) -> Iterator[None]:
        """Run the body, then wait until the others have run theirs.

        Raises:
            InputError: in the first process, where the body of any process raised one; the others leave without a word.
            ConnectionError: a process is gone.
        """
        message = None
        try:
            yield
        except InputError as error:
            if self.size == 1:
                raise
            message = str(error)
        if self.size == 1:
            return
        import torch.distributed as dist

        messages: list[str | None] = [None] * self.size
        try:
            dist.all_gather_object(messages, message)
        except RuntimeError:
            raise ConnectionError("lost another process; what it says itself tells why") from None
        told = [message for message in messages if message is not None]
        if told and self.rank:
            raise SystemExit(2)
        if told:
            raise InputError(told[0])


def by_environment() -> Company:
    """What the environment says of this process; alone where it says nothing."""
    size, rank = _number(_SIZE), _number(_RANK)
    if size is None or rank is None or size < 2:
        return Company()
    return Company(rank, size, _number(_LOCAL) or 0)


@contextmanager
def company() -> Iterator[Company]:
    """Join the processes that were started together; alone where there are no others.

    While it lasts a SIGTERM, by which launchers end the processes that are left when one has failed, unwinds the stack,
    so that no half written file stays.
    """
    us = by_environment()
    if us.size == 1:
        yield us
        return
    import torch.distributed as dist

    if dist.is_initialized():
        yield us
        return
    place = "env://" if "MASTER_ADDR" in os.environ else "tcp://127.0.0.1:29500"
    dist.init_process_group("gloo", init_method=place, rank=us.rank, world_size=us.size, timeout=_PATIENCE)
    in_main = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGTERM, _leave) if in_main else None
    try:
        yield us
    finally:
        if in_main:
            signal.signal(signal.SIGTERM, before or signal.SIG_DFL)
        dist.destroy_process_group()


def _leave(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def _number(names: tuple[str, ...]) -> int | None:
    values = [os.environ[name] for name in names if os.environ.get(name, "").isdecimal()]
    return int(values[0]) if values else None
