"""Draw matches: two pictures joined by lines, many targets on one sheet, regions coloured by where they come from."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from samepoint.structures import Matches, Tracks
from samepoint.viz.draw import OUTLINE, SHIFT, Sizes, draw_tracks, label, paste, point_colors
from samepoint.viz.render import INK, PAPER

Picture = NDArray[np.uint8]

PAIR = (720, 960)
"""Height and width of the box that each picture of a pair fits in."""
CELL = (300, 400)
"""The same for a picture on a sheet."""
MOST = 48
"""Targets on a sheet; what is beyond is only counted."""
LINES = 60
"""Lines between two pictures beyond which they hide what they join; of more matches, so many are joined."""


def draw_matches(source: Picture, target: Picture, matches: Matches, *, names: bool = False) -> Picture:
    """Both pictures side by side, the same point in the same colour in both and joined by a line.

    A point that was not found is a ring in the source alone.

    Args:
        source: uint8 RGB (H, W, 3), of any scale: positions are scaled from the matches' sizes to the picture's.
        target: the same.
        matches: N points.
        names: write each point's name beside it.

    Returns:
        uint8 RGB.
    """
    colors = match_colors(matches)
    pictures = fitted(source, PAIR), fitted(target, PAIR)
    drawn = (
        _with_points(pictures[0], matches.source_xy, matches.source_size, matches, matches.found, names, colors),
        _with_points(pictures[1], _found_xy(matches), matches.target_size, matches, matches.found, names, colors),
    )
    both, left = _beside(*drawn)
    ends = [
        xy * (picture.shape[1] / size[1], picture.shape[0] / size[0])
        for xy, picture, size in zip(
            (matches.source_xy, matches.target_xy), drawn, (matches.source_size, matches.target_size), strict=True
        )
    ]
    _join(both, ends[0], ends[1] + (left, 0), matches.found, colors)
    return both


class MatchSheet:
    """A source and its targets in one picture, the same point in the same colour in all of them.

    Takes one target at a time. Of one target it draws what ``draw_matches`` draws, of more a sheet of small copies.
    """

    def __init__(self, source: Picture, *, names: bool = False) -> None:
        self.source, self.names = source, names
        self._pair: Picture | None = None
        self._cells = _Cells()

    def add(self, target: Picture, matches: Matches) -> None:
        """A target, uint8 RGB (H, W, 3) of any scale, and the points in it."""
        colors = match_colors(matches)
        if not self._cells.count:
            self._pair = draw_matches(self.source, target, matches, names=self.names)
            xy, size, all_ = matches.source_xy, matches.source_size, np.ones(len(matches), bool)
            small = _with_points(fitted(self.source, CELL), xy, size, matches, all_, self.names, colors)
            self._cells.add(small, _short(matches.source))
        if self._cells.wants_more():
            small, xy = fitted(target, CELL), _found_xy(matches)
            small = _with_points(small, xy, matches.target_size, matches, matches.found, self.names, colors)
            self._cells.add(small, f"{_short(matches.target)}  ·  {matches.found.sum()} of {len(matches)}")

    def picture(self) -> Picture:
        """uint8 RGB."""
        return self._pair if self._cells.count == 2 and self._pair is not None else self._cells.picture()


class RegionSheet:
    """A source and its targets in one picture, the regions coloured by the place of the source that they come from.

    Args:
        source: uint8 RGB (h, w, 3), of any scale.
        labels: uint8 (H, W), its regions in its own size.
    """

    def __init__(self, source: Picture, labels: NDArray[np.uint8], name: str = "source") -> None:
        rows, columns = np.nonzero(labels)
        self._box = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1], np.float32)
        height, width = labels.shape
        x, y = np.meshgrid((np.arange(64) + 0.5) * width / 64, (np.arange(64) + 0.5) * height / 64)
        own = np.stack([x, y], axis=-1).astype(np.float32)
        self._source = draw_regions(fitted(source, PAIR), labels, own, self._box)
        self._cells = _Cells()
        self._cells.add(fitted(self._source, CELL), _short(name))
        self._first: Picture | None = None

    def add(self, target: Picture, labels: NDArray[np.uint8], origin: NDArray[np.float32], name: str) -> None:
        """A target, its regions, and ``origin`` as ``draw_regions`` takes it."""
        if not self._cells.wants_more():
            return
        drawn = draw_regions(fitted(target, PAIR), labels, origin, self._box)
        self._first = drawn if self._first is None else self._first
        self._cells.add(fitted(drawn, CELL), _short(name))

    def picture(self) -> Picture:
        """uint8 RGB."""
        if self._cells.count == 2 and self._first is not None:
            return _beside(self._source, self._first)[0]
        return self._cells.picture()


class _Cells:
    """Pictures with captions, in rows."""

    def __init__(self) -> None:
        self._cells: list[tuple[Picture, str]] = []
        self._more = 0

    @property
    def count(self) -> int:
        return len(self._cells) + self._more

    def wants_more(self) -> bool:
        """Whether there is room for another target; counts it where there is none."""
        full = len(self._cells) > MOST
        self._more += full
        return not full

    def add(self, picture: Picture, caption: str) -> None:
        self._cells.append((picture, caption))

    def picture(self) -> Picture:
        cells = list(self._cells)
        if self._more:
            cells.append((np.full((8, CELL[1], 3), PAPER, np.uint8), f"and {self._more} more"))
        columns = max(1, min(len(cells), round(np.sqrt(len(cells) * 1.6))))
        text, gap = 14, 14
        caption = round(1.8 * text)
        rows = [cells[start : start + columns] for start in range(0, len(cells), columns)]
        heights = [max(picture.shape[0] for picture, _ in row) + caption + gap for row in rows]
        # A caption has room, however narrow its picture.
        widths = [max(max(picture.shape[1], CELL[1] // 2) for picture, _ in cells[i::columns]) for i in range(columns)]
        sheet = np.full((gap + sum(heights), gap + sum(widths) + gap * columns, 3), PAPER, np.uint8)
        top = gap
        for row, height in zip(rows, heights, strict=True):
            left = gap
            for (picture, words), width in zip(row, widths[: len(row)], strict=True):
                h, w = picture.shape[:2]
                sheet[top : top + h, left : left + w] = picture
                patch = label(words, INK, text, outline=False)[:, :width] if words else np.zeros((1, 1, 4), np.uint8)
                paste(sheet, patch, left, top + h + (caption - patch.shape[0]) // 2 + 1)
                left += width + gap
            top += height
        return sheet


def match_colors(matches: Matches) -> NDArray[np.uint8]:
    """One RGB colour a point, uint8 (N, 3): few points by their order, many by where they are in the source."""
    seen = np.ones((len(matches), 1), np.float32)
    return point_colors(Tracks.from_confidence(matches.source_xy[:, None], seen, 1.0, matches.source_size))


def draw_regions(picture: Picture, labels: NDArray[np.uint8], origin: NDArray[np.float32], box: NDArray) -> Picture:
    """A picture with its regions coloured by the place that each of their pixels comes from.

    Args:
        picture: uint8 RGB (h, w, 3).
        labels: uint8 of any scale, 0 background.
        origin: float32 (rows, columns, 2), where the middle of each cell of an even grid over the picture comes from,
            in pixels of the source.
        box: (left, top, right, bottom) of the regions there, over which the colours are spread.
    """
    height, width = picture.shape[:2]
    inside = cv2.resize(labels, (width, height), interpolation=cv2.INTER_NEAREST)
    place = (origin - box[:2]) / np.maximum(box[2:] - box[:2], 1)
    side = _spectrum().shape[0]
    place = cv2.resize(place.astype(np.float32).clip(0, 1) * (side - 1), (width, height))
    colors = cv2.remap(_spectrum(), place[..., 0], place[..., 1], cv2.INTER_LINEAR)
    filled = cv2.addWeighted(picture, 0.35, colors, 0.65, 0)
    drawn = np.where((inside > 0)[..., None], filled, picture)
    kernel = np.ones((3, 3), np.uint8)
    line = (inside > 0) & (cv2.dilate(inside, kernel) != cv2.erode(inside, kernel))
    drawn[line] = 255
    return np.asarray(drawn, np.uint8)


@lru_cache(maxsize=1)
def _spectrum() -> Picture:
    """The colours of the places of a square, (64, 64, 3)."""
    side = 64
    x, y = np.meshgrid(np.arange(side) + 0.5, np.arange(side) + 0.5)
    xy = np.stack([x.ravel(), y.ravel()], axis=1)[:, None]
    tracks = Tracks.from_confidence(xy, np.ones((side * side, 1)), 1.0, (side, side))
    return point_colors(tracks).reshape(side, side, 3)


def fitted(picture: Picture, box: tuple[int, int]) -> Picture:
    """Scaled, in its proportions, to fit (height, width), but to no more than four times its size."""
    height, width = picture.shape[:2]
    scale = min(box[0] / height, box[1] / width, 4.0)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    if size == (width, height):
        return picture
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(np.ascontiguousarray(picture), size, interpolation=way), np.uint8)


def _beside(one: Picture, other: Picture, gap: int = 12) -> tuple[Picture, int]:
    """Two pictures side by side, and where the second begins."""
    left = one.shape[1] + gap
    both = np.full((max(one.shape[0], other.shape[0]), left + other.shape[1], 3), PAPER, np.uint8)
    for picture, start in ((one, 0), (other, left)):
        both[: picture.shape[0], start : start + picture.shape[1]] = picture
    return both, left


def _short(name: str) -> str:
    return name.rsplit("/", 1)[-1]


def _found_xy(matches: Matches) -> NDArray[np.float32]:
    """Places in the target, NaN where a point was not found."""
    return np.where(matches.found[:, None], matches.target_xy, np.float32(np.nan))


def _with_points(
    picture: Picture,
    xy: NDArray[np.float32],
    size: tuple[int, int],
    matches: Matches,
    seen: NDArray[np.bool_],
    names: bool,
    colors: NDArray[np.uint8],
) -> Picture:
    """Filled markers where ``seen``, rings elsewhere, none at NaN."""
    tracks = Tracks.from_confidence(xy[:, None], seen[:, None] & ~np.isnan(xy[:, :1]), 1.0, size, matches.names)
    return draw_tracks(picture, tracks, 0, trail=0, names=names, colors=colors)


def _join(
    picture: Picture,
    start: NDArray[np.floating],
    end: NDArray[np.floating],
    found: NDArray[np.bool_],
    colors: NDArray[np.uint8],
) -> None:
    """Lines in place between points (N, 2) that were found, half see-through."""
    chosen = np.flatnonzero(found)
    if len(chosen) > LINES:
        chosen = chosen[np.linspace(0, len(chosen) - 1, LINES).round().astype(int)]
    thickness = max(1, round(Sizes.of(picture.shape[0], picture.shape[1], len(chosen)).line * 0.7))
    layer = picture.copy()
    for width, ink in ((thickness + 2, OUTLINE), (thickness, None)):
        for index in chosen:
            a, b = (np.round((at[index] - 0.5) * (1 << SHIFT)).astype(int).tolist() for at in (start, end))
            color = ink or tuple(int(c) for c in colors[index])
            cv2.line(layer, tuple(a), tuple(b), color, width, cv2.LINE_AA, SHIFT)
    cv2.addWeighted(layer, 0.6, picture, 0.4, 0, dst=picture)
