"""Weight files from elsewhere, opened within bounds: nothing in them is run, no claim in them is believed unchecked.

A file is looked through before it is read: a pickle by its opcodes, an archive by its directory, a safetensors header
by its length. What is then read takes no more memory than the file is long, and a little.
"""

from __future__ import annotations

import argparse
import io
import pickletools
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from ..errors import InputError
from .pickles import NUMPY_NUMBERS

_LIMIT = 4 * 2**20
"""Bytes that names and shapes may take; those of the largest published checkpoints take under one million."""
_ENTRIES, _MOST_LARGE, _LARGEST_TUPLE = 65536, 20000, 256
_ZIP, _TAR_MAGIC, _TAR_AT = b"PK\x03\x04", b"ustar", 257
_TORCH_SUFFIXES = (".pt", ".pth", ".ckpt", ".pkl", ".tar")
_STORAGES = ("Half", "BFloat16", "Float", "Double", "Byte", "Char", "Short", "Int", "Long", "Bool")
_ALLOWED = {
    "collections OrderedDict",
    "collections Counter",  # milestones of a schedule
    "torch Size",
    "torch device",
    "torch._utils _rebuild_tensor",
    "torch._utils _rebuild_tensor_v2",
    "torch._utils _rebuild_parameter",
    "torch.nn.parameter Parameter",
    "_codecs encode",  # the bytes of a numpy number
    "argparse Namespace",  # the options of a training script: names and values, no behaviour
    *(f"torch {kind}Storage" for kind in _STORAGES),
    *(name.rpartition(".")[0] + " " + name.rpartition(".")[2] for _, name in NUMPY_NUMBERS),
}
_OPCODES = {
    *("PROTO", "STOP", "MARK", "GLOBAL", "REDUCE", "NEWOBJ", "BUILD", "BINPERSID"),
    *("EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "EMPTY_LIST", "APPEND", "APPENDS"),
    *("EMPTY_DICT", "SETITEM", "SETITEMS", "EMPTY_SET", "NONE", "NEWTRUE", "NEWFALSE"),
    *("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE", "SHORT_BINSTRING", "BINSTRING"),
    *("BINPUT", "LONG_BINPUT", "BINGET", "LONG_BINGET"),
}
"""Those of the second pickle protocol, which all PyTorch files are written in, that say what and not how."""


def is_safetensors(path: Path) -> bool:
    """Whether a file begins as safetensors do.

    Raises:
        InputError: its name says one format and its content another, or the header is longer than any real one.
    """
    with path.open("rb") as file:
        head = file.read(9)
    # The length of the header in eight bytes, then the header, which is JSON; neither kind of pickle begins so.
    looks = head[8:] == b"{"
    if path.suffix == ".safetensors" and not looks:
        what = "a PyTorch file" if _is_torch(head) else "something else"
        raise InputError(f"{path}: not a readable safetensors file: it is named so but its content is {what}")
    if looks and path.suffix in _TORCH_SUFFIXES:
        raise InputError(f"{path}: named as a PyTorch file but its content is safetensors; rename it")
    if looks:
        _check_header_length(path, struct.unpack("<Q", head[:8])[0])
    return looks


def _is_torch(head: bytes) -> bool:
    return head.startswith((_ZIP, b"\x80\x02"))


def _check_header_length(path: Path, length: int) -> None:
    if length > path.stat().st_size - 8:
        raise InputError(f"{path}: not a readable safetensors file: damaged, its header claims {length} bytes")
    if length > _LIMIT:
        raise InputError(f"{path}: its header of {length} bytes is longer than any real one ({_LIMIT} allowed)")


def load_torch(path: Path) -> Any:
    """What ``torch.save`` wrote, old form or new: tensors (mapped, not read, in the new form) and plain containers.

    The options of a training script (``argparse.Namespace``) and numpy's numbers, which published checkpoints hold
    beside their weights, are admitted; nothing else is, and nothing is run.

    Raises:
        InputError: something else, damaged, or a claim of more than there is.
    """
    size = path.stat().st_size
    try:
        with path.open("rb") as file:
            archive = file.read(4) == _ZIP
            if archive:
                _check_archive(file, size)
            else:
                _check_old_form(file)
        with torch.serialization.safe_globals([argparse.Namespace, *NUMPY_NUMBERS]):
            return torch.load(path, map_location="cpu", weights_only=True, mmap=archive)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except zipfile.BadZipFile as error:
        raise InputError(f"{path}: damaged or truncated ({error})") from None
    except Exception as error:  # a damaged pickle raises whatever its opcodes run into
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise InputError(f"{path}: neither safetensors nor a PyTorch file of plain tensors ({reason[:200]})") from None


def _check_archive(file: IO[bytes], size: int) -> None:
    """Entries lie apart and are stored as they are, so that they are together no larger than the file."""
    with zipfile.ZipFile(file) as archive:
        entries = sorted(archive.infolist(), key=lambda entry: entry.header_offset)
        if len(entries) > _ENTRIES or len({entry.filename for entry in entries}) != len(entries):
            raise InputError(f"its archive has {len(entries)} entries, too many or of the same name")
        end = 0
        for entry in entries:
            if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size:
                claim = f"{entry.filename} claims {entry.file_size} bytes"
                raise InputError(f"its archive is compressed, which PyTorch's never is ({claim})")
            if entry.header_offset < end or entry.header_offset + entry.file_size > size:
                raise InputError(f"damaged: {entry.filename} claims {entry.file_size} bytes that are not there")
            end = entry.header_offset + entry.file_size
        for entry in entries:
            if entry.CRC:  # PyTorch can be told to leave them out
                _read_through(archive, entry)
        pickles = [entry for entry in entries if entry.filename.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise InputError(f"an archive, but not one of PyTorch ({len(pickles)} entries are named data.pkl)")
        if pickles[0].file_size > _LIMIT:
            raise InputError(f"its names and shapes take {pickles[0].file_size} bytes ({_LIMIT} allowed)")
        _check_pickle(io.BytesIO(archive.read(pickles[0])))


def _read_through(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> None:
    """Compare an entry with its checksum. Raises zipfile.BadZipFile where they differ."""
    with archive.open(entry) as stream:
        while stream.read(2**20):
            pass


def _check_old_form(file: IO[bytes]) -> None:
    """Before PyTorch 1.6: five pickles, then the storages."""
    file.seek(0)
    head = file.read(_LIMIT)
    if head[_TAR_AT : _TAR_AT + len(_TAR_MAGIC)] == _TAR_MAGIC:
        raise InputError(
            "PyTorch's oldest form, a tar archive, is not read; load and save it again with a newer PyTorch"
        )
    stream = io.BytesIO(head)
    for _ in range(5):
        _check_pickle(stream)


def _check_pickle(stream: IO[bytes]) -> None:
    """Follow its opcodes without building anything, let alone running it.

    They may name what is allowed and nothing else. Tuples are small even where they hold others many times over, and
    large integers are few, so that no dictionary can be made to take forever by what it has for keys.
    """
    sizes: list[int] = []  # of what lies on the stack, tuples with all that they hold
    marks: list[int] = []
    memo: dict[int, int] = {}
    large = 0
    argument: Any
    for opcode, argument, _ in pickletools.genops(stream):
        name = opcode.name
        if name not in _OPCODES:
            raise InputError(f"its pickle uses {name}, which PyTorch's files never do")
        if name == "GLOBAL" and argument not in _ALLOWED:
            raise InputError(f"it names {str(argument).replace(' ', '.')}; only tensors and plain values are allowed")
        large += name == "LONG1"
        if name == "MARK":
            marks.append(len(sizes))
        elif name.endswith("BINPUT"):
            memo[argument] = sizes[-1]
        elif name.endswith("BINGET"):
            sizes.append(memo[argument])
        else:
            taken = len(opcode.stack_before)
            if opcode.stack_before and pickletools.markobject in opcode.stack_before:
                taken = len(sizes) - marks.pop() + opcode.stack_before.index(pickletools.markobject)
            held = [sizes.pop() for _ in range(taken)]
            sizes += [1 + sum(held) if "TUPLE" in name else 1 for _ in opcode.stack_after]
        if large > _MOST_LARGE or (sizes and sizes[-1] > _LARGEST_TUPLE):
            raise InputError("its pickle holds more numbers than names and shapes need")


def state_dict(path: Path, content: Any, containers: tuple[str, ...]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The dictionary of tensors in what was read, and what lay beside it.

    Args:
        path: for messages.
        content: what :func:`load_torch` gave.
        containers: names under which the dictionary may lie.

    Raises:
        InputError: there is none, several, or it holds tensors that are not what they claim.
    """
    beside: dict[str, Any] = {}
    for _ in range(2):
        if isinstance(content, Mapping):
            inner = [name for name in containers if isinstance(content.get(name), Mapping)]
            if len(inner) > 1:
                raise InputError(f"{path}: holds weights under each of {', '.join(inner)}; which is meant is not known")
            if inner:
                beside |= {str(key): value for key, value in content.items() if key != inner[0]}
                content = content[inner[0]]
    if not isinstance(content, Mapping):
        raise InputError(f"{path}: expected a dictionary of tensors, got {type(content).__name__}")
    tensors = {}
    size = path.stat().st_size
    for key, value in content.items():
        if not isinstance(key, str):
            raise InputError(f"{path}: expected names of tensors, got {key!r:.60}")
        if not isinstance(value, Tensor):
            beside[key] = value
            continue
        _check_tensor(path, key, value, size)
        tensors[key] = value.detach()
    return tensors, beside


def _check_tensor(path: Path, key: str, value: Tensor, size: int) -> None:
    if value.layout is not torch.strided or value.device.type != "cpu" or value.is_quantized:
        raise InputError(f"{path}: {key} is no plain tensor")
    claimed, there = value.numel() * value.element_size(), value.untyped_storage().nbytes()
    if claimed > min(there, size):
        raise InputError(f"{path}: {key} claims {claimed} bytes, of which {min(there, size)} are there")
