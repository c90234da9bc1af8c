"""What weight files say of their data and their licence."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from samepoint.models.matcher import Matcher, MatcherConfig
from samepoint.models.resnet import ResNet
from samepoint.models.weights import read_metadata, resolve, save_weights
from samepoint.training.config import TeacherConfig, load_config
from samepoint.training.matching_task import metadata_of
from samepoint.training.origins import Origin, origin_of, origin_of_teacher
from samepoint.training.recipes import metadata_of as features_metadata_of
from samepoint.training.teacher import load_teacher
from tests.training.test_matching import config
from tests.training.test_recipes import TINY

RESEARCH = "research use, as the data"


def said(tmp_path: Path, *changes: str) -> tuple[str, str]:
    found = metadata_of(config(tmp_path, "data.videos=a/my-videos", *changes))
    return found["data"], found["licence"]


@pytest.fixture
def cats(tmp_path: Path) -> Path:
    """A file as the conversion of a CATs checkpoint writes it."""
    return save_weights(
        Matcher(MatcherConfig.tiny()), tmp_path / "cats.safetensors", {"licence": "GPL-3.0", "title": "CATs, 2021"}
    )


def test_only_what_was_read_is_named(tmp_path: Path) -> None:
    spair, pascal = ("{benchmark: %s, root: x}" % name for name in ("spair-71k", "pf-pascal"))  # noqa: UP031 - braces
    all_there = ["data.collection=b/vids", f"data.labelled={spair}", f"data.target.pairs={pascal}"]
    assert said(tmp_path, *all_there) == ("my-videos", "Apache-2.0")
    assert said(tmp_path, *all_there, "loss.web=1") == ("my-videos, vids", "Apache-2.0")
    assert said(tmp_path, *all_there, "loss.warps=0", "loss.cross.weight=1") == ("vids", "Apache-2.0")
    assert said(tmp_path, *all_there, "loss.warps=0", "loss.keypoints=1") == ("spair-71k trn with keypoints", RESEARCH)
    expected = ("my-videos, pf-pascal trn without keypoints", RESEARCH)
    assert said(tmp_path, *all_there, "loss.adversary=1") == expected
    across = said(tmp_path, "data.collection=b/vids", "data.target.cross=true", "loss.adversary=1")
    assert across == ("my-videos, vids", "Apache-2.0")


def test_what_it_began_with_is_inherited(cats: Path, tmp_path: Path) -> None:
    assert said(tmp_path, f"init={cats}") == ("my-videos; init cats.safetensors: CATs, 2021", "GPL-3.0")
    labelled = ["loss.keypoints=1", "data.labelled={benchmark: spair-71k, root: x}"]
    data, licence = said(tmp_path, f"init={cats}", *labelled)
    assert licence == f"{RESEARCH}; GPL-3.0"
    again = save_weights(
        Matcher(MatcherConfig.tiny()), tmp_path / "again.safetensors", {"data": data, "licence": licence}
    )
    assert said(tmp_path, f"init={again}", *labelled)[1] == licence
    assert said(tmp_path, f"init={again}")[0].endswith("init again.safetensors: " + data)
    silent = save_weights(Matcher(MatcherConfig.tiny()), tmp_path / "silent.safetensors", {})
    assert said(tmp_path, f"init={silent}") == ("my-videos; init silent.safetensors: not stated", "none stated")


def test_a_backbone_counts_if_it_is_saved_inside(cats: Path, tmp_path: Path) -> None:
    assert said(tmp_path, f"backbone={cats}") == ("my-videos; backbone cats.safetensors: CATs, 2021", "GPL-3.0")
    assert said(tmp_path, f"backbone={cats}", "model.external=true") == ("my-videos", "Apache-2.0")
    base = read_metadata(resolve("samepoint-base"))["data"]
    found = said(tmp_path, "backbone=samepoint-base")
    assert found == (f"my-videos; backbone samepoint-base: {base}", "Apache-2.0")


def test_files_of_others_have_the_licence_of_their_release(tmp_path: Path) -> None:
    torch.save(ResNet(18, outputs=(3,)).state_dict(), tmp_path / "resnet18.pth")
    (origin,) = origin_of("backbone", str(tmp_path / "resnet18.pth"))
    assert origin.licence == "BSD-3-Clause"
    assert "torchvision" in origin.data
    assert origin_of("backbone", None) == origin_of("backbone", "fgvc-untrained") == []


def test_a_teacher_counts_where_it_is_asked(cats: Path, tmp_path: Path) -> None:
    base = read_metadata(resolve("samepoint-base"))["data"]
    taught = [f"output={tmp_path}", "teacher.model=samepoint-base"]
    rendered = "rendered clips of procedural textures"
    found = features_metadata_of(load_config(TINY, taught))
    assert found["data"] == f"{rendered}; teacher samepoint-base: {base}"
    assert features_metadata_of(load_config(TINY, [*taught, "loss.soft_targets.weight=0"]))["data"] == rendered
    both = ["loss.distillation=1", f"teacher.model={cats}", "init=samepoint-base"]
    assert said(tmp_path, *both) == (
        f"my-videos; init samepoint-base: {base}; teacher cats.safetensors: CATs, 2021",
        "GPL-3.0",
    )
    assert said(tmp_path, f"teacher.model={cats}") == ("my-videos", "Apache-2.0")


def test_of_a_training_s_checkpoint_the_teacher_in_it_counts(tmp_path: Path) -> None:
    tensors = ResNet.fgvc().state_dict()
    both = {f"{part}.{name}": value for part in ("backbone", "teacher.backbone") for name, value in tensors.items()}
    torch.save({"state_dict": both}, tmp_path / "epoch.pth")
    teacher = TeacherConfig(model=str(tmp_path / "epoch.pth"))
    assert load_teacher(teacher) is not None
    (origin,) = origin_of_teacher(teacher)
    assert origin.data.startswith("teacher epoch.pth: ")
    assert "not stated" not in origin.data


def test_a_teacher_of_the_hub_has_its_name_there(cats: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("samepoint.models.hub.download", lambda repository, file=None: cats)
    for file in (None, "cats.safetensors"):
        assert origin_of_teacher(TeacherConfig(model="owner/name", file=file)) == [
            Origin("teacher owner/name: CATs, 2021", "GPL-3.0")
        ]


def test_where_the_run_lay_is_no_part_of_what_was_trained(tmp_path: Path) -> None:
    assert "output" not in metadata_of(config(tmp_path))["training"]
    assert "output" not in features_metadata_of(load_config(TINY, [f"output={tmp_path}"]))["training"]


def test_features_inherit_too(cats: Path, tmp_path: Path) -> None:
    found = features_metadata_of(load_config(TINY, [f"output={tmp_path}", f"init={cats}"]))
    assert found["licence"] == "GPL-3.0"
    assert found["data"] == "rendered clips of procedural textures; init cats.safetensors: CATs, 2021"
