"""``samepoint.propagate_keypoints``: labels of a few frames carried to all others, from both sides."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from ..errors import InputError, LiveError
from ..io.images import list_images
from ..models.features import load_features
from ..models.network import PointNetwork
from ..structures import Keypoints, Queries, Video
from ..structures.keypoints import HIDDEN
from .quality import QUALITIES
from .ring import RingTracker, StreamingTracker
from .tracker import PointTracker

Progress = Callable[[int, "int | None"], None]

AGREE = 0.02  # of the shorter side: two sides this far apart say half as surely where the joint is
BEYOND = 0.1  # of the frame's side: labels farther outside belong to another video


@dataclass(frozen=True)
class Suggestion:
    """A frame worth labelling: the mean ``confidence`` of its joints, and the joint that is least sure."""

    frame: int
    confidence: float
    joint: str


def propagate_keypoints(
    video: Video | np.ndarray | str | Path,
    labels: Keypoints,
    *,
    model: PointNetwork | str | Path = "samepoint-base",
    tracker: Callable[[], StreamingTracker] | None = None,
    short_side: int | None = 480,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
    progress: Progress | None = None,
) -> Keypoints:
    """Carry labelled keypoints to every frame of a video.

    Each joint is followed forward from each of its labels to the next, and backward to the one before; where both
    reach a frame they are weighed by confidence and by nearness to their labels, and their confidence falls where they
    disagree. Up to 64 joints have a ring of points around each (:mod:`samepoint.tracking.ring`), up to 144 a smaller
    one.
    Labelled joints stay exactly where they are. A joint that a label says is missing stays so until it is
    labelled again; one whose label lies outside the frame is kept, but not followed.

    Args:
        video: a file, a folder of pictures, uint8 frames (T, H, W, 3) or a ``Video``; read once in each direction.
        labels: whose ``frame`` counts frames of the video (``samepoint.io.keypoints.place_in_video`` sees to it).
        model: a network, a name in the table of weights, or a weight file.
        tracker: makes the trackers instead of ``model``, one for each direction.
        short_side, device, dtype: as for :func:`samepoint.track`.
        progress: called after each frame with the frames done and the frames in all, both directions together.

    Returns:
        Keypoints of all T frames in order; ``labelled`` tells the labels, as they were, from the others.

    Raises:
        InputError: no labelled joint, a frame beyond the video, a joint far outside the frame, a live video.
    """
    clip = video if isinstance(video, Video) else Video(video)
    if clip.is_live:
        raise LiveError(clip.source)
    frames, size = len(clip), clip.size
    _check(labels, frames, size)
    if tracker is None:
        network = model if isinstance(model, nn.Module) else load_features(model).network

        joints = int((labels.known & labels.labelled).any(axis=0).sum())
        ring = QUALITIES["balanced"].followers(joints) if isinstance(network, PointNetwork) else 0

        def tracker() -> StreamingTracker:
            alone = PointTracker(network, short_side=short_side, device=device, dtype=dtype)
            return RingTracker(alone, ring, size) if ring else alone

    shape = (frames, *labels.shape[1:])
    xy, confidence = np.full((*shape, 2), np.nan, np.float32), np.zeros(shape, np.float32)
    labelled, visible = np.zeros(shape, bool), np.zeros(shape, bool)
    said = labels.labelled
    for full, values in ((xy, labels.xy), (confidence, labels.confidence), (visible, labels.visible)):
        full[labels.frame] = np.where(said.reshape(*said.shape, *[1] * (values.ndim - 3)), values, full[labels.frame])
    labelled[labels.frame] = said
    marks = _Marks(
        xy.reshape(frames, -1, 2), labelled.reshape(frames, -1), (visible | ~_known(xy)).reshape(frames, -1), size
    )
    used = np.flatnonzero(marks.starts.any(axis=1))
    total = (frames - int(used[0])) + (int(used[-1]) + 1)
    done = 0

    def report() -> None:
        nonlocal done
        done += 1
        if progress:
            progress(done, total)

    ahead = _follow(tracker(), clip.frames(int(used[0]), frames), range(int(used[0]), frames), marks, report)
    behind = _follow(tracker(), clip.frames_reversed(0, int(used[-1]) + 1), range(int(used[-1]), -1, -1), marks, report)
    fused_xy, fused = _fuse(ahead, behind, marks.labelled, AGREE * min(size))
    free = ~labelled
    xy[free] = fused_xy.reshape(*shape, 2)[free]
    confidence[free] = fused.reshape(shape)[free]
    visible[free] = confidence[free] >= 0.5
    origin = np.full(frames, -1)
    origin[labels.frame] = labels.origin
    return replace(
        labels,
        frame=np.arange(frames),
        xy=xy,
        confidence=confidence,
        visible=visible,
        labelled=labelled,
        images=_pictures(clip, labels),
        size=size,
        origin=origin,
    )


def _known(xy: np.ndarray) -> np.ndarray:
    return ~np.isnan(xy[..., 0])


def _check(labels: Keypoints, frames: int, size: tuple[int, int]) -> None:
    for row in np.flatnonzero((labels.frame < 0) | (labels.frame >= frames))[:1]:
        raise InputError(f"labels of frame {labels.frame[row]}, but the video has {frames} frames (0..{frames - 1})")
    if len(np.unique(labels.frame)) != len(labels.frame):
        raise InputError("two rows of labels are the same frame of the video")
    if not (labels.known & labels.labelled).any():
        raise InputError("no labelled joint; expected at least one with a position")
    wide = np.array(size[::-1], np.float32)
    far = ((labels.xy < -BEYOND * wide) | (labels.xy > (1 + BEYOND) * wide)).any(axis=-1) & labels.labelled
    for f, i, k in np.argwhere(far)[:1]:
        x, y = labels.xy[f, i, k]
        raise InputError(
            f"frame {labels.frame[f]}, {labels.joint_name(i, k)} (x={x:g}, y={y:g}) lies far outside the "
            f"{size[1]}x{size[0]} frame: labels of another video, or of another size?"
        )


class _Marks:
    """What the labels say of J joints in T frames: xy (T, J, 2); labelled, starts and shown (T, J).

    ``starts``: where a joint can be followed from; ``shown``: where it is not labelled as hidden.
    """

    def __init__(self, xy: np.ndarray, labelled: np.ndarray, shown: np.ndarray, size: tuple[int, int]) -> None:
        self.xy, self.labelled, self.shown = xy, labelled, shown
        with np.errstate(invalid="ignore"):
            inside = ((xy >= 0) & (xy <= np.array(size[::-1]))).all(axis=-1)
        self.starts = labelled & inside
        if not self.starts.any():
            raise InputError("every labelled joint lies outside the frame; expected at least one to follow")


def _follow(
    tracker: StreamingTracker, frames: Iterable[np.ndarray], order: range, marks: _Marks, report: Callable[[], None]
) -> tuple[np.ndarray, np.ndarray]:
    """One direction: each joint from label to label. xy (T, J, 2), NaN where none came; confidence (T, J)."""
    xy = np.full(marks.xy.shape, np.nan, np.float32)
    confidence = np.zeros(marks.labelled.shape, np.float32)
    joint_of: dict[int, int] = {}
    most = np.ones(marks.labelled.shape[1], np.float32)  # by what its label was
    for t, frame in zip(order, frames, strict=True):
        state = tracker.step(frame)
        joints = np.array([joint_of[int(point)] for point in state.ids], np.int64)
        xy[t, joints], confidence[t, joints] = state.xy, np.minimum(state.confidence, most[joints])
        ended = [point for point, joint in joint_of.items() if marks.labelled[t, joint]]
        if ended:
            tracker.remove(ended)
            for point in ended:
                del joint_of[point]
        begun = np.flatnonzero(marks.starts[t])
        if len(begun):
            ids = tracker.add(Queries(np.full(len(begun), tracker.frame), marks.xy[t, begun]))
            joint_of |= dict(zip(ids.tolist(), begun.tolist(), strict=True))
            most[begun] = np.where(marks.shown[t, begun], 1.0, HIDDEN)
        report()
    return xy, confidence


def _fuse(
    ahead: tuple[np.ndarray, np.ndarray], behind: tuple[np.ndarray, np.ndarray], labelled: np.ndarray, agree: float
) -> tuple[np.ndarray, np.ndarray]:
    """Both directions as one.

    The weight of a side is its confidence times its nearness to its label; where the sides lie far apart (``agree``
    pixels and more) the heavier one takes all, as the middle between two places is neither.
    """
    (xy_a, sure_a), (xy_b, sure_b) = ahead, behind
    near_a, near_b = _nearness(labelled)
    has_a, has_b = _known(xy_a), _known(xy_b)
    both = has_a & has_b
    apart = np.where(both, np.linalg.norm(np.where(both[..., None], xy_a - xy_b, 0), axis=-1), 0) / agree
    weight_a, weight_b = (sure_a + 1e-6) * near_a, (sure_b + 1e-6) * near_b
    power = np.clip((1 + apart) * np.log(weight_b / weight_a), -60, 60)
    share = np.where(both, 1 / (1 + np.exp(power)), has_a)
    # NaN times a share of 0 would spoil the side that is there.
    xy = share[..., None] * np.where(has_a[..., None], xy_a, 0) + (1 - share[..., None]) * np.where(
        has_b[..., None], xy_b, 0
    )
    xy = np.where((has_a | has_b)[..., None], xy, np.nan).astype(np.float32)
    sure = (share * sure_a + (1 - share) * sure_b) * 0.5**apart**2
    return xy, np.where(has_a | has_b, sure, 0).astype(np.float32)


def _nearness(labelled: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How near each frame is to the label before it and to the one after: 1 there, falling to 0 at the other."""
    frames = np.arange(len(labelled), dtype=np.float64)[:, None]
    before = np.maximum.accumulate(np.where(labelled, frames, -np.inf), axis=0)
    after = np.minimum.accumulate(np.where(labelled, frames, np.inf)[::-1], axis=0)[::-1]
    between = np.isfinite(before) & np.isfinite(after) & (after > before)
    span = np.where(between, after - before, 1)
    near = np.where(between, (np.where(between, after, 0) - frames) / span, 1)
    return np.maximum(near, 1e-6), np.maximum(np.where(between, 1 - near, 1), 1e-6)


def _pictures(clip: Video, labels: Keypoints) -> tuple[str, ...]:
    """Names for all frames where they are pictures of a folder and the labels name theirs; else none."""
    if not labels.images or not isinstance(clip.source, (str, Path)) or not Path(clip.source).is_dir():
        return ()
    first = labels.images[0]
    folder = first[: max(first.rfind("/"), first.rfind("\\")) + 1]
    pictures = list_images(Path(clip.source))
    names = [folder + pictures[index].name for index in clip.source_frames]
    for frame, name in zip(labels.frame, labels.images, strict=True):
        names[frame] = name
    return tuple(names)


def suggest_frames(keypoints: Keypoints, count: int) -> list[Suggestion]:
    """The frames to label next: those of the lowest confidence, spread out, least sure first.

    A frame counts by the mean confidence of its joints that have a position and are not labelled. No two suggestions
    are nearer to each other, nor one to a labelled frame, than an eighth of an even spread, where there are enough.

    Args:
        keypoints: of every frame of a video, as :func:`propagate_keypoints` returns them.
        count: how many; fewer come where the video has fewer frames without labels.

    >>> sure = np.array([1, 0.9, 0.2, 0.3, 0.8], np.float32)[:, None, None]
    >>> points = Keypoints(np.arange(5), np.ones((5, 1, 1, 2)), ("nose",), confidence=sure, labelled=sure == 1)
    >>> [suggestion.frame for suggestion in suggest_frames(points, 2)]
    [2, 3]
    """
    if count < 0:
        raise InputError(f"{count} suggestions: expected 0 or more")
    open_joints = keypoints.known & ~keypoints.labelled
    flat, is_open = keypoints.confidence.reshape(len(keypoints.frame), -1), open_joints.reshape(len(open_joints), -1)
    joints = is_open.sum(axis=1)
    mean = np.where(joints > 0, (flat * is_open).sum(axis=1) / np.maximum(joints, 1), np.inf)
    order = [int(row) for row in np.argsort(mean, kind="stable") if np.isfinite(mean[row])]
    taken: list[int] = []
    labelled = np.flatnonzero((keypoints.labelled & keypoints.known).any(axis=(1, 2)))
    gap = len(mean) // (8 * max(count, 1))
    while len(taken) < min(count, len(order)):
        for row in order:
            busy = np.concatenate([labelled, np.array(taken, np.int64)])
            if len(taken) < count and row not in taken and (not len(busy) or np.abs(busy - row).min() > gap):
                taken.append(row)
        gap = gap // 2 if gap > 0 else -1
    taken.sort(key=lambda row: (mean[row], row))
    worst = np.where(is_open, flat, np.inf).argmin(axis=1)
    return [
        Suggestion(
            int(keypoints.frame[row]),
            float(mean[row]),
            keypoints.joint_name(*divmod(int(worst[row]), keypoints.shape[2])),
        )
        for row in taken
    ]
