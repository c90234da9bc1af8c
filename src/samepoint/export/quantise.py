"""Eight bits in place of 32: ONNX files whose convolutions and matrix products are integer ones."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from .formats import needed
from .parts import Inputs

_HEAVY = ("Conv", "MatMul", "Gemm")


def quantise(source: Path, target: Path, names: Sequence[str], calibration: Sequence[Inputs]) -> None:
    """Static quantisation: weights by channel, activations by the ranges that they have on ``calibration``.

    The first operation and the last before each output stay float32: they are cheap, and their rounding counts most.
    Weights take seven bits of the eight: processors without VNNI add two products in 16 bits, and eight would overflow.

    Args:
        source: a float32 ONNX file.
        target: where the other goes.
        names: of the inputs.
        calibration: inputs that are like those to come.

    Raises:
        MissingExtraError: without the extra ``export``.
    """
    quantization = needed("onnxruntime.quantization")
    model = needed("onnx").load(str(source))
    fold_transposes(model.graph)

    class Reader(quantization.CalibrationDataReader):  # type: ignore[name-defined]
        def __init__(self) -> None:
            self.left = iter(calibration)

        def get_next(self) -> dict[str, np.ndarray] | None:
            inputs = next(self.left, None)
            return None if inputs is None else {n: v.numpy() for n, v in zip(names, inputs, strict=True)}

    with _silent():
        quantization.quantize_static(
            model,
            str(target),
            Reader(),
            quant_format=quantization.QuantFormat.QDQ,
            op_types_to_quantize=list(_HEAVY),
            nodes_to_exclude=sorted(_ends(model.graph)),
            per_channel=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            reduce_range=True,
        )


def fold_transposes(graph: Any) -> None:
    """Turn constants once and for all in an ONNX graph: behind a ``Transpose`` a weight is not taken for one."""
    numbers = needed("onnx").numpy_helper
    constants = {value.name: value for value in graph.initializer}
    turned: dict[tuple[str, tuple[int, ...]], str] = {}
    renamed: dict[str, str] = {}
    given = {value.name for value in graph.output}
    for node in list(graph.node):
        if node.op_type == "Transpose" and node.input[0] in constants and node.output[0] not in given:
            value = numbers.to_array(constants[node.input[0]])
            axes = next((tuple(each.ints) for each in node.attribute), tuple(reversed(range(value.ndim))))
            key = (node.input[0], axes)
            if key not in turned:
                turned[key] = node.output[0]
                graph.initializer.append(numbers.from_array(value.transpose(axes).copy(), node.output[0]))
            renamed[node.output[0]] = turned[key]
            graph.node.remove(node)
    for node in graph.node:
        node.input[:] = [renamed.get(name, name) for name in node.input]
    used = {name for node in graph.node for name in node.input} | given
    for value in constants.values():
        if value.name not in used:
            graph.initializer.remove(value)


def _ends(graph: Any) -> set[str]:
    """Names of the heavy operations that the inputs reach first, and of those that the outputs come from."""
    constants = {value.name for value in graph.initializer}
    maker = {name: node for node in graph.node for name in node.output}
    heavy = [node for node in graph.node if node.op_type in _HEAVY]
    ends = {heavy[0].name} if heavy else set()  # nodes are in the order of their computation
    left = [value.name for value in graph.output]
    seen: set[str] = set()
    while left:
        name = left.pop()
        if name in seen or name not in maker:
            continue
        seen.add(name)
        node = maker[name]
        inputs = [each for each in node.input if each not in constants]
        if node.op_type in _HEAVY:
            ends.add(node.name)
        elif node.op_type != "Shape" and (node.op_type != "Add" or len(inputs) == 1):  # not behind where branches meet
            left += inputs
    return ends


@contextmanager
def _silent() -> Iterator[None]:
    """Without the advice to run a pre-processing that the exporter has done already."""
    root = logging.getLogger()
    before = root.level
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(before)
