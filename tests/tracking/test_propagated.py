"""Label propagation of points: the published behaviour, and what an exact operator must do on known motion."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from samepoint.correspondence import Affinity, Window, affinity, propagate
from samepoint.errors import InputError
from samepoint.geometry import Lattice, gaussian_maps, read_peak_published
from samepoint.models.convert.table import convert
from samepoint.models.resnet import ResNet
from samepoint.tracking import PropagatedPoints, PropagationSettings
from tests.models.golden import golden_tensors
from tests.shared import shared_path

LATTICE = (Lattice(2),)


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    return dict(np.load(shared_path("golden", "fgvc_resnet18.npz")))


@pytest.fixture(scope="module")
def features(golden: dict[str, np.ndarray]) -> Tensor:
    network = convert(golden_tensors(shared_path("golden", "fgvc_resnet18.keys.json")), "fgvc", "golden").network
    assert isinstance(network, ResNet)
    lab = torch.from_numpy(golden["input_lab"])
    lab = lab.permute(0, 3, 1, 2) if lab.shape[-1] == 3 else lab
    with torch.inference_mode():
        return network.features(lab)[0]


def as_maps(feature: Tensor) -> tuple[Tensor, ...]:
    return (feature.permute(1, 2, 0)[None],)


def test_published_tracks_are_reproduced(golden: dict[str, np.ndarray], features: Tensor) -> None:
    method = PropagatedPoints(LATTICE, PropagationSettings(read_out="published"))
    uv = torch.from_numpy(golden["query_xy"]).float()
    method.add(as_maps(features[0]), uv + 0.5)
    for frame in range(1, 8):
        xy, _ = method.step(as_maps(features[frame]))
        assert np.abs(xy.numpy() - 0.5 - golden["tracks_published"][:, frame]).max() < 0.01
        labels = method.groups[0].recent[-1][1].numpy()
        difference = np.abs(labels - golden["label_maps"][frame - 1])
        # At the tenth place of the top-k near ties fall either way: a handful of cells may then differ.
        assert np.quantile(difference, 0.99) < 1e-5
        assert (difference > 0.02).sum() <= 2


def test_label_maps_of_the_portable_path_equal_the_golden_ones_everywhere(
    golden: dict[str, np.ndarray], features: Tensor
) -> None:
    uv = torch.from_numpy(golden["query_xy"]).float()
    labels = [gaussian_maps(uv / 2, (48, 48), 3.0)]
    for frame in range(1, 8):
        past = range(max(0, frame - 5), frame)
        found = affinity(features[frame], [features[0], *(features[i] for i in past)], Window.circle(15), path="torch")
        labels.append(propagate(found, [labels[0], *(labels[i] for i in past)]))
        difference = np.abs(labels[-1].numpy() - golden["label_maps"][frame - 1])
        assert np.quantile(difference, 0.99) < 1e-5
        assert difference.max() < 0.02


def test_the_first_published_position_is_read_from_the_full_grid(golden: dict[str, np.ndarray]) -> None:
    uv = torch.from_numpy(golden["query_xy"]).double()
    read = read_peak_published(gaussian_maps(uv, (96, 96), 6.0)).numpy()
    # A coordinate that ends in .5 makes two rows equal, and the fifth pixel a matter of chance.
    settled = golden["query_xy"] % 1 != 0.5
    assert np.abs(read - golden["tracks_published"][:, 0])[settled].max() < 0.01


def moving(step: int, frames: int, size: int = 40, channels: int = 64) -> list[Tensor]:
    base = torch.randn(channels, size, size, generator=torch.Generator().manual_seed(0))
    return [torch.roll(base, (0, step * t), (1, 2)) for t in range(frames)]


@pytest.mark.parametrize("step", [0, 1])
def test_no_drift_on_features_that_move_by_whole_cells(step: int) -> None:
    frames = moving(step, 16)
    method = PropagatedPoints(LATTICE)
    start = torch.tensor([[20.3, 31.8], [24.0, 40.9], [30.77, 22.2]])
    method.add(as_maps(frames[0]), start)
    for t in range(1, 16):
        xy, height = method.step(as_maps(frames[t]))
        assert (xy - start - torch.tensor([2.0 * step * t, 0.0])).abs().max() < 0.02
        assert height.min() > 0.9


def test_published_read_out_is_half_a_pixel_off_and_ours_is_not() -> None:
    generator = torch.Generator().manual_seed(1)
    start = torch.rand(200, 2, generator=generator) * 50 + 15
    maps = as_maps(moving(0, 1)[0])
    for read_out, expected in (("peak", 0.0), ("published", 0.5)):
        method = PropagatedPoints(LATTICE, PropagationSettings(read_out=read_out))  # type: ignore[arg-type]
        method.add(maps, start)
        error = (method.step(maps)[0] - start).mean(0)
        assert (error - expected).abs().max() < (0.02 if read_out == "peak" else 0.05)


def test_key_frames_and_groups() -> None:
    frames = moving(0, 8)
    method = PropagatedPoints(LATTICE)
    method.add(as_maps(frames[0]), torch.tensor([[20.0, 20.0], [30.0, 30.0]]))
    lengths = []
    for t in range(1, 8):
        method.step(as_maps(frames[t]))
        lengths.append(1 + len(method.groups[0].recent))
    assert lengths == [3, 4, 5, 6, 6, 6, 6]  # after steps 1, 2, ...: what step t + 1 will see
    method.add(as_maps(frames[0]), torch.tensor([[40.5, 40.5]]))
    method.keep(torch.tensor([False, True, True]))
    xy, _ = method.step(as_maps(frames[0]))
    torch.testing.assert_close(xy, torch.tensor([[30.0, 30.0], [40.5, 40.5]]), atol=0.02, rtol=0)
    method.keep(torch.tensor([False, True]))
    assert len(method.groups) == 1


def test_work_near_the_points_changes_nothing_that_matters() -> None:
    frames = moving(1, 6)
    whole, near = PropagatedPoints(LATTICE), PropagatedPoints(LATTICE, PropagationSettings(near=16))
    start = torch.tensor([[20.3, 31.8], [24.0, 40.9]])
    for method in (whole, near):
        method.add(as_maps(frames[0]), start)
    for t in range(1, 6):
        maps = as_maps(frames[t])
        torch.testing.assert_close(near.step(maps)[0], whole.step(maps)[0], atol=1e-3, rtol=0)


def two_levels(frames: list[Tensor]) -> list[tuple[Tensor, ...]]:
    """Maps of a coarse and a fine level: the coarse cells are means of 4x4 fine ones, about the same centres."""
    return [(torch.nn.functional.avg_pool2d(each[None], 4).permute(0, 2, 3, 1), *as_maps(each)) for each in frames]


@pytest.mark.parametrize("near", [None, 16])
def test_coarse_cells_that_are_right_choose_windows_that_change_nothing(near: float | None) -> None:
    lattices = (Lattice(8, 4.0), Lattice(2, 1.0))
    start = torch.tensor([[20.3, 31.8], [24.0, 40.9]])
    plain = PropagatedPoints(lattices, PropagationSettings(near=near))
    settings = PropagationSettings(near=near, coarse=0, fine_window=Window.square(3), window=Window.circle(15))
    guided = PropagatedPoints(lattices, settings)
    clip = two_levels(moving(4, 5))  # by one coarse cell a frame
    for method in (plain, guided):
        method.add(clip[0], start)
    for t, maps in enumerate(clip[1:], start=1):
        xy, height = guided.step(maps)
        torch.testing.assert_close(xy, plain.step(maps)[0], atol=2e-2, rtol=0)
        assert (xy - start - torch.tensor([8.0 * t, 0.0])).abs().max() < 0.02
        assert height.min() > 0.9
    guided.keep(torch.tensor([True, False]))
    assert guided.step(clip[-1])[0].shape == (1, 2)


def test_cells_outside_the_fine_windows_take_no_part(monkeypatch: pytest.MonkeyPatch) -> None:
    lattices = (Lattice(8, 4.0), Lattice(2, 1.0))
    clip = two_levels(moving(0, 2))
    seen: list[Tensor] = []

    def noted(found: Affinity, values: list[Tensor]) -> Tensor:
        seen.append(found.scores)
        return propagate(found, values)

    monkeypatch.setattr("samepoint.tracking.propagated.propagate", noted)
    for window, count in ((Window.square(0), 2), (Window.circle(1.5), 18)):
        guided = PropagatedPoints(lattices, PropagationSettings(coarse=0, fine_window=window, topk=20))
        guided.add(clip[0], torch.tensor([[21.0, 31.0]]))
        guided.step(clip[1])
        # Away from the border: the window's cells in each of the two keys.
        assert (~seen[-1].isneginf()).sum(dim=1).reshape(40, 40)[20, 20] == count


def test_the_coarse_map_is_found_by_its_stride() -> None:
    ours = (Lattice(16), Lattice(8), Lattice(4), Lattice(2))
    for level, guide in ((3, 1), (2, 0), (1, 0)):  # four times the stride, else what comes nearest
        chosen = PropagatedPoints(ours, PropagationSettings(level=level, coarse="auto"))
        assert (chosen.guide, chosen.coarse) == (guide, ours[guide])
    for lattices in ((Lattice(2),), (Lattice(8), Lattice(2, 0.5)), (Lattice(14, 7.0),) * 2):
        alone = PropagatedPoints(lattices, PropagationSettings(level=0, coarse="auto"))
        assert (alone.guide, alone.coarse) == (None, Lattice(4 * lattices[0].stride, lattices[0].offset))
    assert PropagatedPoints(ours).coarse is None


def test_a_network_with_one_map_has_it_averaged() -> None:
    """Coarse cells of 4x4 fine ones see a motion by whole coarse cells, and the fine windows are all that is needed."""
    settings = PropagationSettings(coarse="auto", fine_window=Window.square(3))
    plain, guided = PropagatedPoints(LATTICE), PropagatedPoints(LATTICE, settings)
    start = torch.tensor([[20.3, 31.8], [24.0, 40.9]])
    clip = [as_maps(each) for each in moving(4, 5)]
    for method in (plain, guided):
        method.add(clip[0], start)
    _, above = guided._maps(clip[0])
    assert above is not None
    # Away from the border a coarse cell is the mean over its box, whose outer cells are half in.
    weight = torch.tensor([0.125, 0.25, 0.25, 0.25, 0.125])
    unit = torch.nn.functional.normalize(clip[0][0][0].permute(2, 0, 1), dim=0)
    box = torch.einsum("chw,h,w->c", unit[:, 6:11, 10:15], weight, weight)
    torch.testing.assert_close(above[:, 2, 3], box)
    for t, maps in enumerate(clip[1:], start=1):
        xy, height = guided.step(maps)
        torch.testing.assert_close(xy, plain.step(maps)[0], atol=2e-2, rtol=0)
        assert (xy - start - torch.tensor([8.0 * t, 0.0])).abs().max() < 0.02
        assert height.min() > 0.9


def test_maps_that_do_not_exist_or_fit_are_refused() -> None:
    lattices = (Lattice(8), Lattice(2))
    with pytest.raises(InputError, match="level: 2 given, but the network has 2 maps"):
        PropagatedPoints(lattices, PropagationSettings(level=2))
    with pytest.raises(InputError, match="coarse: -3 given, but the network has 2 maps"):
        PropagatedPoints(lattices, PropagationSettings(coarse=-3))
    with pytest.raises(
        InputError, match="coarse: the map 1 has stride 2; expected one no finer than level 0 of stride 8"
    ):
        PropagatedPoints(lattices, PropagationSettings(level=0, coarse=1))
