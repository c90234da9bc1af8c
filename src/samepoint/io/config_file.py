"""Typed configurations as YAML files: unknown keys named with the nearest known one, changes from the command line."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError

from ..errors import InputError
from .atomic import atomic_write

Config = TypeVar("Config", bound=BaseModel)


def read_config(path: str | Path, kind: type[Config], overrides: Iterable[str] = ()) -> Config:
    """Read a YAML file and apply ``key.sub=value`` overrides (values are YAML).

    Raises:
        InputError: missing file, bad YAML, unknown key (with the nearest known one) or a value out of range.
    """
    path = Path(path)
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot read the configuration ({error.strerror})") from error
    except (yaml.YAMLError, ValueError) as error:  # a day that does not exist, or not UTF-8, is a ValueError
        raise InputError(f"{path}: not a YAML file ({' '.join(str(error).split())})") from error
    if not isinstance(values, dict):
        raise InputError(f"{path}: expected a mapping of keys to values")
    return build_config(values, kind, overrides, str(path))


def build_config(values: dict[str, Any], kind: type[Config], overrides: Iterable[str], where: str) -> Config:
    """The configuration of ``values``, which are changed by the overrides; ``where`` begins an error's message.

    Raises:
        InputError: as :func:`read_config`.
    """
    for override in overrides:
        _apply(values, override)
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise InputError(f"{where}: {_explain(error, kind)}") from error


def write_config(config: BaseModel, path: str | Path, exclude: Mapping[str, Any] | None = None) -> None:
    """As YAML that :func:`read_config` reads; ``exclude`` names what is left out, as pydantic takes it."""
    with atomic_write(path, "w") as file:
        yaml.safe_dump(config.model_dump(mode="json", exclude=exclude), file, sort_keys=False)


def _apply(values: dict[str, Any], override: str) -> None:
    key, separator, text = override.partition("=")
    if not separator or not key:
        raise InputError(f"--set {override}: expected key=value")
    *parents, last = key.split(".")
    for parent in parents:
        values = values.setdefault(parent, {})
        if not isinstance(values, dict):
            raise InputError(f"--set {override}: {parent} is not a group of keys")
    try:
        values[last] = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:
        raise InputError(f"--set {override}: the value is not YAML ({' '.join(str(error).split())})") from error


def _explain(error: ValidationError, kind: type[BaseModel]) -> str:
    first: Mapping[str, Any] = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        nearest = difflib.get_close_matches(where, _known_keys(kind), 1, 0.4)
        return f"unknown key {where}" + (f"; did you mean {nearest[0]}?" if nearest else "")
    given = "" if first["type"] == "missing" or isinstance(first["input"], dict) else f" (got {first['input']!r})"
    return f"{where}: {first['msg'].removeprefix('Value error, ')}{given}"


def _known_keys(model: type[BaseModel], prefix: str = "") -> list[str]:
    keys = []
    for name, field in model.model_fields.items():
        keys.append(prefix + name)
        for kind in (field.annotation, *get_args(field.annotation)):
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                keys += _known_keys(kind, f"{prefix}{name}.")
    return keys
