from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from samepoint.errors import InputError
from samepoint.webvideo.label_file import Labels, write_labels
from samepoint.webvideo.legacy_labels import (
    LOST,
    LegacySettings,
    displacement_outliers,
    list_maps,
    nearest_everywhere,
    next_map,
    open_labels,
    propagate_maps,
    published_frames,
    read_map,
    read_published,
    resized,
    seed_cells,
    write_maps,
    write_published,
)
from tests.reference.web_labels import slow_nearest
from tests.shared import shared_path

pytest.importorskip("sklearn")
SMALL = LegacySettings(grid=16, samples=256)


def identity(side: int) -> np.ndarray:
    return np.arange(side * side, dtype=np.int64).reshape(side, side)


def test_the_first_frame_comes_twice_and_the_last_never() -> None:
    assert published_frames(7, 12) == [7, 7, 8, 9, 10]
    assert published_frames(7, 8) == [7]
    assert published_frames(7, 7) == []


def test_nearest_cells_are_those_of_the_published_system() -> None:
    golden = np.load(shared_path("golden", "crw_resnet18.npz"))
    before, after = (resized(torch.from_numpy(level), 64) for level in golden["features"])
    found, expected = nearest_everywhere(before, after), torch.from_numpy(golden["nearest_source"]).long().flatten()
    different = found != expected
    assert different.float().mean() < 0.01
    # Where it differs both are equally near.
    keys, queries = (torch.nn.functional.normalize(level.flatten(1), dim=0) for level in (before, after))
    scores = [(keys[:, index] * queries).sum(0)[different] for index in (found, expected)]
    torch.testing.assert_close(scores[0], scores[1], atol=1e-5, rtol=0)


def test_nearest_cells_agree_with_a_loop() -> None:
    rng = np.random.default_rng(1)
    before, after = rng.normal(size=(2, 5, 6, 6)).astype(np.float32)
    found = nearest_everywhere(torch.from_numpy(before), torch.from_numpy(after))
    assert found.tolist() == slow_nearest(before, after).tolist()


# Section 4.3 of the specification of the published system: what its forest does to fields of displacements.
GRID = np.stack(np.meshgrid(np.arange(96), np.arange(96)), -1).reshape(-1, 2)


@pytest.mark.parametrize("motion", [0.0, 5.0])
def test_constant_motion_is_all_outliers(motion: float) -> None:
    assert displacement_outliers(np.full((9216, 2), motion), LegacySettings()).all()


@pytest.mark.parametrize("share", [0.01, 0.1])
def test_jumps_before_a_still_background_are_the_outliers(share: float) -> None:
    rng = np.random.default_rng(0)
    field = np.zeros((9216, 2))
    jumps = rng.random(9216) < share
    field[jumps] = rng.integers(10, 90, (int(jumps.sum()), 2))
    assert (displacement_outliers(field, LegacySettings()) == jumps).all()


def test_a_moving_object_before_a_still_background_is_an_outlier_and_half_the_picture_takes_all_with_it() -> None:
    small, large = (np.abs(GRID - 47.5).max(1) < 48 * np.sqrt(share) for share in (0.12, 0.39))
    assert (displacement_outliers(small[:, None] * np.array([8.0, 0.0]), LegacySettings()) == small).all()
    assert displacement_outliers(large[:, None] * np.array([8.0, 0.0]), LegacySettings()).all()


@pytest.mark.parametrize(("sigma", "share"), [(0.5, 0.54), (1.5, 0.37), (3.0, 0.47)])
def test_jitter_loses_the_published_share(sigma: float, share: float) -> None:
    field = np.abs(np.rint(np.random.default_rng(0).normal(0, sigma, (9216, 2))))
    assert displacement_outliers(field, LegacySettings()).mean() == pytest.approx(share, abs=0.06)


def test_a_step_by_hand() -> None:
    labels = identity(16)
    labels[3, 3] = LOST
    nearest = identity(16).copy()
    nearest[5, 5:7] = labels[4, 4]  # two cells take the label of one, a diagonal step away and a longer one
    nearest[9, 9] = 3 * 16 + 3  # far away, and lost before
    moved = next_map(labels, nearest.ravel(), SMALL)
    assert moved[3, 3] == LOST
    assert moved[9, 9] == LOST
    # All of the others stand still; the forest takes whatever moves for an outlier.
    assert moved[5, 5] == moved[5, 6] == LOST
    still = np.ones((16, 16), bool)
    still[3, 3] = still[9, 9] = still[5, 5] = still[5, 6] = False
    assert (moved[still] == identity(16)[still]).all()


def moving(frames: int, seed: int = 0) -> list[torch.Tensor]:
    """Features (8, 16, 16) of a picture that drifts by a cell every other frame, with noise."""
    rng = np.random.default_rng(seed)
    wide = rng.normal(size=(8, 16, 16 + frames)).astype(np.float32)
    noise = rng.normal(size=(frames, 8, 16, 16)).astype(np.float32)
    return [torch.from_numpy(wide[:, :, t // 2 : t // 2 + 16] + 0.5 * noise[t]) for t in range(frames)]


def test_the_first_map_is_the_identity_and_what_is_lost_never_returns() -> None:
    maps = list(propagate_maps(moving(6), SMALL))
    assert (maps[0] == identity(16)).all()
    assert len(maps) > 2
    for before, after in pairwise(maps):
        assert set(after[after != LOST].tolist()) <= set(before[before != LOST].tolist())


def test_a_repeated_frame_ends_the_shot() -> None:
    frames = moving(4)
    assert len(list(propagate_maps([frames[0]] * 4, SMALL))) == 1
    assert len(list(propagate_maps([frames[0], frames[1], frames[1], frames[2]], SMALL))) == 2


def test_files_are_the_published_ones_and_a_folder_is_replaced_as_a_whole(tmp_path: Path) -> None:
    folder = tmp_path / "pred"
    assert write_maps(folder, [identity(256)] * 3) == 3 * 524_416
    assert [path.stat().st_size for path in list_maps(folder)] == [524_416] * 3
    assert np.load(folder / "0_pred.npy").dtype == np.int64

    def broken() -> object:
        yield identity(16)
        raise RuntimeError("power cut")

    with pytest.raises(RuntimeError):
        write_maps(folder, broken())  # type: ignore[arg-type]
    assert len(list_maps(folder)) == 3
    write_maps(folder, [identity(16)])
    assert [path.name for path in folder.iterdir()] == ["0_pred.npy"]
    assert [path.name for path in tmp_path.iterdir()] == ["pred"]


def test_reading_takes_the_cells_of_a_label_together_and_lets_none_return(tmp_path: Path) -> None:
    # A grid of 4x4 cells over a picture of 80x40: cells of 20x10 pixels. Seeds: the middles of a 2x2 grid.
    maps = [identity(4) for _ in range(3)]
    assert seed_cells(2, (4, 4)).tolist() == [5, 7, 13, 15]
    maps[1][:] = LOST
    maps[1][0, :3] = 5  # three cells: the one in the middle is nearest to their mean
    maps[1][2, 0] = 7
    maps[2][:] = LOST
    maps[2][3, 3] = 13  # was lost in map 1
    maps[2][1, 1] = 7
    write_maps(tmp_path / "pred", maps)
    labels = read_published(tmp_path / "pred", (40, 80), seeds=2, start=9)
    assert labels.alive.tolist() == [
        [True, True, False],
        [True, True, True],
        [True, False, False],
        [True, False, False],
    ]
    assert labels.xy[:, 0].tolist() == [[30, 15], [70, 15], [30, 35], [70, 35]]
    assert labels.xy[0, 1].tolist() == [30, 5]
    assert labels.xy[1, 1:].tolist() == [[10, 25], [30, 15]]
    assert labels.start == 9
    every = read_published(tmp_path / "pred", (40, 80), seeds=None)
    np.testing.assert_array_equal(every.xy, labels.xy[:2])  # 5 and 7 are all that the second map holds


def test_what_is_exported_is_read_back_to_a_cell(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    xy = (rng.random((400, 4, 2)) * (320, 240)).astype(np.float32)
    step = (np.arange(20) + 0.5) / 20
    xy[:, 0] = np.stack(np.meshgrid(step * 320, step * 240), -1).reshape(-1, 2)
    confidence = np.ones((400, 4), np.float32)
    lost = rng.random(400) < 0.3
    xy[lost, 2:], confidence[lost, 2:] = np.nan, 0
    labels = Labels(xy, confidence, (240, 320))
    assert write_published(labels, tmp_path / "pred") == 4 * 524_416
    maps = [read_map(path) for path in list_maps(tmp_path / "pred")]
    assert (maps[0] == identity(256)).all()
    assert set(np.unique(maps[1]).tolist()) <= {LOST, *seed_cells(20, (256, 256)).tolist()}
    read = read_published(tmp_path / "pred", (240, 320))
    both = read.alive & labels.alive
    assert (both <= labels.alive).all()
    assert both.sum() > 0.98 * labels.alive.sum()  # two labels may share a cell
    assert np.abs(read.xy[both] - labels.xy[both]).max() <= 320 / 256 / 2 + 1e-3


def test_the_surer_of_two_labels_in_a_cell_is_exported(tmp_path: Path) -> None:
    xy = np.array([[[10, 10], [50, 50]], [[80, 80], [50.2, 50.2]]], np.float32)
    labels = Labels(xy, np.array([[1, 0.9], [1, 0.4]], np.float32), (100, 100))
    write_published(labels, tmp_path / "pred", grid=10)
    assert read_map(tmp_path / "pred" / "1_pred.npy")[5, 5] == 11


def test_either_kind_of_labels_is_opened(tmp_path: Path) -> None:
    row = {"height": 40, "width": 80, "start": 3, "fps": None}
    write_maps(tmp_path / "pred", [identity(4)] * 2)
    opened = open_labels(tmp_path / "pred", row)
    assert (len(opened), opened.size, opened.start, opened.fps) == (16, (40, 80), 3, 25.0)
    with pytest.raises(InputError, match="v/0: its row has no height"):
        open_labels(tmp_path / "pred", {"shot": "v/0", "start": 3, "height": None, "width": None})
    write_labels(tmp_path / "a.npz", opened)
    assert (open_labels(tmp_path / "a.npz", {}).xy == opened.xy).all()


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("0_pred.npy", np.zeros((4, 4), np.float32), "0_pred.npy: float32"),
        ("0_pred.npy", np.full((4, 4), 16), "holds 16; expected -99 or 0 to 15"),
        ("0_pred.npy", b"", "not a readable label map"),
        ("1_pred.npy", np.zeros((4, 4), np.int64), "no 0_pred.npy"),
    ],
)
def test_what_is_no_label_map_is_said_so(tmp_path: Path, name: str, content: object, problem: str) -> None:
    path = tmp_path / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        np.save(path, content)
    with pytest.raises(InputError, match=problem):
        read_published(tmp_path, (40, 80))


def test_maps_of_two_sizes_are_refused(tmp_path: Path) -> None:
    write_maps(tmp_path / "pred", [identity(4), identity(5)])
    with pytest.raises(InputError, match=r"1_pred.npy: \(5, 5\), but 0_pred.npy is \(4, 4\)"):
        read_published(tmp_path / "pred", (40, 80))


def test_a_gap_in_the_numbers_ends_the_shot(tmp_path: Path) -> None:
    write_maps(tmp_path / "pred", [identity(4)] * 4)
    (tmp_path / "pred/2_pred.npy").unlink()
    assert len(list_maps(tmp_path / "pred")) == 2
