"""Changes of a single picture's colours, each with a chance of its own (web-video-matching.md, sections 5 and 9)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import partial

import cv2
import numpy as np
from numpy.typing import NDArray

from ..errors import InputError

Picture = NDArray[np.uint8]
"""RGB (H, W, 3)."""


@dataclass(frozen=True)
class PhotometricSettings:
    """Chances of the changes, which are made in this order, and how strong those of light and colours are.

    Attributes:
        light: chance that brightness and contrast change, by up to ``strength``.
        strength: of the jitter: brightness, contrast and saturation change by up to this share.
        hue: largest turn of the jitter, in full circles; None: a third of ``strength``.
    """

    equalise: float = 0.2
    posterise: float = 0.0
    solarise: float = 0.2
    sharpen: float = 0.0
    light: float = 0.0
    blur: float = 0.2
    jitter: float = 0.8
    grey: float = 0.2
    strength: float = 0.3
    hue: float | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            value, most = getattr(self, field.name), 0.5 if field.name == "hue" else 1
            if value is not None and not 0 <= value <= most:
                raise InputError(f"{field.name}: {value} given, 0 to {most} expected")

    @classmethod
    def published(cls) -> PhotometricSettings:
        """SSSCWEB's for web videos."""
        return cls(blur=0.0, jitter=0.2, strength=0.2, hue=0.2)

    @classmethod
    def published_pairs(cls) -> PhotometricSettings:
        """Its for pairs of benchmarks."""
        return cls(posterise=0.2, sharpen=0.2, light=0.2, blur=0.0, jitter=0.2, strength=0.2, hue=0.2)


def change_colours(rgb: Picture, settings: PhotometricSettings, rng: np.random.Generator) -> Picture:
    """A picture uint8 (H, W, 3) with the changes that are drawn for it."""
    # Left out rather than drawn in vain: settings without it draw what they did before there was any.
    light = ((settings.light, partial(lighten, strength=settings.strength, rng=rng)),) if settings.light else ()
    steps: tuple[tuple[float, Callable[[Picture], Picture]], ...] = (
        (settings.equalise, equalise),
        (settings.posterise, lambda x: posterise(x, int(rng.integers(3, 7)))),
        (settings.solarise, solarise),
        (settings.sharpen, lambda x: sharpen(x, rng.uniform(0.2, 1.0))),
        *light,
        (settings.blur, lambda x: np.asarray(cv2.GaussianBlur(x, (0, 0), rng.uniform(0.3, 1.5)), np.uint8)),
        (settings.jitter, lambda x: jitter(x, settings.strength, rng, settings.hue)),
        (settings.grey, grey),
    )
    for chance, change in steps:
        if rng.random() < chance:
            rgb = change(rgb)
    return rgb


def equalise(rgb: Picture) -> Picture:
    """Each channel's histogram made even."""
    return np.stack([cv2.equalizeHist(np.ascontiguousarray(rgb[..., channel])) for channel in range(3)], axis=-1)


def posterise(rgb: Picture, bits: int) -> Picture:
    """Only the highest ``bits`` bits.

    >>> posterise(np.array([[[255, 130, 3]]], np.uint8), 4).tolist()
    [[[240, 128, 0]]]
    """
    return rgb & np.uint8(256 - 2 ** (8 - bits))


def solarise(rgb: Picture, threshold: int = 128) -> Picture:
    """Values from the threshold on turned into their complement.

    >>> solarise(np.array([[[127, 128, 255]]], np.uint8)).tolist()
    [[[127, 127, 0]]]
    """
    return np.where(rgb >= threshold, 255 - rgb, rgb).astype(np.uint8)


def sharpen(rgb: Picture, amount: float) -> Picture:
    """The picture away from its blurred self."""
    soft = np.asarray(cv2.GaussianBlur(rgb, (0, 0), 1.0), np.float32)
    return _whole(rgb + amount * (rgb - soft))


def lighten(rgb: Picture, strength: float, rng: np.random.Generator) -> Picture:
    """Contrast by up to ``strength``, brightness by up to that share of white."""
    contrast, light = rng.uniform(-strength, strength, 2)
    return _whole(rgb * np.float32(1 + contrast) + np.float32(255 * light))


def grey(rgb: Picture) -> Picture:
    """Without colour, three channels alike."""
    return np.repeat(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=-1)


def jitter(rgb: Picture, strength: float, rng: np.random.Generator, hue: float | None = None) -> Picture:
    """Brightness, contrast and saturation by up to ``strength``, and hue by a turn of up to ``hue`` circles.

    Without ``hue`` it is a third of ``strength``.
    """
    light, contrast, colour = 1 + rng.uniform(-strength, strength, 3)
    picture = rgb.astype(np.float32) * light
    picture = (picture - picture.mean()) * contrast + picture.mean()
    middle = picture.mean(axis=-1, keepdims=True)
    picture = _whole(middle + (picture - middle) * colour)
    hsv = cv2.cvtColor(picture, cv2.COLOR_RGB2HSV)
    most = strength / 3 if hue is None else hue
    turn = round(rng.uniform(-most, most) * 180)  # OpenCV's hue has 180 steps
    hsv[..., 0] = (hsv[..., 0].astype(np.int16) + turn) % 180
    return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB), np.uint8)


def _whole(values: NDArray[np.float32]) -> Picture:
    return values.round().clip(0, 255).astype(np.uint8)
