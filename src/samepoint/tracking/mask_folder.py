"""Masks of a video on their way into a folder, frame by frame, to be gone on with after an interruption.

Beside the masks lie ``segment.json``, which says what they were made with, and, until the last one is there, a small
file with the soft labels in memory. The frames in memory are read from the video again, so that what is gone on with is
exactly what it would have been.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from ..io.atomic import atomic_write
from ..io.images import list_images
from ..io.masks import mask_names, write_mask
from ..structures import Video
from .mask_tracker import MaskState, MaskTracker
from .masks import follow

RECORD, STATE = "segment.json", ".segment-state.safetensors"
EVERY = 32  # frames between two states on disk: what a power cut may cost

Progress = Callable[[int, "int | None"], None]


def describe(
    clip: Video,
    masks: Mapping[int, np.ndarray],
    tracker: MaskTracker,
    model: Mapping[str, str],
    companion: Mapping[str, str] | None = None,
) -> dict:
    """What the masks of a video depend on, as plain values; networks are told by their names and hashes."""
    source = Path(clip.source) if isinstance(clip.source, (str, Path)) else None
    return {
        "video": source.name if source else type(clip.source).__name__,
        "bytes": _bytes(source),
        "size": list(clip.size),
        "length": len(clip),
        "masks": {str(frame): sha256(mask.tobytes()).hexdigest()[:16] for frame, mask in sorted(masks.items())},
        "model": dict(model),
        "settings": tracker.settings.as_dict(),
        "precision": tracker.precision,
        "companion": None if companion is None else dict(companion),
    }


def _bytes(source: Path | None) -> int | None:
    """Of a file, or of the pictures of a folder together."""
    if source is None or not source.exists():
        return None
    return sum(each.stat().st_size for each in (list_images(source) if source.is_dir() else [source]))


def segment_into(
    folder: Path,
    clip: Video,
    masks: Mapping[int, np.ndarray],
    tracker: MaskTracker,
    record: Mapping[str, Any],
    *,
    frames: int | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> tuple[list[Path], int]:
    """Write the masks of each frame as a palette PNG, or those that an earlier run of the same kind left out.

    Args:
        folder: made where it is missing.
        clip: the whole of a video that is not live; its pictures' names are taken where it is a folder.
        masks: by frame, none beyond the video.
        tracker: fresh.
        record: what the masks depend on, see :func:`describe`; an earlier run's must be equal.
        frames: stop once so many are there, as if interrupted; None for all.
        overwrite: begin anew, and remove what an earlier run wrote.
        progress: called with (frames done, frames in all).

    Returns:
        The files that are there now, and how many of them were there before.

    Raises:
        InputError: the folder holds masks made with other settings, or not made here, and ``overwrite`` is not given.
    """
    paths = [folder / name for name in islice(mask_names(clip.source), len(clip))]
    record = json.loads(json.dumps(record))
    known = _read_record(folder)
    if overwrite:
        _remove(folder, known)
    elif known is None:
        for path in paths:
            if path.exists():
                raise InputError(f"{path}: is there already; choose another folder, or --overwrite to replace it")
    else:
        _check_same(folder, known["made_with"], record)
        if known["complete"] and all(path.is_file() for path in paths):
            return paths, len(paths)
    folder.mkdir(parents=True, exist_ok=True)
    _write_record(folder, record, paths, complete=False)
    state = _restored(tracker, clip, folder / STATE, paths)
    for frame, mask in masks.items():
        if frame > tracker.frame:
            tracker.add(mask, frame)
    before = done = tracker.frame + 1
    saved = done
    wanted = len(paths) if frames is None else max(before, min(frames, len(paths)))
    partly = wanted < len(paths)
    try:
        # To the end without counting: at the end, following says what is wrong with the video.
        for labels in islice(follow(tracker, clip, masks), wanted - before if partly else None):
            write_mask(paths[done], labels)
            state, done = tracker.state(), done + 1
            if done - saved >= EVERY or (partly and done == wanted):
                state.save(folder / STATE)
                saved = done
            if progress:
                progress(done, wanted)
    except BaseException:
        if state is not None and done > saved:
            with suppress(OSError, InputError):
                state.save(folder / STATE)
        raise
    if partly:
        return paths[:wanted], before
    _write_record(folder, record, paths, complete=True)
    (folder / STATE).unlink(missing_ok=True)
    return paths, before


def _restored(tracker: MaskTracker, clip: Video, path: Path, paths: list[Path]) -> MaskState | None:
    """Put the tracker where the last state is; from the beginning where there is none that serves."""
    if not path.is_file():
        return None
    with suppress(InputError, ValueError, IndexError, RuntimeError):
        state = MaskState.load(path)
        if state.size == clip.size and all(each.is_file() for each in paths[: state.frame + 1]):
            tracker.restore(state, lambda index: clip[index])
            return state
    return None


def _read_record(folder: Path) -> dict[str, Any] | None:
    path = folder / RECORD
    if not path.is_file():
        return None
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(record["made_with"], dict) and all(isinstance(name, str) for name in record["files"]):
            return {**record, "complete": bool(record["complete"])}
    except (ValueError, KeyError, TypeError):
        pass
    raise InputError(f"{path}: damaged, or not written by this command; choose another folder, or remove it")


def _write_record(folder: Path, record: Mapping[str, Any], paths: list[Path], *, complete: bool) -> None:
    content = {"made_with": record, "complete": complete, "files": [path.name for path in paths]}
    with atomic_write(folder / RECORD, "w") as file:
        file.write(json.dumps(content, indent=1) + "\n")


def _check_same(folder: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    for name in {**before, **now}:
        old, new = before.get(name), now.get(name)
        if old == new:
            continue
        if isinstance(old, dict) and isinstance(new, dict):
            parts = [key for key in {**old, **new} if old.get(key) != new.get(key)]
            if not parts:  # what one does not name is None in the other
                continue
            name, old, new = f"{name}, {parts[0]}", old.get(parts[0]), new.get(parts[0])
        raise InputError(
            f"{folder}: its masks were made with {name}: {old}, now it is {new}; choose another folder, or "
            "--overwrite to make them anew"
        )


def _remove(folder: Path, known: Mapping[str, Any] | None) -> None:
    (folder / STATE).unlink(missing_ok=True)
    for name in known["files"] if known else ():
        if Path(name).name == name:
            (folder / name).unlink(missing_ok=True)
