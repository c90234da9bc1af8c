from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from samepoint.errors import InputError
from samepoint.structures import Video
from samepoint.viz.masks import draw_masks, render_masks

FRAME = np.full((24, 32, 3), 100, np.uint8)
LABELS = np.zeros((24, 32), np.uint8)
LABELS[4:14, 6:18] = 1
LABELS[4:14, 18:26] = 2


def test_background_is_untouched_objects_are_tinted_and_outlined() -> None:
    before = FRAME.copy()
    drawn = draw_masks(FRAME, LABELS)
    assert (before == FRAME).all()
    assert (drawn[LABELS == 0] == 100).all()
    assert drawn[8, 10].tolist() == [114, 50, 50]  # half grey, half (128, 0, 0)
    assert drawn[8, 22].tolist() == [50, 114, 50]
    assert drawn[4, 10].tolist() == [255, 0, 0]  # the line, as bright as its hue gets
    assert drawn[8, 17].tolist() == [255, 0, 0]  # between objects, too
    assert drawn[8, 18].tolist() == [0, 255, 0]


def test_opacity_and_palette() -> None:
    palette = np.zeros((256, 3), np.uint8)
    palette[1] = (0, 0, 200)
    drawn = draw_masks(FRAME, LABELS, palette=palette, opacity=1)
    assert drawn[8, 10].tolist() == [0, 0, 200]
    assert drawn[8, 25].tolist() == [255, 255, 255]  # the line of a black object
    assert draw_masks(FRAME, LABELS, opacity=0)[8, 10].tolist() == [100, 100, 100]


def test_an_object_at_the_border_has_no_line_there() -> None:
    drawn = draw_masks(FRAME, np.ones((24, 32), np.uint8))
    assert (drawn == drawn[0, 0]).all()


def test_mistakes() -> None:
    with pytest.raises(InputError, match="labels of a frame"):
        draw_masks(FRAME, LABELS[:5])
    with pytest.raises(InputError, match="a frame is uint8"):
        draw_masks(FRAME[..., 0], LABELS)
    with pytest.raises(InputError, match="opacity"):
        draw_masks(FRAME, LABELS, opacity=2)


def test_renders_a_video(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    done: list[int] = []
    render_masks([FRAME] * 3, [LABELS] * 3, path, 30, progress=done.append)
    video = Video(path)
    assert (len(video), video.size, video.fps, done) == (3, (24, 32), 30, [1, 2, 3])
    assert np.abs(video[2][20, 5].astype(int) - 100).max() < 10
    red = video[2][9, 11].astype(int)
    assert red[0] > red[1] + 30


@pytest.mark.parametrize("masks", [2, 4])
def test_renders_nothing_unless_all_fits(tmp_path: Path, masks: int) -> None:
    with pytest.raises(InputError, match="differ in length; only"):
        render_masks([FRAME] * 3, [LABELS] * masks, tmp_path / "out.mp4", 30)
    with pytest.raises(InputError, match=r"is an .mp4 file, not .avi"):
        render_masks([FRAME], [LABELS], tmp_path / "out.avi", 30)
    assert list(tmp_path.iterdir()) == []
