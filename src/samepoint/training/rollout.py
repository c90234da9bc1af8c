"""The tracker's own step on rendered clips, so that the refiner learns from the mistakes that it makes itself."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..models.network import PointNetwork
from ..models.refiner import Context, Estimate
from ..tracking.nearby import NearbyPropagation
from ..tracking.refined import RefineSettings
from ..tracking.search import GUIDE, SEARCH, candidates, centres
from .config import LossConfig
from .data import TrainingBatch
from .losses import refinement_loss

_CPU = torch.device("cpu")  # all draws are made there: the same numbers on any device


def follow(
    network: PointNetwork, maps: Sequence[Tensor], batch: TrainingBatch, config: LossConfig
) -> tuple[Tensor, dict[str, float]]:
    """Follow the batch's points through their clips; each frame starts where the last one ended.

    ``maps`` are the channels-last descriptors (C * T, h, w, channels) of all frames. Most guesses come from label
    propagation, as in use; some are the last place or the best coarse cell, for the refiner must recover from both.

    Returns:
        The mean loss a frame, and figures for the log: ``refinement`` (the same), ``error`` (median pixels of visible
        points), ``inside`` (share of them within 4 pixels), ``found`` (accuracy of the visibility); with recovery
        ``recovered`` and ``mistaken``: lost points a frame and clip that were believed found again, rightly or not.
    """
    refiner, clips, times = network.refiner, len(batch.frames), batch.frames.shape[1]
    # One slice a frame: else every gather would hand back a gradient the size of all maps.
    frames = list(zip(*(level.unflatten(0, (clips, times)).unbind(1) for level in maps), strict=True))
    guides = _guides(network, frames[0], batch)
    xy = batch.xy[:, 0]
    query = recent = refiner.templates(frames[0], xy, batch.clip)
    motion, state = torch.zeros_like(xy), xy.new_zeros((len(xy), refiner.state_size))
    seen = torch.ones_like(batch.clip, dtype=torch.bool)
    losses, errors, found = [], [], []
    recoveries = [torch.zeros(2, dtype=torch.long, device=xy.device)] if config.recovery > 0 else []
    for time in range(1, times):
        now, truth, visible = frames[time], batch.xy[:, time], batch.visible[:, time]
        with torch.no_grad():
            steps = [guide.step(now[GUIDE][clip].detach(), xy[batch.clip == clip]) for clip, guide in enumerate(guides)]
        guess, mass = (torch.cat(parts) for parts in zip(*steps, strict=True))
        start = _start(network, query, now, batch.clip, guess, xy)
        context = Context(state, guess, mass, xy, motion)
        estimates, state = refiner(query, recent, now, start, context, batch.clip, config.iterations)
        losses.append(refinement_loss(estimates, truth, visible))
        place, logit = estimates[-1].xy.detach(), estimates[-1].visible.detach()
        if config.recovery > 0 and len(rows := _sought(seen, config.sought)):
            afresh, renewed = _look_again(network, query, now, batch.clip, rows, config.iterations)
            losses.append(config.recovery * refinement_loss(afresh, truth[rows], visible[rows]))
            anew, sure = afresh[-1].xy.detach(), afresh[-1].visible.detach()
            # As in use: a find counts where the track itself is lost and the find is believed.
            taken = (logit[rows] < 0) & (sure > 0.5)
            right = visible[rows] & ((anew - truth[rows]).norm(dim=1) < 8)
            recoveries.append(torch.stack([(taken & right).sum(), (taken & ~right).sum()]))
            place, logit = place.index_copy(0, rows[taken], anew[taken]), logit.index_copy(0, rows[taken], sure[taken])
            state = state.index_copy(0, rows[taken], renewed[taken])
        motion, xy = place - xy, place
        seen = logit > 0
        fresh = refiner.templates(now, _drifted(xy, config.drift), batch.clip)
        recent = tuple(torch.where(seen[:, None, None], new, old) for new, old in zip(fresh, recent, strict=True))
        for clip, guide in enumerate(guides):
            own = batch.clip == clip
            guide.correct(seen[own], xy[own])
        error = (xy - truth).norm(dim=1)
        errors.append(error[visible])
        found.append((seen == (visible & (error < 8))).float().mean())
    loss = torch.stack(losses).sum() / (times - 1)
    error = torch.cat(errors)
    figures = {
        "refinement": loss.item(),
        "error": error.median().item() if len(error) else 0.0,
        "inside": (error < 4).float().mean().item() if len(error) else 0.0,
        "found": torch.stack(found).mean().item(),
    }
    if recoveries:
        rightly, wrongly = (torch.stack(recoveries).sum(0) / ((times - 1) * clips)).tolist()
        figures |= {"recovered": rightly, "mistaken": wrongly}
    return loss, figures


def _guides(network: PointNetwork, first: Sequence[Tensor], batch: TrainingBatch) -> list[NearbyPropagation]:
    """One propagation a clip, started on its first frame."""
    settings, lattice = RefineSettings(), network.lattices[GUIDE]
    kind = first[GUIDE].device.type
    half = torch.is_autocast_enabled(kind) and torch.get_autocast_dtype(kind) == torch.bfloat16
    dtype = torch.bfloat16 if half else torch.float32  # the affinity knows no float16
    guides = []
    for clip, level in enumerate(first[GUIDE].detach()):
        sigma = settings.sigma / lattice.stride
        guides.append(
            NearbyPropagation(lattice, context=settings.context, radius=settings.radius, sigma=sigma, dtype=dtype)
        )
        guides[-1].start(level, batch.xy[batch.clip == clip, 0])
    return guides


def _start(
    network: PointNetwork,
    query: Sequence[Tensor],
    maps: Sequence[Tensor],
    clip: Tensor,
    guess: Tensor,
    before: Tensor,
) -> Tensor:
    """Where each point's refinement starts: the propagated place (0.8), the best coarse cell or the last place."""
    level, lattice = maps[SEARCH].detach(), network.lattices[SEARCH]
    looks = query[SEARCH].detach()[:, query[SEARCH].shape[1] // 2]
    scores = torch.einsum("nc,nkc->nk", looks, level.flatten(1, 2)[clip])
    coarse = centres(lattice, level[0])[scores.argmax(dim=1)]
    draw = torch.rand(len(guess), 1, device=_CPU).to(guess.device)
    return torch.where(draw < 0.8, guess, torch.where(draw < 0.9, coarse, before))


def _sought(seen: Tensor, share: float) -> Tensor:
    """Rows (M,) of the points that are looked for in the whole picture: half of the lost, and a share of the others."""
    draw = torch.rand(len(seen), device=_CPU).to(seen.device)
    return torch.nonzero(torch.where(seen, draw < share, draw < 0.5))[:, 0]


def _look_again(
    network: PointNetwork, query: Sequence[Tensor], maps: Sequence[Tensor], clip: Tensor, rows: Tensor, iterations: int
) -> tuple[list[Estimate], Tensor]:
    """Refine points as if they began at the cell most like them (0.7) or at one of the next three."""
    looks = tuple(level[rows] for level in query)
    best = candidates(network.lattices, _detached(looks), _detached(maps), clip[rows], 4)
    first = torch.rand(len(rows), device=_CPU) < 0.6
    rank = torch.where(first, 0, torch.randint(0, 4, (len(rows),), device=_CPU)).to(best.device)
    start = best[torch.arange(len(rows), device=best.device), rank]
    start = start + 2 * torch.randn(start.shape, device=_CPU).to(start)
    blank = start.new_zeros((len(rows), network.refiner.state_size))
    context = Context(blank, start, start.new_ones(len(rows)), start, torch.zeros_like(start))
    return network.refiner(looks, looks, maps, start, context, clip[rows], iterations)


def _detached(maps: Sequence[Tensor]) -> list[Tensor]:
    return [level.detach() for level in maps]


def _drifted(xy: Tensor, share: float) -> Tensor:
    """A share of the places moved by up to a few pixels: what a long video does to what was last seen."""
    off = torch.randn(xy.shape, device=_CPU) * torch.exp(torch.empty(len(xy), 1, device=_CPU).uniform_(-1.5, 1.0))
    moved = torch.rand(len(xy), 1, device=_CPU) < share
    return xy + (off * moved).to(xy)
