"""JHMDB's reader on small made-up copies of both layouts and on the real data."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest
import scipy.io
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from samepoint.datasets.jhmdb import check, names, read_jhmdb, sequences
from samepoint.errors import InputError
from tests.datasets.fuzz import used_or_named
from tests.shared import shared_path

SIZE = (48, 68)  # a width that does not fill its last byte


def write_clip(folder, name, frames, annotated, joints=True):
    folder.mkdir(parents=True, exist_ok=True)
    with av.open(str(folder / f"{name}.avi"), "w") as container:
        stream = container.add_stream("mpeg4", rate=Fraction(15))
        stream.height, stream.width, stream.pix_fmt = *SIZE, "yuv420p"
        for t in range(frames):
            picture = np.full((*SIZE, 3), 20 * t, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    mask = np.zeros((annotated, *SIZE), bool)
    for t in range(annotated):
        mask[t, :, : t + 60] = True
    arrays = {"mask": np.packbits(mask, axis=-1), "mask_shape": np.array(mask.shape)}
    if joints:
        arrays["joints_xy"] = np.arange(annotated * 30, dtype=np.float32).reshape(annotated, 15, 2)
    np.savez(folder / f"{name}.npz", **arrays)


@pytest.mark.parametrize(("frames", "annotated", "common"), [(6, 4, 4), (3, 5, 3)])
def test_small_clip(tmp_path, frames, annotated, common):
    write_clip(tmp_path / "run", "b", frames, annotated)
    write_clip(tmp_path / "run", "a", frames, annotated, joints=False)
    first, second = read_jhmdb(tmp_path)
    assert (first.name, first.joints_xy, second.name, second.size) == ("run/a", None, "run/b", SIZE)
    assert [clip.name for clip in read_jhmdb(tmp_path, with_joints=True)] == ["run/b"]
    np.testing.assert_array_equal(second.joints_xy[:, 0, 0], np.arange(0, 30, 2) + 0.5)
    np.testing.assert_array_equal(second.joints_xy[2, :, 1], 30 * np.arange(annotated) + 5.5)
    np.testing.assert_array_equal(second.masks.sum(axis=(1, 2)), SIZE[0] * (60 + np.arange(annotated)))
    pictures = second.frames()
    assert (pictures.shape, pictures.dtype) == ((common, *SIZE, 3), np.uint8)
    np.testing.assert_allclose(pictures.mean(axis=(1, 2, 3)), 20 * np.arange(common), atol=3)


def test_missing_pieces_are_named(tmp_path):
    with pytest.raises(InputError, match="nowhere: no such folder"):
        list(read_jhmdb(tmp_path / "nowhere"))
    with pytest.raises(InputError, match=r"no <action>/<clip>\.avi"):
        list(read_jhmdb(tmp_path))
    write_clip(tmp_path / "run", "a", 2, 2)
    archive = tmp_path / "run" / "a.npz"
    archive.write_bytes(b"not an archive")
    with pytest.raises(InputError, match=r"a\.npz: not an archive"):
        list(read_jhmdb(tmp_path))
    np.savez(archive, mask=np.zeros((1, 2), np.uint8), mask_shape=np.array([2, 9]))
    with pytest.raises(InputError, match=r"a\.npz: not an archive|masks have shape"):
        list(read_jhmdb(tmp_path))
    np.savez(archive, mask=np.zeros((1, 2, 1), np.uint8), mask_shape=[1, 2, 8], joints_xy=np.zeros((1, 14, 2)))
    with pytest.raises(InputError, match=r"joints have shape \(1, 14, 2\)"):
        list(read_jhmdb(tmp_path))
    np.savez(archive, mask=np.zeros((1, 2, 1), np.uint8), mask_shape=[1, 2, 8])
    with pytest.raises(InputError, match=r"a\.avi: holds \(48, 68, 3\)"):
        next(iter(read_jhmdb(tmp_path))).frames()
    archive.unlink()
    with pytest.raises(InputError, match=r"a\.npz: missing"):
        list(read_jhmdb(tmp_path))


def test_real_clips():
    clips = list(read_jhmdb(shared_path("data", "jhmdb", "dev")))
    assert len(clips) == 44
    assert sum(clip.joints_xy is not None for clip in clips) == 37
    assert {clip.size for clip in clips} == {(240, 320)}
    clip = next(clip for clip in clips if clip.joints_xy is not None)
    assert len(clip.frames()) == clip.joints_xy.shape[1]
    # Joints lie on the person or next to it, which fails when x and y are exchanged.
    column, row = clip.joints_xy[:, 0].astype(int).T
    near = [clip.masks[0, y - 6 : y + 7, x - 6 : x + 7].any() for x, y in zip(column, row, strict=True)]
    assert np.mean(near) > 0.9


def write_official(root, name, annotated, pictures=None, puppet=True):
    """Pictures of brightness 20 t; joint j of frame t at (1 + 2 j + t, 3), counted from 1; the mask t columns wide."""
    place = root / "joint_positions" / name
    place.mkdir(parents=True)
    joints = np.zeros((2, 15, annotated))
    joints[0] = 1 + 2 * np.arange(15)[:, None] + np.arange(annotated)
    joints[1] = 3
    scipy.io.savemat(place / "joint_positions.mat", {"pos_img": joints, "pos_world": joints / 320, "viewpoint": "N"})
    folder = root / "Rename_Images" / name
    folder.mkdir(parents=True)
    for t in range(annotated if pictures is None else pictures):
        Image.new("RGB", SIZE[::-1], (20 * t,) * 3).save(folder / f"{t + 1:05d}.png")
    if puppet:
        mask = np.arange(SIZE[1])[None, :, None] < np.arange(annotated)
        place = root / "puppet_mask" / name
        place.mkdir(parents=True)
        part = np.broadcast_to(mask, (*SIZE, annotated)).astype(np.uint8)
        scipy.io.savemat(place / "puppet_mask.mat", {"part_mask": part}, do_compression=True)


@pytest.fixture
def official(tmp_path):
    """Five clips of two actions, of which four are listed as test clips and three of these are here."""
    write_official(tmp_path, "walk/#1_walk_f", 4, pictures=6)
    write_official(tmp_path, "walk/b", 3, puppet=False)
    write_official(tmp_path, "run/a [x]", 1)
    write_official(tmp_path, "run/train", 2)
    splits = tmp_path / "splits"
    splits.mkdir()
    (splits / "walk_test_split1.txt").write_text("#1_walk_f.avi 2 \r\nb.avi 2\r\nlost.avi 2\r\n")
    (splits / "run_test_split1.txt").write_text("a [x].avi 2\ntrain.avi 1\n")
    (splits / "run_test_split2.txt").write_text("train.avi 2\n")
    return tmp_path


def test_official_layout(official):
    assert names(official) == ("run/a [x]", "walk/#1_walk_f", "walk/b")
    assert names(official, split="all") == ("run/a [x]", "run/train", "walk/#1_walk_f", "walk/b")
    short, first, second = sequences(official)
    assert (first.name, first.length, first.size) == ("walk/#1_walk_f", 4, SIZE)
    assert (first.joints_xy.shape, first.joints_xy.dtype) == ((15, 4, 2), np.float32)
    np.testing.assert_array_equal(first.joints_xy[0, 0], [0.5, 2.5])  # 1 is the centre of the first pixel
    np.testing.assert_array_equal(first.joints_xy[:, 2, 0], 2 * np.arange(15) + 2.5)
    frames = first.frames()  # cut to what is annotated
    np.testing.assert_allclose(frames.mean(axis=(1, 2, 3)), [0, 20, 40, 60])
    np.testing.assert_array_equal(first.masks.sum(axis=(1, 2)), SIZE[0] * np.arange(4))
    assert first.masks.dtype == bool
    assert (second.masks, short.joints_xy.shape, short.masks.shape) == (None, (15, 1, 2), (1, *SIZE))
    assert [clip.name for clip in sequences(official, only={"walk/b"})] == ["walk/b"]
    with pytest.raises(InputError, match="no clip 'run/train' in the test split"):
        list(sequences(official, only=["run/train"]))


def test_val_list_goes_before_the_splits(official):
    lines = [f"JHMDB/joint_positions/{n}/joint_positions.mat JHMDB/Rename_Images/{n}" for n in ("walk/b", "run/train")]
    (official / "val_list.txt").write_text("\n".join(lines))
    assert names(official) == ("run/train", "walk/b")


def test_check_says_what_lacks(official, tmp_path):
    answer = check(official)
    assert (answer.name, answer.root, answer.found) == ("jhmdb", official, 3)
    lost = official / "joint_positions/walk/lost/joint_positions.mat"
    assert answer.missing[0].startswith(f"clips 1 missing ({lost}); get joint_positions, Rename_Images, splits and")
    assert answer.missing[1].startswith("264 of 268 test clips are not in the lists; get ")
    assert answer.notes == ("3 clips with joints, 2 with masks",)
    for path in (official / "splits").iterdir():
        path.unlink()
    answer = check(official)
    assert answer.found == 4
    assert answer.missing[0].startswith("val_list.txt or splits/<action>_test_split1.txt: which clips are the test")
    assert check(tmp_path / "nowhere").found == 0


def test_plain_layout_below_dev(tmp_path):
    write_clip(tmp_path / "dev" / "run", "a", 2, 2)
    write_clip(tmp_path / "dev" / "run", "b", 2, 2, joints=False)
    (tmp_path / "train").mkdir()
    assert names(tmp_path) == ("run/a", "run/b")
    answer = check(tmp_path)
    assert (answer.root, answer.found, len(answer.missing)) == (tmp_path / "dev", 2, 1)
    assert answer.missing[0].startswith("266 of 268 test clips; get joint_positions")
    assert answer.notes[0] == "1 clips with joints, 2 with masks"


def test_official_pieces_are_named(official):
    clip = next(sequences(official, only={"walk/b"}))
    (clip.source / "00002.png").unlink()
    with pytest.raises(InputError, match=r"00002\.png: missing; found 00003\.png in its place"):
        clip.frames()
    (clip.source / "00003.png").unlink()
    with pytest.raises(InputError, match=r"00002\.png: missing; 3 frames are annotated"):
        clip.frames()
    place = official / "joint_positions" / "walk" / "b" / "joint_positions.mat"
    for content, message in [
        ({"x": 1}, "no pos_img in it"),
        ({"pos_img": np.zeros((15, 2, 4))}, r"pos_img has shape \(15, 2, 4\), expected \(2, 15, frames\)"),
        ({"pos_img": np.full((2, 15, 4), np.nan)}, "pos_img holds what is no place in pixels"),
    ]:
        scipy.io.savemat(place, content)
        with pytest.raises(InputError, match=rf"joint_positions\.mat: {message}"):
            list(sequences(official, only={"walk/b"}))
    mask = official / "puppet_mask" / "walk" / "#1_walk_f" / "puppet_mask.mat"
    for content, message in [
        ({"x": 1}, "no part_mask in it"),
        ({"part_mask": np.zeros((*SIZE, 3))}, r"part_mask has shape \(48, 68, 3\), expected \(48, 68, 4\)"),
        ({"part_mask": np.zeros((*SIZE[::-1], 4))}, "part_mask has shape"),
    ]:
        scipy.io.savemat(mask, content)
        with pytest.raises(InputError, match=rf"puppet_mask\.mat: {message}"):
            _ = next(sequences(official, only={"walk/#1_walk_f"})).masks


def test_incomplete_clips_are_left_out_and_told(official):
    (official / "Rename_Images/walk/b/00002.png").unlink()
    assert names(official) == ("run/a [x]", "walk/#1_walk_f")
    assert [clip.name for clip in sequences(official)] == ["run/a [x]", "walk/#1_walk_f"]
    answer = check(official)
    assert answer.found == 2
    assert "walk/b/00002.png: missing; found 00003.png in its place" in answer.missing[0]
    with pytest.raises(InputError, match=r"walk/b/00002\.png: missing"):
        list(sequences(official, only={"walk/b"}))


def test_an_incomplete_plain_clip_is_left_out_and_told(tmp_path):
    write_clip(tmp_path / "run", "a", 2, 2)
    write_clip(tmp_path / "run", "b", 2, 2)
    (tmp_path / "run" / "b.npz").unlink()
    assert names(tmp_path) == ("run/a",)
    answer = check(tmp_path)
    assert answer.found == 1
    assert "b.npz: missing" in answer.missing[0]


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("splits/run_test_split1.txt", "a.avi"),
        ("splits/run_test_split1.txt", "a.avi 3"),
        ("splits/run_test_split1.txt", "../a.avi 2"),
        ("val_list.txt", "JHMDB/joint_positions/run/a/joint_positions.mat"),
        ("val_list.txt", "a b"),
        ("val_list.txt", "x/../a/joint_positions.mat b"),
    ],
)
def test_broken_lists_are_named(official, file, text):
    (official / file).write_text(text)
    with pytest.raises(InputError, match=r"\.txt, line 1: "):
        names(official)


@settings(max_examples=60)
@given(mask=st.booleans(), cut=st.integers(0, 600), noise=st.binary(max_size=8))
def test_damaged_matlab_files_are_read_or_named(tmp_path_factory, mask, cut, noise):
    root = tmp_path_factory.mktemp("jhmdb")
    write_official(root, "run/a", 2)
    path = root / ("puppet_mask/run/a/puppet_mask.mat" if mask else "joint_positions/run/a/joint_positions.mat")
    data = path.read_bytes()
    path.write_bytes(data[:cut] + noise + data[cut + len(noise) :])
    with used_or_named(path):
        (clip,) = sequences(root)
        assert clip.joints_xy.shape[::2] == (15, 2)
        if mask:
            assert clip.masks.shape == (2, *SIZE)


@settings(max_examples=60)
@given(cut=st.integers(0, 900), noise=st.binary(max_size=8))
def test_damaged_archives_are_read_or_named(tmp_path_factory, cut, noise):
    root = tmp_path_factory.mktemp("jhmdb")
    (root / "run").mkdir()
    path = root / "run" / "a.npz"
    mask = np.zeros((2, *SIZE), bool)
    np.savez_compressed(
        path, mask=np.packbits(mask, axis=-1), mask_shape=mask.shape, joints_xy=np.zeros((2, 15, 2), np.float32)
    )
    (root / "run" / "a.avi").touch()
    data = path.read_bytes()
    path.write_bytes(data[:cut] + noise + data[cut + len(noise) :])
    with used_or_named(path):
        (clip,) = sequences(root)
        assert clip.masks.ndim == 3
        assert clip.joints_xy is None or clip.joints_xy.shape == (15, clip.length, 2)


@settings(max_examples=40)
@given(data=st.binary(max_size=60), official_list=st.booleans())
def test_any_list_is_used_or_named(tmp_path_factory, data, official_list):
    root = tmp_path_factory.mktemp("jhmdb")
    write_official(root, "run/a", 1, puppet=False)
    path = root / ("val_list.txt" if official_list else "splits/run_test_split1.txt")
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    with used_or_named(root):
        assert names(root) == ("run/a",)


@pytest.mark.parametrize("parts", [("data", "jhmdb"), ("data", "jhmdb", "dev")])
def test_real_layout_from_either_folder(parts):
    root = shared_path(*parts)
    assert len(names(root)) == 44
    answer = check(root)
    assert (answer.found, answer.notes[0]) == (44, "37 clips with joints, 44 with masks")
