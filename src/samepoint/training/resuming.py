"""What may change between the parts of a run, and what may not."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from pydantic import BaseModel
from pydantic_core import to_jsonable_python

from ..errors import InputError

FREE = frozenset(
    {
        *("output", "steps", "device", "precision", "accumulation", "sync_norm"),
        *("log_every", "checkpoint_every", "validate_every", "keep", "trackers", "validation", "calibration"),
        *("data.workers", "data.cache", "data.cache_gb"),
        *("data.real.cache", "data.real.cache_gb", "data.real.augment_on"),
        *("optimiser.rate", "optimiser.final", "optimiser.warmup", "optimiser.schedule"),
        *("optimiser.milestones", "optimiser.gamma", "optimiser.clip", "optimiser.ema"),
    }
)
"""Keys that say how long, how fast, where and how it is watched; groups of keys whole. The rest says what is learnt:
from what, by what, with which draws."""


class Change(NamedTuple):
    """A key whose value is another one than before, both as JSON has them."""

    key: str
    before: Any
    now: Any


def check_unchanged(config: BaseModel, written: Path) -> None:
    """Compare a configuration with that of the run that it is to go on with, in the file that the run wrote.

    Raises:
        InputError: it would learn something else; the message names the keys, what they were and what they are.
    """
    if not written.exists():
        return
    try:
        before = yaml.safe_load(written.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{written}: not a YAML file ({' '.join(str(error).split())})") from error
    if not isinstance(before, Mapping):
        raise InputError(f"{written}: expected a mapping of keys to values")
    changed = [f"{key} was {json.dumps(old)}, is {json.dumps(new)}" for key, old, new in changes(before, config)]
    if changed:
        raise InputError(f"{written}: this run cannot go on: {'; '.join(changed)}; set back, or choose another output")


def changes(before: Mapping[str, Any], now: BaseModel, group: str = "") -> Iterator[Change]:
    """Keys that may not change and did; one that was not written yet had its default."""
    values = now.model_dump(mode="json")
    for name, field in type(now).model_fields.items():
        key = group + name
        if key in FREE or (name not in before and field.is_required()):
            continue
        default = None if name in before else to_jsonable_python(field.get_default(call_default_factory=True))
        old, new = before.get(name, default), getattr(now, name)
        if isinstance(new, BaseModel) and isinstance(old, Mapping):
            yield from changes(old, new, f"{key}.")
        elif not _same(old, values[name]):
            yield Change(key, old, values[name])


def _same(old: Any, new: Any) -> bool:
    """Equal, or two ways to write one path."""
    if isinstance(old, str) and isinstance(new, str):
        return old == new or Path(old).resolve() == Path(new).resolve()
    return bool(old == new)
