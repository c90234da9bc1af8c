"""``samepoint report``: results of ``samepoint evaluate`` side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from samepoint.errors import InputError


def report(
    results: Annotated[list[Path], typer.Argument(metavar="RESULT.json...", help="What samepoint evaluate wrote.")],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="OUT.{md,tex}", help="Where to; by default it is printed.")
    ] = None,
    form: Annotated[
        str | None, typer.Option("--format", help="markdown or latex; by default as the suffix says, else markdown.")
    ] = None,
    per_item: Annotated[bool, typer.Option("--per-item", help="Also a table of each item's main score.")] = False,
    all_metrics: Annotated[
        bool, typer.Option("--all-metrics", help="Also scores of single thresholds (TAP-Vid) and categories (pairs).")
    ] = False,
    pictures: Annotated[
        Path | None, typer.Option("--pictures", metavar="DIR", help="Draw the best and worst items into this folder.")
    ] = None,
    count: Annotated[
        int, typer.Option("--picture-count", metavar="N", help="How many of the best and of the worst to draw.")
    ] = 3,
) -> None:
    """Compare results with each other and with published numbers.

    Results of different scoring protocols, or over different items, never share a table. Published numbers that ours
    cannot be compared with stand apart, each with the reason.
    """
    from samepoint.evaluation.report import build
    from samepoint.evaluation.report_text import choose_format, write_text
    from samepoint.evaluation.result_file import read_result
    from samepoint.io.atomic import atomic_write, check_writable

    chosen = choose_format(form, output)
    if output is not None:
        check_writable(output)
    if count < 1:
        raise InputError(f"--picture-count {count}: expected at least 1")
    places = [path.resolve() for path in results]
    for path, place in zip(results, places, strict=True):
        if places.count(place) > 1:
            raise InputError(f"{path}: given twice")
    read = [read_result(path) for path in results]
    drawn = []
    if pictures is not None:
        from samepoint.evaluation.pictures import draw_results

        drawn = draw_results(read, pictures, count)
    sections = build(read, per_item=per_item, all_metrics=all_metrics, pictures=drawn)
    text = write_text(sections, chosen, Path() if output is None else output.parent)
    if output is None:
        print(text, end="")
        return
    with atomic_write(output, "w") as file:
        file.write(text)
    print(f"wrote {output}" + (f" and {len(drawn)} pictures below {pictures}" if drawn else ""))
