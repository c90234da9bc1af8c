"""Predictions on disk: names of items as names of files, and what a folder says of itself."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from samepoint.errors import InputError
from samepoint.evaluation.predictions import Predictions, file_name
from samepoint.process import peak_memory

SAFE = re.compile(r"[A-Za-z0-9 !#$&'()+,;=@\[\]^`{}~\-_.%]+")
DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.IGNORECASE)
SHORT = settings(max_examples=200)


@SHORT
@given(st.text(st.characters(codec=None), max_size=30))
@example("..")
@example("a//b")
@example("/a")
@example("C:\\x")
@example("nul")
@example("COM1.txt")
@example("a ")
@example("a.")
@example(".")
@example("")
def test_every_file_system_takes_the_name(name: str) -> None:
    for part in file_name(name).split("/"):
        assert SAFE.fullmatch(part)
        assert not DEVICES.match(part)
        assert part[0] != "."
        assert part[-1] not in ". "
        assert len(part) <= 200


NAMES = st.text(st.sampled_from("a.% :/\\%2Enul25ä"), max_size=6)


@SHORT
@given(NAMES, NAMES)
@example("%3A", ":")
@example("a.", "a%2E")
@example("", "%")
@example("a" * 300 + "b", "a" * 300 + "c")
@example("a//b", "a/b")
def test_different_names_make_different_files(first: str, second: str) -> None:
    assert (file_name(first) == file_name(second)) == (first == second)


def test_ordinary_names_stay() -> None:
    for name in ("run/#1_walk_f", "duck(S)/x_000-x_001", "0000_of_0010/0003", "horsejump-high"):
        assert file_name(name) == name


def store(folder, **settings):
    made_by = {"benchmark": "badja", "model": {"name": "m", "sha256": "0"}, "version": "1", "settings": settings}
    return Predictions(folder, made_by)


def test_saved_and_loaded(tmp_path) -> None:
    one = store(tmp_path / "p", size=(3, 4))
    one.begin()
    assert not one.has("a/b:c")
    one.make("a/b:c", lambda: {"xy": np.arange(3.0)})
    assert one.has("a/b:c")
    found = one.load("a/b:c")
    np.testing.assert_array_equal(found.arrays["xy"], [0, 1, 2])
    assert found.arrays["seconds"] >= 0
    assert 0 < found.arrays["peak_memory"] <= peak_memory()
    assert found.path == tmp_path / "p" / "a" / "b%3Ac.npz"
    assert json.loads((tmp_path / "p" / "settings.json").read_text())["settings"] == {"size": [3, 4]}


def test_what_a_killed_process_left_goes(tmp_path) -> None:
    one = store(tmp_path / "p")
    one.begin()
    one.make("a", lambda: {})
    (tmp_path / "p" / ".012.part.npz").write_bytes(b"half")
    one.begin()
    assert sorted(path.name for path in (tmp_path / "p").iterdir()) == ["a.npz", "settings.json"]


def test_nothing_is_left_of_what_fails(tmp_path) -> None:
    one = store(tmp_path / "p")
    one.begin()

    def fail():
        raise RuntimeError

    with pytest.raises(RuntimeError):
        one.make("a", fail)
    with pytest.raises(TypeError):  # while it is written
        one.make("a", lambda: {"file": 1})  # type: ignore[dict-item]
    assert [path.name for path in (tmp_path / "p").iterdir()] == ["settings.json"]


def test_differences_are_told(tmp_path) -> None:
    store(tmp_path / "p", a=1, b={"c": 2, "d": 3}).begin()
    store(tmp_path / "p", a=1, b={"c": 2, "d": 3}).begin()
    with pytest.raises(InputError, match=r"p: holds predictions made with other settings \(settings.b.c: 2, now null"):
        store(tmp_path / "p", a=1, b={"d": 3}).begin()
    newer = store(tmp_path / "p", a=1, b={"c": 2, "d": 3})
    newer.made_by["version"] = "2"
    for refuse in (newer.check, newer.begin):
        with pytest.raises(InputError, match=r'p: holds predictions made by another version \(version: "1", now "2"\)'):
            refuse()
    newer.begin(overwrite=True)
    newer.check()


def test_other_data_is_told_where_its_root_was_stored(tmp_path) -> None:
    one = store(tmp_path / "p", a=1)
    one.begin()
    moved = store(tmp_path / "p", a=1)
    moved.made_by["root"] = "/new"
    moved.check()  # of an earlier version, which did not say it
    (tmp_path / "p" / "settings.json").write_text(json.dumps(one.made_by | {"root": "/old"}))
    told = r'p: holds predictions made from other data \(root: "/old", now "/new"\); .*or --overwrite to make them anew'
    with pytest.raises(InputError, match=told):
        moved.check()


def test_the_side_of_a_matcher_is_not_asked_of_earlier_predictions(tmp_path) -> None:
    store(tmp_path / "p", a=1).begin()
    store(tmp_path / "p", a=1, side=256).check()
    store(tmp_path / "p", a=1, side=256).begin(overwrite=True)
    store(tmp_path / "q", a=1, side=256).begin()
    with pytest.raises(InputError, match=r"settings\.side: 256, now 320"):
        store(tmp_path / "q", a=1, side=320).check()


def test_only_the_chosen_items_of_the_same_settings_are_overwritten(tmp_path) -> None:
    one = store(tmp_path / "p", a=1)
    one.begin()
    for item in ("a", "b/c"):
        one.make(item, lambda: {})
    store(tmp_path / "p", a=1).begin(overwrite=True, items=("a", "new"))
    assert (one.has("a"), one.has("b/c")) == (False, True)
    store(tmp_path / "p", a=2).begin(overwrite=True, items=("a",))
    assert not one.has("b/c")


def test_settings_that_are_no_json_are_named(tmp_path) -> None:
    for number in ("NaN", "Infinity", "1e999"):
        (tmp_path / "settings.json").write_text(f'{{"settings": {{"sigma": {number}}}}}')
        with pytest.raises(InputError, match=r"settings\.json: not readable as JSON"):
            Predictions.found(tmp_path)


def test_a_check_changes_nothing(tmp_path) -> None:
    store(tmp_path / "p").check()
    assert not (tmp_path / "p").exists()
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "a.npz").write_bytes(b"")
    with pytest.raises(InputError, match=r"holds predictions but no settings\.json"):
        store(tmp_path / "p").check()
    (tmp_path / "p" / "settings.json").write_text("damaged")
    with pytest.raises(InputError, match=r"settings\.json: not readable as JSON"):
        store(tmp_path / "p").check()
    store(tmp_path / "p").begin(overwrite=True)
    assert [path.name for path in (tmp_path / "p").iterdir()] == ["settings.json"]


def test_peak_memory_grows_with_what_was_held() -> None:
    before = peak_memory()
    assert before is not None
    block = np.ones(before + 50_000_000, np.uint8)
    assert block[-1] == 1
    assert peak_memory() >= before + 40_000_000
