"""Draws a random scene and renders it: layers, light, blur, noise, compression."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from samepoint.datasets.synthetic.clip import Clip
from samepoint.datasets.synthetic.kernels import PAD, develop, draw_layer, frame_positions
from samepoint.datasets.synthetic.motion import Maps, Motion, draw_motion
from samepoint.datasets.synthetic.outlines import draw_outline
from samepoint.datasets.synthetic.settings import ClipSettings
from samepoint.datasets.synthetic.textures import TextureSource

_NO_MASK = np.zeros((0, 0), np.uint8)


@dataclass(frozen=True)
class _Layer:
    """What a layer shows: ``texture`` as the kernels want it, ``mask`` uint8 (h, w), ``contour`` (M, 2) raster."""

    texture: np.ndarray
    mask: np.ndarray
    contour: np.ndarray


def render_clip(settings: ClipSettings, textures: TextureSource, rng: np.random.Generator) -> Clip:
    """Renders a random clip; the same state of ``rng`` gives the same clip."""
    height, width = settings.size
    count = int(rng.integers(settings.layers[0], settings.layers[1] + 1))
    outlines = [draw_outline(settings, rng) for _ in range(count)]
    ground = (round(1.25 * height), round(1.25 * width))
    motion = draw_motion(settings, outlines, ground, rng)
    surfaces = [textures.sample(rng, *ground)]
    surfaces += [textures.sample(rng, *outline.mask.shape) for outline in outlines]
    if settings.plain:  # no draw otherwise: clips without it stay what they were
        surfaces = [_bare(surface, rng) if rng.random() < settings.plain else surface for surface in surfaces]
    masks = (_NO_MASK, *(outline.mask for outline in outlines))
    contours = [np.zeros((0, 2)), *(outline.contour for outline in outlines)]

    times = np.arange(settings.frames, dtype=np.float64)
    maps = motion.at(times)
    layers = [
        _Layer(_prepared(surfaces[i], maps.inverse[:, i]), masks[i], contours[i] + maps.centre[i])
        for i in range(count + 1)
    ]
    colour, label = _draw(settings, layers, motion, maps, times, rng)
    frames = _develop(settings, colour, rng)
    return Clip(frames=frames, layer=label, maps=maps, masks=masks)


def _bare(texture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A wall, a sky, a cloth: the texture's colour and slow changes, a small rest of its detail."""
    few = cv2.resize(texture, (6, 6), interpolation=cv2.INTER_AREA).astype(np.float32)
    smooth = cv2.resize(few, texture.shape[1::-1], interpolation=cv2.INTER_CUBIC)
    mean = smooth.mean((0, 1))
    detail = rng.uniform(0.01, 0.12) * (texture.astype(np.float32) - smooth)
    return np.clip(np.round(mean + rng.random() * (smooth - mean) + detail), 0, 255).astype(np.uint8)


def _prepared(texture: np.ndarray, inverse: np.ndarray) -> np.ndarray:
    """The texture low-passed for the smallest scale at which the clip shows it, laid out for the kernels."""
    scale = float(np.sqrt(np.abs(np.linalg.det(inverse[:, :, :2])).min()))
    sigma = 0.5 * np.sqrt(max(1 / max(scale, 0.05) ** 2 - 1, 0.0))
    if sigma > 0.2:
        texture = cv2.GaussianBlur(texture, (0, 0), sigma)
    padded = cv2.copyMakeBorder(cv2.cvtColor(texture, cv2.COLOR_RGB2RGBA), PAD, PAD, PAD, PAD, cv2.BORDER_REFLECT)
    return padded.reshape(padded.shape[0], -1)


def _draw(
    settings: ClipSettings,
    layers: list[_Layer],
    motion: Motion,
    maps: Maps,
    times: np.ndarray,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Light, float32 (T, H, W, 3) 0 to 255, and the visible layer, int16 (T, H, W)."""
    height, width = settings.size
    blurred = bool(rng.random() < settings.motion_blur)
    half = 0.5 * rng.uniform(*settings.exposure)
    late = motion.at(times + half) if blurred else maps
    colour = np.zeros((times.size, height, width, 3), np.float32)
    label = np.full((times.size, height, width), -1, np.int16)
    for time in range(times.size):
        light = np.ones((height, width), np.float32)
        for index in range(len(layers) - 1, -1, -1):
            layer = layers[index]
            box = _box(layer, maps, late, time, index, (height, width))
            if box[0] >= box[1] or box[2] >= box[3]:
                continue
            draw_layer(
                colour[time], light, label[time], index, layer.texture, layer.mask, box,
                maps.affine[time, index], maps.waves[time, index], maps.bend[time, index],
                late.affine[time, index], late.waves[time, index], late.bend[time, index],
                maps.centre[index], blurred,
            )  # fmt: skip
    return colour, label


def _box(
    layer: _Layer, maps: Maps, late: Maps, time: int, index: int, size: tuple[int, int]
) -> tuple[int, int, int, int]:
    """Top, bottom, left, right of the pixels that a layer may touch in a frame."""
    if not layer.contour.size:
        return 0, size[0], 0, size[1]
    outline = _outline(layer, maps, time, index)
    low, high = outline.min(0), outline.max(0)
    if late is not maps:
        moved = np.abs(_outline(layer, late, time, index) - outline).max(0)
        low, high = low - moved, high + moved
    # The soft edge, a texture pixel scaled up, and the bulge between two points of the outline.
    left, top = np.clip(np.floor(low - 4), 0, (size[1], size[0])).astype(int).tolist()
    right, bottom = np.clip(np.ceil(high + 4), 0, (size[1], size[0])).astype(int).tolist()
    return top, bottom, left, right


def _outline(layer: _Layer, maps: Maps, time: int, index: int) -> np.ndarray:
    return frame_positions(
        layer.contour, maps.inverse[time, index], maps.waves[time, index], maps.bend[time, index], maps.centre[index]
    )


def _develop(settings: ClipSettings, colour: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Light, lens, sensor and codec: float32 (T, H, W, 3) to uint8."""
    count, height, width = colour.shape[:3]
    times = np.arange(count)
    curves = _tone_curves(settings, times, rng)
    shading = _field(settings, times, rng, (height, width))
    shadow = _field(settings, times, rng, (height, width))
    read = settings.noise * rng.random() ** 2
    shot = settings.shot_noise * rng.random() ** 2
    sigma = np.zeros(count)
    if rng.random() < settings.defocus:
        strongest = settings.defocus_sigma * rng.uniform(0.2, 1)
        sigma = strongest * (0.6 + 0.4 * np.sin(2 * np.pi * times / rng.uniform(8, 60) + rng.uniform(0, 2 * np.pi)))
    quality = int(rng.integers(settings.quality[0], settings.quality[1] + 1))
    compressed = rng.random() < settings.compression
    seeds = rng.integers(2**63, size=(count, 1)).astype(np.uint64)
    frames = np.empty((count, height, width, 3), np.uint8)
    for time in range(count):
        light = colour[time] if sigma[time] < 0.2 else cv2.GaussianBlur(colour[time], (0, 0), sigma[time])
        grain = np.sqrt(read**2 + shot * np.maximum(curves[time], 0))
        develop(light, curves[time], grain, shading[time], shadow[time], seeds[time, 0], frames[time])
        if compressed:
            frames[time] = _compress(frames[time], quality)
    return frames


def _compress(frame: np.ndarray, quality: int) -> np.ndarray:
    # OpenCV codes BGR: with the channels as they are, the codec would keep blue and blur red.
    _, data = cv2.imencode(".jpg", cv2.cvtColor(frame, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    decoded = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR))
    return cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB)


def _tone_curves(settings: ClipSettings, times: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Tone curves of each frame and colour at the levels 0 to 256, float32 (T, 3, 257)."""
    strength = settings.light * rng.random() ** 1.5
    swing = np.sin(
        2 * np.pi * times[:, None] / rng.uniform(10, 60, 6) + rng.uniform(0, 2 * np.pi, 6)
    ) * rng.uniform(0.3, 1, 6)  # fmt: skip
    common, colours, power = swing[:, :1], swing[:, 1:4], swing[:, 4:5]
    flicker = settings.flicker * rng.random() * rng.uniform(-1, 1, (times.size, 1))
    gain = 1 + strength * (0.7 * common + 0.3 * colours) + flicker
    gamma = 1 + strength * power
    level = np.arange(257) / 255
    return (255 * gain[..., None] * level ** gamma[..., None]).astype(np.float32)


def _field(settings: ClipSettings, times: np.ndarray, rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """Strength, wave vector and moving phase of a smooth field over the frame, float64 (T, 4)."""
    strength = settings.shading * rng.random() if rng.random() < 0.4 else 0.0
    angle = rng.uniform(0, 2 * np.pi)
    rate = 2 * np.pi / (max(size) * rng.uniform(1.0, 4.0))
    phase = rng.uniform(0, 2 * np.pi) + rng.uniform(-0.15, 0.15) * times
    out = np.empty((times.size, 4))
    out[:, 0], out[:, 1], out[:, 2] = strength, rate * np.cos(angle), rate * np.sin(angle)
    out[:, 3] = phase
    return out
