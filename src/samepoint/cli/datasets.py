"""``samepoint datasets``: what is there of a public data set."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from samepoint.errors import InputError

app = typer.Typer(help="Public data sets on this machine.", rich_markup_mode=None)


@app.callback()
def _group() -> None:
    pass


@app.command("check")
def check_dataset(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the set, e.g. pf-willow.")],
    root: Annotated[Path, typer.Option("--root", metavar="DIR", help="The set's own folder.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")] = False,
) -> None:
    """See whether a data set is complete, what is missing and where to get it.

    Exit status 0: complete. 2: something is missing; the set may be usable in part all the same, which the first line
    (in JSON "found") tells.
    """
    from samepoint.datasets.check import check

    answer = check(name, root)
    if as_json:
        fields = {"name": answer.name, "root": str(answer.root), "complete": answer.complete, "found": answer.found}
        print(json.dumps(fields | {"missing": answer.missing, "notes": answer.notes}))
    else:
        print(f"{answer.name} in {answer.root}: {answer.found:,} usable")
        for line in answer.missing:
            print(f"  missing  {line}")
        for line in answer.notes:
            print(f"  note     {line}")
    if not answer.complete:
        usable = f"{answer.found:,} items can be used" if answer.found else "nothing can be used"
        raise InputError(f"{root}: {name} is not complete; {usable}")
