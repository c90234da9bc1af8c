"""Matches as COCO keypoints: a picture and its annotations for every target, the points one category's keypoints.

v is 2 where a point was found and 0, with x and y 0, where it was not. Positions are indices of pixels, as COCO has
them: ours minus 0.5. ``confidence``, one number a keypoint, is our own key. Written, not read: the source has no place
in it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import IO, Any

import numpy as np

from samepoint.errors import InputError
from samepoint.io.keypoints.coco import OFFSET
from samepoint.io.keypoints.exact import shortest
from samepoint.structures import Keypoints, Matches


@dataclass(frozen=True)
class Template:
    """What the points are parts of.

    keypoints: the names of one individual's, all of them. part: (individual, keypoint) of each point. individuals:
    their names. skeleton: pairs of keypoints, from 0. category: the name of the category.
    """

    keypoints: tuple[str, ...]
    part: tuple[tuple[int, int], ...]
    individuals: tuple[str, ...] = ("",)
    skeleton: tuple[tuple[int, int], ...] = ()
    category: str = "object"

    @classmethod
    def of(cls, keypoints: Keypoints) -> Template:
        """Of the known joints of the first frame, individual by individual."""
        part = tuple((int(i), int(k)) for i, k in np.argwhere(keypoints.known[0]))
        return cls(keypoints.bodyparts, part, keypoints.individuals, keypoints.skeleton)


def save(pairs: Sequence[Matches], file: IO[bytes], template: Template | None = None) -> None:
    """Raises InputError where the names of points do not differ and there is no template to tell them apart."""
    template = template or _plain(pairs[0])
    names = [PurePath(matches.target).name for matches in pairs]
    if len(set(names)) < len(names):
        names = [matches.target for matches in pairs]
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, (name, matches) in enumerate(zip(names, pairs, strict=True), 1):
        height, width = matches.target_size
        images.append({"id": number, "file_name": name, "width": width, "height": height})
        for individual in sorted({i for i, _ in template.part}):
            entry: dict[str, Any] = {"id": len(annotations) + 1, "image_id": number, "category_id": 1, "iscrowd": 0}
            entry |= {"individual": template.individuals[individual]} if template.individuals[individual] else {}
            annotations.append(entry | _points(matches, template, individual))
    category = {
        "id": 1,
        "name": template.category,
        "supercategory": template.category,
        "keypoints": list(template.keypoints),
        "skeleton": [[a + 1, b + 1] for a, b in template.skeleton],
    }
    data = {"images": images, "annotations": annotations, "categories": [category]}
    file.write(json.dumps(data, ensure_ascii=False).encode())


def _plain(matches: Matches) -> Template:
    if len(set(matches.names)) < len(matches):
        twice = next(name for name in matches.names if matches.names.count(name) > 1)
        raise InputError(f"COCO needs points of different names; {twice!r} is there twice")
    return Template(matches.names, tuple((0, k) for k in range(len(matches))))


def _points(matches: Matches, template: Template, individual: int) -> dict[str, Any]:
    values: list[float] = [0, 0, 0] * len(template.keypoints)
    confidence = [0.0] * len(template.keypoints)
    known = []
    for point, (i, k) in enumerate(template.part):
        if i != individual:
            continue
        confidence[k] = float(str(matches.confidence[point]))
        if matches.found[point]:
            x, y = matches.target_xy[point]
            values[3 * k : 3 * k + 3] = [float(shortest(x, OFFSET)), float(shortest(y, OFFSET)), 2]
            known.append(matches.target_xy[point].astype(float))
    entry: dict[str, Any] = {"keypoints": values, "num_keypoints": len(known), "confidence": confidence}
    if not known:
        return entry | {"bbox": [0, 0, 0, 0], "area": 0}
    low, high = np.min(known, axis=0), np.max(known, axis=0)
    width, height = (high - low).round(3).tolist()
    return entry | {"bbox": [*low.round(3).tolist(), width, height], "area": round(width * height, 3)}
