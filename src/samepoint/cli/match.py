"""``samepoint match``: the points or regions of one picture found in others."""

from __future__ import annotations

import json
import time
import zlib
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import samepoint
from samepoint.cli.console import all_or_none, check_model, new_folder, progress
from samepoint.cli.match_inputs import Pictures, check_outputs, gather_points, list_targets, mask_files, parse_place
from samepoint.errors import InputError

if TYPE_CHECKING:
    import numpy as np

    from samepoint.io.matches.points import PicturePoints
    from samepoint.matching import PairModel, Picture

TABLES = (".csv", ".json", ".npz")
FEW_NAMES = 24  # beyond these, names written into a picture hide it


def match(
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="The picture with the points, or a frame of a video: clip.mp4@12.")
    ],
    targets: Annotated[
        list[str],
        typer.Argument(metavar="TARGET...", help="Pictures, frames of videos, or folders of pictures to find them in."),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            metavar="OUT",
            help="The matches: .csv, .json or .npz. With --mask also its regions: .png, or a folder for many targets.",
        ),
    ],
    point: Annotated[
        list[str] | None, typer.Option("--point", metavar="X,Y", help="A point in pixels of SOURCE. Repeatable.")
    ] = None,
    points: Annotated[
        Path | None,
        typer.Option("--points", metavar="FILE", help="Points from CSV (x,y[,name]), or keypoints: COCO, DeepLabCut."),
    ] = None,
    grid: Annotated[int | None, typer.Option("--grid", metavar="N", help="N x N points spread over SOURCE.")] = None,
    mask: Annotated[
        Path | None,
        typer.Option("--mask", metavar="F", help="Regions of SOURCE: palette, grey or colour PNG, or COCO .json."),
    ] = None,
    render: Annotated[
        Path | None,
        typer.Option("--render", metavar="OUT.png", help="Also draw the matches; of many targets, a sheet."),
    ] = None,
    to: Annotated[
        str | None,
        typer.Option(
            "--to", metavar="FORMAT", help="csv, json, coco or npz [by suffix; coco for .json where --points is COCO]."
        ),
    ] = None,
    flip_test: Annotated[
        bool, typer.Option("--flip-test", help="Try each target mirrored, too: things may look the other way there.")
    ] = False,
    mutual: Annotated[
        float | None,
        typer.Option(
            "--mutual",
            metavar="SHARE",
            help="How far from its point a match may lead back, as a share of SOURCE's longer side [the model's own].",
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model", metavar="MODEL", help="A name from 'samepoint weights list' or a weight file [the shipped one]."
        ),
    ] = None,
    backbone: Annotated[
        str | None,
        typer.Option("--backbone", metavar="MODEL", help="Of a matcher whose file leaves its backbone out."),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option("--device", metavar="DEVICE", help="Where to compute: cpu, cuda, cuda:1 ... [the model's own]"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Find the points or regions of one picture in others: of the same thing, of another individual or kind.

    Give points with --point, --points or --grid, or regions with --mask. Coordinates are pixels of the pictures as they
    are displayed; (0, 0) is the top left corner. Nothing is written unless everything succeeds.
    """
    began = time.perf_counter()
    places = [parse_place(text) for text in point or []]
    masked = output.suffix.lower() not in TABLES
    _check_options(bool(places) or points is not None, grid, mask, output, masked, render, to)
    given = list_targets(source, targets, mask)
    files = mask_files(output, [name for name, _ in given]) if masked else {}
    outputs = [*(files.values() if masked else [output]), *([] if render is None else [render])]
    folder = output if masked and output.suffix.lower() != ".png" else None
    check_outputs(outputs, folder, [source, *(name for name, _ in given)], [points, mask])

    from samepoint.matching import as_pair_model, default_model, open_picture

    first = open_picture(source)
    chosen = default_model() if model is None else model
    asked = None if masked else gather_points(first, places, points, grid, mask)
    form = None if asked is None else _format(asked, output, to)
    check_model(chosen, device)
    matcher = as_pair_model(chosen, mutual=mutual, device=device, backbone=backbone)
    with progress("matching") as advance:
        pictures = Pictures(given, advance)
        if asked is None:
            done = _masks(first, str(mask), pictures, matcher, flip_test, files, render is not None)
        else:
            done = _points(first, asked, pictures, matcher, flip_test, output, form, render is not None)
    written = [*done.files, *([] if render is None else [render])]
    with nullcontext() if folder is None else new_folder(folder), all_or_none(written) as stand_ins:
        done.write(stand_ins)
        if done.picture is not None:
            from samepoint.io.images import write_image

            write_image(stand_ins[-1], done.picture)
    facts = {"source": source, "targets": len(given) - len(pictures.skipped), "skipped": pictures.skipped, **done.facts}
    _report(facts, chosen, written, time.perf_counter() - began, as_json)


def _format(asked: PicturePoints, output: Path, to: str | None) -> str | None:
    """Of the table; None: by suffix. Refused now, not when all is matched: points that COCO cannot tell apart."""
    from samepoint.io.matches.coco import check_names
    from samepoint.matching import names_of

    form = to or ("coco" if asked.is_coco and output.suffix.lower() == ".json" else None)
    if form == "coco" and asked.template is None:
        check_names(names_of(asked.queries))
    return form


@dataclass(frozen=True)
class _Done:
    """What is to be written where, and what is to be said of it."""

    files: list[Path]
    write: Callable[[list[Path]], None]
    picture: np.ndarray | None
    facts: dict[str, Any]


def _points(
    first: Picture,
    asked: PicturePoints,
    pictures: Pictures,
    matcher: PairModel,
    flip_test: bool,
    output: Path,
    form: str | None,
    draw: bool,
) -> _Done:
    from samepoint.io.matches import save_matches
    from samepoint.matching import match_each
    from samepoint.viz.matches import MatchSheet

    named = asked.queries.name is not None and len(asked.queries) <= FEW_NAMES
    sheet = MatchSheet(first.rgb, names=named) if draw else None
    pairs = []
    for picture, matches in match_each(first, pictures, asked.queries, matcher, flip_test=flip_test):
        pairs.append(matches)
        if sheet is not None:
            sheet.add(picture.rgb, matches)
    found = sum(int(matches.found.sum()) for matches in pairs)

    def write(paths: list[Path]) -> None:
        save_matches(pairs, paths[0], form, asked.template)

    facts = {"points": len(asked.queries), "found": found / (len(asked.queries) * len(pairs))}
    return _Done([output], write, None if sheet is None else sheet.picture(), facts)


def _masks(
    first: Picture,
    mask: str,
    pictures: Pictures,
    matcher: PairModel,
    flip_test: bool,
    files: dict[str, Path],
    draw: bool,
) -> _Done:
    import numpy as np

    from samepoint.io.masks import write_mask
    from samepoint.matching import as_regions, carry_masks_each
    from samepoint.viz.matches import RegionSheet

    labels = as_regions(mask, first)
    present = np.unique(labels[labels > 0])
    sheet = RegionSheet(first.rgb, labels, first.name) if draw else None
    kept: list[tuple[Path, tuple[int, int], bytes]] = []  # compressed: a thousand masks of photos fill the memory
    found = 0
    for picture, regions in carry_masks_each(first, pictures, labels, matcher, flip_test=flip_test):
        kept.append((files[picture.name], picture.size, zlib.compress(regions.labels.tobytes(), 1)))
        found += len(np.unique(regions.labels[regions.labels > 0]))
        if sheet is not None:
            sheet.add(picture.rgb, regions.labels, regions.origin, picture.name)

    def write(paths: list[Path]) -> None:
        for path, (_, size, packed) in zip(paths[: len(kept)], kept, strict=True):  # the drawing follows
            write_mask(path, np.frombuffer(zlib.decompress(packed), np.uint8).reshape(size))

    facts = {"regions": len(present), "found": found / (len(present) * len(kept))}
    return _Done([path for path, _, _ in kept], write, None if sheet is None else sheet.picture(), facts)


def _check_options(
    points: bool, grid: int | None, mask: Path | None, output: Path, masked: bool, render: Path | None, to: str | None
) -> None:
    if not points and grid is None and mask is None:
        raise InputError("nothing to match: give --point X,Y, --points FILE, --grid N or --mask F")
    if grid is not None and grid < 1:
        raise InputError(f"--grid {grid}: expected at least 1 point a side")
    if render is not None and render.suffix.lower() != ".png":
        raise InputError(f"--render {render}: unknown suffix {render.suffix!r}, expected .png")
    if not masked:
        from samepoint.io.matches import check_format

        check_format(output, to)
        return
    if output.suffix and output.suffix.lower() != ".png":
        raise InputError(
            f"{output}: unknown format {output.suffix!r} for matches; expected one of {', '.join(TABLES)}"
            + (", .png or a folder" if mask is not None else "")
        )
    if mask is None:
        raise InputError(f"{output}: points are written as {', '.join(TABLES)}; a .png or a folder is for --mask")
    if points or grid is not None:
        raise InputError(
            f"{output}: a mask of the regions has no place for points; give {', '.join(TABLES)} or --mask alone"
        )
    if to is not None:
        raise InputError("--to is about tables of matches; regions are written as .png")


def _report(facts: dict[str, Any], model: str, written: list[Path], seconds: float, as_json: bool) -> None:
    if as_json:
        extra = {"model": model, "outputs": [str(path) for path in written], "seconds": round(seconds, 3)}
        print(json.dumps({**facts, **extra, "version": samepoint.__version__}))
        return
    what, count = ("point", facts["points"]) if "points" in facts else ("region", facts["regions"])
    targets = facts["targets"]
    print(
        f"{facts['source']}: {count} {what}{'s' * (count != 1)} looked for in {targets} picture{'s' * (targets != 1)}, "
        f"{facts['found']:.0%} found, in {seconds:.1f} s"
    )
    shown = [str(path) for path in written] if len(written) < 4 else [f"{len(written)} files, {written[0]} first"]
    print("wrote " + ", ".join(shown))
