"""The streaming core for masks: frames go in one by one, the object of each pixel comes out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from ..errors import InputError
from ..geometry import Lattice
from ..io.atomic import atomic_path
from ..models.features import companion_of, load_encoder, load_features
from ..models.weights import read_tensors
from ..structures.masks import VOID, as_labels
from .frames import FrameEncoder, working_size
from .looks import Looks
from .mask_settings import MaskSettings
from .propagated_masks import Cells, Grid, Key, PropagatedMasks
from .resample import cells_from_pixels, nearest_pixels, pixels_from_cells, separable, stretched_cells

_AT_ONCE = 4  # soft masks at the size of the picture that are held at a time


@dataclass(frozen=True, eq=False)
class MaskState:
    """What a :class:`MaskTracker` knows after a frame, but for what the frames themselves tell.

    Attributes:
        frame: the one last stepped, -1 before the first.
        size: (H, W) of the frames.
        objects: labels in the order of the soft labels' channels, after the background's.
        given: the frame in which each object was last given.
        anchors: frames in memory for the masks given there.
        recent: previous frames in memory.
        labels: soft labels (V, h, w) of each frame in memory and of the one last stepped.
        soft: what the one last stepped was read from (V, h, w); None without objects.
        appearance: what was learnt of the objects' looks, by name.
        mask: what was given in the one last stepped, uint8 (H, W); None without.
    """

    frame: int
    size: tuple[int, int]
    objects: tuple[int, ...]
    given: tuple[int, ...]
    anchors: tuple[int, ...]
    recent: tuple[int, ...]
    labels: dict[int, Tensor]
    soft: Tensor | None
    appearance: dict[str, Tensor]
    mask: np.ndarray | None = None

    def save(self, path: Path) -> None:
        """To a safetensors file, whole or not at all."""
        facts = {
            "frame": [self.frame],
            "size": self.size,
            "objects": self.objects,
            "given": self.given,
            "anchors": self.anchors,
            "recent": self.recent,
        }
        tensors = {name: torch.tensor(numbers, dtype=torch.int64) for name, numbers in facts.items()}
        tensors |= {f"labels.{frame}": labels.cpu().contiguous() for frame, labels in self.labels.items()}
        tensors |= {f"appearance.{name}": moment.cpu().clone() for name, moment in self.appearance.items()}
        if self.soft is not None:
            tensors["soft"] = self.soft.cpu().contiguous().clone()
        if self.mask is not None:
            tensors["mask"] = torch.from_numpy(np.ascontiguousarray(self.mask))
        with atomic_path(path) as temporary:
            save_file(tensors, str(temporary))

    @classmethod
    def load(cls, path: Path) -> MaskState:
        """Raises InputError where the file holds no state."""
        tensors = read_tensors(path)
        names = ("frame", "size", "objects", "given", "anchors", "recent")
        if missing := [name for name in names if name not in tensors]:
            raise InputError(f"{path}: no state of masks; {missing[0]} is missing")
        frame, size, objects, given, anchors, recent = (tuple(tensors[name].tolist()) for name in names)
        labels = {int(name[7:]): value for name, value in tensors.items() if name.startswith("labels.")}
        if not {*anchors, *recent} <= labels.keys() or len(frame) != 1 or len(size) != 2 or len(given) != len(objects):
            raise InputError(f"{path}: no state of masks; its parts do not fit")
        appearance = {name[11:]: value for name, value in tensors.items() if name.startswith("appearance.")}
        mask = tensors["mask"].numpy() if "mask" in tensors else None
        if mask is not None and mask.shape != size:
            raise InputError(f"{path}: no state of masks; its parts do not fit")
        return cls(
            frame[0], (size[0], size[1]), objects, given, anchors, recent, labels, tensors.get("soft"), appearance, mask
        )


class MaskTracker:
    """Follows objects, given by their masks, through frames given one at a time.

    Memory is bounded by the objects and a few frames of features, whatever the length of the video.

    Args:
        network: any with ``preprocess``, ``features`` and ``lattices``.
        settings: how masks are propagated.
        device: where to compute; where the network is by default.
        dtype: precision of encoder and affinity; bfloat16 where the device gains from it by default.
        companion: a second network whose coarsest map says what things look like; without it the first network's
            coarser maps do. Used where ``settings.appearance`` is not 0.
    """

    def __init__(
        self,
        network: nn.Module,
        settings: MaskSettings | None = None,
        *,
        companion: nn.Module | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        self.settings = settings or MaskSettings()
        self._encoder = FrameEncoder(network, self.settings.size, device=device, dtype=dtype)
        lattices: tuple[Lattice, ...] = tuple(network.lattices)  # type: ignore[arg-type]
        self.grid = Grid(lattices, self.settings.strides)
        self.guide = None if self.settings.coarse is None else Grid(lattices, (self.settings.coarse,))
        self._looks = None
        if self.settings.appearance:
            other = None
            if companion is not None:
                other = FrameEncoder(companion, self.settings.size, device=self._encoder.device, dtype=dtype)
            self._looks = Looks(lattices, self.grid.lattice, other)
        self._method = self._fresh()
        self._frame = -1
        self._size: tuple[int, int] | None = None
        self._pixels = np.zeros((0, 0, 3), np.uint8)
        self._cells: Cells | None = None
        self._seen: Tensor | None = None  # the looks of the frame last stepped
        self._waiting: dict[int, np.ndarray] = {}
        self._mask = np.zeros((0, 0), np.uint8)  # what was given in the frame last stepped
        self._labels = np.zeros((0, 0), np.uint8)

    @classmethod
    def from_pretrained(
        cls,
        model: str | Path = "samepoint-base",
        settings: MaskSettings | None = None,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> MaskTracker:
        """A tracker with the weights of a name in the table, with its companion, or of a file."""
        settings = settings or MaskSettings()
        known = companion_of(model) if settings.appearance else None
        companion = None if known is None else load_encoder(known)
        return cls(load_features(model).network, settings, companion=companion, device=device, dtype=dtype)

    @property
    def frame(self) -> int:
        """Index of the frame last stepped; -1 before the first."""
        return self._frame

    @property
    def objects(self) -> tuple[int, ...]:
        """The labels that are followed, in order."""
        return tuple(sorted(self._method.objects))

    @property
    def precision(self) -> str:
        """What encoder and affinity compute in: ``"float32"`` or ``"bfloat16"``."""
        return "bfloat16" if self._encoder.bf16 else "float32"

    @property
    def soft(self) -> np.ndarray:
        """Soft labels of the frame last stepped, float32 (1 + N, h, w) on the grid: background, then ``objects``.

        Those of a cell sum to 1. Without objects all is background.
        """
        if self._method.soft is None:
            return np.ones((1, 1, 1), np.float32)
        order = [0, *(1 + self._method.objects.index(number) for number in self.objects)]
        return self._method.soft[order].cpu().numpy()

    def add(self, mask: np.ndarray, frame: int | None = None) -> None:
        """Follow the objects of a mask, whole numbers or bool (H, W), 0 background, from a frame on.

        An object that is followed already goes on from its new mask, others are left as they are where the mask says
        0. The frame is the one last stepped by default (0 before the first step) or a later one.

        Raises:
            InputError: a frame that has passed, a mask of another size, without an object or with labels beyond 254.
        """
        at = max(self._frame, 0) if frame is None else frame
        if at < max(self._frame, 0):
            raise InputError(f"mask: its frame {at} has passed; the last stepped is {self._frame}")
        labels = as_labels(mask, f"mask of frame {at}")
        if not labels.any():
            raise InputError(f"mask of frame {at}: no object in it; expected labels from 1 to {VOID - 1}")
        self._check_size(labels, at, self._size)
        before = self._mask if at == self._frame else self._waiting.get(at)
        if before is not None and before.any():
            if before.shape != labels.shape:
                raise InputError(f"mask of frame {at}: has the shape {labels.shape}, one before {before.shape}")
            labels = np.where(labels > 0, labels, before)
        self._waiting[at] = labels
        if at == self._frame:
            self._start_waiting()

    @torch.inference_mode()
    def step(self, frame: np.ndarray) -> np.ndarray:
        """Take the next frame, uint8 RGB (H, W, 3), and say which object each pixel is: uint8 (H, W).

        Raises:
            InputError: a frame of another shape or type than the first, or than the masks.
        """
        frame = np.asarray(frame)
        if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3 or 0 in frame.shape:
            raise InputError(f"a frame is uint8 (H, W, 3); got {frame.dtype} {frame.shape}")
        size = (frame.shape[0], frame.shape[1])
        if self._size is None:
            for at, mask in list(self._waiting.items()):
                if mask.shape != size:
                    del self._waiting[at]  # so that a right one can be given
                self._check_size(mask, at, size)
            self._size = size
        elif size != self._size:
            raise InputError(
                f"frame {self._frame + 1} is {size[1]}x{size[0]}, those before {self._size[1]}x{self._size[0]}"
            )
        self._frame += 1
        # Without objects the encoder rests; the frame is kept for those that may yet be added to it.
        self._pixels, self._cells, self._seen = frame, None, None
        self._mask = self._labels = np.zeros(size, np.uint8)
        if self._method.objects:
            self._labels = self._read(self._method.step(self._frame, self._encoded(), self._seen))
        self._start_waiting()
        if self._cells is None:
            self._pixels = frame.copy()  # a camera may write its next frame into the same memory
        return self.labels()

    def labels(self) -> np.ndarray:
        """The object of each pixel of the frame last stepped, uint8 (H, W); a mask given there is kept to the pixel."""
        return self._labels.copy()

    def state(self) -> MaskState:
        """All that :meth:`restore` needs, frames aside; made in no time, and untouched by later steps."""
        method = self._method
        keys = (*method.anchors, *method.recent, *([method.now] if method.now else []))
        return MaskState(
            frame=self._frame,
            size=self._size or (0, 0),
            objects=tuple(method.objects),
            given=tuple(method.given[number] for number in method.objects),
            anchors=tuple(key.frame for key in method.anchors),
            recent=tuple(key.frame for key in method.recent),
            labels={key.frame: key.labels for key in keys},
            soft=method.soft,
            appearance={} if method.appearance is None else method.appearance.state(),
            mask=self._mask if self._mask.any() else None,
        )

    @torch.inference_mode()
    def restore(self, state: MaskState, read: Callable[[int], np.ndarray]) -> None:
        """Go on where a tracker with the same network, settings and video was when it gave its :meth:`state`.

        Args:
            state: of that tracker. Masks that were waiting for later frames must be added again.
            read: gives a frame by its index; asked for those in memory only.
        """
        device, method = self._encoder.device, self._fresh()
        keys = {
            frame: Key(frame, self._cells_of(self._encoder(read(frame))), labels.to(device))
            for frame, labels in state.labels.items()
        }
        method.objects = list(state.objects)
        method.given = dict(zip(state.objects, state.given, strict=True))
        method.anchors = [keys[frame] for frame in state.anchors]
        method.recent.extend(keys[frame] for frame in state.recent)
        method.now = keys.get(state.frame)
        method.soft = None if state.soft is None else state.soft.to(device)
        if method.appearance is not None:
            method.appearance.restore({name: moment.to(device) for name, moment in state.appearance.items()})
        self._method, self._frame, self._waiting = method, state.frame, {}
        if state.frame < 0:
            return
        self._size = state.size
        self._pixels, self._cells = read(state.frame), None
        self._mask = self._labels = np.zeros(state.size, np.uint8)
        if method.soft is None:
            return
        if state.mask is None:
            self._labels = self._read(method.soft)
        else:
            self._show(state.mask, method.soft)

    @staticmethod
    def _check_size(mask: np.ndarray, at: int, size: tuple[int, int] | None) -> None:
        if size is not None and mask.shape != size:
            raise InputError(
                f"mask of frame {at}: is {mask.shape[1]}x{mask.shape[0]}, but the frames are {size[1]}x{size[0]}"
            )

    def _fresh(self) -> PropagatedMasks:
        lattices = None if self.guide is None else (self.guide.lattice, self.grid.lattice)
        return PropagatedMasks(self.settings, torch.bfloat16 if self._encoder.bf16 else torch.float32, lattices)

    @torch.inference_mode()
    def _encoded(self) -> Cells:
        if self._cells is None:
            maps = self._encoder(self._pixels)
            self._cells = self._cells_of(maps)
            self._seen = None if self._looks is None else self._looks(self._pixels, maps, self._cells.fine)
        return self._cells

    def _cells_of(self, maps: Sequence[Tensor]) -> Cells:
        return self._method.kept(Cells(self.grid(maps), None if self.guide is None else self.guide(maps)))

    @torch.inference_mode()
    def _start_waiting(self) -> None:
        mask = self._waiting.pop(self._frame, None)
        if mask is None:
            return
        cells = self._encoded()
        given = [int(number) for number in np.unique(mask) if number]
        rows, columns = self._matrices(cells.fine, into_cells=True)
        picture = torch.from_numpy(mask).to(rows.device)
        soft = {number: rows @ (picture == number).to(rows.dtype) @ columns.T for number in given}
        self._show(mask, self._method.give(self._frame, cells, soft, self._seen))

    def _show(self, mask: np.ndarray, labels: Tensor) -> None:
        """The frame last stepped is as ``mask`` has it where that is not 0, elsewhere as the soft labels (V, h, w)."""
        given = [int(number) for number in np.unique(mask) if number]
        self._labels = np.where(mask > 0, mask, self._read(labels, without=given))
        self._mask = mask

    def _matrices(self, features: Tensor, *, into_cells: bool) -> tuple[Tensor, Tensor]:
        """For rows and columns: (cells, pixels) into cells, else (pixels, cells)."""
        found = []
        size = (self._labels.shape[0], self._labels.shape[1])
        for cells, work, pixels in zip(features.shape[1:], working_size(size, self.settings.size), size, strict=True):
            if self.settings.published:
                matrix = nearest_pixels(cells, pixels) if into_cells else stretched_cells(cells, pixels)
            elif into_cells:
                matrix = cells_from_pixels(self.grid.lattice, cells, work, pixels)
            else:
                matrix = pixels_from_cells(self.grid.lattice, cells, work, pixels)
            found.append(matrix.to(features.device))
        return found[0], found[1]

    def _read(self, labels: Tensor, without: list[int] | None = None) -> np.ndarray:
        """The strongest label of each pixel, uint8 (H, W), from soft labels (V, h, w), few of them at a time."""
        rows, columns = self._matrices(labels, into_cells=False)
        numbers = [0, *self._method.objects]
        wanted = [index for index, number in enumerate(numbers) if number not in (without or ())]
        best = labels.new_full(self._labels.shape, -torch.inf)
        chosen = torch.zeros(self._labels.shape, dtype=torch.uint8, device=labels.device)
        for start in range(0, len(wanted), _AT_ONCE):
            part = wanted[start : start + _AT_ONCE]
            full = separable(rows, labels[part], columns)
            if self.settings.stretch:
                full = _stretched(full)
            value, index = full.max(0)
            number = torch.tensor([numbers[channel] for channel in part], dtype=torch.uint8, device=full.device)[index]
            better = value > best
            best, chosen = torch.where(better, value, best), torch.where(better, number, chosen)
        return chosen.cpu().numpy()


def _stretched(full: Tensor) -> Tensor:
    """Each map (V, H, W) from 0 to 1, unless it is empty (Spa-then-Temp's rule)."""
    low, high = full.amin((1, 2), keepdim=True), full.amax((1, 2), keepdim=True)
    return torch.where(high > 0, (full - low) / (high - low + 1e-12), full)
