"""ResNets of others: golden checkpoints through converted files, and what their names mean."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from samepoint.errors import InputError
from samepoint.models.convert.file import convert_file
from samepoint.models.convert.kind import Choices
from samepoint.models.convert.table import KINDS, convert, recognise
from samepoint.models.features import load_features
from samepoint.models.resnet import ResNet
from samepoint.models.weights import load_model, read_metadata
from tests.models.convert.published import as_fgvc, expected, golden, random_resnet, training_file


def resnet(tensors: dict[str, Tensor], kind: str, choices: Choices | None = None) -> ResNet:
    network = convert(tensors, kind, "x.pth", choices).network
    assert isinstance(network, ResNet)
    return network


@pytest.mark.parametrize("old", [False, True])
def test_fgvcs_golden_features_come_from_a_converted_file(tmp_path: Path, old: bool) -> None:
    source = training_file(tmp_path / "fgvc.pth", golden("fgvc_resnet18"), old=old)
    done = convert_file(source, tmp_path / "fgvc.safetensors", "fgvc")
    assert done.ignored == {"a counter of training steps": 1, "past the last output, stage 3": 30}
    values = expected("fgvc_resnet18")
    lab = torch.from_numpy(values["input_lab"])[:2].permute(0, 3, 1, 2)
    network = load_model(done.output)
    assert isinstance(network, ResNet)
    assert (network.lattices[0].stride, network.channels, network.colour) == (2, (256,), "lab")
    with torch.inference_mode():
        features = network.features(lab)[0].numpy()
    assert np.abs(features - values["features"]).max() <= 1e-4 * np.abs(values["features"]).max()


@pytest.mark.parametrize("wrapped", [False, True])
def test_crws_golden_features_and_matches_come_from_a_converted_file(tmp_path: Path, wrapped: bool) -> None:
    tensors = golden("crw_resnet18")
    if wrapped:  # as older files hold padded convolutions, and what stands beside the encoder
        tensors = {_wrapped(key): value for key, value in tensors.items()}
        head = {"selfsim_fc.0.weight": torch.zeros(128, 512), "selfsim_fc.0.bias": torch.zeros(128)}
        tensors |= head | {"encoder.model.layer4.0.conv1.1.weight": torch.zeros(512, 256, 3, 3)}
    source = training_file(tmp_path / "crw.pth", tensors, under="model")
    done = convert_file(source, tmp_path / "crw.safetensors", "crw")
    assert set(done.fitted.ignored) == set(tensors) - set(done.fitted.mapped)
    assert len(done.fitted.ignored) == (3 if wrapped else 0)
    values = expected("crw_resnet18")
    network = load_model(done.output)
    assert isinstance(network, ResNet)
    assert (network.lattices[0].stride, network.padding, network.strides) == (8, "reflect", (1, 2, 1, 1))
    with torch.inference_mode():
        features = network.features(network.preprocess(torch.from_numpy(values["frames_rgb"])))[0]
    assert (features - torch.from_numpy(values["features"])).abs().max() <= 1e-4 * np.abs(values["features"]).max()

    wide = F.normalize(F.interpolate(features, (64, 64), mode="bilinear", align_corners=True), dim=1).flatten(2)
    cosines = wide[1].T @ wide[0]  # cell of frame 1, cell of frame 0
    published = torch.from_numpy(values["nearest_source"]).flatten().long()[:, None]
    best = cosines.amax(dim=1)
    assert (best - cosines.gather(1, published)[:, 0]).max() <= 1e-5
    assert (cosines.argmax(dim=1) == published[:, 0]).float().mean() > 0.999


def _wrapped(key: str) -> str:
    parts = key.split(".")
    return ".".join([*parts[:-1], "1", parts[-1]]) if parts[-2] in ("conv1", "conv2") else key


def test_a_converted_file_knows_where_it_came_from_and_what_it_is_fed(tmp_path: Path) -> None:
    source = training_file(tmp_path / "fgvc.pth", as_fgvc(random_resnet()))
    output = convert_file(source, tmp_path / "out.safetensors", "fgvc", origin="https://a.b/c").output
    said = read_metadata(output)
    assert said["source"] | {"sha256": 64} == {
        "file": "fgvc.pth",
        "bytes": source.stat().st_size,
        "sha256": 64,
        "origin": "https://a.b/c",
    }
    assert said["licence"] == "MIT"
    assert said["input"] | {"units": 0} == {"colour": "lab", "units": 0, "mean": [50, 0, 0], "std": [50, 127, 127]}
    assert (said["config"]["strides"], said["config"]["padding"]) == ([1, 1, 1, 4], "zeros")
    assert said["left"] == ["args", "best_score", "lr_scheduler", "meta", "optimizer"]
    loaded = load_features(output)
    assert loaded.identity()["outputs"] == [3]
    # Not rounded: what is in the file is what was in the source.
    tensors = random_resnet()
    for key, value in loaded.network.state_dict().items():
        assert torch.equal(value, tensors[key])


@pytest.mark.parametrize(("depth", "strides"), [(18, (4, 8)), (50, (4, 8))])
def test_spa_then_temps_stages_lie_at_strides_4_and_8(depth: int, strides: tuple[int, int]) -> None:
    network = resnet(as_fgvc(random_resnet(depth)), "spa-then-temp", Choices((2, 3)))
    assert [lattice.stride for lattice in network.lattices] == [8, 4]
    assert (network.colour, network.pool) == ("lab", False)
    x = torch.zeros(1, 3, 32, 48)
    assert [tuple(level.shape[2:]) for level in network.features(x)] == [(4, 6), (8, 12)]


@pytest.mark.parametrize("kind", ["torchvision", "timm"])
@pytest.mark.parametrize("depth", [18, 34, 50, 101])
def test_torchvisions_names_are_ours(kind: str, depth: int) -> None:
    tensors = random_resnet(depth, outputs=(3,))
    network = resnet(tensors, kind, Choices((2,)))
    assert (network.depth, network.outputs, network.colour, network.pool) == (depth, (2,), "rgb", True)
    for key, value in network.state_dict().items():
        assert torch.equal(value, tensors[key])


@pytest.mark.parametrize("prefix", ["", "module.", "backbone.", "module.backbone.", "encoder.", "backbone_fine."])
def test_prefixes_are_taken_off(prefix: str) -> None:
    inner = as_fgvc(random_resnet(), "")
    others = {"teacher.conv1.conv.weight": torch.zeros(1), "corr_discriminator.cls_layer.1.bias": torch.zeros(2)}
    done = convert({prefix + key: value for key, value in inner.items()} | others, "fgvc", "x.pth")
    assert all(done.mapped[prefix + key] for key in inner if not key.startswith("layer4."))
    assert {done.ignored[key] for key in others} == {
        "the teacher of the training, never part of the encoder",
        "the adversary of the training",
    }


def test_weights_that_are_there_twice_are_not_guessed_at() -> None:
    inner = as_fgvc(random_resnet(), "")
    both = {prefix + key: value for key, value in inner.items() for prefix in ("backbone.", "encoder.")}
    with pytest.raises(InputError, match=r"x\.pth: holds weights of fgvc behind each of 'backbone\.', 'encoder\.'"):
        convert(both, "fgvc", "x.pth")
    parallel = inner | {f"module.{key}": value for key, value in inner.items()}
    with pytest.raises(InputError, match=r"x\.pth: holds the same names with and without module\."):
        convert(parallel, "fgvc", "x.pth")


def test_both_sides_are_listed_where_names_do_not_fit() -> None:
    tensors = as_fgvc(random_resnet())
    del tensors["backbone.layer2.0.conv1.bn.bias"]
    tensors["backbone.layer2.0.gate.weight"] = torch.zeros(2)
    tensors["optimiser_momentum"] = torch.zeros(2)
    tensors["backbone.conv1.conv.weight"] = torch.zeros(64, 1, 7, 7)
    tensors["backbone.conv1.bn.weight"] = torch.zeros(64, dtype=torch.int8)
    with pytest.raises(InputError) as caught:
        convert(tensors, "fgvc", "x.pth")
    assert str(caught.value) == (
        "x.pth: as fgvc: does not fit the network: missing layer2.0.bn1.bias; "
        "unexpected backbone.layer2.0.gate.weight, "
        "optimiser_momentum; backbone.conv1.conv.weight has shape (64, 1, 7, 7), expected (64, 3, 7, 7), "
        "backbone.conv1.bn.weight holds int8, expected floating-point numbers"
    )


def test_counters_that_old_files_lack_are_told() -> None:
    tensors = {key: value for key, value in random_resnet().items() if "num_batches" not in key}
    done = convert(tensors, "torchvision", "x.pth")
    assert len(done.kept) == 15
    assert set(done.kept.values()) == {"a counter that old files lack and inference never reads"}


@pytest.mark.parametrize(
    ("made", "said", "message"),
    [
        ("fgvc", "torchvision", r"names are not those of torchvision but of fgvc"),
        ("fgvc", "crw", r"names are not those of crw but of fgvc"),
        ("fgvc", "dinov2", r"names are not those of dinov2 but of fgvc"),
        ("fgvc", "ssscweb", r"names are not those of ssscweb but of fgvc"),
        ("torchvision", "fgvc", r"names are not those of fgvc but of torchvision"),
        ("crw", "torchvision", r"names are not those of torchvision but of crw"),
        ("spa50", "fgvc", r"as fgvc: FGVC's encoder is a ResNet-18, this one has depth 50"),
        ("odd", "timm", r"names are not those of timm; names seen: a, b"),
    ],
)
def test_mislabelled_checkpoints_are_refused(made: str, said: str, message: str) -> None:
    plain = random_resnet()
    tensors = {
        "fgvc": lambda: as_fgvc(plain),
        "torchvision": lambda: plain,
        "crw": lambda: {f"encoder.model.{key}": value for key, value in plain.items() if not key.startswith("fc.")},
        "spa50": lambda: as_fgvc(random_resnet(50)),
        "odd": lambda: {"a": torch.zeros(1), "b": torch.zeros(1)},
    }[made]()
    with pytest.raises(InputError, match=message):
        convert(tensors, said, "x.pth")


def test_unknown_kinds_and_choices_are_refused() -> None:
    with pytest.raises(InputError, match=r"unknown kind of checkpoint 'fgcv'; did you mean fgvc\? known: fgvc, spa"):
        convert({}, "fgcv", "x.pth")
    with pytest.raises(InputError, match=r"stages to output: expected some of 1 to 4, got \[5\]"):
        convert(random_resnet(), "torchvision", "x.pth", Choices((5,)))
    with pytest.raises(InputError, match="heads cannot be chosen for fgvc"):
        convert(as_fgvc(random_resnet()), "fgvc", "x.pth", Choices(heads=3))


def test_names_tell_the_kind() -> None:
    plain = random_resnet()
    for name, tensors in {
        "torchvision": plain,
        "fgvc": as_fgvc(plain),
        "spa-then-temp": as_fgvc(random_resnet(34)),
        "crw": {f"encoder.model.{key}": value for key, value in plain.items()},
    }.items():
        kind = recognise(tensors)
        assert kind is not None
        assert kind in KINDS[name]
    assert recognise({"a": torch.zeros(1)}) is None
