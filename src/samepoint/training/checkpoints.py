"""Checkpoints of a run: each whole or absent, the last ones kept."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import torch

from ..errors import InputError
from ..io.atomic import atomic_path


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint that is whole or absent."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        try:
            torch.save(state, temporary)
        except RuntimeError as error:  # how PyTorch tells of a full disk
            raise OSError(f"{path}: cannot be written ({str(error).splitlines()[0]})") from None


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint onto the CPU; tensors, numbers and strings only.

    Raises:
        InputError: the file is missing, damaged or not one of this version's.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise InputError(f"{path}: no checkpoint to resume from") from error
    except Exception as error:
        raise InputError(f"{path}: not a readable checkpoint ({type(error).__name__})") from error
    if not isinstance(state, dict) or not {"step", "position", "networks"} <= state.keys():
        raise InputError(f"{path}: not a checkpoint of this version of samepoint")
    return state


class Checkpoints:
    """``last.pt`` and the ``keep - 1`` before it, as ``step-00001000.pt``, in ``checkpoints`` of a run's folder.

    Beside them lie the weights of the best validation, ``best.safetensors``, which the loop writes.
    """

    def __init__(self, run: Path, keep: int = 1) -> None:
        self.folder, self.keep = run / "checkpoints", keep
        self.last, self.best = self.folder / "last.pt", self.folder / "best.safetensors"
        self._step: int | None = None  # of last.pt

    def open(self, resume: bool) -> dict[str, Any] | None:
        """The state to go on from, if asked for; None for a new run, or one killed before its first checkpoint.

        Raises:
            InputError: nothing readable to resume, or a run already there and ``resume`` not asked for; or of a run
                only what lies beside its ``last.pt`` is left.
        """
        if not self.last.exists():
            self._check_nothing_is_left()
        if not resume:
            if self.last.exists():
                raise InputError(f"{self.folder.parent}: holds a run already; resume it or choose another output")
            return None
        if not self.last.exists() and (self.folder.parent / "config.yaml").exists():
            return None
        state = load_checkpoint(self.last)
        self._step = int(state["step"])
        return state

    def tidy(self) -> None:
        """Remove what a killed run left half-written, and checkpoints of later steps than the one resumed from."""
        for path in self.folder.glob(".*.part.*"):
            path.unlink(missing_ok=True)
        for path in self._earlier():
            if self._step is not None and _step_of(path) >= self._step:
                path.unlink(missing_ok=True)

    def save(self, state: dict[str, Any]) -> None:
        step = int(state["step"])
        if self.keep > 1 and self._step not in (None, step):
            _copy(self.last, self.folder / f"step-{self._step:08d}.pt")
        save_checkpoint(self.last, state)
        self._step = step
        earlier = self._earlier()
        for path in earlier[: max(0, len(earlier) - (self.keep - 1))]:
            path.unlink(missing_ok=True)

    def _check_nothing_is_left(self) -> None:
        """What a run has kept is not taken for nothing because its last checkpoint is gone."""
        if earlier := self._earlier():
            raise InputError(f"{self.last}: is missing; to go on, put {earlier[-1]} in its place and resume")
        if self.best.exists():
            raise InputError(f"{self.last}: is missing, but {self.best.name} is there; choose another output")

    def _earlier(self) -> list[Path]:
        return sorted(self.folder.glob("step-*.pt"), key=_step_of)


def _step_of(path: Path) -> int:
    number = path.stem.removeprefix("step-")
    return int(number) if number.isdigit() else -1


def _copy(source: Path, target: Path) -> None:
    """A second name for the file where the file system has such, else a copy."""
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        with atomic_path(target) as temporary:
            shutil.copyfile(source, temporary)
