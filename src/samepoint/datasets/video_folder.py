"""Any folder of videos as clips to train on: shots respected, frame gaps drawn, cached copies at a short side."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from pathlib import Path
from threading import Thread
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from samepoint.datasets.frame_cache import CachedVideo, FrameCache
from samepoint.datasets.order import drawn
from samepoint.datasets.synthetic.textures import VIDEOS
from samepoint.errors import InputError
from samepoint.io.images import list_images, natural_key

SUFFIXES = frozenset(VIDEOS | {".3gp", ".flv", ".gif", ".m2ts", ".mts", ".ogv", ".ts"})
_GIGABYTE = 1_000_000_000

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Gap:
    """Time between neighbouring frames of a clip, one draw a clip.

    Attributes:
        between: drawn evenly from this range, ends included.
        weights: one of these gaps, each drawn in proportion to its weight; takes the place of ``between``.
        unit: ``frames`` or ``seconds`` (rounded to whole frames at the video's own rate, at least 1).

    Raises:
        InputError: a value out of its range.
    """

    between: tuple[float, float] = (1, 5)
    weights: Mapping[float, float] | None = None
    unit: Literal["frames", "seconds"] = "frames"

    def __post_init__(self) -> None:
        if self.unit not in ("frames", "seconds"):
            raise InputError(f"unit of the gap: {self.unit!r} given, frames or seconds expected")
        values = self.between if self.weights is None else tuple(self.weights)
        if not values or min(values) <= 0 or (self.weights is None and values[0] > values[-1]):
            raise InputError(f"gap: {values} given, positive numbers expected, the smaller first")
        if self.unit == "frames" and any(value != int(value) for value in values):
            raise InputError(f"gap: {values} given, whole frames expected")
        if self.weights is not None and (min(self.weights.values()) < 0 or sum(self.weights.values()) <= 0):
            raise InputError(f"weights of the gap: {dict(self.weights)} given, none below 0 and one above expected")

    def draw(self, rng: np.random.Generator, fps: float) -> int:
        """A gap in frames, at least 1."""
        if self.weights is not None:
            weights = np.array(list(self.weights.values()), float)
            gap = list(self.weights)[int(rng.choice(len(weights), p=weights / weights.sum()))]
        elif self.unit == "frames":
            gap = int(rng.integers(int(self.between[0]), int(self.between[1]) + 1))
        else:
            gap = rng.uniform(*self.between)
        return max(1, round(gap * fps) if self.unit == "seconds" else int(gap))


class VideoFolder:
    """Clips of the videos, and of the folders of pictures, below a folder.

    Every video is decoded once when the object is made: for its shots, and for copies of its frames (`FrameCache`),
    which is what ``clip`` reads, in DataLoader workers too. What cannot be read is passed over and told of in
    ``skipped`` and the log.

    Args:
        root: the folder, searched recursively; hidden files and folders are passed over. Files are taken for videos by
            their suffix; a folder is taken for one if two or more pictures lie directly in it. For clips of one frame a
            single picture will do, and pictures of several sizes in a folder are taken one by one.
        frames: T, frames of a clip.
        gap: time between them; shorter where a video has no shot that is long enough.
        seed: with the index it decides a clip.
        short_side: frames are given at this short side, smaller ones as they are; None: all as they are.
        cache: folder for the copies; ``samepoint/videos`` in the user's cache folder when None.
        cache_gb: copies stop growing here; frames of further videos are read from their files, slower but the same.
        shots: whether to look for cuts; without, a video is one shot.
        workers: processes that decode what the cache lacks; up to 1 decodes in this one.
        progress: called with how many videos are done, and of how many.

    Attributes:
        names: the videos in use, relative to ``root``, sorted.
        skipped: what is not in use, and why.

    Raises:
        InputError: no video there that can be used.
    """

    def __init__(
        self,
        root: str | Path,
        frames: int = 2,
        gap: Gap | None = None,
        seed: int = 0,
        short_side: int | None = 256,
        cache: str | Path | None = None,
        cache_gb: float = 20.0,
        shots: bool = True,
        workers: int = 0,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        if frames < 1:
            raise InputError(f"frames: {frames} given, at least 1 expected")
        self.root, self.frames, self.gap, self.seed = Path(root), frames, gap or Gap(), seed
        paths = find_videos(self.root, fewest=min(frames, 2))
        self._cache = FrameCache(cache or default_cache(), short_side, cache_gb * _GIGABYTE, shots)
        built = _build(self._cache, paths, workers, progress)
        if frames == 1:  # a folder of pictures of several sizes is no video, but each of them is a frame
            mixed = [path for path in paths if isinstance(built[path], str) and path.is_dir()]
            apart = [picture for folder in mixed for picture in list_images(folder)]
            told, before = progress, len(paths)
            after = None if told is None else (lambda done, count: told(before + done, before + count))
            built |= _build(self._cache, apart, workers, after)
            paths = _in_order(self.root, [path for path in paths if path not in mixed] + apart)
        videos, skipped = [], []
        for path in paths:
            name, result = path.relative_to(self.root).as_posix(), built[path]
            if isinstance(result, str):
                skipped.append((name, result))
            elif max((stop - start for start, stop in result[1].shots), default=0) < frames:
                skipped.append((name, f"no shot of {frames} frames or more"))
            else:
                videos.append((path, *result))
        for name, why in skipped:
            _log.warning("%s: passed over: %s", name, why)
        if not videos:
            first = f"; {skipped[0][0]}: {skipped[0][1]}" if skipped else ""
            raise InputError(f"{root}: none of its {len(paths)} videos can be used{first}")
        self._videos = videos
        self.names = tuple(path.relative_to(self.root).as_posix() for path, _, _ in videos)
        self.skipped = tuple(skipped)

    def __len__(self) -> int:
        """Videos that clips are taken from: an epoch draws one clip from each."""
        return len(self._videos)

    def clip(self, index: int) -> NDArray[np.uint8]:
        """Clip ``index`` >= 0, uint8 RGB (T, H, W, 3): the same in every process and order."""
        video, numbers = self.place(index)
        path, key, entry = self._videos[video]
        return np.stack([self._cache.read(path, key, entry, number) for number in numbers])

    def place(self, index: int) -> tuple[int, list[int]]:
        """Which of the videos clip ``index`` is of, and the numbers of its frames there."""
        video = drawn(len(self._videos), self.seed, index)
        entry = self._videos[video][2]
        rng = np.random.default_rng([self.seed, index])
        steps = self.frames - 1
        longest = max(stop - start for start, stop in entry.shots)
        gap = min(self.gap.draw(rng, entry.fps), (longest - 1) // max(1, steps))
        starts = np.array([max(0, stop - start - steps * gap) for start, stop in entry.shots])
        place = int(rng.integers(starts.sum()))
        shot = int(np.searchsorted(np.cumsum(starts), place, side="right"))
        first = entry.shots[shot][0] + place - int(starts[:shot].sum())
        return video, [first + step * gap for step in range(self.frames)]

    def describe(self, index: int) -> str:
        """What clip ``index`` is of, for messages."""
        video, numbers = self.place(index)
        return f"{self.names[video]} frame{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}"


def default_cache() -> Path:
    """Where copies lie when no folder is named; honours ``XDG_CACHE_HOME``."""
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "samepoint" / "videos"


def find_videos(root: str | Path, fewest: int = 2) -> list[Path]:
    """Video files and folders of ``fewest`` or more pictures at and below a folder, in natural order.

    Raises InputError where there is no such folder or none in it.
    """
    root = Path(root)
    if not root.is_dir():
        raise InputError(f"{root}: no such folder; expected videos or folders of pictures in it")
    found = []
    for where, folders, files in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".")]
        folder = Path(where)
        found += [folder / name for name in files if not name.startswith(".") and _is_video(name)]
        if len(list_images(folder)) >= fewest:
            found.append(folder)
    if not found:
        raise InputError(f"{root}: no videos in it; expected {', '.join(sorted(SUFFIXES))}, or folders of pictures")
    return _in_order(root, found)


def _in_order(root: Path, paths: list[Path]) -> list[Path]:
    return sorted(paths, key=lambda path: natural_key(path.relative_to(root).as_posix()))


def _is_video(name: str) -> bool:
    return Path(name).suffix.lower() in SUFFIXES


_Built = tuple[str, CachedVideo] | str
"""The key and the entry, or why there is none."""


def _build(
    cache: FrameCache, paths: list[Path], workers: int, progress: Callable[[int, int], None] | None
) -> dict[Path, _Built]:
    # Each process begins elsewhere, so that several which build the same cache share the work.
    order = np.random.default_rng().permutation(len(paths))
    shuffled = [paths[i] for i in order]
    done: dict[Path, _Built] = {}

    def told(path: Path, result: _Built) -> None:
        done[path] = result
        if progress is not None:
            progress(len(done), len(paths))

    missing = []
    for path in shuffled:
        known = _known(cache, path)
        if known is None:
            missing.append(path)
        else:
            told(path, known)
    workers = min(workers, len(missing))
    if workers < 2:  # another process would gain nothing
        for path in missing:
            told(path, _entry(cache, path))
        return done
    pool = ProcessPoolExecutor(workers, get_context("spawn"), _begin, (cache,))
    try:
        futures = {pool.submit(_entry_here, path): path for path in missing}
        for future in as_completed(futures):
            told(futures[future], future.result())
    except BaseException:
        # Whoever stops this does not want to wait for the end of each video at hand.
        for process in list((pool._processes or {}).values()):
            process.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)
    return done


_here: list[FrameCache] = []
"""In a process of the pool its cache, which thus keeps its account from video to video."""


def _begin(cache: FrameCache) -> None:
    """Begin a process of the pool: Ctrl-C is its parent's to hear, and however that ends, so does this."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Thread(target=_end_with_parent, daemon=True).start()
    _here[:] = [cache]


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _entry_here(path: Path) -> _Built:
    return _entry(_here[0], path)


def _known(cache: FrameCache, path: Path) -> _Built | None:
    """What is in the cache already."""
    try:
        key = cache.key(path)
        entry = cache.entry(path, key)
    except (InputError, OSError):  # told of by the attempt to make it
        return None
    return None if entry is None else (key, entry)


def _entry(cache: FrameCache, path: Path) -> _Built:
    try:
        key = cache.key(path)
    except FileNotFoundError:  # a link to nowhere, or a file that has gone meanwhile
        return f"{path}: is not there"
    except OSError as error:
        return f"{path}: cannot be opened ({error.strerror})"
    try:
        return key, cache.entry(path, key) or cache.build(path, key)
    except InputError as error:
        return str(error)
    except PermissionError as error:
        return f"{path}: cannot be opened ({error.strerror})"
