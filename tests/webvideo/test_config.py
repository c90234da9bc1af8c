"""Configurations of samepoint web: unknown keys, digests, local sources, the published collection."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from samepoint.errors import InputError
from samepoint.webvideo.catalog import STAGES
from samepoint.webvideo.config import WebConfig, config_of_source, load_config, write_own_config
from samepoint.webvideo.engine import EngineSettings

PUBLISHED = Path(__file__).resolve().parents[2] / "configs" / "web-ssscweb.yaml"


def load(tmp_path: Path, text: str, *overrides: str) -> WebConfig:
    path = tmp_path / "web.yaml"
    path.write_text(text)
    return load_config(path, overrides)


MINIMAL = "output: out\nsearch: {classes: [cat]}\n"


def test_the_published_collection() -> None:
    config = load_config(PUBLISHED)
    assert len(config.search.classes) == 20
    assert config.search.windows == tuple(range(2005, 2023))
    assert (config.search.results, config.search.licence) == (20, "creative-commons")
    assert {"airplane", "pottedplant", "tvmonitor"} < config.search.classes.keys()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["shots.treshold=3"], "unknown key shots.treshold; did you mean shots.threshold?"),
        (["labels.accept.cicle=3"], "did you mean labels.accept.cycle?"),
        (["engin.workers=3"], "unknown key engin; did you mean engine?"),
        (["shots.threshold=-1"], r"shots.threshold: Input should be greater than 0 \(got -1\)"),
        (["search.classes=[]"], "search: expected at least one of classes, playlists"),
        (["shots"], "--set shots: expected key=value"),
        (["output.x=1"], "--set output.x=1: output is not a group of keys"),
        (["shots.threshold=[1"], "the value is not YAML"),
        (["search.after=2021-02-30"], r"--set search.after=2021-02-30: the value is not YAML \(day is out of range"),
        (["search.classes=[cat, {dog: [puppy]}]"], "search.classes: expected names, or a mapping of class"),
        (["search.windows=[2019]", "search.after=2020-01-01"], "search: expected a window with days that after and"),
        (["search.min_duration=9", "search.max_duration=5"], "search: expected min_duration to be no more than max"),
        (["download.min_duration=9", "download.max_duration=5"], "download: expected min_duration to be no more"),
        (["search.extractors=['[']"], r"search.extractors: expected names or patterns of names; \[ is none"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, overrides: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        load(tmp_path, MINIMAL, *overrides)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a\n", "expected a mapping"),
        ("a: [", "not a YAML file"),
        ("search: {classes: [cat], after: 2021-02-30}", "not a YAML file .day is out of range"),
        ("search: {classes: [cat]}", "output: Field required"),
    ],
)
def test_files_that_are_no_configuration(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load(tmp_path, text)
    with pytest.raises(InputError, match=r"none\.yaml: cannot read the configuration"):
        load_config(tmp_path / "none.yaml")


def test_a_collection_s_own_configuration_is_of_where_it_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = load(tmp_path, MINIMAL, "output=somewhere")
    (tmp_path / "moved" / "catalogue").mkdir(parents=True)
    write_own_config(config, tmp_path / "moved" / "web.yaml")
    assert load_config(tmp_path / "moved" / "web.yaml").output == tmp_path / "moved"
    monkeypatch.chdir(tmp_path / "moved")
    assert load_config("web.yaml").output.resolve() == tmp_path / "moved"
    assert load_config("web.yaml", ["output=other"]).output == Path("other")
    write_own_config(config, tmp_path / "mine.yaml")
    assert load_config(tmp_path / "mine.yaml").output == Path("somewhere")


def test_a_collection_s_own_configuration_works_from_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, away = tmp_path / "home", tmp_path / "away"
    (home / "vids").mkdir(parents=True)
    (home / "out" / "catalogue").mkdir(parents=True)
    away.mkdir()
    (home / "w.safetensors").touch()
    changes = ["search.cookies=c.txt", "search.lists=[l.csv]", "search.relevance={examples: e, model: w.safetensors}"]
    changes += ["labels.foreground=masks", "labels.masks=./m"]
    for folder in (home, away):  # first by the command, then by what it left
        monkeypatch.chdir(folder)
        if folder == home:
            config = given = config_of_source("vids", "out", changes)
        else:
            config = load_config(home / "out" / "web.yaml")
            assert config.search.folders == (home / "vids",)
            assert config.search.lists == (home / "l.csv",)
            assert config.search.cookies == home / "c.txt"
            assert config.search.relevance is not None
            assert config.search.relevance.examples == home / "e"
            assert config.search.relevance.model == str(home / "w.safetensors")
            assert config.labels.masks == str(home / "m")
            assert config.labels.model == "samepoint-base"
        assert [config.digest(stage) for stage in STAGES] == [given.digest(stage) for stage in STAGES]
        write_own_config(config, home / "out" / "web.yaml")
    here = load_config(home / "out" / "web.yaml", ["labels.masks=mine"])
    assert here.labels.masks == "mine"
    assert here.digest("label") != given.digest("label")


def test_written_configurations_are_read_back_without_passwords(tmp_path: Path) -> None:
    config = load(tmp_path, MINIMAL, "download.proxy=http://me:secret@proxy:8080", "search.windows=[2019]")
    write_own_config(config, tmp_path / "back.yaml")
    assert "secret" not in (tmp_path / "back.yaml").read_text()
    back = load_config(tmp_path / "back.yaml")
    assert back.search == config.search
    assert back.download.proxy is None


def test_digests_follow_what_results_depend_on(tmp_path: Path) -> None:
    config = load(tmp_path, MINIMAL)

    def digest(*overrides: str) -> str:
        return load(tmp_path, MINIMAL, *overrides).digest("download")

    assert digest() == config.digest("download")
    assert digest("download.timeout=3", "download.cookies=c.txt", "labels.seeds=3", "engine.workers=1") == digest()
    assert digest("download.height=240") != digest()
    assert digest("download.allow_internal=true") != digest()
    assert config.digest("shots", "a") != config.digest("shots", "b")
    assert config.digest("shots").startswith("shots-")


def test_local_sources(tmp_path: Path) -> None:
    assert config_of_source(tmp_path, tmp_path / "out").search.folders == (tmp_path,)
    urls = tmp_path / "urls.txt"
    urls.touch()
    config = config_of_source(urls, "out", ["shots.min_length=3"])
    assert (config.search.lists, config.shots.min_length) == ((urls,), 3)
    (tmp_path / "clip.mp4").touch()
    for wrong in ("none", "clip.mp4"):
        with pytest.raises(InputError, match="expected a folder of videos or a list of URLs"):
            config_of_source(tmp_path / wrong, "out")


def test_the_guide_has_every_key_of_the_engine_with_its_default() -> None:
    guide = (PUBLISHED.parents[1] / "docs" / "web.md").read_text(encoding="utf-8")
    listed = dict(re.findall(r"^\| `(\w+)` \| (\S+) \|", guide.split("## The engine")[1], re.MULTILINE))
    known = {name: field.default for name, field in EngineSettings.model_fields.items()}
    assert {name: yaml.safe_load(default.strip("`")) for name, default in listed.items()} == known


def test_configurations_in_the_guide_are_valid() -> None:
    guide = (PUBLISHED.parents[1] / "docs" / "web.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```yaml\n(.*?)^```", guide, re.MULTILINE | re.DOTALL)
    assert blocks
    for block in blocks:
        EngineSettings.model_validate(yaml.safe_load(block)["engine"])
