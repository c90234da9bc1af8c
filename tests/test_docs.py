"""The guides name what exists: files, options, keys, defaults, names in Python."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
from collections.abc import Iterator
from contextlib import suppress
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from pydantic import BaseModel

import samepoint
from samepoint.cli.main import app
from samepoint.datasets.synthetic import ClipSettings
from samepoint.training.config import FeaturesConfig

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").glob("*.md")])
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*")


def fenced(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def prose(text: str) -> str:
    return re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)


def anchors(text: str) -> set[str]:
    """As GitHub makes them: lower case, punctuation dropped, spaces to hyphens."""
    headings = re.findall(r"^#+ (.*)", prose(text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def rows(page: str) -> Iterator[tuple[str, str]]:
    """Name and default of each row of the tables headed ``key | default`` or ``field | default``."""
    text = (ROOT / "docs" / page).read_text()
    for table in re.findall(r"^\| (?:key|field) \| default .*\n((?:\|.*\n)+)", text, re.MULTILINE):
        for name, default in re.findall(r"^\| `([\w.]+)` \| ([^|]+) \|", table, re.MULTILINE):
            yield name, default.strip()


def exists(dotted: str) -> bool:
    """Whether a module, or what is reached from one by attributes, has this name."""
    found: Any = samepoint
    for part in dotted.split(".")[1:]:
        if not hasattr(found, part) and inspect.ismodule(found):
            with suppress(ModuleNotFoundError):
                import_module(f"{found.__name__}.{part}")
        if not hasattr(found, part):
            return False
        found = getattr(found, part)
    return True


def options(*words: str) -> set[str]:
    """Every spelling of every option of a command."""
    command: Any = typer.main.get_command(app)
    for word in words:
        command = command.commands[word]
    return {name for option in command.params for name in option.opts if name.startswith("-")} | {"-h", "--help"}


def config_defaults(model: type[BaseModel], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            found |= config_defaults(field.annotation, f"{prefix}{name}.")
        else:
            found[prefix + name] = "required" if field.is_required() else field.get_default(call_default_factory=True)
    return found


def plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(page.read_text())):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        assert target.exists(), f"{page.name}: {link}"
        if anchor:
            assert anchor in anchors(target.read_text()), f"{page.name}: {link}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_blocks_compile_and_import_what_exists(page: Path) -> None:
    for block in fenced(page.read_text(), "python"):
        tree = ast.parse(block)
        aliases = set()
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "samepoint":
                module = import_module(node.module or "")
                for alias in node.names:
                    known = hasattr(module, alias.name) or find_spec(f"{node.module}.{alias.name}")
                    assert known, f"{page.name}: from {node.module} import {alias.name}"
            if isinstance(node, ast.Import):
                aliases |= {alias.asname or alias.name for alias in node.names if alias.name == "samepoint"}
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in aliases:
                assert hasattr(samepoint, node.attr), f"{page.name}: samepoint.{node.attr}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_names_in_the_text_exist(page: Path) -> None:
    for dotted in re.findall(r"`(samepoint(?:\.\w+)+)", prose(page.read_text())):
        assert exists(dotted), f"{page.name}: {dotted}"


def test_the_tracking_guide_names_every_option_of_track_and_no_other() -> None:
    text = (ROOT / "docs" / "tracking.md").read_text()
    known = options("track")
    assert set(OPTION.findall(text)) <= known
    listed = set(re.findall(r"--[a-z-]+|(?<=`)-[a-z]\b", "".join(re.findall(r"^\| `-.*? \|", text, re.MULTILINE))))
    assert listed == known


def test_the_training_guide_names_every_option_of_train_features() -> None:
    text = (ROOT / "docs" / "training.md").read_text()
    known = options("train", "features")
    assert known - {"-h", "--help"} <= set(OPTION.findall(text)) <= known | options("track")


def test_the_training_guide_has_every_key_with_its_default() -> None:
    known = config_defaults(FeaturesConfig)
    listed = dict(rows("training.md"))
    assert listed.keys() == known.keys()
    for key, default in listed.items():
        assert yaml.safe_load(default.strip("`")) == plain(known[key]), key


def test_configurations_in_the_training_guide_are_valid() -> None:
    blocks = fenced((ROOT / "docs" / "training.md").read_text(), "yaml")
    assert blocks
    for block in blocks:
        config = FeaturesConfig.model_validate(yaml.safe_load(block))
        config.data.clip_settings()


def test_the_guide_to_rendered_clips_has_every_setting_with_its_default() -> None:
    known = {field.name: plain(field.default) for field in dataclasses.fields(ClipSettings)}
    assert {name: yaml.safe_load(default.strip("`")) for name, default in rows("synthetic.md")} == known


def test_the_index_lists_every_page() -> None:
    text = (ROOT / "docs" / "README.md").read_text()
    for page in PAGES:
        if page.parent.name == "docs" and page.name != "README.md":
            assert f"({page.name})" in text, page.name


def test_the_changelog_has_this_version() -> None:
    assert f"## [{samepoint.__version__}] - " in (ROOT / "CHANGELOG.md").read_text()
