"""Training items by index: the same in any order, labels aligned with the pixels after augmentation."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.utils.data import default_collate

from samepoint.datasets.augment import Augmentation
from samepoint.datasets.synthetic import ClipSettings, ProceduralTextures, SyntheticClips
from samepoint.datasets.video_folder import Gap
from samepoint.errors import InputError
from samepoint.training.sources import FlowItem, FlowPairs, FlyingPairs, RealClips, RenderedPairs, VosPairs
from tests.datasets import pair_trees as trees
from tests.datasets.test_flyingthings import write as flying_tree


class Clips:
    """Clips of 3 frames whose red tells the index and whose green the frame."""

    def __len__(self) -> int:
        return 5

    def describe(self, index: int) -> str:
        return f"clip {index}"

    def clip(self, index: int) -> np.ndarray:
        frames = np.full((3, 20, 30, 3), index, np.uint8)
        frames[..., 1] = np.arange(3)[:, None, None]
        frames[..., 2] = np.arange(30) * 8  # a gradient along x
        return frames


def test_real_clips_in_any_order() -> None:
    source = RealClips(Clips(), Augmentation(size=(8, 12), aspect=(1.0, 2.0), jitter=0.0), seed=4)
    assert len(source) == 5
    items = [source.item(index) for index in range(7)]
    assert items[6].shape == (3, 3, 8, 12)
    assert items[6].dtype == torch.uint8
    assert items[6][:, 0].unique().tolist() == [6]
    assert [int(frame.unique()) for frame in items[6][:, 1]] == [0, 1, 2]
    assert all(torch.equal(frame[2], items[6][0, 2]) for frame in items[6])  # one view for the clip
    for index in (5, 2):
        assert torch.equal(source.item(index), items[index])
    assert torch.equal(source.batch(1, 3), torch.stack(items[3:6]))
    assert torch.equal(default_collate(items[3:6]), torch.stack(items[3:6]))
    views = {tuple(item[0, 2, 0].tolist()) for item in items}
    assert len(views) > 4
    other = RealClips(Clips(), source.augmentation, seed=5)
    assert any(not torch.equal(other.item(index), items[index]) for index in range(7))


def test_real_clips_as_they_are_become_what_a_worker_makes_of_them() -> None:
    source = RealClips(Clips(), Augmentation(size=(8, 12), blur=0.5, jitter=1.0), seed=4)
    plain = source.plain(1, 3)
    np.testing.assert_array_equal(plain.clips[0].permute(0, 2, 3, 1).numpy(), Clips().clip(3))
    with torch.autocast("cpu", torch.bfloat16):  # as within the loop
        made = source.augmented(plain)
    assert torch.equal(made, source.batch(1, 3))


def test_vos_pairs_are_neighbours_in_the_list(tmp_path) -> None:
    for name, shades in {"one": (0, 50, 100, 150), "two": (30, 80), "short": (20,)}.items():
        for t, shade in enumerate(shades):
            path = tmp_path / "train" / "JPEGImages" / name / f"{5 * t:05d}.jpg"
            trees.picture(path, shade=shade, size=(40, 60))
    source = VosPairs(tmp_path, seed=1, short_side=20)
    assert len(source) == 2
    starts = set()
    for index in range(40):
        clip = source.clip(index)
        assert clip.shape == (2, 20, 30, 3)
        first, second = (frame.astype(float).mean() for frame in clip)
        assert second - first == pytest.approx(25, abs=3)  # of the mean, half of the shade
        starts.add(round(first / 10))
    assert len(starts) == 4
    np.testing.assert_array_equal(source.clip(7), VosPairs(tmp_path, seed=1, short_side=20).clip(7))
    assert len(VosPairs(tmp_path, frames=4)) == 1
    with pytest.raises(InputError, match="no video of train has 5 frames"):
        VosPairs(tmp_path, frames=5)


def test_flying_pairs_both_ways(tmp_path) -> None:
    flying_tree(tmp_path, "TRAIN/A/0001")
    source = FlyingPairs(tmp_path, seed=2)
    assert len(source) == 18
    seen = set()
    for index in range(18):
        item = source.pair(index)
        assert item.frames.shape == (2, 3, 4, 6)
        assert item.frames.dtype == torch.uint8
        seen.add(tuple(item.flow[0, 0].tolist() + item.flow_back[0, 0].tolist()))
        assert item.valid.all()
    forward = {(-n - 1, 2, n, 1) for n in range(6, 15)}
    back = {(n, 1, -n - 1, 2) for n in range(6, 15)}
    assert seen == forward | back
    pairs = FlowPairs(source, Augmentation(size=(4, 4), area=None, flip=0.0))
    batch = pairs.batch(0, 3)
    assert batch.frames.shape == (3, 2, 3, 4, 4)
    assert batch.flow.shape == (3, 4, 4, 2)
    assert not batch.valid.any()  # every motion is longer than the window
    for index in range(3):
        assert torch.equal(batch.flow[index], pairs.item(index).flow)
        assert tuple(batch.flow[index, 0, 0].tolist()) == tuple(source.pair(index).flow[0, 0].tolist())


SIZE = (72, 80)


def rendered(each: int = 1) -> RenderedPairs:
    clean = ClipSettings.clean(frames=6, size=SIZE, speed=(2.0, 5.0), static=0.0)
    return RenderedPairs.of(clean, ProceduralTextures(4), seed=5, gap=Gap((1, 2)), each=each)


def warped(frame: torch.Tensor, flow: torch.Tensor) -> torch.Tensor:
    """What the flow leads to in the other frame (3, H, W), in raster coordinates."""
    height, width = flow.shape[:2]
    rows, columns = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    at = torch.stack([columns, rows], dim=-1) + flow.nan_to_num()
    grid = 2 * at / torch.tensor([width, height]) - 1
    return F.grid_sample(frame[None].float(), grid[None], align_corners=False, padding_mode="border")[0]


@pytest.mark.parametrize(
    "augmentation",
    [
        Augmentation(size=SIZE, area=None, flip=0.0),
        Augmentation(size=SIZE, area=None, flip=1.0),
        Augmentation(size=(64, 96), area=(0.4, 0.6), aspect=(0.8, 1.4)),
        Augmentation(size=(48, 48), area=(0.7, 0.9), aspect=(0.8, 1.4)),
    ],
)
def test_rendered_flow_leads_to_the_same_colours(augmentation) -> None:
    source = FlowPairs(rendered(), augmentation, seed=1)
    followed, still = [], []
    for index in range(4):
        item = source.item(index)
        assert item.frames.shape == (2, 3, *augmentation.size)
        reference, target = item.frames.float()
        for own, other, flow, valid in (
            (target, reference, item.flow, item.valid),
            (reference, target, item.flow_back, item.valid_back),
        ):
            assert valid.float().mean() > 0.3
            assert torch.isfinite(flow[valid]).all()
            followed.append((own - warped(other, flow)).abs().mean(0)[valid].mean())
            still.append((own - other).abs().mean(0)[valid].mean())
    assert torch.stack(followed).mean() < 0.35 * torch.stack(still).mean()


def test_rendered_pairs_by_index() -> None:
    source = rendered(each=3)
    assert source.clips.settings.frames == 3  # no more than the gap needs
    items = [source.pair(index) for index in range(4)]
    again = rendered(each=3)
    for index in (3, 0, 2):
        assert all(torch.equal(a, b) for a, b in zip(again.pair(index), items[index], strict=True))
    clip = source.clips.clip(0)
    frames = {frame.tobytes() for frame in clip.frames}
    for item in items[:3]:  # the first three come from one clip
        assert all(frame.permute(1, 2, 0).contiguous().numpy().tobytes() in frames for frame in item.frames)
    assert isinstance(default_collate(items), FlowItem)


@pytest.mark.parametrize(
    ("gap", "drawn"), [(Gap((2, 4)), {2, 3, 4}), (Gap(weights={3: 1.0, 50: 0.0}), {3})], ids=["between", "weights"]
)
def test_gaps_of_rendered_pairs_are_those_asked_for_however_short_training_s_clips_are(
    gap: Gap, drawn: set[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    small = ClipSettings(frames=2, size=(16, 16), layers=(1, 1))
    source = RenderedPairs.of(small, ProceduralTextures(4), seed=5, gap=gap)
    assert source.clips.settings.frames == max(drawn) + 1
    clip, found = source.clips.clip(0), set()
    plain = type(clip).flow
    monkeypatch.setattr(type(clip), "flow", lambda self, a, b: found.add(abs(a - b)) or plain(self, a, b))
    monkeypatch.setattr(source, "_clip", lambda _: clip)
    for index in range(30):
        source.pair(index)
    assert found == drawn


def test_what_cannot_be() -> None:
    clips = SyntheticClips(ClipSettings(frames=2, size=SIZE))
    with pytest.raises(InputError, match="same_view"):
        FlowPairs(RenderedPairs(clips), Augmentation.crw())
    with pytest.raises(InputError, match="at least 2 expected"):
        RenderedPairs(SyntheticClips(ClipSettings(frames=1, size=SIZE)))
    with pytest.raises(InputError, match="gap of rendered pairs in seconds"):
        RenderedPairs.of(clips.settings, ProceduralTextures(4), gap=Gap((0.1, 0.2), unit="seconds"))
    with pytest.raises(InputError, match="pairs of each clip"):
        RenderedPairs(clips, each=0)
