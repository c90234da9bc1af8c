"""What a matcher learns by: labelled pairs of several kinds, an adversary, its own averaged self, a teacher."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import InputError
from ..geometry import Lattice
from ..matching.flow_grid import cell_centres, keypoints_to_flow
from ..models.consensus import Consensus, ConsensusConfig, mutual
from ..models.discriminator import LevelDiscriminator
from ..models.flow_readout import sample_cells, soft_argmax
from ..models.matcher import Columns, Matcher, MatcherConfig, MatcherOutput
from .losses import (
    ContrastiveHead,
    contrastive_loss,
    domain_loss,
    end_point_error,
    relation_loss,
    scheduled_coefficient,
)
from .losses.contrastive import follow
from .losses.end_point import published_mask
from .matching_config import MatchingLossConfig
from .matching_data import CrossItem, PairItem
from .teacher import Teacher

_AVERAGED = 0.02  # share of a batch in the running average of the teacher's maps
NEAR = 0.1
"""Share of the side within which a match counts as right in the log."""


class MatchBatch(NamedTuple):
    """A micro-batch; None for what is not learnt from."""

    warps: PairItem | None
    web: PairItem | None
    keypoints: PairItem | None
    target: PairItem | None
    cross: CrossItem | None


class MatchingObjectives(nn.Module):
    """The matcher, what is trained beside it, and the losses of a micro-batch.

    Args:
        matcher: the student.
        config: weights of the objectives.
        size: side of the pictures, pixels.
        teacher: of distillation.
        frozen: the matcher's backbone does not learn, its running statistics neither.
    """

    def __init__(
        self,
        matcher: Matcher,
        config: MatchingLossConfig,
        size: int,
        teacher: Teacher | None,
        *,
        frozen: bool = False,
    ) -> None:
        super().__init__()
        self.matcher, self.config, self.size, self.teacher = matcher, config, size, teacher
        self.frozen = frozen
        channels = matcher.hypercolumn.channels
        self.discriminator = LevelDiscriminator(len(channels)) if config.adversary > 0 else None
        contrasted = config.contrastive.weight > 0
        self._labeller: TeacherMatcher | None = None  # not a part of this module: it does not learn
        if config.cross.weight > 0 and config.cross.labels == "teacher":
            assert teacher is not None
            self._labeller = TeacherMatcher(teacher, matcher.config)
        self.head = ContrastiveHead(channels, config.contrastive.width) if contrasted else None
        taught = contrasted or (config.cross.weight > 0 and config.cross.labels == "averaged")
        self.averaged = copy.deepcopy(matcher).requires_grad_(False) if taught else None
        self.averaged_head = copy.deepcopy(self.head).requires_grad_(False) if self.head is not None else None
        self.translate: nn.Module | None = None
        self.typical: Tensor | None  # the teacher's average over all cells seen
        self.register_buffer("typical", None)
        if teacher is not None and config.centred:
            self.typical = torch.zeros(teacher.channels)
        if teacher is not None and config.distillation > 0:
            self.translate = _translation(channels[0], teacher.channels)

    def train(self, mode: bool = True) -> MatchingObjectives:
        super().train(mode)
        for averaged in (self.averaged, self.averaged_head):  # they teach as they would be used
            if averaged is not None:
                averaged.eval()
        if self.frozen:
            self.matcher.hypercolumn.eval()
        return self

    def forward(self, batch: MatchBatch, progress: float) -> tuple[Tensor, dict[str, float]]:
        """Weighted sum of the losses, and each of them for the log, the mean of one that kinds of pairs have in common.

        ``right`` is the share of the matches within 0.1 of the side, the mean over the kinds; ``right_warps`` and so on
        are those of each.
        """
        c = self.config
        parts: list[tuple[str, float, Tensor]] = []
        figures: dict[str, float] = {}
        outputs: dict[str, MatcherOutput] = {}
        seen: list[tuple[Tensor, Tensor]] = []  # pictures, and the backbone's coarsest map of them

        def describe(pictures: Tensor) -> Columns:
            maps = self._maps(pictures)
            seen.append((pictures, maps[0]))
            return self.matcher.read(maps, (self.size, self.size))

        for name, weight, item in (
            ("warps", c.warps, batch.warps),
            ("web", c.web, batch.web),
            ("keypoints", c.keypoints, batch.keypoints),
        ):
            if item is None:
                continue
            columns = describe(item.source), describe(item.target)
            outputs[name] = output = self.matcher.relate(*columns)
            flow, mask = self._asked(item, output)
            parts.append((name, weight, end_point_error(output.flow, flow, mask)))
            figures[f"right_{name}"] = _share_right(output, flow, mask)
            if self.head is not None:
                parts.append(("contrastive", c.contrastive.weight, self._contrast(item, columns)))
        if self.discriminator is not None and batch.target is not None:
            ours = outputs.get("web") or outputs["warps"]
            theirs = self.matcher.relate(describe(batch.target.source), describe(batch.target.target))
            coefficient = scheduled_coefficient(progress) if c.coefficient == "rising" else 1.0
            loss = domain_loss(self.discriminator, ours.levels, theirs.levels, coefficient=coefficient)
            parts.append(("adversary", c.adversary, loss))
        if batch.cross is not None:
            views = describe(batch.cross.source_view), describe(batch.cross.target_view)
            loss, share = self._cross(batch.cross, self.matcher.relate(*views))
            # Weight 0 at first: computed all the same, so that the log and the draws do not change.
            parts.append(("cross", c.cross.weight if progress >= c.cross.begin else 0.0, loss))
            figures["believed"] = share
        if c.distillation > 0 or c.relation > 0:
            pictures, maps = (torch.cat(parts) for parts in zip(*seen, strict=True))
            wanted = self._taught(pictures, maps)
            if self.translate is not None:
                loss = (1 - F.cosine_similarity(self.translate(maps).float(), wanted, dim=1)).mean()
                parts.append(("distillation", c.distillation, loss))
            if c.relation > 0:
                parts.append(("relation", c.relation, relation_loss(maps, wanted, None)))
        total = torch.stack([weight * loss for _, weight, loss in parts]).sum()
        rights = [value for name, value in figures.items() if name.startswith("right_")]
        if rights:
            figures["right"] = sum(rights) / len(rights)
        for name in dict.fromkeys(name for name, _, _ in parts):
            losses = [float(loss.detach()) for other, _, loss in parts if other == name]
            figures[name] = sum(losses) / len(losses)
        return total, figures

    def _maps(self, pictures: Tensor) -> tuple[Tensor, ...]:
        """The backbone's maps of pictures uint8 (B, 3, S, S)."""
        maps: tuple[Tensor, ...] = self.matcher.hypercolumn(self.matcher.preprocess(pictures.permute(0, 2, 3, 1)))
        return maps

    def _asked(self, item: PairItem, output: MatcherOutput) -> tuple[Tensor, Tensor]:
        size = (self.size, self.size)
        flow, mask = keypoints_to_flow(
            item.source_xy,
            item.target_xy,
            output.target_grid,
            valid=item.valid,
            source_grid=output.source_grid,
            source_size=size,
            target_size=size,
            geometry=self.config.geometry,
        )
        return flow, published_mask(flow) & mask if self.config.geometry == "legacy" else mask

    @torch.no_grad()
    def follow(self) -> None:
        """The averaged matcher that teaches takes its step after the student; once an update."""
        for averaged, student in ((self.averaged, self.matcher), (self.averaged_head, self.head)):
            if averaged is not None and student is not None:
                follow(averaged, student, self.config.momentum)

    def _contrast(self, item: PairItem, columns: tuple[Columns, Columns]) -> Tensor:
        assert self.head is not None
        assert self.averaged is not None
        assert self.averaged_head is not None
        c = self.config.contrastive
        with torch.no_grad():
            known = tuple(_columns(self.averaged, each) for each in (item.source, item.target))
            refined = self.averaged.relate(*known).refined
            taught = tuple(self.averaged_head(each.matching) for each in known)
        mine = tuple(self.head(each.matching) for each in columns)
        return contrastive_loss(
            (mine[0], mine[1]),
            (taught[0], taught[1]),
            refined,
            item.source_xy / self.size,
            item.target_xy / self.size,
            item.valid,
            points=c.points,
            negatives=c.negatives,
            temperature=c.temperature,
        )

    def _cross(self, item: CrossItem, output: MatcherOutput) -> tuple[Tensor, float]:
        """The error against what the averaged matcher believes, and the share of the cells where it believes a thing.

        The averaged matcher sees the pictures as they are; where a match leads back to its cell it becomes a pair of
        points, which are moved into the changed views that the student sees.
        """
        c = self.config.cross
        source_xy, target_xy, sure = self.believed(item.source, item.target, c.tolerance, c.flip)
        moved = PairItem(
            item.source_view,
            item.target_view,
            _forward(item.source_back, source_xy),
            _forward(item.target_back, target_xy),
            sure,
        )
        inside = [((xy >= 0) & (xy <= self.size)).all(-1) for xy in (moved.source_xy, moved.target_xy)]
        flow, mask = self._asked(moved._replace(valid=sure & inside[0] & inside[1]), output)
        return end_point_error(output.flow, flow, mask), float(sure.float().mean())

    @torch.no_grad()
    def believed(self, source: Tensor, target: Tensor, tolerance: float, flip: bool) -> tuple[Tensor, Tensor, Tensor]:
        """Cycle-consistent matches of pictures uint8 (B, 3, S, S).

        Returns:
            Source points (B, N, 2) and target points (B, N, 2), raster pixels, one for each cell of the target, and
            bool (B, N): the match leads back to within ``tolerance`` sides. With ``flip`` a pair takes the matches of
            its mirrored target where more of those lead back: things that look the other way have their sides right.
        """
        relate, columns = self._labelling()
        ours = columns(source)
        plain = self._there_and_back(relate(ours, columns(target)), tolerance)
        if not flip:
            return plain
        mirrored = self._there_and_back(relate(ours, columns(target.flip(-1))), tolerance)
        turned = mirrored[1] * mirrored[1].new_tensor([-1.0, 1.0]) + mirrored[1].new_tensor([self.size, 0.0])
        better = mirrored[2].sum(1) > plain[2].sum(1)
        chosen = [
            torch.where(better.reshape(-1, *[1] * (a.ndim - 1)), b, a)
            for a, b in zip(plain, (mirrored[0], turned, mirrored[2]), strict=True)
        ]
        return chosen[0], chosen[1], chosen[2]

    def _labelling(self) -> tuple[Callable[[Any, Any], MatcherOutput], Callable[[Tensor], Any]]:
        """What makes the labels: how columns are related, and how pictures become columns."""
        if self._labeller is not None:
            return self._labeller.relate, self._labeller.describe
        assert self.averaged is not None
        return self.averaged.relate, partial(_columns, self.averaged)

    def _there_and_back(self, output: MatcherOutput, tolerance: float) -> tuple[Tensor, Tensor, Tensor]:
        size = (self.size, self.size)
        here = cell_centres(output.target_grid, size).flatten(0, 1).to(output.flow)  # (N, 2)
        step = self.size / here.new_tensor([output.source_grid[1], output.source_grid[0]])
        there = here + output.flow.flatten(2).transpose(1, 2) * step  # (B, N, 2)
        step_back = self.size / here.new_tensor([output.target_grid[1], output.target_grid[0]])
        back = torch.stack(
            [
                xy + sample_cells(flow, xy / self.size) * step_back
                for flow, xy in zip(output.reverse(), there, strict=True)
            ]
        )
        sure = (back - here).norm(dim=-1) <= tolerance * self.size
        return there, here.expand_as(there), sure

    @torch.no_grad()
    def _taught(self, pictures: Tensor, maps: Tensor) -> Tensor:
        """The teacher's maps of pictures on the cells of the backbone's, less their running average if asked."""
        assert self.teacher is not None
        lattice: Lattice = self.matcher.hypercolumn.lattices[0]
        wanted = self.teacher(pictures.permute(0, 2, 3, 1), lattice, (maps.shape[-2], maps.shape[-1]))
        if self.typical is None:
            return wanted
        here = wanted.mean(dim=(0, 2, 3))
        if self.training:
            begun = bool(self.typical.any())
            self.typical.copy_(self.typical.lerp(here, _AVERAGED) if begun else here)
        return wanted - self.typical[:, None, None]


class TeacherMatcher:
    """Pictures matched by a teacher's features and by what neighbours agree on: nothing in it learns.

    Args:
        teacher: gives the features.
        config: of the student: its grid for the pictures' size, its soft-argmax.
    """

    def __init__(self, teacher: Teacher, config: MatcherConfig) -> None:
        self.teacher, self.config = teacher, config
        self.consensus = Consensus(config.consensus or ConsensusConfig())

    def describe(self, pictures: Tensor) -> Tensor:
        """The teacher's maps (B, C, h, w) of pictures uint8 (B, 3, S, S), on the student's grid."""
        side = pictures.shape[-1]
        cells = max(1, round(side * self.config.grid / self.config.side))
        if side % cells:
            raise InputError(f"cross.labels: pictures of {side} pixels have no whole number in each of {cells} cells")
        step = side // cells
        return self.teacher(pictures.permute(0, 2, 3, 1), Lattice(step, step / 2), (cells, cells))

    def relate(self, source: Tensor, target: Tensor) -> MatcherOutput:
        """As :meth:`Matcher.relate`, of the teacher's maps."""
        source_grid, target_grid = ((each.shape[2], each.shape[3]) for each in (source, target))
        ours, theirs = (F.normalize(each.flatten(2), dim=1) for each in (source, target))
        correlation = mutual((ours.transpose(1, 2) @ theirs).clamp_min(0))
        refined, strength = self.consensus.with_strength(correlation, source_grid, target_grid)
        c = self.config
        flow = soft_argmax(refined, source_grid, target_grid, c.temperature, c.kernel)
        levels = refined[:, None]
        return MatcherOutput(flow, refined, strength, levels, source_grid, target_grid, c.temperature, c.kernel)


def _translation(mine: int, teachers: int) -> nn.Module:
    return nn.Identity() if mine == teachers else nn.Conv2d(mine, teachers, 1, bias=False)


def _columns(matcher: Matcher, pictures: Tensor) -> Columns:
    """Columns of pictures uint8 (B, 3, S, S)."""
    return matcher.describe(matcher.preprocess(pictures.permute(0, 2, 3, 1)))


def _forward(back: Tensor, xy: Tensor) -> Tensor:
    """Points (B, N, 2) of pictures in views whose way back are homographies (B, 3, 3)."""
    raised = F.pad(xy, (0, 1), value=1.0) @ torch.linalg.inv(back).transpose(1, 2)
    return raised[..., :2] / raised[..., 2:]


def _share_right(output: MatcherOutput, flow: Tensor, mask: Tensor) -> float:
    cells = output.source_grid
    scale = flow.new_tensor([1 / cells[1], 1 / cells[0]])[:, None, None]
    near = ((output.flow.detach().float() - flow) * scale).norm(dim=1) <= NEAR
    return float(near[mask].float().mean()) if mask.any() else 0.0
