"""Files of other runtimes: written from a traced module, and run again."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.export import ExportedProgram

from ..errors import InputError, MissingExtraError
from .parts import Inputs, Part, Size

Runner = Callable[[Inputs], list[np.ndarray]]
METADATA = "samepoint"
"""Key of the metadata in a file, JSON."""


def trace(part: Part, module: nn.Module, inputs: Inputs, size: Size | None) -> ExportedProgram:
    """``module`` as a graph for pictures of one size, or of any.

    Raises:
        InputError: it cannot be traced, with free sizes perhaps only.
    """
    try:
        with torch.no_grad(), _quiet():
            return torch.export.export(module, inputs, dynamic_shapes=part.shapes(size), strict=False)
    except Exception as error:  # the tracer raises whatever it runs into
        reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        hint = "; give one --size H,W" if size is None else ""
        raise InputError(f"{part.name}: cannot be traced ({reason[:200]}){hint}") from error


def write_program(program: ExportedProgram, path: Path, metadata: dict[str, Any]) -> None:
    """PyTorch's own format, with the metadata beside the graph."""
    with _quiet():
        torch.export.save(program, path, extra_files={f"{METADATA}.json": json.dumps(metadata)})


def run_program(path: Path) -> Runner:
    """The graph of a file of PyTorch's own format."""
    with _quiet():
        module = torch.export.load(path).module()

    @torch.inference_mode()
    def run(inputs: Inputs) -> list[np.ndarray]:
        return arrays(module(*inputs))

    return run


def write_onnx(part: Part, program: ExportedProgram, path: Path, metadata: dict[str, Any]) -> None:
    """One ONNX file, weights and metadata included.

    Raises:
        MissingExtraError: without the extra ``export``.
    """
    needed("onnxscript")
    with _quiet():
        exported = torch.onnx.export(
            program,
            input_names=list(part.inputs),
            output_names=list(part.outputs),
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    if exported is None:
        raise InputError(f"{part.name}: the exporter gave nothing")
    exported.model.metadata_props[METADATA] = json.dumps(metadata)
    exported.save(str(path), external_data=False)


def run_onnx(path: Path, names: Sequence[str], threads: int | None = None) -> Runner:
    """The graph of an ONNX file on the CPU, with as many threads as PyTorch has."""
    runtime = needed("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads or torch.get_num_threads()
    options.log_severity_level = 3
    session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def run(inputs: Inputs) -> list[np.ndarray]:
        given = {name: value.numpy() for name, value in zip(names, inputs, strict=True)}
        return list(session.run(None, given))

    return run


def arrays(outputs: object) -> list[np.ndarray]:
    """What a module returns, a tensor or several, as arrays."""
    values = outputs if isinstance(outputs, (tuple, list)) else (outputs,)
    return [value.numpy() for value in values]


def needed(module: str) -> Any:
    """A module of the extra ``export``."""
    import importlib

    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError("exporting to ONNX", "export") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what PyTorch's exporter says of itself: a deprecation inside it, torchvision's absence."""
    registration = logging.getLogger("torch.onnx._internal.exporter._registration")
    before = registration.level
    registration.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", r".*LeafSpec.* is deprecated", FutureWarning)
            yield
    finally:
        registration.setLevel(before)
