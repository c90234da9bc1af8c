"""Which labels moved as their surroundings allow: a robust rule that keeps objects that move on their own.

A label is compared with those neighbours that moved most like it: a local affine fit to these says where it should
have gone. A wrong match has no neighbours that moved like it; a point of a moving object has, also at its outline and
before a still background. What is too far is measured against the usual residual around it (median, as MAD).
"""

from __future__ import annotations

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

_TO_SIGMA = 1.4826  # from the median of absolute residuals to a standard deviation, for a normal distribution
_RIDGE = 0.5  # holds the linear part of a fit to few neighbours near zero
_ROUNDS = 10  # of the robust fit of the dominant motion


class MotionSettings(BaseModel):
    """When a label has moved too unlike its surroundings."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    neighbours: int = Field(24, ge=1)  # nearest labels that are looked at
    mates: int = Field(6, ge=1)  # of these, how many that moved most like it are fitted
    limit: float = Field(5.0, gt=0)  # residuals of so many robust deviations are too far
    floor: float = Field(1.0, ge=0)  # cells; smaller residuals are never too far
    spans: tuple[int, ...] = (1, 8)  # frames that a motion is looked at over: long ones show what slides away slowly


def consistent(before: np.ndarray, after: np.ndarray, settings: MotionSettings, cell: float = 1.0) -> np.ndarray:
    """The labels whose motion fits that of their surroundings.

    Args:
        before: (N, 2) places in one frame, any unit.
        after: (N, 2) places in another.
        settings: what is too far.
        cell: the size of a cell in that unit.

    Returns:
        bool (N,); all True where there are fewer than three labels, which say nothing of one another.

    >>> before = np.array([[x, y] for y in range(5) for x in range(5)], float)
    >>> after = before + [3, 0]
    >>> after[7] += [0, 9]
    >>> np.flatnonzero(~consistent(before, after, MotionSettings())).tolist()
    [7]
    """
    if len(before) < 3:
        return np.ones(len(before), bool)
    residual, around = residuals(before, after, settings)
    usual = _TO_SIGMA * np.median(residual[around], axis=1)
    fits: np.ndarray = residual <= np.maximum(settings.floor * cell, settings.limit * usual)
    return fits


def residuals(before: np.ndarray, after: np.ndarray, settings: MotionSettings) -> tuple[np.ndarray, np.ndarray]:
    """How far each of N >= 2 labels is from where its mates put it (N,), and the indices (N, K) of its neighbours."""
    count = len(before)
    motion = (after - before).astype(np.float64)
    away = np.square(before[:, None].astype(np.float64) - before[None]).sum(2)
    np.fill_diagonal(away, np.inf)
    near = min(settings.neighbours, count - 1)
    around = np.argpartition(away, near - 1, axis=1)[:, :near]
    unlike = np.square(motion[around] - motion[:, None]).sum(2)
    # Of those that moved alike, the nearest: a still picture must not pick its mates by chance.
    order = np.lexsort((np.take_along_axis(away, around, 1), unlike), axis=1)
    mates = np.take_along_axis(around, order[:, : settings.mates], 1)
    offset = before[mates] - before[:, None]
    scale = np.sqrt(np.square(offset).sum(2).mean(1)).clip(1e-9)
    design = np.concatenate([np.ones((*mates.shape, 1)), offset / scale[:, None, None]], axis=2)
    normal = design.transpose(0, 2, 1) @ design + np.diag([0.0, _RIDGE, _RIDGE])
    fitted = np.linalg.solve(normal, design.transpose(0, 2, 1) @ motion[mates])[:, 0]
    return np.linalg.norm(motion - fitted, axis=1), around


def dominant_residuals(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """How far each label (N,) is from the affine motion that most of the picture makes, mostly the camera's.

    Iteratively reweighted least squares with Geman-McClure weights, starting from the median motion.
    """
    motion = (after - before).astype(np.float64)
    residual = np.linalg.norm(motion - np.median(motion, axis=0), axis=1) if len(motion) else np.zeros(0)
    if len(motion) < 4:
        return residual
    middle, spread = before.mean(0), max(float(before.std()), 1e-9)
    design = np.concatenate([np.ones((len(before), 1)), (before - middle) / spread], axis=1)
    for _ in range(_ROUNDS):
        usual = max(_TO_SIGMA * float(np.median(residual)), 1e-3)
        weight = (1 + (residual / (2 * usual)) ** 2) ** -2
        weighted = design * weight[:, None]
        normal = design.T @ weighted + 1e-9 * np.eye(3)
        residual = np.linalg.norm(motion - design @ np.linalg.solve(normal, weighted.T @ motion), axis=1)
    return residual


def foreground_weights(xy: np.ndarray, floor: float) -> np.ndarray:
    """How likely each label lies on something that moves unlike most of the picture.

    Args:
        xy: (N, T, 2) places, NaN where there is none.
        floor: residual a frame, in the unit of ``xy``, that noise may make.

    Returns:
        (N,) in 0 to 1; 0 for labels of one frame.
    """
    total, seen = np.zeros(len(xy)), np.zeros(len(xy))
    for t in range(1, xy.shape[1]):
        both = np.isfinite(xy[:, t - 1 : t + 1]).all((1, 2))
        total[both] += dominant_residuals(xy[both, t - 1], xy[both, t])
        seen += both
    strength = total / np.maximum(seen, 1)
    usual = max(float(np.median(strength[seen > 0])), floor) if (seen > 0).any() else floor
    weights: np.ndarray = strength**2 / (strength**2 + (3 * usual) ** 2)
    return weights.astype(np.float32)
