"""Batches of rendered clips: frames, and points whose place and visibility in other frames are known exactly."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ..datasets.synthetic import FolderTextures, ProceduralTextures, SyntheticClips
from ..datasets.synthetic.textures import TextureSource
from .config import DataConfig


class PairBatch(NamedTuple):
    """Points of several pairs of frames. B frames, M points in all; frames of all clips lie behind each other."""

    frames: Tensor  # (B, H, W, 3) uint8
    source: Tensor  # (M,) frame that the point is given in
    target: Tensor  # (M,) frame that it is sought in
    source_xy: Tensor  # (M, 2) float32 pixels
    target_xy: Tensor  # (M, 2)
    visible: Tensor  # (M,) bool: visible in the target frame
    refined: Tensor  # (M,) bool: whether the refiner learns from it too


def textures_of(config: DataConfig) -> TextureSource:
    """Where the clips' textures come from."""
    return FolderTextures(config.videos) if config.videos else ProceduralTextures()


class RenderedPairs(Dataset[PairBatch]):
    """Item ``i`` is the batch of step ``i``: the same in any process, so that a run resumes where it stopped."""

    def __init__(self, config: DataConfig, seed: int, steps: int, start: int = 0) -> None:
        self.clips = SyntheticClips(config.clip_settings(), textures_of(config), seed)
        self.config, self.seed, self.steps, self.start = config, seed, steps, start

    def __len__(self) -> int:
        return self.steps - self.start

    def __getitem__(self, index: int) -> PairBatch:
        if not 0 <= index < len(self):
            raise IndexError(index)
        step, config = self.start + index, self.config
        rng = np.random.default_rng((self.seed, step))
        frames, parts = [], []
        for position in range(config.clips):
            clip = self.clips.clip(step * config.clips + position)
            frames.append(clip.frames)
            ordered = [(a, b) for a in range(config.frames) for b in range(config.frames) if a != b]
            for choice in rng.permutation(len(ordered))[: config.pairs]:
                source, target = ordered[choice]
                xy = rng.permutation(clip.sample_points(rng, config.points, source, config.balanced))
                tracked, visible = clip.tracks(xy, source)
                offset = position * config.frames
                parts.append((offset + source, offset + target, xy, tracked[:, target], visible[:, target]))
        count = [len(part[2]) for part in parts]
        return PairBatch(
            torch.from_numpy(np.concatenate(frames)),
            torch.tensor(np.repeat([part[0] for part in parts], count)),
            torch.tensor(np.repeat([part[1] for part in parts], count)),
            torch.from_numpy(np.concatenate([part[2] for part in parts]).astype(np.float32)),
            torch.from_numpy(np.concatenate([part[3] for part in parts]).astype(np.float32)),
            torch.from_numpy(np.concatenate([part[4] for part in parts]).astype(bool)),
            torch.from_numpy(np.concatenate([np.arange(n) < config.refined for n in count])),
        )


def _unchanged(batch: Any) -> Any:
    return batch


def batches(config: DataConfig, seed: int, steps: int, start: int = 0) -> Iterator[PairBatch]:
    """The batches of steps ``start`` to ``steps - 1``, rendered ahead in other processes."""
    loader = DataLoader(
        RenderedPairs(config, seed, steps, start),
        batch_size=None,
        num_workers=config.workers,
        prefetch_factor=4 if config.workers else None,
        collate_fn=_unchanged,
        multiprocessing_context="spawn" if config.workers else None,
        generator=torch.Generator(),  # else the loader draws from the global one, and a resumed run from another place
    )
    with _interrupts_held():
        iterator = iter(loader)
    yield from iterator


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Processes started meanwhile never see Ctrl-C: the trainer still needs their batch to end its step and save."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
