"""Random crops, flips, blurs and changes of colour of clips, with the points and the flow that belong to them.

Sections 3.2 to 3.4 of the description of FGVC. A ``View`` is the geometry, drawn once for all frames of a clip; points
and flow go through the same view as the pixels. Everything is drawn from a CPU generator, so that a seed gives the same
on every device.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Generator, Tensor


@dataclass(frozen=True)
class Augmentation:
    """What is drawn for a clip.

    Attributes:
        size: (height, width) of what comes out.
        area: share of the picture that a crop covers, drawn evenly; None: a window of ``size`` is cut out unscaled.
        aspect: width over height of a crop before it is resized to ``size``, drawn evenly in its logarithm.
        flip: probability of a mirror image.
        blur: probability of a Gaussian blur.
        sigma: range of the blur's standard deviation, in pixels of the output.
        jitter: probability of a change of colour.
        brightness, contrast, saturation: largest relative change of each.
        hue: largest turn of the hue, as a share of the full circle.
        same_view: one crop and flip for all frames of a clip, else one drawn for each (only without labels).
        same_colour: one blur and one change of colour for all frames of a clip, else one drawn for each.
    """

    size: tuple[int, int] = (256, 256)
    area: tuple[float, float] | None = (0.6, 1.0)
    aspect: tuple[float, float] = (1.5, 2.0)
    flip: float = 0.5
    blur: float = 0.0
    sigma: tuple[float, float] = (0.1, 2.0)
    jitter: float = 0.0
    brightness: float = 0.4
    contrast: float = 0.4
    saturation: float = 0.4
    hue: float = 0.1
    same_view: bool = True
    same_colour: bool = True

    @classmethod
    def fgvc_real(cls) -> Augmentation:
        """FGVC's for real pairs (spec 3.2), its blur without effect included."""
        return cls(blur=0.8, sigma=(0.1, 0.2))

    @classmethod
    def fgvc_flow(cls) -> Augmentation:
        """FGVC's for FlyingThings3D (spec 3.3): a window of 256 x 256, no scaling, no flip."""
        return cls(area=None, flip=0.0, blur=0.8, sigma=(0.1, 0.2))

    @classmethod
    def crw(cls) -> Augmentation:
        """The random walk's for real clips: each frame cropped to 0.8 to 0.95 of its area, aspect 0.7 to 1.3."""
        return cls(area=(0.8, 0.95), aspect=(0.7, 1.3), flip=0.0, same_view=False)


@dataclass(frozen=True)
class View:
    """A box of the source, resized to ``size`` and perhaps mirrored."""

    top: int
    left: int
    height: int
    width: int
    size: tuple[int, int]
    mirrored: bool = False

    def frames(self, frames: Tensor) -> Tensor:
        """Frames (..., C, H, W), uint8 or float, as (..., C, *size) in the same dtype."""
        raise NotImplementedError

    def points(self, xy: Tensor) -> Tensor:
        """Raster pixels (..., 2) of the source in the view, (..., 2)."""
        raise NotImplementedError

    def flow(self, flow: Tensor, valid: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Flow (H, W, 2) in pixels of the view, (*size, 2), and where it holds, bool (*size)."""
        raise NotImplementedError


def draw_view(source: tuple[int, int], settings: Augmentation, generator: Generator) -> View:
    """A random view of a source of (height, width)."""
    raise NotImplementedError


def recolour(frames: Tensor, settings: Augmentation, generator: Generator) -> Tensor:
    """Blur and change of colour of a clip (T, 3, H, W), uint8 or float in [0, 1], in the same dtype."""
    raise NotImplementedError
