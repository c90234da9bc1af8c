"""DAVIS's reader on small made-up copies of both years and on the real data."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from samepoint.datasets.davis import check, names, resolution_of, sequences
from samepoint.errors import InputError
from samepoint.io.masks import read_mask
from tests.datasets.fuzz import used_or_named
from tests.shared import shared_path

SIZE = (6, 9)


def write_sequence(root, name, masks, kind="P", resolution="480p"):
    """Frames of one brightness each, and masks uint8 (H, W) as palette or grey PNGs."""
    pictures, labels = (root / part / resolution / name for part in ("JPEGImages", "Annotations"))
    pictures.mkdir(parents=True)
    labels.mkdir(parents=True)
    for t, mask in enumerate(masks):
        Image.new("RGB", mask.shape[::-1], (20 * t,) * 3).save(pictures / f"{t:05d}.jpg")
        picture = Image.fromarray(mask)
        if kind == "P":
            picture = picture.convert("P")
            picture.putdata(mask.ravel().tolist())
            picture.putpalette([128 * (c % 2) for c in range(256) for _ in range(3)])  # not the identity
        elif kind != "L":
            picture = picture.convert(kind)
        picture.save(labels / f"{t:05d}.png")


def labels(*values):
    """A mask with each value in one pixel of the first row."""
    mask = np.zeros(SIZE, np.uint8)
    mask[0, : len(values)] = values
    return mask


@pytest.fixture
def root17(tmp_path):
    for name in ("goat", "bike", "train-only"):
        write_sequence(tmp_path, name, [labels(1, 2, 255), labels(2, 3), labels()])
    lists = tmp_path / "ImageSets" / "2017"
    lists.mkdir(parents=True)
    (lists / "val.txt").write_text("goat\nbike\nlost\n\n")
    return tmp_path


@pytest.fixture
def root16(tmp_path):
    for name in ("cow", "ant"):
        write_sequence(tmp_path, name, [labels(255, 255), labels(255)], "L")
    lists = tmp_path / "ImageSets" / "480p"
    lists.mkdir(parents=True)
    line = "/JPEGImages/480p/cow/{0}.jpg /Annotations/480p/cow/{0}.png\n"
    (lists / "val.txt").write_text(line.format("00000") + line.format("00001"))
    return tmp_path


def test_2017(root17):
    assert names(root17) == ("bike", "goat")
    bike, goat = sequences(root17)
    assert (bike.name, len(bike), bike.size, bike.objects) == ("bike", 3, SIZE, 2)
    np.testing.assert_array_equal(goat.masks(), [labels(1, 2, 255), labels(2, 3), labels()])
    frames = goat.frames()
    assert (frames.shape, frames.dtype) == ((3, *SIZE, 3), np.uint8)
    np.testing.assert_allclose(frames.mean(axis=(1, 2, 3)), [0, 20, 40], atol=2)
    assert goat.frames((4, 5)).shape == (3, 4, 5, 3)
    assert [frame.shape for frame in goat.video] == [(*SIZE, 3)] * 3
    assert [sequence.name for sequence in sequences(root17, only=["goat"])] == ["goat"]
    with pytest.raises(InputError, match="no sequence 'lost'; there are bike, goat"):
        sequences(root17, only=["lost"])


def test_2016_lists_pictures_and_stores_grey(root16):
    assert names(root16, "davis-2016") == ("cow",)
    (cow,) = sequences(root16, "davis-2016")
    assert cow.objects == 1
    np.testing.assert_array_equal(cow.masks(), [labels(1, 1), labels(1)])


def test_2016_in_the_archive_of_2017(root17):
    """Names in ImageSets/2016, palette masks: every object is foreground, void is not."""
    (root17 / "ImageSets" / "2016").mkdir()
    (root17 / "ImageSets" / "2016" / "val.txt").write_text("train-only")
    (sequence,) = sequences(root17, "davis-2016")
    np.testing.assert_array_equal(sequence.masks(), [labels(1, 1, 0), labels(1, 1), labels()])


def test_2016_as_black_and_white_palette(tmp_path):
    """Some tools write the 0 and 255 of 2016 as a palette PNG: 255 is the object, as read_mask has it."""
    write_sequence(tmp_path, "cow", [labels(255, 255), labels(255), labels()])
    (cow,) = sequences(tmp_path, "davis-2016")
    np.testing.assert_array_equal(cow.masks(), [labels(1, 1), labels(1), labels()])
    np.testing.assert_array_equal(cow.mask(0), read_mask(cow.mask_paths[0]))
    assert (cow.objects, check(tmp_path, "davis-2016").found) == (1, 1)
    write_sequence(tmp_path, "mixed", [labels(255), labels(255, 3)])
    with pytest.raises(InputError, match=r"mixed/00001\.png: labels beside 0 and 255, which are all that the first"):
        sequences(tmp_path, "davis-2016")[1].masks()


def test_void_stays_void_where_no_object_is_left(tmp_path):
    write_sequence(tmp_path, "goat", [labels(1, 255), labels(255, 255)])
    (goat,) = sequences(tmp_path, "davis-2016")
    np.testing.assert_array_equal(goat.masks(), [labels(1), labels()])
    np.testing.assert_array_equal(goat.mask(1), labels())


@pytest.mark.parametrize(
    ("benchmark", "mask", "kind", "more"),
    [
        ("davis-2016", labels(), "P", ""),
        ("davis-2016", labels(), "L", ""),
        ("davis-2017", labels(), "P", ""),
        ("davis-2017", labels(255), "P", "; 255 is void, not an object"),
    ],
)
def test_an_empty_first_mask_is_named(tmp_path, benchmark, mask, kind, more):
    write_sequence(tmp_path, "a", [mask, labels(1)], kind)
    (sequence,) = sequences(tmp_path, benchmark)
    for read in (sequence.masks, lambda: sequence.objects, lambda: sequence.mask(0)):
        with pytest.raises(InputError, match=rf"a/00000\.png: no object in a sequence's first mask.*followed{more}$"):
            read()
    answer = check(tmp_path, benchmark)
    assert answer.found == 0
    assert "no object in a sequence's first mask" in answer.missing[0]


def test_without_a_list_every_sequence_is_used(root17):
    (root17 / "ImageSets" / "2017" / "val.txt").unlink()
    assert names(root17) == ("bike", "goat", "train-only")
    (root17 / "Annotations" / "480p" / "goat").rename(root17 / "elsewhere")
    assert names(root17) == ("bike", "train-only")


def test_full_resolution(root17):
    write_sequence(root17, "goat", [np.ones((12, 18), np.uint8)], resolution="Full-Resolution")
    assert names(root17, resolution="Full-Resolution") == ("goat",)
    assert sequences(root17, resolution="Full-Resolution")[0].size == (12, 18)
    assert sequences(root17)[1].size == SIZE
    assert names(root17, resolution="full") == ("goat",)
    assert [resolution_of(root17, resolution=one) for one in (None, "480p", "full")] == ["480p", "480p", "full"]
    assert (check(root17).found, check(root17, resolution="full").found) == (2, 1)
    (root17 / "JPEGImages" / "Full-Resolution").rename(root17 / "JPEGImages" / "1080p")
    (root17 / "Annotations" / "Full-Resolution").rename(root17 / "Annotations" / "1080p")
    assert sequences(root17, resolution="full")[0].size == (12, 18)
    assert resolution_of(root17, resolution="1080p") == "full"
    (root17 / "JPEGImages" / "1080p").rename(root17 / "elsewhere")
    with pytest.raises(InputError, match="JPEGImages: no folder Full-Resolution or 1080p in it"):
        names(root17, resolution="full")
    with pytest.raises(InputError, match="JPEGImages: no folder 1080p in it"):
        names(root17, resolution="1080p")
    with pytest.raises(InputError, match="unknown resolution '4K'"):
        names(root17, resolution="4K")


def test_what_lacks_is_named(root17, tmp_path):
    with pytest.raises(InputError, match="nowhere: no such folder"):
        names(tmp_path / "nowhere")
    with pytest.raises(InputError, match="no folder 480p or Full-Resolution or 1080p"):
        names(tmp_path / "ImageSets")
    with pytest.raises(InputError, match="unknown benchmark 'davis'"):
        names(root17, "davis")
    Image.new("RGB", SIZE).save(root17 / "JPEGImages/480p/goat/00003.png")
    with pytest.raises(InputError, match=r"goat/00003\.png: expected the frames 00000\.jpg"):
        sequences(root17, only=["goat"])
    picture, mask = (root17 / kind / "480p" / "bike" for kind in ("JPEGImages", "Annotations"))
    (mask / "00001.png").unlink()
    with pytest.raises(InputError, match=r"bike/00001\.png: missing; every frame needs its mask"):
        sequences(root17)  # nothing is left
    (picture / "00001.jpg").unlink()
    with pytest.raises(InputError, match=r"bike/00001\.jpg: missing"):
        sequences(root17, only=["bike"])
    (picture / "first.jpg").write_bytes(b"")
    with pytest.raises(InputError, match=r"first\.jpg: expected files named by their number"):
        sequences(root17, only=["bike"])


@pytest.mark.parametrize(
    ("benchmark", "mask", "kind", "message"),
    [
        ("davis-2017", labels(1), "RGB", "mode RGB; expected palette or 8-bit grey"),
        ("davis-2017", labels(255), "L", "grey 0 and 255 as in DAVIS-2016"),
        ("davis-2016", labels(1, 2), "L", "grey levels up to 2; expected 0 and 255"),
        ("davis-2017", np.zeros((6, 8), np.uint8), "P", "is 8x6, its frame 9x6"),
    ],
)
def test_masks_of_another_kind_are_named(tmp_path, benchmark, mask, kind, message):
    write_sequence(tmp_path, "a", [mask], kind)
    Image.new("RGB", SIZE[::-1]).save(tmp_path / "JPEGImages/480p/a/00000.jpg")
    with pytest.raises(InputError, match=rf"a/00000\.png.*{message}"):
        sequences(tmp_path, benchmark)[0].masks()


def test_check_says_what_lacks(root17, root16):
    answer = check(root17)
    assert (answer.name, answer.found) == ("davis-2017", 2)
    assert answer.missing[0].startswith(
        "of the 3 listed sequences 1 missing (lost); get davischallenge.org, DAVIS 2017"
    )
    assert answer.notes == (
        "resolution 480p",
        "the list names 3 sequences, the official one 30",
        "6 frames in 2 sequences; official: 1999 in 30",
    )
    (root17 / "ImageSets" / "480p" / "val.txt").unlink()
    answer = check(root16, "davis-2016")  # both fixtures share a folder: five sequences, the palette ones count too
    assert answer.found == 5
    assert answer.missing == ("15 of the 20 sequences of val; get " + answer.missing[0].split("get ")[1],)
    assert "no ImageSets/480p/val.txt: every sequence found is used, the official list has 20" in answer.notes
    assert check(root17 / "nowhere").missing[0].startswith(f"{root17 / 'nowhere'}: no such folder")


def test_check_names_a_hole(root17):
    (root17 / "JPEGImages/480p/goat/00001.jpg").unlink()
    answer = check(root17)
    assert answer.found == 1
    assert any(line.endswith("goat/00001.jpg: missing") for line in answer.missing)
    assert names(root17) == ("bike",)
    assert [sequence.name for sequence in sequences(root17)] == ["bike"]


@pytest.mark.parametrize("text", ["a b c", "../x", "a/b", "/x.jpg /y.png", "x\0y", "a\n.."])
def test_broken_list_is_named(root17, text):
    (root17 / "ImageSets/2017/val.txt").write_text(text)
    with pytest.raises(InputError, match=r"val\.txt, line \d"):
        names(root17)


@settings(max_examples=60)
@given(data=st.binary(max_size=60))
def test_any_list_is_used_or_named(tmp_path_factory, data):
    root = tmp_path_factory.mktemp("davis")
    write_sequence(root, "a", [labels(1)])
    (root / "ImageSets" / "2017").mkdir(parents=True)
    (root / "ImageSets" / "2017" / "val.txt").write_bytes(data)
    with used_or_named(root):
        assert names(root) == ("a",)


@settings(max_examples=60)
@given(place=st.integers(0, 1), cut=st.integers(0, 200), noise=st.binary(max_size=8))
def test_damaged_pictures_are_read_or_named(tmp_path_factory, place, cut, noise):
    root = tmp_path_factory.mktemp("davis")
    write_sequence(root, "a", [labels(1), labels(1)])
    (sequence,) = sequences(root)
    path = (sequence.mask_paths, sequence.frame_paths)[place][1]
    data = path.read_bytes()
    path.write_bytes(data[:cut] + noise + data[cut + len(noise) :])
    with used_or_named(path):
        assert sequence.masks().shape == (2, *SIZE)
        assert sequence.frames().shape == (2, *SIZE, 3)


def test_real_sequences():
    root = shared_path("data", "davis")
    found = sequences(root, "davis-2016")
    assert [(item.name, len(item)) for item in found] == [
        ("blackswan", 50),
        ("camel", 90),
        ("dance-twirl", 90),
        ("drift-chicane", 52),
        ("horsejump-high", 50),
        ("libby", 49),
        ("parkour", 100),
        ("scooter-black", 43),
    ]
    assert {item.size for item in found} == {(480, 854)}
    mask = found[5].mask(3)
    assert set(np.unique(mask)) == {0, 1}
    assert 0.001 < mask.mean() < 0.5
    answer = check(root, "davis-2016")
    assert (answer.found, len(answer.missing)) == (8, 1)
    assert "524 frames in 8 sequences; official: 1376 in 20" in answer.notes
    refused = check(root, "davis-2017")
    assert (refused.found, refused.missing[3]) == (0, "5 more sequences that cannot be used")
    with pytest.raises(InputError, match="as in DAVIS-2016"):
        sequences(root, "davis-2017")[0].mask(0)
