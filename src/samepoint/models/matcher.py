"""The matcher: which point of one picture is which point of another, though they show different things of one kind.

Hyper-columns of both pictures, their cosine correlations level by level, a soft mutual nearest neighbour filter, a
transformer that refines all levels together, soft-argmax (CATs as SSSCWEB trains it; web-video-matching.md, section 7).

The published matcher is one configuration, :meth:`MatcherConfig.published`. Ours refines correlations on a small fixed
grid and adds what that changes to the correlations of the grid that is asked for: one set of weights serves every grid
and every shape of picture, and memory is a few maps of N x N, not several for each level.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from ..errors import InputError
from .aggregation import Aggregation, AggregationConfig
from .colour import ColourSpace, normalise
from .consensus import Consensus, ConsensusConfig, mutual
from .flow_readout import ELEMENTS_AT_ONCE, corner_weights, read_flow, sample_cells, soft_argmax, softened
from .hypercolumn import (
    BackboneConfig,
    Geometry,
    Hypercolumn,
    PyramidBackbone,
    ResNetBackbone,
    Size,
    read_on_grid,
)
from .inference import evaluating
from .level_correlation import add_mutual, cosines, spread
from .match_confidence import MatchConfidence, match_evidence
from .network import NetworkConfig

Part = Literal["backbone", "projection", "aggregation"]
"""Of a matcher's weights, for transfer."""
_EXTREME = 8.0
"""Aspect ratio beyond which a picture is stretched after all: a strip has no cells to match."""


class MatcherConfig(BaseModel):
    """Architecture of a :class:`Matcher`; stored beside its weights.

    Attributes:
        backbone: and its levels.
        frozen: the backbone does not learn.
        external: the backbone's weights are another file's: not saved here, to be given by ``use_backbone``.
        side: pixels; pictures are worked on at an area of ``side ** 2``.
        grid: cells that ``side`` pixels are matched at.
        fit: ``"keep"`` the aspect ratio (cells are square, more of them along the longer side) or ``"stretch"`` every
            picture to a square, as published.
        aggregation: the transformer.
        temperature: of the soft-argmax.
        kernel: deviation in cells of its Gaussian; None: none, as published. There is none in training mode, where it
            would hide from a wrong match what it should have been.
        consensus: what neighbours agree on, beneath what the transformer adds; None: the correlations themselves, as
            published.
        geometry: ``"exact"``, or ``"legacy"``: levels resized with aligned corners.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    backbone: BackboneConfig = PyramidBackbone()
    frozen: bool = False
    external: bool = False
    side: int = Field(256, ge=1)
    grid: int = Field(32, ge=1)
    fit: Literal["keep", "stretch"] = "keep"
    aggregation: AggregationConfig = AggregationConfig()
    temperature: float = Field(0.02, gt=0)
    kernel: float | None = Field(2.0, gt=0)
    consensus: ConsensusConfig | None = ConsensusConfig()
    geometry: Geometry = "exact"

    @classmethod
    def published(cls, grid: int = 16) -> MatcherConfig:
        """SSSCWEB's: ResNet-101, 8 levels, grid 16 or 24, everything as released."""
        return cls(
            backbone=ResNetBackbone(),
            grid=grid,
            fit="stretch",
            aggregation=AggregationConfig(grid=None, projection=128, unit=False),
            kernel=None,
            consensus=None,
            geometry="legacy",
        )

    @classmethod
    def tiny(cls) -> MatcherConfig:
        """For tests: builds and runs in milliseconds."""
        network = NetworkConfig(stem=8, widths=(8, 8, 8), blocks=1, pyramid=8, descriptors=(8, 8, 8, 8))
        return cls(
            backbone=PyramidBackbone(network=network, levels=(0, 1)),
            side=64,
            grid=8,
            aggregation=AggregationConfig(grid=4, projection=16, heads=4),
        )


@dataclass(frozen=True, eq=False)
class Columns:
    """Hyper-columns of a batch of pictures."""

    matching: tuple[Tensor, ...]
    """Each level (B, C_l, rows, columns), on the grid that matches are read from."""
    refining: tuple[Tensor, ...]
    """Each level (B, C_l, a, a), on the aggregation's grid; the same tensors where that is the matcher's own."""

    @property
    def grid(self) -> Size:
        """Rows and columns."""
        return self.matching[0].shape[2], self.matching[0].shape[3]


@dataclass(frozen=True, eq=False)
class MatcherOutput:
    """What a matcher says of a batch of pairs."""

    flow: Tensor
    """(B, 2, rows, columns) on the target's grid, pointing to the source; see :mod:`samepoint.models.flow_readout`."""
    refined: Tensor
    """(B, N_s, N_t): mean over the levels of the refined correlations, source by target."""
    strength: Tensor
    """(B, N_t): the best of each target cell, before consensus divides by it."""
    levels: Tensor
    """(B, L, a * a, a * a): refined correlations of each level on the aggregation's grid: the adversary's input."""
    source_grid: Size
    target_grid: Size
    temperature: float
    kernel: float | None

    def reverse(self) -> Tensor:
        """The flow of the same correlations on the source's grid, pointing to the target: (B, 2, rows, columns)."""
        swapped = self.refined.transpose(1, 2)
        return soft_argmax(swapped, self.target_grid, self.source_grid, self.temperature, self.kernel)


class Matcher(nn.Module):
    """See the head of this module.

    Raises:
        InputError: levels that the backbone does not have, or heads that do not divide the width of a token.
    """

    def __init__(self, config: MatcherConfig | None = None) -> None:
        super().__init__()
        self.config = config or MatcherConfig()
        c = self.config
        self.hypercolumn = Hypercolumn(c.backbone, frozen=c.frozen, external=c.external)
        refining = c.aggregation.grid or c.grid
        self.aggregation = Aggregation(refining, self.hypercolumn.channels, c.aggregation)
        self.consensus = None if c.consensus is None else Consensus(c.consensus)
        self.confidence = MatchConfidence()

    @property
    def colour(self) -> ColourSpace:
        """Colour space of the input."""
        return self.hypercolumn.colour

    def use_backbone(self, network: nn.Module) -> Matcher:
        """Take the backbone's weights from a network of the same kind, such as ``load_features`` gives.

        Raises:
            InputError: it is of another kind or size.
        """
        self.hypercolumn.use(network)
        return self

    def preprocess(self, frames: Tensor) -> Tensor:
        """uint8 RGB frames (B, H, W, 3) to the network's normalised input (B, 3, H, W), float32."""
        return normalise(frames, self.colour)

    def working_size(self, size: Size) -> Size:
        """The (H, W) at which a picture of ``size`` (H, W) is worked on."""
        side = self.config.side
        if self.config.fit == "stretch":
            return side, side
        ratio = min(max((size[1] / size[0]) ** 0.5, _EXTREME**-0.5), _EXTREME**0.5)
        return max(1, round(side / ratio)), max(1, round(side * ratio))

    def grid_of(self, size: Size, grid: int | None = None) -> Size:
        """Rows and columns of an input of ``size`` (H, W) pixels, where ``side`` pixels have ``grid`` cells."""
        if grid is not None and grid < 1:
            raise InputError(f"grid: {grid} given, 1 or more cells along {self.config.side} pixels expected")
        step = self.config.side / (self.config.grid if grid is None else grid)
        return max(1, round(size[0] / step)), max(1, round(size[1] / step))

    def describe(self, x: Tensor, grid: int | None = None) -> Columns:
        """Hyper-columns of normalised inputs (B, 3, H, W): what a picture that is matched often is worth keeping as.

        Args:
            x: the inputs; any size, ``side`` by ``side`` for the published one.
            grid: cells along ``side`` pixels; the configuration's by default.

        Raises:
            InputError: another grid than the weights are made for, where the aggregation has none of its own.
        """
        return self.read(self.hypercolumn(x), (x.shape[2], x.shape[3]), grid)

    def read(self, maps: Sequence[Tensor], size: Size, grid: int | None = None) -> Columns:
        """Hyper-columns of the backbone's maps (see :class:`Hypercolumn`) of inputs of ``size`` (H, W)."""
        own = self.aggregation.grid
        shape = self.grid_of(size, grid)
        if self.config.aggregation.grid is None and shape != (own, own):
            raise InputError(
                f"this matcher works at {own} x {own} cells only, got {shape[0]} x {shape[1]}: give square inputs of "
                f"{self.config.side} pixels, or a configuration whose aggregation.grid is set"
            )
        lattices = self.hypercolumn.lattices

        def at(wanted: Size) -> tuple[Tensor, ...]:
            return tuple(
                read_on_grid(level, lattice, size, wanted, self.config.geometry)
                for level, lattice in zip(maps, lattices, strict=True)
            )

        matching = at(shape)
        return Columns(matching, matching if shape == (own, own) else at((own, own)))

    def forward(self, source: Tensor, target: Tensor, grid: int | None = None) -> MatcherOutput:
        """Match normalised inputs (B, 3, H, W) and (B, 3, H', W'); see :class:`MatcherOutput`."""
        return self.relate(self.describe(source, grid), self.describe(target, grid))

    def relate(self, source: Columns, target: Columns) -> MatcherOutput:
        """Match hyper-columns."""
        coarse = torch.stack(
            [mutual(cosines(a, b)) for a, b in zip(source.refining, target.refining, strict=True)], dim=1
        )
        levels = self.aggregation(coarse, source.refining, target.refining)
        own = self.aggregation.grid
        if self.consensus is not None:
            agreed, strength = self.consensus.with_strength(self._summed(source, target), source.grid, target.grid)
            refined = agreed + spread((levels - coarse).mean(dim=1), own, source.grid, target.grid)
        elif source.grid == target.grid == (own, own):
            refined = levels.mean(dim=1)
        else:
            change = (levels - coarse).mean(dim=1)
            refined = self._summed(source, target, spread(change, own, source.grid, target.grid))
        if self.consensus is None:
            strength = refined.amax(dim=1)
        temperature, kernel = self.config.temperature, None if self.training else self.config.kernel
        flow = soft_argmax(refined, source.grid, target.grid, temperature, kernel)
        return MatcherOutput(flow, refined, strength, levels, source.grid, target.grid, temperature, kernel)

    def _summed(self, source: Columns, target: Columns, begin: Tensor | None = None) -> Tensor:
        """``begin`` plus the mean over the levels of the filtered correlations on the matching grid, (B, N_s, N_t)."""
        shape = (grid[0] * grid[1] for grid in (source.grid, target.grid))
        total = source.matching[0].new_zeros(len(source.matching[0]), *shape) if begin is None else begin
        for a, b in zip(source.matching, target.matching, strict=True):
            total = add_mutual(total, a, b, 1 / len(source.matching))
        return total

    @torch.no_grad()
    def take(self, given: Matcher, parts: Sequence[Part]) -> dict[str, int]:
        """Copy the tensors of another matcher that have the same name and shape here.

        Args:
            given: the other one.
            parts: of it that are wanted.

        Returns:
            How many tensors of each part were copied.

        Raises:
            InputError: nothing of a part fits.
        """
        mine, theirs = self.state_dict(), given.state_dict()
        copied: dict[str, int] = {}
        for part in parts:
            fitting = [
                key
                for key, value in theirs.items()
                if _part(key) == part and key in mine and mine[key].shape == value.shape
            ]
            if not fitting and any(_part(key) == part for key in mine):
                raise InputError(f"init: nothing of the {part} fits this matcher")
            for key in fitting:
                mine[key].copy_(theirs[key])
            copied[part] = len(fitting)
        return copied

    @torch.no_grad()
    def match(
        self,
        source_rgb: NDArray[np.uint8],
        target_rgb: NDArray[np.uint8],
        points: ArrayLike,
        *,
        grid: int | None = None,
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Where points of one picture lie in another.

        Args:
            source_rgb: uint8 (H, W, 3).
            target_rgb: uint8 (H', W', 3), of any size.
            points: (N, 2) raster pixels of the source.
            grid: cells along ``side`` pixels; the configuration's by default.

        Returns:
            Raster pixels of the target (N, 2), within it, and confidences (N,) in [0, 1]: the probability that the
            match is right; below one half the point is not there.

        Raises:
            InputError: pictures that cannot be used, points that are not within the source, a grid without cells.
        """
        asked = np.array(points, np.float32)
        if asked.ndim != 2 or asked.shape[1] != 2:
            raise InputError(f"points must be (N, 2), got {asked.shape}")
        if not np.isfinite(asked).all():
            raise InputError("points must be finite")
        height, width = source_rgb.shape[:2]
        outside = ((asked < 0) | (asked > (width, height))).any(axis=1)
        if outside.any():
            point = int(outside.argmax())
            x, y = asked[point].tolist()
            raise InputError(f"point {point}: ({x:g}, {y:g}) is outside the source of {width}x{height}")
        source, target = (self.describe_picture(each, grid) for each in (source_rgb, target_rgb))
        sizes = source_rgb.shape[:2], target_rgb.shape[:2]
        xy, evidence = self.carry(source, target, torch.from_numpy(asked), *sizes)
        return xy.cpu().numpy(), self.confidence(evidence).sigmoid().cpu().numpy()

    @torch.no_grad()
    def describe_picture(self, rgb: NDArray[np.uint8], grid: int | None = None) -> Columns:
        """Hyper-columns of a picture uint8 RGB (H, W, 3), at its working size. Raises InputError for anything else."""
        if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3 or 0 in rgb.shape:
            raise InputError(f"a picture must be uint8 (H, W, 3), got {rgb.dtype} {rgb.shape}")
        height, width = self.working_size((rgb.shape[0], rgb.shape[1]))
        if (height, width) != rgb.shape[:2]:
            how = cv2.INTER_AREA if height < rgb.shape[0] else cv2.INTER_LINEAR
            rgb = np.asarray(cv2.resize(rgb, (width, height), interpolation=how), np.uint8)
        pixels = torch.from_numpy(np.require(rgb, requirements=["C", "W"]))[None]
        with evaluating(self):
            return self.describe(self.preprocess(pixels.to(self.confidence.weight.device)), grid)

    @torch.no_grad()
    def carry(
        self, source: Columns, target: Columns, points: Tensor, source_size: Size, target_size: Size
    ) -> tuple[Tensor, Tensor]:
        """Points (N, 2), raster pixels of a source of (H, W), in the target.

        Returns:
            Raster pixels (N, 2) of a target of ``target_size``, within it, and evidence (N, 5) for
            :class:`MatchConfidence`.
        """
        # The flow lies on the grid of the picture that has the points: it plays the target's part.
        with evaluating(self):
            output = self.relate(target, source)
        points = points.to(output.refined)
        if not len(points):
            return points, points.new_zeros(0, len(self.confidence.weight))
        found = read_flow(output.flow[0], points, target.grid, target_size, source_size)
        found = torch.minimum(found.clamp(min=0), found.new_tensor([target_size[1], target_size[0]]))
        back = read_flow(output.reverse()[0], found, source.grid, source_size, target_size)
        missed = (back - points).norm(dim=1) / max(source_size)
        asked = points / points.new_tensor([source_size[1], source_size[0]])
        reached = found / found.new_tensor([target_size[1], target_size[0]])
        likeness = torch.stack(
            [
                F.cosine_similarity(sample_cells(a[0], asked), sample_cells(b[0], reached), dim=1)
                for a, b in zip(source.matching, target.matching, strict=True)
            ]
        ).mean(dim=0)
        index, weight = corner_weights(asked, source.grid)
        cells = reached * reached.new_tensor([target.grid[1], target.grid[0]])
        evidence = []
        step = max(1, ELEMENTS_AT_ONCE // output.refined.shape[1])
        for start in range(0, len(points), step):
            part = slice(start, start + step)
            rows = output.refined[0][:, index[part]]  # (M, n, 4)
            row = (rows * weight[part]).sum(dim=2)
            peak = (output.strength[0][index[part]] * weight[part]).sum(dim=1)
            weights = softened(row[None], target.grid, output.temperature, None)[0]
            evidence.append(match_evidence(weights, peak, target.grid, cells[part], missed[part], likeness[part]))
        return found, torch.cat(evidence)


def _part(key: str) -> Part | None:
    if key.startswith("hypercolumn."):
        return "backbone"
    if key.startswith("aggregation.projections."):
        return "projection"
    return "aggregation" if key.startswith("aggregation.") else None
