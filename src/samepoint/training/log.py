"""The log of a run: one JSON object a line, always; TensorBoard and others beside it."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

import numpy as np

from ..errors import InputError
from ..io.atomic import atomic_write
from .loop_config import Tracker


class Log:
    """``log.jsonl``; a resumed run continues the file after the step it resumes from."""

    def __init__(self, path: Path, start: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        kept = [line for line in path.read_text().splitlines() if _before(line, start)] if path.exists() else []
        with atomic_write(path, "w") as file:
            file.write("".join(line + "\n" for line in kept))
        self.path = path

    def write(self, record: Mapping[str, Any]) -> None:
        with self.path.open("a") as file:
            file.write(json.dumps(record) + "\n")

    def note(self, record: Mapping[str, Any]) -> None:
        """Write what a step has once only, in the place of what an earlier finish said of the same."""
        lines = [line for line in self.path.read_text().splitlines() if not _says_the_same(json.loads(line), record)]
        with atomic_write(self.path, "w") as file:
            file.write("".join(line + "\n" for line in [*lines, json.dumps(record)]))


def _before(line: str, start: int) -> bool:
    """Whether the line is of a step that the run keeps; one cut short by a kill is of none."""
    try:
        return 0 < int(json.loads(line)["step"]) <= start
    except (ValueError, KeyError, TypeError):
        return False


def _says_the_same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two lines are of one step and share a key besides."""
    return one["step"] == other["step"] and len(one.keys() & other.keys()) > 1


class _Tracking(Protocol):
    def scalars(self, step: int, figures: Mapping[str, float]) -> None: ...

    def pictures(self, step: int, pictures: Mapping[str, np.ndarray]) -> None: ...

    def close(self) -> None: ...


class _TensorBoard:
    """Event files in the run's folder; those of steps that are done again are dropped by the viewer."""

    def __init__(self, folder: Path, start: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.writer = SummaryWriter(str(folder / "tensorboard"), purge_step=start + 1)

    def scalars(self, step: int, figures: Mapping[str, float]) -> None:
        for key, value in figures.items():
            self.writer.add_scalar(key, value, step)

    def pictures(self, step: int, pictures: Mapping[str, np.ndarray]) -> None:
        for key, picture in pictures.items():
            self.writer.add_image(key, picture, step, dataformats="HWC")

    def close(self) -> None:
        self.writer.close()


class _Hosted:
    """wandb, or trackio, which has the same functions."""

    def __init__(self, module: ModuleType, folder: Path) -> None:
        self.module = module
        module.init(project="samepoint", name=folder.name)

    def scalars(self, step: int, figures: Mapping[str, float]) -> None:
        self.module.log(dict(figures), step=step)

    def pictures(self, step: int, pictures: Mapping[str, np.ndarray]) -> None:
        self.module.log({key: self.module.Image(picture) for key, picture in pictures.items()}, step=step)

    def close(self) -> None:
        self.module.finish()


class Trackers:
    """All that a run was asked for."""

    def __init__(self, names: Sequence[Tracker], folder: Path, start: int) -> None:
        """``folder`` is the run's, ``start`` the steps done before.

        Raises:
            InputError: wandb or trackio was asked for and is not installed. TensorBoard is the default, so that a
                missing one is a warning.
        """
        self.trackers: list[_Tracking] = []
        for name in names:
            if name == "tensorboard":
                try:
                    self.trackers.append(_TensorBoard(folder, start))
                except ModuleNotFoundError:
                    warnings.warn(
                        "tensorboard is not installed, the log is in log.jsonl only: pip install 'samepoint[train]'",
                        stacklevel=2,
                    )
                continue
            try:
                module = import_module(name)
            except ModuleNotFoundError as error:
                raise InputError(f"trackers: {name} is not installed: pip install {name}") from error
            self.trackers.append(_Hosted(module, folder))

    def scalars(self, step: int, figures: Mapping[str, float]) -> None:
        for tracker in self.trackers:
            tracker.scalars(step, figures)

    def pictures(self, step: int, pictures: Mapping[str, np.ndarray]) -> None:
        for tracker in self.trackers:
            tracker.pictures(step, pictures)

    def close(self) -> None:
        for tracker in self.trackers:
            tracker.close()
