"""Training items addressed by index: clips of real video, and pairs of frames with the flow between them.

Item ``i`` depends on the seed and ``i`` alone, for every ``i >= 0``: the same in any process, in any order, and after a
resume. ``default_collate`` of PyTorch stacks items; ``batch(step, size)`` gives items ``step * size`` onwards, stacked.
All of it pickles, for the processes of a DataLoader.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, Protocol

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from ..datasets import flyingthings, youtube_vos
from ..datasets.augment import Augmentation, augment_batch, augment_clip, draw_view, recolour
from ..datasets.order import drawn
from ..datasets.synthetic import Clip, ClipSettings, SyntheticClips
from ..datasets.synthetic.textures import TextureSource
from ..datasets.video_folder import Gap
from ..errors import InputError
from ..geometry import fit_size

_REAL, _FLOW, _VOS, _RENDERED = range(4)  # tell the draws of one seed apart


class FlowItem(NamedTuple):
    """A reference and a target frame with the flow between them, both ways (with a leading B in a batch)."""

    frames: Tensor  # (2, 3, H, W) uint8 RGB: reference, target
    flow: Tensor  # (H, W, 2) float32 pixels (x, y), target -> reference, on the target's pixels; NaN: not known
    flow_back: Tensor  # (H, W, 2), reference -> target, on the reference's pixels
    valid: Tensor  # (H, W) bool: flow holds, leads into the reference and, where that is known, to something visible
    valid_back: Tensor  # (H, W) bool: the same of flow_back


class PlainClips(NamedTuple):
    """Clips as they were read, to be augmented where the network is."""

    clips: tuple[Tensor, ...]  # (T, 3, h, w) uint8 RGB, each of its own size
    first: int  # index of the first; the others follow


class ClipSource(Protocol):
    """Anything that gives clips by index: ``VideoFolder``, ``VosPairs``."""

    def __len__(self) -> int:
        """Clips that make an epoch."""
        ...

    def clip(self, index: int) -> NDArray[np.uint8]:
        """Clip ``index`` >= 0, uint8 RGB (T, h, w, 3)."""
        ...

    def describe(self, index: int) -> str:
        """What it is of, for messages."""
        ...


class FlowSource(Protocol):
    """Anything that gives pairs of frames with flow by index: ``FlyingPairs``, ``RenderedPairs``."""

    def __len__(self) -> int:
        """Pairs that make an epoch."""
        ...

    def pair(self, index: int) -> FlowItem:
        """Pair ``index`` >= 0, before augmentation."""
        ...

    def describe(self, index: int) -> str:
        """What it is of, for messages."""
        ...


class RealClips:
    """Clips without labels. ``item(i)`` is uint8 RGB (T, 3, H, W), augmented.

    ``batch`` augments where it is called, in a worker; ``plain`` leaves that to ``augmented``, on a GPU, by the same
    draws.
    """

    def __init__(self, clips: ClipSource, augmentation: Augmentation, seed: int = 0) -> None:
        self.clips, self.augmentation, self.seed = clips, augmentation, seed

    def __len__(self) -> int:
        """Items of an epoch; greater indices are items too."""
        return len(self.clips)

    def item(self, index: int) -> Tensor:
        """Item ``index`` >= 0, uint8 (T, 3, H, W)."""
        with _told_of(self, index):
            return augment_clip(self._read(index), self.augmentation, _generator(self.seed, index, _REAL)).contiguous()

    def batch(self, step: int, size: int) -> Tensor:
        """uint8 (size, T, 3, H, W)."""
        return torch.stack([self.item(step * size + place) for place in range(size)])

    def plain(self, step: int, size: int) -> PlainClips:
        """What ``augmented`` makes the batch of."""
        first = step * size
        return PlainClips(tuple(self._read(first + place).contiguous() for place in range(size)), first)

    def augmented(self, plain: PlainClips) -> Tensor:
        """The batch (B, T, 3, H, W), on the clips' device; in float32 within autocast too."""
        generators = [_generator(self.seed, plain.first + place, _REAL) for place in range(len(plain.clips))]
        with torch.autocast(plain.clips[0].device.type, enabled=False):
            return augment_batch(plain.clips, self.augmentation, generators)

    def describe(self, index: int) -> str:
        """What item ``index`` is of."""
        return self.clips.describe(index)

    def _read(self, index: int) -> Tensor:
        return torch.from_numpy(self.clips.clip(index)).permute(0, 3, 1, 2)


class VosPairs:
    """YouTube-VOS: two (or ``frames``) consecutive listed names of a video, the first drawn evenly (spec 3.2).

    Raises InputError where no video has so many frames, and what ``youtube_vos.clips`` raises.
    """

    def __init__(
        self,
        root: str | Path,
        seed: int = 0,
        frames: int = 2,
        short_side: int | None = 256,
        split: str = "train",
        index: str | Path | None = None,
    ) -> None:
        self._clips = [clip for clip in youtube_vos.clips(root, split, index) if len(clip) >= frames]
        if not self._clips:
            raise InputError(f"{root}: no video of {split} has {frames} frames")
        self.seed, self.frames, self.short_side = seed, frames, short_side

    def __len__(self) -> int:
        """Videos: an epoch draws one clip from each."""
        return len(self._clips)

    def clip(self, index: int) -> NDArray[np.uint8]:
        """Clip ``index`` >= 0, uint8 RGB (T, h, w, 3) at the short side."""
        video, numbers = self._place(index)
        return np.stack([self._shrunk(video.frame(number)) for number in numbers])

    def describe(self, index: int) -> str:
        """Video and names of the frames."""
        video, numbers = self._place(index)
        return f"{video.name} frames {', '.join(video.frame_paths[number].stem for number in numbers)}"

    def _place(self, index: int) -> tuple[youtube_vos.VosClip, range]:
        video = self._clips[drawn(len(self._clips), self.seed, index)]
        first = int(np.random.default_rng([self.seed, index, _VOS]).integers(len(video) - self.frames + 1))
        return video, range(first, first + self.frames)

    def _shrunk(self, frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
        if self.short_side is None or min(frame.shape[:2]) <= self.short_side:
            return frame
        height, width = fit_size((frame.shape[0], frame.shape[1]), self.short_side)
        return np.asarray(cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA))


class FlyingPairs:
    """FlyingThings3D's training pairs in both directions of time (spec 3.3), in an order drawn for each epoch.

    Raises what ``flyingthings.sequences`` raises.
    """

    def __init__(
        self,
        root: str | Path,
        seed: int = 0,
        frames: flyingthings.Pass = "clean",
        side: flyingthings.Side = "left",
    ) -> None:
        self._pairs = [
            pair for sequence in flyingthings.sequences(root, "TRAIN", frames, side) for pair in sequence.pairs()
        ]
        self.seed = seed

    def __len__(self) -> int:
        """Pairs, both directions of time."""
        return len(self._pairs)

    def pair(self, index: int) -> FlowItem:
        """Pair ``index`` >= 0 at full size; what is hidden is not known, so ``valid`` tells where flow is known."""
        pair = self._pair(index)
        flow, flow_back = map(torch.from_numpy, pair.flows())
        frames = np.stack(pair.frames())
        if flow.shape != flow_back.shape or frames.shape[1:3] != flow.shape[:2]:
            raise InputError(f"{pair.flow_path}: flow and frames of this pair are of different sizes")
        known = torch.isfinite(flow).all(-1), torch.isfinite(flow_back).all(-1)
        return FlowItem(torch.from_numpy(frames).permute(0, 3, 1, 2), flow, flow_back, *known)

    def describe(self, index: int) -> str:
        """The file of the flow."""
        return str(self._pair(index).flow_path)

    def _pair(self, index: int) -> flyingthings.FlowPair:
        return self._pairs[drawn(len(self._pairs), self.seed, index)]


class RenderedPairs:
    """Two frames of a rendered clip, their gap and the direction of time drawn; exact flow and visibility.

    Args:
        clips: clips of two or more frames.
        seed: with the index it decides a pair; the clips have a seed of their own.
        gap: frames between the two, at most what a clip has.
        each: successive pairs drawn from one clip: rendering costs less, but a batch holds fewer scenes.
        epoch: pairs that are called an epoch; there is no end to them.

    Raises:
        InputError: clips of one frame, or a gap in seconds.
    """

    def __init__(
        self, clips: SyntheticClips, seed: int = 0, gap: Gap | None = None, each: int = 1, epoch: int = 10_000
    ) -> None:
        self.gap = gap or Gap()
        if self.gap.unit != "frames":
            raise InputError(f"gap of rendered pairs in {self.gap.unit}; expected frames, they have no rate")
        if clips.settings.frames < 2:
            raise InputError(f"frames of a rendered clip: {clips.settings.frames} given, at least 2 expected")
        if each < 1:
            raise InputError(f"pairs of each clip: {each} given, at least 1 expected")
        self.clips, self.seed, self.each, self.epoch = clips, seed, each, epoch
        self._last: tuple[int, Clip] | None = None

    @classmethod
    def of(
        cls,
        settings: ClipSettings,
        textures: TextureSource,
        seed: int = 0,
        gap: Gap | None = None,
        each: int = 1,
    ) -> RenderedPairs:
        """Pairs of clips of these settings, whose ``frames`` become as many as the longest gap needs."""
        gap = gap or Gap()
        drawn = gap.between if gap.weights is None else [one for one, weight in gap.weights.items() if weight > 0]
        return cls(SyntheticClips(replace(settings, frames=int(max(drawn)) + 1), textures, seed), seed, gap, each)

    def __len__(self) -> int:
        return self.epoch

    def pair(self, index: int) -> FlowItem:
        """Pair ``index`` >= 0; ``valid`` is exact: the point is seen in the other frame."""
        clip = self._clip(index // self.each)
        rng = np.random.default_rng([self.seed, index, _RENDERED])
        gap = min(self.gap.draw(rng, 1.0), len(clip) - 1)
        first = int(rng.integers(len(clip) - gap))
        reference, target = (first, first + gap) if rng.random() < 0.5 else (first + gap, first)
        flow, seen = clip.flow(target, reference)
        flow_back, seen_back = clip.flow(reference, target)
        frames = torch.from_numpy(clip.frames[[reference, target]]).permute(0, 3, 1, 2)
        return FlowItem(frames, *map(torch.from_numpy, (flow, flow_back, seen, seen_back)))

    def describe(self, index: int) -> str:
        """The clip."""
        return f"rendered clip {index // self.each} of seed {self.clips.seed}"

    def _clip(self, index: int) -> Clip:
        if self._last is None or self._last[0] != index:
            self._last = index, self.clips.clip(index)
        return self._last[1]


class FlowPairs:
    """Augmented pairs with flow. ``item(i)`` is a FlowItem at the augmentation's size.

    Raises InputError where the augmentation draws another crop for each frame: flow between them would not hold.
    """

    def __init__(self, pairs: FlowSource, augmentation: Augmentation, seed: int = 0) -> None:
        if not augmentation.same_view:
            raise InputError("same_view: False given, but flow needs one view for both frames")
        self.pairs, self.augmentation, self.seed = pairs, augmentation, seed

    def __len__(self) -> int:
        """Items of an epoch; greater indices are items too."""
        return len(self.pairs)

    def item(self, index: int) -> FlowItem:
        """Item ``index`` >= 0."""
        with _told_of(self, index):
            return augment_pair(self.pairs.pair(index), self.augmentation, _generator(self.seed, index, _FLOW))

    def batch(self, step: int, size: int) -> FlowItem:
        """Items stacked, with a leading ``size``."""
        items = [self.item(step * size + place) for place in range(size)]
        return FlowItem(*map(torch.stack, zip(*items, strict=True)))

    def describe(self, index: int) -> str:
        """What item ``index`` is of."""
        return self.pairs.describe(index)


def augment_pair(pair: FlowItem, settings: Augmentation, generator: Generator) -> FlowItem:
    """One view for both frames and both flows, then a change of colour of the frames."""
    view = draw_view((pair.frames.shape[-2], pair.frames.shape[-1]), settings, generator)
    flow, valid = view.flow(pair.flow, pair.valid)
    flow_back, valid_back = view.flow(pair.flow_back, pair.valid_back)
    frames = recolour(view.frames(pair.frames), settings, generator)
    return FlowItem(
        frames.contiguous(), flow.contiguous(), flow_back.contiguous(), valid.contiguous(), valid_back.contiguous()
    )


@contextmanager
def _told_of(source: RealClips | FlowPairs, index: int) -> Iterator[None]:
    """What goes wrong with item ``index`` says which it was."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{source.describe(index)}: {error}") from None


def _generator(seed: int, index: int, kind: int) -> Generator:
    state = np.random.SeedSequence([seed, index, kind]).generate_state(1, np.uint64)[0]
    return Generator().manual_seed(int(state >> np.uint64(1)))
