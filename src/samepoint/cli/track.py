"""``samepoint track``: points followed through a video."""

from __future__ import annotations

import importlib.util
import json
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import samepoint
from samepoint.cli.console import all_or_none, check_model, progress
from samepoint.errors import InputError, MissingExtraError

if TYPE_CHECKING:
    from samepoint.structures import Queries, Tracks, Video

NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
POINT = re.compile(rf"\s*({NUMBER})\s*,\s*({NUMBER})\s*(?:@\s*([-+]?\d+)\s*)?")


def track(
    video: Annotated[
        str, typer.Argument(metavar="VIDEO", help="A video file, a folder of pictures, a URL or a camera's number.")
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", metavar="OUT", help="Where the tracks go: .csv, .npz, .parquet, .json or .pkl (TAP-Vid)."
        ),
    ],
    point: Annotated[
        list[str] | None,
        typer.Option("--point", metavar="X,Y[@FRAME]", help="A point in pixels, in frame 0 unless given. Repeatable."),
    ] = None,
    queries: Annotated[
        Path | None,
        typer.Option("--queries", metavar="FILE", help="Points from a CSV file with the columns frame,x,y[,name]."),
    ] = None,
    grid: Annotated[int | None, typer.Option("--grid", metavar="N", help="N x N points spread over a frame.")] = None,
    grid_frame: Annotated[
        int | None, typer.Option("--grid-frame", metavar="FRAME", help="The frame of the grid instead of frame 0.")
    ] = None,
    render: Annotated[
        Path | None, typer.Option("--render", metavar="OUT.mp4", help="Also write the video with the tracks drawn in.")
    ] = None,
    sheet: Annotated[
        Path | None,
        typer.Option("--sheet", metavar="OUT.png", help="Also write a picture of eight frames with the tracks."),
    ] = None,
    names: Annotated[bool, typer.Option("--names", help="Write the points' names into --render and --sheet.")] = False,
    trail: Annotated[
        int | None,
        typer.Option(
            "--trail", metavar="FRAMES", help="How far trails reach back in --render and --sheet [half a second]."
        ),
    ] = None,
    side_by_side: Annotated[
        bool, typer.Option("--side-by-side", help="Put the original to the left in --render.")
    ] = False,
    backward: Annotated[
        bool, typer.Option("--backward", help="Follow each point to the frames before its own, too.")
    ] = False,
    frames: Annotated[
        int | None,
        typer.Option(
            "--frames", metavar="N", help="Only the first N frames; a camera or stream goes on until it ends."
        ),
    ] = None,
    quality: Annotated[
        str,
        typer.Option("--quality", metavar="fast|balanced|best", help="How much time may be spent on each frame."),
    ] = "balanced",
    search: Annotated[
        str | None,
        typer.Option(
            "--search",
            metavar="full|coarse-to-fine",
            help="How label propagation looks for matches, of a model without a refiner [full].",
        ),
    ] = None,
    model: Annotated[
        str, typer.Option("--model", metavar="MODEL", help="A name from 'samepoint weights list' or a weight file.")
    ] = "samepoint-base",
    device: Annotated[
        str | None,
        typer.Option("--device", metavar="DEVICE", help="Where to compute: cpu, cuda, cuda:1 ... [the model's own]"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Follow points through a video and write where they are in every frame.

    Give points with --point, --queries or --grid. Coordinates are pixels; (0, 0) is the top left corner of the picture
    and frames count from 0. Nothing is written unless everything succeeds.
    """
    began = time.perf_counter()
    chosen = [parse_point(text) for text in point or []]
    _check_options(bool(chosen), queries, grid, grid_frame, render, sheet, names, trail, side_by_side, frames)
    outputs = [path for path in (output, render, sheet) if path is not None]
    _check_outputs(video, queries, output, render, sheet)

    from samepoint.tracking.points import track as follow
    from samepoint.tracking.quality import QUALITIES, by_propagation, named_quality, named_search

    level = named_quality(quality)
    how: dict[str, Any] = {"quality": level}
    if search is not None:
        how = {"method": by_propagation(level, named_search(search)), "short_side": QUALITIES[level].short_side}
    clip = _open(video, frames, backward, needs_frames_twice=len(outputs) > 1)
    wanted = _queries(clip, chosen, queries, grid, grid_frame or 0, frames)
    check_model(model, device)

    with all_or_none(outputs) as stand_ins:
        with progress("tracking") as advance:
            tracks = follow(clip, wanted, model=model, backward=backward, device=device, progress=advance, **how)
        tracks.save(stand_ins[0])
        if render is not None:
            from samepoint.viz.render import render_tracks

            with progress("rendering") as advance:
                render_tracks(
                    clip, tracks, stand_ins[1], trail=trail, names=names, side_by_side=side_by_side, progress=advance
                )
        if sheet is not None:
            from samepoint.viz.render import contact_sheet

            contact_sheet(clip, tracks, stand_ins[-1], trail=trail, names=names)
    _report(video, tracks, model, outputs, time.perf_counter() - began, as_json)


def parse_point(text: str) -> tuple[float, float, int]:
    """``X,Y`` or ``X,Y@FRAME``.

    >>> parse_point("120.5,88@7")
    (120.5, 88.0, 7)
    """
    match = POINT.fullmatch(text)
    if match is None:
        raise InputError(f"--point {text!r}: expected X,Y or X,Y@FRAME, for example 120.5,88 or 120.5,88@30")
    frame = int(match[3] or 0)
    if frame < 0:
        raise InputError(f"--point {text!r}: frames count from 0, {frame} is negative")
    return float(match[1]), float(match[2]), frame


def _check_options(
    points: bool,
    queries: Path | None,
    grid: int | None,
    grid_frame: int | None,
    render: Path | None,
    sheet: Path | None,
    names: bool,
    trail: int | None,
    side_by_side: bool,
    frames: int | None,
) -> None:
    if not points and queries is None and grid is None:
        raise InputError("nothing to follow: give at least one of --point X,Y[@FRAME], --queries FILE and --grid N")
    if grid is not None and grid < 1:
        raise InputError(f"--grid {grid}: expected at least 1 point a side")
    if grid_frame is not None and grid is None:
        raise InputError("--grid-frame says where --grid lies; give --grid N too")
    if grid_frame is not None and grid_frame < 0:
        raise InputError(f"--grid-frame {grid_frame}: frames count from 0")
    if (names or trail is not None) and render is None and sheet is None:
        raise InputError(f"{'--names' if names else '--trail'} is about pictures; give --render or --sheet too")
    if trail is not None and trail < 0:
        raise InputError(f"--trail {trail}: expected a number of frames, 0 for none")
    if side_by_side and render is None:
        raise InputError("--side-by-side is about the rendered video; give --render OUT.mp4 too")
    if frames is not None and frames < 1:
        raise InputError(f"--frames {frames}: expected at least 1 frame")


def _check_outputs(video: str, queries: Path | None, output: Path, render: Path | None, sheet: Path | None) -> None:
    from samepoint.io.atomic import check_writable
    from samepoint.io.tracks import check_suffix

    if check_suffix(output) == ".parquet" and importlib.util.find_spec("pyarrow") is None:
        raise MissingExtraError("Writing Parquet", "tables")
    for option, path, suffix in (("--render", render, ".mp4"), ("--sheet", sheet, ".png")):
        if path is not None and path.suffix.lower() != suffix:
            raise InputError(f"{option} {path}: unknown suffix {path.suffix!r}, expected {suffix}")
    inputs = [Path(video), *([queries] if queries is not None else [])]
    for path in (output, render, sheet):
        if path is None:
            continue
        for source in inputs:
            if path.exists() and source.exists() and path.samefile(source):
                raise InputError(f"{path}: is an input and would be overwritten; choose another name")
        check_writable(path)
    if sheet is not None and Path(video).is_dir() and sheet.parent.exists() and sheet.parent.samefile(video):
        raise InputError(f"--sheet {sheet}: would be one of the pictures that are the video; choose another folder")


def _open(source: str, frames: int | None, backward: bool, needs_frames_twice: bool) -> Video:
    """The video, or its first ``frames``; of a live source these are read into memory, so that they can be reread."""
    import numpy as np

    from samepoint.structures import Video

    video = Video(int(source) if source.isdecimal() and not Path(source).exists() else source)
    if video.is_live:
        if backward:
            raise InputError(f"--backward: {source} is live and cannot be played backwards")
        if frames is not None:
            return Video(np.stack(list(video.frames(0, frames))), fps=video.fps)
        if needs_frames_twice:
            raise InputError(f"{source} is live: --render and --sheet need --frames N there")
        return video
    return video if frames is None else video[:frames]


def _queries(
    video: Video,
    points: list[tuple[float, float, int]],
    path: Path | None,
    grid: int | None,
    grid_frame: int,
    only: int | None,
) -> Queries:
    from samepoint.structures import Queries

    parts = []
    if points:
        parts.append(Queries.at([(x, y) for x, y, _ in points], [frame for _, _, frame in points]))
    if path is not None:
        parts.append(Queries.load(path))
        try:
            _check(parts[-1], video, only)
        except InputError as error:
            raise InputError(f"{path}: {error}") from None
    if grid is not None:
        parts.append(Queries.grid(grid, video.size, grid_frame))
    queries = Queries.concat(parts)
    if not len(queries):
        raise InputError(f"{path}: no point in this file; expected rows of frame,x,y[,name]")
    _check(queries, video, only)
    return queries


def _check(queries: Queries, video: Video, only: int | None) -> None:
    import numpy as np

    queries.check(video.size)
    for point in np.flatnonzero(queries.frame >= (only or np.inf))[:1]:
        raise InputError(f"point {point}: frame {queries.frame[point]}, but --frames {only} leaves out what follows")
    if not video.is_live and queries.frame.any():  # to count frames may mean to read the whole file
        queries.check(video.size, len(video))


def summary(tracks: Tracks) -> dict[str, Any]:
    """What the ``--json`` answers of ``track`` and ``demo`` say of tracks.

    ``visible`` is the share of the frames in which points are followed: those before a point's own do not count.
    """
    import numpy as np

    height, width = tracks.size
    followed = np.isfinite(tracks.xy[..., 0])  # not so before a point's own frame
    return {
        "points": len(tracks),
        "frames": tracks.frames,
        "fps": tracks.fps,
        "width": width,
        "height": height,
        "visible": float(tracks.visible[followed].mean()),
    }


def _report(video: str, tracks: Tracks, model: str, outputs: list[Path], seconds: float, as_json: bool) -> None:
    facts = summary(tracks)
    if as_json:
        extra = {"outputs": [str(path) for path in outputs], "seconds": round(seconds, 3)}
        print(json.dumps({"video": video, **facts, "model": model, **extra, "version": samepoint.__version__}))
        return
    print(
        f"{video}: {facts['points']} point{'s' * (facts['points'] != 1)} followed through {facts['frames']} frames of "
        f"{facts['width']}x{facts['height']} in {seconds:.1f} s, "
        f"visible {facts['visible']:.0%} of the time that they are followed"
    )
    print("wrote " + ", ".join(str(path) for path in outputs))
