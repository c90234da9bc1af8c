"""BADJA's reader on a small made-up copy and on the real data."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from samepoint.datasets.badja import JOINTS, read_badja
from samepoint.errors import InputError
from tests.shared import shared_path


def entry(frame, row, column, seen):
    path = f"DAVIS/JPEGImages/Full-Resolution/cow/{frame:05d}.jpg"
    return {
        "image_path": path,
        "segmentation_path": path,
        "joints": [[row, column]] * 37,
        "visibility": [seen and j == 36 for j in range(37)],
    }


@pytest.fixture
def root(tmp_path):
    """A cow of 20x10 pixels in frames 3 to 5, annotated in 3 and 5: annotations beside frames in davis/."""
    notes = tmp_path / "badja" / "joint_annotations"
    notes.mkdir(parents=True)
    (notes / "cow.json").write_text(json.dumps([entry(3, 0, 0, True), entry(5, 1079, 959, False)]))
    pictures, masks = (tmp_path / "davis" / kind / "480p" / "cow" for kind in ("JPEGImages", "Annotations"))
    pictures.mkdir(parents=True)
    masks.mkdir(parents=True)
    for t in range(8):
        Image.new("RGB", (20, 10), (10 * t, 0, 0)).save(pictures / f"{t:05d}.jpg")
        mask = Image.new("P", (20, 10))
        mask.putpalette([0, 0, 0, 128, 0, 0])
        mask.paste(1, (0, 0, 10, t))
        mask.save(masks / f"{t:05d}.png")
    return tmp_path


def test_small_sequence(root):
    (cow,) = read_badja(root)
    assert (cow.name, cow.size, cow.joints_xy.shape) == ("cow", (10, 20), (20, 2, 2))
    assert [path.name for path in cow.frame_paths] == ["00003.jpg", "00004.jpg", "00005.jpg"]
    np.testing.assert_array_equal(cow.annotated, [0, 2])
    np.testing.assert_allclose(cow.joints_xy[0], [[0.5 / 96, 0.5 / 108], [959.5 / 96, 1079.5 / 108]], rtol=1e-6)
    np.testing.assert_allclose(cow.protocol_xy((108, 192))[0], [[0, 0], [95.9, 107.9]], rtol=1e-6)
    np.testing.assert_array_equal(cow.visible.sum(axis=0), [1, 0])
    assert cow.visible[JOINTS.index(36), 0]
    np.testing.assert_array_equal(cow.masks(None).sum(axis=(1, 2)), [30, 50])
    np.testing.assert_array_equal(cow.masks((20, 40)).sum(axis=(1, 2)), [120, 200])
    frames = cow.frames((5, 7))
    assert (frames.shape, frames.dtype) == ((3, 5, 7, 3), np.uint8)
    np.testing.assert_allclose(frames.mean(axis=(1, 2))[:, 0], [30, 40, 50], atol=2)
    assert cow.frames(None).shape == (3, 10, 20, 3)


def test_missing_pieces_are_named(root):
    with pytest.raises(InputError, match="'dog'; there are cow"):
        list(read_badja(root, ("dog",)))
    with pytest.raises(InputError, match="joint_annotations: no such folder"):
        list(read_badja(root / "davis"))
    (root / "davis/JPEGImages/480p/cow/00004.jpg").unlink()
    with pytest.raises(InputError, match=r"00004\.jpg: missing"):
        list(read_badja(root))
    (root / "davis/Annotations/480p/cow").rename(root / "elsewhere")
    with pytest.raises(InputError, match="no Annotations folder; looked for"):
        list(read_badja(root))


@pytest.mark.parametrize("text", ["[]", "{", "[{}]", '[{"image_path": "1.jpg", "joints": [], "visibility": []}]'])
def test_broken_annotation_is_named(root, text):
    (root / "badja/joint_annotations/cow.json").write_text(text)
    with pytest.raises(InputError, match=r"cow\.json"):
        list(read_badja(root))


def test_broken_picture_is_named(root):
    (cow,) = read_badja(root)
    cow.frame_paths[1].write_bytes(b"not a picture")
    with pytest.raises(InputError, match=r"00004\.jpg: cannot be read"):
        cow.frames()


def test_real_counts():
    """Table 4.1 of the protocol for the three development animals."""
    shared_path("data", "badja")
    counted = {}
    for animal in read_badja(shared_path("data")):
        seen = animal.visible
        counted[animal.name] = (
            seen.shape[1],
            len(animal.frame_paths),
            int(seen.sum()),
            int(seen[:, 1:].sum()),
            int((seen[:, 1:] & ~seen[:, :1]).sum()),
        )
        assert animal.size == (480, 854)
        # A joint that is seen lies on the animal or next to it, which fails when x and y are exchanged.
        mask = animal.masks(None)[0]
        column, row = animal.joints_xy[seen[:, 0], 0].astype(int).T
        assert np.mean([mask[y - 8 : y + 9, x - 8 : x + 9].any() for x, y in zip(column, row, strict=True)]) > 0.9
    assert counted == {
        "camel": (18, 84, 331, 311, 0),
        "horsejump-high": (10, 50, 169, 151, 12),
        "horsejump-low": (12, 58, 210, 191, 1),
    }
