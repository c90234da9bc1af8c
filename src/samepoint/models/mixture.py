"""The mean of two networks' weights: between two that were trained one from the other it is often better than either.

(Wortsman et al., Robust fine-tuning of zero-shot models, CVPR 2022: what fine-tuning forgets comes back.)
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from ..errors import InputError
from .transformers_backbone import TransformersBackbone
from .weights import config_of, load_model, read_metadata, resolve, save_weights, sha256


def mix(
    first: str | Path, second: str | Path, output: Path, share: float = 0.5, parts: Mapping[str, float] | None = None
) -> Path:
    """Write a weight file of ``(1 - share) first + share second``.

    Args:
        first, second: names or files of models of one architecture.
        output: a .safetensors file, which appears whole or not at all.
        share: of the second, from 0 to 1.
        parts: other shares for what its name says, such as ``{"encoder": 0.5}``.

    Raises:
        InputError: another ending, different architectures, a share out of range, or a part that there is not.
    """
    parts = dict(parts or {})
    if output.suffix != ".safetensors":
        raise InputError(f"{output}: expected a name that ends in .safetensors")
    for name, value in {"share": share, **parts}.items():
        if not 0 <= value <= 1:
            raise InputError(f"{name}: expected a share from 0 to 1, got {value:g}")
    one, other = load_model(first), load_model(second)
    if isinstance(one, TransformersBackbone) or isinstance(other, TransformersBackbone):
        raise InputError(f"{first} and {second}: only weight files of ours have a mean")
    if type(one) is not type(other) or config_of(one) != config_of(other):
        raise InputError(f"{first} and {second} are of different architectures; only alike ones have a mean")
    given, added = one.state_dict(), other.state_dict()
    known = sorted({key.split(".")[0] for key in given})
    for name in parts:
        if name not in known:
            raise InputError(f"no part {name!r}; expected some of {', '.join(known)}")
    one.load_state_dict(
        {key: _between(value, added[key], parts.get(key.split(".")[0], share)) for key, value in given.items()}
    )
    return save_weights(one, output, _record((first, second), share, parts))


def _between(first: Tensor, second: Tensor, share: float) -> Tensor:
    if not first.is_floating_point():  # counters of batch normalisation
        return second if share == 1 else first
    return first.lerp(second, share)


def _record(sources: tuple[str | Path, str | Path], share: float, parts: Mapping[str, float]) -> dict[str, Any]:
    paths = [resolve(source) for source in sources]
    told = [read_metadata(path) for path in paths]
    mixed = [
        {"file": path.name, "sha256": sha256(path), "training": each.get("training")}
        for path, each in zip(paths, told, strict=True)
    ]
    return {
        "training": {"mixed": mixed, "share": share, "parts": dict(parts)},
        **{
            key: "; ".join(dict.fromkeys(str(each.get(key, "not stated")) for each in told))
            for key in ("data", "licence")
        },
    }
