"""The transformer that refines correlations: both passes, against tokens made one by one."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from samepoint.models.aggregation import Aggregation, AggregationConfig


def made(grid: int = 3, channels: tuple[int, ...] = (4, 6), unit: bool = True, projection: int = 7) -> Aggregation:
    torch.manual_seed(0)
    aggregation = (
        Aggregation(grid, channels, AggregationConfig(projection=projection, heads=2, unit=unit)).double().eval()
    )
    for parameter in aggregation.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return aggregation


def inputs(grid: int = 3, channels: tuple[int, ...] = (4, 6)) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    generator = torch.Generator().manual_seed(1)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    cells = grid * grid
    features = [[draw(2, count, grid, grid) for count in channels] for _ in range(2)]
    return draw(2, len(channels), cells, cells), features[0], features[1]


def attention(layer: torch.nn.Module, tokens: Tensor) -> Tensor:
    """Two heads, of (N, E), written out."""
    width = tokens.shape[1]
    query, key, value = (tokens @ layer.qkv.weight.T + layer.qkv.bias).split(width, dim=1)  # type: ignore[operator, union-attr]
    half, out = width // 2, []
    for head in (slice(0, half), slice(half, width)):
        scores = query[:, head] @ key[:, head].T / half**0.5
        out.append(scores.softmax(dim=1) @ value[:, head])
    return torch.cat(out, dim=1) @ layer.proj.weight.T + layer.proj.bias  # type: ignore[operator, union-attr]


def one_pass(aggregation: Aggregation, rows: Tensor, features: list[Tensor]) -> Tensor:
    """(L, N, M) correlations by their own cells, features (C, grid, grid): what is added, cell by cell."""
    block, grid = aggregation.blocks[0], aggregation.grid
    tokens = []
    for index, level in enumerate(features):
        of_level = []
        for cell in range(grid * grid):
            y, x = divmod(cell, grid)
            vector = level[:, y, x]
            if aggregation.unit:
                vector = vector / vector.norm() * len(vector) ** 0.5
            projected = aggregation.projections[index](vector)
            place = torch.cat([aggregation.pos_embed_x[0, index, 0, x], aggregation.pos_embed_y[0, index, y, 0]])
            of_level.append(torch.cat([rows[index, cell], projected]) + place)
        tokens.append(torch.stack(of_level))
    x = torch.stack(tokens)  # (L, N, E)
    x = x + torch.stack([attention(block.attn, block.norm1(each)) for each in x])
    x = x + block.mlp2.fc2(F.gelu(block.mlp2.fc1(block.norm4(x))))
    by_cell = x.transpose(0, 1)
    by_cell = by_cell + torch.stack([attention(block.attn_multiscale, block.norm3(each)) for each in by_cell])
    by_cell = by_cell + block.mlp.fc2(F.gelu(block.mlp.fc1(block.norm2(by_cell))))
    return aggregation.proj(by_cell.transpose(0, 1))


def test_both_passes_equal_tokens_made_one_by_one() -> None:
    for unit in (True, False):
        aggregation, (correlation, source, target) = made(unit=unit), inputs()
        with torch.no_grad():
            got = aggregation(correlation, source, target)
            for item in range(2):
                own = correlation[item]
                first = one_pass(aggregation, own.transpose(1, 2), [each[item] for each in target])
                refined = first.transpose(1, 2) + own
                expected = one_pass(aggregation, refined, [each[item] for each in source]) + own
                torch.testing.assert_close(got[item], expected)


def test_gradients() -> None:
    aggregation, (correlation, source, target) = made(2, (2,), projection=4), inputs(2, (2,))
    correlation.requires_grad_()
    source[0].requires_grad_()
    assert torch.autograd.gradcheck(lambda c, s: aggregation(c, [s], target), (correlation, source[0]))


def test_deeper_and_narrower() -> None:
    aggregation = Aggregation(4, (3, 3), AggregationConfig(projection=16, heads=4, depth=2, ratio=2))
    assert len(aggregation.blocks) == 2
    assert aggregation.state_dict()["blocks.1.mlp.fc1.weight"].shape == (64, 32)
    correlation, source, target = inputs(4, (3, 3))
    out = aggregation(correlation.float(), [s.float() for s in source], [t.float() for t in target])
    torch.testing.assert_close(out, correlation.float())  # a new one changes nothing
