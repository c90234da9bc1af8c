"""Classical optical flow as point trackers, with OpenCV: what every learned tracker is compared with.

Both follow each point from frame to frame. A point is called visible where it lies inside the frame and following it
one frame back leads to within ``FORWARD_BACKWARD`` pixels of where it came from. Positions are raster pixels; OpenCV
wants index coordinates, half a pixel less. Queries may lie outside the picture: dense flow is continued by its edge.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from samepoint.structures import DEFAULT_FPS, Queries, Tracks

FORWARD_BACKWARD = 2.0
"""Pixels. Of 0.5, 1, 2 and 4 the best or nearly so for both, in occlusion accuracy on the rendered clips."""

WINDOW = (21, 21)
LEVELS = 3
STOP = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 30, 0.01)

Frames = Sequence[NDArray[np.uint8]] | NDArray[np.uint8]
Points = NDArray[np.float32]
Step = Callable[[np.ndarray, np.ndarray, Points], tuple[Points, Points]]


def lucas_kanade(frames: Frames, queries: Queries) -> Tracks:
    """Pyramidal Lucas-Kanade, 21x21 windows, 3 levels. frames: T times uint8 RGB (H, W, 3)."""
    return _chain(frames, queries, _lucas_kanade_step)


def dis_flow(frames: Frames, queries: Queries) -> Tracks:
    """Dense inverse search flow, medium preset, read bilinearly at the points. frames: T times uint8 RGB (H, W, 3)."""
    flow: Any = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)

    def step(first: np.ndarray, second: np.ndarray, index: Points) -> tuple[Points, Points]:
        # An empty flow: OpenCV takes any other as its starting point.
        there = index + _read(flow.calc(first, second, None), index)
        return there, there + _read(flow.calc(second, first, None), there)

    return _chain(frames, queries, step)


def _lucas_kanade_step(first: np.ndarray, second: np.ndarray, index: Points) -> tuple[Points, Points]:
    def follow(a: np.ndarray, b: np.ndarray, points: Points) -> Points:
        start = points[:, None]
        found, _, _ = cv2.calcOpticalFlowPyrLK(
            a, b, start, np.empty_like(start), winSize=WINDOW, maxLevel=LEVELS, criteria=STOP
        )
        return np.asarray(found, np.float32)[:, 0]

    there = follow(first, second, index)
    return there, follow(second, first, there)


def _read(flow: np.ndarray, index: Points) -> Points:
    """Bilinear, exact (cv2.remap rounds to 1/32 px), continued by the edge. flow (H, W, 2), index (N, 2) -> (N, 2)."""
    last = np.array([flow.shape[1] - 1, flow.shape[0] - 1])
    spot = np.clip(index, 0, last)
    low = np.minimum(spot.astype(int), np.maximum(last - 1, 0))
    high = np.minimum(low + 1, last)
    right, down = np.moveaxis(spot - low, -1, 0)[..., None]
    top = flow[low[:, 1], low[:, 0]] * (1 - right) + flow[low[:, 1], high[:, 0]] * right
    bottom = flow[high[:, 1], low[:, 0]] * (1 - right) + flow[high[:, 1], high[:, 0]] * right
    return (top * (1 - down) + bottom * down).astype(np.float32)


def _chain(frames: Frames, queries: Queries, step: Step) -> Tracks:
    grey = [cv2.cvtColor(np.ascontiguousarray(frame), cv2.COLOR_RGB2GRAY) for frame in frames]
    number, length = len(queries), len(grey)
    size = (grey[0].shape[0], grey[0].shape[1])
    edge = size[::-1]
    xy = np.full((number, length, 2), np.nan, np.float32)
    visible = np.zeros((number, length), bool)
    xy[np.arange(number), queries.frame] = queries.xy
    visible[np.arange(number), queries.frame] = True
    for t in range(length - 1):
        live = np.flatnonzero(queries.frame <= t)
        if not live.size:
            continue
        index = xy[live, t] - np.float32(0.5)
        there, back = step(grey[t], grey[t + 1], index)
        xy[live, t + 1] = there + np.float32(0.5)
        inside = ((xy[live, t + 1] >= 0) & (xy[live, t + 1] <= edge)).all(axis=-1)
        visible[live, t + 1] = inside & (np.linalg.norm(back - index, axis=-1) < FORWARD_BACKWARD)
    return Tracks.from_confidence(xy, visible, DEFAULT_FPS, size, queries.name or ())
