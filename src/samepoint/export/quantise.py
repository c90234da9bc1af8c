"""Eight bits in place of 32: ONNX files whose convolutions and matrix products are integer ones."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from .formats import needed
from .parts import Inputs


def quantise(source: Path, target: Path, names: Sequence[str], calibration: Sequence[Inputs]) -> None:
    """Static quantisation: weights by channel, activations by the ranges that they have on ``calibration``.

    Args:
        source: a float32 ONNX file.
        target: where the other goes.
        names: of the inputs.
        calibration: inputs that are like those to come.

    Raises:
        MissingExtraError: without the extra ``export``.
    """
    quantization = needed("onnxruntime.quantization")

    class Reader(quantization.CalibrationDataReader):  # type: ignore[name-defined]
        def __init__(self) -> None:
            self.left = iter(calibration)

        def get_next(self) -> dict[str, np.ndarray] | None:
            inputs = next(self.left, None)
            return None if inputs is None else {n: v.numpy() for n, v in zip(names, inputs, strict=True)}

    with _silent():
        quantization.quantize_static(
            str(source),
            str(target),
            Reader(),
            quant_format=quantization.QuantFormat.QDQ,
            op_types_to_quantize=["Conv", "MatMul", "Gemm"],
            per_channel=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
        )


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
