"""The example that tracks with numpy and ONNX Runtime alone: the same tracks as label propagation in PyTorch."""

from __future__ import annotations

import csv
import io
import runpy
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from samepoint.correspondence import Window
from samepoint.datasets.synthetic import Clip, ClipSettings, SyntheticClips
from samepoint.export import Exported
from samepoint.models.network import PointNetwork
from samepoint.structures import Queries
from samepoint.tracking import PointTracker, PropagatedPoints, PropagationSettings
from samepoint.viz.writer import VideoWriter
from tests.export.conftest import STEP

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "track_onnx.py"


@pytest.fixture(scope="module")
def clip() -> Clip:
    return SyntheticClips(ClipSettings(frames=6, size=(96, 128), speed=(0.02, 3.0)), seed=5).clip(0)


@pytest.fixture(scope="module")
def example() -> dict[str, Any]:
    return runpy.run_path(str(EXAMPLE))


def session(part: Exported) -> Any:
    return pytest.importorskip("onnxruntime").InferenceSession(part.path, providers=["CPUExecutionProvider"])


def test_tracks_are_those_of_pytorch(
    clip: Clip, example: dict[str, Any], encoder: Exported, step: Exported, tiny: PointNetwork
) -> None:
    points = clip.sample_points(np.random.default_rng(0), 12)
    found = list(example["track"](clip.frames, points, session(encoder), session(step)))
    xy = np.stack([each for each, _ in found], axis=1)
    settings = PropagationSettings(context=STEP.context, window=Window.circle(STEP.window), topk=STEP.topk, level=2)
    method = PropagatedPoints(tiny.lattices, settings)
    tracker = PointTracker(tiny, method=method, short_side=None, dtype=torch.float32)
    tracker.add(Queries.at(points))
    states = [tracker.step(frame) for frame in clip.frames]
    np.testing.assert_allclose(xy, np.stack([state.xy for state in states], axis=1), atol=0.05)
    heights = np.stack([height for _, height in found], axis=1)
    np.testing.assert_allclose(heights, np.stack([state.confidence for state in states], axis=1), atol=0.01)
    assert np.abs(np.diff(xy, axis=1)).max() > 0.1  # nothing would agree so well as points that never move


def test_it_reads_a_video_and_prints_tracks(
    clip: Clip,
    encoder: Exported,
    step: Exported,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with VideoWriter(tmp_path / "clip.mp4", 25.0) as writer:
        for frame in clip.frames:
            writer.write(frame)
    words = [str(EXAMPLE), str(tmp_path / "clip.mp4"), encoder.path, step.path, "40,30", "64.5,50"]
    monkeypatch.setattr(sys, "argv", words)
    runpy.run_path(str(EXAMPLE), run_name="__main__")
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert len(rows) == 2 * len(clip.frames)
    assert [float(rows[1][key]) for key in ("frame", "x", "y", "height")] == [0, 64.5, 50, 1]
    assert all(0 <= float(row["x"]) <= 128 and 0 <= float(row["y"]) <= 96 for row in rows)
