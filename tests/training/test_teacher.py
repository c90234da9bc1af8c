"""The frozen teacher: where it comes from, and where its cells lie."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from huggingface_hub import close_session

from samepoint.errors import InputError
from samepoint.geometry import Lattice
from samepoint.models.resnet import ResNet, initialise
from samepoint.models.vit import VisionTransformer
from samepoint.training.config import TeacherConfig
from samepoint.training.teacher import Teacher, load_teacher, on_lattice
from tests.models.hub_server import Hub, isolate, serve


def ramp(lattice: Lattice, cells: tuple[int, int]) -> torch.Tensor:
    rows, columns = torch.meshgrid(*(torch.arange(n, dtype=torch.float32) for n in cells), indexing="ij")
    return lattice.to_pixels(torch.stack([columns, rows]))[None]


def test_maps_are_read_where_the_students_cells_lie() -> None:
    """A map of positions, read on another lattice, holds the positions there: no half pixel is lost."""
    patches, padded = Lattice(14, 7.0), Lattice(8)
    got = on_lattice(ramp(patches, (5, 6)), patches, padded, (7, 9))
    expected = ramp(padded, (7, 9)).clamp(min=7.0)  # continued by its edge
    expected = torch.minimum(expected, torch.tensor([7.0 + 5 * 14, 7.0 + 4 * 14]).reshape(1, 2, 1, 1))
    torch.testing.assert_close(got, expected, atol=1e-3, rtol=0)


def test_a_larger_picture_for_the_teacher_is_taken_back() -> None:
    fine, padded = Lattice(8), Lattice(4)
    got = on_lattice(ramp(fine, (16, 16)) / 2, fine, padded, (10, 12), (2.0, 2.0))
    inner = ramp(padded, (10, 12))
    torch.testing.assert_close(got[..., 1:, 1:], inner[..., 1:, 1:], atol=1e-3, rtol=0)


def test_a_single_cell_is_everywhere() -> None:
    assert on_lattice(torch.full((1, 1, 1, 1), 3.0), Lattice(32), Lattice(4), (2, 3)).eq(3).all()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    network = VisionTransformer(width=64, depth=2, heads=1, hidden=64, grid=4)
    path = tmp_path / "vit.pth"
    torch.save(network.state_dict(), path)
    return path


def test_a_file_makes_a_frozen_teacher_that_reads_its_own_colours(file: Path) -> None:
    teacher = load_teacher(TeacherConfig(model=str(file), outputs=(1,)))
    assert teacher is not None
    frames = torch.randint(0, 256, (2, 28, 42, 3), dtype=torch.uint8)
    maps = teacher(frames, Lattice(14, 7.0), (2, 3))
    assert not maps.requires_grad
    assert not any(value.requires_grad for value in teacher.module.parameters())
    assert not teacher.module.training
    network = teacher.network
    with torch.no_grad():
        torch.testing.assert_close(maps, network.features(network.preprocess(frames))[-1], atol=1e-5, rtol=1e-5)
    larger = Teacher(network, short_side=56)(frames, Lattice(14, 7.0), (2, 3))
    assert larger.shape == maps.shape


def test_without_a_name_there_is_none() -> None:
    assert load_teacher(TeacherConfig()) is None


def published_names(network: ResNet, prefix: str) -> dict[str, torch.Tensor]:
    """The state dict with the names that FGVC's checkpoints have."""
    keys = {}
    for key, value in network.state_dict().items():
        parts = key.split(".")
        kind = {"0": "conv", "1": "bn"}.get(parts[-2]) if "downsample" in parts else None
        if kind is not None:
            parts[-2] = kind
        elif parts[-2].startswith("conv"):
            parts.insert(-1, "conv")
        else:
            parts[-2:-1] = [parts[-2].replace("bn", "conv"), "bn"]
        keys[prefix + ".".join(parts)] = value
    return keys


@pytest.mark.parametrize("prefixes", [("backbone.",), ("teacher.",), ("backbone.", "teacher."), ("module.teacher.",)])
def test_an_fgvc_checkpoint_is_a_teacher(tmp_path: Path, prefixes: tuple[str, ...]) -> None:
    keys, first = {}, torch.zeros(0)
    for prefix in prefixes:  # the last is the teacher
        network = ResNet.fgvc()
        initialise(network)
        keys |= published_names(network, prefix)
        first = network.conv1.weight
    torch.save({"meta": {}, "state_dict": keys}, tmp_path / "fgvc.pth")
    teacher = load_teacher(TeacherConfig(model=str(tmp_path / "fgvc.pth")))
    assert teacher is not None
    assert (teacher.network.colour, teacher.network.lattices) == ("lab", (Lattice(2),))
    assert isinstance(teacher.network, ResNet)
    assert torch.equal(teacher.network.conv1.weight, first)


def test_a_repository_of_the_hub(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = Hub()
    hub.repositories["owner/vit"] = {"README.md": b"", "vit.pth": file.read_bytes()}
    hub.repositories["owner/two"] = {"a.pth": file.read_bytes(), "b.pth": file.read_bytes()}
    with serve(hub) as address:
        isolate(monkeypatch, tmp_path, address)
        for config in (
            TeacherConfig(model="owner/vit"),
            TeacherConfig(model="owner/vit", file="vit.pth"),
            TeacherConfig(model="owner/two", file="b.pth"),
        ):
            teacher = load_teacher(config)
            assert teacher is not None
            assert teacher.network.channels == (64,)
        with pytest.raises(InputError, match=r"owner/two has 2 weight files; name one of them \(a\.pth, b\.pth\)"):
            load_teacher(TeacherConfig(model="owner/two"))
        with pytest.raises(InputError, match="owner/none: no file, and cannot be had from the Hub"):
            load_teacher(TeacherConfig(model="owner/none"))
        close_session()


def test_mistakes_are_named(file: Path) -> None:
    with pytest.raises(InputError, match="unknown model 'nowhere'"):
        load_teacher(TeacherConfig(model="nowhere"))
    with pytest.raises(InputError, match="neither a known name nor a file"):
        load_teacher(TeacherConfig(model="weights/nowhere.pth"))
    with pytest.raises(InputError, match=r"teacher\.file"):
        load_teacher(TeacherConfig(model=str(file), file="vit.pth"))
    with pytest.raises(InputError, match="blocks to output"):
        load_teacher(TeacherConfig(model=str(file), outputs=(7,)))
