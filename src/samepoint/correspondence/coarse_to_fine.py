"""The affinity found coarse to fine: coarse cells choose where to look, fine cells decide."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from samepoint.correspondence import displaced
from samepoint.correspondence.affinity import (
    Affinity,
    Path,
    affinity,
    check_search,
    distinct,
    is_fast,
    softmax_of_found,
)
from samepoint.correspondence.displaced import Blocks
from samepoint.correspondence.window import Window
from samepoint.errors import InputError
from samepoint.geometry import Lattice

FINE = Window.square(12)  # 625 fine cells around each coarse match, as in the paper's routine


def affinity_coarse_to_fine(
    query: Tensor,
    keys: Tensor | Sequence[Tensor],
    coarse_query: Tensor,
    coarse_keys: Tensor | Sequence[Tensor],
    lattices: tuple[Lattice, Lattice],
    window: Window | Sequence[Window],
    fine: Window = FINE,
    matches: int = 1,
    topk: int = 10,
    temperature: float = 0.07,
    normalize: bool = True,
    query_cells: Tensor | None = None,
    dtype: torch.dtype = torch.float32,
    path: Path = "auto",
) -> Affinity:
    """As ``affinity`` on the fine maps, but each cell looks only around where its coarse parent was found.

    1. Each coarse cell finds, in every key frame by itself, its ``matches`` most similar coarse cells within
       ``window``.
    2. Each fine cell q with the parent p sees, in that key frame, the fine cells in ``fine`` windows around
       q + s (m - p) for each match m: where q lies if it moved as its parent did. s is the ratio of the strides; the
       middle is rounded to whole cells. Windows may overlap, a cell counts once.
    3. The ``topk`` most similar of them over all key frames jointly, weighed as in ``affinity``.

    query: float (C, H, W). keys: (T, C, H, W) or T maps. coarse_query: float (D, h, w). coarse_keys: T maps alike.
    lattices: of the coarse and the fine maps. A cell's parent is the coarse cell whose centre is nearest, at a tie the
    later one; ``Lattice(s, s / 2)`` above ``Lattice(1, 0.5)`` gives floor(q / s). window: in coarse cells, one for all
    key frames, or one for each; see ``coarser``. fine: in fine cells, not everywhere. The other arguments are those of
    ``affinity``. Differentiable in query and keys by path "torch"; not in the coarse maps, which only choose.

    Cost: h w |window| D + H W |fine| C multiplications a key frame, each times ``matches`` in the second term, against
    H W |dense window| C. Raises InputError where shapes or settings do not fit. FGVC (ICCV 2023), coarse-to-fine;
    specified in the notes on video features, section 10; there the middle of the window is s m for all children of p.

    >>> fine, coarse = torch.eye(16).reshape(16, 4, 4), torch.eye(4).reshape(4, 2, 2)
    >>> lattices = Lattice(4, 2.0), Lattice(2, 1.0)
    >>> found = affinity_coarse_to_fine(
    ...     fine, fine[None], coarse, coarse[None], lattices, Window.everywhere(), Window.square(0), topk=1
    ... )
    >>> found.indices.flatten().tolist() == list(range(16))
    True
    """
    frames, coarse_frames = list(keys), list(coarse_keys)
    windows = [window] * len(frames) if isinstance(window, Window) else list(window)
    check_search(query, frames, windows, topk, temperature, query_cells, None, dtype)
    check_search(coarse_query, coarse_frames, windows, 1, temperature, None, None, dtype)
    if matches < 1:
        raise InputError(f"matches: expected 1 or more, got {matches}")
    if fine.shape == "everywhere":
        raise InputError("fine window: expected a circle or a square around the coarse match, got everywhere")
    if lattices[0].stride < lattices[1].stride:
        raise InputError(
            f"lattices: expected the coarse one first, got strides {lattices[0].stride} and {lattices[1].stride}"
        )
    height, width = query.shape[1:]
    size = (int(coarse_query.shape[1]), int(coarse_query.shape[2]))
    cells, repeat = distinct(query_cells)
    if cells is not None and len(cells) == 0:
        return Affinity.nothing(query, topk, len(frames), cells)
    rows, columns = (
        parents(count, lattices[1], known, lattices[0]).to(query.device)
        for count, known in zip((height, width), size, strict=True)
    )
    blocks = Blocks.of(rows, columns, size, cells)
    with torch.no_grad():
        move, known = _moves(coarse_query, coarse_frames, windows, matches, normalize, blocks.parents, dtype, path)
    shift = (move * (lattices[0].stride / lattices[1].stride)).round().long()
    # A window's middle may lie outside the map, its far side must still reach across it.
    reach = fine.reach(height + int(shift[..., 0].abs().max()), width + int(shift[..., 1].abs().max()))
    settings = (query, frames, reach, shift, known, blocks, topk, normalize, dtype == torch.bfloat16)
    if path == "torch" or not is_fast(query, frames, path):
        scores, indices = displaced.search(*settings)
        weights = softmax_of_found(scores, temperature)
    else:
        from samepoint.correspondence import displaced_cpu, fast_cpu  # numba takes a moment to import

        scores, indices = displaced_cpu.search(*settings)
        weights = fast_cpu.softmax(scores, temperature)
    return Affinity.of(scores, indices, weights, len(frames), (height, width), query_cells, repeat)


def parents(count: int, fine: Lattice, coarse_count: int, coarse: Lattice) -> Tensor:
    """The nearest of ``coarse_count`` coarse cells of each of ``count`` fine cells along one axis: int64, rising.

    >>> parents(8, Lattice(2), 2, Lattice(8)).tolist(), parents(8, Lattice(2, 1.0), 2, Lattice(8, 4.0)).tolist()
    ([0, 0, 1, 1, 1, 1, 1, 1], [0, 0, 0, 0, 1, 1, 1, 1])
    """
    at = coarse.to_cells(fine.to_pixels(torch.arange(count, dtype=torch.float64)))
    return (at + 0.5).floor().long().clamp(0, coarse_count - 1)


def coarser(window: Window, coarse: Lattice, fine: Lattice) -> Window:
    """The same window in coarse cells: the offsets of coarse cells that lie inside the window in fine cells.

    >>> coarser(Window.circle(15), Lattice(8), Lattice(2))
    Window(shape='circle', size=3.75)
    """
    ratio = coarse.stride / fine.stride
    if window.shape == "circle":
        return Window.circle(window.size / ratio)
    return Window.square(math.floor(window.size / ratio)) if window.shape == "square" else window


def _moves(
    query: Tensor,
    keys: Sequence[Tensor],
    windows: Sequence[Window],
    matches: int,
    normalize: bool,
    cells: Tensor,
    dtype: torch.dtype,
    path: Path,
) -> tuple[Tensor, Tensor]:
    """Where coarse ``cells`` (P,) have gone: int64 (T, P, M, 2) rows and columns, and bool (T, P, M), found at all."""
    width = query.shape[2]
    moves, known = [], []
    for key, window in zip(keys, windows, strict=True):
        found = affinity(query, [key], window, matches, normalize=normalize, query_cells=cells, dtype=dtype, path=path)
        row, column = found.indices // width, found.indices % width
        known.append(~found.scores.isneginf())
        away = torch.stack([row - cells[:, None] // width, column - cells[:, None] % width], dim=-1)
        moves.append(away * known[-1][..., None])
    return torch.stack(moves), torch.stack(known)
