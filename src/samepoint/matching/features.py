"""Plain feature matching: a point goes where the other picture's descriptors are most like its own.

No training, no smoothness between points: the baseline of every semantic matcher, and what a frozen network is worth.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from ..errors import InputError
from ..geometry import Lattice, sample_patches
from ..models.features import FeatureNetwork, as_module
from ..tracking.frames import FrameEncoder, WorkingSize, check_working_size, working_size

ReadOut = Literal["nearest", "soft"]

_SCORES_AT_ONCE = 2**23
"""Similarities held at a time: 32 MB."""


@dataclass(frozen=True)
class FeatureMatchSettings:
    """How :func:`match_features` matches; the defaults are the usual ones of a ViT with patches of 14 pixels.

    Attributes:
        size: the size at which pictures are worked on: an exact (H, W), a short side, or None for their own.
        level: which of the network's maps is used; -1 is the finest.
        grid: points of the target picture that compete: so many rows and columns spread evenly over it, its map
            interpolated between cells; None for the cells themselves.
        read_out: ``"nearest"``, the most similar of them, or ``"soft"``, the mean of those around it, weighted by
            ``exp(similarity / temperature)`` and a Gaussian, finer than the grid: kernel soft-argmax (SFNet, CVPR
            2019).
        temperature: of ``"soft"``.
        sigma: of its Gaussian, in steps of the grid.
        tolerance: share of the source's longer side by which a match may miss its point on the way back for a
            confidence of one half.
    """

    size: WorkingSize = (448, 448)
    level: int = -1
    grid: int | None = 64
    read_out: ReadOut = "nearest"
    temperature: float = 0.05
    sigma: float = 1.5
    tolerance: float = 0.1

    def __post_init__(self) -> None:
        check_working_size(self.size)
        if self.read_out not in get_args(ReadOut):
            raise InputError(f"read_out: expected one of {', '.join(get_args(ReadOut))}, got {self.read_out!r}")
        if self.grid is not None and self.grid < 1:
            raise InputError(f"grid: expected 1 or more, or None, got {self.grid}")
        for name in ("temperature", "sigma", "tolerance"):
            if not getattr(self, name) > 0:
                raise InputError(f"{name}: expected above 0, got {getattr(self, name)}")


@dataclass(frozen=True, eq=False)
class PictureMap:
    """The features of one picture."""

    cells: Tensor
    """(h, w, C) float32, not normalised."""
    lattice: Lattice
    """Where cells are centred, in working pixels."""
    size: tuple[int, int]
    """(H, W) of the picture."""
    work: tuple[int, int]
    """(H, W) at which it was worked on."""

    def descriptors(self, work_xy: Tensor) -> Tensor:
        """Unit vectors (N, C) at working pixels (N, 2), between cells bilinearly, continued by the outer cells."""
        height, width = self.cells.shape[:2]
        places = self.lattice.to_cells(work_xy)
        places = torch.minimum(places.clamp(min=0), places.new_tensor([width - 1, height - 1]))
        return F.normalize(sample_patches(self.cells[None], places, 0)[:, 0], dim=1)

    def to_work(self) -> Tensor:
        """Factors (2,) from the picture's pixels to working pixels, x first."""
        scale = [self.work[1] / self.size[1], self.work[0] / self.size[0]]
        return torch.tensor(scale, dtype=torch.float32, device=self.cells.device)

    def candidates(self, grid: int | None) -> tuple[Tensor, tuple[int, int]]:
        """The points that compete, working pixels (rows * columns, 2) in raster order, and (rows, columns)."""
        axes = [self._axis(axis, grid) for axis in (0, 1)]
        y, x = torch.meshgrid(*axes, indexing="ij")
        return torch.stack([x, y], dim=-1).reshape(-1, 2), (len(axes[0]), len(axes[1]))

    def _axis(self, axis: int, grid: int | None) -> Tensor:
        side = self.work[axis]
        if grid is not None:
            return (torch.arange(grid, device=self.cells.device) + 0.5) * (side / grid)
        centres = self.lattice.to_pixels(torch.arange(self.cells.shape[axis], device=self.cells.device))
        inside = int((centres <= side).sum())  # the last cell of a padded input may be centred outside
        return centres[: max(inside, 1)].float()


class PictureEncoder:
    """Pictures to :class:`PictureMap`, those with a key only once: for benchmarks of many pairs of few pictures.

    Args:
        network: see :class:`FeatureNetwork`; a ``torch.nn.Module``.
        settings: of which ``size`` and ``level`` matter here.
        device: where to compute; where the network is by default.
        dtype: float32 or bfloat16, by default bfloat16 where the device gains from it.
        capacity: maps kept, those used last.

    Raises:
        InputError: the network has no such level.
    """

    def __init__(
        self,
        network: FeatureNetwork,
        settings: FeatureMatchSettings | None = None,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        capacity: int = 64,
    ) -> None:
        self.settings = settings or FeatureMatchSettings()
        levels = len(network.lattices)
        if not -levels <= self.settings.level < levels:
            raise InputError(f"level: expected {-levels} to {levels - 1} for this network, got {self.settings.level}")
        self.lattice = network.lattices[self.settings.level]
        self.capacity = capacity
        self._encode = FrameEncoder(as_module(network), self.settings.size, device=device, dtype=dtype)
        self._kept: OrderedDict[Hashable, PictureMap] = OrderedDict()

    def __call__(self, rgb: NDArray[np.uint8]) -> PictureMap:
        """The map of a picture uint8 RGB (H, W, 3). Raises InputError where it is something else."""
        if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3 or 0 in rgb.shape:
            raise InputError(f"a picture must be uint8 (H, W, 3), got {rgb.dtype} {rgb.shape}")
        size = (rgb.shape[0], rgb.shape[1])
        level = self._encode(rgb)[self.settings.level]
        return PictureMap(
            level.permute(1, 2, 0).contiguous(), self.lattice, size, working_size(size, self.settings.size)
        )

    def keyed(self, key: Hashable, read: Callable[[], NDArray[np.uint8]]) -> PictureMap:
        """The map kept under ``key``, or that of the picture that ``read`` gives.

        The key must tell a picture from every other, a mirrored one from its original included.
        """
        found = self._kept.pop(key, None) or self(read())
        self._kept[key] = found
        while len(self._kept) > self.capacity:
            self._kept.popitem(last=False)
        return found


def match_features(
    network: FeatureNetwork,
    source_rgb: NDArray[np.uint8],
    target_rgb: NDArray[np.uint8],
    points: ArrayLike,
    settings: FeatureMatchSettings | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Where points of one picture lie in another.

    Args:
        network: gives the features; stays where it is.
        source_rgb: uint8 (H, W, 3).
        target_rgb: uint8 (H', W', 3), of any size.
        points: (N, 2) raster pixels of the source.
        settings: how.

    Returns:
        Raster pixels of the target (N, 2) and confidences (N,) in [0, 1], as :func:`match_maps`.

    Raises:
        InputError: pictures, points or settings that cannot be used.
    """
    encode = PictureEncoder(network, settings)
    return match_maps(encode(source_rgb), encode(target_rgb), points, encode.settings)


def match_maps(
    source: PictureMap, target: PictureMap, points: ArrayLike, settings: FeatureMatchSettings | None = None
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Where points (N, 2), raster pixels of the source, lie in the target; ``size`` and ``level`` are decided already.

    Returns:
        Raster pixels of the target (N, 2), float32, within it, and confidences (N,): the place found is matched back
        to the source, where it misses the point by d; ``2 ** -(d / (tolerance * longer side)) ** 2`` is 1 for a match
        that is mutual and one half at the tolerance.

    Raises:
        InputError: points of another shape or not finite, or maps of different networks.
    """
    settings = settings or FeatureMatchSettings()
    asked = np.array(points, np.float32)
    if asked.ndim != 2 or asked.shape[1] != 2:
        raise InputError(f"points must be (N, 2), got {asked.shape}")
    if not np.isfinite(asked).all():
        raise InputError("points must be finite")
    if source.cells.shape[2] != target.cells.shape[2]:
        raise InputError(f"maps of {source.cells.shape[2]} and {target.cells.shape[2]} channels cannot be matched")
    if not len(asked):
        return asked, np.zeros(0, np.float32)
    xy = torch.from_numpy(asked).to(source.cells.device)
    found = _carry(source, target, xy, settings)
    missed = (_carry(target, source, found, settings) - xy).norm(dim=1)
    confidence = torch.exp2(-((missed / (settings.tolerance * max(source.size))) ** 2))
    return found.cpu().numpy(), confidence.cpu().numpy()


def _carry(source: PictureMap, target: PictureMap, xy: Tensor, settings: FeatureMatchSettings) -> Tensor:
    """Points (N, 2) of the source in pixels of the target, at least as fine as the grid."""
    places, shape = target.candidates(settings.grid)
    keys = target.descriptors(places)
    queries = source.descriptors(xy * source.to_work())
    found = torch.empty_like(xy)
    step = max(1, _SCORES_AT_ONCE // len(places))
    for start in range(0, len(xy), step):
        scores = queries[start : start + step] @ keys.T  # (n, M)
        best = scores.argmax(dim=1)
        if settings.read_out == "nearest":
            chosen = places[best]
        else:
            chosen = _kernel_weights(scores, best, shape, settings) @ places
        found[start : start + step] = chosen
    limits = found.new_tensor([target.size[1], target.size[0]])
    return torch.minimum((found / target.to_work()).clamp(min=0), limits)


def _kernel_weights(scores: Tensor, best: Tensor, shape: tuple[int, int], settings: FeatureMatchSettings) -> Tensor:
    """Weights (n, M) of the candidates around the ``best`` of each row, their sum 1."""
    columns = shape[1]
    index = torch.arange(scores.shape[1], device=scores.device)
    apart = (index // columns - (best // columns)[:, None]) ** 2 + (index % columns - (best % columns)[:, None]) ** 2
    logits = (scores - scores.amax(dim=1, keepdim=True)) / settings.temperature - apart / (2 * settings.sigma**2)
    return logits.softmax(dim=1)
