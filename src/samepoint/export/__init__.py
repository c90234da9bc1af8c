"""Parts of a model for other runtimes: ONNX and PyTorch's exported programs, checked against the model itself."""

from samepoint.export.check import Agreement, agreement
from samepoint.export.exporter import Exported, export_part
from samepoint.export.parts import Part, PropagationOptions
from samepoint.export.propagation import PropagationStep

__all__ = ["Agreement", "Exported", "Part", "PropagationOptions", "PropagationStep", "agreement", "export_part"]
