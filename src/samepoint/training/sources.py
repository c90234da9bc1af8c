"""Training items addressed by index: clips of real video, and pairs of frames with the flow between them.

Item ``i`` depends on the seed and ``i`` alone, for every ``i >= 0``: the same in any process, in any order, and after a
resume. ``default_collate`` of PyTorch stacks items; ``batch(step, size)`` gives items ``step * size`` onwards, stacked.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from torch import Tensor

from ..datasets.augment import Augmentation
from ..datasets.synthetic import SyntheticClips
from ..datasets.synthetic.clips import ClipSettings
from ..datasets.synthetic.textures import TextureSource
from ..datasets.video_folder import Gap


class FlowItem(NamedTuple):
    """A reference and a target frame with the flow between them, both ways (with a leading B in a batch)."""

    frames: Tensor  # (2, 3, H, W) uint8 RGB: reference, target
    flow: Tensor  # (H, W, 2) float32 pixels (x, y), target -> reference, on the target's pixels
    flow_back: Tensor  # (H, W, 2), reference -> target, on the reference's pixels
    valid: Tensor  # (H, W) bool: flow holds, leads into the reference and, where that is known, to something visible
    valid_back: Tensor  # (H, W) bool: the same of flow_back


class ClipSource(Protocol):
    """Anything that gives clips by index."""

    def __len__(self) -> int:
        """Clips, or videos, that make an epoch."""
        ...

    def clip(self, index: int) -> np.ndarray:
        """Clip ``index`` >= 0, uint8 RGB (T, h, w, 3)."""
        ...


class RealClips:
    """Clips without labels. ``item(i)`` is uint8 RGB (T, 3, H, W)."""

    def __init__(self, clips: ClipSource, augmentation: Augmentation, seed: int = 0) -> None:
        raise NotImplementedError

    def __len__(self) -> int:
        raise NotImplementedError

    def item(self, index: int) -> Tensor:
        raise NotImplementedError

    def batch(self, step: int, size: int) -> Tensor:
        """uint8 (size, T, 3, H, W)."""
        raise NotImplementedError


class VosPairs:
    """YouTube-VOS: two (or ``frames``) consecutive listed names of a video, the first drawn evenly (spec 3.2)."""

    def __init__(
        self,
        root: str | Path,
        seed: int = 0,
        frames: int = 2,
        short_side: int | None = 256,
        split: str = "train",
        index: str | Path | None = None,
    ) -> None:
        raise NotImplementedError

    def __len__(self) -> int:
        raise NotImplementedError

    def clip(self, index: int) -> np.ndarray:
        raise NotImplementedError


class FlowSource(Protocol):
    """Anything that gives pairs of frames with flow by index."""

    def __len__(self) -> int:
        """Pairs that make an epoch."""
        ...

    def pair(self, index: int) -> FlowItem:
        """Pair ``index`` >= 0, before augmentation."""
        ...


class FlyingPairs:
    """FlyingThings3D's training pairs in both directions of time (spec 3.3), in an order drawn for each epoch."""

    def __init__(self, root: str | Path, seed: int = 0, frames: str = "clean", side: str = "left") -> None:
        raise NotImplementedError

    def __len__(self) -> int:
        raise NotImplementedError

    def pair(self, index: int) -> FlowItem:
        raise NotImplementedError


class RenderedPairs:
    """Two frames of a rendered clip, their gap and the direction of time drawn; exact flow and visibility."""

    def __init__(self, clips: SyntheticClips, seed: int = 0, gap: Gap = Gap(), epoch: int = 10_000) -> None:
        raise NotImplementedError

    @classmethod
    def of(
        cls,
        settings: ClipSettings,
        textures: TextureSource,
        seed: int = 0,
        gap: Gap = Gap(),
    ) -> RenderedPairs:
        raise NotImplementedError

    def __len__(self) -> int:
        raise NotImplementedError

    def pair(self, index: int) -> FlowItem:
        raise NotImplementedError


class FlowPairs:
    """Augmented pairs with flow. ``item(i)`` is a FlowItem at the augmentation's size."""

    def __init__(self, pairs: FlowSource, augmentation: Augmentation, seed: int = 0) -> None:
        raise NotImplementedError

    def __len__(self) -> int:
        raise NotImplementedError

    def item(self, index: int) -> FlowItem:
        raise NotImplementedError

    def batch(self, step: int, size: int) -> FlowItem:
        """Stacked FlowItem with a leading ``size``."""
        raise NotImplementedError
