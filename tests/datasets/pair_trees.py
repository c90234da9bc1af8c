"""Tiny copies of the pair sets in their official layouts, and what is in them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import scipy.io

from samepoint.io.images import write_image

WIDTH, HEIGHT = 60, 40


def picture(path: Path, shade: int = 0, size: tuple[int, int] = (HEIGHT, WIDTH)) -> Path:
    """Brighter to the right, so that a mirrored one is told from the other."""
    path.parent.mkdir(parents=True, exist_ok=True)
    row = np.linspace(shade, 255, size[1]).astype(np.uint8)
    write_image(path, np.broadcast_to(row[None, :, None], (*size, 3)).copy())
    return path


def spair_annotation(source: str, target: str, category: str, **changes: object) -> dict[str, object]:
    fields: dict[str, object] = {
        "filename": f"000000-{source}-{target}:{category}",
        "src_imname": f"{source}.jpg",
        "trg_imname": f"{target}.jpg",
        "src_imsize": [WIDTH, HEIGHT, 3],
        "trg_imsize": [WIDTH, HEIGHT, 3],
        "src_bndbox": [5, 6, 50, 30],
        "trg_bndbox": [7, 8, 40, 39],
        "category": category,
        "src_kps": [[10, 20], [30, 25]],
        "trg_kps": [[12, 21], [33, 9]],
        "kps_ids": ["0", "4"],
        "mirror": 0,
        "viewpoint_variation": 1,
        "scale_variation": 2,
        "truncation": 0,
        "occlusion": 3,
    }
    return fields | changes


def spair(root: Path, splits: dict[str, Sequence[str]]) -> Path:
    """``splits`` has the lines of each list; every line gets its annotation and pictures."""
    for split, lines in splits.items():
        layout = root / "Layout" / "large" / f"{split}.txt"
        layout.parent.mkdir(parents=True, exist_ok=True)
        layout.write_text("".join(f"{line}\n" for line in lines))
        folder = root / "PairAnnotation" / split
        folder.mkdir(parents=True, exist_ok=True)
        for line in lines:
            names, category = line.split(":")
            _, source, target = names.split("-")
            (folder / f"{line}.json").write_text(json.dumps(spair_annotation(source, target, category)))
            for name in (source, target):
                picture(root / "JPEGImages" / category / f"{name}.jpg")
    return root


KPS = {
    "a": [[10, 20], [np.nan, np.nan], [30, 5], [59.5, 0.5]],
    "b": [[11, 21], [4, 4], [31, 6], [1.5, 2.5]],
    "c": [[12, 22], [5, 5], [np.nan, 1], [2, 3]],
    "d": [[1, 2], [3, 4], [5, 6], [7, 8]],
}
TRAIN = "source_image,target_image,class,flip\n"
TEST = "source_image,target_image,class,XA,YA,XB,YB\n"
_AT = "PF-dataset-PASCAL/JPEGImages/"


def pf_train(*rows: tuple[str, str, int, int]) -> str:
    return TRAIN + "".join(f"{_AT}{a}.jpg,{_AT}{b}.jpg,{number},{flip}\n" for a, b, number, flip in rows)


def pf_test(*rows: tuple[str, str, int]) -> str:
    numbers = "10;59.5,20;0.5,11;1.5,21;2.5"
    return TEST + "".join(f"{_AT}{a}.jpg,{_AT}{b}.jpg,{number},{numbers}\n" for a, b, number in rows)


def pf_pascal(root: Path, lists: dict[str, str], category: str = "bicycle") -> Path:
    """Pictures and annotations of ``KPS``, and the lists by file name."""
    home = root / "PF-dataset-PASCAL"
    for name, kps in KPS.items():
        picture(home / "JPEGImages" / f"{name}.jpg")
        file = home / "Annotations" / category / f"{name}.mat"
        file.parent.mkdir(parents=True, exist_ok=True)
        scipy.io.savemat(file, {"kps": np.array(kps), "bbox": np.array([[5.0, 6.0, 50.0, 30.0]]), "class": category})
    for name, text in lists.items():
        (root / name).write_text(text)
    return root


def willow(root: Path, classes: dict[str, int]) -> Path:
    """``classes`` has the count of pictures; point k of picture i lies at (i + 2 k, 3 k)."""
    for name, count in classes.items():
        for i in range(count):
            path = picture(root / name / f"x_{i:03d}.png")
            xy = np.stack([i + 2.0 * np.arange(10), 3.0 * np.arange(10)])
            scipy.io.savemat(path.with_suffix(".mat"), {"pts_coord": xy}, do_compression=bool(i % 2))
    return root
