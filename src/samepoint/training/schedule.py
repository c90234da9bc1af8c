"""Learning rates by step."""

from __future__ import annotations

import math


def learning_rate(
    step: int, steps: int, rate: float, final: float = 0.0, warmup: int = 0, floor: float | None = None
) -> float:
    """Linear warm-up over ``warmup`` steps, then a cosine that reaches ``rate * final``, or ``floor``, at ``steps``.

    FGVC's schedule is ``rate=1e-3, floor=1e-6`` without warm-up.

    >>> [round(learning_rate(s, 100, 1.0, 0.0, 0), 3) for s in (0, 50, 100)]
    [1.0, 0.5, 0.0]
    >>> [f"{learning_rate(s, 1000, 1e-3, floor=1e-6):.3e}" for s in (0, 500, 1000)]
    ['1.000e-03', '5.005e-04', '1.000e-06']
    """
    if floor is not None:
        final = floor / rate
    if step < warmup:
        return rate * (step + 1) / warmup
    progress = min(1.0, (step - warmup) / max(1, steps - warmup))
    return rate * (final + (1 - final) * (1 + math.cos(math.pi * progress)) / 2)
