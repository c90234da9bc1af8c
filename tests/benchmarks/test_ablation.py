"""The table of what each objective is worth."""

from __future__ import annotations

from pathlib import Path

import pytest
from benchmarks.ablation import OBJECTIVES, SEARCHES, VARIANTS, configuration, main


@pytest.mark.parametrize("name", OBJECTIVES)
def test_variants_differ_in_their_objectives_only(name: str, tmp_path: Path) -> None:
    given = configuration(OBJECTIVES[name], tmp_path, tmp_path / "run", 10, tmp_path / "teacher.safetensors")
    plain = configuration(
        OBJECTIVES["synthetic only"], tmp_path, tmp_path / "run", 10, tmp_path / "teacher.safetensors"
    )
    assert given.model_copy(update={"loss": plain.loss, "teacher": plain.teacher}) == plain
    assert (given.teacher.model is not None) == ("teacher" in name or "soft targets" in name)
    assert (given.loss == plain.loss) == (name == "synthetic only")


def test_a_row_that_is_asked_for_is_not_left_out_in_silence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--data", str(tmp_path), "--runs", str(tmp_path), "--only", "synthetic + soft targets"])
    assert "give --teacher" in capsys.readouterr().err


def test_what_is_searched_is_what_was_learnt() -> None:
    assert {variant.search for variant in VARIANTS} == set(SEARCHES)
    assert {variant.objectives for variant in VARIANTS} == set(OBJECTIVES)
    assert OBJECTIVES["random walk alone"]["matching"] != [0.5, 0.5, 1.0]
