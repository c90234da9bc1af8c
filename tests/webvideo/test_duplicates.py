from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from samepoint.structures import Video
from samepoint.webvideo.duplicates import DuplicateSettings, distance, hash_picture, hash_thumbnail, hash_video, merge
from samepoint.webvideo.rows import Row
from tests.io.clips import encode, moving
from tests.shared import shared_path


def picture(seed: int, height: int = 90, width: int = 120) -> np.ndarray:
    """Noise of all scales, the finer the weaker, as real pictures have it."""
    rng = np.random.default_rng(seed)
    scales = ((3, 60), (6, 40), (12, 25), (24, 15), (48, 8))
    parts = [
        cv2.resize(rng.normal(0, size, (side, side, 3)), (width, height), interpolation=cv2.INTER_CUBIC)
        for side, size in scales
    ]
    return np.clip(128 + sum(parts), 0, 255).astype(np.uint8)


def a_row(video: str, label: str, phash: str | None = None, duration: float | None = None, **more: Any) -> Row:
    return {"video": video, "class": label, "phash": phash, "duration": duration, "status": "found", **more}


def test_a_hash_by_hand() -> None:
    """Half a cosine from left to right is one frequency, the second in the first row; so is its mirror, negative."""
    wave = np.cos((np.arange(256) + 0.5) * np.pi / 256)
    rgb = np.round(127 + 100 * np.repeat(wave[None], 192, 0))[..., None].repeat(3, 2).astype(np.uint8)
    first, mirrored = str(hash_picture(rgb)), str(hash_picture(rgb[:, ::-1]))
    assert len(first) == 64
    assert int(first[0], 16) & 0b1100 == 0b0100  # the mean's bit is never set
    assert int(mirrored[0], 16) & 0b1100 == 0b0000
    assert distance("t" + "f" * 64, "t" + "0" * 64) == 256
    assert distance("t" + "f" * 64, "t" + "f" * 63 + "c") == 2
    assert distance("f" + "f" * 192, "f" + "f" * 191 + "8") == 1
    assert distance("t" + "f" * 64, "f" + "f" * 192) is None


def test_flat_pictures_are_not_all_the_same() -> None:
    assert hash_picture(np.zeros((90, 120, 3), np.uint8)) is None
    assert hash_thumbnail(np.full((90, 120, 3), 255, np.uint8)) is None


@pytest.mark.parametrize("seed", range(5))
def test_a_picture_is_known_again(seed: int) -> None:
    """Smaller, brighter and compressed again: near. Another picture: far."""
    original = picture(seed)
    first = hash_thumbnail(original)
    smaller = cv2.resize(original, (80, 60), interpolation=cv2.INTER_AREA)
    brighter = np.clip(smaller.astype(np.int16) * 0.8 + 30, 0, 255).astype(np.uint8)
    packed = cv2.imdecode(cv2.imencode(".jpg", brighter, [cv2.IMWRITE_JPEG_QUALITY, 60])[1], cv2.IMREAD_COLOR)
    second = hash_thumbnail(packed)
    assert first is not None
    assert second is not None
    assert distance(first, second) <= DuplicateSettings().distance  # type: ignore[operator]
    assert distance(first, str(hash_thumbnail(picture(seed + 100)))) > 50  # type: ignore[operator]


def test_a_file_compressed_again_is_known_again_and_another_is_not(tmp_path: Path) -> None:
    frames = np.stack([np.roll(picture(3), 4 * t, axis=1) for t in range(21)])
    good = encode(tmp_path / "good.mp4", frames, options={"crf": "18"})
    small = np.stack([cv2.resize(frame, (80, 60), interpolation=cv2.INTER_AREA) for frame in frames])
    poor = encode(tmp_path / "poor.mkv", small, options={"crf": "30"})
    backward = encode(tmp_path / "backward.mp4", frames[::-1], options={"crf": "18"})
    hashes = [hash_video(path) for path in (good, poor, backward)]
    assert distance(str(hashes[0]), str(hashes[1])) <= DuplicateSettings().distance  # type: ignore[operator]
    assert distance(str(hashes[0]), str(hashes[2])) > 50  # type: ignore[operator]


def test_a_file_that_is_black_or_none_has_no_hash(tmp_path: Path) -> None:
    assert hash_video(encode(tmp_path / "black.mp4", np.zeros((6, 48, 64, 3), np.uint8))) is None
    (tmp_path / "text.mp4").write_text("text")
    assert hash_video(tmp_path / "text.mp4") is None
    assert hash_video(encode(tmp_path / "one.mp4", moving(1))) is not None


def test_the_same_id_is_one_video_with_all_its_classes() -> None:
    rows = [a_row("a", "dog"), a_row("b", "cat"), a_row("a", "cat"), a_row("a", "bird"), a_row("a", "dog")]
    merged = merge(rows, DuplicateSettings())
    assert [row["video"] for row in merged] == ["a", "b"]
    assert merged[0]["also_in"] == ["bird", "cat"]
    assert merged[1].get("also_in") is None
    assert rows[0].get("also_in") is None


def test_hash_and_duration_together_tell() -> None:
    near, far = "t" + "f" * 62 + "00", "t" + "f" * 64
    rows = [
        a_row("a", "dog", near, 10.0),
        a_row("b", "cat", near, 11.5),
        a_row("c", "cat", near, 12.5),
        a_row("d", "cow", far, 10.0),
        a_row("e", "owl", far),
        a_row("f", "owl"),
    ]
    merged = {row["video"]: row.get("also_in") for row in merge(rows, DuplicateSettings(distance=4))}
    assert merged == {"a": ["cat"], "c": None, "d": ["owl"], "f": None}
    by_id = merge(rows, DuplicateSettings(perceptual=False))
    assert [row["video"] for row in by_id] == list("abcdef")


def test_files_are_one_only_at_the_same_length(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    near = "f" + "0" * 192
    rows = [
        {**a_row(name, "cage", near, length), "source": "folder"}
        for name, length in zip("abcd", (4, 4.05, 5, 6), strict=True)
    ]
    for name, content in zip("efg", ("one", "other", "one"), strict=True):
        (tmp_path / name).write_text(content)
        rows.append({**a_row(name, "cage", near), "source": "folder", "path": str(tmp_path / name)})
    assert [row["video"] for row in merge(rows, DuplicateSettings())] == ["a", "c", "d", "e", "f"]
    assert "passed over, it looks like a" in caplog.text


FLIPS = st.sets(st.integers(0, 255), max_size=14)


@pytest.mark.parametrize("pictures", [1, 3])
@settings(max_examples=60)
@given(st.integers(0, 12), st.lists(st.tuples(st.integers(0, 3), FLIPS, FLIPS), max_size=12))
def test_stretches_find_what_comparing_all_finds(
    pictures: int, limit: int, drawn: list[tuple[int, set[int], set[int]]]
) -> None:
    """Against the plain way: each row against all that were kept before it."""
    base = np.random.default_rng(0).integers(0, 2, (4, pictures, 256)).astype(bool)
    rows = []
    for index, (which, flips, others) in enumerate(drawn):
        bits = base[which].copy()
        bits[0, sorted(flips)] ^= True
        bits[-1, sorted(others)] ^= True
        rows.append(a_row(f"v{index}", f"c{index}", "tf"[pictures > 1] + np.packbits(bits).tobytes().hex()))
    kept: list[Row] = []
    for row in rows:
        for other in kept:
            differ = bin(int(other["phash"][1:], 16) ^ int(row["phash"][1:], 16)).count("1")
            if differ <= limit * pictures:
                other["expected"] = sorted({*other.get("expected", ()), row["class"]})
                break
        else:
            kept.append(dict(row))
    merged = merge(rows, DuplicateSettings(distance=limit))
    assert [(row["video"], row.get("also_in")) for row in merged] == [(r["video"], r.get("expected")) for r in kept]


def test_real_clips_compressed_again_are_told_from_scenes_of_the_same_video(tmp_path: Path) -> None:
    root = shared_path("data", "jhmdb", "train")
    paths = sorted(root.rglob("*.avi"))[:60:12]
    rows = []
    for index, path in enumerate(paths):
        frames = np.stack([cv2.resize(frame, (240, 180), interpolation=cv2.INTER_AREA) for frame in Video(path)])
        copy = encode(tmp_path / f"{index}.mp4", frames, options={"crf": "30"})
        rows += [a_row(f"a{index}", "first", hash_video(path)), a_row(f"b{index}", "second", hash_video(copy))]
    merged = merge(rows, DuplicateSettings())
    assert [(row["video"], row["also_in"]) for row in merged] == [(f"a{i}", ["second"]) for i in range(len(paths))]
