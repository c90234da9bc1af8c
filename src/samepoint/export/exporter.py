"""Write a part of a model, run the file, keep it if it does what the model does."""

from __future__ import annotations

import copy
import hashlib
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

import samepoint

from ..errors import InputError
from ..io.atomic import atomic_path
from ..models.features import load_network
from ..models.matcher import Matcher
from . import formats, parts
from .check import Agreement, agreement, milliseconds
from .parts import Inputs, Part, PropagationOptions, Size
from .quantise import quantise

FORMATS = ("onnx", "exported-program")
FORMAT_OF = {".onnx": "onnx", ".pt2": "exported-program"}
"""By the suffix of the file."""
PARTS = ("encoder", "matcher", "propagation")
DTYPES = ("float32", "fp16", "int8")
TRIALS: tuple[Size, Size] = ((128, 160), (240, 320))
"""Sizes, rounded up to what the model takes, that a file for any size is tried with; the last is timed."""
CALIBRATION = 8
"""Rendered pairs of frames whose ranges an int8 file is made for."""
DIFFERENCE = {"float32": 1e-3, "fp16": 0.05}
"""Largest difference from the model, as a share of an output's largest value, for a flow at least of one cell."""
LABEL_DIFFERENCE = {"float32": 1e-2, "fp16": 0.1}
"""The same of propagated labels: where two matches are equally good, either may be the last of those that count."""
COSINE = 0.95
"""Least mean cosine similarity of an int8 encoder's cells to the model's."""
MEAN = 0.05
"""Largest mean difference of an int8 matcher's flow, as a share of its largest."""


@dataclass(frozen=True)
class Exported:
    """A file that was written, and what was measured of it against the model in PyTorch, float32.

    Attributes:
        path: the file.
        format: ``onnx`` or ``exported-program``.
        part: ``encoder``, ``matcher`` or ``propagation``.
        dtype: ``float32``, ``fp16`` or ``int8``.
        bytes: its size.
        sha256: its digest.
        sizes: the (H, W) of the pictures that it was tried with.
        free: whether it takes pictures of other sizes too.
        difference: largest difference, as a share of the output's largest value.
        mean: mean difference, as a share of the same.
        cosine: mean cosine similarity of cells, of the worst map; None but for encoders.
        matches: share of cells that find the same best match in another frame; None but for encoders.
        torch_ms: median milliseconds of the model in PyTorch, for the last of ``sizes``.
        file_ms: of the file.
        threads: of both.
    """

    path: str
    format: str
    part: str
    dtype: str
    bytes: int
    sha256: str
    sizes: tuple[Size, ...]
    free: bool
    difference: float
    mean: float
    cosine: float | None
    matches: float | None
    torch_ms: float
    file_ms: float
    threads: int

    @property
    def speedup(self) -> float:
        """How many times as fast as PyTorch."""
        return self.torch_ms / self.file_ms

    def lines(self) -> list[str]:
        """For people, a line a finding."""
        tried = " and ".join(f"{height}x{width}" for height, width in self.sizes)
        lines = [
            f"against PyTorch at {tried} (height x width): largest difference {self.difference:.2g} of the range, "
            f"mean {self.mean:.2g}"
        ]
        if self.cosine is not None:
            lines.append(f"mean cosine similarity of cells {self.cosine:.5f}")
        if self.matches is not None:
            lines.append(f"{100 * self.matches:.1f} % of cells find the same match in the next frame")
        timed = f"{self.file_ms:.1f} ms, PyTorch {self.torch_ms:.1f} ms: {self.speedup:.2f} times as fast"
        lines.append(f"{timed} ({self.threads} threads, {'x'.join(map(str, self.sizes[-1]))})")
        return lines


def export_part(
    model: str | Path | nn.Module,
    output: str | Path,
    *,
    form: str | None = None,
    part: str = "encoder",
    dtype: str = "float32",
    size: Size | None = None,
    propagation: PropagationOptions | None = None,
) -> Exported:
    """Write a part of a model to a file, checked against the model by running both.

    Args:
        model: what :func:`~samepoint.models.features.load_network` takes, or a network, which stays as it is.
        output: the file.
        form: ``onnx`` or ``exported-program``; by default as the name of the file ends (:data:`FORMAT_OF`), else ONNX.
        part: ``encoder``: normalised pictures (B, 3, H, W) to maps. ``matcher``: of a model for pairs of pictures.
            ``propagation``: one step of label propagation on the model's maps, :class:`PropagationStep`.
        dtype: ``float32``; ``fp16``, half the size; ``int8``, a quarter, ONNX only and not for propagation, which has
            no weights.
        size: pictures of this (H, W) only; None for all whose sides are multiples of the coarsest stride.
        propagation: which step; for that part only.

    Raises:
        InputError: a combination that is not served, a model that cannot be traced, or a file that differs from the
            model by more than :data:`DIFFERENCE` or, in int8, :data:`COSINE`: it is not left behind.
        MissingExtraError: ONNX without the extra ``export``.
    """
    form = form or FORMAT_OF.get(Path(output).suffix, "onnx")
    _check(form, part, dtype, propagation)
    if form == "onnx":
        for module in ("onnx", "onnxscript", "onnxruntime"):
            formats.needed(module)
    described = describe_part(model, part, propagation or PropagationOptions())
    with atomic_path(output) as temporary:
        result = _written(described, temporary, form, dtype, size)
    data = Path(output).read_bytes()
    return Exported(path=str(output), bytes=len(data), sha256=hashlib.sha256(data).hexdigest(), **result)


def describe_part(model: str | Path | nn.Module, part: str, options: PropagationOptions) -> Part:
    """The part of a model, ready to be exported."""
    if isinstance(model, nn.Module):
        network: Any = copy.deepcopy(model).eval()
        about: dict[str, Any] = {"model": type(model).__name__}
    else:
        loaded = load_network(model)
        network, about = loaded.network, {"model": loaded.identity()}
    about |= {"part": part, "samepoint": samepoint.__version__}
    if isinstance(network, Matcher) != (part == "matcher"):
        raise InputError(f"{part}: {type(network).__name__} has none")
    match part:
        case "encoder":
            return parts.encoder(network, about)
        case "matcher":
            return parts.matcher(network, about)
        case _:
            return parts.propagation(network, about, options)


def _check(form: str, part: str, dtype: str, propagation: PropagationOptions | None) -> None:
    for name, value, known in (("format", form, FORMATS), ("part", part, PARTS), ("dtype", dtype, DTYPES)):
        if value not in known:
            raise InputError(f"{name} {value!r}: expected one of {', '.join(known)}")
    if dtype == "int8" and form != "onnx":
        raise InputError("int8 is for ONNX; an exported program is float32 or fp16")
    if dtype == "int8" and part == "propagation":
        raise InputError("propagation has no weights to quantise; expected float32 or fp16")
    if propagation is not None and part != "propagation":
        raise InputError(f"level, window and context are for the part propagation, got the part {part}")


def _written(part: Part, path: Path, form: str, dtype: str, size: Size | None) -> dict[str, Any]:
    """Write the file and measure it: the fields of :class:`Exported`."""
    if size is not None and min(size) < part.smallest:
        raise InputError(
            f"size of {part.name}: expected sides of {part.smallest} pixels or more, got {size[0]},{size[1]}"
        )
    size = size or part.only
    sizes = (size,) if size is not None else tuple(_fitting(trial, part) for trial in TRIALS)
    module = part.half() if dtype == "fp16" else part.module
    program = formats.trace(part, module, part.example(sizes[0], 0), size)
    metadata = {**part.metadata, "dtype": dtype, "size": None if size is None else list(size)}
    metadata |= {} if size is None else part.sized(size)
    if form == "exported-program":
        formats.write_program(program, path, metadata)
        run = formats.run_program(path)
    else:
        _write_onnx(part, program, path, dtype, metadata, sizes)
        run = formats.run_onnx(path, part.inputs)
    found, inputs = _compared(part, run, sizes)
    _refuse(part, found, dtype)
    with torch.inference_mode():
        torch_ms = milliseconds(lambda: part.module(*inputs))
    return {
        "format": form,
        "part": part.name,
        "dtype": dtype,
        "sizes": sizes,
        "free": size is None,
        "difference": found.difference,
        "mean": found.mean,
        "cosine": found.cosine,
        "matches": found.matches,
        "torch_ms": torch_ms,
        "file_ms": milliseconds(lambda: run(inputs)),
        "threads": torch.get_num_threads(),
    }


def _write_onnx(
    part: Part, program: Any, path: Path, dtype: str, metadata: dict[str, Any], sizes: Sequence[Size]
) -> None:
    if dtype != "int8":
        formats.write_onnx(part, program, path, metadata)
        return
    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder) / "float32.onnx"
        formats.write_onnx(part, program, plain, metadata)
        seeds = range(100, 100 + CALIBRATION)
        quantise(plain, path, part.inputs, [part.example(sizes[-1], seed) for seed in seeds])


def _compared(part: Part, run: formats.Runner, sizes: Sequence[Size]) -> tuple[Agreement, Inputs]:
    """How far the file agrees with the model on frames that neither calibration nor tracing saw; the last inputs."""
    found: Agreement | None = None
    inputs: Inputs = ()
    for number, size in enumerate(sizes):
        inputs = part.example(size, 1 + number)
        with torch.inference_mode():
            expected = formats.arrays(part.module(*inputs))
        one = agreement(expected, run(inputs), part.cells, part.least)
        found = one if found is None else found.worst(one)
    if found is None:
        raise InputError("no size to try the file with")
    return found, inputs


def _refuse(part: Part, found: Agreement, dtype: str) -> None:
    allowed = (LABEL_DIFFERENCE if part.name == "propagation" else DIFFERENCE).get(dtype)
    if allowed is not None:
        told = f"by {found.difference:.2g} of the range, expected {allowed:.2g} or less"
        fits = found.difference <= allowed
    elif found.cosine is not None:
        told = f"mean cosine similarity {found.cosine:.3f}, expected {COSINE} or more"
        fits = found.cosine >= COSINE
    else:
        told = f"by {found.mean:.2g} of the range in the mean, expected {MEAN} or less"
        fits = found.mean <= MEAN
    if not fits:
        raise InputError(f"{part.name} in {dtype} differs too much from the model: {told}; nothing was written")


def _fitting(size: Size, part: Part) -> Size:
    height, width = (-(-max(side, part.smallest) // part.multiple) * part.multiple for side in size)
    return height, width
