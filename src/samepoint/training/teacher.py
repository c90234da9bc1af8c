"""A frozen network that knows more than the student, and its maps where the student's cells lie."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import InputError
from ..geometry import Lattice, fit_size
from ..models.features import FeatureNetwork, as_module, load_features
from .config import TeacherConfig

PART = "teacher."
"""Of a training's checkpoint, the names that are looked below."""


class Teacher:
    """A frozen feature network in eval mode; it reads its own colours, whatever the student reads.

    Args:
        network: any network that gives maps; its last, finest map is used.
        short_side: frames are resized to it before they are shown to the network; as they are where None.
    """

    def __init__(self, network: FeatureNetwork, short_side: int | None = None) -> None:
        self.network, self.short_side = network, short_side
        self.module: nn.Module = as_module(network).eval().requires_grad_(False)

    @property
    def channels(self) -> int:
        """Of its maps."""
        return self.network.channels[-1]

    def to(self, device: torch.device | str) -> Teacher:
        """Itself, moved."""
        self.module.to(device)
        return self

    @torch.no_grad()
    def __call__(self, frames: Tensor, lattice: Lattice, size: tuple[int, int]) -> Tensor:
        """Maps (B, C, h, w) on ``size`` = (h, w) cells of ``lattice``, without gradient; not unit vectors.

        ``frames`` are uint8 RGB (B, H, W, 3), and the lattice lies on their pixels.
        """
        x = self.network.preprocess(frames)
        full = (frames.shape[1], frames.shape[2])
        seen = fit_size(full, self.short_side)
        if seen != full:
            x = F.interpolate(x, seen, mode="bilinear", align_corners=False, antialias=True)
        maps = self.network.features(x)[-1].float()
        scale = (seen[0] / full[0], seen[1] / full[1])
        return on_lattice(maps, self.network.lattices[-1], lattice, size, scale)


def on_lattice(
    maps: Tensor, given: Lattice, wanted: Lattice, size: tuple[int, int], scale: tuple[float, float] = (1.0, 1.0)
) -> Tensor:
    """Maps (B, C, h, w) of one lattice at the cells of another, (B, C, *size), bilinear, continued by their edge.

    Args:
        maps: on the cells of ``given``.
        given: lives on a picture ``scale`` = (vertical, horizontal) times as large as that of ``wanted``.

    >>> row = torch.tensor([0.0, 1.0, 2.0]).reshape(1, 1, 1, 3)
    >>> on_lattice(row, Lattice(4, 2.0), Lattice(2, 1.0), (1, 6)).flatten().tolist()
    [0.0, 0.25, 0.75, 1.25, 1.75, 2.0]
    """
    axes = []
    for cells, there, factor in zip(size, maps.shape[-2:], scale, strict=True):
        raster = wanted.to_pixels(torch.arange(cells, dtype=torch.float32, device=maps.device)) * factor
        place = given.to_cells(raster).clamp(0, there - 1)
        axes.append(place * (2 / max(there - 1, 1)) - 1)
    rows, columns = torch.meshgrid(*axes, indexing="ij")
    grid = torch.stack([columns, rows], dim=-1).expand(len(maps), -1, -1, -1)
    return F.grid_sample(maps, grid, mode="bilinear", padding_mode="border", align_corners=True)


def load_teacher(config: TeacherConfig) -> Teacher | None:
    """The teacher of a configuration; None where it names none.

    ``model`` is a name of the weights table, a weight file (DINOv2 with timm's names, a ResNet with torchvision's,
    FGVC's checkpoints, of a training's the teacher in it: see :mod:`samepoint.models.features`), a repository of the
    Hub with such a file, ``owner/name``, or a backbone of transformers, ``hf:owner/name``.

    Raises:
        InputError: none of these, a file of unknown keys, or outputs that the network does not have.
        MissingExtraError: a backbone of transformers without the ``hf`` extra.
    """
    if config.model is None:
        return None
    return Teacher(load_features(source_of(config), config.outputs, part=PART).network, config.short_side)


def source_of(config: TeacherConfig) -> str | Path:
    """What the ``model`` of a configuration, which is set, is loaded from: itself, or a path in the Hub's cache.

    Raises:
        InputError: ``file`` is set and ``model`` is no repository, or the file cannot be had.
    """
    assert config.model is not None
    if config.file is None:
        return config.model
    from ..models.hub import download, is_repository  # the Hub's client takes a moment to import

    if not is_repository(config.model):
        raise InputError(f"teacher.file: {config.file} lies in a Hub repository, but teacher.model is {config.model}")
    return download(config.model, config.file)
