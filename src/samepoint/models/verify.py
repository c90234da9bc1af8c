"""Whether a weight file is what it was: checksum, strict load, and one forward pass against stored numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..errors import InputError
from .fitting import Network, tensors_sha256
from .matcher import Matcher
from .network import PointNetwork
from .refiner import Context, channels_last
from .visibility import EVIDENCE
from .weights import TABLE, Numbers, has_our_metadata, read_metadata, read_network, read_tensors, resolve, sha256

TOLERANCE = 1e-3
"""Of the largest of an output's numbers: processors round differently, other weights differ by far more."""
_SAMPLES = 5


@dataclass(frozen=True)
class Verified:
    """What was checked of one file, all of it passed."""

    name: str
    sha256: str
    checksum: str | None
    """Against what: ``"table"``, ``"metadata"``, or None where neither knows one."""
    tensors: int
    numbers: Numbers
    """What the forward pass gave."""
    deviation: float | None
    """Largest difference from the stored numbers, relative to the largest number of its output; None: none stored."""


def verify(name_or_path: str | Path) -> Verified:
    """Check one file: by the table where it has a name, by its own metadata where it was converted.

    Raises:
        InputError: it is damaged, does not fit its architecture, holds values that are no numbers, or does not give the
            numbers that it should.
    """
    path, entry = resolve(name_or_path), TABLE.get(str(name_or_path))
    digest = sha256(path)
    if entry is not None and digest != entry.sha256:
        raise InputError(f"{path}: its sha256 is {digest}, but the table says {entry.sha256}: damaged or replaced")
    if entry is None and not has_our_metadata(path):
        raise InputError(f"{path}: has no samepoint metadata to verify it by; see: samepoint weights convert")
    network, said, tensors = read_network(path), read_metadata(path), read_tensors(path)
    content = said.get("tensors_sha256")
    if content is not None and content != tensors_sha256(tensors):
        raise InputError(f"{path}: its tensors are not those that were written into it")
    try:
        got = numbers_of(network)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    stored = entry.numbers if entry is not None else said.get("numbers", {})
    if not isinstance(stored, Mapping):
        raise InputError(f"{path}: its stored numbers are damaged")
    deviation = _deviation(stored, got, path) if stored else None
    checksum = "table" if entry is not None else None if content is None else "metadata"
    return Verified(str(name_or_path), digest, checksum, len(tensors), got, deviation)


def _deviation(stored: Numbers, got: Numbers, path: Path) -> float:
    """The largest, relative to the largest number of its output.

    Raises:
        InputError: above :data:`TOLERANCE`, or of other outputs.
    """
    largest = 0.0
    for name in [*stored, *(name for name in got if name not in stored)]:
        try:
            expected = np.array(stored.get(name, ()), np.float64)
        except (ValueError, TypeError):
            raise InputError(f"{path}: its stored numbers are damaged ({name})") from None
        actual = np.array(got.get(name, ()), np.float64)
        if expected.shape != actual.shape or not expected.size:
            raise InputError(f"{path}: its stored numbers are not those of its network ({name})")
        off = float(np.abs(expected - actual).max() / max(np.abs(expected).max(), 1e-12))
        if not off <= TOLERANCE:
            raise InputError(
                f"{path}: {name} of the fixed input differs from its stored numbers by {off:.2g} of the largest "
                f"({TOLERANCE:g} allowed)"
            )
        largest = max(largest, off)
    return largest


def frames(size: tuple[int, int] = (56, 84)) -> Tensor:
    """Two pictures of fixed content, uint8 (2, H, W, 3), the same on every machine: whole numbers only.

    >>> frames()[0, 5, 7].tolist(), frames()[1, 5, 7].tolist()
    ([71, 78, 126], [20, 68, 116])
    """
    y, x, c = torch.meshgrid(*(torch.arange(n) for n in (*size, 3)), indexing="ij")
    first = (x * 3 + y * 2 + ((x // 7 + y // 5) % 2) * 90 + (x * y * 7 + c * 131) % 41 + c * 40) % 256
    return torch.stack([first, first.roll((2, 3), (0, 1))]).to(torch.uint8)


@torch.no_grad()
def numbers_of(network: Network) -> dict[str, list[float]]:
    """What a network in eval mode makes of :func:`frames`: for each output mean, deviation, largest size and samples.

    All of a network that we ship takes part: encoder, refiner, visibility; of a matcher whose backbone lies in another
    file, what is its own.

    Raises:
        InputError: not all of it is finite.
    """
    if isinstance(network, Matcher):
        outputs = _of_matcher(network)
    else:
        maps = network.features(network.preprocess(frames()))
        outputs = {f"map {index}": level for index, level in enumerate(maps)}
        if isinstance(network, PointNetwork):
            outputs |= _of_refiner(network, maps)
    return {name: _summary(value, name) for name, value in outputs.items()}


def _of_matcher(network: Matcher) -> dict[str, Tensor]:
    if network.config.external:
        side, channels = network.aggregation.grid, network.hypercolumn.channels
        source, target = ([_waves(1, count, side, side) for count in channels] for _ in range(2))
        correlation = _waves(1, len(channels), side * side, side * side)
        return {"refined": network.aggregation(correlation, source, [level.flip(3) for level in target])}
    source, target = network.preprocess(frames(network.working_size((56, 84)))).split(1)
    output = network(source, target)
    return {"level": network.hypercolumn(source)[-1], "refined": output.refined}


def _of_refiner(network: PointNetwork, maps: Sequence[Tensor]) -> dict[str, Tensor]:
    xy = torch.tensor([[20.3, 17.6], [61.2, 40.7], [40.6, 9.2]])
    first, second = (channels_last([level[at : at + 1] for level in maps]) for at in (0, 1))
    templates = network.refiner.templates(first, xy)
    state = _waves(len(xy), network.config.state)
    context = Context(state, xy + 1, torch.tensor([0.2, 0.5, 0.9]), xy, torch.ones_like(xy))
    estimates, after = network.refiner(templates, templates, second, xy + 2.4, context)
    evidence = _waves(len(xy), len(EVIDENCE))
    logits = network.visibility(evidence)
    window = _waves(len(xy), network.hindsight.first.in_features)
    last = estimates[-1]
    return {
        "points": torch.cat([last.xy, last.log_error[:, None], last.visible[:, None]], dim=1),
        "state": after,
        "visible": logits,
        "hindsight": network.hindsight(window, logits),
    }


def _waves(*shape: int) -> Tensor:
    """Smooth numbers between -1 and 1, of any shape."""
    return (torch.arange(math.prod(shape), dtype=torch.float64) * 0.7).sin().float().reshape(shape)


def _summary(value: Tensor, name: str) -> list[float]:
    flat = value.double().flatten()
    if not bool(torch.isfinite(flat).all()):
        raise InputError(f"{name} of the fixed input is not finite")
    places = torch.linspace(0, len(flat) - 1, _SAMPLES).long()
    numbers = [float(flat.mean()), float(flat.std(correction=0)), float(flat.abs().max()), *flat[places].tolist()]
    return [float(f"{number:.6g}") for number in numbers]
