"""Weight files of others: what honest ones hold is read, what hostile ones claim is neither believed nor run."""

from __future__ import annotations

import argparse
import io
import json
import pickle
import shutil
import struct
import tarfile
import zipfile
from collections import Counter, OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from samepoint.errors import InputError
from samepoint.io.checkpoints import is_safetensors, load_torch, state_dict

CONTAINERS = ("state_dict", "model")


class Evil:
    """Says how it is to be rebuilt: by making a file."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.marker,)


class Options(argparse.Namespace):
    """Not the one namespace that is admitted."""


def rewritten(source: Path, target: Path, change: Callable[[str, bytes], bytes], **options: Any) -> Path:
    """A copy of a zip archive, its entries changed."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", **options) as new:
        for entry in old.infolist():
            new.writestr(entry.filename, change(entry.filename, old.read(entry)))
    return target


def with_pickle(path: Path, content: bytes) -> Path:
    """An archive of PyTorch whose names and shapes are this pickle."""
    torch.save({"a": torch.zeros(2)}, path.with_name("plain.pt"))
    return rewritten(path.with_name("plain.pt"), path, lambda name, data: content if "data.pkl" in name else data)


def no_reading(*_: object, **__: object) -> None:
    raise AssertionError("it should have been refused before it was read")


@pytest.mark.parametrize("old", [False, True])
def test_what_training_scripts_leave_is_read(tmp_path: Path, old: bool) -> None:
    content = {
        "state_dict": OrderedDict(a=torch.arange(3.0), b=torch.nn.Parameter(torch.ones(2, 2).half()), epoch=3),
        "args": argparse.Namespace(lr=0.1, device=torch.device("cpu"), size=torch.Size([2])),
        "milestones": Counter([1, 1, 2]),
        "best": np.float64(0.25),
        "whole": torch.tensor([2**40]),
    }
    path = tmp_path / "x.pth"
    torch.save(content, path, _use_new_zipfile_serialization=not old)
    read = load_torch(path)
    tensors, beside = state_dict(path, read, CONTAINERS)
    assert {key: value.tolist() for key, value in tensors.items()} == {"a": [0, 1, 2], "b": [[1, 1], [1, 1]]}
    assert beside.keys() == {"args", "milestones", "best", "whole", "epoch"}
    assert beside["args"].lr == 0.1
    assert (beside["best"], beside["milestones"][1]) == (0.25, 2)
    assert argparse.Namespace not in torch.serialization.get_safe_globals()  # admitted here, not in the process


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("where", ["alone", "beside", "among", "options"])
def test_code_in_a_pickle_is_not_run(tmp_path: Path, where: str, old: bool) -> None:
    marker = tmp_path / "marker"
    evil = Evil(marker)
    content = {
        "alone": evil,
        "beside": {"state_dict": {"a": torch.zeros(1)}, "hook": evil},
        "among": {"a": torch.zeros(1), "b": evil},
        "options": {"state_dict": {"a": torch.zeros(1)}, "args": Options(lr=evil)},
    }[where]
    path = tmp_path / "x.pth"
    torch.save(content, path, _use_new_zipfile_serialization=not old)
    with pytest.raises(InputError, match=r"x\.pth: it names .*; only tensors and plain values are allowed$"):
        load_torch(path)
    assert not marker.exists()
    torch.load(path, weights_only=False)  # it would have been
    assert marker.exists()


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_code_in_a_bare_pickle_is_not_run(tmp_path: Path, protocol: int) -> None:
    marker, path = tmp_path / "marker", tmp_path / "x.pkl"
    path.write_bytes(pickle.dumps(Evil(marker), protocol))
    with pytest.raises(InputError, match=r"x\.pkl: "):
        load_torch(path)
    assert not marker.exists()


@pytest.mark.parametrize(
    "name",
    ["builtins bytearray", "torch Tensor", "builtins getattr", "argparse FileType", "os system", "torch._utils x"],
)
def test_only_names_that_weights_need_are_admitted(tmp_path: Path, name: str) -> None:
    module, _, attribute = name.partition(" ")
    # Some of these PyTorch itself admits; a bytearray of a claimed length, for one, takes that much memory.
    content = b"\x80\x02c" + f"{module}\n{attribute}\n".encode() + b"\x8a\x05\x00\x00\x00\x00\x01\x85R."
    with pytest.raises(InputError, match=rf"it names {module}.{attribute}; only"):
        load_torch(with_pickle(tmp_path / "x.pth", content))


def test_a_compressed_archive_is_refused_before_it_is_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save({"a": torch.zeros(2**20)}, tmp_path / "plain.pt")
    path = rewritten(tmp_path / "plain.pt", tmp_path / "x.pth", lambda _, data: data, compression=zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 2**16
    monkeypatch.setattr(torch, "load", no_reading)
    with pytest.raises(InputError, match=r"x\.pth: its archive is compressed, which PyTorch's never is"):
        load_torch(path)


def test_claimed_sizes_of_an_archive_are_not_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain, path = tmp_path / "plain.pt", tmp_path / "x.pth"
    torch.save({"a": torch.zeros(16)}, plain)
    data = bytearray(plain.read_bytes())
    with zipfile.ZipFile(plain) as archive:
        at = archive.start_dir
    place = data.index(b"/data/0", at) - 46 - len("plain")
    data[place + 20 : place + 28] = struct.pack("<II", 2**31, 2**31)  # both sizes of the entry, in the directory
    path.write_bytes(data)
    monkeypatch.setattr(torch, "load", no_reading)
    with pytest.raises(InputError, match=r"x\.pth: damaged"):
        load_torch(path)


def test_entries_that_share_their_bytes_are_refused(tmp_path: Path) -> None:
    plain, path = tmp_path / "plain.pt", tmp_path / "x.pth"
    torch.save({"a": torch.zeros(64), "b": torch.ones(64)}, plain)
    with zipfile.ZipFile(plain) as archive:
        at = {entry.filename[-6:]: entry.header_offset for entry in archive.infolist()}
        start = archive.start_dir
    data = bytearray(plain.read_bytes())
    place = data.index(b"/data/1", start) - 46 - len("plain")
    data[place + 42 : place + 46] = struct.pack("<I", at["data/0"])
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"x\.pth: damaged"):
        load_torch(path)


def _storage(numel: int) -> bytes:
    """Opcodes of a persistent id: a storage of so many float32 under key 0."""
    return (
        b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuJ"
        + struct.pack("<i", numel)
        + b"tQ"
    )


@pytest.mark.parametrize(("numel", "size", "stride"), [(2, 2**30, 0), (2**30, 2**30, 1), (2, 2**30, 1), (2, 3, 1)])
def test_tensors_that_claim_more_than_there_is_are_refused(tmp_path: Path, numel: int, size: int, stride: int) -> None:
    content = b"\x80\x02}X\x01\x00\x00\x00actorch._utils\n_rebuild_tensor_v2\n(" + _storage(numel) + b"K\x00"
    content += b"J" + struct.pack("<i", size) + b"\x85K" + bytes([stride]) + b"\x85\x89}tRs."
    path = with_pickle(tmp_path / "x.pth", content)
    with pytest.raises(InputError, match=r"x\.pth: (a claims|neither safetensors nor)"):
        state_dict(path, load_torch(path), CONTAINERS)


def test_an_honest_tensor_of_the_same_opcodes_is_read(tmp_path: Path) -> None:
    content = b"\x80\x02}X\x01\x00\x00\x00actorch._utils\n_rebuild_tensor_v2\n(" + _storage(2) + b"K\x00"
    content += b"K\x02\x85K\x01\x85\x89}tRs."
    path = with_pickle(tmp_path / "x.pth", content)
    assert state_dict(path, load_torch(path), CONTAINERS)[0]["a"].tolist() == [0, 0]


def test_old_files_cannot_claim_either(tmp_path: Path) -> None:
    path = tmp_path / "x.pth"
    torch.save({"a": torch.zeros(3)}, path, _use_new_zipfile_serialization=False)
    data = path.read_bytes()
    honest = b"K\x03N"  # numel, no view
    assert honest in data
    path.write_bytes(data.replace(honest, b"J" + struct.pack("<i", 2**30) + b"N"))
    with pytest.raises(InputError, match=r"x\.pth: neither safetensors nor a PyTorch file"):
        load_torch(path)
    path.write_bytes(data[:-5])
    with pytest.raises(InputError, match=r"x\.pth: neither safetensors nor a PyTorch file"):
        load_torch(path)


def test_keys_that_take_forever_to_hash_are_refused(tmp_path: Path) -> None:
    twice = b"".join(b"h" + bytes([n]) + b"h" + bytes([n]) + b"\x86q" + bytes([n + 1]) for n in range(60))
    with pytest.raises(InputError, match=r"more numbers than names and shapes need"):
        load_torch(with_pickle(tmp_path / "x.pth", b"\x80\x02}K\x01q\x00" + twice + b"K\x01s."))
    colliding = b"".join(b"\x8a\x0a" + (n * (2**61 - 1)).to_bytes(10, "little") + b"N" for n in range(1, 30000))
    with pytest.raises(InputError, match=r"more numbers than names and shapes need"):
        load_torch(with_pickle(tmp_path / "y.pth", b"\x80\x02}(" + colliding + b"u."))


def test_other_archives_and_forms_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.txt", "hello")
    with pytest.raises(InputError, match=r"x\.pth: an archive, but not one of PyTorch"):
        load_torch(path)
    with tarfile.open(path, "w") as tar:
        tar.addfile(tarfile.TarInfo("storages"), io.BytesIO())
    with pytest.raises(InputError, match=r"x\.pth: PyTorch's oldest form, a tar archive, is not read"):
        load_torch(path)
    for content in (b"", b"PK", b"<html>", b"\x80\x02"):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"x\.pth: "):
            load_torch(path)


def test_a_file_cut_off_or_changed_is_refused(tmp_path: Path) -> None:
    plain, path = tmp_path / "plain.pt", tmp_path / "x.pth"
    torch.save({"a": torch.arange(100.0)}, plain)
    data = plain.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match=r"x\.pth: damaged or truncated"):
        load_torch(path)
    place = data.index(struct.pack("<f", 57.0))
    path.write_bytes(data[:place] + b"\xff" + data[place + 1 :])  # one bit of one weight
    with pytest.raises(InputError, match=r"x\.pth: damaged or truncated \(Bad CRC-32"):
        load_torch(path)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data(), st.booleans())
def test_noise_is_refused_or_read_never_more(tmp_path: Path, data: st.DataObject, old: bool) -> None:
    path = tmp_path / "x.pth"
    torch.save({"a": torch.arange(4.0), "b": [1, 2.5, "x"]}, path, _use_new_zipfile_serialization=not old)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    try:
        tensors, _ = state_dict(path, load_torch(path), CONTAINERS)
    except InputError as error:
        assert str(error).startswith(str(path))  # noqa: PT017 - either is right
    else:
        assert sum(value.numel() for value in tensors.values()) <= len(content)


def test_a_name_that_lies_about_the_format_is_refused(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(2)}, tmp_path / "a.safetensors")
    torch.save({"a": torch.zeros(2)}, tmp_path / "a.pth")
    assert is_safetensors(tmp_path / "a.safetensors")
    assert not is_safetensors(tmp_path / "a.pth")
    shutil.copy(tmp_path / "a.safetensors", tmp_path / "b.pth")
    shutil.copy(tmp_path / "a.pth", tmp_path / "b.safetensors")
    shutil.copy(tmp_path / "a.safetensors", tmp_path / "b.weights")
    with pytest.raises(InputError, match=r"b\.pth: named as a PyTorch file but its content is safetensors"):
        is_safetensors(tmp_path / "b.pth")
    with pytest.raises(InputError, match=r"b\.safetensors: .* its content is a PyTorch file"):
        is_safetensors(tmp_path / "b.safetensors")
    assert is_safetensors(tmp_path / "b.weights")


@pytest.mark.parametrize("length", [2**63, 2**40, 100])
def test_a_header_longer_than_its_file_is_refused(tmp_path: Path, length: int) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(struct.pack("<Q", length) + b'{"a":1}')
    with pytest.raises(InputError, match=rf"x\.safetensors: .*damaged, its header claims {length} bytes"):
        is_safetensors(path)


def test_a_header_of_millions_of_names_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    header = json.dumps({f"a{n}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for n in range(100_000)})
    path.write_bytes(struct.pack("<Q", len(header)) + header.encode())
    with pytest.raises(InputError, match=rf"x\.safetensors: its header of {len(header)} bytes is longer than any real"):
        is_safetensors(path)


def test_what_is_no_dictionary_of_tensors_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.pth"
    path.touch()
    with pytest.raises(InputError, match=r"x\.pth: expected a dictionary of tensors, got list"):
        state_dict(path, [torch.zeros(2)], CONTAINERS)
    with pytest.raises(InputError, match=r"x\.pth: expected names of tensors, got 3"):
        state_dict(path, {3: torch.zeros(2)}, CONTAINERS)
    with pytest.raises(InputError, match=r"x\.pth: holds weights under each of state_dict, model"):
        state_dict(path, {"state_dict": {}, "model": {}}, CONTAINERS)
    with pytest.raises(InputError, match=r"x\.pth: a is no plain tensor"):
        state_dict(path, {"a": torch.zeros(2).to_sparse()}, CONTAINERS)
