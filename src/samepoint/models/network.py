"""The network that we ship: encoder and refiner in one, with everything needed to rebuild it."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from ..geometry import Lattice
from .colour import ColourSpace
from .encoder import PyramidEncoder
from .refiner import Refiner
from .visibility import Hindsight, Visibility


class NetworkConfig(BaseModel):
    """Architecture of a :class:`PointNetwork`; stored beside its weights."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    stem: int = 32
    widths: tuple[int, int, int] = (64, 128, 192)
    blocks: int = 2
    pyramid: int = 96
    descriptors: tuple[int, int, int, int] = (128, 128, 96, 32)
    template: int = 2
    window: int = 3
    hidden: int = 192
    state: int = 64


class PointNetwork(nn.Module):
    """Coarse-to-fine descriptors, and a refiner that finds a point by them.

    ``features`` alone serve label propagation and matching; the tracker uses both.
    """

    def __init__(self, config: NetworkConfig | None = None) -> None:
        super().__init__()
        self.config = config or NetworkConfig()
        c = self.config
        self.encoder = PyramidEncoder(c.stem, c.widths, c.blocks, c.pyramid, c.descriptors)
        self.refiner = Refiner(c.descriptors, self.encoder.lattices, c.template, c.window, c.hidden, c.state)
        self.visibility = Visibility()
        self.hindsight = Hindsight()

    @property
    def lattices(self) -> tuple[Lattice, ...]:
        return self.encoder.lattices

    @property
    def channels(self) -> Sequence[int]:
        return self.encoder.channels

    @property
    def colour(self) -> ColourSpace:
        return self.encoder.colour

    def preprocess(self, frames: Tensor) -> Tensor:
        """uint8 RGB frames (B, H, W, 3) to the network's normalised input (B, 3, H, W), float32."""
        return self.encoder.preprocess(frames)

    def features(self, x: Tensor) -> tuple[Tensor, ...]:
        """Unit descriptors (B, C, h, w) at strides 16, 8, 4 and 2 of the input (B, 3, H, W)."""
        return self.encoder.features(x)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return self.features(x)
