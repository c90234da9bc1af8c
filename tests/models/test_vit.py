"""The transformer against one written out, where its cells lie, and the file that is shared."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from samepoint.errors import InputError
from samepoint.models.vit import VisionTransformer
from samepoint.models.weights import load_strictly, read_tensors
from tests.reference.vit import bicubic, forward
from tests.shared import shared_path


def tiny(norm: bool = True, scaled: bool = True, outputs: tuple[int, ...] | None = None) -> VisionTransformer:
    """Two heads, three blocks, 5 x 5 positions, every parameter random."""
    torch.manual_seed(0)
    network = VisionTransformer(128, 3, 2, 24, patch=4, grid=5, scaled=scaled, outputs=outputs, norm=norm).eval()
    with torch.no_grad():
        for name, value in network.named_parameters():
            around = 1.0 if name.endswith(("norm1.weight", "norm2.weight", "norm.weight")) else 0.0
            value.copy_(around + 0.2 * torch.randn(value.shape))
    return network


@pytest.mark.parametrize("size", [(20, 20), (12, 28), (40, 8)])
@pytest.mark.parametrize(("norm", "scaled", "block"), [(True, True, 1), (False, True, 2), (True, False, 0)])
def test_features_equal_the_written_out_ones(size: tuple[int, int], norm: bool, scaled: bool, block: int) -> None:
    network = tiny(norm, scaled, (block,))
    x = torch.randn(2, 3, *size)
    with torch.inference_mode():
        (got,) = network.features(x)
    tensors = {key: value.double().numpy() for key, value in network.state_dict().items()}
    for n in range(2):
        expected = forward(tensors, x[n].double().numpy(), 2, block, norm)
        np.testing.assert_allclose(got[n].permute(1, 2, 0).numpy(), expected, atol=2e-4)


def test_positions_are_those_of_the_file_at_its_own_grid_and_resampled_elsewhere() -> None:
    network = tiny()
    assert torch.equal(network.positions(5, 5), network.pos_embed)
    square = network.pos_embed.detach()[0, 1:].reshape(5, 5, -1).double().numpy()
    for size in ((3, 9), (5, 6), (1, 2)):
        resampled = network.positions(*size).detach()
        assert torch.equal(resampled[:, 0], network.pos_embed[:, 0])
        expected = bicubic(square, *size).reshape(size[0] * size[1], -1)
        np.testing.assert_allclose(resampled[0, 1:].numpy(), expected, atol=1e-5)


def test_a_cell_sees_the_patch_around_its_centre() -> None:
    network = tiny(outputs=(0,))
    with torch.no_grad():  # blocks that add nothing: what is left of a cell is its patch
        for name in ("ls1", "ls2"):
            getattr(network.blocks[0], name).gamma.zero_()
    (lattice,) = network.lattices
    x = torch.randn(1, 3, 24, 32, requires_grad=True)
    for row, column in ((0, 0), (2, 5), (5, 7)):
        (gradient,) = torch.autograd.grad(network.features(x)[0][0, :, row, column].pow(3).sum(), x)
        seen = torch.nonzero(gradient[0].abs().sum(0)).double()
        middle = (seen.min(0).values + seen.max(0).values + 1) / 2
        centre = lattice.to_pixels(torch.tensor([row, column], dtype=torch.float64))
        assert middle.tolist() == centre.tolist()


def test_other_sizes_are_continued_and_cells_stay_in_place() -> None:
    network = tiny()
    x = torch.randn(1, 3, 17, 22)
    (got,) = network.features(x)
    assert got.shape == (1, 128, 5, 6)
    rows, columns = torch.arange(20).clamp(max=16), torch.arange(24).clamp(max=21)
    (continued,) = network.features(x[:, :, rows][:, :, :, columns])
    torch.testing.assert_close(got, continued)


def test_outputs_come_in_the_order_asked_for_and_the_default_is_the_last_but_one() -> None:
    x = torch.randn(1, 3, 20, 20)
    one, two = tiny(outputs=(2, 0)).features(x)
    torch.testing.assert_close(one, tiny(outputs=(2,)).features(x)[0])
    torch.testing.assert_close(two, tiny(outputs=(0,)).features(x)[0])
    assert tiny().outputs == (1,)
    assert VisionTransformer(64, 12, 1, 8).outputs == (10,)
    for outputs in ((), (3,), (-1,)):
        with pytest.raises(InputError, match="expected some of 0 to 2"):
            tiny(outputs=outputs)


def test_sizes_are_told_by_the_tensors() -> None:
    network = tiny()
    again = VisionTransformer.shaped_like(network.state_dict(), (1,))
    load_strictly(again, network.state_dict(), "tiny")
    x = torch.randn(1, 3, 12, 20)
    torch.testing.assert_close(again.eval().features(x)[0], network.features(x)[0])


@pytest.mark.parametrize(
    ("key", "shape", "message"),
    [
        ("pos_embed", (1, 25, 128), "25 tokens; expected one for the class and a square"),
        ("pos_embed", (1, 0, 128), "0 tokens"),
        ("pos_embed", (26, 128), r"pos_embed \(1, 1 \+ N, D\)"),
        ("patch_embed.proj.weight", (100, 3, 4, 4), "100 channels"),
        ("patch_embed.proj.weight", (128, 3, 0, 0), "patches of 0 pixels"),
        ("blocks.0.mlp.fc1.weight", (), "got .* and none"),
    ],
)
def test_tensors_of_another_network_are_refused(key: str, shape: tuple[int, ...], message: str) -> None:
    tensors = {**tiny().state_dict(), key: torch.zeros(shape)}
    with pytest.raises(InputError, match=message):
        VisionTransformer.shaped_like(tensors)


def test_the_shared_transformer_has_dinov2s_sizes() -> None:
    tensors = read_tensors(shared_path("weights", "dinov2_vits14.safetensors"))
    network = VisionTransformer.shaped_like(tensors)
    load_strictly(network, tensors, "dinov2")
    assert sum(value.numel() for value in network.parameters()) == 22_056_192
    assert (len(network.blocks), network.grid, network.outputs, network.channels) == (12, 37, (10,), (384,))
    assert (network.lattices[0].stride, network.lattices[0].offset) == (14, 7.0)
    # Features of a picture vary within it and are finite.
    torch.manual_seed(0)
    frames = torch.randint(0, 256, (1, 56, 70, 3), dtype=torch.uint8)
    with torch.inference_mode():
        (cells,) = network.eval().features(network.preprocess(frames))
    assert cells.shape == (1, 384, 4, 5)
    assert torch.isfinite(cells).all()
    assert cells.flatten(2).std(dim=2).mean() > 0.1
