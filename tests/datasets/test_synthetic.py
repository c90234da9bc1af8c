"""Rendered clips: what is drawn, what is claimed about it, and whether the two agree."""

from __future__ import annotations

import dataclasses
import pickle

import numpy as np
import pytest
from scipy.ndimage import binary_erosion, map_coordinates

from samepoint.datasets.synthetic import ClipSettings, ProceduralTextures, SyntheticClips, render_clip
from samepoint.errors import InputError
from tests.shared import shared_path

TEXTURES = ProceduralTextures(pictures=12)
SMALL = {"size": (96, 128)}


def clips(settings, seed=0):
    return SyntheticClips(settings, TEXTURES, seed)


def centres(clip):
    height, width = clip.size
    rows, cols = np.mgrid[:height, :width]
    return np.stack([cols + 0.5, rows + 0.5], -1)


def sampled(frame, xy):
    """Grey levels of a frame at raster positions, by a quintic spline that shares nothing with the renderer."""
    grey = frame.astype(float).mean(-1)
    return map_coordinates(grey, [xy[..., 1] - 0.5, xy[..., 0] - 0.5], order=5, mode="nearest")


def remaining_motion(clip, source, target, chosen):
    """Mean motion (2,) that one Lucas-Kanade step still finds between a frame and the other one warped onto it."""
    flow, visible = clip.flow(source, target)
    xy = centres(clip) + flow
    height, width = clip.size
    # Away from the frame's border and, in both frames, from the outlines: another layer's edge is not this motion.
    inner = binary_erosion(chosen & visible, iterations=5, border_value=0)
    cell = np.clip(xy.astype(int), 0, [width - 1, height - 1])
    clear = np.zeros(clip.size, bool)
    for layer in np.unique(clip.layer[target]):
        clear |= binary_erosion(clip.layer[target] == layer, iterations=5, border_value=0)
    inner &= clear[cell[..., 1], cell[..., 0]]
    here, there = sampled(clip.frames[source], centres(clip)), sampled(clip.frames[target], xy)
    dy, dx = np.gradient((here + there) / 2)
    gradient = np.stack([dx[inner], dy[inner]], 1)
    assert inner.sum() > 500
    return np.linalg.solve(gradient.T @ gradient, gradient.T @ (here - there)[inner])


def test_frames_and_labels_have_the_documented_form():
    clip = clips(ClipSettings(frames=3, size=(48, 80), layers=(2, 2))).clip(0)
    assert clip.frames.shape == (3, 48, 80, 3)
    assert clip.frames.dtype == np.uint8
    assert clip.layer.shape == (3, 48, 80)
    assert clip.layer.dtype == np.int16
    assert set(np.unique(clip.layer)) <= {0, 1, 2}
    assert len(clip) == 3
    assert clip.size == (48, 80)
    assert clip.frames.std() > 5


def test_a_clip_depends_on_seed_and_index_only():
    settings = ClipSettings(frames=2, **SMALL)
    first, again = clips(settings), SyntheticClips(settings, ProceduralTextures(pictures=12))
    later = again.clip(7)
    again.clip(3)
    for index, other in ((7, later), (3, again.clip(3))):
        clip = first.clip(index)
        np.testing.assert_array_equal(clip.frames, other.frames)
        np.testing.assert_array_equal(clip.flow(0, 1)[0], other.flow(0, 1)[0])
    assert (first.clip(7).frames != first.clip(8).frames).any()
    assert (first.clip(7).frames != clips(settings, seed=1).clip(7).frames).any()


def test_a_clip_survives_the_way_between_processes():
    clip = clips(ClipSettings(frames=2, **SMALL)).clip(0)
    copy = pickle.loads(pickle.dumps(clip))
    np.testing.assert_array_equal(copy.flow(0, 1)[0], clip.flow(0, 1)[0])


@pytest.mark.parametrize("target", [1, 7])
def test_translation_in_the_frames_is_that_of_the_flow(target):
    settings = ClipSettings.clean(
        layers=(0, 0), speed=(0.1, 0.4), static=0.0, nonrigid=0.0, perspective=0.0, rotation=0.0, zoom=0.0, **SMALL
    )
    for index in range(4):
        clip = clips(settings).clip(index)
        flow, _ = clip.flow(0, target)
        np.testing.assert_allclose(flow, np.broadcast_to(flow[0, 0], flow.shape), atol=1e-4)
        assert np.abs(remaining_motion(clip, 0, target, np.ones(clip.size, bool))).max() < 0.01


@pytest.mark.parametrize("speed", [(0.05, 0.5), (1.0, 4.0)])
def test_every_layer_moves_as_its_flow_says(speed):
    settings = ClipSettings.clean(layers=(1, 3), radius=(0.3, 0.45), limbs=0.0, speed=speed, static=0.0, **SMALL)
    errors = []
    for index in range(6):
        clip = clips(settings).clip(index)
        for layer in range(len(clip.masks)):
            own = clip.layer[2] == layer
            if own.sum() > 3000:
                errors.append(remaining_motion(clip, 2, 5, own))
    assert len(errors) >= 6
    assert np.abs(np.mean(errors, 0)).max() < 0.005
    assert np.abs(errors).max() < 0.02


def test_motion_between_real_textures_is_unbiased():
    from samepoint.datasets.synthetic import FolderTextures

    textures = FolderTextures(shared_path("data", "jhmdb", "train", "golf"), limit=3)
    settings = ClipSettings.clean(layers=(0, 0), speed=(0.1, 0.5), static=0.0)
    errors = [
        remaining_motion(clip, 0, 5, np.ones(clip.size, bool))
        for clip in (SyntheticClips(settings, textures).clip(i) for i in range(4))
    ]
    assert np.abs(errors).max() < 0.02


def test_flow_forth_and_back_returns():
    clip = clips(ClipSettings.clean(speed=(1.0, 12.0), **SMALL)).clip(4)
    flow, visible = clip.flow(1, 6)
    points = (centres(clip) + flow)[visible]
    xy, seen = clip.tracks(np.clip(points, 0, np.nextafter(np.float32([128, 96]), 0)), 6)
    # A point that is visible at both ends is found again from there; at an outline, rounding may pick the neighbour.
    error = np.abs(xy[:, 1] - centres(clip)[visible]).max(-1)
    assert (error < 1e-3).mean() > 0.999
    assert seen[:, 1].mean() > 0.99


def test_tracks_agree_with_flow_and_start_where_asked():
    clip = clips(ClipSettings(**SMALL)).clip(2)
    rows, cols = np.array([5, 50, 90]), np.array([100, 64, 3])
    points = np.stack([cols + 0.5, rows + 0.5], 1)
    xy, visible = clip.tracks(points, 3)
    assert xy.dtype == np.float32
    assert xy.shape == (3, 8, 2)
    assert visible[:, 3].all()
    np.testing.assert_allclose(xy[:, 3], points, atol=1e-5)
    for time in range(8):
        flow, seen = clip.flow(3, time)
        np.testing.assert_allclose(xy[:, time], points + flow[rows, cols], atol=1e-4)
        np.testing.assert_array_equal(visible[:, time], seen[rows, cols])


def test_visibility_is_that_of_the_drawn_layers():
    settings = ClipSettings.clean(layers=(4, 6), radius=(0.2, 0.4), speed=(2.0, 12.0), **SMALL)
    checked = hidden = 0
    for index in range(4):
        clip = clips(settings).clip(index)
        points = clip.sample_points(np.random.default_rng(index), 400, 2)
        start = clip.layer_at(points, 2)
        xy, visible = clip.tracks(points, 2)
        for time in range(len(clip)):
            cell = np.floor(xy[:, time]).astype(int)
            inside = ((cell >= 1) & (cell < np.array([127, 95]))).all(-1)
            assert not visible[(cell < 0).any(-1) | (cell >= np.array([128, 96])).any(-1), time].any()
            near = clip.layer[time][np.clip(cell[:, 1, None] + [-1, 0, 1], 0, 95)[:, :, None],
                                    np.clip(cell[:, 0, None] + [-1, 0, 1], 0, 127)[:, None, :]]  # fmt: skip
            sure = inside & (near == near[:, :1, :1]).all((1, 2))
            np.testing.assert_array_equal(visible[sure, time], near[sure, 0, 0] == start[sure])
            checked += sure.sum()
            hidden += (~visible[sure, time]).sum()
    assert checked > 5000
    assert hidden > 300


def test_the_layer_between_centres_is_that_at_the_centres():
    clip = clips(ClipSettings(layers=(4, 6), **SMALL)).clip(1)
    found = clip.layer_at(centres(clip).reshape(-1, 2), 4).reshape(clip.size)
    assert (found == clip.layer[4]).mean() > 0.9999


def test_visible_points_keep_their_colour_and_hidden_ones_do_not():
    settings = ClipSettings.clean(layers=(5, 7), radius=(0.2, 0.4), speed=(2.0, 10.0), **SMALL)
    shown, hidden = [], []
    for index in range(4):
        clip = clips(settings).clip(index)
        points = clip.sample_points(np.random.default_rng(index), 300)
        xy, visible = clip.tracks(points, 0)
        inside = ((xy > 0) & (xy < [128, 96])).all(-1)
        change = np.abs(sampled(clip.frames[6], xy[:, 6]) - sampled(clip.frames[0], points.astype(float)))
        shown += change[visible[:, 6]].tolist()
        hidden += change[inside[:, 6] & ~visible[:, 6]].tolist()
    assert np.median(shown) < 3
    assert np.median(hidden) > 20


def test_slow_clips_are_slow_and_move():
    clip = clips(ClipSettings.slow(40, **SMALL)).clip(0)
    assert len(clip) == 40
    xy, _ = clip.tracks(clip.sample_points(np.random.default_rng(0), 200), 0)
    speed = np.linalg.norm(np.diff(xy, axis=1), axis=-1)
    assert np.percentile(speed, 99) < 2
    assert 0.02 < np.median(speed) < 0.5


@pytest.mark.parametrize("frames", [8, 24])
def test_occluding_clips_hide_a_quarter_to_two_fifths(frames):
    hidden = []
    for index in range(8):
        clip = clips(ClipSettings.occluding(frames, noise=0.0, compression=0.0), seed=5).clip(index)
        _, visible = clip.tracks(clip.sample_points(np.random.default_rng(index), 200), 0)
        hidden.append((~visible[:, 1:]).mean())
    assert 0.25 <= np.mean(hidden) <= 0.40


def test_photometric_effects_change_colours_not_motion():
    plain = ClipSettings.clean(frames=4, **SMALL)
    noisy = dataclasses.replace(plain, noise=5.0, shot_noise=0.05, light=0.5, flicker=0.1, compression=1.0)
    first, second = clips(plain).clip(3), clips(noisy).clip(3)
    np.testing.assert_array_equal(first.layer, second.layer)
    np.testing.assert_array_equal(first.flow(0, 3)[0], second.flow(0, 3)[0])
    assert np.abs(first.frames.astype(int) - second.frames).mean() > 1


def test_compression_does_not_swap_colours():
    class Red:
        def sample(self, rng, height, width):
            return np.full((height, width, 3), (200, 30, 60), np.uint8)

    settings = dataclasses.replace(ClipSettings.clean(frames=1, **SMALL), compression=1.0)
    clip = render_clip(settings, Red(), np.random.default_rng(0))
    assert np.abs(clip.frames.astype(int) - (200, 30, 60)).max() <= 6


def test_balanced_points_reach_small_layers():
    clip = clips(ClipSettings(layers=(3, 3), radius=(0.1, 0.1), static=1.0, **SMALL)).clip(1)
    shown = np.unique(clip.layer[0])
    assert shown.size > 1
    points = clip.sample_points(np.random.default_rng(0), 4000, balanced=1.0)
    found = clip.layer[0][points[:, 1].astype(int), points[:, 0].astype(int)]
    counts = np.array([(found == layer).sum() for layer in shown])
    np.testing.assert_allclose(counts, 4000 / shown.size, rtol=0.15)
    assert clip.sample_points(np.random.default_rng(0), 0).shape == (0, 2)


def test_questions_outside_the_clip_are_refused():
    clip = clips(ClipSettings(frames=2, **SMALL)).clip(0)
    with pytest.raises(InputError, match="frames 0 to 1"):
        clip.flow(0, 2)
    with pytest.raises(InputError, match=r"\(128, 5\) lies outside the 128x96"):
        clip.tracks(np.array([[3.0, 3.0], [128.0, 5.0]]), 0)
    with pytest.raises(InputError, match=r"\(N, 2\) expected"):
        clip.tracks(np.zeros((2, 3)), 0)
    assert clip.tracks(np.zeros((0, 2)), 0)[0].shape == (0, 2, 2)


@pytest.mark.parametrize(
    ("field", "value"),
    [("frames", 0), ("size", (8, 100)), ("layers", (3, 2)), ("speed", (0.0, 1.0)), ("nonrigid", 0.9),
     ("static", 1.5), ("quality", (0, 50)), ("noise", -1.0), ("exposure", (0.5, 1.5)), ("radius", (0.0, 0.1))],
)  # fmt: skip
def test_impossible_settings_name_the_field(field, value):
    with pytest.raises(InputError, match=field):
        ClipSettings(**{field: value})


def test_plain_surfaces_have_next_to_no_texture() -> None:
    def detail(plain: float) -> float:
        clips = SyntheticClips(ClipSettings.clean(1, size=(64, 64), layers=(0, 0), plain=plain), seed=5)
        frames = np.stack([clips.clip(index).frames[0] for index in range(6)]).astype(float)
        return float(np.abs(np.diff(frames, axis=2)).mean())

    assert detail(1.0) < 0.25 * detail(0.0)
