"""Contact sheets: the first, middle and last frame of each shot of a video, kept or why not, with its labels."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..errors import InputError
from ..io.atomic import atomic_path
from ..io.images import open_image
from ..structures import Tracks
from ..viz.draw import draw_tracks, label, paste, point_colors
from .frames import Frame, all_frames, video_path, working_size
from .label_file import Labels
from .legacy_labels import open_labels
from .rows import Row
from .safety import safe_name

_FEW = 12  # shots whose thumbnails are large
_SIDES = (176, 96)  # short side of a large thumbnail and of others, pixels
_TALLEST = 1.7  # times the short side
_GAP, _HEAD, _LINE = 8, 34, 20
_WIDE = 1800  # pixels of a sheet that shots are laid side by side in
_PAPER, _INK, _GOOD, _BAD = (250, 250, 251), (40, 40, 46), (20, 120, 60), (190, 40, 40)
_SHADED = 0.45  # brightness of thumbnails of shots that were not kept
_TITLE, _TEXT = 18, 13  # height of letters
_SEEDS = 20  # a side of the grid of labels that is drawn of published maps
_MOST = 200  # shots of a sheet
_VERSION = 1  # of how sheets are drawn


def draw_sheet(video: Row, shots: Sequence[Row], labels: Iterable[Row], folder: Path) -> NDArray[np.uint8]:
    """A picture, uint8 RGB (H, W, 3), of all shots of a video in the order of their frames.

    Under each shot its frames and what is known of it; what was not kept is dark, with the reason. Labels are drawn
    where they are alive, in the colours of where they began.

    Args:
        video: row of the table of videos.
        shots: rows of its shots.
        labels: rows of their labels; those of other shots are passed over.
        folder: the collection's output folder.

    Raises:
        InputError: the video or a label file cannot be read.
    """
    stretches = sorted((shot for shot in shots if shot.get("start") is not None), key=lambda shot: shot["start"])
    known = {row["shot"]: row for row in labels}
    wanted = {number for shot in stretches for number in _shown(shot)}
    pictures = _pictures(video_path(video, folder), wanted or {0}, _SIDES[len(stretches) > _FEW])
    side = next(iter(pictures.values())).shape
    cells = []
    for shot in stretches:
        row = known.get(shot["shot"])
        drawn = [pictures[number] for number in _shown(shot)]
        if row is not None and row.get("path") and row.get("status") == "ok":
            places = open_labels(folder / row["path"], shot, seeds=_SEEDS)
            drawn = [_labelled(picture, places, t) for picture, t in zip(drawn, _shown(shot), strict=True)]
        cells.append(_cell(drawn, shot, row))
    if not cells:
        cells = [_paper(side[0], side[1])]
        cells[0][:] = next(iter(pictures.values()))
    return _laid_out(cells, _title(video, shots))


def write_sheets(
    folder: Path, videos: Iterable[Row], shots: Iterable[Row], labels: Iterable[Row]
) -> tuple[list[Path], dict[str, str]]:
    """A sheet of every video that has a file, at ``sheets/<class>/<video>.jpg`` below ``folder``, each written whole.

    A video of more than 200 shots has further ones, ``<video>-2.jpg`` and so on. A sheet that is there and shows the
    same rows is left as it is.

    Args:
        folder: the collection's output folder.
        videos: rows of the table of videos.
        shots: rows of the table of shots.
        labels: rows of the table of labels.

    Returns:
        The files, and why there is none of other videos, by their ids.
    """
    cut: dict[str, list[Row]] = {}
    for shot in shots:
        cut.setdefault(shot["video"], []).append(shot)
    labelled: dict[str, list[Row]] = {}
    for row in labels:
        labelled.setdefault(row["video"], []).append(row)
    written, failed = [], {}
    for video in videos:
        if video.get("status") != "ok":
            continue
        own = cut.get(video["video"], [])
        ordered = sorted(own, key=lambda shot: shot.get("start") or 0)
        try:
            for first in range(0, len(ordered) or 1, _MOST):
                path = sheet_path(folder, video, 1 + first // _MOST)
                path.parent.mkdir(parents=True, exist_ok=True)
                shown = video, ordered[first : first + _MOST], labelled.get(video["video"], [])
                mark = _mark(*shown)
                if _marked(path) != mark:
                    _save(path, draw_sheet(*shown, folder), mark)
                written.append(path)
        except InputError as error:
            failed[video["video"]] = str(error)
    return written, failed


def sheet_path(folder: Path, video: Mapping[str, object], number: int = 1) -> Path:
    """Where a video's sheet lies; no name leads out of the folder."""
    name = safe_name(str(video.get("class") or "no_class"))
    further = f"-{number}" if number > 1 else ""
    return Path(folder) / "sheets" / name / f"{safe_name(str(video['video']))}{further}.jpg"


def _mark(video: Row, shots: Sequence[Row], labels: Sequence[Row]) -> bytes:
    """What a sheet was drawn from, kept in its comment."""
    names = {shot["shot"] for shot in shots}
    own = [{**row, "seconds": None} for row in labels if row["shot"] in names]
    told = [video.get(key) for key in ("class", "title", "path", "sha256")]
    text = json.dumps([_VERSION, told, list(shots), own], sort_keys=True, default=str)
    return f"samepoint {hashlib.sha256(text.encode()).hexdigest()[:32]}".encode()


def _marked(path: Path) -> bytes | None:
    if not path.is_file():
        return None
    try:
        with open_image(path) as image:
            return image.info.get("comment")
    except InputError:
        return None


def _save(path: Path, picture: NDArray[np.uint8], mark: bytes) -> None:
    with atomic_path(path) as temporary:
        Image.fromarray(picture).save(temporary, quality=88, comment=mark)


def _shown(shot: Row) -> list[int]:
    """First, middle and last frame."""
    return [shot["start"], (shot["start"] + shot["end"] - 1) // 2, shot["end"] - 1]


def _pictures(path: Path, wanted: set[int], side: int) -> dict[int, Frame]:
    """Thumbnails of frames by their numbers, in one pass as far as the last of them."""
    _, frames = all_frames(path, lambda size: _thumbnail(size, side))
    last = max(wanted)
    found = {}
    for number, frame in enumerate(frames):
        if number in wanted:
            found[number] = frame
        if number == last:
            break
    if len(found) < len(wanted):
        raise InputError(f"{path}: has no frame {min(wanted - found.keys())}; the table of shots is of another file")
    return found


def _thumbnail(size: tuple[int, int], side: int) -> tuple[int, int]:
    """(H, W) of a thumbnail of a frame of (H, W).

    >>> _thumbnail((720, 1280), 96), _thumbnail((1920, 1080), 96)
    ((96, 171), (163, 92))
    """
    height, width = working_size(size, side)
    scale = min(1.0, _TALLEST * side / height)
    return max(1, round(height * scale)), max(1, round(width * scale))


def _labelled(picture: Frame, labels: Labels, number: int) -> Frame:
    """The labels of the video's frame ``number`` drawn on its thumbnail."""
    at = number - labels.start
    if not (0 <= at < labels.frames and len(labels)):
        return picture
    began = labels.xy[np.arange(len(labels)), labels.began][:, None]
    colors = point_colors(_tracks(began, labels))
    return draw_tracks(picture, _tracks(labels.xy[:, at : at + 1], labels), 0, trail=0, colors=colors)


def _tracks(xy: NDArray[np.float32], labels: Labels) -> Tracks:
    return Tracks.from_confidence(xy, np.asarray(np.isfinite(xy).all(axis=2)), labels.fps, labels.size)


def _cell(pictures: Sequence[Frame], shot: Row, row: Row | None) -> NDArray[np.uint8]:
    """Three frames, and two lines of text below."""
    height, width = pictures[0].shape[:2]
    cell = _paper(height + 2 * _LINE + 4, 3 * width + 4)
    for place, picture in enumerate(pictures):
        left = place * (width + 2)
        shown = picture if shot.get("kept") else np.round(picture * _SHADED).astype(np.uint8)
        cell[:height, left : left + width] = shown
    start, end = shot["start"], shot["end"]
    bounds = f"{shot['index']}: {start} to {end - 1}, {end - start} frame{'s' if end - start > 1 else ''}"
    _write(cell, bounds, 2, height + 4, _INK)
    if not shot.get("kept"):
        _write(cell, f"not kept: {shot.get('reason') or 'not told'}", 2, height + 4 + _LINE, _BAD)
        return cell
    facts = [] if shot.get("motion") is None else [f"motion {shot['motion']:.1f}"]
    if repeats := len(shot.get("repeats") or ()):
        facts.append(f"{repeats} repeat{'s' if repeats > 1 else ''}")
    if row is not None and row.get("status") == "ok":
        alive = row.get("alive") or [0.0]
        facts.append(f"{row.get('seeds') or 0} labels, {100 * alive[-1]:.0f} % at the end")
    elif row is not None:
        facts.append(f"labels {row.get('status')}: {row.get('reason') or 'not told'}")
    _write(cell, ", ".join(facts) or "kept", 2, height + 4 + _LINE, _GOOD)
    return cell


def _title(video: Row, shots: Sequence[Row]) -> str:
    kept = sum(bool(shot.get("kept")) for shot in shots)
    why = [shot["reason"] for shot in shots if shot.get("start") is None and shot.get("reason")]
    parts = [str(video.get("class") or ""), str(video["video"]), str(video.get("title") or "")]
    parts.append(why[0] if why else f"{kept} of {len(shots)} shots kept")
    return _line(", ".join(part for part in parts if part))


def _laid_out(cells: Sequence[NDArray[np.uint8]], title: str) -> NDArray[np.uint8]:
    """Under a title, side by side and row under row."""
    height, width = cells[0].shape[:2]
    columns = max(1, min(len(cells), (_WIDE - _GAP) // (width + _GAP)))
    rows = -(-len(cells) // columns)
    head = label(title, _INK, _TITLE, outline=False)
    wide = max(min(head.shape[1] + 2 * _GAP, _WIDE), _GAP + columns * (width + _GAP))
    sheet = _paper(_HEAD + _GAP + rows * (height + _GAP), wide)
    paste(sheet, head, _GAP, _GAP)
    for number, cell in enumerate(cells):
        top = _HEAD + _GAP + number // columns * (height + _GAP)
        left = _GAP + number % columns * (width + _GAP)
        sheet[top : top + height, left : left + width] = cell
    return sheet


def _paper(height: int, width: int) -> NDArray[np.uint8]:
    return np.full((height, width, 3), _PAPER, np.uint8)


def _write(picture: NDArray[np.uint8], text: str, left: int, top: int, color: tuple[int, int, int]) -> None:
    """A line of text as wide as the picture lets it be."""
    patch = label(_line(text), color, _TEXT, outline=False)
    paste(picture, patch[:, : picture.shape[1] - left], left, top + (_LINE - patch.shape[0]) // 2)


def _line(text: str) -> str:
    """What comes from the web can hold anything, and be long."""
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())[:200] or "-"
