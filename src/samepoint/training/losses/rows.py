"""Windowed correlations in chunks of rows, computed again in the backward pass.

One 49 x 49 volume of a 256 x 256 picture at stride 2 is 150 MiB, and a loss needs several at once. Here only one
chunk of rows exists at a time, forward and backward (video-features.md, section 8).
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from torch.utils.checkpoint import checkpoint

from ...correspondence import local_correlation
from ...errors import InputError

CHUNK_ELEMENTS = 2**22
"""Correlations held at once if the caller does not say: 16 MiB in float32."""


def over_rows(
    query: Tensor, key: Tensor, radius: int, outside: float, reduce: Callable[[Tensor, slice], Tensor], rows: int | None
) -> list[Tensor]:
    """What ``reduce`` makes of the correlations of each chunk of rows, top to bottom.

    Args:
        query, key: (B, C, h, w).
        radius, outside: as in :func:`~samepoint.correspondence.local_correlation`.
        reduce: given correlations (B, (2 radius + 1)^2, r, w) and the r rows they belong to, something small. Called a
            second time in the backward pass; draws no random numbers.
        rows: query rows at once; None: as many as ``CHUNK_ELEMENTS`` allows. Changes memory and speed only.
    """
    if rows is None:
        rows = max(1, CHUNK_ELEMENTS // max(1, len(query) * query.shape[-1] * (2 * radius + 1) ** 2))
    if rows < 1:
        raise InputError(f"rows: expected at least 1 row in a chunk, got {rows}")

    def part(chunk: slice) -> Tensor:
        return reduce(local_correlation(query[:, :, chunk], key, radius, outside, row=chunk.start), chunk)

    height = query.shape[2]
    chunks = [slice(row, min(row + rows, height)) for row in range(0, height, rows)]
    return [checkpoint(part, chunk, use_reentrant=False, preserve_rng_state=False) for chunk in chunks]


def check_maps(what: str, query: Tensor, key: Tensor) -> None:
    """Raise InputError unless both are float maps (B, C, h, w) alike, with at least one picture and cell."""
    if query.ndim != 4 or query.shape != key.shape or 0 in query.shape or not query.is_floating_point():
        raise InputError(
            f"{what}: expected two float maps (B, C, h, w) alike and not empty, "
            f"got {tuple(query.shape)} and {tuple(key.shape)}"
        )


def on_cells(what: str, dense: Tensor, stride: int, size: tuple[int, int]) -> Tensor:
    """Every ``stride``-th row and column of a map (B, H, W, ...): its values at the cells' centres, (B, h, w, ...)."""
    if stride < 1:
        raise InputError(f"stride: expected at least 1, got {stride}")
    sampled = dense[:, ::stride, ::stride]
    if tuple(sampled.shape[1:3]) != size:
        raise InputError(
            f"{what}: {dense.shape[1]} x {dense.shape[2]} pixels give {sampled.shape[1]} x {sampled.shape[2]} cells "
            f"at stride {stride}; the features have {size[0]} x {size[1]}"
        )
    return sampled
