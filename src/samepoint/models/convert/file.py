"""From a checkpoint of others to a file of ours that knows where it came from and what it is to be fed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import InputError
from ...io.atomic import check_writable
from ..fitting import input_of
from ..verify import numbers_of
from ..weights import has_our_metadata, save_weights, sha256
from .kind import Choices, Fitted
from .table import averaged, convert, kinds, read


@dataclass(frozen=True, eq=False)
class Conversion:
    """What became of a checkpoint."""

    output: Path
    fitted: Fitted
    metadata: Mapping[str, Any]
    """As written into the file."""
    averaged: str | None = None
    """What to tell of means of the weights that lay beside; None where there are none."""

    @property
    def names(self) -> int:
        """How many tensors the source has."""
        return len(self.fitted.mapped) + len(self.fitted.ignored)

    @property
    def ignored(self) -> dict[str, int]:
        """How many names were ignored, by the reason."""
        return dict(Counter(self.fitted.ignored.values()))


def convert_file(
    source: Path,
    output: Path,
    kind: str,
    *,
    choices: Choices | None = None,
    origin: str | None = None,
    licence: str | None = None,
    expected_sha256: str | None = None,
) -> Conversion:
    """Write the weights of ``source`` as a file that ``load_model`` reads; whole or not at all, exactly as they were.

    Args:
        source: what others published: safetensors, or what ``torch.save`` wrote.
        output: ends in ``.safetensors``.
        kind: what the source is; a name of :data:`samepoint.models.convert.table.KINDS`.
        choices: what the source does not say of itself.
        origin: where the source came from (a URL), for the record.
        licence: of these weights; that of the kind's release by default.
        expected_sha256: of the source, as its publisher states it.

    Raises:
        InputError: the source is not what it is said to be, damaged, malicious, or ours already.
    """
    kinds(kind)
    if output.suffix != ".safetensors":
        raise InputError(f"{output}: expected a name that ends in .safetensors")
    check_writable(output)
    if output.exists() and source.exists() and output.samefile(source):
        raise InputError(f"{output}: would replace what is converted; expected another name")
    if not source.is_file():
        raise InputError(f"{source}: no such file")
    digest = sha256(source)
    if expected_sha256 is not None and digest != expected_sha256.lower():
        raise InputError(f"{source}: its sha256 is {digest}, expected {expected_sha256.lower()}")
    tensors, beside = read(source)
    if source.suffix == ".safetensors" and has_our_metadata(source):
        raise InputError(f"{source}: is a samepoint file already")
    fitted = convert(tensors, kind, str(source), choices)
    metadata = _metadata(fitted, source, digest, origin, licence) | {"left": sorted(beside)}
    save_weights(fitted.network, output, metadata)
    return Conversion(output, fitted, metadata, averaged(beside))


def _metadata(fitted: Fitted, source: Path, digest: str, origin: str | None, licence: str | None) -> dict[str, Any]:
    network = fitted.network
    ignored: dict[str, list[str]] = {}
    for name, reason in fitted.ignored.items():
        ignored.setdefault(reason, []).append(name)
    return {
        "kind": fitted.kind.name,
        "title": fitted.kind.title,
        "licence": licence or fitted.kind.licence,
        "source": {"file": source.name, "bytes": source.stat().st_size, "sha256": digest, "origin": origin},
        "input": input_of(network),
        "ignored": ignored,
        "kept": dict(fitted.kept),
        "precision": "float32",
        "numbers": numbers_of(network),
    }
