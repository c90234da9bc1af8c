"""Pairs of pictures by a matcher, and by an untrained one around any network: predicted, scored and told apart."""

from pathlib import Path

import pytest
import torch

from samepoint.evaluation.result_file import read_result
from samepoint.models.matcher import Matcher, MatcherConfig
from samepoint.models.vit import VisionTransformer
from samepoint.models.weights import save_weights
from tests.evaluation import benchmark_trees
from tests.evaluation.commands import refused, run


@pytest.mark.parametrize("benchmark", ["pf-willow", "spair-71k"])
def test_a_matcher_is_a_model(tmp_path: Path, benchmark: str) -> None:
    root = benchmark_trees.make(tmp_path / "root", benchmark)
    torch.manual_seed(0)
    model = save_weights(Matcher(MatcherConfig.tiny()), tmp_path / "matcher.safetensors", {})
    result = run(benchmark, root, tmp_path / "out.json", "--model", str(model))
    assert result["settings"]["pairs"]["name"] == "samepoint"
    assert "grid" not in result["settings"]["pairs"]
    assert result["settings"]["pairs"]["side"] == 64
    assert read_result(tmp_path / "out.json").input == "area 64 x 64"
    assert any(key.startswith("PCK@0.1") and value is not None for key, value in result["metrics"].items())


def test_neighbours_decide_together_whatever_the_network(tmp_path: Path) -> None:
    root = benchmark_trees.make(tmp_path / "root", "pf-willow")
    torch.manual_seed(0)
    vit = tmp_path / "vit.pth"
    torch.save(VisionTransformer(64, 4, 1, 64, 8, 4, True, (2,)).state_dict(), vit)
    model = ("--model", str(vit))
    alone = run("pf-willow", root, tmp_path / "alone.json", *model)
    together = run("pf-willow", root, tmp_path / "together.json", *model, "--protocol", "consensus")
    assert (alone["settings"]["pairs"]["name"], together["settings"]["pairs"]["name"]) == ("samepoint", "consensus")
    assert "grid" in alone["settings"]["pairs"]


def test_what_cannot_match_is_refused_before_anything_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = benchmark_trees.make(tmp_path / "root", "pf-willow")
    config = MatcherConfig.tiny().model_copy(update={"external": True, "frozen": True})
    bare = save_weights(Matcher(config), tmp_path / "bare.safetensors", {})
    asked = ("pf-willow", "--root", root, "-o", tmp_path / "out.json", "--model")
    assert "its file leaves the backbone out; give it with --backbone" in refused(capsys, *asked, bare)
    said = refused(capsys, *asked, "fgvc-untrained", "--protocol", "consensus")
    assert "a matcher takes a vision transformer or a point network, got ResNet" in said
    said = refused(capsys, *asked, "fgvc-untrained", "--backbone", "fgvc-untrained")
    assert "only a matcher that leaves it out takes one" in said
    assert not (tmp_path / "out.predictions").exists()


def test_consensus_is_for_pictures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = benchmark_trees.make(tmp_path / "root", "badja")
    said = refused(capsys, "badja", "--root", root, "-o", tmp_path / "out.json", "--protocol", "consensus")
    assert "--protocol consensus: unknown for badja" in said
