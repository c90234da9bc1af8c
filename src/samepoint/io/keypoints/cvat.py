"""CVAT for video 1.1: tracks of points or of skeletons, an element a frame with ``keyframe``, ``outside`` and
``occluded``.

A label is a body part; the n-th track of a label belongs to the n-th individual, tracks with a ``group_id`` to that of
the group, and a skeleton is one. A keyframe is what a person labelled (``outside``: that the joint is missing there).
CVAT imports nothing but keyframes, interpolates between them and goes on showing the last one. So where a joint had a
position and is not labelled any more, an ``outside`` is written, though it reads as labelled. Positions count from the
corner of the picture, as ours do.
"""

from __future__ import annotations

import copy
import re
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from samepoint.errors import InputError
from samepoint.io.keypoints.exact import (
    SIZE,
    as_xy,
    exact_values,
    losses,
    number,
    shortest,
    whole,
    with_source,
    written,
)
from samepoint.structures import Keypoints, KeypointSource

FORMAT = "cvat"
Joint = tuple[int, int, int]


@dataclass(frozen=True)
class _Shape:
    """One joint in one frame: its element, the place of its point in it, and the element that holds the frame."""

    element: ET.Element
    point: int
    holder: ET.Element
    track: int


@dataclass(frozen=True)
class _Head:
    root: ET.Element
    places: dict[Joint, tuple[int, int, int]]  # track, element in document order, point
    visible: np.ndarray
    labelled: np.ndarray


class _Builder(ET.TreeBuilder):
    """Elements, but no document type: it could declare entities that grow without end."""

    def doctype(self, name: str, public: str | None, system: str | None) -> None:
        raise InputError("declares a document type, which CVAT's files do not")


def load(path: Path) -> Keypoints:
    data = path.read_bytes()
    parser = ET.XMLParser(target=_Builder())
    try:
        parser.feed(data)
        root = parser.close()
    except InputError:
        raise
    except (ET.ParseError, ValueError, LookupError) as error:
        raise InputError(f"not XML ({error})") from None
    if root.tag != "annotations" or root.find("image") is not None:
        raise InputError(
            f"element <{root.tag}>{'/<image>' if root.tag == 'annotations' else ''}; expected <annotations> "
            "with <track> elements, which CVAT exports as 'CVAT for video 1.1'"
        )
    shapes, frames, individuals, bodyparts = _collect(root)
    shape = (len(frames), max(len(individuals), 1), len(bodyparts))
    xy = np.full((*shape, 2), np.nan)
    visible, labelled = np.zeros(shape, bool), np.zeros(shape, bool)
    exact = np.full((*shape, 3), None, object)
    for key, (where, found) in shapes.items():
        x, y = _points(found.element, where)[found.point]
        labelled[key] = _flag(found, "keyframe", where, "1")
        exact[key] = (x, y, "")
        position = as_xy(number(x, where), number(y, where), 0.0, where)
        if np.isnan(position[0]):
            raise InputError(f"{where}: no position; expected points='X,Y'")
        if not _flag(found, "outside", where, "0"):
            xy[key] = position
            visible[key] = not _flag(found, "occluded", where, "0")
    made = Keypoints(
        np.array(list(frames), np.int64),
        xy,
        tuple(bodyparts),
        tuple(individuals) or ("",),
        visible=visible,
        labelled=labelled,
        size=_size(root),
    )
    order = {id(element): n for n, element in enumerate(root.iter())}
    places = {key: (found.track, order[id(found.element)], found.point) for key, (_, found) in shapes.items()}
    head = _Head(root, places, made.visible, made.labelled)
    return with_source(made, FORMAT, head, exact)


def _collect(
    root: ET.Element,
) -> tuple[dict[Joint, tuple[str, _Shape]], dict[int, int], dict[str, int], dict[str, int]]:
    shapes: dict[Joint, tuple[str, _Shape]] = {}
    frames: dict[int, int] = {}
    bodyparts: dict[str, int] = {}
    tracks = _tracks(root)
    owners = _owners(tracks)
    individuals = {name: n for n, name in enumerate(dict.fromkeys(owners))}
    for t, track in enumerate(tracks):
        for where, label, found in _shapes(track, t):
            frame = whole(found.holder.get("frame", ""), f"{where}: frame")
            key = (
                frames.setdefault(frame, len(frames)),
                individuals[owners[t]],
                bodyparts.setdefault(label, len(bodyparts)),
            )
            if key in shapes:
                raise InputError(f"{where}: {label!r} of this individual is in frame {frame} twice")
            shapes[key] = (where, found)
    if not shapes:
        raise InputError("no <points> in a <track>; expected tracks of points or skeletons")
    return shapes, frames, individuals, bodyparts


def _tracks(root: ET.Element) -> list[ET.Element]:
    """Those of points or skeletons; others, as of boxes, are kept and not looked at."""
    return [track for track in root.findall("track") if any(child.tag in ("points", "skeleton") for child in track)]


def _owners(tracks: list[ET.Element]) -> list[str]:
    """The individual that each track belongs to."""
    seen: Counter[str] = Counter()
    owners = []
    for t, track in enumerate(tracks):
        label = track.get("label")
        if not label:
            raise InputError(f"track {t}: no label")
        group = track.get("group_id")
        owners.append(f"group {group}" if group else str(seen[label]))
        seen[label] += 0 if group else 1
    return owners if len(set(owners)) > 1 else [""] * len(owners)


def _shapes(track: ET.Element, t: int) -> Iterator[tuple[str, str, _Shape]]:
    """Each joint of a track in each of its frames: where it is, the body part, and its element."""
    name = f"track {track.get('id', t)} ({track.get('label')})"
    for holder in track:
        where = f"{name}, frame {holder.get('frame', '?')[:20]}"
        if holder.tag == "points":
            points = _points(holder, where)
            for point in range(len(points)):
                part = str(track.get("label")) + (f".{point + 1}" if len(points) > 1 else "")
                yield where, part, _Shape(holder, point, holder, t)
        elif holder.tag == "skeleton":
            for element in holder.findall("points"):
                label = element.get("label")
                if not label or len(_points(element, where)) != 1:
                    raise InputError(f"{where}: a joint of the skeleton needs a label and one point")
                yield f"{where}, {label}", label, _Shape(element, 0, holder, t)


def _points(element: ET.Element, where: str) -> list[tuple[str, str]]:
    text = element.get("points", "")
    pairs = [pair.split(",") for pair in text.split(";")]
    if any(len(pair) != 2 for pair in pairs):
        raise InputError(f"{where}: points {text[:40]!r}; expected X,Y")
    return [(x, y) for x, y in pairs]


def _flag(shape: _Shape, key: str, where: str, otherwise: str) -> bool:
    value = shape.element.get(key, shape.holder.get(key, otherwise))
    if value not in ("0", "1"):
        raise InputError(f"{where}: {key} is {value[:20]!r}; expected 0 or 1")
    return value == "1"


def _size(root: ET.Element) -> tuple[int, int] | None:
    found = root.find("meta//original_size")
    texts = [found.findtext(side, "") for side in ("height", "width")] if found is not None else []
    if len(texts) == 2 and all(re.fullmatch(r"[1-9][0-9]{0,6}", text) for text in texts):
        return int(texts[0]), int(texts[1])
    return None


def besides(source: KeypointSource) -> list[str]:
    root: ET.Element = source.head.root
    tags = (element.tag for child in root if child.tag != "meta" for element in child.iter())
    held = [f"<{tag}>" for tag in dict.fromkeys(tags) if tag not in ("version", "track", "points", "skeleton")]
    sides = root.findall("meta//original_size/*")
    if any((element.text or "").strip() and element not in sides for element in root.findall("meta//*")):
        held.append("<meta>")
    labels = dict.fromkeys(track.get("label") for track in _tracks(root) if track.find("skeleton") is not None)
    return [*held, *(f"the label {label}" for label in labels), *([SIZE] if _size(root) else [])]


def save(keypoints: Keypoints, file: IO[bytes]) -> list[str]:
    source = keypoints.source
    lost = losses(keypoints, ("visible", "labelled"))
    same = _same(keypoints)
    unsaid = ~keypoints.labelled & ~same
    if (keypoints.known & unsaid).any():
        lost.append("which joints were labelled by a person (it passes over all but keyframes)")
    if source is not None and source.format == FORMAT:
        root, outside = _changed(keypoints, source.head, same)
        lost = [what for what in lost if "individuals" not in what]
        if set(map(tuple, np.argwhere(keypoints.known.any(axis=0)).tolist())) - {key[1:] for key in source.head.places}:
            lost.append("the positions of joints that have no track in it")
    else:
        outside = ~keypoints.known & (keypoints.labelled | _ends(keypoints))
        root = ET.Element("annotations")
        ET.SubElement(root, "version").text = "1.1"
        if keypoints.size is not None:
            size = ET.SubElement(ET.SubElement(ET.SubElement(root, "meta"), "task"), "original_size")
            ET.SubElement(size, "width").text, ET.SubElement(size, "height").text = (
                str(keypoints.size[1]),
                str(keypoints.size[0]),
            )
        _add_tracks(root, keypoints, outside)
    if (outside & unsaid).any():
        lost.append(
            "that joints were not labelled in some frames (they are outside there, or it would go on showing them)"
        )
    ET.indent(root)
    file.write(b'<?xml version="1.0" encoding="utf-8"?>\n' + ET.tostring(root, encoding="utf-8") + b"\n")
    return lost


def _same(keypoints: Keypoints) -> np.ndarray:
    """bool (F, I, K): which joints are all that was read."""
    same = exact_values(keypoints, FORMAT)[..., 0] != np.array(None)
    rows = np.flatnonzero(same.any(axis=(1, 2)))
    if len(rows) and keypoints.source is not None:
        head, origin = keypoints.source.head, keypoints.origin[rows]
        same[rows] &= keypoints.visible[rows] == head.visible[origin]
        same[rows] &= keypoints.labelled[rows] == head.labelled[origin]
    return same


def _ends(keypoints: Keypoints) -> np.ndarray:
    """bool (F, I, K): where a joint that had a position has none any more; CVAT would go on showing it."""
    order = np.argsort(keypoints.frame, kind="stable")
    known = keypoints.known[order]
    ends = np.zeros_like(known)
    ends[order[1:]] = known[:-1] & ~known[1:]
    return ends


def _changed(keypoints: Keypoints, head: _Head, same: np.ndarray) -> tuple[ET.Element, np.ndarray]:
    """The document that was read, with what has changed since, and where it now says outside, bool (F, I, K)."""
    root = copy.deepcopy(head.root)
    elements, tracks = list(root.iter()), _tracks(root)
    values, outside = written(keypoints, FORMAT, 0.0), np.zeros(keypoints.shape, bool)
    row_of = {int(row): f for f, row in enumerate(keypoints.origin) if row >= 0}
    owner: dict[tuple[int, int], tuple[int, int, int]] = {}
    for (r, i, k), (track, element, point) in head.places.items():
        owner.setdefault((i, k), (track, element, point))
        if r in row_of:
            key = (row_of[r], i, k)
            outside[key] = not keypoints.known[key]
            _set(elements[element], point, keypoints, values, key, bool(same[key]))
    held = {(row_of[r], i, k) for r, i, k in head.places if r in row_of}
    holders = [{child.get("frame", ""): child for child in track if "frame" in child.attrib} for track in tracks]
    # Missing ones first: of several points in one element those with a position say that it is not outside.
    missing = keypoints.labelled & ~keypoints.known
    for f, i, k in [*np.argwhere(missing).tolist(), *np.argwhere(keypoints.known).tolist()]:
        if (f, i, k) not in held and (i, k) in owner:
            track, element, point = owner[i, k]
            for part in _insert(holders[track], elements[element], point, keypoints, values, (f, i, k)):
                outside[f, i, keypoints.bodyparts.index(part)] = True
    for tag, held_by in zip(tracks, holders, strict=True):
        rest = [child for child in tag if "frame" not in child.attrib]
        tag[:] = rest + sorted(held_by.values(), key=lambda child: int(child.get("frame", "0")))
    return root, outside & ~keypoints.known


def _set(element: ET.Element, point: int, keypoints: Keypoints, values: np.ndarray, key: Joint, same: bool) -> None:
    known = keypoints.known[key]
    if known or same:
        pairs = _points(element, "")
        pairs[point] = (values[key][0], values[key][1])
        element.set("points", ";".join(f"{x},{y}" for x, y in pairs))
    if not same:
        element.set("outside", str(int(not known)))
        element.set("occluded", str(int(known and not keypoints.visible[key])))
        element.set("keyframe", "1")


def _insert(
    holders: dict[str, ET.Element], model: ET.Element, point: int, keypoints: Keypoints, values: np.ndarray, key: Joint
) -> list[str]:
    """A frame that the track, given by its frames, did not have: points like its first, outside until they are set.

    Returns the joints of a skeleton that are new with it.
    """
    frame = str(int(keypoints.frame[key[0]]))
    skeleton = model.get("frame") is None
    new: list[ET.Element] = []
    if frame not in holders:
        holders[frame] = copy.deepcopy(next(iter(holders.values())))
        holders[frame].set("frame", frame)
        holders[frame].set("keyframe", "1")
        new = holders[frame].findall("points") if skeleton else [holders[frame]]
        for part in new:
            part.set("outside", "1")
            part.set("keyframe", "1")
    found = holders[frame]
    if skeleton:
        parts = [part for part in found.findall("points") if part.get("label") == model.get("label")]
        if not parts:
            parts = [copy.deepcopy(model)]
            found.append(parts[0])
        found = parts[0]
    _set(found, point, keypoints, values, key, False)
    return [part.get("label", "") for part in new] if skeleton else []


def _add_tracks(root: ET.Element, keypoints: Keypoints, outside: np.ndarray) -> None:
    """A track a joint. All it says is keyframes, as CVAT passes over others; ``outside``, bool (F, I, K): missing."""
    known = keypoints.known
    order = np.argsort(keypoints.frame, kind="stable")
    for i, k in np.ndindex(*keypoints.shape[1:]):
        rows = order[(known | outside)[order, i, k]]
        if not len(rows):
            continue
        track = ET.SubElement(root, "track", id=str(len(root.findall("track"))), label=keypoints.bodyparts[k])
        track.set("source", "manual")
        if keypoints.shape[1] > 1:
            track.set("group_id", str(i + 1))
        # Even a missing joint needs a position: the last that it had, or the first that it will have.
        xy = next((keypoints.xy[f, i, k] for f in rows if known[f, i, k]), np.zeros(2, np.float32))
        for f in rows:
            xy = keypoints.xy[f, i, k] if known[f, i, k] else xy
            ET.SubElement(
                track,
                "points",
                frame=str(int(keypoints.frame[f])),
                keyframe="1",
                outside=str(int(outside[f, i, k])),
                occluded=str(int(known[f, i, k] and not keypoints.visible[f, i, k])),
                points=f"{shortest(xy[0])},{shortest(xy[1])}",
                z_order="0",
            )
