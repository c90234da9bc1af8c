"""Where a position is read: half a pixel off as published, nowhere off in ours, on rendered clips of known motion."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from samepoint.datasets.synthetic import ClipSettings, SyntheticClips
from samepoint.geometry import Lattice
from samepoint.tracking import PropagatedPoints, PropagationSettings

SIDE = 127  # odd, so that the cells at 0.5, 2.5, ... 126.5 are their own mirror image
SETTINGS = ClipSettings.clean(
    frames=6, size=(SIDE, SIDE), layers=(0, 0), speed=(0.3, 0.8), static=0.0, rotation=0.01, zoom=0.005, nonrigid=0.05
)


def surroundings(frames: np.ndarray, radius: int = 4) -> Tensor:
    """The picture around each cell at stride 2 less its mean, (T, C, 64, 64): cosine is correlation."""
    pixels = F.pad(torch.from_numpy(frames).float().permute(0, 3, 1, 2), (radius,) * 4, mode="reflect")
    cells = F.unfold(pixels, 2 * radius + 1, stride=2).unflatten(2, (SIDE // 2 + 1, SIDE // 2 + 1))
    return cells - cells.mean(dim=1, keepdim=True)


def errors(frames: np.ndarray, truth: np.ndarray) -> dict[str, np.ndarray]:
    """Position less truth, (N, T - 1, 2), by way of reading the same label maps; points start at their truth."""
    published = PropagatedPoints((Lattice(2),), PropagationSettings(read_out="published"))
    ours = PropagatedPoints((Lattice(2),), PropagationSettings(read_out="peak"))
    maps = [(level.permute(1, 2, 0)[None],) for level in surroundings(frames)]
    published.add(maps[0], torch.from_numpy(truth[:, 0]))
    found: dict[str, list[Tensor]] = {"published": [], "peak": []}
    for each in maps[1:]:
        found["published"].append(published.step(each)[0])
        found["peak"].append(ours.read(published.groups[0].recent[-1][1])[0])
    return {name: torch.stack(xy, dim=1).numpy() - truth[:, 1:] for name, xy in found.items()}


@pytest.mark.parametrize("index", range(3))
def test_only_the_published_read_out_is_biased(index: int) -> None:
    """Mean signed error over a clip and the same clip upside down.

    What the matching loses along the motion changes its sign when the picture is turned; what the read-out adds does
    not.
    """
    clip = SyntheticClips(SETTINGS, seed=0).clip(index)
    start = np.random.default_rng(index).uniform(24, SIDE - 24, (60, 2)).astype(np.float32)
    truth, visible = clip.tracks(start, 0)
    assert visible.all()
    step = np.abs(np.diff(truth, axis=1))
    assert 0.02 < step.max() < 1  # by parts of a pixel, and not standing
    upright = errors(clip.frames, truth)
    turned = errors(clip.frames[:, ::-1, ::-1].copy(), SIDE - truth)
    bias = {name: np.mean([upright[name], turned[name]], axis=(0, 1, 2)) for name in upright}
    assert np.abs(bias["peak"]).max() < 0.02
    np.testing.assert_allclose(bias["published"], 0.5, atol=0.02)
