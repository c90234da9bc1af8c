"""Random crops, flips, blurs and changes of colour of clips, with the points and the flow that belong to them.

Sections 3.2 to 3.4 of the description of FGVC. A ``View`` is the geometry, drawn once for all frames of a clip; points
and flow go through the same view as the pixels, in the convention of :mod:`samepoint.geometry`. Frames may lie on any
device; everything is drawn from a CPU generator, so that a seed gives the same on all of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from samepoint.errors import InputError

_TRIES = 10
_EDGE = 1.0  # pixels: flow that differs by more among neighbouring pixels is not interpolated


@dataclass(frozen=True)
class Augmentation:
    """What is drawn for a clip. The defaults are FGVC's for real pairs (spec 3.2) without its blur.

    Attributes:
        size: (height, width) of what comes out.
        area: share of the picture that a crop covers, drawn evenly; None: a window of ``size`` is cut out unscaled.
        aspect: width over height of a crop before it is resized to ``size``, drawn evenly in its logarithm.
        flip: probability of a mirror image.
        blur: probability of a Gaussian blur.
        sigma: range of the blur's standard deviation, in pixels of the output; 0.1 to 0.2 has no visible effect.
        jitter: probability of a change of colour.
        brightness, contrast, saturation: largest relative change of each.
        hue: largest turn of the hue, as a share of the full circle.
        same_view: one crop and flip for all frames of a clip, else one drawn for each (only without labels).
        same_colour: one blur and one change of colour for all frames of a clip, else one drawn for each.

    Raises:
        InputError: a value out of its range.
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

    def __post_init__(self) -> None:
        if min(self.size) < 1:
            raise InputError(f"size: {self.size} given, a (height, width) of at least 1 expected")
        if self.area is not None and not 0 < self.area[0] <= self.area[1] <= 1:
            raise InputError(f"area: {self.area} given, a range above 0 and up to 1 expected")
        if not 0 < self.aspect[0] <= self.aspect[1]:
            raise InputError(f"aspect: {self.aspect} given, a range of positive numbers expected")
        if not 0 < self.sigma[0] <= self.sigma[1]:
            raise InputError(f"sigma: {self.sigma} given, a range of positive numbers expected")
        for name, most in (("flip", 1), ("blur", 1), ("jitter", 1), ("hue", 0.5)):
            if not 0 <= getattr(self, name) <= most:
                raise InputError(f"{name}: {getattr(self, name)} given, 0 to {most} expected")
        for name in ("brightness", "contrast", "saturation"):
            if not 0 <= getattr(self, name) < 1:
                raise InputError(f"{name}: {getattr(self, name)} given, at least 0 and below 1 expected")

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
    """A box of whole pixels of the source, resized to ``size`` (height, width) and perhaps mirrored."""

    top: int
    left: int
    height: int
    width: int
    size: tuple[int, int]
    mirrored: bool = False

    @property
    def scale(self) -> tuple[float, float]:
        """Pixels of the view a pixel of the source, (x, y)."""
        return self.size[1] / self.width, self.size[0] / self.height

    def frames(self, frames: Tensor) -> Tensor:
        """Frames (N, C, H, W), uint8 or float, as (N, C, *size) in the same dtype; bilinear, with antialias."""
        box = frames[..., self.top : self.top + self.height, self.left : self.left + self.width]
        if (self.height, self.width) != self.size:
            exact = box if box.is_floating_point() else box.float()
            box = _as(F.interpolate(exact, self.size, mode="bilinear", antialias=True), frames.dtype)
        return box.flip(-1) if self.mirrored else box

    def points(self, xy: Tensor) -> Tensor:
        """Raster pixels (..., 2) of the source in the view, (..., 2); outside of it for what the crop left out."""
        moved = (xy - xy.new_tensor([self.left, self.top])) * xy.new_tensor(self.scale)
        if not self.mirrored:
            return moved
        return torch.stack([self.size[1] - moved[..., 0], moved[..., 1]], dim=-1)

    def flow(self, flow: Tensor, valid: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Flow (H, W, 2) in the view.

        Returns:
            Flow in pixels of the view, (*size, 2), NaN where it is not known or would be a mixture of two motions; and
            where it holds, bool (*size): it is known and ``valid`` (H, W), and leads to a place inside the view.
        """
        box = (slice(self.top, self.top + self.height), slice(self.left, self.left + self.width))
        cut = flow[box]
        cut = cut.where(torch.isfinite(cut).all(-1, keepdim=True), math.nan)
        known = torch.ones_like(cut[..., 0], dtype=torch.bool) if valid is None else valid[box]
        if (self.height, self.width) != self.size:
            cut, known = _resample(cut, known, self.size)
        cut = cut * cut.new_tensor(self.scale)
        if self.mirrored:
            cut, known = cut.flip(1) * cut.new_tensor([-1.0, 1.0]), known.flip(1)
        rows = torch.arange(self.size[0], device=cut.device) + 0.5
        columns = torch.arange(self.size[1], device=cut.device) + 0.5
        x, y = columns[None, :] + cut[..., 0], rows[:, None] + cut[..., 1]
        return cut, known & (x >= 0) & (y >= 0) & (x < self.size[1]) & (y < self.size[0])


def draw_view(source: tuple[int, int], settings: Augmentation, generator: Generator) -> View:
    """A random view of a source of (height, width).

    A crop that the picture has no room for is drawn again; after ten times it is the largest in the middle whose aspect
    is allowed, so that upright videos are served too.

    Raises:
        InputError: an unscaled window is larger than the source.
    """
    height, width = _box(source, settings, generator)
    fixed = height == 0
    if fixed:
        height, width = _largest(source, settings.aspect)
    elif height > source[0] or width > source[1]:
        raise InputError(
            f"frames of {source[1]}x{source[0]} are too small for a window of {settings.size[1]}x{settings.size[0]}; "
            "give a smaller size, or an area, with which they are enlarged"
        )
    spare = source[0] - height, source[1] - width
    top, left = (_between(0, room + 1, generator) for room in spare)
    top, left = (spare[0] / 2, spare[1] / 2) if fixed else (top, left)
    mirrored = _chance(settings.flip, generator)
    return View(min(int(top), spare[0]), min(int(left), spare[1]), height, width, settings.size, mirrored)


def recolour(frames: Tensor, settings: Augmentation, generator: Generator) -> Tensor:
    """Change of colour, then blur of a clip (T, 3, H, W), uint8 or float in [0, 1], in the same dtype."""
    if not settings.same_colour and len(frames) > 1:
        return torch.cat([recolour(frame[None], settings, generator) for frame in frames])
    jitter, blur = _chance(settings.jitter, generator), _chance(settings.blur, generator)
    if not (jitter or blur):
        return frames
    result = frames if frames.is_floating_point() else frames.float() / 255
    if jitter:
        result = _jittered(result, settings, generator)
    if blur:
        result = gaussian_blur(result, _between(*settings.sigma, generator))
    return result if frames.is_floating_point() else _as(result * 255, frames.dtype)


def augment_clip(frames: Tensor, settings: Augmentation, generator: Generator) -> Tensor:
    """A clip (T, 3, H, W) as (T, 3, *size), same dtype and device."""
    source = (frames.shape[-2], frames.shape[-1])
    if settings.same_view:
        viewed = draw_view(source, settings, generator).frames(frames)
    else:
        viewed = torch.cat([draw_view(source, settings, generator).frames(frame[None]) for frame in frames])
    return recolour(viewed, settings, generator)


def augment_batch(clips: Sequence[Tensor], settings: Augmentation, generators: Sequence[Generator]) -> Tensor:
    """B clips (T, 3, h, w), each with its own generator, as (B, T, 3, *size), where they lie: a GPU's stay there.

    They may be of different sizes. Each is what ``augment_clip`` makes of it, up to the device's rounding.
    """
    made = [augment_clip(clip, settings, generator) for clip, generator in zip(clips, generators, strict=True)]
    return torch.stack(made)


def gaussian_blur(frames: Tensor, sigma: float) -> Tensor:
    """Frames (T, C, H, W), float, under a Gaussian of ``sigma`` pixels, cut off at 3 sigma; edges are continued."""
    reach = max(1, math.ceil(3 * sigma))
    offsets = torch.arange(-reach, reach + 1, device=frames.device, dtype=frames.dtype)
    weights = torch.exp(-(offsets**2) / (2 * sigma * sigma))
    weights = weights / weights.sum()
    flat = frames.reshape(-1, 1, *frames.shape[-2:])
    flat = F.conv2d(F.pad(flat, (reach, reach, 0, 0), mode="replicate"), weights[None, None, None, :])
    flat = F.conv2d(F.pad(flat, (0, 0, reach, reach), mode="replicate"), weights[None, None, :, None])
    return flat.reshape(frames.shape)


def _jittered(frames: Tensor, settings: Augmentation, generator: Generator) -> Tensor:
    """Brightness, contrast about the clip's mean grey, saturation, and the hue as a turn of the IQ plane of YIQ."""
    gains = [
        1 + _between(-most, most, generator) for most in (settings.brightness, settings.contrast, settings.saturation)
    ]
    turn = 2 * math.pi * _between(-settings.hue, settings.hue, generator)
    to_yiq = frames.new_tensor([[0.299, 0.587, 0.114], [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]])
    y, i, q = torch.einsum("kc,tchw->ktwh", to_yiq, frames).transpose(-1, -2) * gains[0]
    y = (y - y.mean()) * gains[1] + y.mean()
    chroma = gains[1] * gains[2]
    turned = torch.stack(
        [y, chroma * (i * math.cos(turn) - q * math.sin(turn)), chroma * (i * math.sin(turn) + q * math.cos(turn))]
    )
    return torch.einsum("kc,ctwh->tkwh", torch.linalg.inv(to_yiq), turned).clamp(0, 1)


def _resample(flow: Tensor, valid: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Flow (h, w, 2), bilinear with half-pixel centres, NaN where the four neighbours differ; where all are valid."""
    rows, columns = (_neighbours(old, new, flow) for old, new in zip(valid.shape, size, strict=True))
    corners = [(r, c) for r in rows[:2] for c in columns[:2]]
    values = torch.stack([flow[r][:, c] for r, c in corners])
    fy, fx = rows[2][:, None, None], columns[2][None, :, None]
    mixed = (values[0] * (1 - fx) + values[1] * fx) * (1 - fy) + (values[2] * (1 - fx) + values[3] * fx) * fy
    alike = (values.amax(0) - values.amin(0)).amax(-1, keepdim=True) <= _EDGE  # false of NaN
    return mixed.where(alike, math.nan), torch.stack([valid[r][:, c] for r, c in corners]).all(0)


def _neighbours(old: int, new: int, like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The pixels on both sides of each new pixel's centre along one axis, and the share of the second."""
    at = ((torch.arange(new, device=like.device, dtype=torch.float64) + 0.5) * (old / new) - 0.5).clamp(0, old - 1)
    first = at.floor().long()
    return first, (first + 1).clamp(max=old - 1), (at - first).to(like.dtype)


def _box(source: tuple[int, int], settings: Augmentation, generator: Generator) -> tuple[int, int]:
    """Height and width of a crop; (0, 0) where none that was drawn has room."""
    if settings.area is None:
        return settings.size
    for _ in range(_TRIES):
        area = _between(*settings.area, generator) * source[0] * source[1]
        low, high = settings.aspect
        aspect = math.exp(_between(math.log(low), math.log(high), generator))
        height, width = round(math.sqrt(area / aspect)), round(math.sqrt(area * aspect))
        if 0 < height <= source[0] and 0 < width <= source[1]:
            return height, width
    return 0, 0


def _largest(source: tuple[int, int], aspect: tuple[float, float]) -> tuple[int, int]:
    """Height and width of the largest box whose aspect is in the range."""
    height, width = source
    if width / height < aspect[0]:
        return max(1, min(height, round(width / aspect[0]))), width
    return height, max(1, min(width, round(height * aspect[1])))


def _as(values: Tensor, dtype: torch.dtype) -> Tensor:
    return values if dtype.is_floating_point else values.round().clamp(0, 255).to(dtype)


def _between(low: float, high: float, generator: Generator) -> float:
    return low + (high - low) * float(torch.rand((), generator=generator, dtype=torch.float64))


def _chance(probability: float, generator: Generator) -> bool:
    return _between(0, 1, generator) < probability
