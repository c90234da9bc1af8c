"""Configurations of ``samepoint web``: the settings of every stage, unknown keys named with the nearest known one."""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from ..errors import InputError
from ..io.atomic import atomic_write
from .catalog import Stage
from .download import DownloadSettings
from .engine import EngineSettings
from .labels import LabelSettings
from .search import SearchSettings
from .shots import ShotSettings

# How long and by what way the web is asked: other values give the same files.
_MANNERS = frozenset(
    ("timeout", "attempts", "backoff", "longest_wait", "pause", "cookies", "proxy", "time_limit", "rate")
)
_LISTS = (".csv", ".txt", ".tsv")


class WebConfig(BaseModel):
    """``samepoint web``: where videos come from, what is done to them, and the folder for all that comes of it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    output: Path
    search: SearchSettings
    download: DownloadSettings = DownloadSettings()
    shots: ShotSettings = ShotSettings()
    labels: LabelSettings = LabelSettings()
    engine: EngineSettings = EngineSettings()
    sheets: bool = True  # a contact sheet of every video, with the report

    def digest(self, stage: Stage, *context: object) -> str:
        """What a stage's results depend on, in a few characters: its settings and ``context``, JSON values.

        A row whose result was made under another digest is worked on again.
        """
        values = {"search": self.search, "download": self.download, "shots": self.shots, "label": self.labels}[stage]
        dump = {key: value for key, value in values.model_dump(mode="json").items() if key not in _MANNERS}
        text = json.dumps([dump, *context], sort_keys=True)
        return f"{stage}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def load_config(path: str | Path, overrides: Iterable[str] = ()) -> WebConfig:
    """Read a YAML configuration and apply ``key.sub=value`` overrides (values are YAML).

    Raises:
        InputError: missing file, bad YAML, unknown key (with the nearest known one) or a value out of range.
    """
    path = Path(path)
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot read the configuration ({error.strerror})") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a YAML file ({' '.join(str(error).split())})") from error
    if not isinstance(values, dict):
        raise InputError(f"{path}: expected a mapping of keys to values")
    return _build(values, overrides, str(path))


def config_of_source(source: str | Path, output: str | Path, overrides: Iterable[str] = ()) -> WebConfig:
    """The configuration for one local source, everything else by default.

    Args:
        source: a folder of videos, whose sub-folders are classes, or a list of URLs (.csv, .tsv, .txt).
        output: the collection's folder.
        overrides: ``key.sub=value``, as for ``load_config``.

    Raises:
        InputError: no such folder or list.
    """
    path = Path(source)
    if path.is_dir():
        search: dict[str, Any] = {"folders": [str(path)]}
    elif path.is_file() and path.suffix.lower() in _LISTS:
        search = {"lists": [str(path)]}
    else:
        raise InputError(f"--source {source}: expected a folder of videos or a list of URLs ({', '.join(_LISTS)})")
    return _build({"output": str(output), "search": search}, overrides, "--source")


def write_config(config: WebConfig, path: Path) -> None:
    """As YAML that ``load_config`` reads; without proxies, whose URLs may hold passwords."""
    values = config.model_dump(mode="json", exclude={"search": {"proxy"}, "download": {"proxy"}})
    with atomic_write(path, "w") as file:
        yaml.safe_dump(values, file, sort_keys=False)


def _build(values: dict[str, Any], overrides: Iterable[str], where: str) -> WebConfig:
    for override in overrides:
        _apply(values, override)
    try:
        return WebConfig.model_validate(values)
    except ValidationError as error:
        raise InputError(f"{where}: {_explain(error)}") from error


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
    except yaml.YAMLError as error:
        raise InputError(f"--set {override}: the value is not YAML") from error


def _explain(error: ValidationError) -> str:
    first: Mapping[str, Any] = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        nearest = difflib.get_close_matches(where, _known_keys(WebConfig), 1, 0.4)
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
