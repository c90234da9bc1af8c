"""JHMDB's reader on a small made-up copy and on the real data."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest

from samepoint.datasets.jhmdb import read_jhmdb
from samepoint.errors import InputError
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
