"""``samepoint evaluate --search``: what it decides, where it is told, and where it is refused."""

from __future__ import annotations

import json

import pytest

from samepoint.cli.main import main
from samepoint.evaluation.benchmarks.points import PUBLISHED, point_settings
from samepoint.evaluation.names import SEARCHES
from samepoint.tracking import MASK_PROTOCOLS, propagated, propagated_masks
from samepoint.tracking.quality import named_search
from tests.evaluation import benchmark_trees as trees
from tests.evaluation.commands import refused, run

COARSE = ("--search", "coarse-to-fine")


@pytest.fixture
def searches(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Which search was made, each time."""
    made: list[str] = []
    for room in (propagated, propagated_masks):
        for name, kind in (("affinity", "full"), ("affinity_coarse_to_fine", "coarse-to-fine")):
            real = getattr(room, name)

            def noted(*given, real=real, kind=kind, **more):  # type: ignore[no-untyped-def]
                made.append(kind)
                return real(*given, **more)

            monkeypatch.setattr(room, name, noted)
    return made


def test_the_names_are_those_of_the_trackers() -> None:
    assert [named_search(name) for name in SEARCHES] == [*SEARCHES]


@pytest.mark.usefixtures("small_work")
@pytest.mark.parametrize(
    ("name", "task", "more"),
    [
        ("tapvid-davis", "points", ("--protocol", "propagation")),
        ("badja", "joints", ("--protocol", "propagation")),
        ("badja", "joints", ("--protocol", "samepoint", "--model", "fgvc-untrained")),
        ("jhmdb", "joints", ("--protocol", "propagation", "--task", "joints")),
        ("davis-2016", "masks", ()),
        ("davis-2017", "masks", ("--protocol", "samepoint", "--model", "fgvc-untrained")),
        ("jhmdb", "masks", ("--task", "masks")),
    ],
)
def test_it_decides_the_predictions_and_is_told(name, task, more, tmp_path, weights, searches, capsys) -> None:
    root = trees.make(tmp_path / "data", name)
    asked = [*(() if "--model" in more else ("--model", weights)), *more, "--limit", "1"]
    result = run(name, root, tmp_path / "c.json", *asked, *COARSE)
    # Masks settle within their own frame, in a window that needs no search.
    assert set(searches) == {"coarse-to-fine", *(["full"] if task == "masks" else [])}
    assert (result["protocol"]["search"], result["settings"][task]["search"]) == ("coarse-to-fine",) * 2
    told = result["settings"][task]
    told = told if task == "masks" else told["propagation"]
    assert (told["coarse"], told["matches"]) == (16 if task == "masks" else "auto", 2)
    assert ", search coarse-to-fine\n" in capsys.readouterr().out
    searches.clear()
    # The whole window is what is done without asking, and cached as that.
    plain = run(name, root, tmp_path / "f.json", *asked)
    assert set(searches) == {"full"}
    assert "search" not in plain["protocol"]
    searches.clear()
    assert run(name, root, tmp_path / "f.json", *asked, "--search", "full") == plain
    assert searches == []
    said = refused(capsys, name, "--root", root, "--output", tmp_path / "c.json", *asked)
    assert "holds predictions made with other settings (settings." in said
    # In a report both stand in one table, told apart.
    assert main(["report", str(tmp_path / "c.json"), str(tmp_path / "f.json")]) == 0
    table = capsys.readouterr().out.split("###")[1]
    settings = plain["protocol"]["settings"]
    assert f"| {settings}, coarse-to-fine |" in table
    assert f"| {settings} |" in table


@pytest.mark.parametrize(
    ("name", "more", "message"),
    [
        ("badja", (), "--search coarse-to-fine: of label propagation, and samepoint follows points by the model's ref"),
        ("jhmdb", (), "add --protocol propagation"),
        ("badja", ("--protocol", "fgvc"), "--search coarse-to-fine: fgvc looks through its whole window, as published"),
        ("badja", ("--model", "fgvc-untrained"), "fgvc looks through its whole window, as published"),
        ("jhmdb", ("--task", "joints", "--protocol", "crw"), "crw looks through its whole window, as published"),
        ("jhmdb", ("--protocol", "spa-then-temp"), "spa-then-temp looks through its whole window, as published"),
        ("davis-2017", ("--protocol", "crw"), "crw looks through its whole window, as published"),
        ("pf-willow", (), "of label propagation through videos; pf-willow compares pictures"),
        ("spair-u", ("--search", "full"), "--search full: of label propagation through videos"),
        ("tapvid-davis", ("--search", "full"), "--search full: of label propagation, and samepoint follows"),
        ("badja", ("--search", "fine"), "--search fine: unknown; expected one of full, coarse-to-fine"),
        ("badja", ("--predictions", "."), "--search with --predictions"),
        ("davis-2016", ("--protocol", "propagation"), "--protocol propagation: of points; masks are always propagated"),
        ("jhmdb", ("--protocol", "propagation"), "name samepoint (jhmdb: --task)"),
    ],
)
def test_where_it_does_nothing_it_is_refused(name, more, message, tmp_path, weights, capsys) -> None:
    root = trees.make(tmp_path / "data", name)
    model = () if "--model" in more or "--predictions" in more else ("--model", weights)
    search = () if "--search" in more else COARSE
    said = refused(capsys, name, "--root", root, "--output", tmp_path / "r.json", *model, *search, *more)
    assert message in said
    assert not (tmp_path / "r.json").exists()
    assert not (tmp_path / "r.predictions").exists()


def test_pairs_know_no_propagation(tmp_path, weights, capsys) -> None:
    root = trees.make(tmp_path / "data", "pf-pascal")
    asked = ("pf-pascal", "--root", root, "--output", tmp_path / "r.json", "--model", weights)
    assert "settings for videos; pf-pascal compares" in refused(capsys, *asked, "--protocol", "propagation")


@pytest.mark.parametrize("key", PUBLISHED, ids="-".join)
def test_published_settings_stay_what_they_are(key) -> None:
    for search in (None, "full"):
        assert point_settings(*key, True, search) is PUBLISHED[key]
    propagation = PUBLISHED[key].propagation
    assert propagation is not None
    assert propagation.coarse is None
    assert all(settings.coarse is None for settings in MASK_PROTOCOLS.values())
    assert "search" not in PUBLISHED[key].describe()


def test_propagation_is_the_same_for_every_network() -> None:
    ours, others = (point_settings("propagation", "badja", known) for known in (True, False))
    assert ours == others
    assert json.loads(json.dumps(ours.describe())) == ours.describe()
    assert ours.describe() == {**point_settings("samepoint", "badja", False).describe(), "name": "propagation"}


@pytest.mark.usefixtures("small_work")
@pytest.mark.parametrize(("model", "companion"), [("samepoint-base", "samepoint-match"), ("fgvc-untrained", None)])
def test_masks_say_by_whose_looks_they_were_made(model: str, companion: str | None, tmp_path) -> None:
    root = trees.make(tmp_path / "data", "davis-2016")
    more = ("--model", model, "--protocol", "samepoint", "--limit", "1")
    told = run("davis-2016", root, tmp_path / "r.json", *more)["settings"]["masks"]
    assert told["appearance"] == 1
    assert (told["companion"] or {}).get("name") == companion


def test_published_masks_know_nothing_of_looks(tmp_path) -> None:
    root = trees.make(tmp_path / "data", "davis-2016")
    more = ("--model", "samepoint-base", "--protocol", "crw", "--limit", "1")
    told = run("davis-2016", root, tmp_path / "r.json", *more)["settings"]["masks"]
    assert told["appearance"] == 0
    assert "companion" not in told
