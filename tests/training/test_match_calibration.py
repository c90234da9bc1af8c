"""What a matcher's confidence is fitted on: points that are there and points that are not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from samepoint.models.matcher import Matcher, MatcherConfig
from samepoint.training.match_calibration import matched
from samepoint.training.matching_config import load_matching_config
from samepoint.training.matching_data import Known
from samepoint.training.matching_task import MatchingTask, PairBatches
from tests.datasets import pair_trees

TINY = Path(__file__).resolve().parents[2] / "configs" / "tiny-matching.yaml"


def known_of(videos: Path, tmp_path: Path, count: int, *changes: str) -> list[Known]:
    quiet = [f"data.colours.{name}=0" for name in ("equalise", "solarise", "blur", "jitter", "grey")]
    asked = [f"output={tmp_path / 'run'}", f"data.cache={tmp_path / 'cache'}", f"data.videos={videos}"]
    batches = PairBatches(load_matching_config(TINY, [*asked, *quiet, *changes]), 64)
    assert batches.warped is not None
    return [batches.warped.known(index) for index in range(count)]


def test_points_of_the_source_are_there_or_not(videos: Path, tmp_path: Path) -> None:
    pairs = known_of(videos, tmp_path, 8, "data.warp.area=[0.3,0.5]")
    there = torch.cat([pair.there for pair in pairs])
    assert 0.1 < there.float().mean() < 0.9
    shown: list[list[np.ndarray]] = [[], []]
    for pair in pairs:
        inside = ((pair.target_xy >= 0) & (pair.target_xy <= 64)).all(dim=1)
        assert torch.equal(inside, pair.there)
        for values, picture, xy in zip(shown, pair[:2], pair[2:4], strict=True):
            x, y = xy[pair.there].clamp(max=63.9).long().T
            values.append(picture[:, y, x].flatten().numpy())
    assert np.corrcoef(*(np.concatenate(values) for values in shown))[0, 1] > 0.8
    again = known_of(videos, tmp_path, 1, "data.warp.area=[0.3,0.5]")[0]
    assert all(torch.equal(one, other) for one, other in zip(again, pairs[0], strict=True))


class Still(Matcher):
    """Finds every point where it was."""

    def carry(self, source, target, points, source_size, target_size):  # type: ignore[no-untyped-def]
        return points.clone(), torch.zeros(len(points), 5)


def test_right_is_what_is_there_and_near() -> None:
    picture = torch.zeros(3, 64, 64, dtype=torch.uint8)
    asked = torch.tensor([[10.0, 10], [20, 20], [30, 30], [40, 40]])
    moved = asked + torch.tensor([[0.0, 6], [0, 7], [0, 0], [0, 0]])
    pair = Known(picture, picture, asked, moved, torch.tensor([True, True, False, True]))
    matcher = Still(MatcherConfig.tiny()).eval()
    evidence, right = matched(matcher, [pair], 0.1)  # 6.4 pixels
    assert evidence.shape == (4, 5)
    assert right.tolist() == [True, False, False, True]
    assert matched(matcher, [pair], 0.1, points=2)[1].tolist() == [True, False]
    nothing = pair._replace(source_xy=asked[:0], target_xy=asked[:0], there=pair.there[:0])
    assert [len(each) for each in matched(matcher, [nothing], 0.1)] == [0, 0]


@pytest.mark.parametrize("weight", ["warps", "keypoints"])
def test_every_kind_of_run_fits_its_confidence(weight: str, videos: Path, tmp_path: Path) -> None:
    entries = [f"{index:06d}-a-b:cat" for index in range(1, 5)]
    root = pair_trees.spair(tmp_path / "spair", {"trn": entries})
    changes = ["data.videos=null", "validate_every=0", "loss.warps=0", "loss.keypoints=1"]
    changes += ["data.labelled={benchmark: spair-71k, root: %s}" % root]  # noqa: UP031
    if weight == "warps":
        changes = [f"data.videos={videos}"]
    asked = [f"output={tmp_path / 'run'}", f"data.cache={tmp_path / 'cache'}", "calibration.pairs=6"]
    # Half of the keypoints within it, so that there are right answers and wrong ones.
    task = MatchingTask(load_matching_config(TINY, [*asked, "calibration.tolerance=0.3", *changes]))
    (tmp_path / "run").mkdir()
    before = task.matcher.confidence.weight.clone()
    notes = task.finish()
    assert 0 < notes["calibration"]["correct"] < 1
    assert not torch.equal(task.matcher.confidence.weight, before)
