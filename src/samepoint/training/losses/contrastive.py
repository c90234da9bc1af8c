"""Points of a pair against an averaged teacher's hardest mistakes (web-video-matching.md, section 8.2).

The published option is never called; this is what it describes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...errors import InputError
from ...models.flow_readout import sample_cells
from .cells import choose_cells
from .precision import in_full_precision
from .unit import unit

Pair = tuple[Tensor, Tensor]


class ContrastiveHead(nn.Module):
    """Levels projected one by one, then together: 1,057,920 parameters for the published matcher.

    Args:
        channels: of the levels.
        width: of each projection and of the result.
    """

    def __init__(self, channels: Sequence[int], width: int = 128) -> None:
        super().__init__()
        self.project = nn.ModuleList(nn.Conv2d(count, width, 1) for count in channels)
        self.reduce = nn.Conv2d(width * len(channels), width, 1)

    def forward(self, levels: Sequence[Tensor]) -> Tensor:
        """Hyper-columns, each level (B, C_l, rows, columns), to features (B, width, rows, columns)."""
        parts = [project(level) for project, level in zip(self.project, levels, strict=True)]
        features: Tensor = self.reduce(torch.cat(parts, dim=1))
        return features


@torch.no_grad()
def follow(teacher: nn.Module, student: nn.Module, momentum: float = 0.995) -> None:
    """Move the teacher's parameters towards the student's by ``1 - momentum``; buffers are copied."""
    for mine, theirs in zip(teacher.parameters(), student.parameters(), strict=True):
        mine.lerp_(theirs, 1 - momentum)
    for kept, given in zip(teacher.buffers(), student.buffers(), strict=True):
        kept.copy_(given)


@in_full_precision
def contrastive_loss(
    student: Pair,
    teacher: Pair,
    refined: Tensor,
    source: Tensor,
    target: Tensor,
    valid: Tensor,
    *,
    points: int = 10,
    negatives: int = 25,
    temperature: float = 0.5,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Each point must look more like its partner than like the cells that the teacher takes for it.

    For a point with feature a of the student, the teacher's feature p of its partner in the other picture and those n_i
    of the ``negatives`` cells with the largest refined correlation, the partner's own cell left out:
    -log(e^(a.p / t) / (e^(a.p / t) + sum e^(a.n_i / t))), unit vectors; the mean over the points and both directions.

    Args:
        student, teacher: features (B, C, h, w) of the source and of the target each; the teacher gets no gradient.
        refined: (B, N_s, N_t) of the teacher, on the features' cells.
        source, target: (B, K, 2) places of the same points, in shares of width and height: x / W, y / H.
        valid: bool (B, K).
        points: at most so many of a pair count, drawn at random.
        negatives: cells.
        temperature: t.
        generator: of the draw; on the CPU.

    Returns:
        Scalar mean; 0 with zero gradient where no point counts.

    Raises:
        InputError: shapes that do not fit.
    """
    cells = [each.shape[2] * each.shape[3] for each in student]
    if refined.shape[1:] != torch.Size(cells) or source.shape != target.shape or valid.shape != source.shape[:-1]:
        raise InputError(
            f"contrastive: {cells[0]} x {cells[1]} cells, correlations {tuple(refined.shape)}, points "
            f"{tuple(source.shape)} and {tuple(target.shape)}, valid {tuple(valid.shape)} do not fit"
        )
    total, count = (student[0].sum() + student[1].sum()) * 0, 0
    for item in range(len(refined)):
        usable = valid[item].nonzero()[:, 0]
        chosen = usable[choose_cells(len(usable), points, generator, usable.device)]
        if not len(chosen):
            continue
        places = source[item, chosen], target[item, chosen]
        for here, there, rows in ((0, 1, refined[item]), (1, 0, refined[item].T)):
            anchor = unit(sample_cells(student[here][item], places[here]), dim=1)
            known = teacher[there][item].detach()
            partner = F.normalize(sample_cells(known, places[there]), dim=1)
            row = rows.detach()[_cell(places[here], student[here])].clone()  # (n, M)
            row.scatter_(1, _cell(places[there], known[None])[:, None], -torch.inf)
            hardest = row.topk(min(negatives, row.shape[1] - 1), dim=1).indices
            wrong = F.normalize(known.flatten(1), dim=0).T[hardest]  # (n, negatives, C)
            scores = torch.cat([anchor[:, None] @ partner[:, :, None], anchor[:, None] @ wrong.transpose(1, 2)], dim=2)
            logits = scores[:, 0] / temperature
            total = total + (logits.logsumexp(dim=1) - logits[:, 0]).sum()
            count += len(chosen)
    return total / max(count, 1)


def _cell(places: Tensor, maps: Tensor) -> Tensor:
    """The cell of (B, C, h, w) that each place (n, 2) lies in."""
    height, width = maps.shape[-2:]
    column = (places[:, 0] * width).long().clamp(0, width - 1)
    row = (places[:, 1] * height).long().clamp(0, height - 1)
    return row * width + column
