"""``samepoint demo``: from nothing to tracked points that one can look at."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer

import samepoint
from samepoint.cli.console import all_or_none, new_folder, progress
from samepoint.errors import InputError

if TYPE_CHECKING:
    from samepoint.datasets.synthetic import Clip

SEED, FPS, GRID = 10, 24.0, 10


def demo(
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="The folder for the results.")] = Path(
        "samepoint-demo"
    ),
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Render a short clip, follow points through it and compare with where they truly go.

    Writes the clip, the clip with the tracks drawn in, a picture of eight frames and the tracks as a table. Needs no
    input and no network.
    """
    if output.exists() and not output.is_dir():
        raise InputError(f"{output}: is a file; expected a folder or a new name")
    from samepoint.structures import Queries, Video
    from samepoint.tracking.points import track
    from samepoint.viz.render import contact_sheet, render_tracks
    from samepoint.viz.writer import VideoWriter

    files = [output / name for name in ("clip.mp4", "tracks.mp4", "tracks.png", "tracks.csv")]
    with new_folder(output), all_or_none(files) as (clip_file, video_file, sheet_file, table_file):
        with progress("rendering a clip"):
            clip = _clip()
        video = Video(clip.frames, fps=FPS)
        queries = Queries.grid(GRID, video.size)
        with progress("tracking") as advance:
            tracks = track(video, queries, progress=advance)
        with progress("drawing") as advance:
            with VideoWriter(clip_file, FPS) as writer:
                for frame in video:
                    writer.write(frame)
            render_tracks(video, tracks, video_file, progress=advance)
        contact_sheet(video, tracks, sheet_file)
        tracks.save(table_file)

    truth, visible = clip.tracks(queries.xy, frame=0)
    error = np.linalg.norm(tracks.xy - truth, axis=2)[:, 1:][visible[:, 1:]]
    right = float((tracks.visible == visible)[:, 1:].mean())
    if as_json:
        facts = {
            "points": len(tracks),
            "frames": tracks.frames,
            "median_error": float(np.median(error)),
            "within_2_px": float((error < 2).mean()),
            "within_8_px": float((error < 8).mean()),
            "visibility_accuracy": right,
            "outputs": [str(path) for path in files],
            "version": samepoint.__version__,
        }
        print(json.dumps(facts))
        return
    height, width = tracks.size
    print(f"{len(tracks)} points followed through {tracks.frames} frames of {width}x{height}. Against the known truth:")
    print(f"  median error {np.median(error):.2f} px; {(error < 2).mean():.0%} of positions within 2 px, ", end="")
    print(f"{(error < 8).mean():.0%} within 8 px")
    print(f"  visible or hidden told rightly in {right:.0%} of the cases")
    for path, what in zip(
        files, ("the clip", "the tracks on it", "eight frames in a picture", "the tracks"), strict=True
    ):
        print(f"{path}  {what}")


def _clip(frames: int = 72) -> Clip:
    """Patterned shapes that drift, turn, bend and pass over each other, three seconds by default; always the same."""
    from samepoint.datasets.synthetic import ClipSettings, ProceduralTextures, SyntheticClips

    settings = ClipSettings.clean(
        frames=frames,
        size=(320, 480),
        layers=(2, 4),
        radius=(0.22, 0.42),
        speed=(1.5, 5.0),
        static=0.0,
        camera=0.4,
        limbs=0.0,
        light=0.1,
        noise=2.0,
    )
    return SyntheticClips(settings, ProceduralTextures(), seed=SEED).clip(0)
