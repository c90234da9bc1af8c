"""Confidences reconsidered a few frames late, for videos that need not be answered at once."""

from __future__ import annotations

from collections import deque

import numpy as np
import torch
from torch import Tensor

from ..models.visibility import EVIDENCE, HORIZON, Hindsight, surroundings


class Review:
    """Takes the evidence of frame after frame, and says better what was said of a frame ``HORIZON`` frames before.

    Memory holds ``2 HORIZON + 1`` frames of evidence, whatever the length of the video.
    """

    def __init__(self, hindsight: Hindsight, points: int) -> None:
        self.hindsight, self.points = hindsight, points
        # (evidence (N, 7), present (N,), confidence of all N points as it was given, which is changed in place)
        self._frames: deque[tuple[Tensor, Tensor, np.ndarray]] = deque(maxlen=2 * HORIZON + 1)
        for _ in range(HORIZON):
            self._frames.append(self._nothing())

    def add(self, ids: np.ndarray, evidence: Tensor | None, confidence: np.ndarray) -> None:
        """A frame: the evidence (M, 7) of the first M ``ids``, None for none, and the confidence (N,) of all points.

        ``confidence`` is corrected in place once the frames after it are known.
        """
        whole, present, _ = self._nothing()
        if evidence is not None:
            known = torch.from_numpy(ids[: len(evidence)])
            whole[known], present[known] = evidence.float().cpu(), True
        self._push((whole, present, confidence))

    def finish(self) -> None:
        """No frame follows."""
        for _ in range(HORIZON):
            self._push(self._nothing())

    def _nothing(self) -> tuple[Tensor, Tensor, np.ndarray]:
        empty = torch.zeros(self.points, dtype=torch.bool)
        return torch.zeros(self.points, len(EVIDENCE)), empty, np.zeros(0, np.float32)

    @torch.inference_mode()
    def _push(self, frame: tuple[Tensor, Tensor, np.ndarray]) -> None:
        self._frames.append(frame)
        if len(self._frames) < 2 * HORIZON + 1:
            return
        _, followed, confidence = self._frames[HORIZON]
        if not len(confidence):
            return
        # Confidence 0: outside the picture, whatever the frames around say.
        rows = torch.nonzero(followed & torch.from_numpy(confidence > 0))[:, 0]
        if not len(rows):
            return
        evidence = torch.stack([each[rows] for each, _, _ in self._frames])
        present = torch.stack([each[rows] for _, each, _ in self._frames])
        given = torch.from_numpy(confidence[rows.numpy()]).clamp(1e-6, 1 - 1e-6)
        device = self.hindsight.last.weight.device
        window = surroundings(evidence, present).to(device)
        confidence[rows.numpy()] = self.hindsight(window, given.logit().to(device)).sigmoid().cpu().numpy()
