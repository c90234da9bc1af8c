"""How good the student is while it learns: official scores on rendered clips that it never sees, and on benchmarks."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from ..datasets.synthetic import Clip, ClipSettings, SyntheticClips
from ..datasets.synthetic.textures import TextureSource
from ..evaluation.benchmarks import Asked, Model, make
from ..evaluation.metrics.tapvid import TapvidScore, tapvid_counts
from ..evaluation.predictions import Prediction
from ..geometry import Lattice, sample_patches
from ..models.features import UNTRAINED, as_module, load_features
from ..structures import Matches, Queries, Tracks
from ..tracking.points import track
from ..tracking.search import centres
from ..viz.draw import draw_tracks
from ..viz.matches import draw_matches
from .config import ValidationConfig
from .losses import reconstruct_colour
from .objectives import Student

SHOWN = ("AJ", "delta_avg", "OA")


class Validation:
    """Clips from a seed that training does not use, and the benchmarks that are named.

    Args:
        config: how much of it.
        settings: what training's clips are drawn from.
        textures: where their textures come from.
        seed: of the clips.
    """

    def __init__(self, config: ValidationConfig, settings: ClipSettings, textures: TextureSource, seed: int) -> None:
        self.config = config
        source = SyntheticClips(settings, textures, seed)
        self.clips = [source.clip(index) for index in range(config.clips)]
        self.seed = seed

    def scores(self, student: Student, save: Callable[[Path], Path]) -> dict[str, float]:
        """Percentages: ``AJ``, ``delta_avg``, ``OA`` on rendered clips, ``<benchmark>/<metric>`` on benchmarks.

        ``save`` writes the student's weights to a path, and what was written is scored, as by ``samepoint evaluate``:
        numbers in a file are rounded.
        """
        device = next(student.parameters()).device
        found: dict[str, float] = {}
        with tempfile.TemporaryDirectory() as folder:
            weights = save(Path(folder) / "model.safetensors")
            if self.clips:
                found = self._followed(as_module(load_features(weights).network).to(device))
            for name, root in self.config.benchmarks.items():
                found |= benchmark_scores(name, Path(root), weights, self.config.limit, device=str(device))
        return found

    def _followed(self, network: nn.Module) -> dict[str, float]:
        score = TapvidScore()
        for index, clip in enumerate(self.clips):
            xy, visible, tracks = self._follow(network, clip, index)
            start = np.zeros(len(xy), np.int64)
            score.update(tapvid_counts(start, xy, ~visible, tracks.xy, ~tracks.visible))
        return {name: 100 * value for name, value in score.compute().items() if name in SHOWN}

    def _follow(self, student: nn.Module, clip: Clip, index: int) -> tuple[np.ndarray, np.ndarray, Tracks]:
        start = clip.sample_points(np.random.default_rng((self.seed, index)), self.config.points, 0, 0.5)
        xy, visible = clip.tracks(start, 0)
        queries = Queries(frame=np.zeros(len(start), np.int64), xy=start)
        return xy, visible, track(clip.frames, queries, model=student, ring=0, short_side=None)

    @torch.inference_mode()
    def pictures(self, student: Student) -> dict[str, np.ndarray]:
        """``tracks``, ``matches``, ``correlation`` and ``reconstruction`` of the first clip's first and last frame."""
        if not self.clips:
            return {}
        clip = self.clips[0]
        xy, visible, tracks = self._follow(student, clip, 0)
        last = len(clip) - 1
        device = next(student.parameters()).device
        frames = torch.from_numpy(clip.frames[[0, last]]).to(device)
        fine = student.features(student.preprocess(frames))[-1].float()
        middle = torch.tensor([[clip.size[1] / 2, clip.size[0] / 2]], device=device)
        shown = xy[visible[:, last], 0]
        return {
            "matches": _matches(clip.frames[[0, last]], fine, student.lattices[-1], shown),
            "tracks": _beside(draw_tracks(clip.frames[0], tracks, 0), draw_tracks(clip.frames[last], tracks, last)),
            "correlation": _correlation(clip.frames[[0, last]], fine, student.lattices[-1].to_cells(middle)),
            "reconstruction": _reconstruction(frames, fine),
        }


def check_benchmark(name: str, root: Path, split: str | None = None) -> None:
    """See before a training whether there is what :func:`benchmark_scores` wants: the list, and the first pair of it.

    Raises:
        InputError: an unknown benchmark, or nothing of it in the folder.
    """
    for benchmark in make(name, Asked(root, Model(UNTRAINED), split=split)).values():
        names = benchmark.names()
        if split is not None:
            for pair in benchmark.items(names[:1]):
                pair.source(), pair.target()


def benchmark_scores(
    name: str,
    root: Path,
    weights: Path,
    limit: int | None,
    split: str | None = None,
    device: str | None = None,
    backbone: str | None = None,
) -> dict[str, float]:
    """A benchmark's figures under its own protocol, of its first items, in another split where pairs have one.

    ``backbone`` is that of a matcher whose file leaves it out.

    Raises:
        InputError: an unknown benchmark, or nothing of it in the folder.
    """
    found: dict[str, float] = {}
    model = Model(str(weights), device=device, backbone=backbone)
    for benchmark in make(name, Asked(root, model, split=split)).values():
        scorer = benchmark.scorer()
        for item in benchmark.items(benchmark.names()[:limit]):
            scorer.update(item, Prediction(root / item.name, dict(benchmark.predict(item))))
        for key, value in scorer.scores()[0].metrics.items():
            if value is not None:
                found[f"{name}/{key}"] = value
    return found


def _beside(*pictures: np.ndarray) -> np.ndarray:
    return np.concatenate(pictures, axis=1)


def _matches(frames: np.ndarray, fine: torch.Tensor, lattice: Lattice, xy: np.ndarray) -> np.ndarray:
    """Points (N, 2) of the first frame that the last one shows too, joined with the cells most like them there."""
    unit = F.normalize(fine, dim=1).permute(0, 2, 3, 1)
    start = torch.from_numpy(xy.astype(np.float32)).to(fine.device)
    looks = sample_patches(unit[:1], lattice.to_cells(start), 0)[:, 0]
    best = (looks @ unit[1].flatten(0, 1).T).argmax(dim=1)
    size = (frames.shape[1], frames.shape[2])
    there = centres(lattice, unit[1])[best].clamp(min=0).cpu().numpy()
    found = Matches(xy, np.minimum(there, size[::-1]), np.ones(len(xy)), size, size)
    return draw_matches(frames[0], frames[1], found)


def _correlation(frames: Sequence[np.ndarray] | np.ndarray, fine: torch.Tensor, cell: torch.Tensor) -> np.ndarray:
    """The first frame with a mark at its middle, and how alike the last frame's cells are to it."""
    unit = F.normalize(fine, dim=1).permute(0, 2, 3, 1)
    look = F.normalize(sample_patches(unit[:1], cell, 0)[:, 0], dim=1)
    alike = (unit[1] @ look[0]).clamp(0, 1).cpu().numpy()
    height, width = frames[0].shape[:2]
    marked = cv2.drawMarker(frames[0].copy(), (width // 2, height // 2), (255, 0, 0), markerSize=max(8, width // 12))
    grey = np.uint8(255) * cv2.resize(alike, (width, height), interpolation=cv2.INTER_NEAREST)
    return _beside(marked, np.repeat(grey.astype(np.uint8)[..., None], 3, axis=2))


def _reconstruction(frames: torch.Tensor, fine: torch.Tensor) -> np.ndarray:
    """The last frame, and what the first one's colours make of it through the affinity."""
    size = (fine.shape[2], fine.shape[3])
    colours = F.interpolate(frames.permute(0, 3, 1, 2).float(), size, mode="area")
    mixed = reconstruct_colour(fine[1:], fine[:1], colours[:1], radius=12, temperature=0.05, normalise=True)
    shown = torch.cat([colours[1], mixed[0]], dim=2).permute(1, 2, 0)
    return shown.round().clamp(0, 255).to(torch.uint8).cpu().numpy()
