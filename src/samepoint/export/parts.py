"""What can be exported of a model: its encoder, its matcher, a step of label propagation on its maps."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.export import Dim

from ..datasets.synthetic import ClipSettings, SyntheticClips
from ..errors import InputError
from ..geometry import gaussian_maps
from ..models.colour import STATISTICS
from ..models.features import FeatureNetwork, as_module
from ..models.matcher import Matcher
from ..models.transformers_backbone import TransformersBackbone
from .propagation import PropagationStep

Size = tuple[int, int]
Inputs = tuple[Tensor, ...]
Shapes = tuple[dict[int, Any], ...]
"""The free axes of each input."""
LARGEST = 1 << 15
"""Of a picture's side, in pixels, where it is free."""
CELLS = 9
"""Of a map's side at least, where labels are propagated: more than one tile."""
MOVED = (4, -3)
"""Rows and columns of cells by which the second picture of a pair is moved that a matcher is tried with."""
LABELS = 5
"""Points whose labels a step is tried with."""


@dataclass(frozen=True)
class Part:
    """A module with what an exporter must know of it.

    Attributes:
        name: ``encoder``, ``matcher`` or ``propagation``.
        module: float32, in eval mode, on the CPU; takes and gives tensors only.
        half: makes the same, computing in half precision.
        inputs: names of the inputs.
        outputs: names of the outputs.
        example: inputs for pictures of a size (H, W), made of the rendered clip of a seed.
        shapes: which axes of the inputs are free, for pictures of one size or of any.
        multiple: pictures of any size have sides that are multiples of this.
        cells: axis of the outputs along which a cell's numbers lie; None where outputs are not vectors.
        metadata: what a user of the file must know; JSON values.
        smallest: pictures have sides of this many pixels at least.
        only: the size (H, W) that is taken where none is asked for; None where any will do.
        least: what differences of its outputs are shares of where nothing in them is larger.
        sized: further metadata, of a file for pictures of one size.
    """

    name: str
    module: nn.Module
    half: Callable[[], nn.Module]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    example: Callable[[Size, int], Inputs]
    shapes: Callable[[Size | None], Shapes]
    multiple: int
    cells: int | None
    metadata: dict[str, Any]
    smallest: int = 32
    only: Size | None = None
    least: float = float(np.finfo(np.float64).tiny)
    sized: Callable[[Size], dict[str, Any]] = lambda size: {}


class PropagationOptions(NamedTuple):
    """Which step of label propagation is exported; the defaults are the published ones, but for the level."""

    level: int | None = None
    """Which of the model's maps; None for the finest of stride 4 or more, or the finest."""
    window: float = 15.0
    """Radius of the circular window in cells."""
    context: int = 5
    """Previous frames in memory beside the query frame."""
    topk: int = 10
    temperature: float = 0.07


class Encoder(nn.Module):
    """A network's maps as a plain function of its input, float32 in and out.

    Args:
        network: which.
        half: compute in half precision, on a copy of the network.
    """

    def __init__(self, network: FeatureNetwork, half: bool = False) -> None:
        super().__init__()
        self.network = copy.deepcopy(network) if half else network
        self.module = as_module(self.network)
        self.dtype = torch.float16 if half else torch.float32
        self.module.to(self.dtype).eval()

    def forward(self, pictures: Tensor) -> Inputs:
        """Maps (B, C, h, w) of normalised pictures (B, 3, H, W)."""
        return tuple(level.float() for level in self.network.features(pictures.to(self.dtype)))


class PairMatcher(nn.Module):
    """A matcher as a plain function of two inputs, float32 in and out.

    Args:
        matcher: which.
        half: compute in half precision, on a copy.
    """

    def __init__(self, matcher: Matcher, half: bool = False) -> None:
        super().__init__()
        self.matcher = copy.deepcopy(matcher) if half else matcher
        self.dtype = torch.float16 if half else torch.float32
        self.matcher.to(self.dtype).eval()

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        """The flow (1, 2, rows, columns) on the source's grid, pointing to the target, of normalised (1, 3, H, W)."""
        # A matcher's flow lies on the grid of its second picture: the one that has the points.
        flow: Tensor = self.matcher(target.to(self.dtype), source.to(self.dtype)).flow
        return flow.float()


def encoder(network: FeatureNetwork, about: dict[str, Any]) -> Part:
    """Normalised pictures to maps."""
    module = Encoder(network)
    multiple = max(lattice.stride for lattice in network.lattices)

    def example(size: Size, seed: int) -> Inputs:
        return (network.preprocess(rendered(size, seed)),)

    def shapes(size: Size | None) -> Shapes:
        return ({0: Dim("batch", min=1, max=1024), **_sides(size, multiple)},)

    return Part(
        "encoder",
        module,
        lambda: Encoder(network, half=True),
        ("pictures",),
        tuple(f"map{index}" for index in range(len(network.lattices))),
        example,
        shapes,
        multiple,
        1,
        {
            **about,
            "colour": colour_of(network),
            "lattices": [{"stride": lattice.stride, "offset": lattice.offset} for lattice in network.lattices],
            "channels": list(network.channels),
            "multiple": multiple,
        },
    )


def propagation(network: FeatureNetwork, about: dict[str, Any], options: PropagationOptions) -> Part:
    """Labels from key frames to a frame, on one of the network's maps."""
    level = _level(network, options.level)
    lattice, channels = network.lattices[level], network.channels[level]
    keys = options.context + 1
    settings = (keys, options.window, options.topk, options.temperature)
    module = PropagationStep(*settings).eval()
    multiple = max(lattice.stride for lattice in network.lattices)

    def example(size: Size, seed: int) -> Inputs:
        # Noise, not the model's maps: among those that are all alike, rounding decides which match best.
        cells = (-(-size[0] // lattice.stride), -(-size[1] // lattice.stride))
        generator = torch.Generator().manual_seed(seed)
        maps = torch.randn((keys + 1, channels, *cells), generator=generator)
        centres = torch.rand((keys, LABELS, 2), generator=generator) * torch.tensor(cells[::-1])
        labels = torch.stack([gaussian_maps(each, cells, 1.5) for each in centres])
        present = torch.arange(keys) < max(keys - 1, 1)
        return maps[-1], maps[:-1], labels, present

    def shapes(size: Size | None) -> Shapes:
        sides = [] if size is not None else [Dim(name, min=CELLS, max=LARGEST) for name in ("height", "width")]
        single, several = dict(enumerate(sides, start=1)), dict(enumerate(sides, start=2))
        return single, several, {1: Dim("labels", min=1, max=1 << 20), **several}, {}

    return Part(
        "propagation",
        module,
        lambda: PropagationStep(*settings, dtype=torch.float16).eval(),
        ("query", "keys", "labels", "present"),
        ("propagated",),
        example,
        shapes,
        multiple,
        None,
        {
            **about,
            "level": level,
            "lattice": {"stride": lattice.stride, "offset": lattice.offset},
            "channels": channels,
            "keys": keys,
            "window": options.window,
            "topk": options.topk,
            "temperature": options.temperature,
        },
        smallest=max(Part.smallest, (CELLS - 1) * lattice.stride + 1),
    )


def matcher(network: Matcher, about: dict[str, Any]) -> Part:
    """Two normalised pictures of one size to the flow between them."""
    side = network.config.side
    step = round(side / network.config.grid)

    def example(size: Size, seed: int) -> Inputs:
        source, target = network.preprocess(rendered(size, seed))[:, None]
        # Frames of one clip hardly move: of a flow of next to nothing only rounding is seen.
        return source, target.roll((MOVED[0] * step, MOVED[1] * step), (2, 3))

    return Part(
        "matcher",
        PairMatcher(network),
        lambda: PairMatcher(network, half=True),
        ("source", "target"),
        ("flow",),
        example,
        lambda size: ({}, {}),
        1,
        None,
        {**about, "colour": colour_of(network)},
        only=(side, side),
        least=1.0,
        sized=lambda size: {"grid": list(network.grid_of(size))},
    )


def rendered(size: Size, seed: int, frames: int = 2) -> Tensor:
    """Frames uint8 (T, H, W, 3) of a rendered clip, the same for the same seed."""
    clips = SyntheticClips(ClipSettings(frames=frames, size=size, speed=(0.02, 6.0)), seed=seed)
    return torch.from_numpy(clips.clip(0).frames)


def colour_of(network: FeatureNetwork | Matcher) -> dict[str, Any]:
    """The input's colour space, and the mean and deviation to remove; RGB on the scale 0 to 1, Lab on its own."""
    own = network if isinstance(network, TransformersBackbone) else None
    mean, deviation = STATISTICS[network.colour] if own is None else (own.mean, own.deviation)
    return {"space": network.colour, "mean": list(mean), "deviation": list(deviation)}


def _sides(size: Size | None, multiple: int) -> dict[int, Any]:
    if size is not None:
        return {}
    height, width = (Dim(name, min=2, max=LARGEST // multiple) for name in ("height", "width"))
    return {2: multiple * height, 3: multiple * width}


def _level(network: FeatureNetwork, wanted: int | None) -> int:
    count = len(network.lattices)
    if wanted is None:
        coarse = [index for index, lattice in enumerate(network.lattices) if lattice.stride >= 4]
        return coarse[-1] if coarse else count - 1
    if not -count <= wanted < count:
        raise InputError(f"level: {wanted} given, but the model has {count} maps")
    return wanted % count
