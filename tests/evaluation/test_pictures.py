"""Which items are drawn, and what is drawn of them."""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from samepoint.datasets import badja, pf_willow
from samepoint.errors import InputError
from samepoint.evaluation.pictures import draw, draw_results, pick
from samepoint.evaluation.result_file import read_result
from samepoint.io.images import read_image
from tests.datasets import pair_trees as trees
from tests.evaluation.results import write
from tests.shared import shared_path

SIZE = (60, 120)  # a quarter of the width that frames are drawn at
FACTOR = 4


def saved(path: Path, **arrays: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **arrays)
    return path


@pytest.fixture
def davis(tmp_path: Path) -> Path:
    """DAVIS-2016 with one sequence of 3 dark frames and a square of 20 px in each."""
    for kind in ("JPEGImages", "Annotations"):
        (tmp_path / kind / "480p" / "cow").mkdir(parents=True)
    mask = np.zeros(SIZE, np.uint8)
    mask[20:40, 50:70] = 255
    for t in range(3):
        Image.new("RGB", SIZE[::-1]).save(tmp_path / "JPEGImages" / "480p" / "cow" / f"{t:05d}.jpg")
        Image.fromarray(mask).save(tmp_path / "Annotations" / "480p" / "cow" / f"{t:05d}.png")
    return tmp_path


@pytest.fixture
def tapvid(tmp_path: Path) -> Path:
    """TAP-Vid-DAVIS with one video of 3 dark frames and 3 tracks, the second of which is never seen."""
    points = np.zeros((3, 3, 2))
    points[0], points[2] = (0.25, 0.5), (0.75, 0.5)
    occluded = np.array([[False, False, True], [True] * 3, [False] * 3])
    video = np.zeros((3, *SIZE, 3), np.uint8)
    (tmp_path / "a.pkl").write_bytes(pickle.dumps({"cow": {"video": video, "points": points, "occluded": occluded}}))
    return tmp_path


def at(picture: np.ndarray, x: float, y: float, cell: int = 0) -> list[int]:
    """The colour at a place of the original frame, in one of the cells side by side."""
    return picture[int(y * FACTOR), int(x * FACTOR) + cell * 484].tolist()


def test_masks(davis: Path) -> None:
    labels = np.zeros((3, *SIZE), np.uint8)
    labels[:, 20:40, 60:80] = 1
    picture = draw("cow", saved(davis / "p.npz", labels=labels), davis, "davis-2016")
    assert picture.shape == (60 * FACTOR + 4, 2 * 484, 3)  # frames 1 and 2: the first is given
    for cell in (0, 1):
        red, green, blue = at(picture, 75, 30, cell)
        assert red > 50 > max(green, blue)  # predicted
        assert max(at(picture, 55, 30, cell)) < 20  # annotated alone: no fill
        assert min(at(picture, 49.5, 30, cell)) > 150  # but a white line around it
        assert max(at(picture, 100, 30, cell)) < 20


def test_points_of_tracks_that_were_asked_for(tapvid: Path) -> None:
    xy = np.full((2, 3, 2), np.nan, np.float32)
    xy[0], xy[1] = (30, 10), (90, 30)
    confidence = np.array([[1, 0.9, 0.2], [1, 0.0, 1.2]], np.float32)
    for arrays in ({}, {"track": np.array([0, 2])}):
        path = saved(tapvid / "p.npz", xy=xy, confidence=confidence, **arrays)
        picture = draw("cow", path, tapvid, "tapvid-davis")
        assert picture.shape == (60 * FACTOR + 4, 2 * 484, 3)
        assert max(at(picture, 30, 10)) > 150  # predicted
        assert min(at(picture, 30, 30)) > 200  # annotated: the middle of a white cross
        assert min(at(picture, 30, 20)) > 150  # and a line between
        assert max(at(picture, 30, 30, cell=1)) < 20  # hidden there: nothing to compare with
        assert max(at(picture, 60, 50)) < 20


def test_points_without_a_confidence_are_seen_where_they_are_known(tapvid: Path) -> None:
    xy = np.full((2, 3, 2), np.nan, np.float32)
    xy[0] = (30, 10)
    sure = saved(tapvid / "sure.npz", xy=xy, confidence=np.ones((2, 3), np.float32))
    alone = saved(tapvid / "alone.npz", xy=xy)
    drawn = [draw("cow", path, tapvid, "tapvid-davis") for path in (sure, alone)]
    np.testing.assert_array_equal(*drawn)


def test_points_that_are_not_known_are_left_out(tapvid: Path) -> None:
    xy = np.full((2, 3, 2), np.nan, np.float32)
    path = saved(tapvid / "p.npz", xy=xy, confidence=np.ones((2, 3), np.float32))
    assert min(at(draw("cow", path, tapvid, "tapvid-davis"), 30, 30)) > 200  # the annotation all the same


@pytest.mark.parametrize("direction", ["s2t", "t2s"])
def test_pairs(tmp_path: Path, direction: str) -> None:
    trees.willow(tmp_path, {"duck(S)": 2})
    pair = pf_willow.pairs(tmp_path)[0]
    path = saved(tmp_path / "p.npz", xy=np.full((10, 2), np.nan))
    picture = draw(pair.name, path, tmp_path, "pf-willow", direction=direction)
    factor = 480 / trees.WIDTH
    truth = (pair.target_xy if direction == "s2t" else pair.source_xy) * factor
    for x, y in truth[1:]:
        assert min(picture[int(y), 484 + int(x)]) > 200  # a cross in the picture that is asked
    with pytest.raises(InputError, match=r"expected \(10, 2\)"):
        draw(pair.name, saved(tmp_path / "p.npz", xy=np.zeros((9, 2))), tmp_path, "pf-willow")


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (
            {"xy": np.zeros((2, 4, 2)), "confidence": np.zeros((2, 4))},
            r"has the shape \(2, 4, 2\), expected \(2, 3, 2\)",
        ),
        ({"xy": np.zeros((1, 3, 2)), "confidence": np.zeros((1, 3)), "track": np.array([3])}, "does not have"),
        ({"other": np.zeros(3)}, "no array 'xy'"),
        ({"xy": np.array([{}])}, "not a readable prediction"),
    ],
)
def test_predictions_that_do_not_fit(tapvid: Path, arrays: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        draw("cow", saved(tapvid / "p.npz", **arrays), tapvid, "tapvid-davis")


def test_masks_that_do_not_fit(davis: Path) -> None:
    with pytest.raises(InputError, match=r"labels \(3, 5, 5\) uint8, expected \(3, 60, 120\)"):
        draw("cow", saved(davis / "p.npz", labels=np.zeros((3, 5, 5), np.uint8)), davis, "davis-2016")
    (davis / "p.npz").write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(InputError, match=r"p\.npz: not a readable prediction"):
        draw("cow", davis / "p.npz", davis, "davis-2016")


SCORES = st.dictionaries(
    st.text("abcdef", min_size=1, max_size=3),
    st.fixed_dictionaries({}, optional={"AJ": st.none() | st.floats(0, 100), "MTE": st.floats(0, 9)}),
    max_size=9,
)


@given(SCORES, st.integers(1, 4))
@settings(max_examples=100)
def test_best_and_worst(per_item: dict[str, dict[str, float | None]], count: int) -> None:
    picks = pick(per_item, count)
    metric = "AJ" if any("AJ" in one for one in per_item.values()) else "MTE"
    scores = {item: one[metric] for item, one in per_item.items() if one.get(metric) is not None}
    assert len(picks) == min(2 * count, len(scores))
    assert len({one.item for one in picks}) == len(picks)
    best = [one.value for one in picks if one.rank.startswith("best")]
    worst = [one.value for one in picks if one.rank.startswith("worst")]
    ranked = sorted(scores.values(), reverse=metric == "AJ")
    assert best == ranked[: len(best)]
    assert worst == ranked[::-1][: len(worst)]
    assert len(worst) <= len(best) <= count


def test_results_of_one_name_have_folders_of_their_own(davis: Path, tmp_path: Path) -> None:
    results = []
    for part in ("one", "two"):
        folder = tmp_path / part
        saved(folder / "r.predictions" / "masks" / "cow.npz", labels=np.zeros((3, *SIZE), np.uint8))
        changes = {"settings": {"masks": {"name": "samepoint"}, "root": str(davis)}, "predictions": "r.predictions"}
        scores = {"cow": {"J&F": 1.0}}
        results.append(read_result(write(folder / "r.json", benchmark="davis-2016", per_item=scores, **changes)))
    drawn = draw_results(results, tmp_path / "pics", 3)
    paths = [picture.path.relative_to(tmp_path / "pics").as_posix() for _, picture in drawn]
    assert paths == ["r/best-1-cow.png", "r-again/best-1-cow.png"]
    assert drawn[0][1].caption == "base, samepoint, badja-pips: best 1, cow, J&F 1.0"
    assert read_image(drawn[0][1].path).shape[2] == 3


@pytest.mark.parametrize("metric", ["PCK@0.1", "J&F"])
def test_the_prediction_is_that_of_the_task_of_the_metric(davis: Path, metric: str) -> None:
    for task, task_metric in (("joints", "PCK@0.1"), ("masks", "J&F")):
        size = SIZE if task_metric == metric else (2, 2)  # the other task's would not fit
        saved(davis / "r.predictions" / task / "cow.npz", labels=np.zeros((3, *size), np.uint8))
    tasks = {"joints": {"name": "samepoint"}, "masks": {"name": "samepoint"}, "root": str(davis)}
    changes = {"settings": tasks, "per_item": {"cow": {metric: 1.0}}, "predictions": "r.predictions"}
    result = read_result(write(davis / "r.json", benchmark="davis-2016", **changes))
    assert len(draw_results([result], davis / "pics", 3)) == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"predictions": None}, "it names no folder of predictions"),
        ({"predictions": "none"}, "there is no folder of predictions"),
        ({"predictions": ".", "settings": {}}, "it names no data folder"),
        ({"predictions": ".", "settings": {"root": "/none/such"}}, "its data is not where it was, /none/such"),
        ({"predictions": ".", "per_item": {}}, "no item has a score"),
        ({"predictions": ".", "settings": {"root": "."}, "per_item": {"../a": {"AJ": 1}}}, "'../a' cannot name a file"),
    ],
)
def test_what_cannot_be_drawn_is_one_warning(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    result = read_result(write(tmp_path / "a.json", **changes))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert draw_results([result], tmp_path / "pics", 3) == []
    (warning,) = caught
    assert message in str(warning.message)
    assert not (tmp_path / "pics").exists()


def test_joints_of_the_real_badja(tmp_path: Path) -> None:
    root = shared_path("data", "badja")
    name = badja.names(root)[0]
    (sequence,) = badja.sequences(root, only=[name])
    xy = np.repeat(sequence.joints_xy[:, :1], len(sequence.frame_paths), axis=1)
    path = saved(tmp_path / "p.npz", xy=xy, confidence=np.ones(xy.shape[:2], np.float32))
    picture = draw(name, path, root, "badja")
    factor = 480 / sequence.size[1]
    last = sequence.annotated[1:][-4:][-1]
    assert picture.shape[1] == 2 * 484
    assert last == len(xy[0]) - 1
    bottom = picture[picture.shape[0] // 2 :, 484:]  # the last frame shown is the last annotated one
    truth = sequence.joints_xy[sequence.visible[:, -1], -1] * factor
    white = [bottom[round(y - 0.5), round(x - 0.5)].min() > 150 for x, y in truth]
    assert np.mean(white) > 0.5  # crosses may lie below a neighbour's
