"""Masks as files: every kind is read as what it says, nothing else passes, and what is written is what DAVIS writes."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from samepoint.errors import InputError
from samepoint.io.masks import load_masks, mask_names, read_mask, write_mask
from samepoint.io.rle import decode_counts, decode_rle, fill_polygon
from samepoint.structures import Masks
from samepoint.structures.masks import davis_palette
from tests.shared import shared_path

LABELS = np.array([[0, 1, 1, 0], [2, 2, 0, 0], [0, 0, 7, 7]], np.uint8)


def saved(path: Path, values: np.ndarray, mode: str | None = None) -> Path:
    image = Image.fromarray(values)
    (image.convert(mode) if mode else image).save(path)
    return path


def written(path: Path, content: object) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def encode(counts: list[int]) -> str:
    """COCO's compression of run lengths, as its description has it."""
    text = ""
    for place, count in enumerate(counts):
        value = count - counts[place - 2] if place > 2 else count
        while True:
            bits, value = value & 31, value >> 5
            more = value != (-1 if bits & 16 else 0)
            text += chr(bits + 32 * more + 48)
            if not more:
                break
    return text


def runs(mask: np.ndarray) -> list[int]:
    flat = mask.T.ravel()
    bounds = [0, *(np.flatnonzero(np.diff(flat)) + 1).tolist(), flat.size]
    counts = np.diff(bounds).tolist()
    return [0, *counts] if flat[0] else counts


class TestPictures:
    def test_palette(self, tmp_path: Path) -> None:
        write_mask(tmp_path / "a.png", LABELS)
        assert (read_mask(tmp_path / "a.png", (3, 4)) == LABELS).all()
        with Image.open(tmp_path / "a.png") as image:
            assert image.mode == "P"
            assert (np.array(image) == LABELS).all()
            assert image.getpalette()[:12] == [0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0]
            assert image.getpalette() == davis_palette().ravel().tolist()

    def test_void_is_background(self, tmp_path: Path) -> None:
        write_mask(tmp_path / "a.png", np.where(LABELS == 7, 255, LABELS).astype(np.uint8))
        assert (read_mask(tmp_path / "a.png") == np.where(LABELS == 7, 0, LABELS)).all()

    @pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif"])
    def test_black_and_white_is_one_object(self, tmp_path: Path, suffix: str) -> None:
        path = saved(tmp_path / f"a{suffix}", (LABELS > 0).astype(np.uint8) * 255)
        assert (read_mask(path) == (LABELS > 0)).all()

    @pytest.mark.parametrize("mode", ["1", "RGB", "RGBA", "LA"])
    def test_black_and_white_in_other_modes(self, tmp_path: Path, mode: str) -> None:
        path = saved(tmp_path / "a.png", (LABELS > 0).astype(np.uint8) * 255, mode)
        assert (read_mask(path) == (LABELS > 0)).all()

    def test_grey_values_are_labels(self, tmp_path: Path) -> None:
        assert (read_mask(saved(tmp_path / "a.png", LABELS)) == LABELS).all()
        assert (read_mask(saved(tmp_path / "b.png", LABELS, "RGB")) == LABELS).all()
        assert (read_mask(saved(tmp_path / "c.png", LABELS.astype(np.uint16))) == LABELS).all()
        assert (read_mask(saved(tmp_path / "d.png", (LABELS > 0).astype(np.uint16) * 65535)) == (LABELS > 0)).all()
        void = np.where(LABELS == 7, 255, LABELS).astype(np.uint8)
        assert (read_mask(saved(tmp_path / "e.png", void)) == np.where(LABELS == 7, 0, LABELS)).all()

    def test_davis_colours_keep_their_numbers(self, tmp_path: Path) -> None:
        assert (read_mask(saved(tmp_path / "a.png", davis_palette()[LABELS])) == LABELS).all()

    def test_other_colours_are_numbered_by_red_green_blue(self, tmp_path: Path) -> None:
        colours = np.zeros((256, 3), np.uint8)
        colours[[1, 2, 7]] = (255, 0, 0), (0, 0, 255), (0, 255, 0)
        wanted = np.zeros_like(LABELS)
        wanted[LABELS == 2], wanted[LABELS == 7], wanted[LABELS == 1] = 1, 2, 3
        assert (read_mask(saved(tmp_path / "a.png", colours[LABELS])) == wanted).all()
        full = np.where(LABELS == 0, 1, LABELS)  # no background at all
        assert read_mask(saved(tmp_path / "b.png", colours[full])).min() == 1

    def test_transparent_is_background(self, tmp_path: Path) -> None:
        rgba = np.dstack([np.full((3, 4, 3), (200, 30, 40), np.uint8), (LABELS > 0).astype(np.uint8) * 255])
        assert (read_mask(saved(tmp_path / "a.png", rgba)) == (LABELS > 0)).all()

    @pytest.mark.parametrize(
        ("values", "message"),
        [
            (np.arange(12, dtype=np.uint16).reshape(3, 4) * 100, "label 1100; objects have the labels 1 to 254"),
            (
                np.arange(64, dtype=np.uint8).reshape(8, 8) * 4 + 3,
                "63 grey levels beside black and white look like soft",
            ),
            (np.random.default_rng(0).integers(0, 256, (20, 20, 3), np.uint8), "colours; expected one for each object"),
        ],
    )
    def test_pictures_that_are_no_masks(self, tmp_path: Path, values: np.ndarray, message: str) -> None:
        with pytest.raises(InputError, match=rf"a.png: .*{message}"):
            read_mask(saved(tmp_path / "a.png", values))

    def test_an_enlarged_mask_has_soft_edges(self, tmp_path: Path) -> None:
        """Few grey levels, but nowhere more than a rim: else they would be objects, and the body void."""
        small = np.zeros((30, 40), np.uint8)
        small[8:22, 10:30] = 255
        soft = cv2.resize(small, (80, 60), interpolation=cv2.INTER_LINEAR)
        with pytest.raises(InputError, match=r"a.png: 5 grey levels .* look like soft edges"):
            read_mask(saved(tmp_path / "a.png", soft))

    def test_a_coloured_shape_with_soft_edges(self, tmp_path: Path) -> None:
        large = np.zeros((240, 320, 3), np.uint8)
        cv2.ellipse(large, (160, 120), (90, 60), 20, 0, 360, (230, 30, 40), -1)
        soft = cv2.resize(large, (107, 80), interpolation=cv2.INTER_AREA)
        with pytest.raises(InputError, match=r"a.png: \d+ colours, \d+ of them only along edges, look like soft edges"):
            read_mask(saved(tmp_path / "a.png", soft))
        hard = cv2.resize(large, (107, 80), interpolation=cv2.INTER_NEAREST)
        assert set(np.unique(read_mask(saved(tmp_path / "a.png", hard)))) == {0, 1}

    def test_small_objects_in_colours_of_their_own(self, tmp_path: Path) -> None:
        colours = np.zeros((60, 80, 3), np.uint8)
        colours[10:40, 10:40] = (200, 10, 10)
        for number in range(4):
            colours[50:53, 10 * number : 10 * number + 3] = (0, 50 + number, 0)
        assert len(np.unique(read_mask(saved(tmp_path / "a.png", colours)))) == 6
        poles = np.zeros((60, 80, 3), np.uint8)
        poles[10:50, 5:40] = (200, 10, 10)
        for number in range(5):
            poles[10:40, 48 + 6 * number : 50 + 6 * number] = (0, 50 + number, 0)
        assert len(np.unique(read_mask(saved(tmp_path / "a.png", poles)))) == 7
        dots = np.zeros((60, 80, 3), np.uint8)
        for number in range(40):
            dots[3 * (number // 8), 10 * (number % 8)] = (number + 1, 0, 9)
        assert len(np.unique(read_mask(saved(tmp_path / "a.png", dots)))) == 41

    def test_labels_beside_a_large_void_are_labels(self, tmp_path: Path) -> None:
        values = np.full((30, 40), 255, np.uint8)
        values[5:12, 5:12] = 3
        assert (read_mask(saved(tmp_path / "a.png", values)) == np.where(values == 3, 3, 0)).all()

    def test_other_mistakes(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"a.jpg: unknown kind of mask '.jpg'; expected one of .png"):
            read_mask(tmp_path / "a.jpg")
        with pytest.raises(InputError, match=r"a.png: no such file"):
            read_mask(tmp_path / "a.png")
        with pytest.raises(InputError, match=r"a.json: no such file"):
            read_mask(tmp_path / "a.json")
        with pytest.raises(InputError, match=r"b.png: is 4x3, but the frames are 9x8"):
            read_mask(saved(tmp_path / "b.png", LABELS), (8, 9))
        with pytest.raises(InputError, match=r"written as .png"):
            write_mask(tmp_path / "c.jpg", LABELS)
        with pytest.raises(InputError, match=r"uint8 \(H, W\)"):
            write_mask(tmp_path / "c.png", LABELS.astype(int))
        assert not (tmp_path / "c.png").exists()


class TestCoco:
    first, second = LABELS == 1, LABELS == 7

    def rle(self, mask: np.ndarray, compressed: bool) -> dict:
        counts = runs(mask)
        return {"size": list(mask.shape), "counts": encode(counts) if compressed else counts}

    @pytest.mark.parametrize("compressed", [True, False])
    def test_run_lengths(self, tmp_path: Path, compressed: bool) -> None:
        one, two = self.rle(self.first, compressed), self.rle(self.second, compressed)
        wanted = self.first * 1 + self.second * 2
        assert (read_mask(written(tmp_path / "a.json", one)) == self.first).all()
        assert (read_mask(written(tmp_path / "b.json", [one, two])) == wanted).all()
        annotations = [
            {"segmentation": each, "image_id": 3, "id": i, "iscrowd": 1} for i, each in enumerate([one, two])
        ]
        content = {"images": [{"id": 3, "height": 3, "width": 4}], "annotations": annotations}
        assert (read_mask(written(tmp_path / "c.json", content), (3, 4)) == wanted).all()

    def test_polygons(self, tmp_path: Path) -> None:
        parts = [[1, 0, 3, 0, 3, 1, 1, 1], [0, 2, 1, 2, 1, 3, 0, 3]]
        wanted = np.zeros((3, 4), np.uint8)
        wanted[0, 1:3] = wanted[2, 0] = 1
        assert (read_mask(written(tmp_path / "a.json", {"segmentation": parts}), (3, 4)) == wanted).all()
        content = {"images": [{"height": 3, "width": 4}], "annotations": [{"segmentation": parts}]}
        assert (read_mask(written(tmp_path / "b.json", content)) == wanted).all()
        with pytest.raises(InputError, match="do not say how large"):
            read_mask(tmp_path / "a.json")

    def test_the_later_of_two_lies_on_top(self, tmp_path: Path) -> None:
        polygons = [[[0, 0, 4, 0, 4, 3, 0, 3]], [[1, 1, 3, 1, 3, 2, 1, 2]]]
        labels = read_mask(written(tmp_path / "a.json", [{"segmentation": each} for each in polygons]), (3, 4))
        assert labels.tolist() == [[1, 1, 1, 1], [1, 2, 2, 1], [1, 1, 1, 1]]

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ("{", "not JSON"),
            ({}, "expected COCO annotations"),
            ([], "no annotation in this file"),
            ({"annotations": [{"segmentation": []}]}, "annotation 1: expected run lengths or a list of polygons"),
            ({"annotations": [{"image_id": 1}, {"image_id": 2}]}, "holds 2 pictures; expected the masks of one"),
            ({"annotations": 3}, "must be lists"),
            ({"size": [3, 4], "counts": [5, 5]}, "must be 0 or more and cover 3 x 4 pixels"),
            ({"size": [3, 4], "counts": [-1, 13]}, "must be 0 or more"),
            ({"size": [3, 4], "counts": "5 "}, "character ' ' does not belong"),
            ({"size": [3, 4], "counts": "5o"}, "cut short"),
            ({"size": [3, 4], "counts": [1.5]}, "list of whole numbers"),
            ({"size": [3], "counts": [1]}, r"size must be \[height, width\]"),
            ({"size": [1 << 20, 1 << 20], "counts": [1 << 40]}, "is no picture's"),
            ({"segmentation": [[1, 2, 3, 4]]}, "polygon 0: expected x, y of at least 3 corners"),
            ({"segmentation": [[1, 2, 3, 4, 5, float("nan")]]}, "polygon 0"),
            ({"segmentation": "3"}, "expected run lengths or a list of polygons"),
            ([{"size": [3, 4], "counts": [12]}, {"size": [4, 3], "counts": [12]}], "annotation 2: is of 3x4"),
        ],
    )
    def test_files_that_cannot_be_used(self, tmp_path: Path, content: object, message: str) -> None:
        with pytest.raises(InputError, match=rf"a.json.*{message}"):
            read_mask(written(tmp_path / "a.json", content), (3, 4))

    @settings(max_examples=60)
    @given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 2**32 - 1), st.floats(0, 1))
    def test_run_lengths_come_back(self, height: int, width: int, seed: int, share: float) -> None:
        mask = np.random.default_rng(seed).random((height, width)) < share
        assert decode_counts(encode(runs(mask)), "") == runs(mask)
        assert (decode_rle({"size": [height, width], "counts": encode(runs(mask))}, "") == mask).all()

    @settings(max_examples=60)
    @given(st.lists(st.integers(0, 1 << 20), min_size=1, max_size=12))
    def test_long_runs_come_back(self, counts: list[int]) -> None:
        assert decode_counts(encode(counts), "") == counts

    @settings(max_examples=60)
    @given(st.integers(0, 2**32 - 1), st.integers(3, 8))
    def test_polygons_hold_the_pixels_whose_centres_they_hold(self, seed: int, corners: int) -> None:
        xy = np.random.default_rng(seed).uniform(-3, 13, (corners, 2))
        inside = np.zeros((8, 10), bool)
        for row in range(8):
            for column in range(10):
                x, y = column + 0.5, row + 0.5
                for (ax, ay), (bx, by) in zip(xy, np.roll(xy, -1, axis=0), strict=True):
                    if (ay > y) != (by > y) and x < ax + (y - ay) / (by - ay) * (bx - ax):
                        inside[row, column] ^= True
        assert (fill_polygon(xy, (8, 10)) == inside).all()

    @settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
            lambda inner: (
                st.lists(inner, max_size=4)
                | st.dictionaries(
                    st.sampled_from(["segmentation", "counts", "size", "annotations", "images", "height", "width"]),
                    inner,
                    max_size=4,
                )
            ),
            max_leaves=12,
        )
    )
    def test_anything_else_is_refused_in_one_way(self, tmp_path: Path, content: object) -> None:
        path = written(tmp_path / "a.json", content)
        try:
            labels = read_mask(path, (3, 4))
        except InputError as error:
            assert "a.json" in str(error)  # noqa: PT017 - either way is right
        else:
            assert labels.shape == (3, 4)


class TestFolders:
    def test_masks_come_back(self, tmp_path: Path) -> None:
        labels = np.stack([LABELS, LABELS[::-1], LABELS * 0])
        palette = davis_palette()[::-1].copy()
        Masks(labels, palette).save(tmp_path / "new" / "folder")
        assert sorted(path.name for path in (tmp_path / "new" / "folder").iterdir()) == [
            "00000.png",
            "00001.png",
            "00002.png",
        ]
        again = Masks.load(tmp_path / "new" / "folder", fps=30)
        assert (again.labels == labels).all()
        assert (again.palette == palette).all()
        assert (again.fps, again.size, again.objects, len(again)) == (30, (3, 4), (1, 2, 7), 3)

    def test_names_may_be_given(self, tmp_path: Path) -> None:
        masks = Masks(LABELS[None])
        masks.save(tmp_path, names=["frame7.png"])
        assert (Masks.load(tmp_path).labels[0] == LABELS).all()
        with pytest.raises(InputError, match="1 frames need 1 different file names, got 2"):
            masks.save(tmp_path, names=["a.png", "b.png"])

    def test_the_rest_of_a_longer_result_is_not_mixed_in(self, tmp_path: Path) -> None:
        Masks(np.stack([LABELS] * 3)).save(tmp_path)
        (tmp_path / "notes.txt").write_text("mine")
        shorter = Masks(LABELS[None, ::-1])
        with pytest.raises(InputError, match=r"holds 2 other pictures, such as 00001\.png, .*overwrite=True"):
            shorter.save(tmp_path)
        assert (Masks.load(tmp_path).labels == LABELS).all()
        shorter.save(tmp_path, overwrite=True)
        assert (Masks.load(tmp_path).labels == shorter.labels).all()
        assert (tmp_path / "notes.txt").exists()
        shorter.save(tmp_path)

    def test_names_follow_the_pictures_of_a_folder(self, tmp_path: Path) -> None:
        for name in ("img10.jpg", "img2.jpg"):
            Image.fromarray(np.zeros((2, 2, 3), np.uint8)).save(tmp_path / name)
        names = mask_names(tmp_path)
        assert [next(names) for _ in range(2)] == ["img2.png", "img10.png"]
        Image.fromarray(np.zeros((2, 2, 3), np.uint8)).save(tmp_path / "img2.png")
        assert next(mask_names(tmp_path)) == "00000.png"
        assert next(mask_names("clip.mp4")) == "00000.png"

    def test_mistakes(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="no masks in this folder"):
            load_masks(tmp_path, 25)
        with pytest.raises(InputError, match="no such folder"):
            load_masks(tmp_path / "none", 25)
        (tmp_path / "file").write_text("")
        with pytest.raises(InputError, match="is a file"):
            Masks(LABELS[None]).save(tmp_path / "file")

    def test_structure_refuses_what_does_not_fit(self) -> None:
        for labels in (LABELS, LABELS[None].astype(int), np.zeros((0, 3, 4), np.uint8)):
            with pytest.raises(InputError, match=r"uint8 \(T, H, W\)"):
                Masks(labels)
        with pytest.raises(InputError, match="frame 1: label 255"):
            Masks(np.stack([LABELS, LABELS * 0 + 255]))
        with pytest.raises(InputError, match="palette"):
            Masks(LABELS[None], davis_palette()[:5])
        with pytest.raises(InputError, match="fps"):
            Masks(LABELS[None], fps=0)


def test_a_mask_of_davis_2016() -> None:
    labels = read_mask(shared_path("data", "davis", "Annotations", "480p", "libby", "00000.png"), (480, 854))
    assert set(np.unique(labels).tolist()) == {0, 1}
