"""The Hub, against a stand-in of it on the loopback and against its cache's layout on disk."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from huggingface_hub import constants

import samepoint as sp
from samepoint.errors import InputError
from samepoint.models.features import load_features
from samepoint.models.hub import HubModel, download, is_repository, model_card
from samepoint.models.matcher import Matcher, MatcherConfig
from samepoint.models.network import NetworkConfig, PointNetwork
from samepoint.models.vit import VisionTransformer
from samepoint.models.weights import save_weights
from tests.models.hub_server import COMMIT, Hub

TINY = NetworkConfig(stem=8, widths=(8, 8, 8), blocks=1, pyramid=8, descriptors=(8, 8, 8, 8), hidden=8, state=4)
ABOUT = {"licence": "Apache-2.0", "data": "rendered clips", "training": {"steps": 3}, "precision": "float32"}


@pytest.fixture
def network() -> PointNetwork:
    torch.manual_seed(0)
    return PointNetwork(TINY).eval()


@pytest.fixture
def weights(network: PointNetwork, tmp_path: Path) -> Path:
    return save_weights(network, tmp_path / "tiny.safetensors", ABOUT)


def same(first: torch.nn.Module, second: torch.nn.Module) -> bool:
    ours, theirs = first.state_dict(), second.state_dict()
    return list(ours) == list(theirs) and all(torch.equal(ours[key], theirs[key]) for key in ours)


def test_pushed_and_loaded_again_by_name(hub: Hub, weights: Path, network: PointNetwork) -> None:
    address = HubModel.load(weights).push_to_hub("me/tiny", private=False)
    assert address.endswith("/me/tiny") or "/me/tiny/commit/" in address
    files = hub.repositories["me/tiny"]
    assert {"model.safetensors", "config.json", "README.md"} <= set(files)
    assert json.loads(files["config.json"])["config"]["stem"] == 8
    card = files["README.md"].decode()
    assert "license: apache-2.0" in card
    assert "library_name: samepoint" in card
    assert 'model="me/tiny"' in card
    assert "| data | rendered clips |" in card
    assert same(HubModel.from_pretrained("me/tiny").network, network)
    assert same(sp.load_model("me/tiny"), network)
    loaded = load_features("me/tiny")
    assert loaded.identity()["name"] == "me/tiny"
    tracker = sp.PointTracker.from_pretrained("me/tiny", short_side=None)
    tracker.add(sp.Queries.at([(20, 20)]))
    assert tracker.step(np.zeros((48, 64, 3), np.uint8)).xy.tolist() == [[20, 20]]


def test_offline_the_cache_serves(
    hub: Hub, weights: Path, network: PointNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.repositories["me/tiny"] = {"model.safetensors": weights.read_bytes()}
    sp.load_model("me/tiny")
    hub.asked.clear()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert same(sp.load_model("me/tiny"), network)
    assert same(HubModel.from_pretrained("me/tiny").network, network)
    with pytest.raises(InputError, match="me/other: no file, and cannot be had from the Hub"):
        sp.load_model("me/other")
    assert hub.asked == []


def test_offline_the_only_weight_file_of_the_cache_serves(
    hub: Hub, weights: Path, network: PointNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.repositories["me/named"] = {"README.md": b"", "named.safetensors": weights.read_bytes()}
    hub.repositories["me/card"] = {"README.md": b"", "named.safetensors": b""}
    sp.load_model("me/named")
    download("me/card", "README.md")
    hub.asked.clear()
    assert download("me/named", local_only=True).name == "named.safetensors"
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert same(sp.load_model("me/named"), network)
    with pytest.raises(InputError, match="me/card in the cache has no weight file"):
        sp.load_model("me/card")
    with pytest.raises(InputError, match="me/named: no file, and cannot be had from the Hub"):
        download("me/named", "model.safetensors")
    assert hub.asked == []


def test_a_cache_laid_out_by_others(
    hub: Hub, weights: Path, network: PointNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(constants.HF_HUB_CACHE) / "models--owner--name"
    for part in ("refs", "blobs", f"snapshots/{COMMIT}"):
        (folder / part).mkdir(parents=True)
    (folder / "refs" / "main").write_text(COMMIT)
    (folder / "blobs" / "abc").write_bytes(weights.read_bytes())
    (folder / "snapshots" / COMMIT / "model.safetensors").symlink_to(folder / "blobs" / "abc")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert same(sp.load_model("owner/name"), network)
    assert download("owner/name", local_only=True).name == "model.safetensors"
    assert hub.asked == []


def test_what_is_on_the_disk_is_not_asked_for(
    hub: Hub, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "last").write_bytes(weights.read_bytes())
    assert not is_repository("runs/last")
    sp.load_model("runs/last")
    for name in ("nowhere", "runs/nowhere.pth", "a/b/c", "runs/"):
        with pytest.raises(InputError, match="neither a known name nor a file"):
            sp.load_model(name)
    assert hub.asked == []


def test_files_of_others(hub: Hub, tmp_path: Path) -> None:
    torch.manual_seed(0)
    torch.save(VisionTransformer(width=64, depth=2, heads=1, hidden=64, grid=4).state_dict(), tmp_path / "vit.pth")
    file = (tmp_path / "vit.pth").read_bytes()
    hub.repositories["owner/vit"] = {"README.md": b"", "vit.pth": file}
    assert load_features("owner/vit").network.channels == (64,)
    hub.repositories["owner/two"] = {"a.pth": file, "b.pth": file}
    with pytest.raises(InputError, match=r"owner/two has 2 weight files; name one of them \(a\.pth, b\.pth\)"):
        load_features("owner/two")
    assert download("owner/two", "b.pth").read_bytes() == file
    hub.repositories["owner/none"] = {"README.md": b""}
    with pytest.raises(InputError, match="owner/none has no weight file"):
        load_features("owner/none")
    with pytest.raises(InputError, match="cannot be had from the Hub"):
        download("owner/two", "c.pth")


def test_a_repository_that_is_not_there(hub: Hub) -> None:
    with pytest.raises(InputError, match="owner/nothing: no file, and cannot be had from the Hub") as caught:
        sp.load_model("owner/nothing")
    assert "\n" not in str(caught.value)


def test_a_folder(weights: Path, network: PointNetwork, tmp_path: Path) -> None:
    HubModel.load(weights).save_pretrained(tmp_path / "saved")
    assert {path.name for path in (tmp_path / "saved").iterdir()} == {"model.safetensors", "config.json", "README.md"}
    again = HubModel.from_pretrained(tmp_path / "saved")
    assert same(again.network, network)
    assert again.metadata["training"] == {"steps": 3}
    assert again.metadata["data"] == "rendered clips"


def test_a_card_says_only_what_is_known() -> None:
    card = model_card(Matcher(MatcherConfig.tiny()), {})
    assert card.data.license == "other"
    assert card.data.library_name == "samepoint"
    assert "sp.match(" in card.content
    assert "## Training" not in card.content
    assert "| licence | unknown |" in card.content
    assert card.data.tags is not None
    assert "Matcher" in card.data.tags
    assert model_card(PointNetwork(TINY), {"licence": "research only"}).data.license_name == "see-below"
