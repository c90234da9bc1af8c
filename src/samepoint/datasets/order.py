"""Which of ``n`` things comes at a place of an endless series: all once an epoch, each epoch in another order."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

_ORDER = 0x6F72646572  # tells these draws from others of the same seed


def drawn(n: int, seed: int, index: int) -> int:
    """The thing at place ``index`` >= 0, 0 to ``n - 1``; depends on the arguments alone.

    >>> sorted(drawn(4, 0, index) for index in range(8, 12))
    [0, 1, 2, 3]
    """
    if index < 0:
        raise IndexError(index)
    epoch, place = divmod(index, n)
    return int(_permutation(n, seed, epoch)[place])


@lru_cache(maxsize=8)
def _permutation(n: int, seed: int, epoch: int) -> NDArray[np.int64]:
    return np.random.default_rng([seed, epoch, _ORDER]).permutation(n)
