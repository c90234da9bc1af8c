"""Points followed with a ring: where most followers say, and exactly as given where they agree."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from samepoint.errors import InputError
from samepoint.models.network import PointNetwork
from samepoint.structures import Queries
from samepoint.tracking import PointTracker, RingTracker, track
from samepoint.tracking.quality import QUALITIES
from samepoint.tracking.ring import DOUBT, RADIUS, Ring
from tests.models.test_network import TINY

SIZE = (240, 320)


def places(own: tuple[float, float], *others: tuple[float, float]) -> np.ndarray:
    return np.array([[own, *others]], np.float32)


def test_followers_stand_around_their_point_and_inside_the_frame() -> None:
    ring = Ring(4, SIZE, 480)  # worked on at twice the size
    around = ring.around(Queries([0, 3], [(100, 50), (319, 0.5)])).xy.reshape(2, 5, 2)
    half = RADIUS / 2
    expected = [(100, 50), (100 + half, 50), (100, 50 + half), (100 - half, 50), (100, 50 - half)]
    np.testing.assert_allclose(around[0], expected, atol=1e-5)
    np.testing.assert_allclose(around[1, 1:3], [(320, 0.5), (319, 3.5)], atol=1e-5)
    assert around[1, 4, 1] == 0
    assert ring.around(Queries([0, 3], [(1, 1), (2, 2)])).frame.tolist() == [0] * 5 + [3] * 5
    moved = ring.places(around, around + np.array([7, -2], np.float32))
    np.testing.assert_allclose(moved, np.broadcast_to([[[107, 48]], [[326, -1.5]]], moved.shape), atol=1e-4)


def test_a_point_that_strays_is_outvoted_and_doubted() -> None:
    ring = Ring(4, SIZE, None)
    there = [(50.0, 60.0), (50.5, 60.0), (49.5, 60.0), (50.0, 60.0)]
    xy, confidence = ring.vote(places((200, 100), *there), np.array([[0.9, 0.8, 0.8, 0.8, 0.8]], np.float32))
    np.testing.assert_allclose(xy, [[50, 60]], atol=0.01)
    odds = (np.log(0.9 / 0.1) + 4 * np.log(0.8 / 0.2)) / 5 - DOUBT
    assert confidence[0] == pytest.approx(1 / (1 + np.exp(-odds)))


def test_those_who_are_sure_have_more_say_than_many_who_are_not() -> None:
    lost = [(50.0 + 80 * i, 60.0) for i in range(3)]
    xy, _ = Ring(4, SIZE, None).vote(
        places((200, 100), (201, 100), *lost), np.array([[0.9, 0.9, 0.1, 0.1, 0.1]], np.float32)
    )
    np.testing.assert_allclose(xy, [[200.5, 100]], atol=0.05)


def test_the_reach_of_a_vote_is_that_of_the_working_resolution() -> None:
    """20 pixels apart are near each other in a picture that is made smaller, and two things in one made larger."""
    two, sure = places((100, 100), (120, 100), (120, 100)), np.ones((1, 3), np.float32)
    between = [Ring(2, (480, 640), side).vote(two, sure)[0][0, 0] for side in (120, 480, 1920)]
    assert 110 < between[0] < between[1] < between[2] <= 120.001
    assert between[2] == pytest.approx(120, abs=1e-3)


def test_what_is_voted_out_of_the_picture_is_not_seen() -> None:
    xy, confidence = Ring(1, SIZE, None).vote(places((-3, 5), (-3, 5)), np.array([[0.9, 0.9]], np.float32))
    assert xy.tolist() == [[-3, 5]]
    assert confidence.tolist() == [0]


@given(
    st.lists(st.tuples(st.floats(0, 300), st.floats(0, 200), st.floats(0, 1)), min_size=2, max_size=9),
    st.tuples(st.integers(-50, 50), st.integers(-50, 50)),
)
def test_a_vote_lies_among_the_votes_and_moves_with_them(
    followers: list[tuple[float, float, float]], by: tuple[int, int]
) -> None:
    ring, values = Ring(len(followers) - 1, SIZE, None), np.array(followers)
    xy, _ = ring.vote(values[None, :, :2], values[None, :, 2])
    assert (xy[0] >= values[:, :2].min(0) - 1e-3).all()
    assert (xy[0] <= values[:, :2].max(0) + 1e-3).all()
    moved, _ = ring.vote(values[None, :, :2] + by, values[None, :, 2])
    np.testing.assert_allclose(moved - by, xy, atol=0.01)


def test_confidences_at_their_ends_stay_probabilities() -> None:
    two, vote = places((5, 5), (5, 9), (9, 5)), Ring(2, SIZE, None).vote
    said = [vote(two, np.array([sure], np.float32))[1][0] for sure in ((0, 0, 0), (1, 1, 0), (1, 1, 1))]
    assert 0 <= said[0] < 1e-3 < said[1] < 1 == said[2]


def test_agreement_keeps_the_very_numbers() -> None:
    own = np.array([[0.1, 0.7]], np.float32)
    xy, _ = Ring(2, SIZE, None).vote(np.repeat(own[None], 3, axis=1), np.full((1, 3), 0.3, np.float32))
    assert (xy == own).all()


def test_no_ring_has_fewer_than_no_followers() -> None:
    for number in (-1, 2.5):
        with pytest.raises(InputError, match=f"ring: {number} followers"):
            Ring(number, SIZE, None)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def network() -> PointNetwork:
    torch.manual_seed(0)
    return PointNetwork(TINY).eval()


@pytest.fixture(scope="module")
def frames() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (6, 48, 64, 3), dtype=np.uint8)


def test_few_points_of_a_video_have_rings_and_many_have_none(
    network: PointNetwork, frames: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    followed: list[int] = []
    add = PointTracker.add
    monkeypatch.setattr(PointTracker, "add", lambda self, queries: followed.append(len(queries)) or add(self, queries))
    grid, many = Queries.grid(9, (48, 64)), Queries.grid(13, (48, 64))
    few = Queries(grid.frame[:3], grid.xy[:3])
    options = {"model": network, "short_side": None}
    track(frames, few, **options)
    track(frames, grid, **options)
    track(frames, many, **options)
    track(frames, few, quality="fast", **options)
    track(frames, grid, quality="best", **options)
    track(frames[:1], grid, alone=True, **options)
    track(frames, grid, ring=2, **options)
    track(frames, few, ring=0, **options)
    assert followed == [3 * 9 + 144, 81 * 7 + 144, 169, 3, 81 * 9 + 144, 81 * 9 + 144, 81 * 3 + 144, 3]
    with pytest.raises(InputError, match="ring: -1"):
        track(frames, few, ring=-1, **options)


def test_rings_know_where_and_when_their_points_begin(network: PointNetwork, frames: np.ndarray) -> None:
    queries = Queries([2, 0, 2], [(20.3, 30.1), (5, 5), (60.7, 41)])
    tracks = track(frames, queries, model=network, short_side=96, backward=True)
    for point, frame in enumerate(queries.frame):
        assert (tracks.xy[point, frame] == queries.xy[point]).all()
        assert tracks.confidence[point, frame] == 1
    ahead = track(frames, queries, model=network, short_side=96)
    assert np.isnan(ahead.xy[0, :2]).all()
    assert np.isfinite(tracks.xy).all()
    assert (ahead.confidence[[0, 2], :2] == 0).all()


def test_mistakes_are_told_of_the_points_that_were_given(network: PointNetwork, frames: np.ndarray) -> None:
    ring = RingTracker(PointTracker(network, short_side=None), 8, (48, 64))
    assert ring.add(Queries.at([])).tolist() == []
    with pytest.raises(InputError, match=r"point 1 \(x=66, y=20\) lies outside the 64x48 frame"):
        ring.add(Queries.at([(1, 1), (66, 20)]))
    ring.add(Queries.at([(20, 30), (40, 10)]))
    for frame in frames[:2]:
        ring.step(frame)
    with pytest.raises(InputError, match=r"queries: expected samepoint\.Queries, such as .*, got list"):
        ring.add([(1, 1)])  # type: ignore[arg-type]
    with pytest.raises(InputError, match="point 1: its frame 0 has passed"):
        ring.add(Queries([1, 0], [(1, 1), (2, 2)]))
    ring.remove([1, 1])
    assert ring.step(frames[2]).ids.tolist() == [0]
    wrong = RingTracker(PointTracker(network, short_side=None), 8, (64, 48))
    with pytest.raises(InputError, match="frame 0 is 64x48, the rings are for 48x64"):
        wrong.step(frames[0])


def test_frame_by_frame_it_is_the_same_but_for_hindsight(network: PointNetwork, frames: np.ndarray) -> None:
    """And points may come and go; each keeps its own ring."""
    ring = RingTracker(PointTracker(network, short_side=None), 8, (48, 64))
    assert ring.frame == -1
    assert ring.add(Queries.at([(20.3, 30.1), (40, 10)])).tolist() == [0, 1]
    first = ring.step(frames[0])
    assert first.ids.tolist() == [0, 1]
    np.testing.assert_array_equal(first.xy, np.array([(20.3, 30.1), (40, 10)], np.float32))
    ring.step(frames[1])
    ring.remove([0])
    assert ring.add(Queries.at([(50, 20)], 1)).tolist() == [2]
    with pytest.raises(InputError, match="no point with id 0 is followed"):
        ring.remove([0])
    state = ring.step(frames[2])
    assert state.ids.tolist() == [1, 2]
    assert ring.frame == state.frame == 2

    inner = PointTracker(network, short_side=None)
    circle = Ring(8, (48, 64), None)
    around = circle.around(Queries.at([(40, 10)]))
    inner.add(around)
    for frame in frames[:3]:
        alone = inner.step(frame)
    expected, sure = circle.vote(circle.places(around.xy[None], alone.xy[None]), alone.confidence[None])
    np.testing.assert_allclose(state.xy[:1], expected, atol=1e-3)
    np.testing.assert_allclose(state.confidence[:1], sure, atol=1e-4)


def test_frames_before_the_first_query_cost_nothing(
    network: PointNetwork, frames: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[int] = []
    add = PointTracker.add
    monkeypatch.setattr(PointTracker, "add", lambda self, queries: given.extend(queries.frame) or add(self, queries))
    track(frames, Queries([4, 3], [(20, 30), (5, 5)]), model=network, short_side=None)
    assert set(given) == {3, 4}
    assert given.count(3) == 9 + 144


def test_only_the_slowest_setting_gives_many_points_rings() -> None:
    assert [QUALITIES[name].followers(200) for name in ("fast", "balanced", "best")] == [0, 0, 8]
