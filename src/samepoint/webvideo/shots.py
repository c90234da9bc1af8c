"""Shots of a video: one pass over it, and every frame ends up in exactly one row.

Cuts are found by PySceneDetect on our own decoded frames, so that frame numbers and rotation are those of ``Video``;
frames that repeat an earlier one are not shown to it. Black and faded stretches become rows of their own that are not
kept, as are shots too short, too small or without motion: nothing is lost without a reason.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from itertools import groupby
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

import cv2
from pydantic import BaseModel, ConfigDict, Field, model_validator

from ..datasets.shots import Shot, ShotFinder
from ..errors import InputError, MissingExtraError
from ..structures.checks import DEFAULT_FPS
from .frames import Frame, all_frames, video_path
from .looks import Limits, Looks
from .rows import Row


class ShotSettings(BaseModel):
    """How videos are cut. Levels are those of 8 bits, 0 to 255."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    detector: Literal["content", "adaptive", "finder"] = "content"  # PySceneDetect's two, and samepoint's own
    threshold: float = Field(27.0, gt=0)  # content: mean change of hue, saturation and value that is a cut
    ratio: float = Field(3.0, gt=1)  # adaptive: times the mean change of two frames on either side
    floor: float = Field(15.0, ge=0)  # adaptive: least change of a cut
    min_length: int = Field(15, ge=1)  # frames; shorter shots are not kept, nor parted further
    min_side: int = Field(64, ge=1)  # pixels; smaller videos are not kept
    start_in_scene: bool = True  # a video without a cut is one shot, else it has none
    keep_static: bool = True  # keep shots in which nothing moves: their labels are right, though they teach little
    black: float = Field(24.0, ge=0)  # a frame is black if 99 % of it is darker; 0: none is
    flat: float = Field(4.0, ge=0)  # a frame is blank if its brightness deviates less; 0: none is
    same: float = Field(4.0, ge=0)  # a frame repeats another if no cell of 8 pixels changes more; 0: exact copies
    still: float = Field(6.0, ge=0)  # nothing moves if no cell of a 32x24 copy changes more
    legacy: bool = False  # the published rule: no cut within min_length of the last, no examination, all kept

    @model_validator(mode="after")
    def _published(self) -> ShotSettings:
        if self.legacy and self.detector != "content":
            raise ValueError(f"legacy cuts by the detector content, not {self.detector}")
        return self


def cut(row: Row, settings: ShotSettings, folder: Path) -> list[Row]:
    """The shots of a video, kept and not, in order; together they hold every frame once.

    Args:
        row: of the table of videos.
        settings: how to cut.
        folder: the collection's output folder, which ``row["path"]`` is relative to.

    Returns:
        Rows of the table of shots. ``motion`` is how far the picture moves from frame to frame, in pixels of a copy
        whose short side is 256: the mean over pixels and frames of the length of the optical flow (Farneback, SCIA
        2003); null for a shot of one frame. ``legacy`` leaves it and ``repeats`` null. A video that cannot be read has
        one row, with status ``failed`` and the reason; one without a cut, if it is not to be a shot
        (``start_in_scene`` off, or ``legacy``), one with status ``skipped``. What is wrong with a video is not raised.

    Raises:
        MissingExtraError: PySceneDetect is not installed and its detector asked for.
    """
    cutter = _cutter(settings)
    known = {"video": row["video"], "class": row.get("class"), "path": row.get("path")}
    looks = Looks(Limits(settings.black, settings.flat, settings.same, settings.still))
    try:
        reader, frames = all_frames(video_path(row, folder), detection_size)
        count = 0
        for frame in frames:
            if settings.legacy or not looks.add(frame).repeats:
                cutter.add(count, frame)
            count += 1
    except (InputError, OSError) as error:
        return [{**known, "shot": row["video"], "kept": False, "status": "failed", "reason": str(error)}]
    height, width = reader.size
    known |= {"fps": row.get("fps") or reader.fps or DEFAULT_FPS, "width": width, "height": height}
    cuts, between = cutter.found()
    if not cuts and (settings.legacy or not settings.start_in_scene):
        return [{**known, "shot": row["video"], "kept": False, "status": "skipped", "reason": "no cut"}]
    kinds = [None] * count if settings.legacy else looks.kinds(cuts, between)
    rows = []
    pieces = _pieces(kinds, cuts)
    for index, (start, end, kind) in enumerate(pieces if settings.legacy else _joined(pieces, settings.min_length)):
        shot = {**known, "shot": f"{row['video']}/{index}", "index": index, "start": start, "end": end, "status": "ok"}
        if settings.legacy:
            rows.append({**shot, "kept": True, "reason": None, "repeats": None, "motion": None})
            continue
        reason = kind or _reason(looks, start, end, min(height, width), settings)
        shot |= {"kept": reason is None, "reason": reason}
        rows.append({**shot, "repeats": looks.repeats(start, end), "motion": looks.motion(start, end)})
    return rows


def detection_size(size: tuple[int, int]) -> tuple[int, int]:
    """(H, W) that cuts are looked for at: shrunk by a whole factor to a width of at least 256, as published.

    >>> detection_size((720, 1280)), detection_size((240, 320))
    ((144, 256), (240, 320))
    """
    factor = max(1, size[1] // 256)
    return max(1, size[0] // factor), size[1] // factor


class _Piece(NamedTuple):
    start: int
    end: int
    kind: str | None  # black, faded, or None: a shot


def _pieces(kinds: Sequence[str | None], cuts: Collection[int]) -> list[_Piece]:
    starts = [t for t, kind in enumerate(kinds) if t == 0 or kind != kinds[t - 1] or (kind is None and t in cuts)]
    ends = [*starts[1:], len(kinds)]
    return [_Piece(start, end, kinds[start]) for start, end in zip(starts, ends, strict=True)]


def _joined(pieces: Sequence[_Piece], length: int) -> list[_Piece]:
    """A row of short pieces, ``length`` frames or more together, is fast motion or flicker and no row of scenes.

    So of its cuts only those stay that are at least ``length`` frames apart, the published rule. Fewer frames are what
    they seem, a flash or a short scene, and stay between their cuts.

    >>> _joined([_Piece(0, 30, None), _Piece(30, 34, None), _Piece(34, 80, None)], 15)[1]
    _Piece(start=30, end=34, kind=None)
    >>> _joined([_Piece(0, 30, None), _Piece(30, 38, None), _Piece(38, 46, None), _Piece(46, 50, None)], 15)[1:]
    [_Piece(start=30, end=46, kind=None), _Piece(start=46, end=50, kind=None)]
    """
    result: list[_Piece] = []
    for short, group in groupby(pieces, lambda piece: piece.kind is None and piece.end - piece.start < length):
        row = list(group)
        if not short or row[-1].end - row[0].start < length:
            result += row
            continue
        start = row[0].start
        for piece in row:
            if piece.end - start >= length or piece is row[-1]:
                result.append(_Piece(start, piece.end, None))
                start = piece.end
    return result


def _reason(looks: Looks, start: int, end: int, side: int, settings: ShotSettings) -> str | None:
    if side < settings.min_side:
        return "tiny"
    if end - start < settings.min_length:
        return "short"
    return "static" if not settings.keep_static and looks.static(start, end) else None


class _Cutter(Protocol):
    def add(self, number: int, frame: Frame) -> None:
        """The next frame to look at; numbers may skip some."""

    def found(self) -> tuple[set[int], list[Shot]]:
        """First frames of shots but the first one, and stretches that lie between shots, at the end."""


def _cutter(settings: ShotSettings) -> _Cutter:
    return _Own() if settings.detector == "finder" else _PySceneDetect(settings)


class _PySceneDetect:
    """A detector of the library, without its reading of videos."""

    def __init__(self, settings: ShotSettings) -> None:
        try:
            from scenedetect import AdaptiveDetector, ContentDetector, FrameTimecode
            from scenedetect.detector import FlashFilter
        except ModuleNotFoundError as error:
            raise MissingExtraError(f"the detector {settings.detector}", "web") from error
        if settings.detector == "adaptive":
            self._detector = AdaptiveDetector(settings.ratio, 0, min_content_val=settings.floor)
        else:
            # A cut that comes soon after another is a cut all the same, else a shot would hold two scenes.
            length = settings.min_length if settings.legacy else 0
            suppress = FlashFilter.Mode.SUPPRESS
            self._detector = ContentDetector(settings.threshold, length, filter_mode=suppress)
        self._time = lambda number: FrameTimecode(number, 25.0)  # lengths are counted in frames, whatever their rate
        self._cuts: set[int] = set()
        self._last = 0

    def add(self, number: int, frame: Frame) -> None:
        bgr = cv2.cvtColor(frame, cv2.COLOR_RGB2BGR)
        self._note(self._detector.process_frame(self._time(number), bgr))
        self._last = number

    def found(self) -> tuple[set[int], list[Shot]]:
        self._note(self._detector.post_process(self._time(self._last)))
        return self._cuts, []

    def _note(self, times: Iterable[object]) -> None:
        self._cuts.update(time.frame_num for time in times)  # type: ignore[attr-defined]


class _Own:
    """``ShotFinder``, which also finds gradual transitions."""

    def __init__(self) -> None:
        self._finder = ShotFinder()
        self._numbers: list[int] = []

    def add(self, number: int, frame: Frame) -> None:
        self._finder.add(frame)
        self._numbers.append(number)

    def found(self) -> tuple[set[int], list[Shot]]:
        shots = self._finder.shots()
        numbers = [*self._numbers, self._numbers[-1] + 1 if self._numbers else 0]
        cuts = {numbers[start] for start, _ in shots if start > 0}
        edges = [0, *(frame for shot in shots for frame in shot), len(self._numbers)]
        between = [(numbers[low], numbers[high]) for low, high in zip(edges[::2], edges[1::2], strict=True)]
        return cuts, [stretch for stretch in between if stretch[0] < stretch[1]]
