"""Carry values along an affinity: the weighted sum of the key cells' values."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from samepoint.correspondence.affinity import Affinity
from samepoint.errors import InputError

CHUNK_ELEMENTS = 2**24  # gathered values held at once by the torch path (64 MiB in float32)


def propagate(affinity: Affinity, values: Tensor | Sequence[Tensor]) -> Tensor:
    """Values of the query cells: ``sum over j of weights[q, j] * values[indices[q, j]]``.

    values: float (T, V, H, W), or T maps (V, H, W), which are then not copied; V may be 0. Returns (V, H, W), or
    (V, Q) when the affinity is of chosen query cells. Differentiable in values and weights; without gradients float32
    values on the CPU take the compiled path.

    >>> from samepoint.correspondence import Window, affinity
    >>> feature = torch.eye(4).reshape(4, 2, 2)
    >>> found = affinity(feature, feature[None], Window.square(1), topk=1)
    >>> propagate(found, torch.arange(4.0).reshape(1, 1, 2, 2)).flatten().tolist()
    [0.0, 1.0, 2.0, 3.0]
    """
    frames = list(values)
    height, width = affinity.size
    for t, frame in enumerate(frames):
        if frame.ndim != 3 or frame.shape != frames[0].shape or tuple(frame.shape[1:]) != affinity.size:
            raise InputError(f"values of key frame {t}: expected (V, {height}, {width}), got {tuple(frame.shape)}")
        if not frame.is_floating_point():
            raise InputError(f"values of key frame {t}: expected floating point, got {frame.dtype}")
    if len(frames) != affinity.frames:
        raise InputError(f"values: expected {affinity.frames} key frames as the affinity, got {len(frames)}")
    if _fast(affinity, frames):
        from samepoint.correspondence import fast_cpu

        result = fast_cpu.gather(affinity.indices, affinity.weights, frames)
    else:
        result = _gather(affinity.indices, affinity.weights, frames)
    return result if affinity.cells is not None else result.unflatten(1, affinity.size)


def _fast(affinity: Affinity, frames: Sequence[Tensor]) -> bool:
    tensors = (affinity.weights, *frames)
    if any(each.device.type != "cpu" or each.dtype != torch.float32 for each in tensors):
        return False
    if torch.is_grad_enabled() and any(each.requires_grad for each in tensors):
        return False
    from samepoint.correspondence import fast_cpu  # numba takes a moment to import

    return fast_cpu.SUPPORTED


def _gather(indices: Tensor, weights: Tensor, frames: Sequence[Tensor]) -> Tensor:
    channels = frames[0].shape[0]
    step = max(1, CHUNK_ELEMENTS // max(1, indices.numel()))
    parts = [weights.new_zeros((0, len(indices)))]
    for start in range(0, channels, step):
        part = torch.cat([frame[start : start + step].flatten(1) for frame in frames], dim=1)
        parts.append((part[:, indices] * weights).sum(dim=2))
    return torch.cat(parts)
