"""The matcher: the published one to the last digit, ours against loops, on any grid and shape of picture."""

from __future__ import annotations

import copy
import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from samepoint.errors import InputError
from samepoint.models.aggregation import AggregationConfig
from samepoint.models.consensus import mutual
from samepoint.models.convert.cats import rename
from samepoint.models.discriminator import LevelDiscriminator
from samepoint.models.features import load_network
from samepoint.models.hypercolumn import PyramidBackbone, ResNetBackbone, VitBackbone
from samepoint.models.matcher import Columns, Matcher, MatcherConfig
from samepoint.models.network import NetworkConfig
from samepoint.models.weights import load_model, load_strictly, save_weights
from tests.models.golden import _fill
from tests.reference import matcher as reference
from tests.shared import shared_path


def tiny(seed: int = 0, **changes: object) -> Matcher:
    """With an aggregation that does something, which a new one does not."""
    torch.manual_seed(seed)
    matcher = Matcher(MatcherConfig.tiny().model_copy(update=changes)).eval()
    torch.nn.init.normal_(matcher.aggregation.proj.weight, std=0.1)
    return matcher


def texture(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@cache
def published(grid: int) -> tuple[Matcher, LevelDiscriminator]:
    keys = json.loads(shared_path("golden", f"cats_resnet101_f{grid}.keys.json").read_text())
    matcher, discriminator = Matcher(MatcherConfig.published(grid)), LevelDiscriminator()
    tensors = {}
    for key, shape in keys["matcher"].items():
        ours = rename(key)
        if ours in matcher.state_dict():
            tensors[ours] = _fill(key, tuple(shape))
    tensors |= {key: value for key, value in matcher.state_dict().items() if key.startswith("confidence.")}
    load_strictly(matcher, tensors, "golden")
    inner = {key: _fill(key, tuple(shape)) for key, shape in keys["discriminator"].items()}
    load_strictly(discriminator, inner, "golden")
    return matcher.eval(), discriminator.eval()


@pytest.mark.parametrize("grid", [16, 24])
def test_the_published_matcher_is_reproduced(grid: int) -> None:
    matcher, discriminator = published(grid)
    golden = np.load(shared_path("golden", f"cats_resnet101_f{grid}.npz"))
    with torch.no_grad():
        source, target = (
            matcher.describe(matcher.preprocess(torch.from_numpy(golden[name])[None]))
            for name in ("source_rgb", "target_rgb")
        )
        output = matcher.relate(source, target)
        logit = discriminator(output.levels)
    for level, name in ((source.matching[0], "hyper_first"), (source.matching[-1][:, :64], "hyper_last_channels")):
        assert np.abs(level.numpy() - golden[name]).max() <= 1e-4 * np.abs(golden[name]).max()
    refined = np.abs(output.refined.numpy() - golden["refined_mean"])
    assert refined.max() <= 1e-3 * golden["refined_mean"].std()
    assert (np.abs(output.flow.numpy() - golden["flow"]) <= 1e-2).mean() >= 0.99
    assert logit.numpy() == pytest.approx(golden["discriminator_logit"][0], abs=1e-3)


@pytest.mark.parametrize(
    ("grid", "block", "last", "positions", "whole"),
    [(16, 3_548_928, 98_560, 49_152, 3_696_640), (24, 11_913_088, 406_080, 135_168, 12_454_336)],
)
def test_the_published_matcher_has_the_published_sizes(
    grid: int, block: int, last: int, positions: int, whole: int
) -> None:
    with torch.device("meta"):
        matcher = Matcher(MatcherConfig.published(grid))
    aggregation = matcher.aggregation

    def count(*modules: torch.nn.Module) -> int:
        return sum(p.numel() for module in modules for p in module.parameters())

    assert count(aggregation.blocks) == block
    assert count(aggregation.proj) == last
    assert aggregation.pos_embed_x.numel() + aggregation.pos_embed_y.numel() == positions
    assert block + last + positions == whole
    assert count(aggregation.projections) == 926_720
    assert count(matcher) == whole + 926_720 + 27_535_424  # the backbone without its classifier and last stage
    width = grid * grid + 128
    assert aggregation.pos_embed_x.shape == (1, 8, 1, grid, width // 2)
    assert aggregation.pos_embed_y.shape == (1, 8, grid, 1, width // 2)
    assert aggregation.state_dict()["blocks.0.attn_multiscale.qkv.weight"].shape == (3 * width, width)
    assert [level.weight.shape[1] for level in aggregation.projections] == [64, *[1024] * 7]


def test_nothing_of_the_soft_argmax_is_trained() -> None:
    names = [name for name, _ in tiny().named_parameters()]
    assert all(name.startswith(("hypercolumn.backbone.", "aggregation.")) for name in names)
    assert {name for name, _ in tiny().named_buffers() if name.startswith("confidence")} == {
        "confidence.weight",
        "confidence.bias",
    }


def levels(matcher: Matcher, grid: tuple[int, int], seed: int) -> Columns:
    """Made-up hyper-columns: smooth, so that filters and peaks have something to do."""
    generator = torch.Generator().manual_seed(seed)
    own, channels = matcher.aggregation.grid, matcher.hypercolumn.channels
    base = [torch.randn(1, count, 4, 4, generator=generator) for count in channels]

    def at(size: tuple[int, int]) -> tuple[Tensor, ...]:
        return tuple(torch.nn.functional.interpolate(each, size, mode="bilinear", align_corners=True) for each in base)

    return Columns(at(grid), at((own, own)))


def by_hand(matcher: Matcher, source: Columns, target: Columns) -> tuple[np.ndarray, np.ndarray]:
    """Refined correlations and flow, every level's volume made whole."""
    own = matcher.aggregation.grid
    arrays = [[level[0].double().numpy() for level in each] for each in (*_both(source), *_both(target))]
    fine_s, coarse_s, fine_t, coarse_t = arrays
    coarse = [reference.mutual(reference.cosines(a, b)) for a, b in zip(coarse_s, coarse_t, strict=True)]
    with torch.no_grad():
        refined = matcher.aggregation(
            torch.from_numpy(np.stack(coarse))[None].float(), source.refining, target.refining
        )[0].double()
    change = np.mean(refined.numpy() - np.stack(coarse), axis=0)
    total = reference.spread(change, own, source.grid, target.grid)
    total += np.mean([reference.mutual(reference.cosines(a, b)) for a, b in zip(fine_s, fine_t, strict=True)], axis=0)
    c = matcher.config
    return total, reference.soft_argmax(total, source.grid, target.grid, c.temperature, c.kernel)


def _both(columns: Columns) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    return columns.matching, columns.refining


@pytest.mark.parametrize("grids", [((8, 8), (8, 8)), ((5, 7), (6, 4))])
def test_the_lean_way_equals_the_naive_one(grids: tuple, monkeypatch: pytest.MonkeyPatch) -> None:
    matcher = tiny(consensus=None)
    source, target = (levels(matcher, grid, seed) for seed, grid in enumerate(grids))
    refined, flow = by_hand(matcher, source, target)
    for at_once in (2**22, 50):
        monkeypatch.setattr("samepoint.models.level_correlation.ELEMENTS_AT_ONCE", at_once)
        monkeypatch.setattr("samepoint.models.flow_readout.ELEMENTS_AT_ONCE", at_once)
        with torch.no_grad():
            output = matcher.relate(source, target)
        np.testing.assert_allclose(output.refined[0].numpy(), refined, atol=2e-5)
        np.testing.assert_allclose(output.flow[0].numpy(), flow, atol=2e-3)
        swapped = reference.soft_argmax(refined.T, grids[1], grids[0], 0.02, matcher.config.kernel)
        np.testing.assert_allclose(output.reverse()[0].numpy(), swapped, atol=2e-3)


def test_gradients_are_the_same_in_pieces_and_reach_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    matcher = tiny().train()
    source, target = torch.randn(2, 3, 64, 64), torch.randn(2, 3, 64, 64)
    found = []
    for at_once in (2**22, 200):
        monkeypatch.setattr("samepoint.models.flow_readout.ELEMENTS_AT_ONCE", at_once)
        matcher.zero_grad()
        matcher(source, target).flow.square().sum().backward()
        # The finest descriptors are no level of this one.
        unused = ("hypercolumn.backbone.describe4", "hypercolumn.backbone.describe2")
        others = ("hypercolumn.backbone.lateral1", "hypercolumn.backbone.stem_lateral")
        grads = {n: p.grad for n, p in matcher.named_parameters() if not n.startswith((*unused, *others))}
        assert all(g is not None and bool(g.isfinite().all()) for g in grads.values())
        # New residual blocks end in a normalisation of zero and pass nothing on yet.
        moved = [name for name, g in grads.items() if g is not None and bool((g != 0).any())]
        assert {name for name in grads if "layer" not in name} <= {*moved, "aggregation.pos_embed_x"}
        found.append(torch.cat([g.flatten() for g in grads.values() if g is not None]))
    torch.testing.assert_close(found[0], found[1], rtol=1e-3, atol=1e-4)


def test_one_set_of_weights_serves_every_grid() -> None:
    """What the aggregation sees and says does not depend on the grid that matches are read from."""
    matcher, x, y = tiny(), torch.randn(1, 3, 64, 64), torch.randn(1, 3, 48, 80)
    with torch.no_grad():
        outputs = {grid: matcher(x, y, grid) for grid in (4, 8, 16)}
    assert outputs[16].flow.shape == (1, 2, 12, 20)
    assert outputs[16].refined.shape == (1, 256, 240)
    for output in outputs.values():
        torch.testing.assert_close(output.levels, outputs[4].levels)


def test_an_untrained_aggregation_changes_nothing() -> None:
    torch.manual_seed(0)
    matcher = Matcher(MatcherConfig.tiny()).eval()
    source, target = (matcher.describe(torch.randn(1, 3, 64, 64)) for _ in range(2))
    assert matcher.consensus is not None
    with torch.no_grad():
        output = matcher.relate(source, target)
        plain = torch.stack([mutual(_plain(a, b)) for a, b in zip(source.matching, target.matching, strict=True)])
        agreed = matcher.consensus(plain.mean(dim=0), source.grid, target.grid)
        matcher.consensus = None
        without = matcher.relate(source, target)
    torch.testing.assert_close(output.refined, agreed, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(without.refined, plain.mean(dim=0), atol=1e-5, rtol=1e-5)


def test_parts_of_another_matcher_are_taken_where_they_fit() -> None:
    mine, other = tiny(0), tiny(1)
    assert mine.take(other, ("aggregation",))["aggregation"] > 0
    assert torch.equal(mine.aggregation.proj.weight, other.aggregation.proj.weight)
    assert not torch.equal(mine.aggregation.projections[0].weight, other.aggregation.projections[0].weight)
    larger = Matcher(MatcherConfig(side=64, grid=8))
    with pytest.raises(InputError, match="nothing of the projection fits"):
        mine.take(larger, ("projection",))


def _plain(a: Tensor, b: Tensor) -> Tensor:
    return torch.from_numpy(reference.cosines(a[0].detach().numpy(), b[0].detach().numpy()))[None].float()


def test_the_kernel_is_left_out_while_training() -> None:
    matcher = tiny()
    x, y = torch.randn(1, 3, 64, 64), torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        source, target = matcher.describe(x), matcher.describe(y)
        read, taught = matcher.relate(source, target), matcher.train().relate(source, target)
    assert (read.kernel, taught.kernel) == (matcher.config.kernel, None)
    assert not torch.allclose(read.flow, taught.flow)


@settings(max_examples=40)
@given(st.integers(1, 5000), st.integers(1, 5000))
def test_pictures_keep_their_shape_and_area(height: int, width: int) -> None:
    matcher = Matcher.__new__(Matcher)
    torch.nn.Module.__init__(matcher)
    matcher.config = MatcherConfig(side=256, grid=32)
    work = matcher.working_size((height, width))
    rows, columns = matcher.grid_of(work)
    assert 0.97 < work[0] * work[1] / 256**2 < 1.03
    assert rows * columns <= 1.2 * 32**2
    if 1 / 8 <= width / height <= 8:
        assert work[1] / work[0] == pytest.approx(width / height, rel=0.03)
    assert work[0] >= 90
    matcher.config = MatcherConfig(side=256, fit="stretch")
    assert matcher.working_size((height, width)) == (256, 256)


class Identity(torch.nn.Module):
    """Stands in for the aggregation: refines nothing."""

    grid = 2

    def forward(self, correlation: Tensor, source: object, target: object) -> Tensor:
        return correlation * 0


@pytest.mark.parametrize("shapes", [((64, 64), (64, 64)), ((48, 96), (96, 48)), ((40, 100), (64, 64))])
def test_matches_are_in_the_pixels_of_each_picture(shapes: tuple) -> None:
    """Features that say where a cell lies in its picture: the match lies at the same share of the other."""
    matcher = tiny(grid=16, temperature=1e-4)
    matcher.aggregation = Identity()  # type: ignore[assignment]

    def told(size: tuple[int, int]) -> Columns:
        rows, columns = matcher.grid_of(matcher.working_size(size))
        y, x = torch.meshgrid((torch.arange(rows) + 0.5) / rows, (torch.arange(columns) + 0.5) / columns, indexing="ij")
        places = torch.stack([x, y]) * 1.4
        level = torch.cat([places.sin(), places.cos()])[None]
        return Columns((level,), (level[:, :, :2, :2],))

    source, target = (told(size) for size in shapes)
    relative = torch.tensor([[0.5, 0.5], [0.3, 0.62], [0.71, 0.4]])
    points = relative * torch.tensor([shapes[0][1], shapes[0][0]])
    xy, evidence = matcher.carry(source, target, points, *shapes)
    away = (xy / torch.tensor([shapes[1][1], shapes[1][0]]) - relative).abs().max()
    assert away < 0.06  # a cell
    assert bool((evidence[:, 0] < 0.06).all())  # they come back
    assert bool((evidence[:, 4] > 0.99).all())  # and look alike
    assert bool((matcher.confidence(evidence) > 0).all())


def test_a_picture_matches_itself() -> None:
    matcher = tiny()
    torch.nn.init.zeros_(matcher.aggregation.proj.weight)
    picture = texture(60, 90)
    points = np.array([[45, 30], [30.5, 20], [60, 41]], np.float32)
    xy, confidence = matcher.match(picture, picture, points, grid=16)
    assert xy.dtype == confidence.dtype == np.float32
    assert np.abs(xy - points).max() < 6  # a cell is 4.6 pixels
    assert (confidence >= 0.5).all()
    empty = matcher.match(picture, texture(20, 300, 1), np.zeros((0, 2)))
    assert [each.shape for each in empty] == [(0, 2), (0,)]


def test_many_points_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    matcher, source, target = tiny(), texture(60, 90), texture(100, 70, 1)
    points = np.random.default_rng(0).random((40, 2)) * [90, 60]
    whole = matcher.match(source, target, points)
    monkeypatch.setattr("samepoint.models.matcher.ELEMENTS_AT_ONCE", 300)
    for one, other in zip(whole, matcher.match(source, target, points), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)
    assert (whole[0] >= 0).all()
    assert (whole[0] <= [70, 100]).all()


def test_what_cannot_be_matched_is_refused() -> None:
    matcher, picture = tiny(), texture(20, 20)
    outside = r"point 1: \(20.5, 3\) is outside the source of 20x20"
    for points, message in (
        ([1, 2], r"\(N, 2\), got \(2,\)"),
        ([[np.nan, 1]], "finite"),
        ([[20, 20], [20.5, 3]], outside),
    ):
        with pytest.raises(InputError, match=message):
            matcher.match(picture, picture, points)
    for grid in (0, -3):
        with pytest.raises(InputError, match=f"grid: {grid} given"):
            matcher.match(picture, picture, [[1, 1]], grid=grid)
    for wrong in (picture[..., 0], picture.astype(np.float32), picture[:0]):
        with pytest.raises(InputError, match="uint8"):
            matcher.match(picture, wrong, [[1, 1]])
    with pytest.raises(InputError, match=r"80 wide.*multiple of heads 3; heads that fit: .*5"):
        Matcher(
            MatcherConfig.tiny().model_copy(update={"aggregation": AggregationConfig(grid=8, projection=16, heads=3)})
        )
    own = tiny(aggregation=AggregationConfig(grid=None, projection=16, heads=4))
    assert own.describe(torch.zeros(1, 3, 64, 64)).grid == (8, 8)
    with pytest.raises(InputError, match="works at 8 x 8 cells only, got 8 x 12"):
        own.describe(torch.zeros(1, 3, 64, 96))


def test_matching_while_training_answers_the_same_and_teaches_nothing() -> None:
    matcher = Matcher(MatcherConfig.tiny().model_copy(update={"backbone": ResNetBackbone(depth=18), "grid": 8}))
    pictures, points = (texture(40, 56), texture(48, 48, seed=1)), [[9.0, 30.0], [50.0, 5.0]]
    wanted = matcher.eval().match(*pictures, points)
    before = copy.deepcopy(matcher.state_dict())
    matcher.train()
    matcher.aggregation.eval()
    found = matcher.match(*pictures, points)
    for one, other in zip(wanted, found, strict=True):
        np.testing.assert_array_equal(one, other)
    assert all(torch.equal(before[name], value) for name, value in matcher.state_dict().items())
    assert matcher.training
    assert matcher.hypercolumn.training
    assert not matcher.aggregation.training


def test_saved_and_loaded_it_says_the_same(tmp_path: Path) -> None:
    matcher = tiny()
    matcher.confidence.bias.fill_(1.5)
    save_weights(matcher, tmp_path / "m.safetensors", {"licence": "Apache-2.0", "precision": "float32"})
    loaded = load_model(tmp_path / "m.safetensors")
    assert isinstance(loaded, Matcher)
    assert loaded.config == matcher.config
    args = texture(40, 60), texture(60, 50, 1), [[10.0, 10.0], [50, 30]]
    for one, other in zip(matcher.match(*args), loaded.match(*args), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_backbone_of_another_file_is_not_saved_nor_trained(tmp_path: Path) -> None:
    """A small matcher over a teacher that is downloaded: its file has the aggregation alone."""
    vit = VitBackbone(width=64, depth=2, heads=1, hidden=32, positions=4, levels=(0, 1))
    matcher = tiny(backbone=vit, external=True, side=56, grid=4)
    with pytest.raises(InputError, match="not in its file"):
        matcher.match(texture(20, 20), texture(20, 20), [[1, 1]])
    torch.manual_seed(1)
    from samepoint.models.vit import VisionTransformer

    teacher = VisionTransformer(64, 2, 1, 32, grid=4)
    matcher.use_backbone(teacher)
    assert not any("backbone" in name for name in (*matcher.state_dict(), *dict(matcher.named_parameters())))
    save_weights(matcher, tmp_path / "m.safetensors", {"precision": "float32"})
    loaded = load_model(tmp_path / "m.safetensors")
    assert isinstance(loaded, Matcher)
    loaded.use_backbone(teacher)
    args = texture(40, 60), texture(60, 50, 1), [[10.0, 10.0], [50, 30]]
    np.testing.assert_array_equal(matcher.match(*args)[0], loaded.match(*args)[0])
    save_weights(teacher.eval(), tmp_path / "teacher.safetensors", {"precision": "float32"})
    both = load_network(tmp_path / "m.safetensors", backbone=tmp_path / "teacher.safetensors").network
    assert isinstance(both, Matcher)
    np.testing.assert_array_equal(matcher.match(*args)[0], both.match(*args)[0])
    with pytest.raises(InputError, match=r"teacher\.safetensors has its own"):
        load_network(tmp_path / "teacher.safetensors", backbone=tmp_path / "teacher.safetensors")
    assert not loaded.train().hypercolumn.network.training
    np.testing.assert_array_equal(copy.deepcopy(matcher).match(*args)[0], matcher.match(*args)[0])
    wrong = Matcher(MatcherConfig.tiny()).hypercolumn.network
    with pytest.raises(InputError, match="expected a VisionTransformer, got PyramidEncoder"):
        matcher.use_backbone(wrong)
    with pytest.raises(InputError, match=r"cls_token must have shape \(1, 1, 64\), got shape \(1, 1, 128\)"):
        matcher.use_backbone(VisionTransformer(128, 2, 2, 32, grid=4))


def test_memory_stays_a_few_maps_of_cells() -> None:
    """At grid 32 a volume of every level would be 8 maps, and its filter three times that: ours keeps 2 at a time."""
    config = MatcherConfig(
        backbone=PyramidBackbone(network=NetworkConfig(stem=8, widths=(8, 8, 8), blocks=1, pyramid=8)),
        aggregation=AggregationConfig(grid=4, projection=16, heads=4),
    )
    matcher = Matcher(config).eval()
    cells = 32 * 32
    made: list[int] = []

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            out = function(*args, **(kwargs or {}))
            if isinstance(out, Tensor) and out.numel() > cells * cells:
                made.append(out.numel())
            return out

    columns = [levels(matcher, (32, 32), seed) for seed in range(2)]
    with torch.no_grad(), Watch():
        matcher.relate(*columns)
    assert not made  # nothing is ever larger than one map of N x N
