"""The renderer's inner loops against slow, obvious ones."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from samepoint.datasets.synthetic.kernels import (
    PAD,
    alphas,
    develop,
    draw_layer,
    frame_positions,
    texture_positions,
)

NO_MASK = np.zeros((0, 0), np.uint8)


def slow_texture_positions(points, affine, waves, bend, centre):
    """The formula at the head of motion.py, one point at a time."""
    out = []
    for p in points:
        c = affine[:, :2] @ p + affine[:, 2]
        z = c + sum(w[:2] * np.sin(w[2:4] @ c + w[4]) for w in waves)
        out.append(z / (1 + bend @ z) + centre)
    return np.array(out)


def slow_cubic(texture, u, v):
    """Catmull-Rom by its textbook kernel over all texture pixels nearby, mirrored."""

    def kernel(x):
        x = abs(x)
        return 1.5 * x**3 - 2.5 * x**2 + 1 if x < 1 else (-0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x < 2 else 0.0)

    def mirror(i, n):
        i %= 2 * n
        return i if i < n else 2 * n - 1 - i

    total = np.zeros(3)
    for i in range(int(np.floor(v)) - 2, int(np.floor(v)) + 4):
        for j in range(int(np.floor(u)) - 2, int(np.floor(u)) + 4):
            pixel = texture[mirror(i, texture.shape[0]), mirror(j, texture.shape[1])].astype(float)
            total += kernel(u - j) * kernel(v - i) * pixel
    return total


def laid_out(texture):
    padded = cv2.copyMakeBorder(cv2.cvtColor(texture, cv2.COLOR_RGB2RGBA), PAD, PAD, PAD, PAD, cv2.BORDER_REFLECT)
    return padded.reshape(padded.shape[0], -1)


def random_map(rng, strain=0.4, tilt=0.002):
    angle, scale = rng.uniform(0, 2 * np.pi), np.exp(rng.uniform(-0.5, 0.5))
    affine = np.zeros((2, 3))
    affine[:, :2] = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    affine[:, 2] = rng.uniform(-30, 30, 2)
    waves = np.zeros((3, 5))
    length = rng.uniform(20, 100, 3)
    heading, towards = rng.uniform(0, 2 * np.pi, (2, 3))
    share = rng.dirichlet(np.ones(3)) * strain * length / (2 * np.pi)
    waves[:, :2] = share[:, None] * np.stack([np.cos(towards), np.sin(towards)], 1)
    waves[:, 2:4] = (2 * np.pi / length)[:, None] * np.stack([np.cos(heading), np.sin(heading)], 1)
    waves[:, 4] = rng.uniform(0, 2 * np.pi, 3)
    return affine, waves, rng.uniform(-tilt, tilt, 2), rng.uniform(10, 30, 2)


def draw(texture, mask, size, mapping, late=None, index=0):
    colour = np.zeros((*size, 3), np.float32)
    light = np.ones(size, np.float32)
    label = np.full(size, -1, np.int16)
    affine, waves, bend, centre = mapping
    late = late or mapping
    box = (0, size[0], 0, size[1])
    draw_layer(
        colour, light, label, index, laid_out(texture), mask, box, affine, waves, bend, *late[:3], centre,
        late is not mapping,
    )  # fmt: skip
    return colour, light, label


def identity(height, width):
    """The map under which the texture covers the frame pixel for pixel."""
    affine = np.array([[1, 0, -width / 2], [0, 1, -height / 2]], float)
    return affine, np.zeros((3, 5)), np.zeros(2), np.array([width / 2, height / 2])


def test_texture_positions_follow_the_formula():
    rng = np.random.default_rng(0)
    for _ in range(5):
        mapping = random_map(rng)
        points = rng.uniform(0, 60, (20, 2))
        np.testing.assert_allclose(
            texture_positions(points, *mapping), slow_texture_positions(points, *mapping), atol=1e-9
        )


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=50)
def test_the_iterated_inverse_undoes_the_closed_form(seed):
    rng = np.random.default_rng(seed)
    affine, waves, bend, centre = random_map(rng, strain=0.5)
    back = np.linalg.inv(np.vstack([affine, [0, 0, 1]]))[:2]
    points = rng.uniform(-40, 100, (50, 2))
    surface = texture_positions(points, affine, waves, bend, centre)
    np.testing.assert_allclose(frame_positions(surface, back, waves, bend, centre), points, atol=1e-6)


def test_rendered_pixels_are_the_texture_at_the_mapped_positions():
    rng = np.random.default_rng(1)
    texture = rng.integers(0, 256, (23, 31, 3)).astype(np.uint8)
    for _ in range(3):
        mapping = random_map(rng)
        colour, light, label = draw(texture, NO_MASK, (12, 17), mapping)
        rows, cols = np.mgrid[:12, :17]
        points = np.stack([cols.ravel() + 0.5, rows.ravel() + 0.5], 1)
        where = slow_texture_positions(points, *mapping) - 0.5
        expected = np.array([slow_cubic(texture, u, v) for u, v in where]).reshape(12, 17, 3)
        np.testing.assert_allclose(colour, expected, atol=0.02)
        assert (label == 0).all()
        assert (light == 0).all()


def test_a_texture_under_the_identity_is_copied_and_an_integer_shift_moves_it():
    rng = np.random.default_rng(2)
    texture = rng.integers(0, 256, (20, 20, 3)).astype(np.uint8)
    affine, waves, bend, centre = identity(20, 20)
    colour, _, _ = draw(texture, NO_MASK, (20, 20), (affine, waves, bend, centre))
    np.testing.assert_allclose(colour, texture, atol=1e-3)
    # The texture moved right by three pixels: frame x looks up texture x - 3, mirrored at the left border.
    affine = affine + np.array([[0, 0, -3.0], [0, 0, 0]])
    colour, _, _ = draw(texture, NO_MASK, (20, 20), (affine, waves, bend, centre))
    np.testing.assert_allclose(colour[:, 3:], texture[:, :-3], atol=1e-3)
    np.testing.assert_allclose(colour[:, :3], texture[:, 2::-1], atol=1e-3)


def test_alpha_weighs_colour_and_a_half_claims_the_pixel():
    texture = np.full((8, 8, 3), 200, np.uint8)
    mask = np.zeros((8, 8), np.uint8)
    mask[2, 2:6] = 51, 127, 128, 255
    colour, light, label = draw(texture, mask, (8, 8), identity(8, 8), index=3)
    np.testing.assert_allclose(colour[2, 2:6, 0], 200 * np.array([51, 127, 128, 255]) / 255, atol=1e-3)
    np.testing.assert_allclose(light[2, 2:6], 1 - np.array([51, 127, 128, 255]) / 255, atol=1e-6)
    assert label[2].tolist() == [-1, -1, -1, -1, 3, 3, -1, -1]
    assert (light[3:] == 1).all()
    assert (label[3:] == -1).all()


def test_alpha_is_bilinear_and_zero_outside():
    mask = np.zeros((6, 6), np.uint8)
    mask[2, 2] = 255
    points = np.array([[2.5, 2.5], [3.0, 2.5], [3.0, 3.0], [3.5, 3.5], [-4.0, 2.0], [2.0, 60.0]])
    np.testing.assert_allclose(alphas(points, mask), [1, 0.5, 0.25, 0, 0, 0])


def test_motion_blur_averages_symmetrically_around_the_frame():
    x = np.arange(64)
    texture = np.repeat(np.repeat((3 * x)[None, :, None], 16, 0), 3, 2).astype(np.uint8)
    mapping = identity(16, 64)
    late = (mapping[0] + np.array([[0, 0, 5.0], [0, 0, 0]]), *mapping[1:])
    colour, _, label = draw(texture, NO_MASK, (16, 64), mapping, late)
    # A ramp blurred around its own position stays where it is; a blur to one side would shift it.
    np.testing.assert_allclose(colour[:, 8:-8], texture[:, 8:-8], atol=0.01)
    edge = np.zeros_like(texture)
    edge[:, 32:] = 200
    colour, _, _ = draw(edge, NO_MASK, (16, 64), mapping, late)
    assert 40 < colour[8, 29, 0] < 90
    assert colour[8, 29, 0] + colour[8, 34, 0] == pytest.approx(200, abs=0.5)
    assert (label == 0).all()


def plain(levels=1.0):
    """A tone curve that keeps the levels, and no noise."""
    curve = np.tile(np.arange(257, dtype=np.float32) * np.float32(levels), (3, 1))
    return curve, np.zeros_like(curve)


def test_developing_without_effects_only_rounds():
    colour = np.random.default_rng(3).uniform(-5, 260, (9, 7, 3)).astype(np.float32)
    out = np.empty((9, 7, 3), np.uint8)
    develop(colour, *plain(), np.zeros(4), np.zeros(4), np.uint64(1), out)
    np.testing.assert_array_equal(out, np.floor(np.clip(colour, 0, 255) + 0.5).astype(np.uint8))


def test_noise_has_the_given_deviation_and_no_mean():
    colour = np.full((128, 128, 3), 100, np.float32)
    curve, grain = plain()
    grain[:] = 8.0
    first, second = np.empty((2, 128, 128, 3), np.uint8)
    develop(colour, curve, grain, np.zeros(4), np.zeros(4), np.uint64(5), first)
    develop(colour, curve, grain, np.zeros(4), np.zeros(4), np.uint64(12345678901234567), second)
    for out in (first, second):
        error = out.astype(float) - 100
        assert error.mean() == pytest.approx(0, abs=0.15)
        assert error.std() == pytest.approx(8, rel=0.03)
        assert abs(np.corrcoef(error[:, :-1].ravel(), error[:, 1:].ravel())[0, 1]) < 0.02
        assert abs(np.corrcoef(error[..., 0].ravel(), error[..., 1].ravel())[0, 1]) < 0.03
    assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 0.02


def test_shading_and_shadow_multiply_the_light():
    colour = np.full((20, 30, 3), 100, np.float32)
    shading, shadow = np.array([0.3, 0.1, 0.05, 0.7]), np.array([0.4, 0.02, 0.15, 1.1])
    out = np.empty((20, 30, 3), np.uint8)
    develop(colour, *plain(), shading, shadow, np.uint64(0), out)
    y, x = np.mgrid[:20, :30]
    gain = 1 + 0.3 * np.sin(0.1 * (x + 0.5) + 0.05 * (y + 0.5) + 0.7)
    depth = np.clip(0.5 + 2 * np.sin(0.02 * (x + 0.5) + 0.15 * (y + 0.5) + 1.1), 0, 1)
    expected = 100 * gain * (1 - 0.4 * depth**2 * (3 - 2 * depth))
    assert np.abs(out[..., 0] - expected).max() <= 0.51
