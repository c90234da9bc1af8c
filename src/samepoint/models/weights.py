"""The table of weights that have names, and the one way to read and write weight files."""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ..errors import InputError
from ..io.atomic import atomic_path
from ..io.checkpoints import is_safetensors
from .fitting import Network, config_of, filled, input_of, load_strictly, past_outputs, tensors_sha256
from .transformers_backbone import PREFIX, TransformersBackbone, load_backbone, weight_files
from .visibility import Hindsight

__all__ = [
    "TABLE",
    "Network",
    "WeightsEntry",
    "has_our_metadata",
    "load_model",
    "load_strictly",
    "read_metadata",
    "read_tensors",
    "resolve",
    "save_weights",
    "sha256",
]

_FOLDER = Path(__file__).resolve().parent.parent / "weights"

Numbers = Mapping[str, Sequence[float]]
"""What a network makes of the fixed input of :mod:`samepoint.models.verify`, by the name of the output.

``samepoint weights verify FILE --json`` prints them for a new row.
"""


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
    companion: str | None = None
    """Name of the network whose encoder tells objects by their looks where this one follows masks."""
    numbers: Numbers = field(default_factory=dict)

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
            source="samepoint train features (cpu-base, cpu-crossing), weights mix; see samepoint-base.yaml",
            licence="Apache-2.0",
            colour="rgb, ImageNet mean and deviation",
            sha256="dbb0bbdeb6112af46649767069b670bfb31758ca24e49ae0ce3e6ef5ed1325d8",
            companion="samepoint-match",
            numbers={
                "map 0": (0.00805246, 0.0880208, 0.351994, -0.0817112, 0.0122484, -0.15381, 0.0269769, -0.161831),
                "map 1": (0.00374833, 0.0883088, 0.401992, 0.0381308, 0.0733464, -0.234838, 0.0820126, -0.149747),
                "map 2": (-0.00128795, 0.102054, 0.385866, 0.0582298, -0.0279113, 0.100448, -0.107313, -0.202237),
                "map 3": (0.0150196, 0.176137, 0.641135, 0.292816, -0.0707566, 0.120032, -0.0952867, 0.137875),
                "points": (17.9662, 20.2817, 63.5478, 24.3546, 0.533803, 42.7561, 42.2709, 2.6747),
                "state": (0.00864244, 0.591295, 0.979815, -0.283744, 0.427717, -0.568361, -0.449893, 0.734748),
                "visible": (-4.7204, 3.86624, 8.45113, 0.606612, 0.606612, -6.31668, -6.31668, -8.45113),
                "hindsight": (-71.102, 31.3362, 107.707, -31.1665, -31.1665, -107.707, -107.707, -74.4324),
            },
        ),
        WeightsEntry(
            name="samepoint-match",
            file="samepoint-match.safetensors",
            architecture="Matcher",
            source="samepoint train matching configs/cpu-match.yaml",
            licence="Apache-2.0",
            colour="rgb, ImageNet mean and deviation",
            sha256="8d878833bf739c4057ab5468266020475f0fb43b62cf7087c4c6b76c8641e1e1",
            numbers={
                "level": (-0.0102649, 0.702479, 7.16978, -0.534126, 0.279638, -0.327515, 0.216281, -1.1715),
                "refined": (0.00161936, 0.0112749, 0.2, 0.2, 0.184103, 0.144651, 0.2, 0.2),
            },
        ),
        WeightsEntry(
            name="samepoint-tiny",
            file="samepoint-tiny.safetensors",
            architecture="PointNetwork",
            source="samepoint train features configs/tiny.yaml, for tests only",
            licence="Apache-2.0",
            colour="rgb, ImageNet mean and deviation",
            sha256="7a5f4d0daacd0c09e9b129ca86ec46accf50f3b3efb0b426d0983709baaa6ac5",
            numbers={
                "map 0": (-0.0885727, 0.342279, 0.807181, 0.512798, -0.183819, -0.532918, -0.336701, -0.165361),
                "map 1": (-0.0836806, 0.343508, 0.806579, 0.217368, -0.0595509, 0.326893, 0.290488, 0.194331),
                "map 2": (0.0128854, 0.353319, 0.850684, 0.490837, -0.335093, 0.57057, -0.268726, 0.620014),
                "map 3": (0.116358, 0.333857, 0.936395, -0.396091, -0.104388, 0.12114, 0.60409, 0.210037),
                "points": (17.4214, 20.9412, 63.7811, 22.8368, 1.6061, 43.4852, 43.1417, -0.362246),
                "state": (0.135154, 0.727027, 0.992513, -0.0441867, 0.43238, 0.992513, -0.579332, -0.922417),
                "visible": (-1.82972, 2.44913, 5.14895, -5.14895, -5.14895, 0.686877, 0.686877, -1.0271),
                "hindsight": (214.677, 57.8941, 266.051, 244.199, 244.199, 266.051, 266.051, 133.78),
            },
        ),
    )
}


def resolve(name_or_path: str | Path) -> Path:
    """The weight file behind a name of the table, a path, a repository of the Hub, ``owner/name``, or ``hf:`` and a
    backbone of transformers.

    Raises:
        InputError: neither a known name (the nearest is suggested) nor an existing file, or a repository that cannot be
            had.
    """
    if str(name_or_path) in TABLE:
        return TABLE[str(name_or_path)].path
    path = Path(name_or_path)
    if path.is_file():
        return path
    if str(name_or_path).startswith(PREFIX):
        return weight_files(str(name_or_path))[0]
    from .hub import download, is_repository  # the Hub's client takes a moment to import

    if is_repository(name_or_path):
        return download(str(name_or_path))
    nearest = difflib.get_close_matches(str(name_or_path), TABLE, 1, 0.3)
    hint = f"did you mean {nearest[0]}?" if nearest else f"known: {', '.join(TABLE)}"
    raise InputError(f"unknown model {str(name_or_path)!r}: neither a known name nor a file; {hint}")


def _header(path: str | Path) -> dict[str, str]:
    """The free metadata of a safetensors file."""
    try:
        if not Path(path).exists():
            raise InputError(f"{path}: no such file")
        if not is_safetensors(Path(path)):
            raise InputError(f"{path}: not a readable safetensors file")
        with safe_open(str(path), framework="pt") as file:
            return file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path}: not a readable safetensors file ({error})") from error


def read_metadata(path: str | Path) -> dict[str, Any]:
    """What a weight file says of itself: ``architecture``, ``config``, ``training``, ``data``, ``licence``, ...

    Raises:
        InputError: not a readable safetensors file, or one without our metadata.
    """
    header = _header(path)
    if "samepoint" not in header:
        raise InputError(f"{path}: has no samepoint metadata, so its architecture is unknown")
    try:
        return dict(json.loads(header["samepoint"]))
    except (ValueError, TypeError, RecursionError) as error:
        raise InputError(f"{path}: its samepoint metadata is damaged") from error


def has_our_metadata(path: Path) -> bool:
    """Whether a file is one that :func:`save_weights` wrote."""
    return is_safetensors(path) and "samepoint" in _header(path)


def load_model(
    name_or_path: str | Path = "samepoint-base", outputs: Sequence[int] | None = None
) -> Network | TransformersBackbone:
    """The network itself, in eval mode, float32, on the CPU: what was trained or converted into the file.

    Args:
        name_or_path: a name of the table, a file, a repository of the Hub, or ``hf:`` and a backbone of transformers.
        outputs: other stages of a ResNet or blocks of a transformer than the file says.

    Raises:
        InputError: unknown name, or a file that is damaged or does not fit its stated architecture.
    """
    if str(name_or_path).startswith(PREFIX):
        return load_backbone(str(name_or_path), outputs)[0]
    return read_network(resolve(name_or_path), outputs)


def read_network(path: Path, outputs: Sequence[int] | None = None) -> Network:
    """The network of a file that :func:`save_weights` wrote; see :func:`load_model`."""
    metadata = read_metadata(path)
    tensors = read_tensors(path)
    architecture, config = metadata.get("architecture"), metadata.get("config")
    if not isinstance(config, dict):
        raise InputError(f"{path}: its configuration does not describe a network")
    if outputs is not None:
        if "outputs" not in config:
            raise InputError(f"{path}: outputs of a samepoint model cannot be chosen, it returns all its levels")
        config = config | {"outputs": list(outputs)}
        if architecture == "ResNet":
            last = max(outputs, default=4)
            tensors = {key: value for key, value in tensors.items() if past_outputs(key, last) is None}
    if architecture == "PointNetwork":
        tensors = _with_hindsight(tensors)
    network = filled(architecture, config, tensors, str(path))
    said = metadata.get("input", input_of(network))
    if said != input_of(network):
        raise InputError(f"{path}: says that its input is {said}, but its network takes {input_of(network)}")
    return network


def _with_hindsight(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Files made before hindsight was have none; unfitted, as it is new, it changes nothing."""
    if any(key.startswith("hindsight.") for key in tensors):
        return tensors
    return tensors | {f"hindsight.{key}": value for key, value in Hindsight().state_dict().items()}


def read_tensors(path: str | Path) -> dict[str, Tensor]:
    """Every tensor of a safetensors file, by name.

    Raises:
        InputError: it is none, or damaged.
    """
    _header(path)
    try:
        with safe_open(str(path), framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a mapping
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path}: not a readable safetensors file ({error})") from error


def save_weights(network: Network, path: Path, metadata: dict[str, Any]) -> Path:
    """Write the network and what is known of it to a safetensors file, whole or not at all.

    Matrices are rounded to float16, unless ``metadata["precision"]`` is ``"float32"``: what was converted stays what it
    was. A checksum of the tensors is added; numbers of other tensors (see :mod:`samepoint.models.verify`) are left out.
    """
    training = json.dumps(metadata.get("training", {}), sort_keys=True)
    tensors = {key: value.detach().contiguous() for key, value in network.state_dict().items()}
    if metadata.get("precision") != "float32":
        tensors = {key: _compact(value) for key, value in tensors.items()}
    checksum = tensors_sha256(tensors)
    record = {
        "architecture": type(network).__name__,
        "config": config_of(network),
        **metadata,
        "config_sha256": hashlib.sha256(training.encode()).hexdigest(),
        "tensors_sha256": checksum,
    }
    if metadata.get("tensors_sha256", checksum) != checksum:
        record.pop("numbers", None)
    with atomic_path(path) as temporary:
        try:
            save_file(tensors, str(temporary), {"samepoint": json.dumps(record)})
        except SafetensorError as error:
            raise OSError(f"{path}: cannot be written ({error})") from None
    return path


def _compact(value: Tensor) -> Tensor:
    # Half the size; the rounding lies far below what training leaves uncertain. Vectors cost nothing and stay exact.
    return value.half() if value.is_floating_point() and value.dim() > 1 else value


def sha256(path: Path) -> str:
    """Hex digest of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()
