"""Shots of a video: one pass over it, and every frame ends up in exactly one row.

Cuts are found by PySceneDetect on our own decoded frames, so that frame numbers and rotation are those of ``Video``;
frames that repeat the one before are not shown to it. Black and faded stretches become rows of their own that are not
kept, as are shots too short, too small or without motion: nothing is lost without a reason.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from .rows import Row


class ShotSettings(BaseModel):
    """How videos are cut. Levels are those of 8 bits, 0 to 255."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    detector: Literal["content", "adaptive", "finder"] = "content"  # PySceneDetect's two, and samepoint's own
    threshold: float = Field(27.0, gt=0)  # content: mean change of hue, saturation and value that is a cut
    ratio: float = Field(3.0, gt=1)  # adaptive: times the mean change of two frames on either side
    floor: float = Field(15.0, ge=0)  # adaptive: least change of a cut
    min_length: int = Field(15, ge=1)  # frames; shorter shots are not kept
    min_side: int = Field(64, ge=1)  # pixels; smaller videos are not kept
    start_in_scene: bool = True  # a video without a cut is one shot, else none
    keep_static: bool = False  # keep shots in which nothing moves
    black: float = Field(24.0, ge=0)  # a frame is black if 99 % of it is darker; 0: none is
    flat: float = Field(4.0, ge=0)  # a frame is blank if its brightness deviates less; 0: none is
    same: float = Field(1.0, ge=0)  # a frame repeats another if no part of it changes more; 0: exact copies alone
    still: float = Field(6.0, ge=0)  # nothing moves in a shot if no part of it changes more
    legacy: bool = False  # the published rule: content, no cut within min_length of the last, no examination at all


def cut(row: Row, settings: ShotSettings, folder: Path) -> list[Row]:
    """The shots of a video, kept and not, in order; together they hold every frame once.

    Args:
        row: of the table of videos.
        settings: how to cut.
        folder: the collection's output folder, which ``row["path"]`` is relative to.

    Returns:
        Rows of the table of shots. ``motion`` is how far the picture moves from frame to frame, in pixels of a copy
        whose short side is 256: the mean over pixels and frames of the length of the optical flow (Farneback, SCIA
        2003). A video that cannot be read has one row, with status ``failed`` and the reason; one without a shot
        (``legacy``, or not ``start_in_scene``) one with status ``skipped``. What is wrong with a video is not raised.

    Raises:
        MissingExtraError: PySceneDetect is not installed and its detector asked for.
    """
    raise NotImplementedError
