"""The published way to label a shot (SSSCWEB, WACV 2024), by name; and its files, which others may have or want.

Every cell of a 256x256 grid over the first frame is a label, the integer of its place in raster order. Frame after
frame, each cell takes the label of the most similar cell of the whole frame before; an isolation forest on the
displacements, fitted to each pair of frames, makes outliers -99, and what is lost stays lost. Known of it: constant
motion, a repeated frame too, is all outliers and ends the shot; whatever moves before a still background goes first.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from ..errors import InputError, MissingExtraError
from .label_file import Labels, read_labels

LOST = -99
_TOGETHER = 512  # cells matched at once: 128 MiB of similarities at 256x256


class LegacySettings(BaseModel):
    """The published values."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    size: int = Field(512, ge=16)  # the picture is stretched to this square
    grid: int = Field(256, ge=2)  # cells a side; features are resized to it, bilinear with aligned corners
    stride: int = Field(8, ge=1)  # of the network's map that is used; its finest where it has none of that stride
    trees: int = Field(100, ge=1)
    samples: int = Field(256, ge=2)  # displacements that each tree is grown on


def published_frames(start: int, end: int) -> list[int]:
    """The frames of a shot that the published loop goes through: the first twice, the last never.

    >>> published_frames(10, 15)
    [10, 10, 11, 12, 13]
    """
    return [start, *range(start, end - 1)] if end > start else []


def resized(level: Tensor, grid: int) -> Tensor:
    """A map (C, h, w) as (C, grid, grid): bilinear, aligned corners."""
    return F.interpolate(level[None], size=(grid, grid), mode="bilinear", align_corners=True)[0]


def nearest_everywhere(before: Tensor, after: Tensor) -> Tensor:
    """For each cell of ``after`` (C, h, w) the flat index of the most similar cell of ``before``, int64 (h * w,)."""
    keys = F.normalize(before.flatten(1), dim=0)
    queries = F.normalize(after.flatten(1), dim=0)
    found = [(part.T @ keys).argmax(1) for part in queries.split(_TOGETHER, dim=1)]
    return torch.cat(found)


def displacement_outliers(displacement: np.ndarray, settings: LegacySettings) -> np.ndarray:
    """Outliers, bool (n,), among displacements (n, 2) by an isolation forest fitted to them.

    Raises:
        MissingExtraError: scikit-learn is not installed.
    """
    try:
        from sklearn.ensemble import IsolationForest  # type: ignore[import-untyped]
    except ModuleNotFoundError as error:
        raise MissingExtraError("the legacy method of labelling", "web") from error
    if (displacement == displacement[0]).all():
        # No tree can split: every score is the offset exactly, which counts as an outlier. Rounding shall not decide.
        return np.ones(len(displacement), bool)
    forest = IsolationForest(
        n_estimators=settings.trees,
        max_samples=min(settings.samples, len(displacement)),
        contamination="auto",
        random_state=0,
    )
    found: np.ndarray = forest.fit_predict(displacement.astype(np.float32)) < 0
    return found


def next_map(labels: np.ndarray, nearest: np.ndarray, settings: LegacySettings) -> np.ndarray:
    """The label map int64 (g, g) of the frame after that of ``labels``, given each cell's nearest flat cell there."""
    side = labels.shape[1]
    cell = np.arange(labels.size)
    away = np.abs(np.stack([cell // side - nearest // side, cell % side - nearest % side], axis=1))
    moved = labels.ravel()[nearest]
    moved[displacement_outliers(away, settings)] = LOST
    return moved.reshape(labels.shape)


def propagate_maps(maps: Iterable[Tensor], settings: LegacySettings) -> Iterator[np.ndarray]:
    """The label maps int64 (grid, grid) of frames whose features (C, h, w) come one by one; the first is the identity.

    Ends early once a map would have one value only; that map is not given.
    """
    labels = np.arange(settings.grid**2, dtype=np.int64).reshape(settings.grid, settings.grid)
    before: Tensor | None = None
    for level in maps:
        after = resized(level, settings.grid)
        if before is not None:
            labels = next_map(labels, nearest_everywhere(before, after).cpu().numpy(), settings)
            if (labels == labels.flat[0]).all():
                return
        yield labels
        before = after


def write_maps(folder: str | Path, maps: Iterable[np.ndarray]) -> int:
    """``0_pred.npy``, ``1_pred.npy`` and so on, all of them or none: the folder takes its name once it is complete.

    A folder of that name, of an earlier run, is replaced. Returns the bytes of the files.
    """
    folder = Path(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    written = 0
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.part") as temporary:
        part = Path(temporary) / "maps"
        part.mkdir()
        for index, labels in enumerate(maps):
            path = part / f"{index}_pred.npy"
            np.save(path, labels.astype(np.int64))
            written += path.stat().st_size
        if folder.exists():
            folder.rename(Path(temporary) / "old")
        part.rename(folder)
    return written


def list_maps(folder: str | Path) -> list[Path]:
    """``0_pred.npy``, ``1_pred.npy`` and so on, until one is missing.

    Raises:
        InputError: no ``0_pred.npy`` there.
    """
    folder = Path(folder)
    found = {}
    for path in folder.glob("*_pred.npy") if folder.is_dir() else ():
        if match := re.fullmatch(r"(\d+)_pred\.npy", path.name):
            found[int(match[1])] = path
    if 0 not in found:
        raise InputError(f"{folder}: no 0_pred.npy in it; expected label maps 0_pred.npy, 1_pred.npy, ...")
    last = next(index for index in range(len(found) + 1) if index not in found)
    return [found[index] for index in range(last)]


def read_map(path: str | Path) -> np.ndarray:
    """A published label map, int64 (g, g): raster indices of the shot's first frame, or -99.

    Raises:
        InputError: unreadable, of another type or shape, or with values outside the grid.
    """
    try:
        labels = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{path}: not a readable label map ({' '.join(str(error).split())})") from error
    if not isinstance(labels, np.ndarray) or labels.dtype != np.int64 or labels.ndim != 2 or 0 in labels.shape:
        kind = f"{labels.dtype} {labels.shape}" if isinstance(labels, np.ndarray) else "an archive"
        raise InputError(f"{path}: {kind}; expected a label map, int64 (256, 256)")
    bad = (labels != LOST) & ((labels < 0) | (labels >= labels.size))
    if bad.any():
        raise InputError(f"{path}: holds {labels[bad][0]}; expected -99 or 0 to {labels.size - 1}")
    return labels


def read_published(
    folder: str | Path, size: tuple[int, int], *, seeds: int | None = 20, start: int = 0, fps: float = 25.0
) -> Labels:
    """Labels from a folder of ``<k>_pred.npy``.

    Cell ``c`` of a row is centred at ``(c + 0.5) W / 256``. Where several cells have a label, it lies at that one of
    them which is nearest to their mean. There is no confidence: it is 1 where a label is alive.

    Args:
        folder: holds ``0_pred.npy``, ``1_pred.npy``, ...; each belongs to frame ``start`` plus its number.
        size: (H, W) of the video.
        seeds: only the labels of the cells that hold a grid of so many points a side; None for all that are anywhere
            after the first map, in raster order.
        start: the shot's first frame.
        fps: of the video.

    Raises:
        InputError: no maps there, a map that cannot be used or of another shape than the first.
    """
    paths = list_maps(folder)
    first = read_map(paths[0])
    height, width = first.shape
    if seeds is None:
        later = np.unique(read_map(paths[1])) if len(paths) > 1 else np.zeros(0, np.int64)
        wanted = later[later != LOST]
    else:
        wanted = seed_cells(seeds, (height, width))
    xy = np.full((len(wanted), len(paths), 2), np.nan, np.float32)
    for t, path in enumerate(paths):
        labels = first if t == 0 else read_map(path)
        if labels.shape != first.shape:
            raise InputError(f"{path}: {labels.shape}, but 0_pred.npy is {first.shape}")
        xy[:, t] = _places(labels)[wanted] * (size[1] / width, size[0] / height)
    alive = np.isfinite(xy[..., 0])
    # Read one after another from the published loop no label returns, but nothing in the files guards it.
    alive &= np.logical_and.accumulate(alive, axis=1)
    xy[~alive] = np.nan
    about = {"method": "legacy", "model": None, "source": "published label maps"}
    return Labels(xy, alive.astype(np.float32), size, start, fps, None, about)


def write_published(labels: Labels, folder: str | Path, grid: int = 256) -> int:
    """Labels as ``<k>_pred.npy`` int64 (grid, grid): the label of a seed is the raster index of its first cell.

    Map 0 is the identity, as published; the others are -99 but where a label lies. Of two labels in one cell the surer
    is written. Only labels that begin in the first frame can be; the first map without any ends the shot.

    Returns:
        Bytes written.
    """
    return write_maps(folder, _exported(labels, grid))


def open_labels(path: str | Path, row: dict[str, Any], seeds: int | None = None) -> Labels:
    """The labels of a shot, a file of ours or a folder of published maps.

    ``row`` says of a folder what it does not itself: ``height``, ``width``, ``start`` and ``fps`` of the shot. Of its
    maps those of a grid of ``seeds`` a side are read, or of all cells.

    Raises:
        InputError: as :func:`read_published` and :func:`read_labels`, or a folder's ``row`` without size or start.
    """
    if Path(path).is_dir():
        missing = [name for name in ("height", "width", "start") if row.get(name) is None]
        if missing:
            raise InputError(f"{row.get('shot')}: its row has no {missing[0]}, which label maps do not tell: {path}")
        size = (int(row["height"]), int(row["width"]))
        return read_published(path, size, seeds=seeds, start=int(row["start"]), fps=float(row.get("fps") or 25.0))
    return read_labels(path)


def seed_cells(seeds: int, grid: tuple[int, int]) -> np.ndarray:
    """Flat cells int64 (seeds * seeds,) of a grid (h, w) that hold the points of ``Queries.grid(seeds, ...)``."""
    step = (np.arange(seeds) + 0.5) / seeds
    rows, columns = (step * grid[0]).astype(np.int64), (step * grid[1]).astype(np.int64)
    return (rows[:, None] * grid[1] + columns[None]).ravel()


def _exported(labels: Labels, grid: int) -> Iterator[np.ndarray]:
    scale = np.array([grid / labels.size[1], grid / labels.size[0]])
    rows = np.flatnonzero(labels.alive[:, 0]) if labels.frames else np.zeros(0, np.int64)
    seeds = _cells(labels.xy[rows, 0], scale, grid)
    yield np.arange(grid * grid, dtype=np.int64).reshape(grid, grid)
    for t in range(1, labels.frames):
        held = labels.alive[rows, t]
        if not held.any():
            return
        order = np.argsort(labels.confidence[rows[held], t], kind="stable")  # the surest is written last
        flat = np.full(grid * grid, LOST, np.int64)
        flat[_cells(labels.xy[rows[held], t], scale, grid)[order]] = seeds[held][order]
        yield flat.reshape(grid, grid)


def _places(labels: np.ndarray) -> np.ndarray:
    """Where each label lies, (h * w, 2) in cells from the corner, NaN where it is lost."""
    width = labels.shape[1]
    flat = np.flatnonzero(labels.ravel() != LOST)
    own = labels.ravel()[flat]
    centre = np.stack([flat % width, flat // width], axis=1) + 0.5
    number = np.bincount(own, minlength=labels.size)
    mean: np.ndarray = np.stack([np.bincount(own, centre[:, axis], labels.size) for axis in (0, 1)], axis=1)
    mean = mean / np.maximum(number, 1)[:, None]
    away = np.square(centre - mean[own]).sum(1)
    order = np.lexsort((-flat, -away))  # the nearest, and of equals the first, is written last
    places = np.full((labels.size, 2), np.nan)
    places[own[order]] = centre[order]
    return places


def _cells(xy: np.ndarray, scale: np.ndarray, grid: int) -> np.ndarray:
    cells = np.clip((xy * scale).astype(np.int64), 0, grid - 1)
    flat: np.ndarray = cells[:, 1] * grid + cells[:, 0]
    return flat
