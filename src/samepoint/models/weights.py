"""The table of weights that have names, and the one way to read and write weight files."""

from __future__ import annotations

import difflib
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from ..errors import InputError
from ..io.atomic import atomic_path
from .network import NetworkConfig, PointNetwork
from .resnet import ResNet

_FOLDER = Path(__file__).resolve().parent.parent / "weights"


@dataclass(frozen=True)
class WeightsEntry:
    """One row of the table."""

    name: str
    file: str  # inside the package
    architecture: str
    source: str
    licence: str
    colour: str
    sha256: str

    @property
    def path(self) -> Path:
        return _FOLDER / self.file


TABLE: dict[str, WeightsEntry] = {
    entry.name: entry
    for entry in (
        WeightsEntry(
            name="samepoint-base",
            file="samepoint-base.safetensors",
            architecture="PointNetwork",
            source="samepoint train features configs/cpu-base.yaml",
            licence="Apache-2.0",
            colour="rgb, ImageNet mean and deviation",
            sha256="d75d9234fc9173f0c509629e5aefccd2834941e56d71a64c4d856f276d9d3476",
        ),
    )
}


def resolve(name_or_path: str | Path) -> Path:
    """The weight file behind a name of the table or a path.

    Raises:
        InputError: neither a known name (the nearest is suggested) nor an existing file.
    """
    if str(name_or_path) in TABLE:
        return TABLE[str(name_or_path)].path
    path = Path(name_or_path)
    if path.is_file():
        return path
    nearest = difflib.get_close_matches(str(name_or_path), TABLE, 1, 0.3)
    hint = f"did you mean {nearest[0]}?" if nearest else f"known: {', '.join(TABLE)}"
    raise InputError(f"unknown model {str(name_or_path)!r}: neither a known name nor a file; {hint}")


def read_metadata(path: str | Path) -> dict[str, Any]:
    """What a weight file says of itself: ``architecture``, ``config``, ``training``, ``data``, ``licence``, ...

    Raises:
        InputError: not a readable safetensors file, or one without our metadata.
    """
    try:
        with safe_open(str(path), framework="pt") as file:
            header = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path}: not a readable safetensors file ({error})") from error
    if "samepoint" not in header:
        raise InputError(f"{path}: has no samepoint metadata, so its architecture is unknown")
    try:
        return dict(json.loads(header["samepoint"]))
    except ValueError as error:
        raise InputError(f"{path}: its samepoint metadata is damaged") from error


def load_model(name_or_path: str | Path = "samepoint-base") -> PointNetwork | ResNet:
    """The network itself, in eval mode, float32, on the CPU; a :class:`ResNet` where one was trained as such.

    Raises:
        InputError: unknown name, or a file that is damaged or does not fit its stated architecture.
    """
    path = resolve(name_or_path)
    metadata = read_metadata(path)
    network: PointNetwork | ResNet
    try:
        match metadata.get("architecture"):
            case "PointNetwork":
                network = PointNetwork(NetworkConfig.model_validate(metadata["config"]))
            case "ResNet":
                network = ResNet(**metadata["config"])
            case other:
                raise InputError(f"{path}: unknown architecture {other!r}")
    except InputError:
        raise
    except (KeyError, ValueError, TypeError) as error:
        raise InputError(f"{path}: its configuration does not describe a network") from error
    tensors = read_tensors(path)
    if isinstance(network, PointNetwork) and not any(key.startswith("hindsight.") for key in tensors):
        # Made before hindsight was; unfitted, as it is new, it changes nothing.
        tensors |= {key: value for key, value in network.state_dict().items() if key.startswith("hindsight.")}
    load_strictly(network, tensors, str(path))
    return network.eval()


def read_tensors(path: str | Path) -> dict[str, Tensor]:
    """Every tensor of a safetensors file, by name."""
    try:
        with safe_open(str(path), framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a mapping
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path}: not a readable safetensors file ({error})") from error


def load_strictly(network: nn.Module, tensors: dict[str, Tensor], origin: str) -> None:
    """Fill every parameter and buffer of ``network``; half-precision files are widened.

    Raises:
        InputError: a name missing or left over, or a shape that differs; lists them.
    """
    expected = network.state_dict()
    problems = [f"missing {key}" for key in expected if key not in tensors]
    problems += [f"unexpected {key}" for key in tensors if key not in expected]
    problems += [
        f"{key} has shape {tuple(tensors[key].shape)}, expected {tuple(value.shape)}"
        for key, value in expected.items()
        if key in tensors and tensors[key].shape != value.shape
    ]
    if problems:
        more = f" and {len(problems) - 5} more" if len(problems) > 5 else ""
        raise InputError(f"{origin}: does not fit the network: {'; '.join(problems[:5])}{more}")
    network.load_state_dict({key: tensors[key].to(value.dtype) for key, value in expected.items()})


def save_weights(network: PointNetwork | ResNet, path: Path, metadata: dict[str, Any]) -> Path:
    """Write the network and what is known of it to a safetensors file, whole or not at all; matrices as float16."""
    training = json.dumps(metadata.get("training", {}), sort_keys=True)
    record = {
        "architecture": type(network).__name__,
        "config": network.config if isinstance(network, ResNet) else network.config.model_dump(mode="json"),
        **metadata,
        "config_sha256": hashlib.sha256(training.encode()).hexdigest(),
    }
    tensors = {key: _compact(value) for key, value in network.state_dict().items()}
    with atomic_path(path) as temporary:
        save_file(tensors, str(temporary), {"samepoint": json.dumps(record)})
    return path


def _compact(value: Tensor) -> Tensor:
    # Half the size; the rounding lies far below what training leaves uncertain. Vectors cost nothing and stay exact.
    value = value.detach().contiguous()
    return value.half() if value.is_floating_point() and value.dim() > 1 else value


def sha256(path: Path) -> str:
    """Hex digest of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def from_fgvc(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """FGVC's (and Spa-then-Temp's) encoder keys as plain ResNet keys up to stage 3; the rest is left out.

    ``backbone.conv1.conv.weight`` becomes ``conv1.weight``, ``backbone.layer2.0.downsample.bn.bias``
    ``layer2.0.downsample.1.bias``; layer4, teacher and discriminators are not part of the encoder.
    """
    result = {}
    for key, value in tensors.items():
        if not key.startswith("backbone.") or key.startswith("backbone.layer4."):
            continue
        parts = key.removeprefix("backbone.").split(".")
        kind = parts[-2]
        if parts[-3] == "downsample":
            parts[-2] = "0" if kind == "conv" else "1"
        elif kind == "conv":
            del parts[-2]
        else:
            parts[-3:-1] = [parts[-3].replace("conv", "bn")]
        result[".".join(parts)] = value
    return result
