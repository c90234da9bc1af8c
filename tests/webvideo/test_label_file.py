from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from samepoint.errors import InputError
from samepoint.webvideo.label_file import Labels, read_labels, write_labels
from tests.reference.web_labels import slow_alive_shares


def make(alive: np.ndarray, size: tuple[int, int] = (240, 320), seed: int = 0) -> Labels:
    rng = np.random.default_rng(seed)
    xy = (rng.random((*alive.shape, 2)) * (size[1], size[0])).astype(np.float32)
    confidence = rng.uniform(0.01, 1, alive.shape).astype(np.float32)
    xy[~alive], confidence[~alive] = np.nan, 0
    return Labels(xy, confidence, size, start=12, fps=30.0, about={"method": "track", "model": "m"})


def lives(count: int, frames: int, seed: int) -> np.ndarray:
    """Labels that begin, are lost and partly come back at random."""
    rng = np.random.default_rng(seed)
    alive = rng.random((count, frames)) < 0.7
    alive[np.arange(count), rng.integers(frames, size=count)] = True
    return alive


@settings(max_examples=25)
@given(st.integers(1, 12), st.integers(1, 9), st.integers(0, 99), st.sampled_from([(240, 320), (4000, 9000)]))
def test_what_is_read_is_what_was_written(
    tmp_path_factory: pytest.TempPathFactory, count: int, frames: int, seed: int, size: tuple[int, int]
) -> None:
    labels = make(lives(count, frames, seed), size, seed)
    path = tmp_path_factory.mktemp("labels") / "a.npz"
    assert write_labels(path, labels) == path.stat().st_size
    read = read_labels(path)
    unit = max(1 / 16, max(size) / 65535)
    assert (read.alive == labels.alive).all()
    assert (np.isnan(read.xy[..., 0]) == ~labels.alive).all()
    np.testing.assert_allclose(read.xy, labels.xy, atol=unit / 2 + 1e-3)
    np.testing.assert_allclose(read.confidence, labels.confidence, atol=0.5 / 255 + 1e-6)
    assert (read.size, read.start, read.fps, read.about) == (size, 12, 30.0, labels.about)
    assert read.foreground is None
    assert read.xy.dtype == read.confidence.dtype == np.float32


def test_numpy_alone_reads_it_as_documented(tmp_path: Path) -> None:
    labels = make(lives(5, 7, 1))
    write_labels(tmp_path / "a.npz", labels)
    file = np.load(tmp_path / "a.npz")
    header = json.loads(str(file["header"]))
    xy = np.cumsum(file["steps"], axis=0, dtype=np.uint16) * header["unit"]
    alive = file["confidence"] > 0
    assert header["version"] == 1
    assert header["size"] == [240, 320]
    assert (alive == labels.alive.T).all()
    np.testing.assert_allclose(xy[alive], labels.xy.transpose(1, 0, 2)[alive], atol=1 / 32 + 1e-4)


def test_the_same_labels_are_the_same_bytes_and_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    labels = make(lives(5, 7, 1))
    for name in ("a.npz", "b.npz"):
        write_labels(tmp_path / "deep" / name, labels)
    assert (tmp_path / "deep/a.npz").read_bytes() == (tmp_path / "deep/b.npz").read_bytes()
    broken = Labels(labels.xy, labels.confidence, labels.size, about={"not": object()})
    with pytest.raises(TypeError):
        write_labels(tmp_path / "deep/c.npz", broken)
    assert sorted(path.name for path in (tmp_path / "deep").iterdir()) == ["a.npz", "b.npz"]


def test_a_certain_zero_of_a_live_label_stays_alive(tmp_path: Path) -> None:
    labels = Labels(np.full((1, 1, 2), 319.99, np.float32), np.full((1, 1), 1e-6, np.float32), (320, 320))
    write_labels(tmp_path / "a.npz", labels)
    assert read_labels(tmp_path / "a.npz").alive.all()


def test_a_few_hundred_labels_take_less_than_two_kilobytes_a_frame(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    xy = np.cumsum(rng.normal(0, 2, (400, 40, 2)), axis=1) + rng.random((400, 1, 2)) * 200 + 60
    confidence = rng.uniform(0.5, 1, (400, 40))
    labels = Labels(xy.clip(0, 319).astype(np.float32), confidence.astype(np.float32), (320, 320))
    assert write_labels(tmp_path / "a.npz", labels) < 40 * 2048


def test_foreground_is_kept_to_a_255th(tmp_path: Path) -> None:
    labels = make(lives(3, 2, 0))
    weighted = Labels(labels.xy, labels.confidence, labels.size, foreground=np.array([0, 0.5, 1], np.float32))
    write_labels(tmp_path / "a.npz", weighted)
    found = read_labels(tmp_path / "a.npz").foreground
    assert found is not None
    np.testing.assert_allclose(found, [0, 0.5, 1], atol=1 / 500)


def test_lives_counted_by_hand() -> None:
    alive = np.array([[1, 1, 1, 1], [1, 0, 0, 0], [0, 1, 1, 0], [0, 0, 0, 1]], bool)
    labels = make(alive)
    assert labels.began.tolist() == [0, 0, 1, 3]
    assert labels.survival.tolist() == [3, 0, 1, 0]
    # After 0: all. After 1: labels 0, 1, 2 could be, 0 and 2 are. After 2: they could, 0 is. After 3: 0, 1 could, 0 is.
    assert labels.alive_shares() == [1.0, 2 / 3, 1 / 3, 1 / 2]
    # In a shot of six frames the last label, which has no frame 4, was lost.
    assert labels.alive_shares(6) == [1.0, 0.5, 1 / 4, 1 / 3, 0, 0]
    assert labels.between(1, 2).tolist() == [0, 2]


@settings(max_examples=30)
@given(st.integers(1, 8), st.integers(1, 8), st.integers(0, 999), st.integers(0, 3))
def test_shares_agree_with_counting_one_by_one(count: int, frames: int, seed: int, more: int) -> None:
    alive = lives(count, frames, seed)
    assert make(alive).alive_shares(frames + more) == pytest.approx(slow_alive_shares(alive, frames + more))


def test_no_labels_at_all() -> None:
    labels = Labels(np.zeros((0, 0, 2), np.float32), np.zeros((0, 0), np.float32), (10, 10))
    assert labels.alive_shares(5) == []
    assert labels.survival.shape == labels.began.shape == (0,)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"not a zip", "not a readable label file"),
        (None, "not a readable label file"),
        ({"header": np.array("{}")}, "its header does not say 'samepoint labels'"),
        ({"header": np.array(json.dumps({"format": "samepoint labels", "version": 9}))}, "version 9, expected 1"),
        ({"header": np.array(json.dumps({"format": "samepoint labels", "version": 1}))}, "damaged label file"),
        ({"steps": np.zeros(3)}, "not a readable label file"),
    ],
)
def test_what_is_no_label_file_is_said_so(tmp_path: Path, content: object, problem: str) -> None:
    path = tmp_path / "a.npz"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif isinstance(content, dict):
        np.savez_compressed(path, **content)
    with pytest.raises(InputError, match=problem) as error:
        read_labels(path)
    assert str(path) in str(error.value)


def test_a_file_cut_off_is_said_so(tmp_path: Path) -> None:
    write_labels(tmp_path / "a.npz", make(lives(50, 9, 0)))
    whole = (tmp_path / "a.npz").read_bytes()
    (tmp_path / "a.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="not a readable label file"):
        read_labels(tmp_path / "a.npz")


def test_arrays_that_do_not_belong_together() -> None:
    with pytest.raises(InputError, match="expected xy"):
        Labels(np.zeros((2, 3, 2), np.float32), np.zeros((2, 4), np.float32), (5, 5))
