"""What a rendered clip may contain: every strength in one frozen, documented object."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from samepoint.errors import InputError


@dataclass(frozen=True)
class ClipSettings:
    """The distribution that rendered clips are drawn from. Pairs are inclusive ranges.

    Lengths are pixels of the frame, speeds pixels a frame, angles radians, photometric strengths on the scale 0 to 255
    unless a field says otherwise. All motion of a clip scales with the speeds drawn: a slow clip also turns, zooms and
    bends slowly.

    Attributes:
        frames: frames a clip.
        size: (height, width) of a frame.
        layers: fewest and most moving layers over the background.
        radius: half extent of a layer, as a share of the shorter side of the frame.
        speed: slowest and fastest translation of a layer or of the camera that is not static. The fastest in a clip is
            drawn first (log-uniform), then each layer's (log-uniform up to it), so that some clips are wholly slow.
        static: probability that the camera, or a layer relative to its parent, does not move on its own.
        camera: speed of the camera relative to that of the layers.
        parallax: largest extra share of the camera's translation that a near layer makes.
        rotation: fastest turn a frame.
        zoom: fastest change of the logarithm of the scale a frame.
        zoom_range: largest deviation of the logarithm of the scale, of the camera and of each layer.
        perspective: largest relative change of the projective denominator over a layer; 0: affine.
        nonrigid: largest sum of the strains of the smooth deformation, at most 0.5; 0: rigid.
        attached: probability that a layer hangs on the one below it, as a limb on a body.
        limbs: probability that a layer is long and thin.
        holes: probability that a compact layer has a hole.
        plain: probability that a surface, the background's too, has next to no texture.
        motion_blur: probability of a clip with motion blur.
        exposure: share of the frame interval that the shutter is open in such a clip.
        defocus: probability of a clip with defocus blur.
        defocus_sigma: largest standard deviation of that blur.
        light: largest smooth change over a clip of gain and gamma (relative) in each of its colours.
        flicker: largest relative change of the gain from frame to frame, independent in each.
        shading: largest relative strength of a shading over the frame and of a moving soft shadow.
        noise: largest standard deviation of the sensor noise in the dark.
        shot_noise: largest variance of the noise a grey level.
        compression: probability of a clip whose frames went through JPEG.
        quality: its range of qualities.
    """

    frames: int = 8
    size: tuple[int, int] = (256, 256)
    layers: tuple[int, int] = (1, 8)
    radius: tuple[float, float] = (0.06, 0.4)
    speed: tuple[float, float] = (0.02, 30.0)
    static: float = 0.15
    camera: float = 0.8
    parallax: float = 0.5
    rotation: float = 0.12
    zoom: float = 0.03
    zoom_range: float = 0.35
    perspective: float = 0.2
    nonrigid: float = 0.3
    attached: float = 0.3
    limbs: float = 0.3
    holes: float = 0.15
    plain: float = 0.0
    motion_blur: float = 0.4
    exposure: tuple[float, float] = (0.1, 0.8)
    defocus: float = 0.15
    defocus_sigma: float = 1.5
    light: float = 0.2
    flicker: float = 0.03
    shading: float = 0.3
    noise: float = 5.0
    shot_noise: float = 0.08
    compression: float = 0.5
    quality: tuple[int, int] = (35, 95)

    def __post_init__(self) -> None:
        if self.frames < 1:
            raise InputError(f"frames: {self.frames} given, at least 1 expected")
        if min(self.size) < 16:
            raise InputError(f"size: {self.size} given, (height, width) of at least 16 expected")
        if not 0 <= self.layers[0] <= self.layers[1] <= 100:
            raise InputError(f"layers: {self.layers} given, a range within 0 to 100 expected")
        if not 0 < self.speed[0] <= self.speed[1]:
            raise InputError(f"speed: {self.speed} given, a range of positive numbers expected")
        if not 0 < self.radius[0] <= self.radius[1]:
            raise InputError(f"radius: {self.radius} given, a range of positive numbers expected")
        if not 0 <= self.exposure[0] <= self.exposure[1] <= 1:
            raise InputError(f"exposure: {self.exposure} given, a range within 0 to 1 expected")
        if not 1 <= self.quality[0] <= self.quality[1] <= 100:
            raise InputError(f"quality: {self.quality} given, a range within 1 to 100 expected")
        for name in ("static", "attached", "limbs", "holes", "plain", "motion_blur", "defocus", "compression"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name}: {getattr(self, name)} given, a probability expected")
        for name, most in (("nonrigid", 0.5), ("perspective", 0.5), ("light", 0.9), ("flicker", 0.5), ("shading", 0.9)):
            if not 0 <= getattr(self, name) <= most:
                raise InputError(f"{name}: {getattr(self, name)} given, 0 to {most} expected")
        for name in ("camera", "parallax", "rotation", "zoom", "zoom_range", "defocus_sigma", "noise", "shot_noise"):
            if getattr(self, name) < 0:
                raise InputError(f"{name}: {getattr(self, name)} given, at least 0 expected")

    @classmethod
    def slow(cls, frames: int = 150, **changes: Any) -> ClipSettings:
        """Slow, smooth, sub-pixel motion of the background and one to three layers."""
        preset = cls(
            frames=frames,
            layers=(1, 3),
            speed=(0.1, 0.5),
            static=0.0,
            radius=(0.12, 0.35),
            limbs=0.15,
            motion_blur=0.0,
            defocus=0.0,
            light=0.1,
            flicker=0.01,
            shading=0.15,
            noise=3.0,
            quality=(70, 95),
        )
        return replace(preset, **changes)

    @classmethod
    def occluding(cls, frames: int = 24, **changes: Any) -> ClipSettings:
        """Many layers that cross: of points seen in the first frame, 25 to 40 % are hidden or outside later on.

        The shorter the clip, the faster the layers, so that this holds from 8 frames up.
        """
        hurry = 24 / frames
        preset = cls(
            frames=frames,
            layers=(6, 9),
            radius=(0.2, 0.45),
            speed=(2.0 * hurry**1.5, 24.0 * hurry**0.5),
            static=0.0,
            camera=0.3,
            limbs=0.2,
        )
        return replace(preset, **changes)

    @classmethod
    def clean(cls, frames: int = 8, **changes: Any) -> ClipSettings:
        """No blur, no noise, no change of light, no compression: the frames show the motion and nothing else."""
        preset = cls(
            frames=frames,
            motion_blur=0.0,
            defocus=0.0,
            light=0.0,
            flicker=0.0,
            shading=0.0,
            noise=0.0,
            shot_noise=0.0,
            compression=0.0,
        )
        return replace(preset, **changes)
