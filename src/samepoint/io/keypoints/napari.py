"""Tracks for napari: CSV with ``track_id,t,y,x``, then properties; written only.

A row a joint and frame where it has a position. In napari the centre of the first pixel is (0, 0).
"""

from __future__ import annotations

from typing import IO

import numpy as np

from samepoint.io.keypoints.exact import losses, shortest
from samepoint.io.keypoints.rows import Dialect, write_rows
from samepoint.structures import Keypoints

OFFSET = 0.5
COLUMNS = ("track_id", "t", "y", "x", "individual", "bodypart", "likelihood", "visible", "labelled")


def save(keypoints: Keypoints, file: IO[bytes]) -> list[str]:
    known = keypoints.known
    order = np.argsort(keypoints.frame, kind="stable")
    rows: list[tuple[object, ...]] = [COLUMNS]
    for i, individual in enumerate(keypoints.individuals):
        for k, bodypart in enumerate(keypoints.bodyparts):
            for f in order[known[order, i, k]]:
                x, y = (shortest(value, OFFSET) for value in keypoints.xy[f, i, k])
                confidence = shortest(keypoints.confidence[f, i, k])
                flags = int(keypoints.visible[f, i, k]), int(keypoints.labelled[f, i, k])
                track = i * len(keypoints.bodyparts) + k
                rows.append((track, int(keypoints.frame[f]), y, x, individual, bodypart, confidence, *flags))
    write_rows(file, rows, Dialect())
    lost = losses(keypoints, ("confidence", "visible", "individuals", "labelled"))
    if (keypoints.labelled & ~known).any():
        lost.append("that joints were labelled as missing")
    return lost
