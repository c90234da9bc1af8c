"""``samepoint segment``: objects' masks followed through a video."""

from __future__ import annotations

import json
import os
import re
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer

import samepoint
from samepoint.cli.console import check_model, progress
from samepoint.errors import InputError

if TYPE_CHECKING:
    from samepoint.structures import Video
    from samepoint.tracking import MaskSettings


def segment(
    video: Annotated[str, typer.Argument(metavar="VIDEO", help="A video file or a folder of pictures.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="The folder for the masks, a palette PNG each frame.")
    ],
    mask: Annotated[
        list[str] | None,
        typer.Option(
            "--mask",
            metavar="FILE[@FRAME]",
            help="The objects in a frame, 0 unless given: palette, grey or colour PNG, or COCO .json. Repeatable.",
        ),
    ] = None,
    render: Annotated[
        Path | None, typer.Option("--render", metavar="OUT.mp4", help="Also write the video with the masks drawn in.")
    ] = None,
    protocol: Annotated[
        str, typer.Option("--protocol", metavar="NAME", help="Settings of a publication instead of ours, by name.")
    ] = "samepoint",
    search: Annotated[
        str,
        typer.Option(
            "--search",
            metavar="full|coarse-to-fine",
            help="How matches are looked for: in the whole window, or where coarse cells say. Not for publications'.",
        ),
    ] = "full",
    appearance: Annotated[
        str,
        typer.Option(
            "--appearance",
            metavar="auto|own|none|MODEL",
            help="Which network's maps tell objects by their looks: the one that goes with the model, the model's own "
            "(faster), none (fastest), or another by name or file.",
        ),
    ] = "auto",
    frames: Annotated[
        int | None,
        typer.Option(
            "--frames", metavar="N", help="Only the first N frames, to see how it does; without it the same goes on."
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Make masks anew where DIR holds others, instead of refusing.")
    ] = False,
    model: Annotated[
        str, typer.Option("--model", metavar="MODEL", help="A name from 'samepoint weights list' or a weight file.")
    ] = "samepoint-base",
    device: Annotated[
        str | None,
        typer.Option("--device", metavar="DEVICE", help="Where to compute: cpu, cuda, cuda:1 ... [the model's own]"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Follow objects through a video, from their masks in one or several frames.

    Writes each frame's labels into DIR as they come. After an interruption the same command goes on where it stopped.
    A mask of a later frame adds its objects, or replaces those that are known.
    """
    began = time.perf_counter()
    given = [parse_mask(text) for text in mask or []]
    if not given:
        raise InputError("nothing to follow: give at least one --mask FILE[@FRAME]")
    if frames is not None and frames < 1:
        raise InputError(f"--frames {frames}: expected at least 1 frame")
    _check_outputs(video, [path for path, _ in given], output, render)
    clip = _open(video)
    masks = _read_masks(clip, given)
    if frames is not None and frames <= min(masks):
        raise InputError(f"--frames {frames}: leaves out the first mask, which is of frame {min(masks)}")
    check_model(model, device)

    from samepoint.models.features import load_encoder, load_features
    from samepoint.tracking.mask_folder import describe, segment_into
    from samepoint.tracking.mask_tracker import MaskTracker
    from samepoint.tracking.quality import named_mask_settings, named_search

    settings, other = told_by_looks(named_mask_settings(protocol, named_search(search)), appearance, protocol, model)
    companion = None if other is None else load_encoder(other)
    tracker = MaskTracker(load_features(model).network, settings, companion=companion, device=device)
    record = describe(clip, masks, tracker, _identity(model), None if other is None else _identity(other))
    with progress("segmenting") as advance:
        files, before = segment_into(
            output, clip, masks, tracker, record, frames=frames, overwrite=overwrite, progress=advance
        )
    if render is not None:
        from samepoint.io.masks import read_mask
        from samepoint.viz.masks import render_masks

        with progress("rendering") as advance:
            drawn = (read_mask(path, clip.size) for path in files)
            render_masks(clip[: len(files)], drawn, render, clip.fps, progress=lambda done: advance(done, len(files)))
    objects = sorted({int(label) for labels in masks.values() for label in np.unique(labels) if label})
    seconds = time.perf_counter() - began
    if as_json:
        facts = {
            "video": video,
            "objects": objects,
            "frames": len(files),
            "frames_before": before,
            "frames_left": len(clip) - len(files),
            "fps": clip.fps,
            "width": clip.size[1],
            "height": clip.size[0],
            "model": model,
            "protocol": protocol,
            "search": search,
            "appearance": (other or "own") if settings.appearance else "none",
            "outputs": [str(output), *([str(render)] if render else [])],
            "seconds": round(seconds, 3),
            "version": samepoint.__version__,
        }
        print(json.dumps(facts))
        return
    gone_on = f" ({before} of them were there)" if before else ""
    left = "" if len(files) == len(clip) else f"; {len(clip) - len(files)} are left, without --frames it goes on"
    print(
        f"{video}: {len(objects)} object{'s' * (len(objects) != 1)} followed through {len(files)} frames of "
        f"{clip.size[1]}x{clip.size[0]} in {seconds:.1f} s{gone_on}{left}"
    )
    print(f"wrote {files[0]} to {files[-1].name}" + (f", {render}" if render else ""))


def parse_mask(text: str) -> tuple[Path, int]:
    """``FILE`` or ``FILE@FRAME``; a file whose own name ends like that is taken as it is.

    >>> parse_mask("dog.png@12")
    (PosixPath('dog.png'), 12)
    """
    match = re.fullmatch(r"(.+)@([+-]?\d+)", text)
    if match is None or Path(text).is_file():
        return Path(text), 0
    frame = int(match[2])
    if frame < 0:
        raise InputError(f"--mask {text}: frames count from 0, {frame} is negative")
    return Path(match[1]), frame


def told_by_looks(
    settings: MaskSettings, appearance: str, protocol: str, model: str
) -> tuple[MaskSettings, str | None]:
    """The settings as ``--appearance`` wants them, and the network whose maps it takes beside the model's own.

    Raises:
        InputError: a publication's settings, which know no looks, are to have some.
    """
    from samepoint.models.features import companion_of

    if appearance == "none" or (appearance == "auto" and not settings.appearance):
        return replace(settings, appearance=0.0), None
    if not settings.appearance:
        raise InputError(f"--appearance {appearance}: {protocol} knows nothing of looks, as published")
    return settings, {"auto": companion_of(model), "own": None}.get(appearance, appearance)


def _identity(model: str) -> dict[str, str]:
    from samepoint.models.features import UNTRAINED
    from samepoint.models.weights import resolve, sha256

    if model == UNTRAINED:
        return {"name": model}
    return {"name": Path(model).name, "sha256": sha256(resolve(model))}


def _check_outputs(video: str, masks: list[Path], output: Path, render: Path | None) -> None:
    from samepoint.io.atomic import check_writable

    if output.exists() and not output.is_dir():
        raise InputError(f"{output}: is a file; expected a folder or a new name")
    nearest = next(part for part in (output, *output.absolute().parents) if part.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        raise InputError(f"{output}: no permission to write in {nearest}")
    if output.is_dir():
        for source in (Path(video), *(path.parent for path in masks)):
            if source.is_dir() and source.samefile(output):
                raise InputError(f"{output}: holds the pictures that are read, which would be overwritten")
    if render is None:
        return
    if render.suffix.lower() != ".mp4":
        raise InputError(f"--render {render}: unknown suffix {render.suffix!r}, expected .mp4")
    if render.exists() and Path(video).exists() and render.samefile(video):
        raise InputError(f"{render}: is an input and would be overwritten; choose another name")
    if render.parent.absolute() != output.absolute():  # that folder may still have to be made
        check_writable(render)


def _open(source: str) -> Video:
    from samepoint.structures import Video

    kinds = "masks need a video file or a folder of pictures (in Python, samepoint.MaskTracker follows live sources)"
    if source.isdecimal() and not Path(source).exists():
        raise InputError(f"camera {source} is live: {kinds}")
    clip = Video(source)
    if clip.is_live:
        raise InputError(f"{source} is live: {kinds}")
    return clip


def _read_masks(clip: Video, given: list[tuple[Path, int]]) -> dict[int, np.ndarray]:
    """Labels by frame; several files of one frame laid over each other, each with objects of its own."""
    from samepoint.io.masks import read_mask

    masks: dict[int, np.ndarray] = {}
    for path, frame in given:
        if frame and frame >= len(clip):
            raise InputError(f"{path}: frame {frame}, but the video has {len(clip)} frames (0..{len(clip) - 1})")
        labels = read_mask(path, clip.size)
        if not labels.any():
            raise InputError(f"{path}: no object in this mask; it is all background")
        before = masks.get(frame, np.zeros_like(labels))
        both = np.intersect1d(before[before > 0], labels[labels > 0])
        if len(both):
            raise InputError(f"{path}: object {both[0]} is in another mask of frame {frame}, too; number them apart")
        masks[frame] = np.where(labels > 0, labels, before)
    return masks
