"""Which frame of the video a labelled picture is."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from samepoint.errors import InputError
from samepoint.io.keypoints import check_pictures, place_in_video
from samepoint.structures import Keypoints, Video
from samepoint.viz.writer import VideoWriter


def labels(*images: str) -> Keypoints:
    from samepoint.io.keypoints.exact import frame_of_name

    frames = [frame_of_name(name) for name in images]
    return Keypoints(frames, np.ones((len(images), 1, 1, 2)), ("nose",), images=images)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mouse").mkdir()
    for number in (3, 7, 20):
        cv2.imwrite(str(tmp_path / "mouse" / f"img{number}.png"), np.full((8, 12, 3), number, np.uint8))
    return tmp_path / "mouse"


def test_in_a_folder_by_name(folder: Path) -> None:
    placed = place_in_video(labels("labeled-data/mouse/img20.png", "labeled-data\\mouse\\img3.png"), Video(folder))
    assert placed.frame.tolist() == [2, 0]
    with pytest.raises(InputError, match=r"labeled-data/mouse/img4.png is not in the folder"):
        place_in_video(labels("labeled-data/mouse/img4.png"), Video(folder))


def test_in_a_part_of_a_video_pictures_name_frames_of_the_whole(folder: Path) -> None:
    known = labels("mouse/img20.png", "mouse/img7.png")
    assert place_in_video(known, Video(folder)[1:]).frame.tolist() == [1, 0]
    assert place_in_video(known, Video(folder)[::-1]).frame.tolist() == [0, 1]
    with pytest.raises(InputError, match=r"mouse/img20.png, frame 2, is not in the part of the video"):
        place_in_video(known, Video(folder)[1::-1])
    with pytest.raises(InputError, match=r"labels of frame 2 \(mouse/img20.png\), but the video has 2 frames"):
        place_in_video(known, Video(folder)[:2])
    video = Video(np.zeros((9, 8, 12, 3), np.uint8))
    assert place_in_video(labels("a/img0004.png", "a/img6.png"), video[2::2]).frame.tolist() == [1, 2]
    numbered = Keypoints([1], np.ones((1, 1, 1, 2)), ("nose",))
    assert place_in_video(numbered, video[2:]).frame.tolist() == [1]


def test_in_a_video_by_number() -> None:
    video = Video(np.zeros((5, 8, 12, 3), np.uint8))
    assert place_in_video(labels("a/img0004.png", "a/img1.png"), video).frame.tolist() == [4, 1]
    for names, message in [
        (("a/img5.png",), r"labels of frame 5 \(a/img5.png\), but the video has 5 frames"),
        (("a/front.png",), "a/front.png has no frame number in its name; expected one at the end, as in img0042.png"),
        (("a/img1.png", "a/frame01.png"), "a/img1.png and a/frame01.png are both frame 1"),
        (("a/img1.png", "b/img1.png"), r"pictures of several folders \(a, b\)"),
    ]:
        with pytest.raises(InputError, match=message):
            place_in_video(labels(*names), video)
    with pytest.raises(InputError, match="labels of frame 5, but"):
        place_in_video(Keypoints([5], np.ones((1, 1, 1, 2)), ("nose",)), video)


def test_of_several_folders_the_one_named_as_the_video(tmp_path: Path) -> None:
    path = tmp_path / "b.mp4"
    with VideoWriter(path, 25) as writer:
        for _ in range(3):
            writer.write(np.zeros((16, 16, 3), np.uint8))
    placed = place_in_video(labels("x/a/img1.png", "x/b/img1.png", "x/b/img2.png"), Video(path))
    assert (placed.images, placed.frame.tolist()) == (("x/b/img1.png", "x/b/img2.png"), [1, 2])


def test_pictures_of_another_video_are_noticed(tmp_path: Path) -> None:
    (tmp_path / "labeled-data" / "mouse").mkdir(parents=True)
    table = tmp_path / "labeled-data" / "mouse" / "CollectedData.csv"
    cv2.imwrite(str(table.parent / "img1.png"), np.full((8, 12, 3), 100, np.uint8))
    known = labels("labeled-data/mouse/img1.png")
    check_pictures(known, Video(np.full((3, 8, 12, 3), 103, np.uint8)), table)  # as compression changes it
    with pytest.warns(UserWarning, match="looks unlike frame 1 of the video .20 grey levels apart"):
        check_pictures(known, Video(np.full((3, 8, 12, 3), 120, np.uint8)), table)
