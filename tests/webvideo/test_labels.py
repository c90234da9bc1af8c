from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from pydantic import ValidationError

from samepoint.errors import InputError
from samepoint.io.masks import write_mask
from samepoint.models.network import PointNetwork
from samepoint.models.resnet import ResNet
from samepoint.models.weights import TABLE, load_model
from samepoint.viz.writer import VideoWriter
from samepoint.webvideo.acceptance import AcceptSettings, Followed, accepted
from samepoint.webvideo.label_file import read_labels
from samepoint.webvideo.labels import Labeller, LabelSettings
from samepoint.webvideo.legacy_labels import list_maps, read_map
from samepoint.webvideo.motion_rule import MotionSettings
from samepoint.webvideo.rows import Row, complete

HEIGHT, WIDTH = 128, 160


def texture(height: int, width: int, seed: int) -> np.ndarray:
    """Smooth random colours, uint8 (H, W, 3)."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (height // 6 + 2, width // 6 + 2, 3)).astype(np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def static(frames: int) -> np.ndarray:
    return np.repeat(texture(HEIGHT, WIDTH, 0)[None], frames, axis=0)


def with_object(frames: int, step: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """A square of 12 % of the picture that moves over a still background, and where it is first, bool (H, W)."""
    side = round((0.12 * HEIGHT * WIDTH) ** 0.5)
    clip, thing = static(frames), texture(side, side, 7)
    for t in range(frames):
        clip[t, 40 : 40 + side, 30 + step * t : 30 + step * t + side] = thing
    inside = np.zeros((HEIGHT, WIDTH), bool)
    inside[40 : 40 + side, 30 : 30 + side] = True
    return clip, inside


def drifting(frames: int, dx: float = 1.5, dy: float = 1.0) -> np.ndarray:
    """A wide picture that moves by (-dx, -dy) a frame."""
    wide = texture(HEIGHT + 60, WIDTH + 60, 3)
    moves = [np.array([[1, 0, -dx * t], [0, 1, -dy * t]], np.float32) for t in range(frames)]
    return np.stack([cv2.warpAffine(wide, move, (WIDTH, HEIGHT), flags=cv2.INTER_CUBIC) for move in moves])


def labeller(method: str, **settings: Any) -> Labeller:
    if not TABLE["samepoint-base"].path.is_file():
        pytest.skip("needs samepoint-base, which is not here")
    return Labeller(LabelSettings(method=method, **{"seeds": 10, "short_side": None, **settings}), network=NETWORK)


NETWORK = load_model("samepoint-base") if TABLE["samepoint-base"].path.is_file() else PointNetwork()


@pytest.mark.parametrize("method", ["track", "chain"])
def test_a_static_clip_keeps_all_labels_where_they_are(method: str) -> None:
    labels, means = labeller(method).label(static(8), 8)
    assert labels.alive_shares(8) == [1.0] * 8
    away = np.linalg.norm(labels.xy - labels.xy[:, :1], axis=2)
    assert away.mean() < (0.3 if method == "track" else 0.01)
    assert away.max() < 1.5
    assert means["cycle_error"] is not None
    assert means["cycle_error"] < 0.3


@pytest.mark.parametrize("method", ["track", "chain"])
def test_an_object_that_moves_before_a_still_camera_keeps_its_labels(method: str) -> None:
    clip, inside = with_object(8)
    labels, _ = labeller(method, seeds=16, short_side=240).label(clip, 8)
    columns, rows = labels.xy[:, 0].astype(int).T
    own = inside[rows, columns]
    assert abs(own.mean() - 0.12) < 0.03
    alive = labels.alive[:, -1]
    assert alive[own].mean() > 0.9
    assert alive[~own].mean() > 0.7  # the object covers some
    travelled = (labels.xy[:, -1] - labels.xy[:, 0])[own & alive]
    assert np.abs(np.median(travelled, 0) - (14, 0)).max() < 1
    assert (np.linalg.norm(travelled - (14, 0), axis=1) < 2).mean() > 0.9


def test_the_published_way_ends_the_one_and_loses_the_other(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    network = Patches()
    settings = LabelSettings(method="legacy", legacy={"size": 128, "grid": 32, "stride": 4})  # type: ignore[arg-type]
    legacy = Labeller(settings, network=network)
    video(tmp_path / "still.mkv", static(6))
    row = legacy(shot("still.mkv", 6), tmp_path)
    assert row["alive"] == [1.0] + [0.0] * 5
    assert row["frames"] == 1
    clip, inside = with_object(6, step=5)
    video(tmp_path / "moving.mkv", clip)
    row = legacy(shot("moving.mkv", 6), tmp_path)
    assert row["status"] == "ok"
    second = read_map(list_maps(tmp_path / row["path"])[1])
    own = cv2.resize(inside.astype(np.uint8), (32, 32), interpolation=cv2.INTER_AREA).astype(bool)
    kept = np.isin(np.arange(1024).reshape(32, 32), second)
    assert kept[own].mean() < 0.1
    assert kept[~own].mean() > 0.8


class Patches(torch.nn.Module):
    """Features that are the pixels themselves: blocks of 4x4."""

    def __init__(self) -> None:
        super().__init__()
        self.unused = torch.nn.Parameter(torch.zeros(1))
        self.lattices = ResNet(18, (1, 1, 1, 4), pool=True, outputs=(1,)).lattices

    def preprocess(self, frames: torch.Tensor) -> torch.Tensor:
        return frames.permute(0, 3, 1, 2).float() / 255 - 0.5

    def features(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return (torch.nn.functional.pixel_unshuffle(x, 4),)


@pytest.mark.parametrize("method", ["track", "chain"])
def test_labels_of_a_drifting_picture_are_right_and_those_that_leave_it_end(method: str) -> None:
    frames = 16
    labels, means = labeller(method, short_side=240).label(drifting(frames), frames)
    moved = labels.xy - labels.xy[:, :1]
    truth = np.arange(frames)[:, None] * np.array([-1.5, -1.0])
    error = np.linalg.norm(moved - truth, axis=2)
    assert np.nanmean(error) < 1
    leaves = labels.xy[:, :1] + truth
    outside = np.maximum(-leaves.min(axis=2), 0)
    assert not labels.alive[outside > (2 if method == "track" else 12)].any()
    assert labels.alive[outside == 0].mean() > 0.95
    # What is lost does not come back.
    assert (np.diff(labels.alive.astype(int), axis=1) <= 0).all()
    assert means["similarity"] is not None
    assert means["similarity"] > 0.7


def test_any_network_with_maps_serves_tracking_and_matching() -> None:
    torch.manual_seed(0)
    clip = static(3)
    for method in ("track", "chain"):
        settings = LabelSettings(method=method, seeds=3, short_side=None, accept=AcceptSettings(confidence=0.0))  # type: ignore[arg-type]
        labels, _ = Labeller(settings, network=Patches()).label(clip, 3)
        assert labels.alive.mean() > 0.8


def test_repeated_frames_are_not_looked_at_and_repeat_their_labels() -> None:
    clip = drifting(6)
    twice = clip[[0, 1, 1, 2, 2, 2, 3, 4, 5]]
    single, _ = labeller("track").label(clip, 6)
    labels, _ = labeller("track").label(twice, 9, repeats={2, 4, 5})
    np.testing.assert_array_equal(labels.xy, single.xy[:, [0, 1, 1, 2, 2, 2, 3, 4, 5]])
    np.testing.assert_array_equal(labels.confidence, single.confidence[:, [0, 1, 1, 2, 2, 2, 3, 4, 5]])


def test_new_seeds_begin_where_no_label_is() -> None:
    frames = 12
    labels, _ = labeller("chain", renew=5).label(drifting(frames, 6.0, 0.0), frames)
    assert sorted(set(labels.began.tolist())) == [0, 5, 10]
    later = labels.began > 0
    assert (labels.xy[later, labels.began[later], 0] > WIDTH / 2).mean() > 0.8  # on the side that came in
    assert 10 <= later.sum() < 100
    started = labels.xy[np.arange(len(labels)), labels.began]
    assert np.isfinite(started).all()


@pytest.mark.parametrize("lost", [False, True])
def test_new_seeds_wait_for_a_frame_that_is_no_repeat(lost: bool) -> None:
    clip = drifting(12, 6.0, 0.0)
    if lost:  # nothing is followed any more when they are due
        clip[3:] = np.random.default_rng(0).integers(0, 256, clip[3:].shape)
    clip = clip[[0, 1, 2, 3, 4, 4, 4, 5, 6, 7, 8, 9]]
    accept = AcceptSettings(similarity=0.999 if lost else 0.3, survival=0)
    labels, _ = labeller("chain", renew=5, accept=accept).label(clip, 12, repeats={5, 6})
    assert sorted(set(labels.began.tolist())) == [0, 7, 10]


def test_repeated_frames_are_no_steps_of_the_means() -> None:
    clip = drifting(5)
    _, single = labeller("chain").label(clip, 5)
    _, thrice = labeller("chain").label(np.repeat(clip, 3, axis=0), 15, repeats={t for t in range(15) if t % 3})
    assert single["cycle_error"] is not None
    assert thrice == pytest.approx(single)


def test_it_ends_where_nothing_is_left_to_follow() -> None:
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (12, HEIGHT, WIDTH, 3)).astype(np.uint8)
    clip = np.concatenate([static(3), noise])
    seen = 0

    def counted() -> Any:
        nonlocal seen
        for frame in clip:
            seen += 1
            yield frame

    labels, _ = labeller("chain", accept=AcceptSettings(similarity=0.999)).label(counted(), len(clip))
    assert labels.frames == 3
    assert seen < len(clip)
    assert labels.alive_shares(len(clip)) == [1.0] * 3 + [0.0] * 12


# Acceptance by hand: three labels in a row, four frames, cells of 4 pixels.
def followed(**changes: Any) -> Followed:
    xy = np.zeros((3, 4, 2), np.float32) + np.array([10.0, 20.0], np.float32)
    ones, zeros = np.ones((3, 4), np.float32), np.zeros((3, 4), np.float32)
    values = {"xy": xy, "confidence": ones, "cycle": zeros, "similarity": ones.copy(), "cell": 4.0}
    return Followed(**{**values, **changes})


@pytest.mark.parametrize(
    ("name", "value", "edge"),
    [("confidence", 0.49, 0.5), ("cycle", 8.1, 8.0), ("similarity", 0.29, 0.3)],
)
def test_each_check_ends_a_label_for_good(name: str, value: float, edge: float) -> None:
    case = followed()
    values = getattr(case, name).copy()
    values[0, 2], values[1, 2] = value, edge
    alive = accepted(followed(**{name: values}), (40, 40), AcceptSettings(lapse=0))
    assert alive.tolist() == [[True, True, False, False], [True] * 4, [True] * 4]
    returning = accepted(followed(**{name: values}), (40, 40), AcceptSettings(returns=True, lapse=0))
    assert returning[0].tolist() == [True, True, False, True]


def test_a_lapse_between_two_frames_that_pass_is_forgiven_up_to_its_length() -> None:
    similarity = np.ones((3, 7), np.float32)
    similarity[0, 2] = similarity[1, 2:4] = similarity[2, 6] = 0
    xy = np.full((3, 7, 2), 10, np.float32)
    case = Followed(xy, np.ones((3, 7), np.float32), np.zeros((3, 7), np.float32), similarity, 4.0)
    lives = [[accepted(case, (40, 40), AcceptSettings(lapse=lapse))[n].sum() for n in range(3)] for lapse in (0, 1, 2)]
    assert lives == [[2, 2, 6], [7, 2, 6], [7, 7, 6]]
    xy[0, 2] = -1  # outside the picture nothing is forgiven
    assert accepted(case, (40, 40), AcceptSettings())[0].sum() == 2


def test_a_repeated_frame_is_no_evidence() -> None:
    """A check that fails just before a repeat is not forgiven: the repeat would pass any."""
    similarity = np.ones((2, 8), np.float32)
    similarity[0, [4, 6, 7]] = 0  # frame 5 repeats frame 4
    similarity[1, 4] = 0
    xy = np.full((2, 8, 2), 10, np.float32)
    case = Followed(xy, np.ones((2, 8), np.float32), np.zeros((2, 8), np.float32), similarity, 4.0, frozenset({5}))
    alive = accepted(case, (40, 40), AcceptSettings(survival=0, motion=None))
    assert alive.tolist() == [[True] * 4 + [False] * 4, [True] * 8]


def test_a_label_ends_where_it_leaves_the_picture() -> None:
    case = followed()
    case.xy[0, 2] = (-0.1, 20)
    case.xy[1, 1] = (10, 40)
    alive = accepted(case, (40, 40), AcceptSettings(survival=0))
    assert alive.tolist() == [[True, True, False, False], [True, False, False, False], [True] * 4]


def test_a_life_that_is_too_short_is_none_unless_the_shot_ends_it() -> None:
    case = followed()
    case.similarity[0, 2] = 0
    case.xy[1, :2] = np.nan  # begins in frame 2
    kept = accepted(case, (40, 40), AcceptSettings(survival=3, lapse=0))
    assert kept.tolist() == [[True, False, False, False], [False, False, True, True], [True] * 4]


def test_a_label_that_moves_unlike_all_around_it_ends() -> None:
    grid = np.stack(np.meshgrid(np.arange(6.0), np.arange(6.0)), -1).reshape(-1, 1, 2) * 10 + 5
    xy = np.repeat(grid, 3, axis=1).astype(np.float32)
    xy[14, 2] += (12, 0)
    ones, zeros = np.ones((36, 3), np.float32), np.zeros((36, 3), np.float32)
    case = Followed(xy, ones, zeros, ones, 4.0)
    alive = accepted(case, (60, 60), AcceptSettings())
    assert np.argwhere(~alive).tolist() == [[14, 2]]
    assert accepted(case, (60, 60), AcceptSettings(motion=None)).all()
    assert accepted(case, (60, 60), AcceptSettings(motion=MotionSettings(floor=4))).all()


def video(path: Path, frames: np.ndarray) -> None:
    with VideoWriter(path, 25) as writer:
        for frame in frames:
            writer.write(frame)


def shot(path: str, end: int, **more: Any) -> Row:
    row: Row = {"shot": "v/0", "video": "v", "class": "cat", "index": 0, "start": 0, "end": end, "fps": 25.0}
    return complete("shots", {**row, "kept": True, "repeats": [], "path": path, "status": "ok", **more})


def test_a_row_of_labels_and_its_file(tmp_path: Path) -> None:
    video(tmp_path / "a.mkv", drifting(10))
    label = labeller("chain", foreground="motion")
    row = label(shot("a.mkv", 9, shot="v/3", index=3, start=2), tmp_path)
    complete("labels", row)
    assert (row["status"], row["shot"], row["video"], row["class"]) == ("ok", "v/3", "v", "cat")
    assert (row["start"], row["end"], row["frames"], row["seeds"]) == (2, 9, 7, 100)
    assert row["path"] == "labels/v/3.npz"
    assert row["bytes"] == (tmp_path / row["path"]).stat().st_size
    assert row["motion"] == pytest.approx(np.hypot(1.5, 1), abs=0.3)
    labels = read_labels(tmp_path / row["path"])
    assert row["alive"] == labels.alive_shares(7)
    assert (labels.start, labels.size, labels.fps) == (2, (HEIGHT, WIDTH), 25.0)
    assert 0.5 < row["coverage"] <= 1
    assert labels.foreground is not None
    assert labels.foreground.max() < 0.5  # all moves as one
    assert [path.name for path in (tmp_path / "labels/v").iterdir()] == ["3.npz"]
    before = (tmp_path / row["path"]).read_bytes()
    again = label(shot("a.mkv", 9, shot="v/3", index=3, start=2), tmp_path)
    assert {**again, "seconds": 0} == {**row, "seconds": 0}
    assert (tmp_path / row["path"]).read_bytes() == before


def test_repeats_are_numbers_of_the_video(tmp_path: Path) -> None:
    video(tmp_path / "a.mkv", drifting(8)[[0, 1, 2, 3, 3, 4, 5]])
    row = labeller("chain")(shot("a.mkv", 7, start=2, repeats=[4]), tmp_path)
    labels = read_labels(tmp_path / row["path"])
    np.testing.assert_array_equal(labels.xy[:, 1], labels.xy[:, 2])
    assert (labels.xy[:, 2] != labels.xy[:, 3]).any()


def test_names_from_the_web_stay_in_the_folder(tmp_path: Path) -> None:
    video(tmp_path / "a.mkv", static(2))
    row = labeller("chain")(shot("a.mkv", 2, video="../../x"), tmp_path)
    assert ".." not in row["path"]
    assert (tmp_path / row["path"]).is_file()


def test_shots_that_cannot_be_labelled_say_why(tmp_path: Path) -> None:
    label = labeller("chain")
    missing = complete("labels", label(shot("gone.mkv", 5), tmp_path))
    assert missing["status"] == "failed"
    assert "gone.mkv" in missing["reason"]
    (tmp_path / "bad.mkv").write_bytes(b"no video")
    assert label(shot("bad.mkv", 5), tmp_path)["status"] == "failed"
    static_shot = label(shot("gone.mkv", 5, kept=False, reason="static"), tmp_path)
    assert (static_shot["status"], static_shot["reason"]) == ("skipped", "static")
    video(tmp_path / "short.mkv", static(3))
    short = label(shot("short.mkv", 5), tmp_path)
    assert short["status"] == "failed"
    assert not (tmp_path / "labels").exists()


def test_masks_say_what_is_foreground(tmp_path: Path) -> None:
    clip, inside = with_object(3)
    video(tmp_path / "a.mkv", clip)
    (tmp_path / "masks" / "v").mkdir(parents=True)
    write_mask(tmp_path / "masks" / "v" / "0.png", inside.astype(np.uint8))
    label = labeller("chain", foreground="masks", masks=str(tmp_path / "masks"))
    labels = read_labels(tmp_path / label(shot("a.mkv", 3), tmp_path)["path"])
    columns, rows = labels.xy[:, 0].astype(int).T
    assert labels.foreground is not None
    assert (labels.foreground == inside[rows, columns]).all()
    assert label(shot("a.mkv", 3, index=1), tmp_path)["status"] == "failed"  # no mask of this shot
    with pytest.raises(InputError, match=r"labels\.masks: 'none' is no folder"):
        Labeller(LabelSettings(foreground="masks", masks="none"), network=NETWORK)


def test_settings_are_checked() -> None:
    with pytest.raises(ValidationError):
        LabelSettings.model_validate({"method": "flow"})
    with pytest.raises(ValidationError):
        LabelSettings.model_validate({"windw": 3})
    for given, said in (
        ({"method": "legacy", "foreground": "motion"}, "foreground is for the methods track and chain"),
        ({"method": "legacy", "renew": 50}, "renew is for the methods track and chain"),
        ({"method": "legacy", "masks": "masks"}, "masks is for the methods track and chain"),
        ({"masks": "masks"}, "masks is for foreground: masks"),
        ({"foreground": "masks"}, "foreground: masks needs masks"),
    ):
        with pytest.raises(ValidationError, match=said):
            LabelSettings.model_validate(given)
    legacy = LabelSettings(method="legacy")
    assert LabelSettings.model_validate(legacy.model_dump(mode="json")) == legacy
    with pytest.raises(InputError, match="unknown model 'samepoint-bse'"):
        Labeller(LabelSettings(model="samepoint-bse"))
