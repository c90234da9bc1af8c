from __future__ import annotations

import pickle
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from samepoint.errors import InputError
from samepoint.webvideo.label_file import Labels, write_labels
from samepoint.webvideo.legacy_labels import write_published
from samepoint.webvideo.pairs import PairSampler, PairSettings, correspondences
from samepoint.webvideo.rows import Row


def straight(points: int, frames: int, start: int = 0, foreground: np.ndarray | None = None) -> Labels:
    """Point p is at (p, 2t) in frame t, as sure as its number says."""
    xy = np.zeros((points, frames, 2), np.float32)
    xy[..., 0] = np.arange(points)[:, None]
    xy[..., 1] = 2 * np.arange(frames)
    confidence = np.repeat(np.linspace(0.2, 1, points, dtype=np.float32)[:, None], frames, 1)
    return Labels(xy, confidence, (240, 320), start, 25.0, foreground)


def collection(folder: Path, shots: dict[str, tuple[str, Labels]]) -> tuple[list[Row], list[Row]]:
    """Label rows and shot rows of shots by name, each with a class."""
    labels, rows = [], []
    for name, (kind, made) in shots.items():
        path = f"labels/{name}.npz"
        write_labels(folder / path, made)
        rows.append({"shot": name, "class": kind, "height": 240, "width": 320, "start": made.start, "path": "a.mp4"})
        labels.append({"shot": name, "class": kind, "status": "ok", "frames": made.frames, "path": path})
    return labels, rows


def sampler(folder: Path, shots: dict[str, tuple[str, Labels]], seed: int = 0, **settings: Any) -> PairSampler:
    return PairSampler(*collection(folder, shots), folder, PairSettings(**settings), seed)


def test_correspondences_by_hand() -> None:
    labels = straight(3, 4)
    labels.xy[1, 2], labels.confidence[1, 2] = np.nan, 0
    labels.confidence[2, 2] = 0.25
    first, second, confidence, rows = correspondences(labels, 0, 2)
    assert rows.tolist() == [0, 2]
    assert first.tolist() == [[0, 0], [2, 0]]
    assert second.tolist() == [[0, 4], [2, 4]]
    np.testing.assert_allclose(confidence, [0.2, 0.25])
    with pytest.raises(InputError, match="frame 4: the shot has labels in frames 0 to 3"):
        correspondences(labels, 4, 0)


def test_a_pair_depends_on_seed_and_position_only(tmp_path: Path) -> None:
    shots = {f"v{n}/0": ("ab"[n % 2], straight(30, 12, start=n)) for n in range(6)}
    first = sampler(tmp_path, shots)
    reordered = PairSampler(*(rows[::-1] for rows in collection(tmp_path, shots)), tmp_path)
    other = sampler(tmp_path, shots, seed=1)
    forwards = [first[n] for n in range(20)]
    backwards = [reordered[n] for n in range(19, -1, -1)][::-1]
    for one, two in zip(forwards, backwards, strict=True):
        assert one[:3] == two[:3]
        assert all((a == b).all() for a, b in zip(one[3:], two[3:], strict=True))
    assert any(first[n][:3] != other[n][:3] for n in range(20))


def test_a_sampler_that_has_read_pickles(tmp_path: Path) -> None:
    pairs = sampler(tmp_path, {"v/0": ("a", straight(30, 12))})
    before = pairs[3]
    again = pickle.loads(pickle.dumps(pairs))[3]
    assert before[:3] == again[:3]
    assert all((a == b).all() for a, b in zip(before[3:], again[3:], strict=True))


def test_what_a_pair_says_is_true(tmp_path: Path) -> None:
    pairs = sampler(tmp_path, {"v/0": ("a", straight(60, 9, start=100))}, points=40)
    for position in range(30):
        pair = pairs[position]
        assert pair.shot["shot"] == "v/0"
        assert 100 <= min(pair.frame_i, pair.frame_j) < max(pair.frame_i, pair.frame_j) < 109
        assert len(pair.points_i) == len(pair.points_j) == len(pair.confidence) == 40
        np.testing.assert_allclose(pair.points_i[:, 1], 2 * (pair.frame_i - 100), atol=1 / 16)
        np.testing.assert_allclose(pair.points_j[:, 1], 2 * (pair.frame_j - 100), atol=1 / 16)
        np.testing.assert_allclose(pair.points_i[:, 0], pair.points_j[:, 0], atol=1 / 16)
        assert len(np.unique(pair.points_i[:, 0])) == 40
    orders = [pairs[n].frame_i < pairs[n].frame_j for n in range(60)]
    assert 15 < sum(orders) < 45


@pytest.mark.parametrize(
    ("balance", "expected"),
    [("class", {"a": 0.5, "b": 0.5}), ("shot", {"a": 0.75, "b": 0.25}), ("pair", {"a": 9 / 54, "b": 45 / 54})],
)
def test_classes_shots_or_pairs_count_alike(tmp_path: Path, balance: str, expected: dict[str, float]) -> None:
    shots = {f"a{n}/0": ("a", straight(5, 3)) for n in range(3)} | {"b/0": ("b", straight(5, 10))}
    pairs = sampler(tmp_path, shots, balance=balance)
    drawn = Counter(pairs[n].shot["class"] for n in range(400))
    for kind, share in expected.items():
        assert drawn[kind] / 400 == pytest.approx(share, abs=0.08)
    within = Counter(pairs[n].shot["shot"] for n in range(400) if pairs[n].shot["class"] == "a")
    assert len(within) == 3


def test_every_pair_within_a_shot_counts_alike(tmp_path: Path) -> None:
    shots = {"v/0": ("a", straight(4, 6))}
    settings: dict[str, Any] = {"balance": "pair", "swap": 0.0}
    pairs = sampler(tmp_path, shots, **settings)
    drawn = Counter((pairs[n].frame_i, pairs[n].frame_j) for n in range(1500))
    assert len(drawn) == 15
    assert 65 < min(drawn.values()) < max(drawn.values()) < 140  # 100 each
    published = gaps(sampler(tmp_path, shots, source="first", **settings), 500)
    assert 70 < min(published.values()) < max(published.values()) < 135


def gaps(pairs: PairSampler, number: int = 300) -> Counter[int]:
    return Counter(abs(pairs[n].frame_j - pairs[n].frame_i) for n in range(number))


def test_gaps_are_drawn_as_asked(tmp_path: Path) -> None:
    shots = {"v/0": ("a", straight(5, 11))}
    even = gaps(sampler(tmp_path, shots, gap=(2, 5)))
    assert sorted(even) == [2, 3, 4, 5]
    assert min(even.values()) > 45
    near = gaps(sampler(tmp_path, shots, gap=(1, 4), power=-2.0))
    # 1, 1/4, 1/9 and 1/16 of 1.4236
    assert near[1] / 300 == pytest.approx(0.702, abs=0.08)
    assert near[2] / 300 == pytest.approx(0.176, abs=0.08)
    first = sampler(tmp_path, shots, source="first", swap=0.0)
    assert {first[n].frame_i for n in range(20)} == {0}
    assert len({first[n].frame_j for n in range(80)}) == 10


def test_foreground_points_are_preferred_and_taken_alone_where_only_they_are_wanted(tmp_path: Path) -> None:
    weights = np.zeros(40, np.float32)
    weights[:10] = 1
    shots = {"v/0": ("a", straight(40, 4, foreground=weights))}
    alone = sampler(tmp_path, shots, foreground=1.0, points=20)[0]
    np.testing.assert_allclose(np.sort(alone.points_i[:, 0]), np.arange(10), atol=1 / 16)
    half = sampler(tmp_path, shots, foreground=0.9, points=10)
    assert np.mean([(half[n].points_i[:, 0] < 9.5).mean() for n in range(40)]) > 0.5
    no = sampler(tmp_path, shots, points=10)
    assert np.mean([(no[n].points_i[:, 0] < 9.5).mean() for n in range(40)]) < 0.35


def test_pairs_without_enough_points_are_drawn_again_but_not_for_ever(tmp_path: Path) -> None:
    gone = straight(6, 8)
    gone.xy[:, 4:], gone.confidence[:, 4:] = np.nan, 0
    pairs = sampler(tmp_path, {"v/0": ("a", gone)})
    assert all(max(pairs[n].frame_i, pairs[n].frame_j) < 4 for n in range(20))
    few = sampler(tmp_path, {"v/0": ("a", gone)}, least=7, tries=5)
    with pytest.raises(InputError, match="no pair of frames with 7 labels in common in 5 tries"):
        few[0]


def test_published_folders_serve_too(tmp_path: Path) -> None:
    xy = np.full((4, 2, 2), 10, np.float32) + np.arange(4, dtype=np.float32)[:, None, None] * 60
    write_published(Labels(xy, np.ones((4, 2), np.float32), (240, 320)), tmp_path / "pred")
    row = {"shot": "v/0", "class": "a", "status": "ok", "frames": 2, "path": "pred"}
    shot = {"shot": "v/0", "class": "a", "height": 240, "width": 320, "start": 0, "fps": 25.0}
    pair = PairSampler([row], [shot], tmp_path, PairSettings(least=1))[0]
    assert 1 <= len(pair.points_i) <= 4
    np.testing.assert_allclose(pair.points_i, pair.points_j, atol=2)


def test_what_cannot_be_sampled_is_said_so(tmp_path: Path) -> None:
    labels, shots = collection(tmp_path, {"v/0": ("a", straight(5, 2)), "w/0": ("a", straight(5, 9))})
    with pytest.raises(InputError, match="no labelled shot of more than 10 frames among 2"):
        PairSampler(labels, shots, tmp_path, PairSettings(gap=(10, None)))
    with pytest.raises(InputError, match="w/0 has labels, but is not among the shots"):
        PairSampler(labels, shots[:1], tmp_path)
    with pytest.raises(InputError, match="none of its labelled shots is kept"):
        PairSampler(labels, [{**row, "kept": False} for row in shots], tmp_path)
    for gap in ((5, 2), (0, None), (-3, 4)):
        with pytest.raises(ValidationError, match="expected 1 or more frames, the fewest first"):
            PairSettings(gap=gap)
    failed = [{**row, "status": "failed"} for row in labels]
    with pytest.raises(InputError, match="no labelled shot"):
        PairSampler(failed, shots, tmp_path)
