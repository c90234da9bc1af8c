"""Random draws that depend on a position in the run only: the same in any process, after any stop."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch


def seed_draws(seed: int, position: int) -> None:
    """Seed the global generators of torch (all devices), numpy and Python for one micro-batch."""
    words = np.random.SeedSequence((seed, position)).generate_state(4)
    torch.manual_seed(int(words[0]) << 32 | int(words[1]))
    np.random.seed(int(words[2]))  # noqa: NPY002 the global one is what a loss may draw from
    random.seed(int(words[3]))


def draws_state() -> dict[str, Any]:
    """State of the global generators, in types that ``torch.load(weights_only=True)`` reads."""
    name, keys, position, has_gauss, cached = np.random.get_state()  # noqa: NPY002
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "numpy": (name, [int(key) for key in keys], position, has_gauss, cached),
        "python": random.getstate(),
    }


def restore_draws(state: dict[str, Any]) -> None:
    """Undo what was drawn since ``draws_state``."""
    torch.set_rng_state(state["torch"])
    if len(state["cuda"]) == torch.cuda.device_count():  # else another machine's
        torch.cuda.set_rng_state_all(state["cuda"])
    name, keys, *rest = state["numpy"]
    np.random.set_state((name, np.array(keys, np.uint32), *rest))  # noqa: NPY002
    random.setstate(state["python"])


@contextmanager
def kept_draws() -> Iterator[None]:
    """The global generators are afterwards as before."""
    state = draws_state()
    try:
        yield
    finally:
        restore_draws(state)
