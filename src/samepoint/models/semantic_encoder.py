"""A small encoder of what things are: convolutions see edges and parts, a transformer over their cells sees the whole.

It is meant to learn a large teacher's maps (see ``loss.distillation`` of ``train matching``) and to be small enough to
ship: convolution stages at strides 2 to 16 as in our point encoder, then transformer blocks on the cells at stride 16.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from ..errors import InputError
from ..geometry import Lattice
from .colour import ColourSpace, normalise
from .encoder import PyramidEncoder
from .resnet import BasicBlock, initialise
from .vit import HEAD_WIDTH, TransformerBlock


class SemanticConfig(BaseModel):
    """Architecture of a :class:`SemanticEncoder`; the convolutions' defaults are those of our point encoder."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    stem: int = Field(32, ge=1)
    widths: tuple[int, int, int] = (64, 128, 192)
    blocks: int = Field(2, ge=1)  # residual blocks of a stage
    width: int = Field(256, ge=HEAD_WIDTH)  # of the transformer, a multiple of 64
    depth: int = Field(4, ge=1)
    output: int = Field(384, ge=1)  # channels of the map


class SemanticEncoder(nn.Module):
    """One map at stride 16 of an input (B, 3, H, W); not unit vectors.

    Raises:
        InputError: the width is no multiple of a head's.
    """

    colour: ColourSpace = "rgb"
    lattices = (Lattice(16),)

    def __init__(self, config: SemanticConfig | None = None) -> None:
        super().__init__()
        self.config = c = config or SemanticConfig()
        if c.width % HEAD_WIDTH:
            raise InputError(f"width: {c.width} given, a multiple of {HEAD_WIDTH} expected")
        self.channels = (c.output,)
        self.conv1 = nn.Conv2d(3, c.stem, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(c.stem)
        inputs = c.stem
        stages = []
        for width in c.widths:
            stages.append(
                nn.Sequential(BasicBlock(inputs, width, 2), *(BasicBlock(width, width) for _ in range(c.blocks - 1)))
            )
            inputs = width
        self.layer1, self.layer2, self.layer3 = stages
        initialise(self)
        self.tokens = nn.Linear(c.widths[2] + 4 * c.widths[1], c.width)
        self.places = nn.Conv2d(c.width, c.width, 3, padding=1, groups=c.width)
        self.transformer = nn.ModuleList(
            TransformerBlock(c.width, c.width // HEAD_WIDTH, 4 * c.width, scaled=True) for _ in range(c.depth)
        )
        self.norm = nn.LayerNorm(c.width, eps=1e-6)
        self.output = nn.Linear(c.width, c.output)
        for name, value in self.transformer.named_parameters():
            if name.endswith("gamma"):
                nn.init.constant_(value, 0.1)

    def begin_with(self, encoder: PyramidEncoder) -> None:
        """Copy the convolutions of a point encoder.

        Raises:
            InputError: they have other sizes.
        """
        for name in ("conv1", "bn1", "layer1", "layer2", "layer3"):
            mine, theirs = getattr(self, name), getattr(encoder, name)
            try:
                mine.load_state_dict(theirs.state_dict())
            except RuntimeError:
                raise InputError(f"backbone: {name} of the point encoder has other sizes") from None

    def preprocess(self, frames: Tensor) -> Tensor:
        """uint8 RGB frames (B, H, W, 3) to the network's normalised input (B, 3, H, W), float32."""
        return normalise(frames, self.colour)

    def features(self, x: Tensor) -> tuple[Tensor, ...]:
        """One map (B, C, h, w) of an input (B, 3, H, W)."""
        stage2 = self.layer2(self.layer1(F.relu(self.bn1(self.conv1(x)))))
        stage3 = self.layer3(stage2)
        rows, columns = stage3.shape[-2:]
        finer = F.pad(stage2, (0, 2 * columns - stage2.shape[-1], 0, 2 * rows - stage2.shape[-2]), mode="replicate")
        cells = torch.cat([stage3, F.pixel_unshuffle(finer, 2)], dim=1)
        cells = self.tokens(cells.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        cells = (cells + self.places(cells)).flatten(2).transpose(1, 2)  # (B, N, width)
        for block in self.transformer:
            cells = block(cells)
        found = self.output(self.norm(cells)).transpose(1, 2)
        return (found.unflatten(2, (rows, columns)),)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return self.features(x)
