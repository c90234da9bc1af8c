"""The kinds of checkpoints there are, and which one a state dict is."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from ...errors import InputError
from ...io.checkpoints import is_safetensors, load_torch, state_dict
from ..fitting import shown
from ..weights import read_tensors
from . import cats, crw, dinov2, fgvc, spa_then_temp, ssscweb, timm, torchvision
from .kind import Choices, Fitted, Kind, Tensors, fit, without_module

KINDS: dict[str, tuple[Kind, ...]] = {
    "fgvc": (fgvc.KIND,),
    "spa-then-temp": (spa_then_temp.KIND,),
    "crw": (crw.KIND,),
    "cats": (cats.KIND,),
    "ssscweb": (ssscweb.KIND,),
    "torchvision": (torchvision.KIND,),
    "timm": (timm.TRANSFORMER, timm.RESNET),
    "dinov2": (dinov2.KIND,),
}
"""By the name that ``--from`` takes; of several, the first whose signature is there."""

_CONTAINERS = ("state_dict", "model", "teacher")
"""Names under which the weights lie in files: of training scripts, of CRW and DeiT, of DINO."""
_AVERAGED = ("state_dict_ema", "model_ema", "ema")
"""Names under which means of the same weights over the training lie beside them."""
_TOLD_APART = (timm.TRANSFORMER, crw.KIND, cats.KIND, torchvision.KIND, fgvc.KIND)
"""One of each signature."""


def kinds(name: str) -> tuple[Kind, ...]:
    """The kinds behind a name.

    Raises:
        InputError: unknown; the nearest is suggested.
    """
    if name in KINDS:
        return KINDS[name]
    nearest = difflib.get_close_matches(name, KINDS, 1, 0.3)
    hint = f"did you mean {nearest[0]}? " if nearest else ""
    raise InputError(f"unknown kind of checkpoint {name!r}; {hint}known: {', '.join(KINDS)}")


def read(path: Path) -> tuple[dict[str, Tensor], dict[str, object]]:
    """The state dict of a file of others, and what lay beside it.

    Raises:
        InputError: damaged, malicious, or no dictionary of tensors.
    """
    if is_safetensors(path):
        return read_tensors(path), {}
    return state_dict(path, load_torch(path), _CONTAINERS)


def averaged(beside: Mapping[str, object]) -> str | None:
    """What to tell of means of the weights (EMA) that lay beside those that were read; None where there are none."""
    left = [name for name in _AVERAGED if beside.get(name) is not None]
    if not left:
        return None
    return f"{' and '.join(left)} left: means of the weights over the training; the weights themselves were taken"


def recognise(tensors: Tensors) -> Kind | None:
    """The kind whose names these are; None where they are nobody's. FGVC stands for Spa-then-Temp's ResNet-18 too.

    Raises:
        InputError: their names stand there several times, behind several prefixes.
    """
    names = list(without_module(list(tensors)))
    for kind in _TOLD_APART:
        prefix = kind.prefix(names)
        if prefix is None:
            continue
        deeper = any(name.startswith(prefix + "layer1.2.") for name in names)
        return spa_then_temp.KIND if kind is fgvc.KIND and deeper else kind
    return None


def convert(tensors: Tensors, name: str, origin: str, choices: Choices | None = None) -> Fitted:
    """The network of a state dict that is said to be of the kind ``name``; see :func:`fit`.

    Raises:
        InputError: unknown kind; or what :func:`fit` refuses, where the names are another kind's with that one named.
    """
    candidates = kinds(name)
    try:
        names = list(without_module(list(tensors)))
        for kind in candidates:
            if kind.prefix(names) is not None:
                return fit(kind, tensors, origin, choices)
        actual = recognise(tensors)
    except InputError as error:
        raise InputError(str(error) if str(error).startswith(origin) else f"{origin}: {error}") from None
    if actual is None:
        raise InputError(f"{origin}: its names are not those of {name}; names seen: {shown(list(tensors))}")
    raise InputError(f"{origin}: its names are not those of {name} but of {actual.name}")
