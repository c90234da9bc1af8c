"""Which network a result and its predictions name: all that decides what the network computes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from huggingface_hub import close_session
from safetensors.torch import save_file

from samepoint.evaluation.benchmarks.base import Model
from samepoint.models.weights import sha256
from tests.models.hub_server import Hub, isolate, serve


@pytest.fixture
def backbone(tmp_path: Path) -> Path:
    """The files of a backbone of transformers, its weights in two parts."""
    folder = tmp_path / "vit"
    folder.mkdir()
    for part in (1, 2):
        save_file({f"part{part}": torch.ones(2)}, folder / f"model-{part:05d}-of-00002.safetensors")
    (folder / "config.json").write_text("{}")
    return folder


@pytest.mark.parametrize("changed", ["model-00002-of-00002.safetensors", "config.json", "preprocessor_config.json"])
def test_every_file_of_a_backbone_of_transformers_counts(backbone: Path, changed: str) -> None:
    before = Model(f"hf:{backbone}").identity
    assert Model(f"hf:{backbone}").identity == before
    assert before.name == f"hf:{backbone}"
    (backbone / changed).write_bytes(b"something else")
    assert Model(f"hf:{backbone}").identity.sha256 != before.sha256


def test_a_file_is_called_by_its_name_and_a_repository_by_its_own(
    weights: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = Model(weights).identity
    assert (file.name, file.sha256) == ("tiny.safetensors", sha256(Path(weights)))
    hub = Hub()
    hub.repositories["owner/tiny"] = {"model.safetensors": Path(weights).read_bytes()}
    with serve(hub) as address:
        isolate(monkeypatch, tmp_path, address)
        assert Model("owner/tiny").identity == file._replace(name="owner/tiny")
        close_session()
