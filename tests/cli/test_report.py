"""``samepoint report``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from samepoint.cli.main import main
from samepoint.datasets import pf_willow
from samepoint.io.images import read_image
from tests.datasets import pair_trees as trees
from tests.evaluation.results import write
from tests.test_docs import OPTION, ROOT, options


def test_printed_by_default(tmp_path: Path, capsys) -> None:
    paths = [str(write(tmp_path / f"{name}.json", model={"name": name})) for name in "ab"]
    assert main(["report", *paths]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("# Comparison\n\nScores are percentages")
    assert "| a | samepoint | 320 x 512 | 65.1 |" in out
    assert err == ""
    assert main(["report", *paths, "--format", "latex", "--per-item"]) == 0
    assert "camel & 83.6 & 83.6 & \\textbf{91.6} \\\\" in capsys.readouterr().out


def test_into_a_file_which_appears_whole_or_not_at_all(tmp_path: Path, capsys, monkeypatch) -> None:
    path, out = write(tmp_path / "a.json"), tmp_path / "out.md"
    assert main(["report", str(path), "-o", str(out)]) == 0
    assert capsys.readouterr() == (f"wrote {out}\n", "")
    before = out.read_bytes()
    assert before.startswith(b"# Comparison\n")

    def fail(*_: object) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr("samepoint.evaluation.report_text.write_text", fail)
    assert main(["report", str(path), "-o", str(out)]) == 130
    assert out.read_bytes() == before
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.json", "out.md"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Missing argument 'RESULT.json...'"),
        (["none.json"], "none.json: no such file; expected a RESULT.json of samepoint evaluate"),
        (["a.json", "./a.json"], "a.json: given twice"),
        (["a.json", "-o", "out.html"], "out.html: unknown suffix .html; expected one of .md, .tex"),
        (["a.json", "-o", "a.json"], "a.json: unknown suffix .json"),
        (["a.json", "-o", "none/out.md"], "cannot write none/out.md: there is no folder none"),
        (["a.json", "--format", "html"], "--format html: unknown; expected one of markdown, latex"),
        (["a.json", "--picture-count", "0"], "--picture-count 0: expected at least 1"),
        (["a.json", "--pictures", "a.json"], "a.json: is a file; expected a folder or a new name"),
        (["bad.json"], "bad.json: not JSON"),
        (["other.json"], "other.json: no key 'benchmark'; expected a RESULT.json of samepoint evaluate"),
    ],
)
def test_bad_usage_is_one_line_and_status_2(tmp_path: Path, capsys, monkeypatch, arguments, message) -> None:
    monkeypatch.chdir(tmp_path)
    write(Path("a.json"))
    Path("bad.json").write_text("not json")
    Path("other.json").write_text("{}")
    assert main(["report", *arguments]) == 2
    out, err = capsys.readouterr()
    assert err.startswith(f"samepoint: error: {message}")
    assert (out, err.count("\n")) == ("", 1)


def test_pictures_of_pairs(tmp_path: Path, capsys) -> None:
    root = trees.willow(tmp_path / "data", {"duck(S)": 3})
    pairs = pf_willow.pairs(root)
    items = {pair.name: {"PCK@0.1 pair": 10.0 * index} for index, pair in enumerate(pairs)}
    folder = tmp_path / "a.predictions" / "pairs"
    for pair in list(pairs)[:-1]:
        path = folder / f"{pair.name}.npz"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, xy=pair.target_xy + 1)
    changes = {"settings": {"pairs": {"name": "dino", "size": [448, 448]}, "root": str(root)}, "per_item": items}
    result = write(tmp_path / "a.json", benchmark="pf-willow", protocol={"name": "pf-willow"}, **changes)
    out = tmp_path / "out.md"
    drawn = ["--pictures", str(tmp_path / "pics"), "--picture-count", "2"]
    assert main(["report", str(result), "-o", str(out), *drawn]) == 0
    err = capsys.readouterr().err
    assert err.startswith(f"samepoint: warning: {result}: 1 of 4 not drawn: there is no prediction ")
    assert err.count("\n") == 1
    pictures = sorted((tmp_path / "pics" / "a").iterdir())
    assert [path.name.split("-duck")[0] for path in pictures] == ["best-2", "worst-1", "worst-2"]
    assert all(read_image(path).shape[1] > 900 for path in pictures)
    text = out.read_text()
    assert text.count("](pics/a/") == 3
    assert "worst 1, duck(S)/" in text


def test_tables_come_without_pictures_where_there_are_none(tmp_path: Path, capsys) -> None:
    path = write(tmp_path / "a.json")
    assert main(["report", str(path), "--pictures", str(tmp_path / "pics")]) == 0
    out, err = capsys.readouterr()
    assert "### Table 1: badja-pips" in out
    assert err == (
        f"samepoint: warning: {path}: no pictures: there is no folder of predictions {tmp_path / 'a.predictions'}\n"
    )
    assert not (tmp_path / "pics").exists()


def test_the_guide_names_every_option_and_no_other() -> None:
    text = (ROOT / "docs" / "report.md").read_text()
    known = {name for name in options("report") if name.startswith("--")} - {"--help"}
    assert known - {"--output"} <= set(OPTION.findall(text)) <= known | options("evaluate")
