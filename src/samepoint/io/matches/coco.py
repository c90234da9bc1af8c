"""Matches as COCO keypoints: a picture and its annotations for every target, the points one category's keypoints.

v is 2 where a point was found and 0, with x and y 0, where it was not. Positions are indices of pixels, as COCO has
them: ours minus 0.5. ``confidence``, one number a keypoint, is our own key. Written, not read: the source has no place
in it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import IO, Any

import numpy as np

from samepoint.errors import InputError
from samepoint.io.keypoints.coco import FORMAT, OFFSET
from samepoint.io.keypoints.exact import shortest
from samepoint.structures import Keypoints, Matches

_THING = {"id": 1, "name": "object", "supercategory": "object"}


@dataclass(frozen=True)
class Template:
    """What the points are parts of.

    keypoints: the names of one individual's, all of them. part: (individual, keypoint) of each point. individuals:
    their names. skeleton: pairs of keypoints, from 0. category: that of the COCO file they come from, as it is there;
    empty: a plain "object".
    """

    keypoints: tuple[str, ...]
    part: tuple[tuple[int, int], ...]
    individuals: tuple[str, ...] = ("",)
    skeleton: tuple[tuple[int, int], ...] = ()
    category: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, keypoints: Keypoints) -> Template:
        """Of the known joints of the first frame, individual by individual."""
        part = tuple((int(i), int(k)) for i, k in np.argwhere(keypoints.known[0]))
        return cls(keypoints.bodyparts, part, keypoints.individuals, keypoints.skeleton, _category(keypoints))


def _category(keypoints: Keypoints) -> dict[str, Any]:
    """The one category of the annotations that they were read from; empty where that was no COCO file."""
    source = keypoints.source
    if source is None or source.format != FORMAT:
        return {}
    data, numbers, _ = source.head
    used = {str(data["annotations"][number].get("category_id")) for number in numbers.values()}
    return next((dict(each) for each in data["categories"] if "keypoints" in each and str(each.get("id")) in used), {})


def save(pairs: Sequence[Matches], file: IO[bytes], template: Template | None = None) -> None:
    """Raises InputError where the names of points do not differ and there is no template to tell them apart."""
    template = template or _plain(pairs[0])
    category = {
        **(template.category or _THING),
        "keypoints": list(template.keypoints),
        "skeleton": [[a + 1, b + 1] for a, b in template.skeleton],
    }
    names = [PurePath(matches.target).name for matches in pairs]
    if len(set(names)) < len(names):
        names = [matches.target for matches in pairs]
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, (name, matches) in enumerate(zip(names, pairs, strict=True), 1):
        height, width = matches.target_size
        images.append({"id": number, "file_name": name, "width": width, "height": height})
        for individual in sorted({i for i, _ in template.part}):
            entry: dict[str, Any] = {"id": len(annotations) + 1, "image_id": number}
            entry |= {"category_id": category.get("id"), "iscrowd": 0}
            entry |= {"individual": template.individuals[individual]} if template.individuals[individual] else {}
            annotations.append(entry | _points(matches, template, individual))
    data = {"images": images, "annotations": annotations, "categories": [category]}
    file.write(json.dumps(data, ensure_ascii=False).encode())


def check_names(names: Sequence[str]) -> None:
    """Raises InputError where two points have one name: without a template, COCO knows them by nothing else."""
    twice = next((name for name, count in Counter(names).items() if count > 1), None)
    if twice is not None:
        raise InputError(f"COCO needs points of different names; {twice!r} is there twice")


def _plain(matches: Matches) -> Template:
    check_names(matches.names)
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
