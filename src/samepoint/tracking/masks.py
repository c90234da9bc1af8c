"""``samepoint.segment``: masks through a whole video, in one call."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import nn

from ..errors import InputError
from ..io.masks import read_mask
from ..models.features import companion_of, encoder_of, load_encoder, load_features
from ..structures import Masks, Video
from .mask_settings import MaskSettings
from .mask_tracker import MaskTracker

Mask = np.ndarray | str | Path
Progress = Callable[[int, "int | None"], None]


def segment(
    video: Video | np.ndarray | str | Path | int,
    mask: Mask | Mapping[int, Mask],
    *,
    model: nn.Module | str | Path = "samepoint-base",
    settings: MaskSettings | None = None,
    companion: nn.Module | str | Path | None = "auto",
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
    progress: Progress | None = None,
) -> Masks:
    """Follow one or many objects through a video, from their masks in the first frame or in several.

    Args:
        video: a file, a folder of pictures, uint8 frames (T, H, W, 3), a camera index, a URL, or a ``Video``.
        mask: of frame 0, or masks by frame. Labels (H, W), 0 background and 1 to 254 the objects, or bool; or the path
            of a file that :func:`samepoint.io.masks.read_mask` reads. A mask at a later frame adds its objects, or
            replaces those that are known; what is 0 in it stays with the other objects.
        model: a network, a name in the table of weights, or a weight file.
        settings: how masks are propagated; published ones are in ``samepoint.tracking.MASK_PROTOCOLS``.
        companion: a second network, as ``model`` or a matcher, whose coarsest map tells objects apart by what they look
            like; ``"auto"``: the one that goes with ``model``, if that is a name in the table and has one; None:
            ``model``'s own coarser maps.
        device: ``"cpu"``, ``"cuda"``, ...; the model's by default.
        dtype: precision; bfloat16 where the device gains from it by default.
        progress: called after each frame with the frames done and the frames in all (None if unknown).

    Returns:
        Masks at the size of the video; frames before the first mask are background.

    Raises:
        InputError: no mask, one without an object, of another size or beyond the video; a video that cannot be read; a
            companion where ``settings`` leave looks out.
    """
    clip = video if isinstance(video, Video) else Video(video)
    masks = read_masks(clip, mask)
    network = model if isinstance(model, nn.Module) else load_features(model).network
    settings = settings or MaskSettings()
    if companion not in (None, "auto") and not settings.appearance:
        raise InputError("companion: given, but has no say; settings.appearance is 0")
    other = chosen_companion(companion, model) if settings.appearance else None
    tracker = MaskTracker(network, settings, companion=other, device=device, dtype=dtype)
    for frame, labels in masks.items():
        tracker.add(labels, frame)
    total = None if clip.is_live else len(clip)
    found = []
    for labels in follow(tracker, clip, masks):
        found.append(labels)
        if progress:
            progress(len(found), total)
    return Masks(np.stack(found), fps=clip.fps)


def chosen_companion(companion: nn.Module | str | Path | None, model: nn.Module | str | Path) -> nn.Module | None:
    """The network behind ``companion`` of :func:`segment`. Raises InputError where a name or file is none."""
    found = companion_of(model) if companion == "auto" else companion
    if found is None:
        return None
    return encoder_of(found) if isinstance(found, nn.Module) else load_encoder(found)


def read_masks(clip: Video, mask: Mask | Mapping[int, Mask]) -> dict[int, np.ndarray]:
    """Masks by frame as arrays, those that are files read, and none of them beyond the video.

    Raises:
        InputError: no mask, or one that cannot be used with this video.
    """
    by_frame = mask if isinstance(mask, Mapping) else {0: mask}
    if not by_frame:
        raise InputError("no mask to follow; give one of frame 0, or masks by frame")
    masks = {}
    for frame in by_frame:
        if not isinstance(frame, (int, np.integer)) or isinstance(frame, bool):
            raise InputError(f"mask of frame {frame!r}: a whole number expected")
    for frame, value in sorted(by_frame.items()):
        if frame < 0 or (not clip.is_live and frame > 0 and frame >= len(clip)):
            length = "" if clip.is_live else f"; the video has {len(clip)} frames (0..{len(clip) - 1})"
            raise InputError(f"mask of frame {frame}: no such frame{length}")
        masks[frame] = read_mask(value, clip.size) if isinstance(value, (str, Path)) else np.asarray(value)
    return masks


def follow(tracker: MaskTracker, clip: Video, masks: Mapping[int, np.ndarray]) -> Iterator[np.ndarray]:
    """Labels of the frames after the last one that ``tracker`` was given, which knows the ``masks``.

    Raises:
        InputError: the video ends before the last mask, or has no frames.
    """
    for frame in clip.frames(tracker.frame + 1):
        yield tracker.step(frame)
    if tracker.frame < 0:
        raise InputError("the video has no frames")
    late = [frame for frame in masks if frame > tracker.frame]
    if late:
        raise InputError(f"mask of frame {late[0]}: the video has {tracker.frame + 1} frames (0..{tracker.frame})")
