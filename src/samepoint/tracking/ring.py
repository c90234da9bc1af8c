"""Points followed with a ring of others around each: where most of them say that it is, it is.

A point that is lost or carried along by what passes in front of it seldom takes all its neighbours of a few pixels'
distance with it. Each follower of a point says where the point is: its own place less its offset in the query frame.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch

from ..errors import InputError
from ..structures import Queries
from .frames import working_size
from .tracker import PointTracker, TrackState, inside

RADIUS = 6.0
"""Of a ring, in pixels of the working resolution."""
_NEAR, _MEAN = 24.0, 18.0  # pixels of the working resolution: who supports a place, and who has a say in its mean
_POWER = 2  # of the confidences in the vote
_LEAST = 1e-3  # weight of a follower without any confidence
_SAME = 1e-3  # pixels
_MOST = 9.2  # log odds of a follower: of 1 in 10,000
DOUBT = 0.25
"""Log odds by which followers together say "seen" too readily, measured on rendered clips."""


class StreamingTracker(Protocol):
    """What :class:`~samepoint.tracking.PointTracker` and :class:`RingTracker` share."""

    @property
    def frame(self) -> int: ...

    def add(self, queries: Queries) -> np.ndarray: ...

    def remove(self, ids: np.ndarray | list[int]) -> None: ...

    def step(self, frame: np.ndarray) -> TrackState: ...


class Ring:
    """``number`` followers in a circle around each point, and the point itself.

    Args:
        number: 0 for none: the point is then followed alone.
        size: (H, W) of the video.
        short_side: at which it is worked on, None for its own; decides how far away the followers are.
    """

    def __init__(self, number: int, size: tuple[int, int], short_side: int | None) -> None:
        if number < 0 or number != int(number):
            raise InputError(f"ring: {number} followers given, 0 or more expected")
        number = int(number)
        self.followers, self.size = 1 + number, (int(size[0]), int(size[1]))
        self.scale = working_size(size, short_side)[0] / size[0]
        angle = np.arange(number) * (2 * np.pi / max(number, 1))
        circle = np.stack([np.cos(angle), np.sin(angle)], axis=1) * (RADIUS / self.scale)
        self._offsets = np.concatenate([np.zeros((1, 2)), circle])

    def around(self, queries: Queries) -> Queries:
        """N queries as N times ``followers``, each point before its ring; what would lie outside is at the border."""
        border = np.array(self.size[::-1], np.float32)
        xy = np.clip(queries.xy[:, None] + self._offsets, 0, border)
        xy[:, 0] = queries.xy
        return Queries(np.repeat(queries.frame, self.followers), xy.reshape(-1, 2))

    def places(self, start: np.ndarray, xy: np.ndarray) -> np.ndarray:
        """Where followers at ``xy`` (N, F, 2), given at ``start``, say that their points are."""
        return xy - (start - start[:, :1])

    def vote(self, places: np.ndarray, confidence: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where N points are by their followers.

        The place with the most support nearby is found and improved by mean shift, each follower with the square of
        its confidence; the log odds of the point's confidence are the mean of all, less :data:`DOUBT`.

        Args:
            places: (N, F, 2) of F followers, the point's own first, in pixels of the video.
            confidence: (N, F). Where all are 1, in the frame where a point is given, so is that of the point.

        Returns:
            float32 (N, 2) and (N,), 0 outside the frame. Where all agree to a thousandth of a pixel, the point's own
            place as it is.
        """
        xy, sure = places.astype(np.float64), confidence.astype(np.float64)
        weight = sure**_POWER + _LEAST
        support = (weight[:, None] * self._kernel(xy[:, :, None] - xy[:, None], _NEAR)).sum(axis=2)
        best = xy[np.arange(len(xy)), support.argmax(axis=1)]
        for _ in range(3):
            say = weight * self._kernel(xy - best[:, None], _MEAN)
            best = (say[..., None] * xy).sum(axis=1) / say.sum(axis=1, keepdims=True)
        agree = (np.linalg.norm(xy - xy[:, :1], axis=2) <= _SAME).all(axis=1)
        found = np.where(agree[:, None], xy[:, 0], best).astype(np.float32)
        with np.errstate(divide="ignore"):
            odds = np.clip(np.log(sure) - np.log1p(-sure), -_MOST, _MOST).mean(axis=1) - DOUBT
        seen = np.where((sure == 1).all(axis=1), 1, 1 / (1 + np.exp(-odds)))
        within = inside(torch.from_numpy(found), self.size).numpy()
        return found, np.where(within, seen, 0).astype(np.float32)

    def _kernel(self, apart: np.ndarray, width: float) -> np.ndarray:
        return np.exp(-(apart**2).sum(axis=-1) * (self.scale / width) ** 2)


class RingTracker:
    """A :class:`~samepoint.tracking.PointTracker` whose points each have a ring, frame by frame.

    Args:
        tracker: that has no points yet and gets none but from here.
        number: followers in a ring.
        size: (H, W) of the frames.
    """

    def __init__(self, tracker: PointTracker, number: int, size: tuple[int, int]) -> None:
        self._tracker = tracker
        self._ring = Ring(number, size, tracker.short_side)
        self._start: dict[int, np.ndarray] = {}

    @property
    def frame(self) -> int:
        """Index of the frame last stepped; -1 before the first."""
        return self._tracker.frame

    def add(self, queries: Queries) -> np.ndarray:
        """As :meth:`~samepoint.tracking.PointTracker.add`."""
        self._tracker.check(queries)
        queries.check(self._ring.size)
        around = self._ring.around(queries)
        ids = self._tracker.add(around)[:: self._ring.followers] // self._ring.followers
        self._start |= dict(zip(ids.tolist(), around.xy.reshape(len(ids), self._ring.followers, 2), strict=True))
        return ids

    def remove(self, ids: np.ndarray | list[int]) -> None:
        """As :meth:`~samepoint.tracking.PointTracker.remove`."""
        gone = np.unique(np.asarray(ids, np.int64))
        if unknown := set(gone.tolist()) - self._start.keys():
            raise InputError(f"no point with id {min(unknown)} is followed")
        followers = gone[:, None] * self._ring.followers + np.arange(self._ring.followers)
        self._tracker.remove(followers.ravel())
        for each in gone.tolist():
            del self._start[each]

    def step(self, frame: np.ndarray) -> TrackState:
        """As :meth:`~samepoint.tracking.PointTracker.step`."""
        shape = np.shape(frame)
        if len(shape) == 3 and shape[:2] != self._ring.size:
            (height, width), (rows, columns) = self._ring.size, shape[:2]
            raise InputError(f"frame {self.frame + 1} is {columns}x{rows}, the rings are for {width}x{height}")
        state = self._tracker.step(frame)
        ids = state.ids[:: self._ring.followers] // self._ring.followers
        if not len(ids):
            return state
        each = (len(ids), self._ring.followers)
        places = self._ring.places(np.stack([self._start[one] for one in ids.tolist()]), state.xy.reshape(*each, 2))
        xy, confidence = self._ring.vote(places, state.confidence.reshape(each))
        return TrackState(state.frame, ids, xy, confidence >= 0.5, confidence)
