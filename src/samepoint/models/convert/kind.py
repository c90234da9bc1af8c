"""How a checkpoint of others becomes a network of ours: every name mapped, ignored for a reason, or refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ...errors import InputError
from ..fitting import Network, compare, load_strictly, shown
from ..resnet import ResNet
from ..vit import VisionTransformer

Tensors = Mapping[str, Tensor]


@dataclass(frozen=True)
class Choices:
    """What a checkpoint does not say of itself and its user may; None takes what its kind was published with.

    Attributes:
        outputs: stages (from 1) of a ResNet or blocks (from 0) of a transformer whose maps are wanted.
        heads: attention heads of a matcher.
        gelu: the backbone of a matcher has GELU where others have ReLU.
    """

    outputs: tuple[int, ...] | None = None
    heads: int | None = None
    gelu: bool | None = None


def _nothing(*_: object) -> None:
    return None


@dataclass(frozen=True)
class Kind:
    """One family of checkpoints.

    Attributes:
        name: as in ``--from``.
        title: what it is and where it was published.
        licence: of its release.
        signature: names that it always has, after the prefix; kinds are told apart by them.
        prefixes: what may stand before its names, once ``module.`` is taken off.
        rename: a name after the prefix to ours; None where the kind has no such name.
        build: the network, unfilled, for tensors under our names.
        ignored: beginnings of names, after the prefix or without one, that are no part of the network, and why.
        surplus: why the network that was built lacks one of our names; None where it should not.
        kept: why one of the network's names keeps its initial value; None where it has to be filled.
        remark: what a user should know of these very weights; None where there is nothing.
        choices: those of :class:`Choices` that mean something to it.
    """

    name: str
    title: str
    licence: str
    signature: tuple[str, ...]
    prefixes: tuple[str, ...]
    rename: Callable[[str], str | None]
    build: Callable[[Tensors, Choices], Network]
    ignored: Mapping[str, str] = field(default_factory=dict)
    surplus: Callable[[Network, str], str | None] = _nothing
    kept: Callable[[str], str | None] = _nothing
    remark: Callable[[Tensors], str | None] = _nothing
    choices: tuple[str, ...] = ("outputs",)

    def prefix(self, names: Sequence[str]) -> str | None:
        """The one prefix behind which its signature stands; None where it stands behind none.

        Raises:
            InputError: behind several.
        """
        known = set(names)
        found = [prefix for prefix in self.prefixes if all(prefix + name in known for name in self.signature)]
        if len(found) > 1:
            raise InputError(f"holds weights of {self.name} behind each of {', '.join(map(repr, found))}; expected one")
        return found[0] if found else None


@dataclass(frozen=True, eq=False)
class Fitted:
    """A network with its weights, and what became of every name of the checkpoint."""

    kind: Kind
    network: Network
    mapped: Mapping[str, str]
    """Name in the checkpoint to name in the network."""
    ignored: Mapping[str, str]
    """Name in the checkpoint to the reason why it is not in the network."""
    kept: Mapping[str, str]
    """Name in the network to the reason why its initial value is right."""
    remark: str | None


def without_module(names: Sequence[str]) -> dict[str, str]:
    """Names without the ``module.`` that data parallelism puts before them, to the names given.

    Raises:
        InputError: a name is there with and without.

    >>> without_module(["module.a", "b"])
    {'a': 'module.a', 'b': 'b'}
    """
    given = {name.removeprefix("module."): name for name in names}
    if len(given) < len(names):
        raise InputError("holds the same names with and without module. before them; which are meant is not known")
    return given


def fit(kind: Kind, tensors: Tensors, origin: str, choices: Choices | None = None) -> Fitted:
    """The network that a state dict of this kind describes, filled, in eval mode.

    Args:
        kind: what the tensors are said to be.
        tensors: by their names in the file.
        origin: for messages.
        choices: what the file does not say.

    Raises:
        InputError: not of this kind; a name that is neither known nor ignored, a parameter without one, a shape or
            type that differs (all listed); a value that is no number; a choice that the kind does not have.
    """
    choices = choices or Choices()
    for name in ("outputs", "heads", "gelu"):
        if getattr(choices, name) is not None and name not in kind.choices:
            raise InputError(f"{name} cannot be chosen for {kind.name}")
    try:
        mapped, ignored, strange = _sorted_out(kind, tensors)
        known = {ours: tensors[given] for given, ours in mapped.items()}
        with torch.device("meta"):  # neither time nor memory before the shapes are known to be right
            skeleton = kind.build(known, choices)
        expected = skeleton.state_dict()
        for given, ours in list(mapped.items()):
            reason = None if ours in expected else kind.surplus(skeleton, ours)
            if reason is not None:
                ignored[given] = reason
                del mapped[given]
        renamed = {ours: tensors[given] for given, ours in mapped.items()}
        kept = {name: reason for name in expected if name not in renamed and (reason := _kept(kind, name)) is not None}
        present = renamed | {name: expected[name] for name in kept}
        compare(skeleton, present, {ours: given for given, ours in mapped.items()}, strange)
        network = kind.build(known, choices)
    except InputError as error:
        raise InputError(f"{origin}: as {kind.name}: {error}") from None
    load_strictly(network, renamed | {name: network.state_dict()[name] for name in kept}, origin)
    return Fitted(kind, network.eval(), mapped, ignored, kept, kind.remark(tensors))


def _sorted_out(kind: Kind, tensors: Tensors) -> tuple[dict[str, str], dict[str, str], list[str]]:
    """Names of the file to ours, names of the file to why they are ignored, and those that are nothing of either."""
    names = without_module(list(tensors))
    prefix = kind.prefix(list(names))
    if prefix is None:
        raise InputError(
            f"its names are not those of {kind.name} (which has {' and '.join(kind.signature)}); names seen: "
            f"{shown(list(tensors))}"
        )
    mapped: dict[str, str] = {}
    ignored: dict[str, str] = {}
    strange: list[str] = []
    taken: set[str] = set()
    for name, given in names.items():
        inner = name.removeprefix(prefix)
        reason = next((why for start, why in kind.ignored.items() if inner.startswith(start)), None)
        ours = kind.rename(inner) if name.startswith(prefix) else None
        if reason is not None:
            ignored[given] = reason
        elif ours is None or ours in taken:
            strange.append(given)
        else:
            mapped[given] = ours
            taken.add(ours)
    return mapped, ignored, strange


def _kept(kind: Kind, name: str) -> str | None:
    if name.endswith("num_batches_tracked"):
        return "a counter that old files lack and inference never reads"
    return kind.kept(name)


def outputs_of(network: Network) -> tuple[int, ...] | None:
    """The stages or blocks whose maps it returns, where they can be chosen."""
    return network.outputs if isinstance(network, (ResNet, VisionTransformer)) else None
