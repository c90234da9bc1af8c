"""What is counted of a shot's labels where the truth is known; see :mod:`benchmarks.web_labels`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from samepoint.datasets.jhmdb import JhmdbClip
from samepoint.datasets.synthetic import Clip
from samepoint.errors import InputError
from samepoint.webvideo.label_file import Labels

Result = dict[str, Any]

JOINT_REACH = 20.0
"""A joint is carried by a label that begins on the person within so many pixels of it."""


def judge_rendered(labels: Labels, clip: Clip, after: int) -> Result:
    """Counts and errors of the labels of one clip after so many frames."""
    xy, visible = clip.tracks(labels.xy[:, 0], 0)
    alive = labels.alive[:, after] if after < labels.frames else np.zeros(len(labels), bool)
    there = labels.xy[alive, after] if alive.any() else np.zeros((0, 2))
    return {
        "seeds": len(labels),
        "visible": int(visible[:, after].sum()),
        "alive": int(alive.sum()),
        "alive_visible": int((alive & visible[:, after]).sum()),
        "errors": np.linalg.norm(there - xy[alive, after], axis=1).tolist(),
    }


def pooled(rows: list[Result]) -> Result:
    """One row of the table of rendered clips, pooled over clips."""
    total = {key: sum(row[key] for row in rows) for key in ("seeds", "visible", "alive", "alive_visible")}
    errors = np.concatenate([np.asarray(row["errors"], float) for row in rows]) if rows else np.zeros(0)
    return {
        "alive": _share(total["alive"], total["seeds"]),
        "alive_of_visible": _share(total["alive_visible"], total["visible"]),
        "hidden": _share(total["alive"] - total["alive_visible"], total["alive"]),
        "error_mean": float(errors.mean()) if len(errors) else None,
        "error_median": float(np.median(errors)) if len(errors) else None,
        "error_p95": float(np.percentile(errors, 95)) if len(errors) else None,
    }


def judge_mask(labels: Labels, clip: JhmdbClip, after: int) -> Result:
    """How many labels stay on the person or off it, and how far joints are carried wrongly."""
    masks = clip.masks
    if masks is None:
        raise InputError(f"{clip.name}: has no masks")
    began = _inside(masks[0], labels.xy[:, 0])
    alive = labels.alive[:, after] if after < labels.frames else np.zeros(len(labels), bool)
    now = np.zeros(len(labels), bool)
    now[alive] = _inside(masks[after], labels.xy[alive, after]) if alive.any() else False
    result = {
        "on": int(began.sum()),
        "on_alive": int((began & alive).sum()),
        "on_stays": int((began & alive & now).sum()),
        "off": int((~began).sum()),
        "off_alive": int((~began & alive).sum()),
        "off_stays": int((~began & alive & ~now).sum()),
        "joints": 0,
        "joint_errors": [],
    }
    if clip.joints_xy is not None:
        for joint in clip.joints_xy:
            away = np.where(began, np.linalg.norm(labels.xy[:, 0] - joint[0], axis=1), np.inf)
            label = int(away.argmin())
            if away[label] > JOINT_REACH or not np.isfinite(joint[after]).all():
                continue
            result["joints"] += 1
            if alive[label]:
                carried = joint[0] + labels.xy[label, after] - labels.xy[label, 0]
                result["joint_errors"].append(float(np.linalg.norm(carried - joint[after])))
    return result


def pooled_masks(rows: list[Result]) -> Result:
    total = {key: sum(row[key] for row in rows) for key in ("on", "on_alive", "on_stays", "off", "off_alive", "joints")}
    total["off_stays"] = sum(row["off_stays"] for row in rows)
    errors = [error for row in rows for error in row["joint_errors"]]
    return {
        "clips": len(rows),
        "on_alive": _share(total["on_alive"], total["on"]),
        "on_stays": _share(total["on_stays"], total["on_alive"]),
        "off_alive": _share(total["off_alive"], total["off"]),
        "off_stays": _share(total["off_stays"], total["off_alive"]),
        "joints_alive": _share(len(errors), total["joints"]),
        "joint_error_mean": float(np.mean(errors)) if errors else None,
        "joint_error_median": float(np.median(errors)) if errors else None,
    }


def _inside(mask: NDArray[np.bool_], xy: np.ndarray) -> NDArray[np.bool_]:
    column = np.clip(xy[:, 0].astype(int), 0, mask.shape[1] - 1)
    row = np.clip(xy[:, 1].astype(int), 0, mask.shape[0] - 1)
    found: NDArray[np.bool_] = mask[row, column]
    return found


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
