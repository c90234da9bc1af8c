"""``samepoint.track``: points through a whole video, in one call."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import nn

from ..errors import InputError
from ..models.features import load_features
from ..models.network import PointNetwork
from ..structures import Queries, Tracks, Video
from .hindsight import Review
from .quality import QUALITIES, Quality, ShortSide, named_quality
from .ring import Ring
from .tracker import Method, PointTracker

SUPPORT = 12
"""Points a side of the grid that keeps company with points that are judged alone."""
Progress = Callable[[int, "int | None"], None]


def track(
    video: Video | np.ndarray | str | Path | int,
    queries: Queries | ArrayLike,
    *,
    model: nn.Module | str | Path = "samepoint-base",
    method: Callable[[nn.Module], Method] | None = None,
    quality: Quality = "balanced",
    backward: bool = False,
    alone: bool = False,
    ring: int | None = None,
    short_side: ShortSide = "auto",
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
    progress: Progress | None = None,
) -> Tracks:
    """Follow points through a video.

    Unlike the streaming ``PointTracker``, it knows what comes after a frame: confidences make use of the three frames
    before and after, and of what other points do, where the model has learnt to (``Hindsight``). Few points are
    followed with a ring of others around each (:mod:`samepoint.tracking.ring`, see ``quality``) and in the company of a
    grid of our own, laid into the first frame with a query; nothing else that is said of one depends on the other
    queries. Of many points, positions do not either.

    Args:
        video: a file, a folder of pictures, uint8 frames (T, H, W, 3), a camera index, a URL, or a ``Video``.
        queries: N points, each in its own frame; bare (x, y), an array (N, 2) or a list, are of the first frame.
        model: a network, a name in the table of weights, or a weight file.
        method: makes, for the network, what carries points from frame to frame; by default ``RefinedPoints`` for a
            network that has a refiner, else ``PropagatedPoints``.
        quality: ``"fast"``, ``"balanced"`` or ``"best"``: what the default method may cost, see
            :data:`~samepoint.tracking.quality.QUALITIES`; ``"balanced"`` gives up to 64 points a ring each, up
            to 144 a smaller one.
        backward: also follow each point back from its frame to the first; else positions before the query are NaN.
        alone: nothing that is said of a point depends on the other queries, as benchmarks demand. A grid of our own
            points, given in the first frame, keeps each of them company instead, and each has a ring if one may.
        ring: points followed around each one; by default what the quality says for so many points, none with a
            ``method`` or a network without a refiner.
        short_side: working resolution; larger finds finer detail and takes longer; None keeps the video's own,
            ``"auto"`` leaves it to the quality: 480 for ``"balanced"``.
        device: ``"cpu"``, ``"cuda"``, ...; the model's by default.
        dtype: precision of the encoder; bfloat16 where the device gains from it by default.
        progress: called after each frame with the frames done and the frames in all (None if unknown).

    Returns:
        Tracks of N points through T frames, in pixels of the video.

    Raises:
        InputError: no query, a query outside the video, a video that cannot be read, an unknown model or quality, a
            ring of fewer than 0.
    """
    named_quality(quality)
    clip = video if isinstance(video, Video) else Video(video)
    queries = Queries.of(queries)
    if len(queries) == 0:
        raise InputError("no query point to follow")
    if backward and clip.is_live:
        raise InputError("a live source cannot be tracked backward")
    queries.check(clip.size, None)
    network = model if isinstance(model, nn.Module) else load_features(model).network

    def tracker() -> PointTracker:
        own = None if method is None else method(network)
        return PointTracker(network, method=own, quality=quality, short_side=short_side, device=device, dtype=dtype)

    known = None if clip.is_live else len(clip)
    if known is not None:
        queries.check(clip.size, known)
    total = known * 2 if known is not None and backward else known
    done = 0

    def report() -> None:
        nonlocal done
        done += 1
        if progress:
            progress(done, total)

    if ring is None:
        refined = method is None and isinstance(network, PointNetwork)
        ring = QUALITIES[quality].followers(1 if alone else len(queries)) if refined else 0
    xy, confidence = _run(tracker(), clip, clip.size, queries, report, alone, ring)
    frames = xy.shape[1]
    queries.check(clip.size, frames)
    if backward:
        mirrored = Queries(frame=frames - 1 - queries.frame, xy=queries.xy)
        back_xy, back_confidence = _run(tracker(), clip.frames_reversed(), clip.size, mirrored, report, alone, ring)
        before = np.arange(frames)[None] < queries.frame[:, None]
        xy = np.where(before[..., None], back_xy[:, ::-1], xy)
        confidence = np.where(before, back_confidence[:, ::-1], confidence)
    return Tracks.from_confidence(xy, confidence, fps=clip.fps, size=clip.size, names=queries.name or ())


def _run(
    tracker: PointTracker,
    frames: Iterable[np.ndarray],
    size: tuple[int, int],
    queries: Queries,
    report: Callable[[], None],
    alone: bool,
    followers: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Positions (N, T, 2), NaN before each query, and confidences (N, T)."""
    ring = Ring(followers, size, tracker.short_side)
    around = followed = ring.around(queries)
    review = None
    if isinstance(tracker.network, PointNetwork):
        if alone or followers:  # a ring of its own would be poor company: it always agrees
            grid = Queries.grid(SUPPORT, size, 0 if alone else int(queries.frame.min()))
            followed = Queries.concat([around, grid])
        review = Review(tracker.network.hindsight, len(followed), support=len(followed) - len(around))
        review.start(np.arange(len(followed)), followed.frame, followed.xy)
    tracker.add(followed)
    columns: list[tuple[np.ndarray, np.ndarray]] = []
    for frame in frames:
        state = tracker.step(frame)
        xy = np.full((len(followed), 2), np.nan, np.float32)
        confidence = np.zeros(len(followed), np.float32)
        xy[state.ids], confidence[state.ids] = state.xy, state.confidence
        columns.append((xy, confidence))
        if review is not None:
            review.add(state.ids, tracker.evidence, xy, confidence, size)
        report()
    if not columns:
        raise InputError("the video has no frames")
    if review is not None:
        review.finish()
    shape = (len(queries), ring.followers)
    start, asked = around.xy.reshape(*shape, 2), slice(len(around))
    voted = [_voted(ring, start, xy[asked].reshape(*shape, 2), c[asked].reshape(shape)) for xy, c in columns]
    return np.stack([xy for xy, _ in voted], axis=1), np.stack([c for _, c in voted], axis=1)


def _voted(ring: Ring, start: np.ndarray, xy: np.ndarray, confidence: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """One frame: positions (N, 2), NaN of points not followed yet, and confidences (N,), from those of followers."""
    if ring.followers == 1:
        return xy[:, 0], confidence[:, 0]
    here = np.isfinite(xy[:, 0, 0])
    where, sure = np.full((len(xy), 2), np.nan, np.float32), np.zeros(len(xy), np.float32)
    if here.any():
        where[here], sure[here] = ring.vote(ring.places(start[here], xy[here]), confidence[here])
    return where, sure
