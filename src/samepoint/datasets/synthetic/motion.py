"""Smooth random motion of layers, as maps with a closed form in one direction and Newton's method in the other.

A layer's map takes a frame position p to a position q in its texture:

    c = A p + b                                      camera, parents and own similarity
    z = c + sum_k a_k sin(w_k . c + phase_k)         smooth deformation, K plane waves that ride on the layer
    q = z / (1 + g . z) + centre                     projective part

A, b, a_k and g are closed-form functions of time, so that a map exists between frames too (motion blur). The other
direction inverts the steps in turn; only the second needs iteration.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from samepoint.datasets.synthetic.outlines import Outline
from samepoint.datasets.synthetic.settings import ClipSettings

WAVES = 3


@dataclass(frozen=True)
class Maps:
    """The maps of L layers at n times, float64.

    Attributes:
        affine: (n, L, 2, 3), frame raster to canonical coordinates.
        inverse: (n, L, 2, 3), back.
        waves: (n, L, K, 5): amplitude x, y, wave vector x, y, phase.
        bend: (n, L, 2).
        centre: (L, 2), the textures' centres in raster coordinates.
    """

    affine: np.ndarray
    inverse: np.ndarray
    waves: np.ndarray
    bend: np.ndarray
    centre: np.ndarray


@dataclass(frozen=True)
class Course:
    """A smooth function of time: a line and two sines, zero at ``start``. All arrays (D,) or (2, D)."""

    slope: np.ndarray
    swing: np.ndarray
    rate: np.ndarray
    phase: np.ndarray
    start: float

    def at(self, times: np.ndarray) -> np.ndarray:
        """Values (n, D) at times (n,)."""
        swing = self._swing(times) - self._swing(np.array([self.start]))
        return self.slope * (times[:, None] - self.start) + swing

    def _swing(self, times: np.ndarray) -> np.ndarray:
        return (self.swing * np.sin(self.rate * times[:, None, None] + self.phase)).sum(1)


def draw_course(rng: np.random.Generator, speed: float, dims: int, frames: int, reach: float) -> Course:
    """A random course of root mean square ``speed`` a frame, slower where it would go beyond ``reach``."""
    start = rng.uniform(0, frames - 1)
    steady, *parts = speed * np.sqrt(rng.dirichlet([1.0, 1.0, 1.0]))
    slope = _direction(rng, dims) * min(steady, reach / max(start, frames - 1 - start, 1))
    peaks = np.sqrt(2) * np.array(parts)
    # The slowest swing that stays within reach; never faster than a period of six frames.
    slowest = np.maximum(2 * np.pi / rng.uniform(8, 2 * frames + 12, 2), peaks / max(reach / 3, 1e-9))
    rate = np.minimum(slowest, 2 * np.pi / 6)
    size = np.minimum(peaks / rate, reach / 3)
    swing = np.stack([_direction(rng, dims), _direction(rng, dims)]) * size[:, None]
    phase = rng.uniform(0, 2 * np.pi, (2, dims)) if rng.random() < 0.5 else rng.uniform(0, 2 * np.pi, (2, 1))
    return Course(slope, swing, rate[:, None], np.broadcast_to(phase, (2, dims)), start)


def _direction(rng: np.random.Generator, dims: int) -> np.ndarray:
    vector = rng.standard_normal(dims)
    return vector / max(float(np.linalg.norm(vector)), 1e-9)


@dataclass(frozen=True)
class Mover:
    """A similarity over time: ``pivot`` goes to ``place`` plus the course; then what it hangs on moves it further.

    ``parent`` is the index of the layer that carries it, -1 for the camera alone.
    """

    parent: int
    place: np.ndarray
    pivot: np.ndarray
    angle0: float
    depth: float
    shift: Course
    angle: Course
    zoom: Course
    scale0: float = 1.0

    def matrices(self, times: np.ndarray, depth: float) -> np.ndarray:
        """(n, 3, 3), own coordinates to the parent's, the translation multiplied by ``depth``."""
        angle = self.angle0 + self.angle.at(times)[:, 0]
        scale = self.scale0 * np.exp(self.zoom.at(times)[:, 0])
        out = np.zeros((times.size, 3, 3))
        out[:, 0, 0] = out[:, 1, 1] = scale * np.cos(angle)
        out[:, 1, 0] = scale * np.sin(angle)
        out[:, 0, 1] = -out[:, 1, 0]
        out[:, :2, 2] = self.place + depth * self.shift.at(times) - out[:, :2, :2] @ self.pivot
        out[:, 2, 2] = 1
        return out


@dataclass(frozen=True)
class Motion:
    """The motion of all layers of a clip; layer 0 is the background.

    ``amplitude`` (L, K, 2), ``vector`` (L, K, 2), ``phase``, ``beat``, ``offset`` (L, K): a wave's strength follows
    sin(beat t + offset). ``tilt``, ``tilt_beat``, ``tilt_offset`` (L, 2) likewise for the projective part.
    """

    camera: Mover
    movers: tuple[Mover, ...]
    centre: np.ndarray
    amplitude: np.ndarray
    vector: np.ndarray
    phase: np.ndarray
    beat: np.ndarray
    offset: np.ndarray
    tilt: np.ndarray
    tilt_beat: np.ndarray
    tilt_offset: np.ndarray

    def at(self, times: np.ndarray) -> Maps:
        """The maps at any times (n,), in frames."""
        forward = np.stack(_compose(self.camera, self.movers, times), 1)
        back = np.linalg.inv(forward)
        shape = (times.size, *self.amplitude.shape[:2])
        strength = np.sin(self.beat * times[:, None, None] + self.offset)[..., None] * self.amplitude
        waves = np.concatenate(
            [
                strength,
                np.broadcast_to(self.vector, (*shape, 2)),
                np.broadcast_to(self.phase[..., None], (*shape, 1)),
            ],
            -1,
        )
        bend = self.tilt * np.sin(self.tilt_beat * times[:, None, None] + self.tilt_offset)
        return Maps(
            affine=np.ascontiguousarray(back[:, :, :2]),
            inverse=np.ascontiguousarray(forward[:, :, :2]),
            waves=np.ascontiguousarray(waves),
            bend=np.ascontiguousarray(bend),
            centre=self.centre,
        )


def _compose(camera: Mover, movers: tuple[Mover, ...], times: np.ndarray) -> list[np.ndarray]:
    """Canonical coordinates to the frame, (n, 3, 3) for each layer."""
    world: list[np.ndarray] = []
    for mover in movers:
        under = camera.matrices(times, mover.depth) if mover.parent < 0 else world[mover.parent]
        world.append(under @ mover.matrices(times, 1.0))
    return world


def draw_motion(
    settings: ClipSettings, outlines: list[Outline], background: tuple[int, int], rng: np.random.Generator
) -> Motion:
    """Random motion for a background texture of that (height, width) and the layers above it, lowest first."""
    height, width = settings.size
    short = min(height, width)
    low, high = settings.speed
    # Most clips hold fast motion, a quarter none at all: real videos rest, and slow drift must be learnt too.
    slowest = 0.15 * high if rng.random() < 0.75 else 0.0
    limit = np.exp(rng.uniform(np.log(max(low, slowest)), np.log(high)))

    def speed() -> float:
        if rng.random() < settings.static:
            return 0.0
        return float(np.exp(rng.uniform(np.log(max(low, limit / 10)), np.log(limit))))

    def mover(pace: float, radius: float, reach: float, place: np.ndarray, **rest: object) -> Mover:
        turn = min(rng.random() * pace / radius, settings.rotation)
        zoom = min(rng.random() * pace / radius, settings.zoom)
        return Mover(
            place=place,
            shift=draw_course(rng, pace, 2, settings.frames, reach),
            angle=draw_course(rng, turn, 1, settings.frames, rest.pop("turns")),  # type: ignore[arg-type]
            zoom=draw_course(rng, zoom, 1, settings.frames, settings.zoom_range),
            **rest,  # type: ignore[arg-type]
        )

    middle = np.array([width / 2, height / 2])
    nothing = np.zeros(2)
    camera_pace = speed() * settings.camera
    camera = mover(camera_pace, short / 2, short, middle, parent=-1, pivot=nothing, angle0=0.0, depth=1.0, turns=0.4)
    # Never aligned with the pixels: a texture shown one to one would, rounded, ignore the smallest motions.
    movers = [
        mover(
            0.0, short / 2, short, rng.uniform(-8, 8, 2), parent=-1, pivot=nothing, angle0=rng.uniform(-0.1, 0.1),
            depth=1.0, turns=0.4, scale0=np.exp(rng.uniform(-0.1, 0.1)),
        )
    ]  # fmt: skip
    paces = [camera_pace]
    for i, outline in enumerate(outlines, start=1):
        radius = float(np.abs(outline.contour).max())
        hung = i > 1 and rng.random() < settings.attached
        pace = speed()
        angle = rng.uniform(-0.5, 0.5)
        if hung:
            anchor = outlines[i - 2].contour[rng.integers(len(outlines[i - 2].contour))] * 0.8
            # A limb turns about its end: the speed of its tip is what was drawn.
            one = mover(
                0.1 * pace, radius, 0.1 * radius, anchor, parent=i - 1, pivot=outline.axis, angle0=angle, depth=1.0,
                turns=1.0,
            )  # fmt: skip
            swing = min(pace / radius, settings.rotation)
            one = Mover(**{**one.__dict__, "angle": draw_course(rng, swing, 1, settings.frames, 1.2)})
        else:
            place = rng.uniform(-0.45, 0.45, 2) * (width, height)
            depth = 1.0 + settings.parallax * rng.random()
            one = mover(
                pace, radius, 1.5 * short, place, parent=-1, pivot=outline.axis * rng.random(), angle0=angle,
                depth=depth, turns=np.inf,
            )  # fmt: skip
        movers.append(one)
        paces.append(pace)
    return _deform(settings, outlines, background, camera, tuple(movers), np.array(paces), rng)


def _deform(
    settings: ClipSettings,
    outlines: list[Outline],
    background: tuple[int, int],
    camera: Mover,
    movers: tuple[Mover, ...],
    paces: np.ndarray,
    rng: np.random.Generator,
) -> Motion:
    """Adds the waves and the projective part, with strains and denominators that keep every map invertible."""
    count = len(movers)
    height, width = settings.size
    extents = np.array([max(height, width) / 2] + [float(np.abs(o.contour).max()) for o in outlines])
    shapes = [background, *(o.mask.shape for o in outlines)]
    centre = np.array([[shape[1] / 2, shape[0] / 2] for shape in shapes])

    length = np.maximum(extents[:, None] * rng.uniform(0.8, 3.0, (count, WAVES)), 16.0)
    heading = rng.uniform(0, 2 * np.pi, (count, WAVES))
    vector = (2 * np.pi / length)[..., None] * np.stack([np.cos(heading), np.sin(heading)], -1)
    share = rng.dirichlet(np.ones(WAVES), count) * settings.nonrigid * rng.random((count, 1))
    share[rng.random(count) < 0.3] = 0
    if share[0].any() and rng.random() < 0.6:
        share[0] = 0
    towards = rng.uniform(0, 2 * np.pi, (count, WAVES))
    size = share * length / (2 * np.pi)
    amplitude = size[..., None] * np.stack([np.cos(towards), np.sin(towards)], -1)
    # A wave moves points by at most size * beat a frame: a third of the layer's pace for all of them together.
    beat = np.minimum(2 * np.pi / rng.uniform(8, 40, (count, WAVES)), paces[:, None] / (3 * np.maximum(size, 1e-6)))

    # The projective denominator is bounded where the layer is seen: its outline, or for the background the frame.
    corners = np.array([[0, 0, 1], [width, 0, 1], [0, height, 1], [width, height, 1]], float)
    ground = np.linalg.inv(_compose(camera, movers[:1], np.arange(settings.frames, dtype=float))[0])
    seen = np.linalg.norm((ground @ corners.T)[:, :2], axis=1).max() + size[0].sum()
    reach = np.array([seen] + [float(np.linalg.norm(o.contour, axis=1).max()) for o in outlines])
    tilt = rng.uniform(-1, 1, (count, 2)) * settings.perspective / (np.sqrt(2) * reach[:, None])
    tilt[rng.random(count) < 0.3] = 0
    moved = np.maximum(np.abs(tilt).max(1) * reach**2, 1e-6)
    tilt_beat = np.minimum(2 * np.pi / rng.uniform(10, 60, count), paces / (3 * moved))
    return Motion(
        camera=camera,
        movers=movers,
        centre=centre,
        amplitude=amplitude,
        vector=vector,
        phase=rng.uniform(0, 2 * np.pi, (count, WAVES)),
        beat=beat,
        offset=rng.uniform(0, 2 * np.pi, (count, WAVES)),
        tilt=tilt,
        tilt_beat=np.repeat(tilt_beat[:, None], 2, 1),
        tilt_offset=rng.uniform(0, 2 * np.pi, (count, 2)),
    )
