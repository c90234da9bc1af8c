"""The streaming contract: which points are live when, where they are in the original frame, and what is refused."""

from __future__ import annotations

import gc

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from samepoint.errors import InputError
from samepoint.geometry import Lattice
from samepoint.models.network import PointNetwork
from samepoint.structures import Queries
from samepoint.tracking import PointTracker, PropagatedPoints, PropagationSettings
from samepoint.tracking.tracker import Method
from tests.models.test_network import TINY


class Pixels(nn.Module):
    """A network whose map is the picture itself."""

    lattices = (Lattice(1),)

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(1))

    def preprocess(self, frames: Tensor) -> Tensor:
        return frames.permute(0, 3, 1, 2).float()

    def features(self, x: Tensor) -> tuple[Tensor, ...]:
        return (x * self.gain,)


class Drift:
    """Moves every point by ``move`` pixels a frame, at the working resolution; says what it was given."""

    def __init__(self, move: tuple[float, float] = (1.0, 0.0), confidence: list[float] | None = None) -> None:
        self.move, self.confidence = torch.tensor(move), confidence
        self.xy = torch.zeros(0, 2)
        self.maps: tuple[Tensor, ...] = ()
        self.started: list[Tensor] = []

    def add(self, maps: tuple[Tensor, ...], xy: Tensor) -> None:
        self.maps = maps
        self.started.append(xy)
        self.xy = torch.cat([self.xy, xy])

    def step(self, maps: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        self.maps = maps
        self.xy = self.xy + self.move
        return self.xy, torch.tensor(self.confidence) if self.confidence else torch.ones(len(self.xy))

    def keep(self, mask: Tensor) -> None:
        self.xy = self.xy[mask]


def frames(count: int = 6, height: int = 24, width: int = 32, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, height, width, 3), dtype=np.uint8)


def drifting(method: Method | None = None, short_side: int | None = None) -> PointTracker:
    return PointTracker(Pixels(), method=method or Drift(), short_side=short_side, dtype=torch.float32)


@pytest.fixture
def tiny() -> PointNetwork:
    torch.manual_seed(0)
    network = PointNetwork(TINY).eval()
    for name, value in network.named_parameters():
        if name.endswith("project.bias"):
            nn.init.normal_(value)
    nn.init.normal_(network.refiner.head.weight, std=0.02)
    return network


def test_points_start_in_their_own_frames() -> None:
    tracker = drifting()
    assert tracker.add(Queries([2, 0], [[5, 5], [10.5, 6.25]])).tolist() == [0, 1]
    assert tracker.frame == -1
    clip = frames()
    state = tracker.step(clip[0])
    assert (state.frame, state.ids.tolist(), state.xy.tolist()) == (0, [1], [[10.5, 6.25]])
    assert tracker.add(Queries([0, 1], [[1, 2], [3, 4]])).tolist() == [2, 3]
    now = tracker.state()
    assert (now.frame, now.ids.tolist(), now.xy.tolist()) == (0, [1, 2], [[10.5, 6.25], [1, 2]])
    state = tracker.step(clip[1])
    assert (state.ids.tolist(), state.xy.tolist()) == ([1, 2, 3], [[11.5, 6.25], [2, 2], [3, 4]])
    state = tracker.step(clip[2])
    assert (state.ids.tolist(), state.xy.tolist()) == ([1, 2, 3, 0], [[12.5, 6.25], [3, 2], [4, 4], [5, 5]])
    assert state.xy.dtype == state.confidence.dtype == np.float32
    assert (state.ids.dtype, state.visible.dtype) == (np.int64, np.bool_)
    # What was handed out stays as it was.
    assert now.xy.tolist() == [[10.5, 6.25], [1, 2]]
    state.xy[:] = -1
    assert tracker.state().xy[3].tolist() == [5, 5]


def test_in_its_query_frame_a_point_is_where_it_was_put_and_visible(tiny: PointNetwork) -> None:
    tracker = PointTracker(tiny, short_side=40)  # a scale that float32 cannot undo exactly
    xy = np.array([[0.1, 0.7], [47.9, 31.3], [48, 32]], np.float32)
    tracker.add(Queries.at(xy, [0, 0, 2]))
    for index, frame in enumerate(frames(3, 32, 48)):
        state = tracker.step(frame)
        new = [0, 1] if index == 0 else [2] if index == 2 else []
        np.testing.assert_array_equal(state.xy[new], xy[new])
        assert state.visible[new].all()
        assert (state.confidence[new] == 1).all()
        assert np.isfinite(state.xy).all()


def test_a_frame_that_has_passed_is_refused_and_nothing_is_added() -> None:
    tracker = drifting()
    for frame in frames(3):
        tracker.step(frame)
    with pytest.raises(InputError, match="point 1: its frame 1 has passed; the last stepped is 2"):
        tracker.add(Queries([2, 1], [[1, 1], [2, 2]]))
    with pytest.raises(InputError, match=r"point 0 \(x=33, y=1\) lies outside the 32x24 frame"):
        tracker.add(Queries.at([(33, 1)], 2))
    assert len(tracker.state().ids) == 0
    assert tracker.add(Queries.at([(1, 1)], 2)).tolist() == [0]


def test_a_point_outside_the_first_frame_is_named_when_it_comes() -> None:
    tracker = drifting()
    tracker.add(Queries([4, 0], [[1, 1], [1, 25]]))
    with pytest.raises(InputError, match=r"point 1 \(x=1, y=25\) lies outside the 32x24 frame"):
        tracker.step(frames()[0])
    tracker.remove([1])
    assert tracker.step(frames()[0]).frame == 0


def test_removed_points_are_gone_and_their_ids_are_not_used_again() -> None:
    tracker, clip = drifting(), frames()
    tracker.add(Queries([0, 0, 0, 3], [[1, 1], [2, 2], [3, 3], [4, 4]]))
    tracker.step(clip[0])
    tracker.remove([1])
    assert tracker.state().xy.tolist() == [[1, 1], [3, 3]]
    with pytest.raises(InputError, match="no point with id 1 is followed"):
        tracker.remove([0, 1])
    state = tracker.step(clip[1])
    assert (state.ids.tolist(), state.xy.tolist()) == ([0, 2], [[2, 1], [4, 3]])
    tracker.remove(np.array([3, 0, 2]))  # one of them was still waiting
    for frame in clip[2:4]:
        assert len(tracker.step(frame).ids) == 0
    assert tracker.add(Queries.at([(9, 9)], 3)).tolist() == [4]
    assert tracker.step(clip[4]).xy.tolist() == [[10, 9]]


@pytest.mark.parametrize("method", ["refined", "propagated"])
def test_points_come_and_go_with_real_methods(tiny: PointNetwork, method: str) -> None:
    def tracker() -> PointTracker:
        chosen = PropagatedPoints(tiny.lattices, PropagationSettings(context=2)) if method == "propagated" else None
        return PointTracker(tiny, method=chosen, short_side=None, dtype=torch.float32)

    clip = frames(5, 32, 48)
    alone = tracker()
    alone.add(Queries.at([(20.3, 11.8)], 1))
    expected = [alone.step(frame) for frame in clip]

    busy = tracker()
    busy.remove([])
    gone = busy.add(Queries.at([(5, 5), (40, 20)]))
    for index, frame in enumerate(clip):
        state = busy.step(frame)
        if index == 1:
            (kept,) = busy.add(Queries.at([(20.3, 11.8)], 1))  # in the frame last stepped
        if index == 2:
            busy.remove(gone)
            state = busy.state()
            assert state.ids.tolist() == [kept]
        if index >= 2:
            np.testing.assert_allclose(state.xy, expected[index].xy, atol=1e-3)
            np.testing.assert_allclose(state.confidence, expected[index].confidence, atol=1e-3)
    busy.remove([kept])
    assert len(busy.step(clip[0]).ids) == 0


def test_frames_without_points_are_not_encoded() -> None:
    network, method, clip = Pixels(), Drift(), frames(6)
    encoded = []
    preprocess = network.preprocess

    def spy(pixels: Tensor) -> Tensor:
        encoded.append(tracker.frame)
        return preprocess(pixels)

    network.preprocess = spy  # type: ignore[method-assign]
    tracker = PointTracker(network, method=method, short_side=None, dtype=torch.float32)
    tracker.add(Queries.at([(5, 5)], 4))
    camera = np.empty_like(clip[0])
    for frame in clip[:3]:
        camera[:] = frame
        tracker.step(camera)
    assert encoded == []
    camera[:] = 0  # the next frame may already be on its way
    tracker.add(Queries.at([(6, 6)], 2))
    np.testing.assert_array_equal(method.maps[-1][0], clip[2])
    for frame in clip[3:]:
        tracker.step(frame)
    assert encoded == [2, 3, 4, 5]
    tracker.remove([0, 1])
    tracker.step(clip[0])
    assert encoded == [2, 3, 4, 5]


def test_nothing_to_follow_is_no_error() -> None:
    tracker = drifting()
    tracker.add(Queries.at([]))
    for index, frame in enumerate(frames(3)):
        state = tracker.step(frame)
        assert state.frame == tracker.frame == index
        assert (state.ids.shape, state.xy.shape, state.visible.shape, state.confidence.shape) == (
            (0,),
            (0, 2),
            (0,),
            (0,),
        )


@pytest.mark.parametrize(
    ("size", "short_side", "work"),
    [((50, 99), 24, (24, 48)), ((99, 50), 24, (48, 24)), ((20, 33), 37, (37, 61)), ((20, 33), None, (20, 33))],
)
def test_positions_are_those_of_the_original_frame(
    size: tuple[int, int], short_side: int | None, work: tuple[int, int]
) -> None:
    method = Drift((2.0, 3.0))
    tracker = drifting(method, short_side)
    start = np.array([[7.25, 3.5], [size[1], size[0]]], np.float32)
    tracker.add(Queries.at(start))
    scale = np.array([work[1] / size[1], work[0] / size[0]])
    for index, frame in enumerate(frames(4, *size)):
        state = tracker.step(frame)
        assert tuple(method.maps[-1].shape) == (1, *work, 3)
        np.testing.assert_allclose(state.xy, start + index * np.array([2.0, 3.0]) / scale, rtol=1e-6)
    np.testing.assert_allclose(method.started[0], start * scale, rtol=1e-6)


def test_a_resized_frame_lies_where_its_points_do() -> None:
    """The bright spot of a frame is at the working position of a query on it."""
    frame = np.zeros((60, 90, 3), np.uint8)
    frame[18:24, 60:66] = 255  # centre (63, 21)
    for short_side in (20, 25, 120):
        method = Drift()
        tracker = drifting(method, short_side)
        tracker.add(Queries.at([(63, 21)]))
        tracker.step(frame)
        spot = method.maps[-1][0, ..., 0]
        rows, columns = (torch.arange(n) + 0.5 for n in spot.shape)
        centre = torch.stack([(spot.sum(0) * columns).sum(), (spot.sum(1) * rows).sum()]) / spot.sum()
        torch.testing.assert_close(method.started[0][0], centre, atol=0.1, rtol=0)


def test_visible_is_a_confidence_of_a_half() -> None:
    tracker = drifting(Drift(confidence=[0.0, 0.4999, 0.5, 1.0]))
    tracker.add(Queries.at([(1, 1), (2, 2), (3, 3), (4, 4)]))
    clip = frames(2)
    assert tracker.step(clip[0]).visible.all()
    state = tracker.step(clip[1])
    assert state.visible.tolist() == [False, False, True, True]
    np.testing.assert_allclose(state.confidence, [0, 0.4999, 0.5, 1], rtol=1e-6)


def test_what_lies_outside_the_picture_is_not_seen() -> None:
    tracker = drifting(Drift((-1.5, 0.0)))
    tracker.add(Queries.at([(2, 5), (32, 24), (0, 5)]))
    clip = frames(3)
    assert tracker.step(clip[0]).visible.all()  # the border counts as inside
    state = tracker.step(clip[1])
    assert state.confidence.tolist() == [1, 1, 0]
    assert state.visible.tolist() == [True, True, False]
    assert tracker.step(clip[2]).confidence.tolist() == [0, 1, 0]
    np.testing.assert_allclose(tracker.state().xy[:, 0], [-1, 29, -3])  # and is followed on


def test_the_network_that_was_given_stays_as_it_is(tiny: PointNetwork) -> None:
    tiny.train()
    before = {key: value.clone() for key, value in tiny.state_dict().items()}
    tracker = PointTracker(tiny, short_side=None)
    tracker.add(Queries.at([(5, 5)]))
    for frame in frames(2):
        tracker.step(frame)
    assert tiny.training
    assert not tracker.network.training
    assert all(torch.equal(value, before[key]) for key, value in tiny.state_dict().items())


def test_evidence_is_of_the_points_that_are_left(tiny: PointNetwork) -> None:
    tracker = PointTracker(tiny, short_side=None)
    ids = tracker.add(Queries.at([(5, 5), (9, 9), (20, 12)]))
    for frame in frames(2):
        tracker.step(frame)
    before = tracker.evidence
    assert before is not None
    tracker.remove(ids[:1])
    assert tracker.evidence is not None
    assert torch.equal(tracker.evidence, before[1:])


def test_a_frame_of_another_size_is_refused_and_the_next_good_one_taken() -> None:
    tracker, clip = drifting(), frames()
    tracker.add(Queries.at([(5, 5)]))
    tracker.step(clip[0])
    with pytest.raises(InputError, match="frame 1 is 24x32, those before 32x24"):
        tracker.step(clip[1].transpose(1, 0, 2))
    state = tracker.step(clip[1])
    assert (state.frame, state.xy.tolist()) == (1, [[6, 5]])


@pytest.mark.parametrize(
    ("frame", "found"),
    [
        (np.zeros((8, 8, 3), np.float32), r"float32 \(8, 8, 3\)"),
        (np.zeros((8, 8), np.uint8), r"uint8 \(8, 8\)"),
        (np.zeros((8, 8, 4), np.uint8), r"uint8 \(8, 8, 4\)"),
        (np.zeros((1, 8, 8, 3), np.uint8), r"uint8 \(1, 8, 8, 3\)"),
        (np.zeros((0, 8, 3), np.uint8), r"uint8 \(0, 8, 3\)"),
    ],
)
def test_what_is_no_frame_is_refused(frame: np.ndarray, found: str) -> None:
    with pytest.raises(InputError, match=rf"a frame is uint8 \(H, W, 3\); got {found}"):
        drifting().step(frame)


@pytest.mark.parametrize("short_side", [None, 16, 48])
def test_how_a_frame_lies_in_memory_makes_no_difference(short_side: int | None) -> None:
    plain = frames()[0]
    turned = np.ascontiguousarray(plain[::-1, ::-1, ::-1])[::-1, ::-1, ::-1]
    fortran = np.asfortranarray(plain)
    locked = plain.copy()
    locked.setflags(write=False)
    maps = []
    for frame in (plain, turned, fortran, locked):
        method = Drift()
        tracker = drifting(method, short_side)
        tracker.add(Queries.at([(5, 5)]))
        tracker.step(frame)
        maps.append(method.maps[-1])
    assert all(torch.equal(maps[0], each) for each in maps[1:])


def test_unusable_arguments_are_refused() -> None:
    with pytest.raises(InputError, match=r"dtype: expected float32 or bfloat16, got torch\.float16"):
        PointTracker(Pixels(), method=Drift(), dtype=torch.float16)


def test_bfloat16_is_close_to_float32_and_not_equal(tiny: PointNetwork) -> None:
    maps = {}
    for dtype in (torch.float32, torch.bfloat16):
        method = Drift()
        tracker = PointTracker(tiny, method=method, short_side=None, dtype=dtype)
        tracker.add(Queries.at([(5, 5)]))
        tracker.step(frames(1, 32, 48)[0])
        maps[dtype] = method.maps[-1]
    assert maps[torch.bfloat16].dtype == torch.float32
    difference = (maps[torch.float32] - maps[torch.bfloat16]).abs().max()
    assert 0 < difference < 0.1


def numbers_held() -> int:
    """Bytes of all tensors that are alive."""
    gc.collect()
    storages = {
        t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in gc.get_objects() if type(t) is Tensor
    }
    return sum(storages.values())


@pytest.mark.parametrize("method", ["refined", "propagated"])
def test_memory_does_not_grow_with_the_video(tiny: PointNetwork, method: str) -> None:
    chosen = PropagatedPoints(tiny.lattices, PropagationSettings(context=2)) if method == "propagated" else None
    tracker = PointTracker(tiny, method=chosen, short_side=None, dtype=torch.float32)
    tracker.add(Queries.grid(2, (32, 48)))
    clip, held = frames(4, 32, 48), []
    for index in range(16):
        tracker.step(clip[index % 4])
        if index in (0, 7, 15):  # before, and long after, the window of key frames is full
            held.append(numbers_held())
    assert held[0] < held[1] == held[2]
