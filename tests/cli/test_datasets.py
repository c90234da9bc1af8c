"""``samepoint datasets check``."""

from __future__ import annotations

import json

from samepoint.cli.main import main
from samepoint.datasets.pf_willow import SUB_CLASSES
from tests.datasets import pair_trees as trees


def test_a_complete_set(tmp_path, capsys) -> None:
    trees.willow(tmp_path, dict.fromkeys(SUB_CLASSES, 10))
    assert main(["datasets", "check", "pf-willow", "--root", str(tmp_path)]) == 0
    out, err = capsys.readouterr()
    assert out.startswith(f"pf-willow in {tmp_path}: 900 usable\n")
    assert "missing" not in out
    assert err == ""


def test_an_incomplete_set_is_listed_with_status_2(tmp_path, capsys) -> None:
    trees.willow(tmp_path, {"duck(S)": 10})
    arguments = ["datasets", "check", "pf-willow", "--root", str(tmp_path)]
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert "\n  missing  9 of 10 sub-classes (car(G), " in out
    assert err == f"samepoint: error: {tmp_path}: pf-willow is not complete; 90 items can be used\n"
    assert main([*arguments, "--json"]) == 2
    answer = json.loads(capsys.readouterr().out)
    assert set(answer) == {"name", "root", "complete", "found", "missing", "notes"}
    assert (answer["name"], answer["complete"], answer["found"], len(answer["missing"])) == ("pf-willow", False, 90, 1)


def test_bad_usage(tmp_path, capsys) -> None:
    assert main(["datasets", "check", "pf-wilow", "--root", str(tmp_path)]) == 2
    assert "did you mean pf-willow?" in capsys.readouterr().err
    assert main(["datasets", "check", "pf-willow", "--root", str(tmp_path / "none")]) == 2
    assert "none: no such folder" in capsys.readouterr().err
    assert main(["datasets", "check", "pf-willow"]) == 2
    assert "Missing option '--root' (see: samepoint datasets check --help)" in capsys.readouterr().err
