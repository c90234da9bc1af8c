"""``samepoint keypoints``: labels of a few frames carried to all others."""

from __future__ import annotations

import importlib.util
import json
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import samepoint
from samepoint.cli.console import all_or_none, check_model, progress
from samepoint.errors import InputError, MissingExtraError

if TYPE_CHECKING:
    from samepoint.structures import Keypoints, Video
    from samepoint.tracking.keypoints import Suggestion

FORMATS = "csv, deeplabcut, coco, cvat, sleap"


def keypoints(
    video: Annotated[str, typer.Argument(metavar="VIDEO", help="A video file or a folder of pictures.")],
    labels: Annotated[
        Path,
        typer.Option(
            "--labels", metavar="FILE", help="Labelled frames: DeepLabCut .csv or .h5, COCO, CVAT, SLEAP or plain CSV."
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="OUT", help="Where all frames go: .csv, .h5, .json or .xml.")
    ],
    from_format: Annotated[
        str | None,
        typer.Option("--from", metavar="FORMAT", help=f"Format of FILE: {FORMATS} [told by suffix and content]."),
    ] = None,
    to_format: Annotated[
        str | None,
        typer.Option(
            "--to", metavar="FORMAT", help=f"Format of OUT: {FORMATS}, napari [that of FILE, else by suffix]."
        ),
    ] = None,
    render: Annotated[
        Path | None, typer.Option("--render", metavar="OUT.mp4", help="Also write the video with the joints drawn in.")
    ] = None,
    suggest: Annotated[
        int, typer.Option("--suggest", metavar="N", help="Name N frames to label next; 0 for none.")
    ] = 5,
    model: Annotated[
        str, typer.Option("--model", metavar="MODEL", help="A name from 'samepoint weights list' or a weight file.")
    ] = "samepoint-base",
    device: Annotated[
        str | None,
        typer.Option("--device", metavar="DEVICE", help="Where to compute: cpu, cuda, cuda:1 ... [the model's own]"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Carry labelled keypoints to every frame of a video and say which frames to label next.

    Between two labelled frames joints are followed from both. Labelled joints stay exactly as they are. Nothing is
    written unless everything succeeds.
    """
    began = time.perf_counter()
    outputs = [path for path in (output, render) if path is not None]
    if suggest < 0:
        raise InputError(f"--suggest {suggest}: expected 0 or more")
    _check_outputs(video, labels, output, to_format, render)
    clip, known = _read(video, labels, from_format)
    check_model(model, device)

    from samepoint.io.keypoints import write_keypoints
    from samepoint.tracking.keypoints import propagate_keypoints, suggest_frames

    with all_or_none(outputs) as stand_ins:
        with progress("tracking") as advance:
            result = propagate_keypoints(clip, known, model=model, device=device, progress=advance)
        for lost in write_keypoints(result, stand_ins[0], to_format):
            warnings.warn(f"{output}: {lost}", UserWarning, stacklevel=1)
        if known.images and not result.images and not _keeps_pictures(known, output, to_format):
            lost = "the names of the labelled pictures are left out: frames of a video have none, those of a folder do"
            warnings.warn(f"{output}: {lost}", UserWarning, stacklevel=1)
        if render is not None:
            from samepoint.viz.render import render_tracks

            with progress("rendering") as advance:
                tracks = result.to_tracks(clip.fps, clip.size)
                render_tracks(clip, tracks, stand_ins[1], trail=0, names=True, progress=advance)
    suggestions = suggest_frames(result, suggest)
    _report(video, known, result, suggestions, model, outputs, time.perf_counter() - began, as_json)


def _keeps_pictures(labels: Keypoints, output: Path, to_format: str | None) -> bool:
    """Whether frames are added to the labels' own file, pictures and all, or rows are called by frames anyway."""
    from samepoint.io.keypoints import format_for

    chosen = format_for(labels, output, to_format)
    return chosen == "deeplabcut" or (chosen == "coco" and labels.source is not None and labels.source.format == "coco")


def _check_outputs(video: str, labels: Path, output: Path, to_format: str | None, render: Path | None) -> None:
    from samepoint.io.atomic import check_writable
    from samepoint.io.keypoints import check_format

    check_format(output, to_format)
    if output.suffix.lower() in (".h5", ".hdf5") and importlib.util.find_spec("h5py") is None:
        raise MissingExtraError("DeepLabCut's HDF5", "tables")
    if render is not None and render.suffix.lower() != ".mp4":
        raise InputError(f"--render {render}: unknown suffix {render.suffix!r}, expected .mp4")
    for path in (output, render):
        if path is None:
            continue
        for source in (Path(video), labels):
            if path.exists() and source.exists() and path.samefile(source):
                raise InputError(f"{path}: is an input and would be overwritten; choose another name")
        check_writable(path)


def _read(video: str, labels: Path, from_format: str | None) -> tuple[Video, Keypoints]:
    """The video, and the labels with the frames of the video that they are of."""
    from samepoint.io.keypoints import check_pictures, load_keypoints, place_in_video
    from samepoint.structures import Video

    known = load_keypoints(labels, from_format)
    if not (known.known & known.labelled).any():
        raise InputError(f"{labels}: no labelled joint; expected at least one with a position")
    if video.isdecimal() and not Path(video).exists():
        raise InputError(f"camera {video} is live: keypoints need a video file or a folder of pictures")
    clip = Video(video)
    if clip.is_live:
        raise InputError(f"{video} is live: keypoints need a video file or a folder of pictures")
    try:
        known = place_in_video(known, clip)
    except InputError as error:
        raise InputError(f"{labels}: {error}") from None
    check_pictures(known, clip, labels)
    return clip, known


def _report(
    video: str,
    known: Keypoints,
    result: Keypoints,
    suggestions: list[Suggestion],
    model: str,
    outputs: list[Path],
    seconds: float,
    as_json: bool,
) -> None:
    frames, individuals, bodyparts = result.shape
    labelled = int((known.known & known.labelled).any(axis=(1, 2)).sum())
    if as_json:
        facts = {
            "video": video,
            "frames": frames,
            "labelled": labelled,
            "individuals": individuals,
            "bodyparts": bodyparts,
            "confidence": round(float(result.confidence[result.known].mean()), 4),
            "suggest": [
                {"frame": one.frame, "confidence": round(one.confidence, 4), "joint": one.joint} for one in suggestions
            ],
            "model": model,
            "outputs": [str(path) for path in outputs],
            "seconds": round(seconds, 3),
            "version": samepoint.__version__,
        }
        print(json.dumps(facts))
        return
    several = f" of {individuals} individuals" if individuals > 1 else ""
    print(
        f"{video}: {bodyparts} joints{several} carried from {labelled} labelled to {frames} frames in {seconds:.1f} s, "
        f"mean confidence {float(result.confidence[result.known].mean()):.2f}"
    )
    for one in suggestions:
        print(f"label next: frame {one.frame} (confidence {one.confidence:.2f}, least sure: {one.joint})")
    print("wrote " + ", ".join(str(path) for path in outputs))
