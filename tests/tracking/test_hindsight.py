"""Confidences reconsidered once later frames are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from samepoint.models.company import COMPANY, company
from samepoint.models.network import PointNetwork
from samepoint.models.visibility import EVIDENCE, HORIZON, Hindsight, surroundings
from samepoint.structures import Queries
from samepoint.tracking import PointTracker, track
from samepoint.tracking.hindsight import Review
from tests.models.test_network import TINY

SIZE = 2 * HORIZON + 1
WIDTH = len(EVIDENCE) + 1


@pytest.fixture
def lively() -> Hindsight:
    torch.manual_seed(0)
    hindsight = Hindsight((8, 4))
    torch.nn.init.normal_(hindsight.last.weight)
    return hindsight


def test_the_nearest_frame_stands_in_for_one_that_is_missing() -> None:
    evidence = torch.arange(float(SIZE))[:, None, None].expand(SIZE, 1, len(EVIDENCE)).clone()
    present = torch.tensor([False, False, True, True, True, True, False])[:, None]
    window = surroundings(evidence, present).unflatten(1, (SIZE, WIDTH))[0]
    assert window[:, 0].tolist() == [2, 2, 2, 3, 4, 5, 5]
    assert window[:, -1].tolist() == [0, 0, 1, 1, 1, 1, 0]


def test_unfitted_it_changes_nothing() -> None:
    logits = torch.tensor([0.3, -2.0])
    assert Hindsight()(torch.randn(2, SIZE * WIDTH + len(COMPANY)), logits).tolist() == logits.tolist()


def test_frame_after_frame_is_the_same_as_all_at_once(lively: Hindsight) -> None:
    """Two points, the second given in frame 4 of 10; by the definition, one frame and point at a time."""
    rng = np.random.default_rng(0)
    frames, starts = 10, (0, 4)
    evidence = torch.from_numpy(rng.normal(size=(frames, 2, len(EVIDENCE)))).float()
    confidence = rng.uniform(0.1, 0.9, (frames, 2)).astype(np.float32)
    xy = rng.uniform(0, 60, (frames, 2, 2)).astype(np.float32)
    queries = Queries(list(starts), [[10, 20], [30, 40]])
    expected = confidence.copy()
    for point, start in enumerate(starts):
        for time in range(start + 1, frames):
            near = [min(max(time + k, start + 1), frames - 1) for k in range(-HORIZON, HORIZON + 1)]
            own = [float(start < time + k < frames) for k in range(-HORIZON, HORIZON + 1)]
            window = torch.cat(
                [torch.cat([evidence[t, point], torch.tensor([o])]) for t, o in zip(near, own, strict=True)]
                + [torch.zeros(len(COMPANY))]  # given in different frames, they are no company
            )
            logit = torch.tensor([confidence[time, point]]).logit()
            expected[time, point] = lively(window[None], logit).sigmoid().item()
    review = Review(lively, 2)
    review.start(np.arange(2), queries.frame, queries.xy)
    for time in range(frames):
        followed = [point for point, start in enumerate(starts) if start < time]
        ids = np.array([point for point, start in enumerate(starts) if start <= time])
        review.add(ids, evidence[time, followed] if followed else None, xy[time], confidence[time], (48, 64))
    review.finish()
    np.testing.assert_allclose(confidence, expected, atol=1e-5)


def test_others_have_a_say(lively: Hindsight) -> None:
    """The middle frame of a window, by the definition; what was said before it is reconsidered is what counts."""
    queries = Queries.at([(10, 10), (14, 10), (40, 30)])
    rng = np.random.default_rng(0)
    evidence = torch.from_numpy(rng.normal(size=(SIZE, 3, len(EVIDENCE)))).float()
    xy = (queries.xy + rng.normal(0, 2, (SIZE, 3, 2))).astype(np.float32)
    confidence = rng.uniform(0.1, 0.9, (SIZE, 3)).astype(np.float32)
    given = torch.from_numpy(confidence.copy())
    review = Review(lively, 3)
    review.start(np.arange(3), 0, queries.xy)
    for time in range(SIZE):
        review.add(np.arange(3), evidence[time], xy[time], confidence[time], (48, 64))
    others = company(
        torch.from_numpy(queries.xy),
        torch.from_numpy(xy[HORIZON]),
        given[HORIZON],
        torch.zeros(3, dtype=torch.long),
        (48, 64),
    )
    assert others.abs().sum() > 0
    window = torch.cat([surroundings(evidence, torch.ones(SIZE, 3, dtype=torch.bool)), others], dim=1)
    expected = lively(window, given[HORIZON].logit()).sigmoid()
    np.testing.assert_allclose(confidence[HORIZON], expected.detach(), atol=1e-5)


def test_a_support_keeps_company_instead_of_the_other_points(lively: Hindsight) -> None:
    """Point 0 is given in frame 0 and point 1 in frame 1, when one of the support of two is not seen."""
    rng = np.random.default_rng(1)
    evidence = torch.from_numpy(rng.normal(size=(SIZE, 4, len(EVIDENCE)))).float()
    start = np.array([[10, 10], [14, 10], [12, 14], [40, 30]], np.float32)
    xy = (start + rng.normal(0, 2, (SIZE, 4, 2))).astype(np.float32)
    xy[0, [0, 2, 3]], xy[1, 1] = start[[0, 2, 3]], start[1]
    confidence = rng.uniform(0.6, 0.9, (SIZE, 4)).astype(np.float32)
    confidence[1, 3] = 0.2
    said, given = torch.from_numpy(confidence.copy()), torch.tensor([0, 1, 0, 0])
    review = Review(lively, 4, support=2)
    review.start(np.arange(4), given.numpy(), start)
    for time in range(SIZE):
        ids = np.arange(4) if time else np.array([0, 2, 3])
        seen = evidence[time] if time > 1 else evidence[time, ids[:0]]
        review.add(ids, seen, xy[time], confidence[time], (48, 64))
    now, places = HORIZON, torch.from_numpy(xy)
    first = company(
        torch.from_numpy(start)[[0, 2, 3]], places[now][[0, 2, 3]], said[now][[0, 2, 3]], given[[0, 2, 3]], (48, 64)
    )
    second_start = torch.stack([torch.from_numpy(start)[1], places[1, 2]])
    second = company(second_start, places[now][[1, 2]], said[now][[1, 2]], given[[0, 2]], (48, 64))
    present = torch.tensor([time > 1 for time in range(SIZE)])[:, None].expand(SIZE, 2)
    window = torch.cat([surroundings(evidence[:, :2], present), torch.stack([first[0], second[0]])], dim=1)
    expected = lively(window, said[now, :2].logit()).sigmoid()
    np.testing.assert_allclose(confidence[now, :2], expected.detach(), atol=1e-5)


def test_what_lies_outside_the_picture_stays_unseen(lively: Hindsight) -> None:
    review = Review(lively, 2)
    confidence = np.array([[0.0, 0.4]] * 5, np.float32)
    for time in range(5):
        evidence = torch.full((2, len(EVIDENCE)), float(time))
        review.add(np.arange(2), evidence, np.zeros((2, 2), np.float32), confidence[time], (48, 64))
    review.finish()
    assert (confidence[:, 0] == 0).all()
    assert (confidence[:, 1] != np.float32(0.4)).all()


def test_a_recorded_video_gains_by_it_and_a_stream_does_not_wait() -> None:
    torch.manual_seed(0)
    network = PointNetwork(TINY).eval()
    frames = np.random.default_rng(0).integers(0, 256, (6, 48, 64, 3), dtype=np.uint8)
    queries = Queries.grid(2, (48, 64))
    plain = track(frames, queries, model=network, ring=0, short_side=None)
    torch.nn.init.constant_(network.hindsight.last.bias, 2.0)
    better = track(frames, queries, model=network, ring=0, short_side=None)
    np.testing.assert_array_equal(better.xy, plain.xy)
    logit = np.log(plain.confidence[:, 1:] / (1 - plain.confidence[:, 1:]))
    np.testing.assert_allclose(better.confidence[:, 1:], 1 / (1 + np.exp(-logit - 2)), atol=1e-4)
    assert (better.confidence[:, 0] == 1).all()  # where they were given nothing is in doubt
    tracker = PointTracker(network, short_side=None)
    tracker.add(queries)
    stream = np.stack([tracker.step(frame).confidence for frame in frames], axis=1)
    np.testing.assert_allclose(stream, plain.confidence, atol=1e-5)
