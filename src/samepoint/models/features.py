"""Any network that gives maps, by name or file, whatever keys it was saved with.

| given | network |
|---|---|
| a name of the weights table, a safetensors file with our metadata | :func:`samepoint.models.weights.load_model` |
| ``fgvc-untrained`` | FGVC's configuration with random weights of a fixed seed: the floor of comparisons |
| ``owner/name`` | the weight file of a repository of the Hub, either of the above or below |
| ``hf:owner/name``, ``hf:folder`` | a backbone of transformers: :class:`TransformersBackbone` |
| a file of others | what :func:`samepoint.models.convert.table.recognise` takes its names for |

Foreign files are safetensors or what ``torch.save`` wrote, never unpickled beyond tensors and plain containers. Names
tell a ViT as timm names it, a ResNet as torchvision does, CRW's and FGVC's encoders (depth 18; other depths are taken
for Spa-then-Temp's). What they do not tell, strides, pooling and colours, is that of the kind: where a checkpoint was
trained otherwise (Spa-then-Temp's ResNet-18), say so once with ``samepoint weights convert``.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import torch
from torch import Tensor, nn

from ..errors import InputError
from ..geometry import Lattice
from .colour import ColourSpace
from .convert.kind import Choices, fit, outputs_of, without_module
from .convert.resnets import resnet
from .convert.table import read, recognise
from .fitting import Network, shown
from .hypercolumn import needed_outputs
from .matcher import Matcher
from .network import PointNetwork
from .resnet import ResNet, initialise, leave_out_idle
from .transformers_backbone import PREFIX, TransformersBackbone, load_backbone
from .vit import VisionTransformer
from .weights import TABLE, has_our_metadata, read_network, resolve, sha256

__all__ = [
    "UNTRAINED",
    "FeatureNetwork",
    "LoadedNetwork",
    "MapNetwork",
    "as_module",
    "companion_of",
    "encoder_of",
    "has_our_metadata",
    "load_encoder",
    "load_features",
    "load_network",
]

UNTRAINED = "fgvc-untrained"
SEED = 0
"""Of the weights of :data:`UNTRAINED`."""

Outputs = Sequence[int] | None


class FeatureNetwork(Protocol):
    """What every task needs of a network; all of ours are ``nn.Module`` too."""

    @property
    def lattices(self) -> tuple[Lattice, ...]:
        """Where the cells of each map are centred, in pixels of the input."""

    @property
    def channels(self) -> Sequence[int]:
        """Channels of each map."""

    @property
    def colour(self) -> ColourSpace:
        """Colour space of the input."""

    def preprocess(self, frames: Tensor) -> Tensor:
        """uint8 RGB frames (B, H, W, 3) to the network's normalised input (B, 3, H, W), float32."""

    def features(self, x: Tensor) -> tuple[Tensor, ...]:
        """Maps (B, C, h, w) of an input, the last the finest; not necessarily unit vectors."""


MapNetwork = PointNetwork | ResNet | VisionTransformer | TransformersBackbone
"""The networks that are a :class:`FeatureNetwork`."""
_Kind = TypeVar("_Kind", bound=Network | TransformersBackbone, covariant=True)


@dataclass(frozen=True, eq=False)
class LoadedNetwork(Generic[_Kind]):
    """A network in eval mode, float32, on the CPU, and what identifies it beside results."""

    network: _Kind
    name: str
    """As given: a name, or the name of a file."""
    sha256: str | None
    """Of its weight file; None where the weights are made from ``seed``."""
    seed: int | None = None
    outputs: tuple[int, ...] | None = None
    """The blocks or stages that it returns, where they were or can be chosen."""

    def identity(self) -> dict[str, object]:
        """For RESULT.json: ``name`` and ``sha256`` or ``seed``, and ``outputs`` where they can be chosen."""
        origin = {"seed": self.seed} if self.sha256 is None else {"sha256": self.sha256}
        chosen = {} if self.outputs is None else {"outputs": list(self.outputs)}
        return {"name": self.name, **origin, **chosen}


def load_network(
    name_or_path: str | Path, outputs: Outputs = None, backbone: str | Path | None = None, *, part: str = ""
) -> LoadedNetwork[Network | TransformersBackbone]:
    """The network behind a name or a weight file, a matcher included; see the head of this module.

    Args:
        name_or_path: a name of the weights table, ``fgvc-untrained``, a file, a repository of the Hub, or ``hf:`` and
            a backbone of transformers.
        outputs: the blocks (from 0) of a transformer or the stages (from 1) of a ResNet whose maps are wanted. By
            default the last block but one, stage 3, or what was chosen in conversion. Our own networks return all
            their levels.
        backbone: of a matcher whose file leaves it out: a model as ``name_or_path``.
        part: in a file of others that has names below it, the network of these: ``"teacher."`` of a training's.

    Raises:
        InputError: neither a known name nor a file, a file that is damaged, whose keys are not known (they are named)
            or do not fit, outputs that the network does not have, or a backbone that it does not want.
    """
    if backbone is not None:
        loaded = load_network(name_or_path, outputs)
        if not isinstance(loaded.network, Matcher) or not loaded.network.config.external:
            raise InputError(f"backbone: {loaded.name} has its own; only a matcher that leaves it out takes one")
        outputs = needed_outputs(loaded.network.config.backbone)
        loaded.network.use_backbone(load_features(backbone, outputs).network)
        return loaded
    name = str(name_or_path)
    if name == UNTRAINED:
        return LoadedNetwork(_untrained(SEED, outputs), name, None, SEED, tuple(outputs or (3,)))
    if name.startswith(PREFIX):
        adapted, digest = load_backbone(name, outputs)
        return LoadedNetwork(adapted, name, digest, None, adapted.outputs)
    if name not in TABLE and not Path(name).is_file() and "/" not in name:  # which may be a repository
        known = (*TABLE, UNTRAINED)
        nearest = difflib.get_close_matches(name, known, 1, 0.3)
        hint = f"did you mean {nearest[0]}?" if nearest else f"known: {', '.join(known)}"
        raise InputError(f"unknown model {name!r}: neither a known name nor a file; {hint}")
    path = resolve(name_or_path)
    ours = name in TABLE or has_our_metadata(path)
    network = read_network(path, outputs) if ours else _recognised(path, outputs, part)
    return LoadedNetwork(network, path.name if Path(name).is_file() else name, sha256(path), None, outputs_of(network))


def load_features(name_or_path: str | Path, outputs: Outputs = None, *, part: str = "") -> LoadedNetwork[MapNetwork]:
    """As :func:`load_network`, of networks that give maps.

    Raises:
        InputError: as there; or the network is a matcher.
    """
    loaded = load_network(name_or_path, outputs, part=part)
    network = loaded.network
    if isinstance(network, Matcher):
        raise InputError(f"{loaded.name}: is a matcher, which gives no maps")
    return LoadedNetwork(network, loaded.name, loaded.sha256, loaded.seed, loaded.outputs)


def companion_of(model: nn.Module | str | Path) -> str | None:
    """The name of the network that goes with this one where masks are followed; None for networks that are not ours.

    >>> companion_of("samepoint-base")
    'samepoint-match'
    """
    return TABLE[model].companion if isinstance(model, str) and model in TABLE else None


def load_encoder(name_or_path: str | Path) -> nn.Module:
    """As :func:`load_features`, but of a matcher the encoder that it compares pictures by.

    Raises:
        InputError: as :func:`load_network`.
    """
    return encoder_of(load_network(name_or_path).network)


def encoder_of(network: nn.Module) -> nn.Module:
    """Of a matcher the encoder that it compares pictures by, else the network itself."""
    return network.hypercolumn.network if isinstance(network, Matcher) else network


def _recognised(path: Path, outputs: Outputs, part: str) -> Network:
    """The network of a file of others, told by its names."""
    tensors, _ = read(path)
    try:
        below = {name: given for name, given in without_module(list(tensors)).items() if part and name.startswith(part)}
        tensors = {name.removeprefix(part): tensors[given] for name, given in below.items()} or tensors
        kind = recognise(tensors)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    if kind is None:
        raise InputError(
            f"{path}: its keys are not those of a network that is known (a ViT with timm's names, a ResNet with "
            f"torchvision's, CRW's or FGVC's); keys seen: {shown(list(tensors))}"
        )
    if "heads" in kind.choices:
        raise InputError(f"{path}: is a matcher, whose names do not tell how many heads it has; convert it first")
    return fit(kind, tensors, str(path), Choices(None if outputs is None else tuple(outputs))).network


def _untrained(seed: int, outputs: Outputs) -> ResNet:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = resnet(18, (1, 1, 1, 4), False, Choices(None if outputs is None else tuple(outputs)), "lab")
        initialise(network)
    leave_out_idle(network)
    return network.eval()


def as_module(network: FeatureNetwork) -> nn.Module:
    """The same network for what asks for a module.

    Raises:
        InputError: it is none.
    """
    if not isinstance(network, nn.Module):
        raise InputError(f"a feature network must be a torch.nn.Module, got {type(network).__name__}")
    return network
