"""How strongly each query cell corresponds to each key cell: windowed, top-k, over several key frames jointly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from samepoint.correspondence import portable
from samepoint.correspondence.window import Window
from samepoint.errors import InputError

Path = Literal["auto", "torch", "cpu"]


@dataclass(frozen=True)
class Affinity:
    """The k best key cells of each of Q query cells, best first.

    indices: int64 (Q, k), flat over (T, H, W); 0 where fewer than k key cells lie in window and image.
    weights: (Q, k), softmax of ``scores / temperature`` over the k; 0 where missing. A query without any has sum 0.
    scores: (Q, k), similarities before temperature; -inf where missing.
    frames: T. size: (H, W) of the maps. cells: the flat query cells int64 (Q,), None for all in raster order.
    """

    indices: Tensor
    weights: Tensor
    scores: Tensor
    frames: int
    size: tuple[int, int]
    cells: Tensor | None = None

    @classmethod
    def of(
        cls,
        scores: Tensor,
        indices: Tensor,
        weights: Tensor,
        frames: int,
        size: tuple[int, int],
        cells: Tensor | None,
        repeat: Tensor | None,
    ) -> Affinity:
        """From results for ``distinct`` cells; ``repeat`` says which of them each of ``cells`` is."""
        if repeat is not None:
            scores, indices, weights = scores[repeat], indices[repeat], weights[repeat]
        return cls(indices, weights, scores, frames, size, cells)

    @classmethod
    def nothing(cls, query: Tensor, topk: int, frames: int, cells: Tensor) -> Affinity:
        """Where no cell (0,) was asked for."""
        empty = query.new_zeros((0, topk))
        return cls(cells.new_zeros((0, topk)), empty, empty, frames, (query.shape[1], query.shape[2]), cells)


def softmax_of_found(scores: Tensor, temperature: float) -> Tensor:
    """Softmax over the last axis that gives 0 to -inf, also where all of a row are -inf."""
    found = ~torch.isneginf(scores)
    logits = scores.masked_fill(~found, 0.0) / temperature
    peak = logits.detach().masked_fill(~found, -torch.inf).amax(dim=-1, keepdim=True)
    weights = (logits - peak.nan_to_num(neginf=0.0)).clamp(max=0.0).exp() * found
    total: Tensor = weights.sum(dim=-1, keepdim=True)
    return weights / total.masked_fill(total == 0, 1.0)


def affinity(
    query: Tensor,
    keys: Tensor | Sequence[Tensor],
    window: Window | Sequence[Window],
    topk: int = 10,
    temperature: float = 0.07,
    normalize: bool = True,
    query_cells: Tensor | None = None,
    key_valid: Tensor | None = None,
    dtype: torch.dtype = torch.float32,
    path: Path = "auto",
) -> Affinity:
    """The ``topk`` most similar key cells of each query cell, within its window, jointly over all key frames.

    query: float (C, H, W). keys: (T, C, H, W) or T maps (C, H, W), which are then not copied; T >= 1.
    window: one for all key frames, or one for each. Cells outside the image take no part.
    temperature: published 0.07. normalize: cosine similarity (each cell divided by its norm, at least 1e-12);
    otherwise the plain dot product. query_cells: int64 (Q,) flat cells to do only those. key_valid: bool (T, H, W),
    False for key cells that must not be chosen. dtype: float32 is exact; bfloat16 rounds the (normalised) features
    and sums their products in float32. Among equal scores any may be chosen.

    path: "torch" runs anywhere and is differentiable in query and keys; "cpu" is the compiled path: CPU, no gradient,
    a processor with fused multiply-add, results float32, T * H * W < 2**31; "auto" takes the second where it serves.

    Raises InputError where shapes, settings or the path do not fit. Equations: VFS-style label propagation (CRW; VFS,
    ICCV 2021; FGVC, ICCV 2023).

    >>> feature = torch.eye(6).reshape(6, 2, 3)
    >>> found = affinity(feature, feature[None], Window.everywhere(), topk=1)
    >>> found.indices.flatten().tolist()
    [0, 1, 2, 3, 4, 5]
    """
    frames = list(keys)
    windows = [window] * len(frames) if isinstance(window, Window) else list(window)
    check_search(query, frames, windows, topk, temperature, query_cells, key_valid, dtype)
    height, width = query.shape[1:]
    cells, repeat = distinct(query_cells)
    if cells is not None and len(cells) == 0:
        return Affinity.nothing(query, topk, len(frames), cells)
    reaches = [each.reach(height, width) for each in windows]
    settings = (query, frames, reaches, topk, normalize, dtype == torch.bfloat16, cells, key_valid)
    if path == "torch" or not is_fast(query, frames, path):
        scores, indices = portable.search(*settings)
        weights = softmax_of_found(scores, temperature)
    else:
        from samepoint.correspondence import fast_cpu  # numba takes a moment to import

        scores, indices = fast_cpu.search(*settings)
        weights = fast_cpu.softmax(scores, temperature)
    return Affinity.of(scores, indices, weights, len(frames), (height, width), query_cells, repeat)


def distinct(query_cells: Tensor | None) -> tuple[Tensor | None, Tensor | None]:
    """The cells asked for, each once, and which of them each was; None and None for all."""
    return (None, None) if query_cells is None else torch.unique(query_cells, return_inverse=True)


def is_fast(query: Tensor, frames: Sequence[Tensor], path: Path) -> bool:
    reason = ""
    if any(each.device.type != "cpu" for each in (query, *frames)):
        reason = "the features are not on the CPU"
    elif torch.is_grad_enabled() and any(each.requires_grad for each in (query, *frames)):
        reason = "gradients are wanted"
    elif any(each.dtype == torch.float64 for each in (query, *frames)):
        reason = "the features are float64"
    elif len(frames) * query.shape[1] * query.shape[2] >= 2**31:
        reason = "the key frames have 2**31 cells or more"
    else:
        from samepoint.correspondence import fast_cpu

        if not fast_cpu.SUPPORTED:
            reason = "numba compiles here for a processor without fused multiply-add, or not at all"
    if reason and path == "cpu":
        raise InputError(f'path "cpu" cannot serve: {reason}; expected path "auto" or "torch"')
    return not reason


def check_search(
    query: Tensor,
    frames: Sequence[Tensor],
    windows: Sequence[Window],
    topk: int,
    temperature: float,
    cells: Tensor | None,
    valid: Tensor | None,
    dtype: torch.dtype,
) -> None:
    if query.ndim != 3 or 0 in query.shape or not query.is_floating_point():
        raise InputError(f"query features: expected float (C, H, W), none of them 0, got {_describe(query)}")
    if not frames:
        raise InputError("key features: expected at least one key frame, got none")
    for t, frame in enumerate(frames):
        if frame.shape != query.shape or frame.dtype != query.dtype or frame.device != query.device:
            raise InputError(f"key frame {t}: expected {_describe(query)} as the query, got {_describe(frame)}")
    if len(windows) != len(frames):
        raise InputError(f"windows: expected one, or one for each of {len(frames)} key frames, got {len(windows)}")
    if topk < 1:
        raise InputError(f"topk: expected 1 or more, got {topk}")
    if not temperature > 0:
        raise InputError(f"temperature: expected above 0, got {temperature}")
    if dtype not in (torch.float32, torch.bfloat16):
        raise InputError(f"dtype: expected float32 or bfloat16, got {dtype}")
    if cells is not None:
        if cells.ndim != 1 or cells.dtype != torch.int64:
            raise InputError(f"query_cells: expected int64 (Q,), got {_describe(cells)}")
        count = query.shape[1] * query.shape[2]
        if len(cells) and not 0 <= int(cells.min()) <= int(cells.max()) < count:
            raise InputError(f"query_cells: expected 0 to {count - 1}, got {int(cells.min())} to {int(cells.max())}")
    expected = (len(frames), *query.shape[1:])
    if valid is not None and (tuple(valid.shape) != expected or valid.dtype != torch.bool):
        raise InputError(f"key_valid: expected bool {expected}, got {_describe(valid)}")


def _describe(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)} on {tensor.device}"
