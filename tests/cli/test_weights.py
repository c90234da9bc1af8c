"""``samepoint weights list``."""

from __future__ import annotations

import hashlib
import json

from samepoint.cli.main import main
from samepoint.models import weights


def test_table_names_what_is_shipped(capsys) -> None:
    assert main(["weights", "list"]) == 0
    text = capsys.readouterr().out
    for row in weights.TABLE.values():
        assert row.name in text
        assert row.sha256 in text


def test_json_is_the_whole_table(capsys) -> None:
    assert main(["weights", "list", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in rows] == list(weights.TABLE)
    for row in rows:
        data = weights.TABLE[row["name"]].path.read_bytes()
        assert row["bytes"] == len(data)
        assert row["sha256"] == hashlib.sha256(data).hexdigest()
        assert row["licence"]
