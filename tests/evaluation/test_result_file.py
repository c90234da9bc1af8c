"""RESULT.json read back: what is accepted, and what is refused with the key that is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from samepoint.errors import InputError
from samepoint.evaluation.result_file import read_result
from tests.evaluation.results import content, write


def test_what_evaluate_writes_is_read(tmp_path: Path) -> None:
    others = {"badja-fgvc": {"metrics": {"PCK@0.2": 70}, "per_item": {}}}
    result = read_result(write(tmp_path / "a.json", other_protocols=others))
    assert (result.model, result.settings_name, result.input) == ("base", "samepoint", "320 x 512")
    assert (result.whole, result.lacking, result.coverage) == (False, 5, "2 of 7 items")
    main, other = result.scored
    assert main.metrics == {"PCK@0.2": 65.149}
    assert other.protocol["name"] == "badja-fgvc"
    assert other.protocol["size"] == [320, 512]  # of the run
    assert (other.protocol["aggregation"], other.protocol["frame_0"]) == ("point", True)  # by its name, not the run's


def test_what_another_protocol_says_of_itself_counts(tmp_path: Path) -> None:
    own = {"protocol": {"name": "tapvid-pooled", "aggregation": "point"}, "metrics": {"AJ": 1.0}, "per_item": {}}
    path = write(tmp_path / "a.json", benchmark="tapvid-davis", other_protocols={"tapvid-pooled": own})
    assert read_result(path).scored[1].protocol == {"name": "tapvid-pooled", "aggregation": "point"}


@pytest.mark.parametrize(
    ("benchmark", "found", "missing", "whole", "lacking"),
    [
        ("badja", 7, [], True, 0),
        ("badja", 3, ["bear"], False, 4),
        ("badja", 2, [], False, 5),  # --limit
        ("robotap", 300, [], True, 0),
        ("robotap", 300, ["x.pkl"], False, 1),  # parts of long videos hide that some are missing
        ("badja", 7, ["camel/00003.jpg"], False, 1),  # as many items, but not all is there
        ("badja", 8, [], False, 0),  # an animal of one's own
        ("jhmdb", 928, ["val_list.txt"], False, 1),  # without a list all clips are taken
        ("jhmdb", 268, [], True, 0),
        ("robotap", 200, ["20 of 265 videos"], False, 65),
        ("spair-u", 5, [], True, 0),
        ("spair-u", 5, ["a", "b"], False, 2),
    ],
)
def test_whether_a_result_covers_its_set(
    tmp_path: Path, benchmark: str, found: int, missing: list[str], whole: bool, lacking: int
) -> None:
    result = read_result(write(tmp_path / "a.json", benchmark=benchmark, found=found, missing=missing))
    assert (result.whole, result.lacking) == (whole, lacking)


def test_more_items_than_the_set_has_are_not_a_part_of_it(tmp_path: Path) -> None:
    result = read_result(write(tmp_path / "a.json", benchmark="jhmdb", found=928, missing=["val_list.txt"]))
    assert result.coverage == "928 items, where the set has 268"
    assert result.shortfall == "928 items, where the set has 268, 1 missing"
    result = read_result(write(tmp_path / "a.json", found=7, missing=["camel/00003.jpg"]))
    assert (result.coverage, result.shortfall) == ("7 of 7 items", "7 of 7 items, 1 missing")
    result = read_result(write(tmp_path / "a.json"))
    assert result.coverage == result.shortfall == "2 of 7 items"


def test_what_is_left_out_is_read_where_it_is_told(tmp_path: Path) -> None:
    others = {"badja-fgvc": {"metrics": {}, "per_item": {}, "excluded": {"points": 3}}}
    result = read_result(write(tmp_path / "a.json", excluded={"videos": 1}, other_protocols=others))
    assert [one.excluded for one in result.scored] == [{"videos": 1}, {"points": 3}]
    assert read_result(write(tmp_path / "b.json")).scored[0].excluded == {}  # of an earlier version


def test_settings_without_tasks(tmp_path: Path) -> None:
    result = read_result(write(tmp_path / "a.json", protocol={"settings": None}, settings={"name": "fgvc"}))
    assert result.settings_name == "fgvc"
    assert result.input == "320 x 512"  # the protocol's, where the settings do not say
    result = read_result(write(tmp_path / "a.json", settings={"name": "x", "size": None, "propagation": {"name": "y"}}))
    assert result.input == "native"


@pytest.mark.parametrize(
    ("benchmark", "task", "text"),
    [
        ("davis-2016", {"size": 480}, "short side 480"),
        ("davis-2016", {"size": True}, "native"),
        ("badja", {"size": [320, 512], "short_side": 480}, "320 x 512"),
        ("pf-willow", {"size": None, "side": 320}, "area 320 x 320"),
        ("pf-willow", {"size": None}, "not stated"),  # a matcher of an earlier version, or others' predictions
        ("jhmdb", {"size": None}, "native"),
    ],
)
def test_the_size_that_pictures_are_worked_on_at(tmp_path: Path, benchmark: str, task: dict, text: str) -> None:
    settings = {"any": {"name": "x", **task}}
    assert read_result(write(tmp_path / "a.json", benchmark=benchmark, settings=settings)).input == text


@pytest.mark.parametrize("key", sorted(set(content()) - {"other_protocols", "predictions"}))
def test_a_key_that_lacks_is_named(tmp_path: Path, key: str) -> None:
    fields = content()
    del fields[key]
    path = tmp_path / "a.json"
    path.write_text(json.dumps(fields))
    with pytest.raises(InputError, match=rf"a\.json: .*{key}"):
        read_result(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"benchmark": "badjo"}, 'benchmark is "badjo"; expected one of tapvid-davis'),
        ({"found": True}, "found is true; expected a whole number"),
        ({"found": -1}, "found is -1; expected 0 or more"),
        ({"missing": [3]}, "an entry of missing is 3; expected a string"),
        ({"metrics": {"AJ": "12"}}, 'AJ of metrics is "12"; expected a number or null'),
        ({"metrics": {"AJ": True}}, "AJ of metrics is true; expected a number or null"),
        ({"metrics": {"AJ": 10**400}}, "expected a number or null"),
        ({"per_item": {"camel": 3}}, "item 'camel' is 3; expected an object of metrics"),
        ({"protocol": {"size": [320]}}, r"size of protocol is \[320\]; expected \[height, width\]"),
        ({"protocol": {"name": 3}}, "protocol is .*expected an object with at least"),
        ({"protocol": {"query_mode": 1}}, "query_mode of protocol is 1; expected a string"),
        ({"protocol": {"notes": "a"}}, 'notes of protocol is "a"; expected a list of strings'),
        ({"protocol": {"frame_0": 1}}, "frame_0 of protocol is 1; expected true or false"),
        ({"model": {"name": None}}, 'model is .*expected an object with "name"'),
        ({"seconds": "1"}, 'seconds is "1"; expected a whole number or a number or null'),
        ({"predictions": 1}, "predictions is 1; expected the path of a folder"),
        ({"other_protocols": {"a": {}}}, "other_protocols 'a' is {}; expected an object"),
        ({"excluded": [1]}, r"excluded is \[1\]; expected an object of whole numbers, 0 or more"),
        ({"excluded": {"videos": -1}}, r'excluded is {"videos": -1}; expected an object of whole numbers'),
        (
            {"other_protocols": {"a": {"metrics": {}, "per_item": {}, "excluded": {"videos": True}}}},
            "excluded of other_protocols 'a' is .*expected an object of whole numbers",
        ),
    ],
)
def test_a_wrong_value_is_named(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_result(write(tmp_path / "a.json", **changes))


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"a": NaN}', "[" * 100_000, "\ud800"])
def test_what_is_no_result(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(InputError, match=r"a\.json: "):
        read_result(path)


def test_no_file(tmp_path: Path) -> None:
    for path in (tmp_path / "none.json", tmp_path):
        with pytest.raises(InputError, match=r"expected a RESULT\.json"):
            read_result(path)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(key=st.sampled_from(sorted(content())), value=JSON)
@settings(max_examples=60)
def test_whatever_stands_there_it_is_read_or_refused(tmp_path_factory, key: str, value: Any) -> None:
    path = tmp_path_factory.mktemp("fuzz") / "a.json"
    path.write_text(json.dumps({**content(), key: value}))
    try:
        result = read_result(path)
    except InputError as error:
        assert str(path) in str(error)  # noqa: PT017
    else:
        assert isinstance(result.input, str)
        assert isinstance(result.settings_name, str)


def test_a_limited_run_of_a_set_of_unknown_size_is_not_whole(tmp_path: Path) -> None:
    def whole(limit: int | None) -> bool:
        settings = {"pairs": {"name": "samepoint"}, "root": "/data/spair-u", "limit": limit}
        return read_result(write(tmp_path / "r.json", benchmark="spair-u", missing=[], settings=settings)).whole

    assert whole(None)
    assert not whole(5)
