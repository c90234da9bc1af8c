"""Any network that gives maps, by name or file, whatever keys it was saved with.

| given | network |
|---|---|
| a name of the weights table, a safetensors file with our metadata | :func:`samepoint.models.weights.load_model` |
| ``fgvc-untrained`` | FGVC's configuration with random weights of a fixed seed: the floor of comparisons |
| ``patch_embed.proj.weight``, ``blocks.0.attn.qkv.weight`` | :class:`VisionTransformer`; heads of 64 channels |
| ``conv1.weight``, ``layer1.0.conv1.weight`` | :class:`ResNet`, standard strides, ImageNet's RGB statistics |
| ``conv1.conv.weight``, ``layer1.0.conv1.conv.weight`` | :class:`ResNet` as FGVC has it (depth 18: stride 2) or as \
Spa-then-Temp (other depths: no pooling, stage 3 at stride 8); Lab |

Foreign files are safetensors or what ``torch.save`` wrote, never unpickled beyond tensors and plain containers. The
weights may lie under ``state_dict`` or ``model``, their keys behind ``module.`` and ``backbone.``, ``encoder.`` or
``backbone_fine.``. Strides, pooling and colours are not written in such files: where a checkpoint was trained with
others than the table says (Spa-then-Temp's ResNet-18), build the network yourself.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from ..errors import InputError
from ..geometry import Lattice
from .colour import ColourSpace
from .network import PointNetwork
from .resnet import ResNet, initialise
from .vit import VisionTransformer
from .weights import TABLE, from_fgvc, load_model, load_strictly, read_tensors, resolve, sha256

UNTRAINED = "fgvc-untrained"
SEED = 0
"""Of the weights of :data:`UNTRAINED`."""

Outputs = Sequence[int] | None
Tensors = dict[str, Tensor]


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


@dataclass(frozen=True, eq=False)
class LoadedNetwork:
    """A network in eval mode, float32, on the CPU, and what identifies it beside results."""

    network: PointNetwork | ResNet | VisionTransformer
    name: str
    """As given: a name, or the name of a file."""
    sha256: str | None
    """Of its weight file; None where the weights are made from ``seed``."""
    seed: int | None = None
    outputs: tuple[int, ...] | None = None
    """The blocks or stages that it returns, where they can be chosen."""

    def identity(self) -> dict[str, object]:
        """For RESULT.json: ``name`` and ``sha256`` or ``seed``, and ``outputs`` where they can be chosen."""
        origin = {"seed": self.seed} if self.sha256 is None else {"sha256": self.sha256}
        chosen = {} if self.outputs is None else {"outputs": list(self.outputs)}
        return {"name": self.name, **origin, **chosen}


def load_features(name_or_path: str | Path, outputs: Outputs = None) -> LoadedNetwork:
    """The network behind a name or a weight file; see the head of this module.

    Args:
        name_or_path: a name of the weights table, ``fgvc-untrained``, or a file.
        outputs: the blocks (from 0) of a transformer or the stages (from 1) of a ResNet whose maps are wanted. By
            default the last block but one, stage 3. Our own networks return all their levels.

    Raises:
        InputError: neither a known name nor a file, a file that is damaged, whose keys are not known (they are named)
            or do not fit, or outputs that the network does not have.
    """
    name = str(name_or_path)
    if name == UNTRAINED:
        return LoadedNetwork(_untrained(SEED, outputs), name, None, SEED, tuple(outputs or (3,)))
    if name not in TABLE and not Path(name).is_file():
        known = (*TABLE, UNTRAINED)
        nearest = difflib.get_close_matches(name, known, 1, 0.3)
        hint = f"did you mean {nearest[0]}?" if nearest else f"known: {', '.join(known)}"
        raise InputError(f"unknown model {name!r}: neither a known name nor a file; {hint}")
    path = resolve(name_or_path)
    shown = name if name in TABLE else path.name
    if name in TABLE or has_our_metadata(path):
        if outputs is not None:
            raise InputError(f"{path}: outputs of a samepoint model cannot be chosen, it returns all its levels")
        return LoadedNetwork(load_model(name_or_path), shown, sha256(path))
    try:
        network = _recognised(_read(path), str(path), outputs).eval()
    except InputError as error:
        if str(path) in str(error):
            raise
        raise InputError(f"{path}: {error}") from None
    return LoadedNetwork(network, shown, sha256(path), None, network.outputs)


def _untrained(seed: int, outputs: Outputs) -> ResNet:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = _resnet(18, (1, 1, 1, 4), False, outputs, "lab")
        initialise(network)
    return network.eval()


def has_our_metadata(path: Path) -> bool:
    """Whether a file is one that :func:`samepoint.models.weights.save_weights` wrote."""
    if not _is_safetensors(path):
        return False
    try:
        with safe_open(str(path), framework="pt") as file:
            return "samepoint" in (file.metadata() or {})
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path}: not a readable safetensors file ({error})") from error


def _is_safetensors(path: Path) -> bool:
    # The length of the header in eight bytes, then the header, which is JSON; neither kind of pickle begins so.
    with path.open("rb") as file:
        return path.suffix == ".safetensors" or file.read(9)[8:] == b"{"


def _read(path: Path) -> Tensors:
    """The tensors of a foreign file, from under ``state_dict`` or ``model`` if they lie there."""
    if _is_safetensors(path):
        return read_tensors(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle raises whatever its opcodes run into
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise InputError(f"{path}: neither safetensors nor a PyTorch file of plain tensors ({reason[:200]})") from None
    for _ in range(2):
        if isinstance(content, Mapping):
            inner = [content[key] for key in ("state_dict", "model") if isinstance(content.get(key), Mapping)]
            content = inner[0] if inner else content
    if not isinstance(content, Mapping):
        raise InputError(f"{path}: expected a dictionary of tensors, got {type(content).__name__}")
    return {str(key): value for key, value in content.items() if isinstance(value, Tensor)}


def _recognised(tensors: Tensors, origin: str, outputs: Outputs) -> ResNet | VisionTransformer:
    keys = {key.removeprefix("module."): value for key, value in tensors.items()}
    for prefix in ("", "backbone.", "encoder.", "backbone_fine."):
        for signature, build in _KINDS:
            if all(prefix + key in keys for key in signature):
                inner = {key.removeprefix(prefix): value for key, value in keys.items() if key.startswith(prefix)}
                return build(inner, origin, outputs)
    seen = ", ".join(list(tensors)[:5]) or "none"
    more = f" and {len(tensors) - 5} more" if len(tensors) > 5 else ""
    raise InputError(
        f"{origin}: its keys are not those of a network that is known (a ViT with timm's names, a ResNet with "
        f"torchvision's or FGVC's); keys seen: {seen}{more}"
    )


def _vit(tensors: Tensors, origin: str, outputs: Outputs) -> VisionTransformer:
    network = VisionTransformer.shaped_like(tensors, outputs)
    tensors.pop("mask_token", None)  # DINOv2's stand-in for masked patches in training
    load_strictly(network, tensors, origin)
    return network


def _torchvision(tensors: Tensors, origin: str, outputs: Outputs) -> ResNet:
    network = _resnet(_depth(tensors), (1, 2, 2, 2), True, outputs, "rgb")
    return _filled(network, tensors, origin)


def _fgvc(tensors: Tensors, origin: str, outputs: Outputs) -> ResNet:
    encoder = {key: value for key, value in tensors.items() if key.split(".")[0] in _ENCODER}
    short = [key for key in encoder if key.count(".") < 2]
    if short:
        raise InputError(f"{origin}: unexpected {short[0]} among FGVC's keys")
    plain = from_fgvc({f"backbone.{key}": value for key, value in encoder.items()})
    depth = _depth(plain)
    network = _resnet(depth, (1, 1, 1, 4) if depth == 18 else (1, 2, 2, 4), False, outputs, "lab")
    return _filled(network, plain, origin)


_KINDS: tuple[tuple[tuple[str, str], Callable[[Tensors, str, Outputs], ResNet | VisionTransformer]], ...] = (
    (("patch_embed.proj.weight", "blocks.0.attn.qkv.weight"), _vit),
    (("conv1.weight", "layer1.0.conv1.weight"), _torchvision),
    (("conv1.conv.weight", "layer1.0.conv1.conv.weight"), _fgvc),
)
_DEPTHS = {18: (False, (2, 2, 2)), 34: (False, (3, 4, 6)), 50: (True, (3, 4, 6)), 101: (True, (3, 4, 23))}
"""Whether blocks have three convolutions, and how many blocks stages 1 to 3 have."""
_ENCODER = ("conv1", "layer1", "layer2", "layer3", "layer4")


def _resnet(depth: int, strides: Sequence[int], pool: bool, outputs: Outputs, colour: ColourSpace) -> ResNet:
    stages = (3,) if outputs is None else tuple(outputs)
    if not stages or not all(1 <= stage <= 4 for stage in stages):
        raise InputError(f"stages to output: expected some of 1 to 4, got {list(stages)}")
    return ResNet(depth, strides, pool, stages, colour)


def _depth(tensors: Tensors) -> int:
    """The depth from the number of blocks in the first three stages, which all files have."""
    counts = tuple(
        len({key.split(".")[1] for key in tensors if key.startswith(f"layer{stage}.")}) for stage in (1, 2, 3)
    )
    wide = "layer1.0.conv3.weight" in tensors
    for depth, kind in _DEPTHS.items():
        if kind == (wide, counts):
            return depth
    raise InputError(f"stages 1 to 3 have {counts} blocks; expected a ResNet of depth 18, 34, 50 or 101")


def _filled(network: ResNet, tensors: Tensors, origin: str) -> ResNet:
    """``network`` with its tensors; the classifier and stages past the last output are left out."""
    expected = network.state_dict()
    unused = ("fc.", *(f"layer{stage}." for stage in range(network.outputs[0] + 1, 5)))
    used = {key: value for key, value in tensors.items() if not key.startswith(unused)}
    # Counters, which old files lack and inference never reads.
    used |= {key: value for key, value in expected.items() if key.endswith("num_batches_tracked") and key not in used}
    load_strictly(network, used, origin)
    return network


def as_module(network: FeatureNetwork) -> nn.Module:
    """The same network for what asks for a module.

    Raises:
        InputError: it is none.
    """
    if not isinstance(network, nn.Module):
        raise InputError(f"a feature network must be a torch.nn.Module, got {type(network).__name__}")
    return network
