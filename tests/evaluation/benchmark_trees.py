"""Tiny data sets in their official layouts, one for every benchmark, and what perfect predictions for them are."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import scipy.io
from PIL import Image

from samepoint.datasets import badja, davis, jhmdb, pf_pascal, pf_willow, spair, tapvid
from samepoint.datasets.pairs import Pairs
from samepoint.evaluation.metrics.tapvid import sample_queries_first, sample_queries_strided
from samepoint.evaluation.predictions import Arrays, file_name
from tests.datasets import pair_trees
from tests.datasets.test_badja import entry
from tests.datasets.test_davis import write_sequence
from tests.datasets.test_jhmdb import SIZE as JHMDB_SIZE
from tests.datasets.test_jhmdb import write_official
from tests.datasets.test_tapvid import sample, write

Truth = dict[str, dict[str, Arrays]]
"""Task -> item -> arrays."""

FRAMES = 4
TAPVID_FRAMES = 7  # more than 5, so that strided queries begin in two of them


def _tapvid(root: Path, name: str) -> None:
    videos = {"goat": _sample(0), "bike: a?": _sample(1)}
    if name == "tapvid-davis":
        write(root / "tapvid_davis.pkl", videos)
    elif name == "tapvid-rgb-stacking":
        write(root / "tapvid_rgb_stacking.pkl", list(videos.values()))
    elif name == "robotap":
        write(root / "robotap_split0.pkl", videos)
    else:
        write(root / "0000_of_0001.pkl", list(videos.values()))


def _sample(seed: int) -> dict[str, object]:
    """Seen in the first frame, hidden once, never at the edge."""
    content = sample(TAPVID_FRAMES, (32, 48), tracks=3, seed=seed)
    content["points"] = (0.2 + 0.6 * np.asarray(content["points"])).astype(np.float32)
    content["occluded"] = np.zeros((3, TAPVID_FRAMES), bool)
    content["occluded"][0, 2] = content["occluded"][1, 0] = True
    return content


def _badja(root: Path, name: str) -> None:
    notes = root / "joint_annotations"
    notes.mkdir(parents=True)
    for animal, column in (("cow", 400), ("ant", 700)):
        entries = [entry(frame, 500, column, True) for frame in (1, 3)]
        (notes / f"{animal}.json").write_text(json.dumps(entries).replace("/cow/", f"/{animal}/"))
        pictures, masks = (root / kind / "480p" / animal for kind in ("JPEGImages", "Annotations"))
        pictures.mkdir(parents=True)
        masks.mkdir(parents=True)
        for t in range(4):
            Image.new("RGB", (48, 32), (60 * t, 90, 0)).save(pictures / f"{t:05d}.jpg")
            mask = Image.new("P", (48, 32))
            mask.putpalette([0, 0, 0, 128, 0, 0])
            mask.paste(1, (0, 0, 24, 32))
            mask.save(masks / f"{t:05d}.png")


def _davis(root: Path, name: str) -> None:
    for sequence in ("goat", "bike"):
        first = np.zeros((24, 36), np.uint8)
        first[4:14, 5:18] = 1 if name == "davis-2017" else 255
        if name == "davis-2017":
            first[15:22, 20:30] = 2
        masks = [np.roll(first, t, axis=1) for t in range(FRAMES)]
        write_sequence(root, sequence, masks, "P" if name == "davis-2017" else "L")


def _jhmdb(root: Path, name: str) -> None:
    write_official(root, "walk/a", 4)
    write_official(root, "run/b", 3, puppet=False)
    part = np.arange(JHMDB_SIZE[1])[None, :, None] < 20 + np.arange(4)
    file = root / "puppet_mask" / "walk/a" / "puppet_mask.mat"
    scipy.io.savemat(file, {"part_mask": np.broadcast_to(part, (*JHMDB_SIZE, 4)).astype(np.uint8)})


def _spair(root: Path, name: str) -> None:
    lines = ["000000-a-b:cat", "000001-b-a:cat", "000002-a-c:cow"]
    pair_trees.spair(root, {"test": lines})


def _pf_pascal(root: Path, name: str) -> None:
    lists = {
        "trn_pairs.csv": pair_trees.pf_train(("a", "b", 2, 0)),
        "test_pairs.csv": pair_trees.pf_test(("a", "b", 2), ("c", "a", 2)),
    }
    pair_trees.pf_pascal(root, lists)


def _willow(root: Path, name: str) -> None:
    pair_trees.willow(root, {"duck(S)": 2, "car(G)": 2})


MAKERS: dict[str, Callable[[Path, str], None]] = {
    **dict.fromkeys(("tapvid-davis", "tapvid-kinetics", "tapvid-rgb-stacking", "robotap"), _tapvid),
    "jhmdb": _jhmdb,
    "badja": _badja,
    **dict.fromkeys(("davis-2016", "davis-2017"), _davis),
    **dict.fromkeys(("spair-71k", "spair-u"), _spair),
    "pf-pascal": _pf_pascal,
    "pf-willow": _willow,
}


def make(root: Path, name: str) -> Path:
    """A folder with the benchmark's data."""
    root.mkdir(exist_ok=True)
    MAKERS[name](root, name)
    return root


def truth(root: Path, name: str, mode: str = "first") -> Truth:
    """What a perfect model would predict."""
    if MAKERS[name] is _tapvid:
        found = {}
        for video in tapvid.sequences(root, name):  # type: ignore[arg-type]
            queries = (sample_queries_first if mode == "first" else sample_queries_strided)(
                video.scaled_xy(), video.occluded
            )
            found[video.name] = {
                "xy": video.xy[queries.track],
                "confidence": np.float32(1) - video.occluded[queries.track],
                "query_frame": queries.frame,
                "track": queries.track,
                "size": np.array(video.size),
            }
        return {"points": found}
    if name == "badja":
        joints = {}
        for animal in badja.sequences(root):
            xy = np.full((20, len(animal.frame_paths), 2), np.nan)
            factor = np.array(animal.size[::-1]) / np.array(badja.SCORED_SIZE[::-1])
            xy[:, animal.annotated] = animal.protocol_xy() * factor
            joints[animal.name] = {"xy": xy, "size": np.array(animal.size)}
        return {"joints": joints}
    if name == "jhmdb":
        clips = list(jhmdb.sequences(root))
        return {
            "joints": {clip.name: {"xy": clip.joints_xy, "size": np.array(JHMDB_SIZE)} for clip in clips},
            "masks": {clip.name: {"labels": clip.masks.astype(np.uint8)} for clip in clips if clip.mask_path},
        }
    if name.startswith("davis"):
        sequences = davis.sequences(root, name)  # type: ignore[arg-type]
        return {"masks": {one.name: {"labels": one.masks()} for one in sequences}}
    readers: dict[str, Callable[[Path], Pairs]] = {
        "spair-71k": spair.pairs,
        "spair-u": spair.pairs_u,
        "pf-pascal": pf_pascal.pairs,
        "pf-willow": pf_willow.pairs,
    }
    pairs = readers[name](root)
    return {"pairs": {pair.name: {"xy": pair.target_xy, "size": np.array(pair.target_size)} for pair in pairs}}


def save(folder: Path, predictions: Truth) -> Path:
    """As ``samepoint evaluate --predictions`` reads them."""
    for task, items in predictions.items():
        for item, arrays in items.items():
            path = folder / task / f"{file_name(item)}.npz"
            path.parent.mkdir(parents=True, exist_ok=True)
            np.savez(path, **arrays)
    return folder
