"""SPair-71k (Min et al., 2019) and SPair-U, the same pictures with points that no training pair has.

    Layout/large/{trn,val,test}.txt                 lines "<6 digits>-<source>-<target>:<category>"
    PairAnnotation/{trn,val,test}/<that line>.json
    JPEGImages/<category>/<name>.jpg                Segmentation/<category>/<name>.png (optional)

SPair-U has ``PairAnnotation/test`` of its own; ``Layout`` and ``JPEGImages`` are SPair-71k's, each looked for in its
own folder and then in the folder ``SPair-71k`` beside it. Coordinates: see :mod:`samepoint.datasets.pairs`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from samepoint.datasets.check import Check, entries_of, listed, some
from samepoint.datasets.pairs import PASCAL, ImagePair, PairName, Pairs, box, points
from samepoint.errors import InputError

SPLITS = {"trn": 53_340, "val": 5_384, "test": 12_234}
"""Pairs of SPair-71k by split."""
FLAGS = ("viewpoint_variation", "scale_variation", "truncation", "occlusion")
CATEGORIES = tuple(name for name in PASCAL if name not in ("diningtable", "sofa"))

SOURCE = "get SPair-71k.tar.gz from cvlab.postech.ac.kr/research/SPair-71k"
SOURCE_U = "get SPair-U, published with «Jamais Vu» (2025)"
_LINE = re.compile(r"(\d{6})-([^:/\\]+)-([^:/\\-]+):([a-z]+)")


def pairs(root: str | Path, split: str = "test") -> Pairs:
    """The pairs of SPair-71k in the order of their list.

    Raises:
        InputError: there is no list of this split, a line of it cannot be read; later, for the pair asked for, its
            annotation or pictures.
    """
    folder = Path(root)
    return Pairs(_layout(folder, split), partial(_read, folder, folder, split))


def pairs_u(root: str | Path, base: str | Path | None = None) -> Pairs:
    """The test pairs of SPair-U: those on SPair-71k's list that have an annotation here; ``skipped`` names the others.

    Args:
        root: SPair-U's folder.
        base: SPair-71k's folder; found as the module says when None.

    Raises:
        InputError: as :func:`pairs`, or SPair-71k is not found.
    """
    folder = Path(root)
    lists, pictures = (_base(folder, part) if base is None else Path(base) for part in ("Layout", "JPEGImages"))
    there = entries_of(folder / "PairAnnotation" / "test")
    if not there:
        raise InputError(
            f"{folder / 'PairAnnotation' / 'test'}: no annotation there; the annotations were expected; {SOURCE_U}"
        )
    entries = _layout(lists, "test")
    kept = [entry for entry in entries if f"{entry.name}.json" in there]
    skipped = [entry.name for entry in entries if f"{entry.name}.json" not in there]
    return Pairs(kept, partial(_read, folder, pictures, "test"), skipped)


def read_mask(path: Path, category: str) -> NDArray[np.bool_]:
    """(H, W) where a segmentation shows the category. Raises InputError where the file or the name is not one."""
    if category not in CATEGORIES:
        raise InputError(f"{category!r} is no category of SPair-71k; expected one of {', '.join(CATEGORIES)}")
    try:
        with Image.open(path) as picture:
            values = np.asarray(picture)
    except (OSError, ValueError, SyntaxError) as error:
        raise InputError(f"{path}: cannot be read as a picture ({error})") from None
    if values.ndim != 2:
        raise InputError(f"{path}: has shape {values.shape}; expected one class number a pixel")
    return values == PASCAL.index(category) + 1


def lacking(root: str | Path, entries: Iterable[PairName], split: str = "test") -> list[str]:
    """The names of those entries of SPair-71k's list that lack their annotation or a picture."""
    return _sorted_out(Path(root), Path(root), split, entries)[1]


def lacking_u(root: str | Path, entries: Iterable[PairName]) -> list[str]:
    """As :func:`lacking`, for entries of SPair-U. Raises InputError where SPair-71k is not found."""
    return _sorted_out(Path(root), _base(Path(root), "JPEGImages"), "test", entries)[1]


def check(root: Path, splits: Sequence[str] = tuple(SPLITS)) -> Check:
    """What of SPair-71k is there: the lists of the splits, an annotation for every line, both pictures of it."""
    missing: list[str] = []
    notes = ["licence: research use; the pictures are PASCAL VOC 2012's (Flickr terms)"]
    found = 0
    seen: dict[str, set[str]] = {}
    for split in splits:
        try:
            entries, expected = _layout(root, split), SPLITS[split]
        except InputError as error:
            missing.append(str(error))
            continue
        if len(entries) < expected:
            missing.append(f"Layout/large/{split}.txt: {len(entries):,} pairs, published are {expected:,}; {SOURCE}")
        seen[split] = _pictures(entries)
        absent, unusable = _sorted_out(root, root, split, entries)
        found += len(entries) - len(unusable)
        if absent:
            missing.append(f"PairAnnotation/{split}: {some(absent)} of {len(entries):,} listed; {SOURCE}")
    missing += _absent_pictures(root, set().union(*seen.values()))
    if not (root / "Segmentation").is_dir():
        notes.append("Segmentation/ is not there; nothing needs it but masks of the objects")
    notes += _leakage(seen)
    return Check("spair-71k", root, found, tuple(missing), tuple(notes))


def check_u(root: Path) -> Check:
    """What of SPair-U is there, and of SPair-71k, which it builds on."""
    missing: list[str] = []
    notes = ["its points are absent from SPair-71k's training pairs: matchers trained as keypoint detectors fall here"]
    found = 0
    try:
        kept = pairs_u(root)
        home = _base(root, "JPEGImages")
    except InputError as error:
        missing.append(str(error))
    else:
        found = len(kept) - len(_sorted_out(root, home, "test", kept.entries)[1])
        missing += _absent_pictures(home, _pictures(kept.entries))
        notes.append(f"{len(kept.skipped):,} of SPair-71k's test pairs have no annotation here and are skipped")
        for part, what in (("Layout", "lists"), ("JPEGImages", "pictures")):
            if _base(root, part) != root:
                notes.append(f"the {what} are those of {_base(root, part)}")
    return Check("spair-u", root, found, tuple(missing), tuple(notes))


def _layout(root: Path, split: str) -> list[PairName]:
    if split not in SPLITS:
        raise InputError(f"split {split!r} is not known; expected one of {', '.join(SPLITS)}")
    path = root / "Layout" / "large" / f"{split}.txt"
    entries = []
    for number, line in listed(path, SOURCE):
        match = _LINE.fullmatch(line)
        if match is None:
            raise InputError(
                f"{path}: line {number} is {line[:60]!r}; expected <6 digits>-<source>-<target>:<category>"
            )
        entries.append(PairName(line, match[4], match[2], match[3]))
    if not entries:
        raise InputError(f"{path}: no pair in it; expected one a line")
    return entries


def _base(root: Path, part: str) -> Path:
    """The folder that holds SPair-71k's ``Layout`` or ``JPEGImages``."""
    for folder in (root, root.parent / "SPair-71k"):
        if (folder / part).is_dir():
            return folder
    raise InputError(f"{root}: SPair-71k's {part}/ is neither here nor in SPair-71k/ beside it; {SOURCE}")


def _read(annotations: Path, root: Path, split: str, entry: PairName) -> ImagePair:
    path = annotations / "PairAnnotation" / split / f"{entry.name}.json"
    try:
        fields: Any = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); expected the pair's annotation") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not a JSON file ({error})") from None
    if not isinstance(fields, dict):
        raise InputError(f"{path}: expected a JSON object with the pair's annotation")
    for key in ("src_kps", "trg_kps", "src_bndbox", "trg_bndbox"):
        if key not in fields:
            raise InputError(f"{path}: no field {key!r}; expected a pair's annotation")
    for key, expected in (("src_imname", entry.source), ("trg_imname", entry.target)):
        name = fields.get(key, expected)
        if not isinstance(name, str) or name.removesuffix(".jpg") != expected:
            raise InputError(f"{path}: {key} is {name!r}; the file's name says {expected!r}")
    source, target = (points(fields[key], f"{path}: {key}") for key in ("src_kps", "trg_kps"))
    if len(source) != len(target):
        raise InputError(f"{path}: {len(source)} source and {len(target)} target points; expected as many of each")
    return ImagePair(
        name=entry.name,
        category=entry.category,
        source_path=root / "JPEGImages" / entry.category / f"{entry.source}.jpg",
        target_path=root / "JPEGImages" / entry.category / f"{entry.target}.jpg",
        source_xy=source,
        target_xy=target,
        source_box=box(fields["src_bndbox"], f"{path}: src_bndbox"),
        target_box=box(fields["trg_bndbox"], f"{path}: trg_bndbox"),
        flags={key: _degree(fields[key], f"{path}: {key}") for key in FLAGS if fields.get(key) is not None},
        source_mask=_mask(root, entry.category, entry.source),
        target_mask=_mask(root, entry.category, entry.target),
    )


def _degree(value: Any, place: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise InputError(f"{place} is {str(value)[:60]!r}; expected a whole number")
    return value


def _mask(root: Path, category: str, name: str) -> Path | None:
    path = root / "Segmentation" / category / f"{name}.png"
    return path if path.is_file() else None


def _sorted_out(annotations: Path, root: Path, split: str, entries: Iterable[PairName]) -> tuple[list[str], list[str]]:
    """The annotations that are absent, and the names of all entries that lack their annotation or a picture."""
    there = entries_of(annotations / "PairAnnotation" / split)
    listed_pairs = tuple(entries)
    images = {name: entries_of(root / "JPEGImages" / name) for name in {entry.category for entry in listed_pairs}}
    absent, unusable = [], []
    for entry in listed_pairs:
        pictures = {f"{entry.source}.jpg", f"{entry.target}.jpg"}
        if f"{entry.name}.json" not in there:
            absent.append(f"{entry.name}.json")
            unusable.append(entry.name)
        elif not pictures <= images[entry.category]:
            unusable.append(entry.name)
    return absent, unusable


def _pictures(entries: Iterable[PairName]) -> set[str]:
    return {f"{entry.category}/{name}.jpg" for entry in entries for name in (entry.source, entry.target)}


def _leakage(seen: dict[str, set[str]]) -> list[str]:
    if not {"trn", "test"} <= seen.keys():
        return []
    return [f"leakage: {len(seen['test'] & seen['trn']):,} of {len(seen['test']):,} test pictures occur in training"]


def _absent_pictures(root: Path, wanted: set[str]) -> list[str]:
    there = {
        f"{category}/{name}"
        for category in {picture.split("/")[0] for picture in wanted}
        for name in entries_of(root / "JPEGImages" / category)
    }
    absent = sorted(wanted - there)
    return [f"JPEGImages: {some(absent)} of {len(wanted):,} pictures; {SOURCE}"] if absent else []
