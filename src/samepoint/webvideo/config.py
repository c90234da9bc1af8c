"""Configurations of ``samepoint web``: the settings of every stage, unknown keys named with the nearest known one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from ..errors import InputError
from ..io.config_file import build_config, read_config, write_config
from ..models.weights import TABLE
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
_PATHS = (
    "search.lists",
    "search.folders",
    "search.cookies",
    "search.relevance.examples",
    "download.cookies",
    "labels.masks",
)
_MODELS = ("search.relevance.model", "labels.model")  # paths where there is such a file, else names


OWN = "web.yaml"
"""What a collection keeps the configuration of its last run in."""


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
    given: dict[str, str] = Field(default_factory=dict)  # of OWN alone: its absolute paths, as a run was given them

    def digest(self, stage: Stage, *context: object) -> str:
        """What a stage's results depend on, in a few characters: its settings and ``context``, JSON values.

        A row whose result was made under another digest is worked on again. Paths count as they were given first, so
        that OWN read elsewhere has the same.
        """
        values = {"search": self.search, "download": self.download, "shots": self.shots, "label": self.labels}[stage]
        dump = {key: value for key, value in values.model_dump(mode="json").items() if key not in _MANNERS}
        text = json.dumps([self._as_given(dump), *context], sort_keys=True)
        return f"{stage}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"

    def as_given(self, path: Path) -> Path:
        """A path of this configuration as a run was given it first."""
        return Path(self.given.get(str(path), path))

    def _as_given(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {key: self._as_given(one) for key, one in value.items()}
        if isinstance(value, list):
            return [self._as_given(one) for one in value]
        return self.given.get(value, value) if isinstance(value, str) else value


def load_config(path: str | Path, overrides: Iterable[str] = ()) -> WebConfig:
    """Read a YAML configuration and apply ``key.sub=value`` overrides (values are YAML).

    What a run wrote into its collection is of the collection beside it, wherever that lies by now.

    Raises:
        InputError: missing file, bad YAML, unknown key (with the nearest known one) or a value out of range.
    """
    changes, folder = list(overrides), Path(path).parent
    config = read_config(path, WebConfig, changes)
    own = Path(path).name == OWN and (folder / "catalogue").is_dir()
    if own and not any(change.startswith("output=") for change in changes):
        config = config.model_copy(update={"output": folder})
    return config


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
    return build_config({"output": str(output), "search": search}, WebConfig, overrides, "--source")


def write_own_config(config: WebConfig, path: Path) -> None:
    """As YAML that ``load_config`` reads, from any folder; without proxies, whose URLs may hold passwords."""
    placed = _placed(config)
    exclude: dict[str, Any] = {"search": {"proxy"}, "download": {"proxy"}}
    write_config(placed, path, exclude if placed.given else exclude | {"given": True})


def _placed(config: WebConfig) -> WebConfig:
    """With absolute paths, but for the output, and how they were given."""
    values = config.model_dump(mode="json")
    given: dict[str, str] = {}

    def placed(text: str) -> str:
        path = str(Path(text).absolute())
        if path != text or text in config.given:
            given[path] = config.given.get(text, text)
        return path

    for key in (*_PATHS, *_MODELS):
        *groups, name = key.split(".")
        part = values
        for group in groups:
            part = part[group] or {}
        held = part.get(name)
        if isinstance(held, list):
            part[name] = [placed(text) for text in held]
        elif held and (key in _PATHS or held in config.given or (held not in TABLE and Path(held).is_file())):
            part[name] = placed(held)
    return WebConfig.model_validate({**values, "given": given})
