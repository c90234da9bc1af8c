"""COCO keypoints: ``images``, ``annotations`` with ``keypoints`` [x, y, v, ...], ``categories`` with their skeleton.

v is 0 where a joint is not labelled, 1 where it is labelled but hidden, 2 where it is seen. Positions are indices of
pixels: (0, 0) is the centre of the first. So ours is theirs + 0.5. Skeletons count joints from 1. An individual is an
annotation's ``individual`` (a name, our own key), its ``track_id``, or else its place in its picture.

An annotation keeps the ``bbox`` and ``area`` that it has, which may be those of more than its joints.
"""

from __future__ import annotations

import copy
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import IO, Any

import numpy as np

from samepoint.errors import InputError
from samepoint.io.keypoints.exact import SIZE, frame_of_name, losses, shortest, with_source, written
from samepoint.structures import Keypoints, KeypointSource
from samepoint.structures.checks import is_line

FORMAT = "coco"
OFFSET = 0.5
CATEGORY = "individual"  # what we call it where a file did not
_OF_IMAGES = ("id", "file_name", "width", "height")
_OF_ANNOTATIONS = ("id", "image_id", "category_id", "keypoints", "num_keypoints", "individual", "track_id")


def _no_constant(text: str) -> float:
    raise ValueError(f"{text} is not JSON")


def load(path: Path) -> Keypoints:
    try:
        data = json.loads(path.read_text(encoding="utf-8-sig"), parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise InputError(f"not JSON ({str(error)[:120]})") from None
    if isinstance(data, list):
        raise InputError("a list of results; expected an object with images, annotations and categories")
    if not isinstance(data, dict):
        raise InputError("expected an object with images, annotations and categories")
    images = _entries(data, "images")
    names = _names(images)
    annotations = [
        (f"annotations[{number}]", entry)
        for number, entry in enumerate(_entries(data, "annotations"))
        if "keypoints" in entry
    ]
    bodyparts, skeleton = _category(data, annotations)
    records: dict[tuple[int, int], tuple[str, list[Any]]] = {}
    frames: dict[int, int] = {}
    individuals: dict[str, int] = {}
    places: Counter[int] = Counter()
    for where, entry in annotations:
        image = entry.get("image_id")
        if not _whole(image) or image not in names:
            raise InputError(f"{where}: image_id {str(image)[:40]} is that of no picture")
        name = _individual(entry, where, places[image])
        places[image] += 1
        key = (frames.setdefault(image, len(frames)), individuals.setdefault(name, len(individuals)))
        if key in records:
            raise InputError(f"{where}: individual {name!r} is in the picture of {records[key][0]} twice")
        records[key] = (where, _triples(entry["keypoints"], len(bodyparts), where))
    nameless = [where for where, entry in annotations if _named(entry) is None]
    if nameless and len(nameless) < len(annotations):
        raise InputError(f"{nameless[0]}: no individual or track_id, but others have one; expected all or none")
    if len(individuals) > 1 and nameless:
        # The first of several without names is a number like the others.
        individuals = {name or "0": number for name, number in individuals.items()}
    shape = (len(frames), max(len(individuals), 1), len(bodyparts))
    xy, flags = np.full((*shape, 2), np.nan), np.zeros(shape, np.int64)
    exact = np.full((*shape, 3), None, object)
    for (f, i), (_, triples) in records.items():
        for k in range(len(bodyparts)):
            x, y, flag = triples[3 * k : 3 * k + 3]
            flags[f, i, k] = flag
            exact[f, i, k] = (x, y, flag)
            if flag:
                xy[f, i, k] = x + OFFSET, y + OFFSET
    pictures = tuple(names[image] for image in frames)
    made = Keypoints(
        np.array([frame_of_name(name) for name in pictures], np.int64),
        xy,
        bodyparts,
        tuple(individuals) or ("",),
        visible=flags == 2,
        skeleton=skeleton,
        images=pictures,
        size=_size(images),
    )
    keys = {key: int(where[12:-1]) for key, (where, _) in records.items()}
    return with_source(made, FORMAT, (data, keys, flags), exact)


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53


def _entries(data: dict[str, Any], key: str) -> list[dict[str, Any]]:
    found = data.get(key)
    if not isinstance(found, list):
        raise InputError(f"no list {key!r}; expected images, annotations and categories")
    for number, entry in enumerate(found):
        if not isinstance(entry, dict):
            raise InputError(f"{key}[{number}]: {str(entry)[:40]}; expected an object")
    return found


def _names(images: list[dict[str, Any]]) -> dict[int, str]:
    names: dict[int, str] = {}
    for number, image in enumerate(images):
        where = f"images[{number}]"
        if not _whole(image.get("id")) or image["id"] in names:
            raise InputError(f"{where}: id {str(image.get('id'))[:40]}; expected a whole number that no other has")
        name = image.get("file_name")
        if not isinstance(name, str) or not name or not is_line(name):
            raise InputError(f"{where}: file_name {str(name)[:40]!r}; expected the name of a picture")
        names[image["id"]] = name
    if len(set(names.values())) != len(names):
        twice = Counter(names.values()).most_common(1)[0][0]
        raise InputError(f"images: file_name {twice!r} is there twice")
    return names


def _category(
    data: dict[str, Any], annotations: list[tuple[str, dict[str, Any]]]
) -> tuple[tuple[str, ...], tuple[tuple[int, int], ...]]:
    """Names of the joints and pairs of them, of the one category that the annotations have."""
    categories = [(f"categories[{n}]", c) for n, c in enumerate(_entries(data, "categories")) if "keypoints" in c]
    used = {str(entry.get("category_id")) for _, entry in annotations} or {str(c.get("id")) for _, c in categories[:1]}
    fitting = [(where, category) for where, category in categories if str(category.get("id")) in used]
    if len(used) != 1 or len(fitting) != 1:
        raise InputError(f"keypoints of the categories {', '.join(sorted(used))[:80]}; expected one that has keypoints")
    where, category = fitting[0]
    names = category["keypoints"]
    if not isinstance(names, list) or not names or not all(isinstance(name, str) and name for name in names):
        raise InputError(f"{where}: keypoints must be names of joints")
    if len(set(names)) != len(names):
        raise InputError(f"{where}: two keypoints have the same name")
    pairs = category.get("skeleton", [])
    if not isinstance(pairs, list):
        raise InputError(f"{where}: skeleton must be pairs of joints")
    for pair in pairs:
        if not isinstance(pair, list) or len(pair) != 2 or not all(_whole(j) and 1 <= j <= len(names) for j in pair):
            raise InputError(f"{where}: {str(pair)[:40]} in skeleton; expected pairs of joints, 1 to {len(names)}")
    return tuple(names), tuple((a - 1, b - 1) for a, b in pairs)


def _named(entry: dict[str, Any]) -> tuple[str, Any] | None:
    return next(((key, entry[key]) for key in ("individual", "track_id") if entry.get(key) is not None), None)


def _individual(entry: dict[str, Any], where: str, place: int) -> str:
    named = _named(entry)
    if named is None:
        return str(place) if place else ""
    key, value = named
    if not isinstance(value, (str, int)) or isinstance(value, bool) or value == "" or not is_line(str(value)):
        raise InputError(f"{where}: {key} {str(value)[:40]!r}; expected a name or number")
    return str(value)


def _triples(values: Any, joints: int, where: str) -> list[Any]:
    if not isinstance(values, list) or len(values) != 3 * joints:
        raise InputError(f"{where}: keypoints must be {3 * joints} numbers, x, y, v for each of {joints} joints")
    for place, value in enumerate(values):
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) <= 1e7:
            raise InputError(f"{where}: keypoints[{place}] is {str(value)[:40]}; expected a number")
        if place % 3 == 2 and value not in (0, 1, 2):
            raise InputError(f"{where}: keypoints[{place}] is {str(value)[:40]}; expected v = 0, 1 or 2")
    return values


def _size(images: list[dict[str, Any]]) -> tuple[int, int] | None:
    sizes = {(str(image.get("height")), str(image.get("width"))) for image in images}
    if len(sizes) != 1:
        return None
    height, width = images[0].get("height"), images[0].get("width")
    return (int(height), int(width)) if _whole(height) and _whole(width) and height and width else None


def besides(source: KeypointSource) -> list[str]:
    data, keys, _ = source.head
    images, annotations = data["images"], [data["annotations"][number] for number in keys.values()]
    held = [key for key, value in data.items() if value and key not in ("images", "annotations", "categories")]
    held += dict.fromkeys(key for image in images for key in image if image[key] and key not in _OF_IMAGES)
    held += dict.fromkeys(key for entry in annotations for key in entry if entry[key] and key not in _OF_ANNOTATIONS)
    held += [
        f"the category {category.get('name')}"
        for category in data["categories"]
        if category.get("name", CATEGORY) != CATEGORY
    ]
    if any("width" in image or "height" in image for image in images):
        held.append(SIZE if _size(images) else "the sizes of the pictures")
    if len(annotations) < len(data["annotations"]):
        held.append("annotations without keypoints")
    if {image["id"] for image in images} - {entry["image_id"] for entry in annotations}:
        held.append("pictures without keypoints")
    return held


def save(keypoints: Keypoints, file: IO[bytes]) -> list[str]:
    source = keypoints.source
    ours = source is not None and source.format == FORMAT
    data, keys, flags = source.head if ours and source is not None else (_empty(keypoints), {}, None)
    data = copy.deepcopy(data)
    digits = max(6, len(str(int(keypoints.frame.max(initial=0)))))
    by_name = {image["file_name"]: image["id"] for image in data["images"]}
    category = _category_of(data, keys.values(), keypoints.bodyparts)
    next_image = max([0, *by_name.values()]) + 1
    next_id = max([0, *(entry["id"] for entry in data["annotations"] if _whole(entry.get("id")))]) + 1
    individuals = keypoints.individuals
    if any(individuals):  # or some annotations would have a name and some none, which nobody could tell apart
        individuals = _all_named(individuals)
    named = False
    values = written(keypoints, FORMAT, OFFSET)
    by_id = {image_id: name for name, image_id in by_name.items()}
    of_row = {row: by_id[data["annotations"][number]["image_id"]] for (row, _), number in keys.items()}
    rows = [(int(frame), int(row)) for frame, row in zip(keypoints.frame, keypoints.origin, strict=True)]
    by_frame = _by_frame(list(by_name), {frame: of_row[row] for frame, row in rows if row in of_row})
    for f, (frame, row) in enumerate(rows):
        name = keypoints.images[f] if keypoints.images else of_row.get(row, "") if row >= 0 else ""
        name = name or by_frame.get(frame, f"img{frame:0{digits}d}.png")
        if name not in by_name:
            size = {} if keypoints.size is None else {"width": keypoints.size[1], "height": keypoints.size[0]}
            data["images"].append({"id": next_image, "file_name": name, **size})
            by_name[name], next_image = next_image, next_image + 1
        for i in range(keypoints.shape[1]):
            number = keys.get((row, i)) if ours else None
            if number is None and not keypoints.known[f, i].any():
                continue
            before = None if number is None or flags is None else flags[row, i]
            triples = _written(keypoints, values, before, f, i)
            entry = data["annotations"][number] if number is not None else None
            if entry is not None and entry["keypoints"] == triples:
                continue
            if entry is None:
                entry = {"id": next_id, "image_id": by_name[name], "category_id": category, "iscrowd": 0}
                entry |= {"individual": individuals[i]} if individuals[i] else {}
                named = named or "individual" in entry
                data["annotations"].append(entry)
                next_id += 1
            entry |= {"keypoints": triples, "num_keypoints": int(keypoints.known[f, i].sum())}
            if not {"bbox", "area"} & set(entry):
                entry |= _box(keypoints.xy[f, i])
    for (_, i), number in keys.items():
        if named and _named(data["annotations"][number]) is None:
            data["annotations"][number]["individual"] = individuals[i]
    file.write(json.dumps(data, ensure_ascii=False).encode())
    return losses(keypoints, ("visible", "skeleton", "images", "individuals"))


def _all_named(individuals: tuple[str, ...]) -> tuple[str, ...]:
    """Names for those that have none, which no other has."""
    free = (name for name in map("individual{}".format, count(1)) if name not in individuals)
    return tuple(name or next(free) for name in individuals)


def _category_of(data: dict[str, Any], numbers: Iterable[int], bodyparts: tuple[str, ...]) -> Any:
    """The id of the category that annotations ``numbers`` have, else of the one with these joints."""
    used = {data["annotations"][number]["category_id"] for number in numbers}
    if len(used) == 1:
        return used.pop()
    return next(entry for entry in data["categories"] if entry.get("keypoints") == list(bodyparts))["id"]


def _by_frame(names: Sequence[str], labelled: Mapping[int, str]) -> dict[int, str]:
    """Pictures beside the labelled ones, by the frames that names tell: where they tell those of the labelled ones."""
    if not labelled or any(frame_of_name(name) != frame for frame, name in labelled.items()):
        return {}
    folders = {_folder(name) for name in labelled.values()}
    beside = [name for name in names if _folder(name) in folders]
    often = Counter(map(frame_of_name, beside))
    return {frame_of_name(name): name for name in beside if often[frame_of_name(name)] == 1}


def _folder(name: str) -> str:
    return name[: max(name.rfind("/"), name.rfind("\\")) + 1]


def _written(keypoints: Keypoints, values: np.ndarray, before: np.ndarray | None, f: int, i: int) -> list[Any]:
    triples: list[Any] = []
    for k in range(keypoints.shape[2]):
        known, visible = keypoints.known[f, i, k], keypoints.visible[f, i, k]
        flag = 2 if visible else int(known)
        x, y = values[f, i, k, :2]
        exact = before is not None and before[k] == flag and x is not None and not isinstance(x, str)
        if exact:
            triples += values[f, i, k].tolist()
        elif not known:
            triples += [0, 0, 0]
        else:
            x, y = (shortest(value, OFFSET) for value in keypoints.xy[f, i, k])
            triples += [float(x), float(y), flag]
    return triples


def _box(xy: np.ndarray) -> dict[str, Any]:
    """The box around the joints, which readers of COCO expect; its sides are lengths, its corner in COCO's pixels."""
    known = xy[~np.isnan(xy[:, 0])]
    if not len(known):
        return {"bbox": [0, 0, 0, 0], "area": 0}
    low, high = known.min(axis=0).astype(float), known.max(axis=0).astype(float)
    width, height = (high - low).round(3).tolist()
    return {"bbox": [*low.round(3).tolist(), width, height], "area": round(width * height, 3)}


def _empty(keypoints: Keypoints) -> dict[str, Any]:
    category = {
        "id": 1,
        "name": CATEGORY,
        "supercategory": CATEGORY,
        "keypoints": list(keypoints.bodyparts),
        "skeleton": [[a + 1, b + 1] for a, b in keypoints.skeleton],
    }
    return {"images": [], "annotations": [], "categories": [category]}
