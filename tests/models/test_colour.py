"""Colours as networks read them."""

from __future__ import annotations

import pytest
import torch

from samepoint.models.colour import lab_to_rgb, normalise, rgb_to_lab


def test_colours_there_and_back() -> None:
    rgb = torch.rand(500, 3, dtype=torch.float64)
    torch.testing.assert_close(lab_to_rgb(rgb_to_lab(rgb)), rgb, atol=1e-4, rtol=0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_colours_are_exact_under_autocast(dtype: torch.dtype) -> None:
    rgb, frames = torch.rand(500, 3), torch.randint(0, 256, (1, 8, 9, 3), dtype=torch.uint8)
    lab = rgb_to_lab(rgb)
    exact = lab, lab_to_rgb(lab), normalise(frames, "lab")
    with torch.autocast("cpu", dtype=dtype):
        found = rgb_to_lab(rgb), lab_to_rgb(lab), normalise(frames, "lab")
    assert all(torch.equal(one, other) for one, other in zip(found, exact, strict=True))
