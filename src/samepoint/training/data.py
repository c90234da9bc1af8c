"""Batches of rendered clips: frames, and points whose place and visibility in other frames are known exactly."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from ..datasets.synthetic import ClipSettings, FolderTextures, ProceduralTextures, SyntheticClips
from ..datasets.synthetic.textures import TextureSource
from .config import DataConfig
from .loading import in_order


class TrainingBatch(NamedTuple):
    """C clips of T frames each; M points for matching pairs of frames, N points followed through their clips."""

    frames: Tensor  # (C, T, H, W, 3) uint8
    source: Tensor  # (M,) frame that a point is given in, counted through all clips
    target: Tensor  # (M,) frame that it is sought in
    source_xy: Tensor  # (M, 2) float32 pixels
    target_xy: Tensor  # (M, 2)
    matched: Tensor  # (M,) bool: visible in the target frame
    clip: Tensor  # (N,) clip that a followed point lies in, ascending
    xy: Tensor  # (N, T, 2) float32 pixels; the point is given in frame 0
    visible: Tensor  # (N, T) bool


def textures_of(config: DataConfig) -> TextureSource:
    """Where the clips' textures come from."""
    return FolderTextures(config.videos) if config.videos else ProceduralTextures()


class RenderedBatches(Dataset[TrainingBatch]):
    """Item ``i`` is the batch of step ``i``: the same in any process, so that a run resumes where it stopped."""

    def __init__(self, config: DataConfig, seed: int, steps: int, start: int = 0) -> None:
        settings, textures = config.clip_settings(), textures_of(config)
        crossing = ClipSettings.occluding(settings.frames, size=settings.size, plain=settings.plain)
        self.clips, self.crossing = (
            [SyntheticClips(_shrunk(kind, scale), textures, seed) for scale in config.scales]
            for kind in (settings, crossing)
        )
        self.config, self.seed, self.steps, self.start = config, seed, steps, start

    def __len__(self) -> int:
        return self.steps - self.start

    def __getitem__(self, index: int) -> TrainingBatch:
        if not 0 <= index < len(self):
            raise IndexError(index)
        step, config = self.start + index, self.config
        rng = np.random.default_rng((self.seed, step))
        frames, pairs, paths = [], [], []
        ordered = [(a, b) for a in range(config.frames) for b in range(config.frames) if a != b]
        for position in range(config.clips):
            kind = self.crossing if rng.random() < config.crossing else self.clips
            clip = kind[rng.integers(len(kind))].clip(step * config.clips + position)
            frames.append(_enlarged(clip.frames, config.size))
            scale = np.array(config.size[::-1]) / clip.size[::-1]
            for choice in rng.permutation(len(ordered))[: config.pairs]:
                source, target = ordered[choice]
                xy = clip.sample_points(rng, config.points, source, config.balanced)
                tracked, visible = clip.tracks(xy, source)
                offset = position * config.frames
                pairs.append(
                    (offset + source, offset + target, xy * scale, tracked[:, target] * scale, visible[:, target])
                )
            tracked, visible = clip.tracks(clip.sample_points(rng, config.followed, 0, config.balanced), 0)
            paths.append((tracked * scale, visible))
        count = [len(pair[2]) for pair in pairs]
        return TrainingBatch(
            torch.from_numpy(np.stack(frames)),
            torch.tensor(np.repeat([pair[0] for pair in pairs], count)),
            torch.tensor(np.repeat([pair[1] for pair in pairs], count)),
            torch.from_numpy(np.concatenate([pair[2] for pair in pairs]).astype(np.float32)),
            torch.from_numpy(np.concatenate([pair[3] for pair in pairs]).astype(np.float32)),
            torch.from_numpy(np.concatenate([pair[4] for pair in pairs])),
            torch.arange(config.clips).repeat_interleave(config.followed),
            torch.from_numpy(np.concatenate([path[0] for path in paths]).astype(np.float32)),
            torch.from_numpy(np.concatenate([path[1] for path in paths])),
        )

    def describe(self, index: int) -> str:
        """The clips of item ``index``."""
        first, count = (self.start + index) * self.config.clips, self.config.clips
        return f"rendered clip{f's {first} to' if count > 1 else ''} {first + count - 1} of seed {self.seed}"


def _shrunk(settings: ClipSettings, scale: float) -> ClipSettings:
    """The same scenes on frames of fewer pixels."""
    height, width = (round(scale * side) for side in settings.size)
    speed = (scale * settings.speed[0], scale * settings.speed[1])
    return replace(settings, size=(height, width), speed=speed)


def _enlarged(frames: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Frames (T, h, w, 3) at ``size``, as a tracker enlarges those of a small video."""
    if frames.shape[1:3] == size:
        return frames
    return np.stack([cv2.resize(frame, size[::-1], interpolation=cv2.INTER_LINEAR) for frame in frames])


def batches(config: DataConfig, seed: int, positions: range) -> Iterator[TrainingBatch]:
    """The batches at these positions of the run, rendered ahead in other processes."""
    return in_order(RenderedBatches(config, seed, positions.stop), positions, config.workers)
