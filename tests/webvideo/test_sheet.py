"""Contact sheets of clips whose colours tell which frame a thumbnail is of."""

from __future__ import annotations

import numpy as np
import pytest

from samepoint.errors import InputError
from samepoint.io.images import read_image
from samepoint.structures import Queries
from samepoint.webvideo import sheet
from samepoint.webvideo.label_file import Labels, write_labels
from samepoint.webvideo.legacy_labels import write_published
from samepoint.webvideo.sheet import draw_sheet, sheet_path, write_sheets
from samepoint.webvideo.shots import ShotSettings, cut
from tests.webvideo.scenes import SIZE, scene, video

TOP, LEFT = 42, 8  # of the first thumbnail, which has the clip's own size


def shades(*levels: int, frames: int = 20) -> np.ndarray:
    """Each level for some frames, one brighter in each frame, with a dark corner so that none is blank."""
    clip = np.concatenate([np.repeat(np.arange(frames)[:, None] + level, 3, 1) for level in levels])
    clip = np.broadcast_to(clip[:, None, None], (len(clip), *SIZE, 3)).astype(np.uint8).copy()
    clip[:, :40, :60] = 0
    return clip


def thumbnails(picture: np.ndarray, shot: int = 0) -> list[np.ndarray]:
    left = LEFT + shot * (3 * SIZE[1] + 4 + 8)
    step = SIZE[1] + 2
    return [picture[TOP : TOP + SIZE[0], left + at * step : left + at * step + SIZE[1]] for at in range(3)]


def test_first_middle_and_last_frame_of_each_shot(tmp_path) -> None:
    row = video(tmp_path, shades(40, 200))
    shots = cut(row, ShotSettings(keep_static=True), tmp_path)
    assert [(shot["start"], shot["end"], shot["kept"]) for shot in shots] == [(0, 20, True), (20, 40, True)]
    picture = draw_sheet(row, shots, [], tmp_path)
    for shot, level in enumerate((40, 200)):
        for thumbnail, frame in zip(thumbnails(picture, shot), (0, 9, 19), strict=True):
            assert np.abs(thumbnail[45:, 65:].astype(int) - (level + frame)).max() <= 2


def test_what_is_not_kept_is_dark_and_says_why(tmp_path) -> None:
    row = video(tmp_path, shades(100, frames=8))
    shots = cut(row, ShotSettings(), tmp_path)
    assert shots[0]["reason"] == "short"
    picture = draw_sheet(row, shots, [], tmp_path)
    assert thumbnails(picture)[0][60, 100, 0] == pytest.approx(45, abs=2)
    below = picture[TOP + SIZE[0] + 24 : TOP + SIZE[0] + 44].astype(int)
    assert (below[..., 0] - below[..., 1] > 80).any()  # red letters


def test_labels_are_drawn_where_they_are_alive(tmp_path) -> None:
    row = video(tmp_path, shades(100))
    shots = cut(row, ShotSettings(keep_static=True), tmp_path)
    xy = np.full((2, 20, 2), (100.0, 70.0), np.float32)
    xy[1] = (30, 80)
    confidence = np.ones((2, 20), np.float32)
    confidence[0, 5:] = 0
    xy[confidence == 0] = np.nan
    write_labels(tmp_path / "labels" / "0.npz", Labels(xy, confidence, SIZE))
    labels = {"shot": "clip/0", "video": "clip", "path": "labels/0.npz", "status": "ok", "seeds": 2, "alive": [1, 0.5]}
    plain = thumbnails(draw_sheet(row, shots, [], tmp_path))
    drawn = thumbnails(draw_sheet(row, shots, [labels], tmp_path))
    for at, (before, after) in enumerate(zip(plain, drawn, strict=True)):
        changed = (before != after).any(axis=2)
        assert changed[79, 29]
        assert changed[69, 99] == (at == 0)
        assert changed.mean() < 0.02
    everywhere = np.repeat(Queries.grid(20, SIZE).xy[:, None], 20, axis=1)
    published = Labels(everywhere, np.ones(everywhere.shape[:2], np.float32), SIZE)
    write_published(published, tmp_path / "labels" / "pred")
    legacy = thumbnails(draw_sheet(row, shots, [{**labels, "path": "labels/pred"}], tmp_path))
    assert all((before != after).any() for before, after in zip(plain, legacy, strict=True))
    assert (draw_sheet(row, shots, [{**labels, "status": "failed"}], tmp_path).shape) == (
        draw_sheet(row, shots, [labels], tmp_path).shape
    )


def test_sheets_are_written_by_class_and_video_and_no_name_leads_out(tmp_path) -> None:
    row = video(tmp_path, scene(20, 0)) | {"title": "two\nlines \x00 and more"}
    shots = cut(row, ShotSettings(), tmp_path)
    lost = {"video": "lost", "class": "cow", "status": "ok", "path": "lost.mp4"}
    private = {"video": "private", "class": "cow", "status": "failed", "path": None}
    evil = row | {"video": "../../evil", "class": "../.."}
    (written, further), failed = write_sheets(tmp_path, [row, lost, private, evil], shots, [])
    assert written == sheet_path(tmp_path, row) == tmp_path / "sheets" / "horse" / "clip.jpg"
    assert read_image(written).shape[2] == 3
    assert further.resolve().is_relative_to(tmp_path / "sheets")
    assert list(failed) == ["lost"]
    assert "lost.mp4" in failed["lost"]
    assert sorted(path.suffix for path in (tmp_path / "sheets").rglob("*") if path.is_file()) == [".jpg", ".jpg"]


def test_a_sheet_is_drawn_again_where_something_changed(tmp_path, monkeypatch) -> None:
    row = video(tmp_path, scene(20, 0))
    shots = cut(row, ShotSettings(), tmp_path)
    drawn = []
    original = sheet.draw_sheet
    monkeypatch.setattr(sheet, "draw_sheet", lambda *rows: drawn.append(1) or original(*rows))
    (path,), _ = write_sheets(tmp_path, [row], shots, [])
    label = {"shot": "clip/0", "video": "clip", "status": "failed", "reason": "no", "seconds": 1.0}
    for labels, times in (([], 1), ([label], 2), ([label | {"seconds": 2.0}], 2), ([], 3)):
        assert write_sheets(tmp_path, [row], shots, labels)[0] == [path]
        assert len(drawn) == times
    path.write_bytes(b"half")
    write_sheets(tmp_path, [row], shots, [])
    assert len(drawn) == 4


def test_many_shots_go_on_in_further_sheets(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(sheet, "_MOST", 2)
    row = video(tmp_path, [scene(15, seed) for seed in range(5)])
    shots = cut(row, ShotSettings(), tmp_path)
    written, _ = write_sheets(tmp_path, [row], shots, [])
    assert [path.name for path in written] == ["clip.jpg", "clip-2.jpg", "clip-3.jpg"]


def test_a_video_without_shots_still_has_a_sheet(tmp_path) -> None:
    row = video(tmp_path, shades(100))
    shots = cut(row, ShotSettings(legacy=True), tmp_path)
    picture = draw_sheet(row, shots, [], tmp_path)
    assert (picture[TOP + 45 : TOP + 90, LEFT + 65 : LEFT + 120] == picture[TOP + 50, LEFT + 70]).all()


def test_shots_of_another_file_are_refused(tmp_path) -> None:
    row = video(tmp_path, scene(20, 0))
    with pytest.raises(InputError, match=r"clip.mp4: has no frame 29"):
        draw_sheet(row, [{"shot": "clip/0", "video": "clip", "index": 0, "start": 0, "end": 30}], [], tmp_path)
