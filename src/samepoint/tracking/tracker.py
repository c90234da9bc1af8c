"""The streaming core: frames go in one by one, the points that are followed come out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import InputError
from ..models.features import load_features
from ..models.network import PointNetwork
from ..models.refiner import channels_last
from ..structures import Queries
from .frames import FrameEncoder, working_size
from .propagated import PropagatedPoints
from .quality import QUALITIES, Quality, ShortSide, chosen_short_side, named_quality
from .refined import RefinedPoints


@dataclass(frozen=True)
class TrackState:
    """The live points in a frame: ``ids`` int64 (N,), ``xy`` float32 (N, 2), ``visible`` bool, ``confidence`` (N,)."""

    frame: int
    ids: np.ndarray
    xy: np.ndarray
    visible: np.ndarray
    confidence: np.ndarray


class Method(Protocol):
    """How points are carried from frame to frame, at the working resolution. Order of points is order of adding."""

    def add(self, maps: tuple[Tensor, ...], xy: Tensor) -> None:
        """Start points (N, 2) in the frame whose channels-last maps (1, h, w, C) are given."""

    def step(self, maps: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """Go on to the next frame: positions (N, 2) and probabilities of being visible (N,)."""

    def keep(self, mask: Tensor) -> None:
        """Forget the points where ``mask`` (N,) is false."""


class PointTracker:
    """Follows points through frames given one at a time.

    Memory is bounded by the live points and a few frames of features, whatever the length of the video.

    Args:
        network: a :class:`~samepoint.models.network.PointNetwork`, or any network with ``preprocess``, ``features`` and
            ``lattices``.
        method: what carries the points; by default the refiner of ``network``, label propagation where it has none.
        quality: of the default method against its cost, see :data:`~samepoint.tracking.quality.QUALITIES`.
        short_side: frames are worked on at this short side, larger or smaller than they are; None keeps their size,
            ``"auto"`` leaves it to the quality.
        device: where to compute; where the network is by default.
        dtype: precision of the encoder; bfloat16 where the device gains from it by default.

    Raises:
        InputError: an unknown quality, or one for a ``method``; a precision that is not served.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        method: Method | None = None,
        quality: Quality = "balanced",
        short_side: ShortSide = "auto",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        if method is not None and named_quality(quality) != "balanced":
            raise InputError(f"quality {quality!r} is for the default method; a method of its own brings its settings")
        self.short_side = chosen_short_side(short_side, named_quality(quality))
        self._encoder = FrameEncoder(network, self.short_side, device=device, dtype=dtype)
        self.network, self.device, self.bf16 = self._encoder.network, self._encoder.device, self._encoder.bf16
        if method is None:
            if isinstance(self.network, PointNetwork):
                precision = torch.bfloat16 if self.bf16 else torch.float32
                method = RefinedPoints(self.network, QUALITIES[quality].refine, dtype=precision)
            else:
                method = PropagatedPoints(network.lattices, QUALITIES[quality].propagation)  # type: ignore[arg-type]
        self.method = method
        self._frame = -1
        self._size: tuple[int, int] | None = None
        self._scale = torch.ones(2)
        self._pixels = np.zeros((0, 0, 3), np.uint8)
        self._maps: tuple[Tensor, ...] = ()
        self._ids = np.zeros(0, np.int64)
        self._xy = torch.zeros(0, 2)
        self._confidence = torch.zeros(0)
        self._evidence: Tensor | None = None
        self._waiting: list[tuple[int, int, np.ndarray]] = []
        self._next_id = 0

    @classmethod
    def from_pretrained(
        cls,
        model: str | Path = "samepoint-base",
        *,
        quality: Quality = "balanced",
        short_side: ShortSide = "auto",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> PointTracker:
        """A tracker with the weights of a name in the table or of a file."""
        return cls(load_features(model).network, quality=quality, short_side=short_side, device=device, dtype=dtype)

    @property
    def frame(self) -> int:
        """Index of the frame last stepped; -1 before the first."""
        return self._frame

    @property
    def evidence(self) -> Tensor | None:
        """What the confidences of the frame last stepped rest on, (M, 7) of the first M ids: those that were followed
        into it. None where nothing was, or where the method keeps none."""
        return self._evidence

    def add(self, queries: Queries) -> np.ndarray:
        """Follow more points, from the frame last stepped or from a later one on.

        Returns:
            Their ids, int64 (N,), by which :meth:`step` names them and :meth:`remove` forgets them.

        Raises:
            InputError: a query frame that has passed, or a point outside the frame.
        """
        self.check(queries)
        ids = np.arange(self._next_id, self._next_id + len(queries))
        self._next_id += len(queries)
        self._waiting += [(int(f), int(i), p) for f, i, p in zip(queries.frame, ids, queries.xy, strict=True)]
        self._waiting.sort(key=lambda item: item[:2])
        if self._frame >= 0:
            self._start_waiting()
        return ids

    def check(self, queries: Queries) -> None:
        """Raise InputError for what :meth:`add` would not take."""
        if not isinstance(queries, Queries):
            kind = type(queries).__name__
            raise InputError(
                f"queries: expected samepoint.Queries, such as Queries.at([(120, 88)], frame=0), got {kind}"
            )
        late = np.flatnonzero(queries.frame < self._frame)
        if len(late):
            point = int(late[0])
            raise InputError(
                f"point {point}: its frame {int(queries.frame[point])} has passed; the last stepped is {self._frame}"
            )
        if self._size is not None:
            queries.check(self._size, None)

    def remove(self, ids: np.ndarray | list[int]) -> None:
        """Stop following points.

        Raises:
            InputError: an id that is not followed.
        """
        gone = {int(i) for i in np.atleast_1d(np.asarray(ids, dtype=np.int64))}
        known = {int(i) for i in self._ids} | {item[1] for item in self._waiting}
        if unknown := gone - known:
            raise InputError(f"no point with id {min(unknown)} is followed")
        self._waiting = [item for item in self._waiting if item[1] not in gone]
        keep = np.array([int(i) not in gone for i in self._ids], dtype=bool)
        mask = torch.from_numpy(keep)
        self.method.keep(mask.to(self.device))
        if self._evidence is not None:
            self._evidence = self._evidence[mask[: len(self._evidence)]]
        self._ids, self._xy, self._confidence = self._ids[keep], self._xy[mask], self._confidence[mask]

    @torch.inference_mode()
    def step(self, frame: np.ndarray) -> TrackState:
        """Take the next frame, uint8 RGB (H, W, 3), and say where the live points are in it.

        Raises:
            InputError: a frame of another shape or type than the first.
        """
        frame = np.asarray(frame)
        if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3 or 0 in frame.shape:
            raise InputError(f"a frame is uint8 (H, W, 3); got {frame.dtype} {frame.shape}")
        size = (frame.shape[0], frame.shape[1])
        if self._size is None:
            self._start(size)
        elif size != self._size:
            raise InputError(
                f"frame {self._frame + 1} is {size[1]}x{size[0]}, those before {self._size[1]}x{self._size[0]}"
            )
        self._frame += 1
        # Without points the encoder rests; the frame is kept for those that may yet be added to it.
        self._pixels, self._maps, self._evidence = frame, (), None
        if len(self._ids):
            xy, confidence = self.method.step(self._encoded())
            self._evidence = self.method.evidence if isinstance(self.method, RefinedPoints) else None
            self._xy = xy.cpu() / self._scale
            self._confidence = torch.where(inside(self._xy, size), confidence.cpu(), 0.0)
        self._start_waiting()
        if not self._maps:
            self._pixels = frame.copy()  # a camera may write its next frame into the same memory
        return self.state()

    def state(self) -> TrackState:
        """The live points in the frame last stepped."""
        confidence = self._confidence.numpy().astype(np.float32)
        return TrackState(
            self._frame, self._ids.copy(), self._xy.numpy().astype(np.float32), confidence >= 0.5, confidence
        )

    def _start(self, size: tuple[int, int]) -> None:
        if self._waiting:
            Queries.at(np.stack([xy for _, _, xy in sorted(self._waiting, key=lambda item: item[1])])).check(size)
        self._size = size
        work = working_size(size, self.short_side)
        self._scale = torch.tensor([work[1] / size[1], work[0] / size[0]])

    @torch.inference_mode()
    def _encoded(self) -> tuple[Tensor, ...]:
        """The maps of the frame last stepped, made when first asked for."""
        if not self._maps:
            self._maps = channels_last(self._encoder.batch(self._pixels))
        return self._maps

    def _start_waiting(self) -> None:
        now = [item for item in self._waiting if item[0] == self._frame]
        if not now:
            return
        self._waiting = [item for item in self._waiting if item[0] > self._frame]
        xy = torch.from_numpy(np.stack([item[2] for item in now]).astype(np.float32))
        self.method.add(self._encoded(), (xy * self._scale).to(self.device))
        self._ids = np.concatenate([self._ids, np.array([item[1] for item in now], np.int64)])
        self._xy = torch.cat([self._xy, xy])
        self._confidence = torch.cat([self._confidence, torch.ones(len(now))])


def inside(xy: Tensor, size: tuple[int, int]) -> Tensor:
    """Bool (N,): places (N, 2) within a frame of (H, W), its border included. What lies outside cannot be seen."""
    return ((xy >= 0) & (xy <= torch.tensor([size[1], size[0]]))).all(dim=1)
