"""What a weight file says of its data and its licence: the training's, and those of the weights it began with or learnt
from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from ..models.convert.kind import without_module
from ..models.convert.table import read, recognise
from ..models.features import UNTRAINED
from ..models.weights import has_our_metadata, read_metadata, resolve
from .config import TeacherConfig
from .teacher import PART, source_of

_OURS = "Apache-2.0"
_FREE = (_OURS, "MIT", "BSD-2-Clause", "BSD-3-Clause")  # what is made of such weights may be under ours
_RESEARCH = "research use, as the data"


class Origin(NamedTuple):
    """Of weights that a training begins with, or of its teacher."""

    data: str
    licence: str


def origin_of(key: str, name: str | None) -> list[Origin]:
    """What is known of the weights that ``key`` of a configuration names; nothing where there are none, or random ones.

    A file of ours tells it; of a file of others the licence is that of its kind's release.
    """
    if name is None or name == UNTRAINED:
        return []
    return [_origin(key, name, resolve(name))]


def origin_of_teacher(config: TeacherConfig) -> list[Origin]:
    """The same of a teacher: what it knows goes into the weights, though none of its own."""
    if config.model is None or config.model == UNTRAINED:
        return []
    return [_origin("teacher", config.model, resolve(source_of(config)), PART)]


def _origin(key: str, name: str, path: Path, part: str = "") -> Origin:
    data, licence = None, None
    if has_our_metadata(path):
        said = read_metadata(path)
        data, licence = said.get("data") or said.get("title"), said.get("licence")
    elif (kind := recognise(_tensors(path, part))) is not None:
        data, licence = kind.title, kind.licence
    called = Path(name).name if Path(name).is_file() else name
    return Origin(f"{key} {called}: {data or 'not stated'}", str(licence or "none stated"))


def _tensors(path: Path, part: str) -> dict[str, Tensor]:
    """Those of a file of others, of its ``part`` where it has names below that."""
    tensors = read(path)[0]
    names = without_module(list(tensors)).items()
    return {name.removeprefix(part): tensors[given] for name, given in names if name.startswith(part)} or tensors


def origins(data: Sequence[str], research: bool, begun: Sequence[Origin]) -> dict[str, str]:
    """``data`` and ``licence`` for a file's metadata.

    Args:
        data: what was learnt from.
        research: some of it is for research only.
        begun: what the training began with, and its teacher.

    >>> origins(["my-videos"], False, [Origin("init a.safetensors: clips", "MIT")])
    {'data': 'my-videos; init a.safetensors: clips', 'licence': 'Apache-2.0'}
    >>> origins(["my-videos"], True, [Origin("init cats.safetensors: CATs", "GPL-3.0")])["licence"]
    'research use, as the data; GPL-3.0'
    """
    against = [_RESEARCH] if research else []
    for each in begun:
        if each.licence not in _FREE:
            against += each.licence.split("; ")
    parts = [", ".join(dict.fromkeys(data)), *(each.data for each in begun)]
    return {"data": "; ".join(part for part in parts if part), "licence": "; ".join(dict.fromkeys(against)) or _OURS}
