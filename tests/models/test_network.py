"""Our encoder, the refiner, and weight files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from samepoint.errors import InputError
from samepoint.models.network import NetworkConfig, PointNetwork
from samepoint.models.refiner import Context, channels_last
from samepoint.models.resnet import ResNet, initialise
from samepoint.models.weights import TABLE, load_model, read_metadata, read_tensors, resolve, save_weights, sha256

TINY = NetworkConfig(
    stem=8, widths=(8, 12, 16), blocks=1, pyramid=8, descriptors=(8, 8, 8, 8), template=1, window=2, hidden=16, state=8
)


@pytest.fixture
def tiny() -> PointNetwork:
    torch.manual_seed(0)
    network = PointNetwork(TINY).eval()
    for name, value in network.named_parameters():
        if name.endswith("project.bias"):  # so narrow a network would else have cells with nothing to say
            torch.nn.init.normal_(value)
    return network


@pytest.mark.parametrize("size", [(64, 96), (37, 53), (17, 16)])
def test_descriptors_are_unit_vectors_on_their_lattices(tiny: PointNetwork, size: tuple[int, int]) -> None:
    frames = torch.randint(0, 256, (2, *size, 3), dtype=torch.uint8)
    with torch.inference_mode():
        maps = tiny.features(tiny.preprocess(frames))
    for level, lattice, channels in zip(maps, tiny.lattices, tiny.channels, strict=True):
        expected = tuple(-(-n // lattice.stride) for n in size)
        assert level.shape == (2, channels, *expected)
        torch.testing.assert_close(level.norm(dim=1), torch.ones(2, *expected))


def test_cells_with_nothing_to_say_do_not_explode_the_gradient(tiny: PointNetwork) -> None:
    head = tiny.encoder.describe16
    bias = head.project.bias
    assert bias is not None
    torch.nn.init.zeros_(bias)
    x = torch.zeros(1, TINY.pyramid, 4, 4)
    x[..., :2] = torch.randn(1, TINY.pyramid, 4, 2) * 1e-9
    x.requires_grad_(True)
    descriptors = head.eval()(x)
    assert descriptors.norm(dim=1).max() < 1e-3
    (descriptors * torch.randn_like(descriptors)).sum().backward()
    assert bias.grad is not None
    assert bias.grad.norm() < 100 * 16


def test_correlations_equal_an_obvious_computation(tiny: PointNetwork) -> None:
    """Interpolated scores against scores of interpolated descriptors, one by one."""
    torch.manual_seed(1)
    refiner = tiny.refiner
    maps = tuple(torch.randn(1, 64 // lat.stride, 80 // lat.stride, 8) for lat in tiny.lattices)
    source, guess = torch.tensor([[33.7, 30.2], [5.1, 60.4]]), torch.tensor([[40.25, 22.5], [1.0, 63.0]])
    templates = refiner.templates(maps, source)
    got = refiner.correlations(templates, maps, guess)

    def read(level: torch.Tensor, column: float, row: float) -> torch.Tensor:
        total = torch.zeros(level.shape[-1])
        for dy in (0, 1):
            for dx in (0, 1):
                x, y = int(np.floor(column)) + dx, int(np.floor(row)) + dy
                weight = (1 - abs(column - x)) * (1 - abs(row - y))
                if 0 <= x < level.shape[2] and 0 <= y < level.shape[1]:
                    total += weight * level[0, y, x]
        return total

    for index, lattice in enumerate(tiny.lattices):
        for n in range(2):
            column, row = (float(v) for v in lattice.to_cells(guess[n]))
            home, high = (float(v) for v in lattice.to_cells(source[n]))
            expected = [
                float(read(maps[index], column + wx, row + wy) @ read(maps[index], home + tx, high + ty))
                for wy in range(-2, 3)
                for wx in range(-2, 3)
                for ty in (-1, 0, 1)
                for tx in (-1, 0, 1)
            ]
            torch.testing.assert_close(got[index][n], torch.tensor(expected), atol=1e-4, rtol=1e-4)


def context(count: int) -> Context:
    """Something to know of that many points, different for each."""
    pairs = [torch.randn(count, 2) * 9 for _ in range(3)]
    return Context(torch.randn(count, TINY.state), pairs[0], torch.rand(count), pairs[1], pairs[2])


def test_points_do_not_depend_on_each_other(tiny: PointNetwork) -> None:
    for weight in (tiny.refiner.head.weight, tiny.refiner.context.weight):
        torch.nn.init.normal_(weight)
    with torch.inference_mode():
        maps = channels_last(tiny.features(torch.randn(2, 3, 64, 64)))
        xy, known = torch.rand(5, 2) * 60, context(5)
        batch = torch.tensor([0, 1, 0, 1, 1])
        query, recent = (tiny.refiner.templates(maps, xy + d, batch) for d in (0, 2))
        together, states = tiny.refiner(query, recent, maps, xy + 3, known, batch)
        for n in range(5):
            one = torch.tensor([n])
            templates = [tuple(level[one] for level in levels) for levels in (query, recent)]
            alone, state = tiny.refiner(*templates, maps, xy[one] + 3, known.select(one), batch[one])
            torch.testing.assert_close(alone[-1].xy, together[-1].xy[one], atol=1e-4, rtol=1e-4)
            torch.testing.assert_close(state, states[one], atol=1e-4, rtol=1e-4)


def test_the_refiner_uses_all_that_it_is_told(tiny: PointNetwork) -> None:
    for weight in (tiny.refiner.head.weight, tiny.refiner.context.weight):
        torch.nn.init.normal_(weight)
    with torch.inference_mode():
        maps = channels_last(tiny.features(torch.randn(1, 3, 64, 64)))
        xy, known = torch.rand(3, 2) * 60, context(3)
        query, recent = tiny.refiner.templates(maps, xy), tiny.refiner.templates(maps, xy + 5)
        usual = tiny.refiner(query, recent, maps, xy, known)[0][-1].xy
        others = [(recent, recent, known), (query, query, known)]
        others += [(query, recent, known._replace(**{name: value + 1})) for name, value in known._asdict().items()]
        for first, second, told in others:
            assert not torch.allclose(tiny.refiner(first, second, maps, xy, told)[0][-1].xy, usual)


def test_a_resnet_survives_a_round_trip(tmp_path: Path) -> None:
    network = ResNet(18, (1, 1, 1, 4), False, (2, 1), "lab", "reflect").eval()
    initialise(network)
    again = load_model(save_weights(network, tmp_path / "resnet.safetensors", {}))
    assert isinstance(again, ResNet)
    assert again.config == network.config
    x = torch.randn(1, 3, 24, 32)
    with torch.inference_mode():
        for got, expected in zip(again.features(x), network.features(x), strict=True):
            torch.testing.assert_close(got, expected, atol=2e-3, rtol=2e-3)


def test_weights_survive_a_round_trip(tiny: PointNetwork, tmp_path: Path) -> None:
    path = save_weights(tiny, tmp_path / "tiny.safetensors", {"training": {"steps": 1}, "licence": "Apache-2.0"})
    again = load_model(path)
    assert again.config == TINY
    for key, value in tiny.state_dict().items():
        torch.testing.assert_close(again.state_dict()[key], value, atol=1e-6, rtol=1e-3)
    metadata = read_metadata(path)
    assert metadata["licence"] == "Apache-2.0"
    assert len(metadata["config_sha256"]) == 64


def test_unusable_weight_files_are_refused_with_the_reason(tiny: PointNetwork, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"samepoint-bse.*did you mean samepoint-base"):
        resolve("samepoint-bse")
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"\x00" * 50)
    with pytest.raises(InputError, match=r"broken\.safetensors: not a readable safetensors"):
        load_model(broken)
    foreign = tmp_path / "foreign.safetensors"
    save_file({"a": torch.zeros(1)}, foreign)
    with pytest.raises(InputError, match="no samepoint metadata"):
        load_model(foreign)
    good = save_weights(tiny, tmp_path / "good.safetensors", {})
    record = read_metadata(good)
    state = dict(tiny.state_dict())
    state.pop("refiner.head.bias")
    save_file(state, tmp_path / "short.safetensors", {"samepoint": json.dumps(record)})
    with pytest.raises(InputError, match=r"short\.safetensors: does not fit.*missing refiner\.head\.bias"):
        load_model(tmp_path / "short.safetensors")
    record["architecture"] = "Other"
    save_file(state, tmp_path / "other.safetensors", {"samepoint": json.dumps(record)})
    with pytest.raises(InputError, match=r"unknown architecture .Other."):
        load_model(tmp_path / "other.safetensors")


def test_every_shipped_weight_is_what_the_table_says() -> None:
    for entry in TABLE.values():
        assert entry.path.is_file()
        assert entry.path.stat().st_size <= 12_000_000
        assert sha256(entry.path) == entry.sha256
        network = load_model(entry.name)
        assert type(network).__name__ == entry.architecture
        assert all(torch.isfinite(value).all() for value in network.state_dict().values())


def test_a_file_without_hindsight_is_read_as_one_that_has_none(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = PointNetwork(TINY).eval()
    path = save_weights(network, tmp_path / "whole.safetensors", {})
    old = {key: value for key, value in read_tensors(path).items() if not key.startswith("hindsight.")}
    with safe_open(str(path), framework="pt") as file:
        save_file(old, str(tmp_path / "old.safetensors"), file.metadata())
    loaded = load_model(tmp_path / "old.safetensors")
    assert isinstance(loaded, PointNetwork)
    assert not loaded.hindsight.last.weight.any()
    del old["visibility.bend.bias"]
    with safe_open(str(path), framework="pt") as file:
        save_file(old, str(tmp_path / "broken.safetensors"), file.metadata())
    with pytest.raises(InputError, match=r"missing visibility\.bend\.bias"):
        load_model(tmp_path / "broken.safetensors")
