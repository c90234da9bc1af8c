"""Confidences reconsidered a few frames late, for videos that need not be answered at once."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..models.company import COMPANY, company, company_of_support
from ..models.visibility import EVIDENCE, HORIZON, Hindsight, surroundings

_SEEN = 0.5
"""Confidence from which a point of the support counts as seen."""


class _Frame(NamedTuple):
    evidence: Tensor  # (N, 7)
    present: Tensor  # (N,) bool: followed into this frame
    company: Tensor  # (N, 9)
    confidence: np.ndarray  # (N,) as it was given, which is changed in place; empty for what is no frame


class Review:
    """Takes the evidence of frame after frame, and says better what was said of a frame ``HORIZON`` frames before.

    Memory holds ``2 HORIZON + 1`` frames of evidence, whatever the length of the video.

    Args:
        hindsight: what reconsiders.
        points: how many there may be, N; their ids are below.
        support: how many of them, the last, are there for the others only. With any, no other point is a point's
            company, only those of the support that were seen in the frame that it was given in.
    """

    def __init__(self, hindsight: Hindsight, points: int, *, support: int = 0) -> None:
        self.hindsight, self._followed = hindsight, points - support
        self._start, self._given = torch.zeros(points, 2), torch.zeros(points, dtype=torch.int64)
        self._frames: deque[_Frame] = deque(maxlen=2 * HORIZON + 1)
        self._count = 0
        self._seen: dict[int, tuple[Tensor, Tensor]] = {}  # by frame: ids of the support seen in it, and where
        for _ in range(HORIZON):
            self._frames.append(self._nothing())

    def start(self, ids: np.ndarray, frame: np.ndarray | int, xy: np.ndarray) -> None:
        """Points ``ids`` (M,) are given at ``xy`` (M, 2) in ``frame``, (M,) or one for all."""
        known = torch.from_numpy(ids)
        self._start[known] = torch.from_numpy(np.asarray(xy, np.float32))
        self._given[known] = torch.from_numpy(np.broadcast_to(np.asarray(frame, np.int64), len(ids)).copy())

    def add(
        self,
        ids: np.ndarray,
        evidence: Tensor | None,
        xy: np.ndarray,
        confidence: np.ndarray,
        size: tuple[int, int],
    ) -> None:
        """A frame of ``size`` (H, W): the evidence (M, 7) of the first M ``ids``, None for none.

        ``xy`` (N, 2) and ``confidence`` (N,) are of all points; ``confidence`` is corrected in place once the
        frames after it are known.
        """
        frame = self._nothing()._replace(confidence=confidence)
        place, said = torch.from_numpy(xy), torch.from_numpy(confidence).clone()  # the one is changed later
        if bool((self._given[: self._followed] == self._count).any()):
            support = torch.from_numpy(ids[ids >= self._followed])
            seen = support[said[support] >= _SEEN]
            self._seen[self._count] = seen, place[seen]
        if evidence is not None:
            known = torch.from_numpy(ids[: len(evidence)])
            frame.evidence[known], frame.present[known] = evidence.float().cpu(), True
            if self._followed == len(self._given):
                found = company(self._start[known], place[known], said[known], self._given[known], size)
                frame.company[known] = found
            else:
                self._ask_support(frame.company, known[known < self._followed], place, said, size)
        self._count += 1
        self._push(frame)

    def _ask_support(self, result: Tensor, points: Tensor, xy: Tensor, said: Tensor, size: tuple[int, int]) -> None:
        """Fill in the company (N, 9) of ``points``: who of the support was seen when they were given."""
        for given in self._given[points].unique().tolist():
            own, (others, begun) = points[self._given[points] == given], self._seen[given]
            result[own] = company_of_support(self._start[own], xy[own], (begun, xy[others], said[others]), size)

    def finish(self) -> None:
        """No frame follows."""
        for _ in range(HORIZON):
            self._push(self._nothing())

    def _nothing(self) -> _Frame:
        points = len(self._given)
        evidence, others = torch.zeros(points, len(EVIDENCE)), torch.zeros(points, len(COMPANY))
        return _Frame(evidence, torch.zeros(points, dtype=torch.bool), others, np.zeros(0, np.float32))

    @torch.inference_mode()
    def _push(self, frame: _Frame) -> None:
        self._frames.append(frame)
        if len(self._frames) < 2 * HORIZON + 1:
            return
        now = self._frames[HORIZON]
        if not len(now.confidence):
            return
        # Confidence 0: outside the picture, whatever the frames around say.
        rows = torch.nonzero(now.present & torch.from_numpy(now.confidence > 0))[:, 0]
        if not len(rows):
            return
        evidence = torch.stack([each.evidence[rows] for each in self._frames])
        present = torch.stack([each.present[rows] for each in self._frames])
        given = torch.from_numpy(now.confidence[rows.numpy()]).clamp(1e-6, 1 - 1e-6)
        device = self.hindsight.last.weight.device
        window = torch.cat([surroundings(evidence, present), now.company[rows]], dim=1).to(device)
        now.confidence[rows.numpy()] = self.hindsight(window, given.logit().to(device)).sigmoid().cpu().numpy()
