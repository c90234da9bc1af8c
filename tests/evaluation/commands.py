"""The command as tests call it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from samepoint.cli.main import main


def run(name: str, root: Path, output: Path, *more: str) -> dict[str, Any]:
    assert main(["evaluate", name, "--root", str(root), "--output", str(output), *more]) == 0
    return json.loads(output.read_text())


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The one line of a refusal."""
    capsys.readouterr()
    assert main(["evaluate", *map(str, arguments)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    return err
