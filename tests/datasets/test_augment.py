"""Augmentation: points and flow stay with the pixels, whatever the view."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from samepoint.datasets.augment import (
    Augmentation,
    View,
    augment_batch,
    augment_clip,
    draw_view,
    gaussian_blur,
    recolour,
)
from samepoint.errors import InputError

SOURCE = (40, 60)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def ramps(size: tuple[int, int] = SOURCE) -> torch.Tensor:
    """A frame (1, 2, H, W) float64 whose channels are the raster x and y of the pixel's centre."""
    y, x = torch.meshgrid(
        torch.arange(size[0], dtype=torch.float64) + 0.5,
        torch.arange(size[1], dtype=torch.float64) + 0.5,
        indexing="ij",
    )
    return torch.stack([x, y])[None]


def centres(size: tuple[int, int]) -> torch.Tensor:
    return ramps(size)[0].permute(1, 2, 0)


@st.composite
def views(draw, source: tuple[int, int] = SOURCE) -> View:
    height, width = draw(st.integers(8, source[0])), draw(st.integers(8, source[1]))
    top, left = draw(st.integers(0, source[0] - height)), draw(st.integers(0, source[1] - width))
    size = (draw(st.integers(8, 50)), draw(st.integers(8, 50)))
    return View(top, left, height, width, size, draw(st.booleans()))


@settings(max_examples=20)
@given(view=views())
def test_points_stay_with_the_pixels(view) -> None:
    """What a pixel of the view shows is its own raster position in the source, as far as antialias keeps ramps."""
    shown = view.frames(ramps())[0].permute(1, 2, 0)
    back = view.points(shown)
    reach = 1 + math.ceil(max(view.size[0] / view.height, view.size[1] / view.width))  # borders are not linear
    inner = (slice(reach, -reach or None), slice(reach, -reach or None))
    torch.testing.assert_close(back[inner], centres(view.size)[inner], atol=0.1, rtol=0)
    kept = View(view.top, view.left, view.height, view.width, (view.height, view.width), view.mirrored)
    exact = kept.points(kept.frames(ramps())[0].permute(1, 2, 0))
    torch.testing.assert_close(exact, centres(kept.size), atol=1e-9, rtol=0)


@settings(max_examples=20)
@given(view=views(), numbers=st.lists(st.floats(-0.04, 0.04), min_size=4, max_size=4))
def test_flow_leads_where_the_points_go(view, numbers) -> None:
    """Affine motion is exact under bilinear sampling: start plus flow is the moved point's place in the view."""
    matrix = torch.tensor(numbers, dtype=torch.float64).reshape(2, 2)
    flow = centres(SOURCE) @ matrix + torch.tensor([1.5, -2.0], dtype=torch.float64)
    seen, valid = view.flow(flow)
    at = centres(view.size)
    if view.mirrored:
        at[..., 0] = view.size[1] - at[..., 0]
    start = at / at.new_tensor(view.scale) + torch.tensor([view.left, view.top])
    expected = view.points(start + start @ matrix + torch.tensor([1.5, -2.0], dtype=torch.float64))
    got = centres(view.size) + seen
    reach = 1 + math.ceil(max(view.size[0] / view.height, view.size[1] / view.width))
    inner = (slice(reach, -reach or None), slice(reach, -reach or None))
    torch.testing.assert_close(got[inner], expected[inner], atol=1e-6, rtol=0)
    height, width = view.size
    inside = (got >= 0).all(-1) & (got[..., 0] < width) & (got[..., 1] < height)
    assert torch.equal(valid, inside)


def test_a_window_is_cut_out_exactly() -> None:
    frame = torch.randint(0, 256, (2, 3, 10, 12), dtype=torch.uint8, generator=generator())
    view = View(2, 3, 6, 8, (6, 8))
    assert torch.equal(view.frames(frame), frame[..., 2:8, 3:11])
    mirrored = View(2, 3, 6, 8, (6, 8), mirrored=True)
    assert torch.equal(mirrored.frames(frame), frame[..., 2:8, 3:11].flip(-1))
    assert mirrored.points(torch.tensor([[3.0, 2.0], [11.0, 8.0], [3.5, 2.5]])).tolist() == [[8, 0], [0, 6], [7.5, 0.5]]


def test_flow_by_hand() -> None:
    flow = torch.zeros(8, 8, 2)
    flow[:, 4:] = torch.tensor([6.0, 0.0])  # another motion on the right
    flow[0, 0] = math.nan
    valid = torch.ones(8, 8, dtype=torch.bool)
    valid[7, 1] = False
    halved, holds = View(0, 0, 8, 8, (4, 4)).flow(flow, valid)
    assert halved[1, 0].tolist() == [0, 0]
    assert halved[1, 3].tolist() == [3, 0]
    assert torch.isnan(halved[0, 0]).all()
    assert holds.tolist() == [
        [False, True, False, False],  # not known; the right half leads out of the view
        [True, True, False, False],
        [True, True, False, False],
        [False, True, False, False],
    ]
    mirrored, _ = View(0, 0, 8, 8, (8, 8), mirrored=True).flow(flow)
    assert mirrored[3, 0].tolist() == [-6, 0]
    # Where both motions meet a pixel between them has neither.
    between, holds = View(0, 0, 8, 7, (8, 14)).flow(flow)
    assert torch.isnan(between[3, 8]).all()
    assert not holds[3, 8]
    assert between[3, 5].tolist() == [0, 0]


@pytest.mark.parametrize("source", [(90, 160), (120, 160), (160, 90), (31, 300)])
def test_views_are_what_was_asked_for(source) -> None:
    asked = Augmentation(size=(16, 16), area=(0.6, 0.9), aspect=(1.5, 2.0))
    draw = generator(1)
    boxes = [draw_view(source, asked, draw) for _ in range(200)]
    for view in boxes:
        assert view.top >= 0
        assert view.left >= 0
        assert view.top + view.height <= source[0]
        assert view.left + view.width <= source[1]
        assert 1.4 < view.width / view.height < 2.1
    assert 60 < sum(view.mirrored for view in boxes) < 140
    if source == (90, 160):
        shares = [view.height * view.width / (90 * 160) for view in boxes]
        assert min(shares) > 0.59
        assert max(shares) < 0.91
        assert max(shares) - min(shares) > 0.25
        assert len({(view.top, view.left) for view in boxes}) > 50


def test_a_window_must_fit() -> None:
    with pytest.raises(InputError, match="frames of 60x40 are too small for a window of 256x256"):
        draw_view(SOURCE, Augmentation.fgvc_flow(), generator())
    places = {draw_view((5, 4), Augmentation(size=(4, 4), area=None), generator(seed)).top for seed in range(20)}
    assert places == {0, 1}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"area": (0.0, 1.0)}, "area: "),
        ({"aspect": (2.0, 1.0)}, "aspect: "),
        ({"flip": 1.5}, "flip: 1.5 given, 0 to 1 expected"),
        ({"sigma": (0.0, 1.0)}, "sigma: "),
        ({"hue": 0.7}, "hue: "),
        ({"contrast": 1.0}, "contrast: "),
        ({"size": (0, 4)}, "size: "),
    ],
)
def test_bad_settings(changes, message) -> None:
    with pytest.raises(InputError, match=message):
        Augmentation(**changes)


def test_published_blur_is_invisible_and_a_real_one_is_not() -> None:
    clip = torch.randint(0, 256, (2, 3, 20, 20), dtype=torch.uint8, generator=generator())
    for low, high, changed in ((0.1, 0.2, False), (1.5, 2.0, True)):
        blurred = recolour(clip, Augmentation(blur=1.0, sigma=(low, high)), generator())
        assert blurred.dtype == torch.uint8
        assert (not torch.equal(blurred, clip)) == changed


def test_blur_of_a_dot() -> None:
    dot = torch.zeros(1, 1, 41, 41, dtype=torch.float64)
    dot[..., 20, 20] = 1
    blurred = gaussian_blur(dot, 2.0)[0, 0]
    assert blurred.sum().item() == pytest.approx(1)
    offset = torch.arange(41, dtype=torch.float64) - 20
    assert (blurred.sum(0) * offset**2).sum().item() == pytest.approx(4, rel=0.03)  # the variance
    assert (blurred.sum(1) * offset).sum().item() == pytest.approx(0, abs=1e-9)


def test_changes_of_colour() -> None:
    clip = torch.rand(3, 3, 6, 6, generator=generator(), dtype=torch.float64) * 0.5 + 0.25
    none = Augmentation(jitter=1.0, brightness=0, contrast=0, saturation=0, hue=0)
    torch.testing.assert_close(recolour(clip, none, generator()), clip, atol=1e-9, rtol=0)
    grey = clip[:, :1].expand(-1, 3, -1, -1)
    turned = recolour(grey, Augmentation(jitter=1.0, brightness=0, contrast=0, hue=0.5), generator())
    torch.testing.assert_close(turned, grey, atol=1e-3, rtol=0)  # grey has no hue
    assert not torch.allclose(recolour(clip, Augmentation(jitter=1.0), generator()), clip, atol=0.01)


def test_one_draw_for_all_frames_or_one_each() -> None:
    still = torch.randint(0, 256, (1, 3, 24, 32), dtype=torch.uint8, generator=generator()).expand(4, -1, -1, -1)
    asked = {"size": (16, 16), "aspect": (0.8, 1.6), "blur": 0.5, "jitter": 0.8}
    together = augment_clip(still, Augmentation(**asked), generator(3))
    assert together.shape == (4, 3, 16, 16)
    assert all(torch.equal(frame, together[0]) for frame in together)
    for each in ({"same_view": False}, {"same_colour": False}):
        apart = augment_clip(still, Augmentation(**asked, **each), generator(3))
        assert any(not torch.equal(frame, apart[0]) for frame in apart)


def test_clips_of_a_batch_have_draws_and_sizes_of_their_own() -> None:
    clips = [*torch.randint(0, 256, (2, 3, 24, 32), dtype=torch.uint8, generator=generator()).expand(2, -1, -1, -1, -1)]
    clips.append(clips[0][..., :28])
    asked = Augmentation(size=(16, 16), blur=0.5, jitter=0.5)
    first = augment_batch(clips, asked, [generator(seed) for seed in (5, 6, 7)])
    assert first.shape == (3, 2, 3, 16, 16)
    for made, clip, seed in zip(first, clips, (5, 6, 7), strict=True):
        assert torch.equal(made, augment_clip(clip, asked, generator(seed)))
    assert not torch.equal(first[0], first[1])
