"""The points of one picture, from any file that holds points: queries, or keypoints of any format that is read."""

from __future__ import annotations

from pathlib import Path, PurePath
from typing import NamedTuple

from samepoint.errors import InputError
from samepoint.io.keypoints import load_keypoints
from samepoint.io.matches.coco import Template
from samepoint.io.queries import load_queries
from samepoint.structures import Keypoints, Queries


class PicturePoints(NamedTuple):
    """Points, and what they are parts of where the file says."""

    queries: Queries
    template: Template | None = None
    is_coco: bool = False
    """The file is one of COCO."""


def load_points(path: str | Path, picture: str, frame: int | None = None) -> PicturePoints:
    """The points of a picture.

    Args:
        path: CSV with the columns ``x,y`` or ``frame,x,y`` (the frame is not looked at), and ``name`` or not; or
            keypoints of COCO, DeepLabCut, CVAT, SLEAP or plain CSV, of one picture or with its name among theirs.
        picture: its path or name.
        frame: its number, where it is the frame of a video.

    Raises:
        InputError: a file that is neither, no point in it, or several pictures none of which is this one.
    """
    path = Path(path)
    if path.suffix.lower() == ".csv" and _is_queries(path):
        queries = load_queries(path, still=True)
        if not len(queries):
            raise InputError(f"{path}: no point in this file; expected rows of x,y[,name]")
        return PicturePoints(queries)
    keypoints = load_keypoints(path)
    is_coco = keypoints.source is not None and keypoints.source.format == "coco"
    keypoints = keypoints.select([_row(keypoints, path, picture, frame)])
    known = keypoints.known[0]
    if not known.any():
        raise InputError(f"{path}: no keypoint with a position in {picture}")
    template = Template.of(keypoints)
    names = [keypoints.joint_name(i, k) for i, k in template.part]
    return PicturePoints(Queries.at(keypoints.xy[0][known], 0, names), template, is_coco)


def _is_queries(path: Path) -> bool:
    """Told by the column names; a file that cannot be read counts as one, and says why when it is."""
    try:
        with path.open(encoding="utf-8-sig") as file:
            first = next((line for line in file if line.strip() and not line.startswith("#")), "")
    except (OSError, UnicodeDecodeError):
        return True
    columns = [cell.strip().strip('"').lower() for cell in first.split(",")]
    return "bodypart" not in columns and columns[0] not in ("scorer", "track", "track_id", "frame_idx")


def _row(keypoints: Keypoints, path: Path, picture: str, frame: int | None) -> int:
    """Which of the frames is the picture."""
    count = keypoints.shape[0]
    if keypoints.images:
        wanted = PurePath(picture)
        for fits in (
            lambda image: PurePath(image) == wanted,
            lambda image: PurePath(image).name == wanted.name,
        ):
            rows = [row for row, image in enumerate(keypoints.images) if fits(image)]
            if len(rows) == 1:
                return rows[0]
    if frame is not None:
        rows = [row for row, number in enumerate(keypoints.frame) if number == frame]
        if len(rows) == 1:
            return rows[0]
    if count == 1:
        return 0
    raise InputError(f"{path}: holds {count} pictures; none of them, or more than one, is {picture}")
