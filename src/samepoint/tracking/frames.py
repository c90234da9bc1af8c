"""From a frame to a network's maps at a working size."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from ..errors import InputError
from ..geometry import fit_size
from ..models.inference import for_inference
from ..models.precision import autocast, check_device, prefers_bf16

WorkingSize = int | tuple[int, int] | None


def working_size(size: tuple[int, int], wanted: WorkingSize) -> tuple[int, int]:
    """The (H, W) at which a frame of ``size`` is worked on: a short side, an exact (H, W), or None for its own."""
    return wanted if isinstance(wanted, tuple) else fit_size(size, wanted)


def check_working_size(wanted: object) -> None:
    """Raise InputError for what is no working size."""
    numbers = wanted if isinstance(wanted, tuple) else () if wanted is None else (wanted,)
    if len(numbers) > 2 or not all(isinstance(number, (int, np.integer)) and number >= 1 for number in numbers):
        raise InputError(f"size: {wanted!r} given; a short side of 1 pixel or more, (H, W) or None expected")


class FrameEncoder:
    """A network that takes frames as they come.

    Args:
        network: has ``preprocess`` and ``features``. One in training mode, or elsewhere than ``device``, is copied.
        size: the short side at which frames are worked on, an exact (H, W), or None for their own size.
        device: where to compute; where the network is by default.
        dtype: float32 or bfloat16; bfloat16 where the device gains from it by default.
    """

    def __init__(
        self,
        network: nn.Module,
        size: WorkingSize = None,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        if not hasattr(network, "features"):
            raise InputError(f"a model for videos must give features, {type(network).__name__} gives none")
        if dtype not in (None, torch.float32, torch.bfloat16):
            raise InputError(f"dtype: expected float32 or bfloat16, got {dtype}")
        check_device(device)
        self.network: Any = for_inference(network, device, torch.channels_last)
        self.device = next(self.network.parameters()).device
        self.bf16 = prefers_bf16(self.device) if dtype is None else dtype == torch.bfloat16
        self.size = size

    def __call__(self, frame: np.ndarray) -> tuple[Tensor, ...]:
        """Maps (C, h, w), float32, of a frame uint8 RGB (H, W, 3)."""
        return tuple(level[0].contiguous() for level in self.batch(frame))

    @torch.inference_mode()
    def batch(self, frame: np.ndarray) -> list[Tensor]:
        """The same as a batch of one, (1, C, h, w), in whatever memory order the network leaves."""
        height, width = working_size((frame.shape[0], frame.shape[1]), self.size)
        if (height, width) != frame.shape[:2]:
            smaller = height < frame.shape[0]
            frame = cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR)
        frame = np.require(frame, requirements=["C", "W"])  # a decoder's frame may be read-only, which torch refuses
        pixels = torch.from_numpy(frame)[None].to(self.device)
        with autocast(self.device, self.bf16):
            x = self.network.preprocess(pixels).contiguous(memory_format=torch.channels_last)
            maps = self.network.features(x)
        return [level.float() for level in maps]
