"""Pictures of a result's best and worst items: predictions drawn on the frames, with what was annotated."""

from __future__ import annotations

import re
import warnings
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from samepoint.datasets.frames import checked_name
from samepoint.datasets.pairs import ImagePair, Pairs
from samepoint.errors import InputError
from samepoint.evaluation.metrics.davis import outline
from samepoint.evaluation.metrics.semantic import PROTOCOLS
from samepoint.evaluation.predictions import file_name
from samepoint.evaluation.report import LOWER_IS_BETTER, Picture, main_metric, one_decimal
from samepoint.evaluation.result_file import Percentages, Result
from samepoint.io.images import write_image
from samepoint.structures import Tracks
from samepoint.viz.draw import draw_tracks, label, paste, point_colors
from samepoint.viz.masks import draw_masks

Image = NDArray[np.uint8]
Arrays = Mapping[str, NDArray[Any]]

SHOWN = 4
"""Frames of a video in its picture."""
_SIDE = 480  # width of a frame in the picture
_WHITE, _DARK = (255, 255, 255), (18, 18, 22)
_PAIRS = {
    "spair-71k": ("spair", "pairs"),
    "spair-u": ("spair", "pairs_u"),
    "pf-pascal": ("pf_pascal", "pairs"),
    "pf-willow": ("pf_willow", "pairs"),
}


@dataclass(frozen=True)
class Pick:
    """An item to draw."""

    item: str
    rank: str
    """``best 1``, ``worst 2``."""
    metric: str
    value: float


def pick(per_item: Mapping[str, Percentages], count: int) -> list[Pick]:
    """The ``count`` best and the ``count`` worst items by the main metric; none twice, the best first.

    Items without a score are passed over. Where there are too few, the best get the odd one.

    >>> [(one.rank, one.item) for one in pick({"a": {"AJ": 1.0}, "b": {"AJ": 3.0}, "c": {"AJ": None}}, 2)]
    [('best 1', 'b'), ('worst 1', 'a')]
    """
    metric = main_metric(list(dict.fromkeys(name for item in per_item.values() for name in item)))
    scores = {item: value for item, metrics in per_item.items() if (value := metrics.get(metric or "")) is not None}
    sign = 1 if metric in LOWER_IS_BETTER else -1
    ranked = sorted(scores, key=lambda item: (sign * scores[item], item))
    best = ranked[: min(count, -(-len(ranked) // 2))]
    worst = ranked[len(best) :][::-1][:count]
    return [
        Pick(item, f"{word} {number}", str(metric), scores[item])
        for word, items in (("best", best), ("worst", worst))
        for number, item in enumerate(items, 1)
    ]


def draw_results(results: Sequence[Result], folder: Path, count: int) -> list[tuple[Result, Picture]]:
    """Draw the best and worst items of each result into ``folder/<name of its file>/``.

    What cannot be drawn (predictions or data are not there) is told in a warning of one line for each result, and
    passed over.

    Raises:
        InputError: the folder cannot be made.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: is a file; expected a folder or a new name")
    drawn: list[tuple[Result, Picture]] = []
    taken: set[str] = set()
    for result in results:
        name = _file_name(result.path.stem)
        while name in taken:
            name += "-again"
        taken.add(name)
        try:
            pictures = _draw_result(result, folder / name, count)
        except InputError as error:
            warnings.warn(f"{result.path}: no pictures: {error}", stacklevel=2)
        else:
            drawn += [(result, picture) for picture in pictures]
    return drawn


def draw(
    item: str,
    predictions: Path,
    root: Path,
    benchmark: str,
    *,
    direction: str = "s2t",
    resolution: str | None = None,
) -> Image:
    """One item with its prediction, uint8 RGB (H, W, 3).

    Points: a few frames, a filled marker where a point is predicted visible, a hollow one where hidden, a white line
    from it to the white cross where it was annotated. Masks: a few frames, the predicted objects tinted, a white line
    around the annotated ones. Pairs: both pictures, the points asked for in one, predicted and annotated in the other.

    Args:
        item: its name in RESULT.json.
        predictions: its .npz.
        root: the data set's folder.
        benchmark: the data set.
        direction: of pairs, ``s2t`` or ``t2s``: which picture the predictions lie in.
        resolution: of DAVIS, ``480p`` or ``full``: which was predicted; the first that is there when None.

    Raises:
        InputError: prediction, picture or annotation cannot be read, or do not belong together.
    """
    arrays = _load(predictions)
    try:
        if benchmark in _PAIRS:
            return _draw_pair(_pair(benchmark, root, item), arrays["xy"], direction)
        if "labels" in arrays:
            return _draw_masks(*_masks(benchmark, root, item, resolution), arrays["labels"])
        return _draw_points(*_points(benchmark, root, item, arrays), arrays)
    except KeyError as error:
        raise InputError(f"{predictions}: has no array {error} as predictions for {benchmark} have") from None


def _draw_result(result: Result, folder: Path, count: int) -> list[Picture]:
    scored = result.scored[0]
    picks = pick(scored.per_item, count)
    if not picks:
        raise InputError("no item has a score")
    if result.predictions is None:
        raise InputError("it names no folder of predictions")
    place = result.path.parent / result.predictions
    if not place.is_dir():
        raise InputError(f"there is no folder of predictions {place}")
    root = result.settings.get("root")
    if not isinstance(root, str) or not Path(root).is_dir():
        raise InputError(
            f"its data is not where it was, {root}" if isinstance(root, str) else "it names no data folder"
        )
    protocol = PROTOCOLS.get(scored.protocol["name"])
    direction = protocol.direction if protocol else "s2t"
    resolution = scored.protocol.get("resolution")
    pictures, failed = [], []
    for one in picks:
        try:
            path = _prediction(place, one, result)
            drawn = draw(one.item, path, Path(root), result.benchmark, direction=direction, resolution=resolution)
        except InputError as error:
            failed.append(str(error))
            continue
        folder.mkdir(parents=True, exist_ok=True)
        target = folder / f"{_file_name(f'{one.rank} {one.item}')}.png"
        write_image(target, drawn)
        score = f"{one.metric} {one_decimal(one.value)}"
        label = f"{result.model}, {result.settings_name}, {scored.protocol['name']}"
        pictures.append(Picture(target, f"{label}: {one.rank}, {one.item}, {score}"))
    if failed:
        more = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
        warnings.warn(f"{result.path}: {len(failed)} of {len(picks)} not drawn: {failed[0]}{more}", stacklevel=3)
    return pictures


def _prediction(folder: Path, one: Pick, result: Result) -> Path:
    """``<item>.npz`` in the folder, or in that of the task that the metric belongs to."""
    item = file_name(checked_name(one.item, str(result.path)))
    masks = one.metric.startswith(("J", "F_"))
    tasks = sorted((task for task in result.tasks if task), key=lambda task: (task == "masks") != masks)
    places = [
        folder / f"{item}.npz",
        *(folder / checked_name(task, str(result.path)) / f"{item}.npz" for task in tasks),
    ]
    found = next((path for path in places if path.is_file()), None)
    if found is None:
        raise InputError(f"there is no prediction {places[min(1, len(places) - 1)]}")
    return found


def _load(path: Path) -> Arrays:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: not a readable prediction ({error})") from None


def _points(
    benchmark: str, root: Path, item: str, arrays: Arrays
) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.int64]]:
    """Frames, annotated positions (N, T, 2) with NaN where there are none, and the frames worth showing."""
    if benchmark == "badja":
        from samepoint.datasets import badja

        sequence = badja.sequences(root, only=[item])[0]
        frames = sequence.frames(None)
        truth = np.full((len(sequence.joints_xy), len(frames), 2), np.nan, np.float32)
        truth[:, sequence.annotated] = np.where(sequence.visible[..., None], sequence.joints_xy, np.nan)
        return frames, truth, sequence.annotated
    if benchmark == "jhmdb":
        from samepoint.datasets import jhmdb

        clip = next(iter(jhmdb.sequences(root, only=[item])))
        frames = clip.frames()
        if clip.joints_xy is None:
            raise InputError(f"{item}: has no joints to draw")
        return frames, clip.joints_xy[:, : len(frames)], np.arange(len(frames))
    from samepoint.datasets import tapvid

    video = next(iter(tapvid.sequences(root, cast("tapvid.Benchmark", benchmark), only=[item])))
    truth = np.where(video.occluded[..., None], np.nan, video.xy).astype(np.float32)
    track = arrays.get("track")
    if track is not None:
        if track.dtype.kind not in "iu" or not ((track >= 0) & (track < len(truth))).all():
            raise InputError(f"{item}: the prediction is of tracks that the video does not have")
        truth = truth[track]
    elif len(truth) != len(arrays["xy"]):  # never visible, and so never asked for
        truth = truth[~video.occluded.all(axis=1)]
    frames = video.frames(None)
    return frames, truth, np.arange(len(frames))


def _masks(
    benchmark: str, root: Path, item: str, resolution: str | None
) -> tuple[NDArray[np.uint8], Callable[[int], NDArray[Any]]]:
    """Frames, and the annotated labels of each."""
    if benchmark == "jhmdb":
        from samepoint.datasets import jhmdb

        clip = next(iter(jhmdb.sequences(root, only=[item])))
        masks = clip.masks
        if masks is None:
            raise InputError(f"{item}: has no masks to draw")
        return clip.frames(), lambda t: masks[t]
    from samepoint.datasets import davis

    year = cast("davis.Benchmark", benchmark)
    sequence = davis.sequences(root, year, resolution=resolution, only=[item])[0]
    return sequence.frames(), sequence.mask


def _pair(benchmark: str, root: Path, item: str) -> ImagePair:
    module, function = _PAIRS[benchmark]
    pairs: Pairs = getattr(import_module(f"samepoint.datasets.{module}"), function)(root)
    for index, entry in enumerate(pairs.entries):
        if entry.name == item:
            return pairs[index]
    raise InputError(f"{root}: no pair {item!r} in {benchmark}")


def _draw_points(
    frames: NDArray[np.uint8], truth: NDArray[np.float32], candidates: NDArray[np.int64], arrays: Arrays
) -> Image:
    xy = arrays["xy"].astype(np.float32)
    confidence = arrays.get("confidence", np.ones(xy.shape[:2])).astype(np.float32)  # joints may come without
    if xy.shape != (len(truth), len(frames), 2) or confidence.shape != xy.shape[:2]:
        raise InputError(
            f"the prediction has the shape {xy.shape}, expected {(len(truth), len(frames), 2)} for these frames"
        )
    known = np.asarray(np.isfinite(xy).all(axis=-1))
    tracks = Tracks.from_confidence(
        np.where(known[..., None], xy, np.nan),
        np.where(known, np.nan_to_num(confidence).clip(0, 1), 0),
        25.0,
        (frames.shape[1], frames.shape[2]),
    )
    cells = []
    for t in _spread(candidates):
        picture = _fit(frames[t])
        factor = np.array([picture.shape[1] / frames.shape[2], picture.shape[0] / frames.shape[1]])
        marked = draw_tracks(picture, tracks, t, trail=0)
        _mark_truth(marked, xy[:, t] * factor, truth[:, t] * factor)
        cells.append(_captioned(marked, f"frame {t}"))
    return _tiled(cells)


def _draw_masks(frames: NDArray[np.uint8], truth: Callable[[int], NDArray[Any]], labels: NDArray[np.uint8]) -> Image:
    if labels.shape != frames.shape[:3] or labels.dtype != np.uint8:
        raise InputError(f"the prediction has labels {labels.shape} {labels.dtype}, expected {frames.shape[:3]} uint8")
    cells = []
    for t in _spread(np.arange(len(frames))):
        picture, real = draw_masks(frames[t], labels[t]), truth(t)
        for number in np.unique(real[real > 0]):
            picture[outline(real == number)] = _WHITE
        cells.append(_captioned(_fit(picture), f"frame {t}"))
    return _tiled(cells)


def _draw_pair(pair: ImagePair, xy: NDArray[Any], direction: str) -> Image:
    pictures, points = (pair.source(), pair.target()), (pair.source_xy, pair.target_xy)
    if direction == "t2s":
        pictures, points = pictures[::-1], points[::-1]
    if xy.shape != points[1].shape:
        raise InputError(f"{pair.name}: the prediction has the shape {xy.shape}, expected {points[1].shape}")
    guess = np.where(np.isfinite(xy).all(axis=1, keepdims=True), xy, np.nan).astype(np.float32)
    colors = point_colors(_still(points[0], pictures[0]))
    cells = []
    for picture, places, truth, text in (
        (pictures[0], points[0], None, "asked"),
        (pictures[1], guess, points[1], "predicted, and annotated (white)"),
    ):
        small = _fit(picture)
        marked = draw_tracks(small, _still(places, picture), 0, trail=0, colors=colors)
        if truth is not None:
            factor = np.array([small.shape[1] / picture.shape[1], small.shape[0] / picture.shape[0]])
            _mark_truth(marked, places * factor, truth * factor)
        cells.append(_captioned(marked, text))
    return _tiled(cells)


def _still(xy: NDArray[np.float32], picture: Image) -> Tracks:
    """Points of one picture."""
    known = np.asarray(np.isfinite(xy).all(axis=1))
    return Tracks.from_confidence(xy[:, None].astype(np.float32), known[:, None], 25.0, picture.shape[:2])


def _mark_truth(picture: Image, guess: NDArray[Any], truth: NDArray[Any]) -> None:
    """White crosses where points were annotated, and lines to them from where they were predicted, in place."""
    arm = max(3, round(0.009 * np.sqrt(picture.shape[0] * picture.shape[1])))
    reach = 4 * max(picture.shape[:2])  # cv2 overflows far away
    for start, end in zip(guess, truth, strict=True):
        if not np.isfinite(end).all():
            continue
        x, y = (round(float(side)) for side in np.clip(end - 0.5, -reach, reach))
        if np.isfinite(start).all():
            u, v = (round(float(side)) for side in np.clip(start - 0.5, -reach, reach))
            cv2.line(picture, (u, v), (x, y), _WHITE, 1, cv2.LINE_AA)
        for color, thickness in ((_DARK, 3), (_WHITE, 1)):
            cv2.drawMarker(picture, (x, y), color, cv2.MARKER_TILTED_CROSS, 2 * arm, thickness, cv2.LINE_AA)


def _spread(candidates: NDArray[np.int64]) -> list[int]:
    """Frames evenly spread to the last one; the first, where everything is given, only if there is no other."""
    later = candidates[1:] if len(candidates) > 1 else candidates
    chosen = np.linspace(0, len(later) - 1, min(SHOWN, len(later)) + 1)[1:] if len(later) > SHOWN else range(len(later))
    return [int(later[round(float(index))]) for index in chosen]


def _fit(picture: Image) -> Image:
    """At the width of the cells, aspect kept."""
    height, width = picture.shape[:2]
    factor = _SIDE / width
    method = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(picture, (_SIDE, max(1, round(height * factor))), interpolation=method), np.uint8)


def _captioned(picture: Image, text: str) -> Image:
    patch = label(text, _WHITE, 14)
    paste(picture, patch, 6, 6)
    return picture


def _tiled(cells: Sequence[Image]) -> Image:
    """Two side by side in each row."""
    gap = 4
    rows = []
    for start in range(0, len(cells), 2):
        row = cells[start : start + 2]
        height = max(cell.shape[0] for cell in row)
        line = np.full((height + gap, min(2, len(cells)) * (_SIDE + gap), 3), 255, np.uint8)
        for index, cell in enumerate(row):
            line[: cell.shape[0], index * (_SIDE + gap) : index * (_SIDE + gap) + _SIDE] = cell
        rows.append(line)
    return np.concatenate(rows)


def _file_name(text: str) -> str:
    """A name of a file that is safe everywhere."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-.")[:120] or "result"
