"""Masks through videos: the streaming contract, soft labels, later objects, and rendered clips as the truth."""

from __future__ import annotations

import gc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from samepoint import Masks, MaskTracker, Video, segment
from samepoint.correspondence import Window
from samepoint.datasets.synthetic import ClipSettings, ProceduralTextures, SyntheticClips
from samepoint.errors import InputError
from samepoint.geometry import Lattice
from samepoint.io.masks import write_mask
from samepoint.models.matcher import Matcher, MatcherConfig
from samepoint.models.resnet import ResNet
from samepoint.tracking import MASK_PROTOCOLS, MaskSettings
from samepoint.tracking.mask_tracker import MaskState
from samepoint.tracking.masks import chosen_companion
from samepoint.tracking.propagated_masks import Cells, Grid, PropagatedMasks
from samepoint.tracking.resample import averaged_down, cells_from_pixels, pixels_from_cells
from tests.tracking.test_tracker import Pixels

ALONE = MaskSettings(fast_window=None, trusted=None, own_window=None)
PLAIN = replace(ALONE, size=None, strides=(1,), context=2, window=Window.circle(4), topk=3, fill=False)
NEAREST = replace(PLAIN, topk=1)
SIZE = (20, 28)


def noise(seed: int = 0, size: tuple[int, int] = SIZE) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)


def still(count: int) -> np.ndarray:
    return np.repeat(noise()[None], count, axis=0)


def box(top: int, bottom: int, left: int, right: int, label: int = 1) -> np.ndarray:
    mask = np.zeros(SIZE, np.uint8)
    mask[top:bottom, left:right] = label
    return mask


def tracker(chosen: MaskSettings = PLAIN) -> MaskTracker:
    return MaskTracker(Pixels(), chosen, dtype=torch.float32)


def iou(first: np.ndarray, second: np.ndarray) -> float:
    union = (first | second).sum()
    return float((first & second).sum() / union) if union else 1.0


def test_a_still_picture_keeps_its_mask_to_the_pixel() -> None:
    mask = box(3, 9, 4, 15) + box(10, 18, 20, 26, label=7)
    masks = segment(still(12), mask, model=Pixels(), settings=PLAIN, dtype=torch.float32)
    assert (masks.labels == mask).all()
    assert masks.objects == (1, 7)


def test_a_mask_goes_where_its_pixels_go() -> None:
    wide = noise(size=(20, 60))
    clip = np.stack([wide[:, 30 - 2 * t : 58 - 2 * t] for t in range(8)])
    masks = segment(clip, box(4, 15, 2, 9), model=Pixels(), settings=NEAREST, dtype=torch.float32)
    for t in range(8):
        known = slice(2 * t, None)  # what comes in at the left was never seen
        assert (masks.labels[t, :, known] == box(4, 15, 2 + 2 * t, 9 + 2 * t)[:, known]).all(), t


def test_streaming_is_the_same_as_all_at_once() -> None:
    clip = np.stack([noise(t) for t in range(7)])
    later = box(0, 6, 20, 28, label=3)
    whole = segment(clip, {0: box(3, 9, 4, 15), 4: later}, model=Pixels(), settings=PLAIN, dtype=torch.float32)
    stream = tracker()
    stream.add(box(3, 9, 4, 15))
    for t, frame in enumerate(clip):
        labels = stream.step(frame)
        if t == 4:
            stream.add(later)
            labels = stream.labels()
        assert (labels == whole.labels[t]).all(), t


@pytest.mark.parametrize("settings", [PLAIN, *MASK_PROTOCOLS.values()])
def test_soft_labels_sum_to_one(settings: MaskSettings) -> None:
    chosen = replace(settings, size=None, strides=(1,), window=Window.circle(3), first_window=None)
    stream = tracker(chosen)
    stream.add(box(3, 9, 4, 15) + box(12, 18, 3, 8, label=200))
    for t in range(6):
        stream.step(noise(t))
        if t == 3:
            stream.add(box(6, 14, 10, 20, label=5))
        assert stream.soft.shape == (1 + len(stream.objects), *SIZE)
        assert stream.soft.sum(0) == pytest.approx(1, abs=1e-5)
        assert stream.soft.min() >= 0
    assert stream.objects == (1, 5, 200)


def test_frames_before_the_first_mask_are_background_and_cost_nothing() -> None:
    class Counted(Pixels):
        seen = 0

        def features(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
            Counted.seen += 1
            return super().features(x)

    stream = MaskTracker(Counted(), PLAIN, dtype=torch.float32)
    stream.add(box(3, 9, 4, 15), frame=2)
    assert not stream.step(noise()).any()
    assert not stream.step(noise()).any()
    assert Counted.seen == 0
    assert (stream.step(noise()) == box(3, 9, 4, 15)).all()


def test_an_object_that_comes_later_leaves_the_others_alone() -> None:
    first, second = box(3, 9, 4, 12), box(12, 18, 16, 25, label=2)
    masks = segment(still(8), {0: first, 3: second}, model=Pixels(), settings=PLAIN, dtype=torch.float32)
    assert (masks.labels[:3] == first).all()
    assert (masks.labels[3:] == first + second).all()


def test_an_object_that_was_in_sight_before_it_was_given_is_not_background_there() -> None:
    stream = tracker(NEAREST)
    stream.add(box(3, 9, 4, 12))
    for _ in range(3):
        stream.step(noise())
    stream.add(box(12, 18, 16, 25, label=2))
    anchor = stream._method.anchors[0]
    assert anchor.frame == 0
    assert (anchor.labels.argmax(0).numpy() == (box(3, 9, 4, 12) + box(12, 18, 16, 25, label=2))).all()
    assert anchor.labels.sum(0).numpy() == pytest.approx(1, abs=1e-5)


def test_one_given_later_takes_nothing_from_masks_given_before() -> None:
    """It stands where another stood and is hidden now; when that comes back, it is still itself."""
    empty = noise()
    hidden, back = empty.copy(), empty.copy()
    hidden[3:9, 4:12] = noise(1)[3:9, 4:12]
    stream = tracker(NEAREST)
    stream.add(box(3, 9, 4, 12))
    for frame in (empty, hidden, hidden):
        stream.step(frame)
    stream.add(box(3, 9, 4, 12, label=2))
    anchor = stream._method.anchors[0]
    assert (anchor.labels.argmax(0).numpy() == box(3, 9, 4, 12)).all()
    assert anchor.labels.sum(0).numpy() == pytest.approx(1, abs=1e-5)
    assert (stream.step(back) == box(3, 9, 4, 12)).all()


def test_what_a_correction_leaves_goes_to_nobody_who_had_no_share_in_it() -> None:
    method, cells = PropagatedMasks(PLAIN), Cells(torch.ones(1, 1, 3))
    method.give(0, cells, {1: torch.tensor([[1.0, 1, 0]]), 2: torch.tensor([[0.0, 0, 1]])})
    method.soft = torch.tensor([[0.002, 0.3, 0], [0.997, 0.4, 0], [0.001, 0.3, 1]])[:, None]
    method.now = method.anchors[-1]
    labels = method.give(0, cells, {1: torch.zeros(1, 3)})
    torch.testing.assert_close(labels[:, 0], torch.tensor([[1.0, 0.5, 0], [0, 0, 0], [0, 0.5, 1]]))


def test_a_mask_of_another_size_can_be_given_anew() -> None:
    stream = tracker()
    stream.add(np.ones((4, 4), np.uint8))
    with pytest.raises(InputError, match="mask of frame 0: is 4x4, but the frames are 28x20"):
        stream.step(noise())
    stream.add(box(3, 9, 4, 12))
    assert (stream.step(noise()) == box(3, 9, 4, 12)).all()


def test_a_second_mask_of_an_object_replaces_the_first() -> None:
    masks = segment(
        still(6), {0: box(3, 9, 4, 12), 2: box(5, 15, 14, 20)}, model=Pixels(), settings=PLAIN, dtype=torch.float32
    )
    assert (masks.labels[:2] == box(3, 9, 4, 12)).all()
    assert (masks.labels[2:] == box(5, 15, 14, 20)).all()


def test_two_masks_of_one_frame_are_laid_over_each_other() -> None:
    stream = tracker()
    stream.add(box(3, 9, 4, 12))
    stream.step(noise())
    stream.add(box(6, 14, 8, 20, label=2))
    wanted = np.where(box(6, 14, 8, 20) > 0, 2, box(3, 9, 4, 12))
    assert (stream.labels() == wanted).all()
    stream.add(box(0, 2, 0, 4, label=3))
    assert (stream.labels() == np.where(box(0, 2, 0, 4) > 0, 3, wanted)).all()
    assert (stream.step(noise()) == stream.labels()).all()


def test_a_mask_may_be_bool_or_a_file(tmp_path) -> None:
    mask = box(3, 9, 4, 12)
    write_mask(tmp_path / "mask.png", mask)
    for given_as in (mask > 0, mask.astype(np.int64), tmp_path / "mask.png", str(tmp_path / "mask.png")):
        assert (segment(still(2), given_as, model=Pixels(), settings=NEAREST, dtype=torch.float32).labels == mask).all()


def test_memory_is_bounded_by_window_and_objects() -> None:
    stream = tracker()
    stream.add(box(3, 9, 4, 12))

    def tensors() -> int:
        gc.collect()
        return sum(1 for each in gc.get_objects() if issubclass(type(each), torch.Tensor))

    counts = []
    for t in range(14):
        stream.step(noise(t))
        stream.add(box(3, 9, 4, 12) + box(12, 18, 3, 8, label=2))  # again and again: no more anchors than objects
        stream.step(noise(t + 100))
        if t in (3, 13):
            counts.append(tensors())
        assert len(stream._method.anchors) <= 2
        assert len(stream._method.recent) <= PLAIN.context
    assert counts[1] <= counts[0]


@pytest.mark.parametrize("coarse", [None, 2])
def test_maps_written_over_those_that_left_the_memory_change_nothing(
    coarse: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = [noise(t) // 8 + noise(0) // 2 for t in range(11)]

    def followed() -> tuple[list[np.ndarray], set[int]]:
        stream, found, places = tracker(replace(PLAIN, coarse=coarse)), [], set()
        stream.add(box(3, 9, 4, 15))
        stream.add(box(12, 18, 3, 8, label=2), frame=4)
        for frame in clip:
            found.append(stream.step(frame))
            assert stream._cells is not None
            places.add(stream._cells.fine.data_ptr())
        return found, places

    ours, places = followed()
    # Those in memory before and after the second object is given, two anchors, one that is spare.
    assert len(places) <= 2 * PLAIN.context + 3 < len(clip)
    monkeypatch.setattr(
        PropagatedMasks, "kept", lambda self, cells: Cells(*(e if e is None else e.clone() for e in cells))
    )
    for one, other in zip(ours, followed()[0], strict=True):
        np.testing.assert_array_equal(one, other)


def test_restored_from_its_state_it_goes_on_exactly() -> None:
    clip = [noise(t) // 8 + noise(0) // 2 for t in range(9)]
    whole, part = tracker(), tracker()
    for each in (whole, part):
        each.add(box(3, 9, 4, 15))
        each.add(box(12, 18, 3, 8, label=2), frame=2)
    for stop in range(5):
        assert (whole.step(clip[stop]) == part.step(clip[stop])).all()
    resumed = tracker()
    resumed.restore(part.state(), lambda index: clip[index])
    assert (resumed.labels() == part.labels()).all()
    assert resumed.objects == (1, 2)
    for frame in clip[5:]:
        assert (resumed.step(frame) == whole.step(frame)).all()
        assert (resumed.soft == whole.soft).all()


def test_a_mask_given_in_the_frame_of_a_state_is_kept_to_the_pixel(tmp_path: Path) -> None:
    clip = [noise(t) // 8 + noise(0) // 2 for t in range(3)]
    mask = box(3, 9, 4, 15)
    mask[5, 9], mask[0, 0] = 0, 1  # single pixels, which no reading of soft labels gives back
    stream = tracker()
    stream.add(box(12, 18, 3, 8, label=2))
    stream.step(clip[0])
    stream.step(clip[1])
    stream.add(np.asfortranarray(mask))
    stream.state().save(tmp_path / "state.safetensors")
    resumed = tracker()
    resumed.restore(MaskState.load(tmp_path / "state.safetensors"), lambda index: clip[index])
    assert (resumed.labels()[mask > 0] == 1).all()
    assert (resumed.labels() == stream.labels()).all()
    assert (resumed.step(clip[2]) == stream.step(clip[2])).all()
    stream.state().save(tmp_path / "state.safetensors")
    assert MaskState.load(tmp_path / "state.safetensors").mask is None


def test_a_state_without_objects_can_be_restored() -> None:
    before = tracker()
    before.step(noise(0))
    resumed = tracker()
    resumed.restore(before.state(), lambda index: noise(index))
    resumed.add(box(3, 9, 4, 15))
    assert (resumed.labels() == box(3, 9, 4, 15)).all()
    assert resumed.step(noise(0)).any()


@pytest.mark.parametrize(
    ("mask", "frame", "message"),
    [
        (np.zeros(SIZE, np.uint8), 0, "mask of frame 0: no object in it"),
        (np.full(SIZE, 255), 0, "label 255; objects have the labels 1 to 254"),
        (np.full(SIZE, -1), 0, "label -1"),
        (np.ones(SIZE), 0, "expected whole numbers or bool, got float64"),
        (np.ones((4, 4, 3), bool), 0, r"expected labels of the shape \(H, W\)"),
        (np.ones((4, 4), bool), 0, "mask of frame 0: is 4x4, but the frames are 28x20"),
        (np.ones(SIZE, bool), 9, r"mask of frame 9: no such frame; the video has 3 frames \(0..2\)"),
        (np.ones(SIZE, bool), -1, "mask of frame -1: no such frame"),
    ],
)
def test_masks_that_cannot_be_used(mask: np.ndarray, frame: int, message: str) -> None:
    with pytest.raises(InputError, match=message):
        segment(still(3), {frame: mask}, model=Pixels(), settings=PLAIN)


def test_other_mistakes() -> None:
    with pytest.raises(InputError, match="no mask to follow"):
        segment(still(3), {}, model=Pixels(), settings=PLAIN)
    stream = tracker()
    stream.step(noise())
    stream.step(noise())
    with pytest.raises(InputError, match="its frame 0 has passed; the last stepped is 1"):
        stream.add(box(3, 9, 4, 12), frame=0)
    with pytest.raises(InputError, match="frame 2 is 5x4, those before 28x20"):
        stream.step(np.zeros((4, 5, 3), np.uint8))
    with pytest.raises(InputError, match="strides: 3 wanted, but the network has maps of stride 2"):
        MaskTracker(ResNet.fgvc(), MaskSettings(strides=(3,)))
    with pytest.raises(InputError, match="context"):
        MaskSettings(context=-1)
    with pytest.raises(InputError, match="strides: 4 given; a tuple"):
        MaskSettings(strides=4)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"size: \[480, 640\] given; a short side"):
        MaskSettings(size=[480, 640])  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"mask of frame 1\.5: a whole number expected"):
        segment(still(3), {0: box(3, 9, 4, 12), 1.5: box(3, 9, 4, 12)}, model=Pixels(), settings=PLAIN)  # type: ignore[dict-item]
    blind = replace(PLAIN, appearance=0)
    with pytest.raises(InputError, match=r"companion: given, but has no say; settings\.appearance is 0"):
        segment(still(3), box(3, 9, 4, 12), model=Pixels(), settings=blind, companion="samepoint-match")


def test_a_matcher_is_a_companion_by_the_encoder_it_compares_by() -> None:
    matcher = Matcher(MatcherConfig()).eval()
    assert chosen_companion(matcher, Pixels()) is matcher.hypercolumn.network
    network = Pixels()
    assert chosen_companion(network, "samepoint-base") is network


def test_a_mask_beyond_a_live_source_is_told_at_its_end() -> None:
    video = Video(still(2))
    object.__setattr__(video, "is_live", True)
    object.__setattr__(video, "_range", None)
    with pytest.raises(InputError, match="mask of frame 5: the video has 2 frames"):
        segment(video, {0: box(3, 9, 4, 12), 5: box(3, 9, 4, 12)}, model=Pixels(), settings=PLAIN)


@pytest.mark.parametrize("name", ["samepoint", "fgvc", "crw", "spa-then-temp", "spa-then-temp-stride4"])
def test_every_protocol_runs_on_every_network(name: str) -> None:
    torch.manual_seed(0)
    mask = np.zeros((40, 56), np.uint8)
    mask[8:30, 10:40] = 4
    chosen = replace(MASK_PROTOCOLS[name], size=None)
    masks = segment(noise(size=(40, 56))[None].repeat(3, 0), mask, model=ResNet.fgvc(), settings=chosen)
    assert iou(masks.labels[2] == 4, mask == 4) > 0.35
    assert masks.size == (40, 56)


def test_crw_fills_its_memory_with_the_first_frame() -> None:
    stream = tracker(replace(PLAIN, fill=True, context=4))
    stream.add(box(3, 9, 4, 12))
    keys: list[int] = []
    inner = stream._method._propagated
    stream._method._propagated = lambda f, known, windows: (  # type: ignore[method-assign]
        keys.extend(key.frame for key in known) or inner(f, known, windows)
    )
    stream.step(noise())
    stream.step(noise())
    stream.step(noise())
    assert keys == [0, 0, 0, 0, 0, 0, 0, 0, 0, 1]


class TestGrid:
    lattices = (Lattice(16), Lattice(8), Lattice(4))

    def test_takes_the_map_of_that_stride(self) -> None:
        maps = [torch.rand(2, 4, 6), torch.rand(3, 8, 12), torch.rand(4, 16, 24)]
        assert (Grid(self.lattices, (8,))(maps) == maps[1]).all()

    def test_puts_maps_side_by_side(self) -> None:
        maps = [torch.rand(2, 4, 6), torch.rand(3, 8, 12), torch.rand(4, 16, 24)]
        grid = Grid(self.lattices, (16, 4))
        merged = grid(maps)
        assert merged.shape == (6, 16, 24)
        assert grid.lattice == Lattice(4)
        assert merged[:2, ::4, ::4] == pytest.approx(torch.nn.functional.normalize(maps[0], dim=0).numpy(), abs=1e-6)

    def test_averages_a_finer_map_down(self) -> None:
        grid = Grid((Lattice(2),), (8,))
        flat = torch.nn.functional.normalize(torch.ones(3, 9, 13), dim=0)
        out = grid([flat])
        assert out.shape == (3, 3, 4)
        assert out.numpy() == pytest.approx(flat[:, :3, :4].numpy())


@settings(max_examples=40)
@given(st.integers(1, 8), st.integers(9, 60), st.integers(9, 60), st.sampled_from([0.5, 2.0]))
def test_matrices_average_and_keep_straight_lines_straight(stride: int, work: int, pixels: int, offset: float) -> None:
    lattice = Lattice(stride, offset)
    cells = max(2, -(-work // stride)) + 1  # a network that pads its input has some beyond the picture
    into = cells_from_pixels(lattice, cells, work, pixels)
    back = pixels_from_cells(lattice, cells, work, pixels)
    assert back.sum(1).numpy() == pytest.approx(1, abs=1e-5)
    place = (torch.arange(pixels) + 0.5) * work / pixels
    centres = lattice.to_pixels(torch.arange(cells).float())
    inside = (place >= centres[0]) & (place <= centres[-1])
    assert (back @ centres)[inside].numpy() == pytest.approx(place[inside].numpy(), abs=1e-3)
    assert into.sum(1).numpy() == pytest.approx(1, abs=1e-5)
    half = max(stride, work / pixels) / 2
    whole = (centres - half >= 0) & (centres + half <= work)
    assert (into @ place)[whole].numpy() == pytest.approx(centres[whole].numpy(), abs=0.13 * work / pixels)
    if centres[-1] - stride / 2 >= work:
        assert into[-1].tolist() == [0] * (pixels - 1) + [1]


def test_averaging_down_keeps_the_cells_where_they_are() -> None:
    lattice, matrix = averaged_down(Lattice(2), 20, 8)
    assert lattice == Lattice(8)
    places = matrix @ Lattice(2).to_pixels(torch.arange(20.0))
    assert places[1:].numpy() == pytest.approx(lattice.to_pixels(torch.arange(5.0))[1:].numpy())


def test_rendered_clips_as_the_truth() -> None:
    """The shipped model on a clip whose layers are known; copying the first mask scores below half of it."""
    chosen = ClipSettings.clean(
        frames=10, size=(96, 128), layers=(2, 2), radius=(0.25, 0.35), speed=(2.0, 3.0), limbs=0
    )
    scores, copies = [], []
    for index in (1, 3):
        clip = SyntheticClips(chosen, ProceduralTextures(), seed=3).clip(index)
        truth = clip.layer.astype(np.uint8)
        masks = segment(clip.frames, truth[0], dtype=torch.float32, settings=MaskSettings(size=192))
        for label in np.unique(truth[0])[1:]:
            scores += [iou(masks.labels[t] == label, truth[t] == label) for t in range(1, 10)]
            copies += [iou(truth[0] == label, truth[t] == label) for t in range(1, 10)]
    assert np.mean(scores) > 0.85
    assert np.mean(scores) > np.mean(copies) + 0.1
    assert isinstance(masks, Masks)
