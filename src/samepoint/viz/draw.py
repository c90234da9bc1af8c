"""Draw tracks on frames: trails that fade, a filled marker where a point is seen, a hollow one where it is hidden."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from samepoint.errors import InputError

if TYPE_CHECKING:
    from samepoint.structures import Tracks

SHIFT = 6  # cv2 draws lines at fixed-point coordinates: 1/64 px
PHASES = 32  # markers are placed at 1/32 px, so that their patches can be kept
FEW = 24  # up to here colours follow the order of the points, beyond it their place
GOLDEN = 0.61803398875
OUTLINE = (18, 18, 22)


@dataclass(frozen=True)
class Sizes:
    """How large things are drawn, in pixels of the picture."""

    radius: float
    line: float
    outline: float
    text: int

    @classmethod
    def of(cls, height: int, width: int, points: int) -> Sizes:
        """Sizes that suit a picture: they grow with it and shrink where there are so many points that markers touch."""
        side = float(np.sqrt(height * width))
        spacing = side / np.sqrt(max(points, 1))
        radius = max(1.5, min(1.5 + 0.0075 * side, 0.22 * spacing))
        return cls(radius, max(1.0, 0.42 * radius), max(0.8, 0.24 * radius), max(10, round(0.03 * side + 2)))


def _oklch(lightness: NDArray[np.floating], chroma: float, hue: NDArray[np.floating]) -> NDArray[np.uint8]:
    """sRGB of OKLCH colours (Ottosson 2020); hue in turns. Equal steps of hue look equally far apart there."""
    a, b = chroma * np.cos(2 * np.pi * hue), chroma * np.sin(2 * np.pi * hue)
    long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
    medium = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
    linear = np.stack(
        [
            4.0767416621 * long - 3.3077115913 * medium + 0.2309699292 * short,
            -1.2684380046 * long + 2.6097574011 * medium - 0.3413193965 * short,
            -0.0041960863 * long - 0.7034186147 * medium + 1.7076147010 * short,
        ],
        axis=-1,
    ).clip(0, 1)
    srgb = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.round(255 * srgb).astype(np.uint8)


def point_colors(tracks: Tracks) -> NDArray[np.uint8]:
    """One RGB colour a point, (N, 3) uint8.

    Few points (up to 24) get hues a golden section apart, so that neighbours in the list never look alike; many get
    their colour from where they start (hue along x, lightness along y), so that a dense grid shows how it deforms.
    """
    count = len(tracks.names)
    if count <= FEW:
        index = np.arange(count)
        lightness = np.choose(index % 3, [0.78, 0.86, 0.70]) if count else np.zeros(0)
        return _oklch(lightness, 0.19, (0.08 + index * GOLDEN) % 1.0)
    known = np.isfinite(tracks.xy).all(axis=2)
    start = tracks.xy[np.arange(count), known.argmax(axis=1)]
    place = np.nan_to_num(start / np.array(tracks.size[::-1], np.float64)).clip(0, 1)
    return _oklch(0.68 + 0.2 * place[:, 1], 0.19, (0.06 + 0.8 * place[:, 0]) % 1.0)


def _fixed(xy: NDArray[np.floating]) -> NDArray[np.int32]:
    """Corner-origin pixels as the fixed-point index coordinates of cv2 (the centre of the first pixel is 0)."""
    return np.round((xy.astype(np.float64) - 0.5) * (1 << SHIFT)).astype(np.int32)


def draw_tracks(
    frame: NDArray[np.uint8],
    tracks: Tracks,
    t: int,
    *,
    trail: int | None = None,
    names: bool = False,
    colors: NDArray[np.uint8] | None = None,
) -> NDArray[np.uint8]:
    """A copy of a frame with the points of ``tracks`` at time ``t`` drawn on it.

    Args:
        frame: (H, W, 3) uint8 RGB, frame ``t`` of the video. It may be a resized copy: coordinates are scaled from
            ``tracks.size`` to its size.
        tracks: N points over T frames; a point with NaN at ``t`` is not drawn.
        t: frame index, 0 to T - 1.
        trail: how many frames back the trail reaches, 0 for none; by default half a second.
        names: write each point's name beside it.
        colors: (N, 3) uint8 RGB; by default ``point_colors(tracks)``.

    Raises:
        InputError: the frame is not (H, W, 3) uint8, or ``t`` or ``trail`` is out of range.

    >>> import numpy as np
    >>> from samepoint.structures import Tracks
    >>> xy = np.full((1, 2, 2), 32, np.float32)
    >>> tracks = Tracks(xy, np.ones((1, 2), bool), np.ones((1, 2), np.float32), 25.0, (64, 64), ("nose",))
    >>> picture = draw_tracks(np.zeros((64, 64, 3), np.uint8), tracks, 1)
    >>> bool((picture[31, 31] == point_colors(tracks)[0]).all())
    True
    """
    if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8:
        raise InputError(f"a frame to draw on must be (H, W, 3) uint8, not {frame.shape} {frame.dtype}")
    count, length = tracks.xy.shape[:2]
    if not 0 <= t < length:
        raise InputError(f"cannot draw frame {t}: the tracks have frames 0 to {length - 1}")
    if trail is None:
        trail = max(2, round(tracks.fps / 2))
    if trail < 0:
        raise InputError(f"a trail of {trail} frames: expected 0 or more")
    colors = point_colors(tracks) if colors is None else colors
    height, width = frame.shape[:2]
    sizes = Sizes.of(height, width, count)
    scale = np.array([width / tracks.size[1], height / tracks.size[0]])
    recent = tracks.xy[:, max(0, t - trail) : t + 1] * scale
    # cv2 clips slowly and overflows far away; a position several frames off the picture shows nothing anyway.
    recent = np.clip(recent, -4.0 * max(height, width), 5.0 * max(height, width))
    seen = tracks.visible[:, max(0, t - trail) : t + 1]

    picture = _draw_trails(frame, recent, seen, colors, sizes) if recent.shape[1] > 1 else frame.copy()
    now, known = recent[:, -1], np.isfinite(recent[:, -1]).all(axis=1)
    # Hidden points first: what is seen lies in front.
    for i in sorted(np.flatnonzero(known), key=lambda i: bool(seen[i, -1])):
        _draw_marker(picture, now[i], tuple(int(c) for c in colors[i]), bool(seen[i, -1]), sizes)
    if names:
        for i in np.flatnonzero(known):
            _draw_name(picture, now[i], tracks.names[i], tuple(int(c) for c in colors[i]), sizes)
    return picture


def _draw_trails(
    frame: NDArray[np.uint8],
    recent: NDArray[np.floating],
    seen: NDArray[np.bool_],
    colors: NDArray[np.uint8],
    sizes: Sizes,
) -> NDArray[np.uint8]:
    """``frame`` under the paths ``recent`` (N, S, 2), opaque at the newest end and fading to nothing at the oldest."""
    height, width = frame.shape[:2]
    steps = recent.shape[1] - 1
    # Colours premultiplied by their opacity, so that one blend at the end serves all trails.
    layer = np.zeros((height, width, 4), np.uint8)
    known = np.isfinite(recent).all(axis=2)
    fixed = _fixed(np.nan_to_num(recent))
    for age in range(steps):
        strength = (age + 1) / steps
        thickness = max(1, round(sizes.line * (0.4 + 0.6 * strength)))
        for i in np.flatnonzero(known[:, age] & known[:, age + 1]):
            opacity = 0.9 * strength * (1.0 if seen[i, age + 1] else 0.4)
            color = [float(c) * opacity for c in colors[i]] + [255.0 * opacity]
            a, b = fixed[i, age], fixed[i, age + 1]
            cv2.line(layer, (int(a[0]), int(a[1])), (int(b[0]), int(b[1])), color, thickness, cv2.LINE_AA, SHIFT)
    # A soft dark rim under the bright line keeps it readable on any ground. 8 bits throughout: four times as fast.
    opacity = layer[:, :, 3]
    rim = cv2.GaussianBlur(opacity, (0, 0), max(0.8, 0.6 * sizes.line))
    kept = cv2.multiply(255 - opacity, cv2.addWeighted(rim, -0.55, rim, 0.0, 255.0), scale=1 / 255)
    under = cv2.multiply(frame, cv2.cvtColor(kept, cv2.COLOR_GRAY2RGB), scale=1 / 255)
    return np.asarray(cv2.add(under, cv2.cvtColor(layer, cv2.COLOR_RGBA2RGB)), np.uint8)


def _draw_marker(
    picture: NDArray[np.uint8], xy: NDArray[np.floating], color: tuple[int, ...], seen: bool, sizes: Sizes
) -> None:
    steps = np.round(xy.astype(np.float64) * PHASES).astype(int)
    cell, phase = steps // PHASES, steps % PHASES
    patch = _marker(color, seen, sizes, int(phase[0]), int(phase[1]))
    paste(picture, patch, int(cell[0]) - patch.shape[1] // 2, int(cell[1]) - patch.shape[0] // 2)


@lru_cache(maxsize=4096)
def _marker(color: tuple[int, ...], seen: bool, sizes: Sizes, phase_x: int, phase_y: int) -> NDArray[np.uint8]:
    """An RGBA patch of even side whose middle lies ``phase`` / PHASES px right of and below the marker's pixel corner.

    Drawn by the distance to the centre: at these sizes cv2's circles are lopsided by a tenth of a pixel.
    """
    # The hollow marker is a little wider and its hole never touches the pixel that the point lies in.
    inner = 0.0 if seen else max(0.85 * sizes.radius, 1.25 + 0.5 * sizes.outline)
    outer = sizes.radius if seen else max(1.25 * sizes.radius, inner + 1.0)
    half = int(np.ceil(outer + sizes.outline)) + 2
    centre = np.arange(-half, half) + 0.5
    distance = np.hypot(centre[None, :] - phase_x / PHASES, centre[:, None] - phase_y / PHASES)

    def band(low: float, high: float) -> NDArray[np.float64]:
        """How much of each pixel lies at a distance between low and high."""
        covered = (high + 0.5 - distance).clip(0, 1)
        return covered if low <= 0 else covered - (low + 0.5 - distance).clip(0, 1)

    fill = band(inner, outer)
    rim = 0.8 * band(inner - 0.5 * sizes.outline if inner else 0.0, outer + sizes.outline) * (1.0 - fill)
    opacity = fill + rim
    mixed = fill[:, :, None] * np.array(color) + rim[:, :, None] * np.array(OUTLINE)
    rgb = mixed / np.maximum(opacity, 1e-6)[:, :, None]
    return np.round(np.dstack([rgb, 255.0 * opacity])).astype(np.uint8)


@lru_cache(maxsize=4096)
def label(text: str, color: tuple[int, ...], size: int, *, outline: bool = True) -> NDArray[np.uint8]:
    """A line of text, with a dark outline unless told otherwise, as an (h, w, 4) uint8 RGBA picture."""
    font = ImageFont.load_default(size)
    stroke = max(1, size // 8) if outline else 0
    left, top, right, bottom = font.getbbox(text, stroke_width=stroke)
    picture = Image.new("RGBA", (max(1, int(np.ceil(right - left))), max(1, int(np.ceil(bottom - top)))), (*color, 0))
    ImageDraw.Draw(picture).text((-left, -top), text, color, font, stroke_width=stroke, stroke_fill=(*OUTLINE, 230))
    return np.asarray(picture)


def paste(picture: NDArray[np.uint8], patch: NDArray[np.uint8], left: int, top: int) -> None:
    """Lay an RGBA patch over an RGB picture in place, cut off at its borders."""
    height, width = picture.shape[:2]
    x0, y0, x1, y1 = max(left, 0), max(top, 0), min(left + patch.shape[1], width), min(top + patch.shape[0], height)
    if x0 >= x1 or y0 >= y1:
        return
    part = patch[y0 - top : y1 - top, x0 - left : x1 - left].astype(np.float32)
    opacity = part[:, :, 3:] / 255.0
    region = picture[y0:y1, x0:x1]
    region[:] = np.round(region * (1.0 - opacity) + part[:, :, :3] * opacity).astype(np.uint8)


def _draw_name(
    picture: NDArray[np.uint8], xy: NDArray[np.floating], name: str, color: tuple[int, ...], sizes: Sizes
) -> None:
    height, width = picture.shape[:2]
    if not name or not (0 <= xy[0] <= width and 0 <= xy[1] <= height):
        return
    patch = label(name, color, sizes.text)
    gap = sizes.radius + sizes.outline + 2
    right = xy[0] + gap + patch.shape[1] <= width
    left = xy[0] + gap if right else xy[0] - gap - patch.shape[1]
    top = np.clip(xy[1] - gap - 0.6 * patch.shape[0], 0, max(0, height - patch.shape[0]))
    paste(picture, patch, round(float(left)), round(float(top)))
