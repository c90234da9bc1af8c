"""Correspondence labels of a shot: a grid of seeds followed through its frames, kept while all checks agree."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import nn

from ..errors import InputError, MissingExtraError
from ..io.masks import read_mask
from ..models.network import PointNetwork
from ..models.weights import load_model, resolve, sha256
from ..tracking.frames import FrameEncoder
from ..tracking.propagated import PropagatedPoints
from ..tracking.quality import QUALITIES, Quality, ShortSide, chosen_short_side
from ..tracking.refined import RefinedPoints
from ..tracking.tracker import Method
from .acceptance import AcceptSettings, Followed, accepted
from .chained import ChainedPoints, ChainSettings
from .following import Follower, Seeding, network_lattices
from .frames import ShotFrames
from .label_file import Labels, write_labels
from .legacy_labels import LegacySettings, propagate_maps, published_frames, read_published, write_maps
from .motion_rule import foreground_weights
from .rows import Row
from .safety import safe_name

_STILL = 0.25  # pixels a frame that a label may seem to move by itself


class LabelSettings(BaseModel):
    """How shots are labelled."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    method: Literal["track", "chain", "legacy"] = "track"  # our tracker; matching alone; as published
    model: str = "samepoint-base"  # a name in the table or a weight file
    seeds: int = Field(20, ge=1)  # a side of the grid
    renew: int | None = Field(None, ge=1)  # frames after which seeds begin where no label is; null: in the first only
    quality: Quality = "balanced"  # of the tracker against its cost
    short_side: ShortSide = 320  # frames are worked on at this short side; null: their own; auto: what quality says
    accept: AcceptSettings = AcceptSettings()
    chain: ChainSettings = ChainSettings()
    legacy: LegacySettings = LegacySettings()
    foreground: Literal["none", "motion", "masks"] = "none"  # what a label's foreground weight comes from
    masks: str | None = None  # folder of <video>/<index>.png: what is foreground in a shot's first frame

    @model_validator(mode="after")
    def _fit(self) -> LabelSettings:
        if self.method == "legacy":
            for name in ("renew", "foreground", "masks"):
                if getattr(self, name) != type(self).model_fields[name].default:
                    raise ValueError(f"{name} is for the methods track and chain, got method: legacy")
        if self.masks is not None and self.foreground != "masks":
            raise ValueError("masks is for foreground: masks")
        if self.masks is None and self.foreground == "masks":
            raise ValueError("foreground: masks needs masks, a folder with <video>/<index>.png")
        return self

    def check_masks(self) -> None:
        """Raise InputError where masks are asked for and their folder is not there."""
        if self.masks is not None and not Path(self.masks).is_dir():
            raise InputError(f"labels.masks: {self.masks!r} is no folder; expected one with <video>/<index>.png")


class Labeller:
    """Labels shots, one after another; holds the network.

    Args:
        settings: how.
        device: where to compute; the CPU by default.
        network: instead of loading ``settings.model``.

    Raises:
        InputError: an unknown model, or masks asked for without a folder that is there.
    """

    def __init__(
        self,
        settings: LabelSettings | None = None,
        device: torch.device | str | None = None,
        *,
        network: nn.Module | None = None,
    ) -> None:
        self.settings = settings or LabelSettings()
        s = self.settings
        s.check_masks()
        self.model_sha256 = None if network is not None else sha256(resolve(s.model))
        self.network = load_model(s.model) if network is None else network
        size = (s.legacy.size, s.legacy.size) if s.method == "legacy" else chosen_short_side(s.short_side, s.quality)
        self.encoder = FrameEncoder(self.network, size, device=device)
        self.lattices = network_lattices(self.network)

    def __call__(self, row: Row, folder: Path) -> Row:
        """Label one shot.

        Args:
            row: of the table of shots.
            folder: the output folder. Labels go to ``labels/<video>/<index>.npz`` in it; the method ``legacy`` writes
                ``results/<class>/<video>/<index>/pred/<k>_pred.npy``. Names that are no safe file names are changed.

        Returns:
            A row of the table of labels; ``status`` is ``failed``, with the reason, where the video cannot be read, and
            ``skipped`` where the shot is not kept.

        Raises:
            MissingExtraError: the method ``legacy`` without scikit-learn.
        """
        began = time.perf_counter()
        result = {name: row.get(name) for name in ("shot", "video", "class", "start", "end")}
        result |= {"method": self.settings.method, "model": self.settings.model, "model_sha256": self.model_sha256}
        if row.get("kept") is False or row.get("status") in ("failed", "skipped"):
            return {**result, "status": "skipped", "reason": row.get("reason")}
        try:
            made = self._published(row, Path(folder)) if self.settings.method == "legacy" else self._own(row, folder)
        except MissingExtraError:
            raise
        except InputError as error:
            return {**result, "status": "failed", "reason": str(error)}
        return {**result, **made, "status": "ok", "seconds": time.perf_counter() - began}

    def label(
        self, frames: Iterable[np.ndarray], length: int, repeats: Collection[int] = ()
    ) -> tuple[Labels, dict[str, float | None]]:
        """Labels of the frames of one shot, by the methods ``track`` and ``chain``.

        Args:
            frames: uint8 RGB (H, W, 3).
            length: how many.
            repeats: those, counted from 0, that repeat the frame before.

        Returns:
            The labels, and ``cycle_error`` and ``similarity`` as in the table of labels.
        """
        s = self.settings
        follower = Follower(self.encoder, self._method(), self.lattices, Seeding(s.seeds, s.renew), s.accept, length)
        followed = follower.run(frames, repeats)
        alive = accepted(followed, follower.size, s.accept)
        last = int(np.flatnonzero(alive.any(0)).max(initial=-1)) + 1
        alive = alive[:, :last]
        xy = np.where(alive[..., None], followed.xy[:, :last], np.nan).astype(np.float32)
        # A method without calibrated confidences may call a live label 0.
        confidence = np.where(alive, np.clip(followed.confidence[:, :last], 1 / 255, 1), 0).astype(np.float32)
        about = {"method": s.method, "model": s.model, "model_sha256": self.model_sha256}
        weights = foreground_weights(xy, _STILL) if s.foreground == "motion" else None
        return Labels(xy, confidence, follower.size, foreground=weights, about=about), _means(followed, alive)

    def _method(self) -> Method:
        s, network = self.settings, self.network
        if s.method == "chain":
            return ChainedPoints(self.lattices, s.chain)
        if isinstance(network, PointNetwork):
            dtype = torch.bfloat16 if self.encoder.bf16 else torch.float32
            return RefinedPoints(network, QUALITIES[s.quality].refine, dtype=dtype)
        return PropagatedPoints(self.lattices, QUALITIES[s.quality].propagation)

    def _own(self, row: Row, folder: Path) -> Row:
        frames = ShotFrames(row, Path(folder), None)
        repeats = {int(t) - frames.start for t in row.get("repeats") or ()}
        labels, means = self.label(frames, len(frames), repeats)
        weights = labels.foreground
        if self.settings.foreground == "masks":
            weights = self._in_mask(labels, row)
        labels = Labels(labels.xy, labels.confidence, frames.size, frames.start, frames.fps, weights, labels.about)
        path = Path("labels") / safe_name(str(row["video"])) / f"{_index(row)}.npz"
        size = write_labels(Path(folder) / path, labels)
        return {**summary(labels, len(frames), self.settings.seeds), **means, "path": path.as_posix(), "bytes": size}

    def _in_mask(self, labels: Labels, row: Row) -> np.ndarray:
        """1 for labels that begin in the mask of the shot's first frame, else 0, float32 (N,)."""
        path = Path(str(self.settings.masks)) / safe_name(str(row["video"])) / f"{_index(row)}.png"
        mask = read_mask(path, labels.size)
        weights = np.zeros(len(labels), np.float32)
        rows = np.flatnonzero(labels.alive[:, 0])
        columns, lines = labels.xy[rows, 0].astype(np.int64).T
        weights[rows] = mask[lines, columns] > 0
        return weights

    def _published(self, row: Row, folder: Path) -> Row:
        frames, settings = ShotFrames(row, folder, None), self.settings.legacy
        strides = [lattice.stride for lattice in self.lattices]
        level = strides.index(settings.stride) if settings.stride in strides else -1
        wanted = published_frames(frames.start, frames.start + len(frames))[1:]
        if not wanted:
            raise InputError(f"{row['shot']}: one frame only; the published method labels none of it")
        maps = (self.encoder(frame)[level] for frame in islice(frames, len(wanted)))
        names = [safe_name(str(row[name])) for name in ("class", "video")]
        path = Path("results", *names, str(_index(row)), "pred")
        size = write_maps(folder / path, propagate_maps(maps, settings))
        labels = read_published(folder / path, frames.size, seeds=self.settings.seeds)
        return {**summary(labels, len(frames), self.settings.seeds), "path": path.as_posix(), "bytes": size}


def _index(row: Row) -> int:
    """The shot's number in its video; a row without one is all of its video."""
    return int(row.get("index") or 0)


def _means(followed: Followed, alive: np.ndarray) -> dict[str, float | None]:
    """Mean cycle error and similarity of the steps into live labels; to repeat a frame is no step."""
    stepped = alive.copy()
    stepped[np.arange(len(alive)), alive.argmax(1)] = False  # nothing leads to where a label begins
    stepped[:, [t for t in followed.repeats if t < alive.shape[1]]] = False
    result: dict[str, float | None] = {}
    for name, values in (("cycle_error", followed.cycle), ("similarity", followed.similarity)):
        known = values[:, : alive.shape[1]][stepped]
        result[name] = float(known.mean()) if len(known) else None
    return result


def summary(labels: Labels, length: int, seeds: int) -> dict[str, Any]:
    """What the table of labels holds of them: counts, survival, motion and coverage.

    ``motion`` is the mean way of a label from frame to frame, pixels; ``coverage`` the mean over the labelled frames
    of the share of a grid's cells, ``seeds`` a side, that hold a live label.
    """
    alive, xy = labels.alive, labels.xy
    both = alive[:, 1:] & alive[:, :-1]
    way = np.linalg.norm(np.diff(xy, axis=1)[both], axis=1)
    scale = np.array([seeds / labels.size[1], seeds / labels.size[0]]) if labels.frames else np.ones(2)
    shares = []
    for t in range(labels.frames):
        cells = np.clip((xy[alive[:, t], t] * scale).astype(np.int64), 0, seeds - 1)
        shares.append(len(np.unique(cells @ np.array([1, seeds]))) / seeds**2)
    return {
        "seeds": len(labels),
        "frames": labels.frames,
        "alive": labels.alive_shares(length),
        "motion": float(way.mean()) if len(way) else None,
        "coverage": float(np.mean(shares)) if shares else None,
    }
