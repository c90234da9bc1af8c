"""``samepoint weights``: which models there are."""

from __future__ import annotations

import dataclasses
import json
from typing import Annotated

import typer

app = typer.Typer(help="The models that have names.", rich_markup_mode=None)


@app.callback()
def _group() -> None:
    pass


@app.command("list")
def list_weights(as_json: Annotated[bool, typer.Option("--json", help="Print the table as JSON.")] = False) -> None:
    """List the models that --model knows by name."""
    from samepoint.models.weights import TABLE

    rows = [{**dataclasses.asdict(row), "bytes": row.path.stat().st_size} for row in TABLE.values()]
    if as_json:
        print(json.dumps(rows))
        return
    for row in rows:
        print(f"{row['name']}  {row['architecture']}, {row['bytes'] / 1e6:.1f} MB, {row['licence']}")
        print(f"  from    {row['source']}")
        print(f"  sha256  {row['sha256']}")
