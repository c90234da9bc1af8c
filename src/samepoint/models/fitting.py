"""Tensors into networks, strictly: shapes are compared before anything is made of them, values before they are used."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import InputError
from .colour import STATISTICS
from .matcher import Matcher, MatcherConfig
from .network import NetworkConfig, PointNetwork
from .resnet import ResNet
from .vit import VisionTransformer

Network = PointNetwork | ResNet | VisionTransformer | Matcher
_SHOWN = 5
_LARGEST_STRIDE = 64
MOST_BLOCKS = 512
"""Of a transformer, or of a stage; real ones have tens."""
_FLOATS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)


def make(architecture: Any, config: Mapping[str, Any]) -> Network:
    """An unfilled network of ours.

    Raises:
        InputError: no such architecture, or a configuration that does not describe one.
    """
    try:
        _check_counts(config)
        network = _made(architecture, config)
    except InputError:
        raise
    except (LookupError, ValueError, TypeError, AttributeError, RuntimeError, ArithmeticError) as error:
        raise InputError("its configuration does not describe a network") from error
    if network is None:
        raise InputError(f"unknown architecture {architecture!r}")
    return network


def _made(architecture: Any, config: Mapping[str, Any]) -> Network | None:
    match architecture:
        case "PointNetwork":
            return PointNetwork(NetworkConfig.model_validate(config))
        case "ResNet":
            strides = config.get("strides", (1, 2, 2, 2))
            possible = len(strides) == 4 and all(1 <= stride <= _LARGEST_STRIDE for stride in strides)
            if not possible or config.get("padding", "zeros") not in ("zeros", "reflect"):
                raise InputError("its configuration claims strides or a padding that no network of ours has")
            _check_colour(config.get("colour", "rgb"))
            return ResNet(**config)
        case "VisionTransformer":
            if config["width"] % config["heads"] or min(config["patch"], config["grid"]) < 1:
                raise InputError("its configuration claims heads, patches or positions that cannot be")
            return VisionTransformer(**config)
        case "Matcher":
            return Matcher(MatcherConfig.model_validate(config))
    return None


def _check_colour(colour: Any) -> None:
    if colour not in STATISTICS:
        raise InputError(f"its configuration claims the colour space {colour!r}; known: {', '.join(STATISTICS)}")


def _check_counts(config: Mapping[str, Any]) -> None:
    """Modules cost time even where they hold no memory."""
    for key, value in config.items():
        if isinstance(value, Mapping):
            _check_counts(value)
        elif key in ("depth", "blocks") and isinstance(value, int) and value > MOST_BLOCKS:
            raise InputError(f"its configuration claims {key} = {value}; at most {MOST_BLOCKS} are believed")


def config_of(network: Network) -> dict[str, Any]:
    """What :func:`make` needs to make such a network."""
    if isinstance(network, (ResNet, VisionTransformer)):
        return network.config
    return network.config.model_dump(mode="json")


def input_of(network: Network) -> dict[str, Any]:
    """What the network is to be fed, as written beside converted weights; ``network.preprocess`` makes it of RGB."""
    mean, deviation = STATISTICS[network.colour]
    units = "L in [0, 100], a and b about -128 to 127" if network.colour == "lab" else "red, green, blue in [0, 1]"
    return {"colour": network.colour, "units": units, "mean": list(mean), "std": list(deviation)}


def filled(architecture: Any, config: Mapping[str, Any], tensors: Mapping[str, Tensor], origin: str) -> Network:
    """A network in eval mode with these weights; it takes memory only once their shapes are known to be its own.

    Raises:
        InputError: whatever does not fit; lists it.
    """
    try:
        with torch.device("meta"):
            skeleton = make(architecture, config)
        compare(skeleton, tensors)
        network = make(architecture, config)
    except InputError as error:
        raise InputError(f"{origin}: {error}") from error.__cause__
    load_strictly(network, tensors, origin)
    return network.eval()


def load_strictly(network: nn.Module, tensors: Mapping[str, Tensor], origin: str) -> None:
    """Fill every parameter and buffer of ``network``; half-precision files are widened.

    Raises:
        InputError: a name missing or left over, a shape or type that differs, a value that is no number; lists them.
    """
    try:
        compare(network, tensors)
        check_values(tensors)
    except InputError as error:
        raise InputError(f"{origin}: {error}") from None
    expected = network.state_dict()
    network.load_state_dict({key: tensors[key].to(value.dtype) for key, value in expected.items()})


def compare(
    network: nn.Module,
    tensors: Mapping[str, Tensor],
    given_names: Mapping[str, str] | None = None,
    strange: Sequence[str] = (),
) -> None:
    """Names, shapes and types of ``tensors`` against those of the network, which may lie on the meta device.

    Args:
        network: whose state dict is expected.
        tensors: what there is.
        given_names: what the file calls a tensor, where it is not as we do.
        strange: names of the file that are nothing of ours.

    Raises:
        InputError: lists what is missing, what is unexpected and what is of another shape or type.
    """
    expected, names = network.state_dict(), given_names or {}
    missing = [key for key in expected if key not in tensors]
    unexpected = [*strange, *(names.get(key, key) for key in tensors if key not in expected)]
    differing = []
    for key, value in expected.items():
        if key not in tensors:
            continue
        given = tensors[key]
        if given.shape != value.shape:
            differing.append(f"{names.get(key, key)} has shape {tuple(given.shape)}, expected {tuple(value.shape)}")
        elif (given.dtype not in _FLOATS) if value.is_floating_point() else (given.dtype != value.dtype):
            kind = "floating-point numbers" if value.is_floating_point() else _plain(value.dtype)
            differing.append(f"{names.get(key, key)} holds {_plain(given.dtype)}, expected {kind}")
    parts = [
        *([f"missing {shown(missing)}"] if missing else []),
        *([f"unexpected {shown(unexpected)}"] if unexpected else []),
        *([shown(differing)] if differing else []),
    ]
    if parts:
        raise InputError(f"does not fit the network: {'; '.join(parts)}")


def check_values(tensors: Mapping[str, Tensor]) -> None:
    """Every number is one, and still is as float32.

    Raises:
        InputError: names the first tensor with others, and how many.
    """
    for key, value in tensors.items():
        if not value.is_floating_point():
            continue
        bad = value.numel() - int(torch.isfinite(value.float()).sum())
        if bad:
            raise InputError(f"{bad} of the {value.numel()} values of {key} are NaN or infinite")


def tensors_sha256(tensors: Mapping[str, Tensor]) -> str:
    """Hex digest of names, types, shapes and values, whatever else a file says."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        value = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def shown(names: Sequence[str]) -> str:
    """The first few of many.

    >>> shown([str(n) for n in range(9)])
    '0, 1, 2, 3, 4 and 4 more'
    """
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{', '.join(names[:_SHOWN])}{more}" if names else "none"


def _plain(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def past_outputs(name: str, last: int) -> str | None:
    """Why a ResNet that stops after stage ``last`` lacks a tensor of a whole one; None where it does not."""
    stage = name.split(".")[0].removeprefix("layer")
    return f"past the last output, stage {last}" if stage in ("1", "2", "3", "4") and int(stage) > last else None
