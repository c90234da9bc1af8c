"""Where layers take their surface from: a folder of pictures and videos, or procedures."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Iterator
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Protocol

import av
import cv2
import numpy as np

from samepoint.errors import InputError

PICTURES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".ppm"})
VIDEOS = frozenset({".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv"})
# Of a longer video, only so many frames from its beginning are decoded.
_DECODED = 300

_log = logging.getLogger(__name__)


class TextureSource(Protocol):
    """Anything that gives pictures for layers. The same state of ``rng`` gives the same picture, in any process."""

    def sample(self, rng: np.random.Generator, height: int, width: int) -> np.ndarray:
        """A random picture, uint8 RGB (height, width, 3)."""
        ...


class FolderTextures:
    """Random crops of the pictures and video frames below a folder.

    Files are decoded when first drawn and kept, the least recently used given up beyond ``cache_mb``. Of each video,
    ``frames`` frames spread over it are used. A file that cannot be read is passed over for the next one.

    Args:
        path: the folder, searched recursively; or one file.
        frames: frames a video.
        limit: use a random choice of so many files, the same for the same ``seed``; None: all.
        longest: pictures are shrunk to this longer side, so that memory is bounded.
        cache_mb: decoded pictures kept in memory, in megabytes.
        seed: for ``limit``.

    Raises:
        InputError: nothing usable there.
    """

    def __init__(
        self,
        path: str | Path,
        frames: int = 3,
        limit: int | None = None,
        longest: int = 640,
        cache_mb: int = 600,
        seed: int = 0,
    ) -> None:
        root = Path(path)
        if not root.exists():
            raise InputError(f"{path}: no such folder of textures")
        files = [root] if root.is_file() else sorted(p for p in root.rglob("*") if p.is_file())
        files = [p for p in files if p.suffix.lower() in PICTURES | VIDEOS]
        if not files:
            raise InputError(f"{path}: no pictures or videos in it; textures need at least one")
        if limit is not None and limit < len(files):
            chosen = np.random.default_rng(seed).choice(len(files), limit, replace=False)
            files = [files[i] for i in sorted(chosen)]
        self.path = root
        self.files = files
        self.frames = frames
        self.longest = longest
        self.cache_bytes = cache_mb * 1_000_000
        self._cache: OrderedDict[int, tuple[np.ndarray, ...]] = OrderedDict()
        self._held = 0

    def sample(self, rng: np.random.Generator, height: int, width: int) -> np.ndarray:
        """A random crop of a random picture, uint8 RGB (height, width, 3)."""
        index = int(rng.integers(len(self.files)))
        part = rng.random()
        for step in range(len(self.files)):
            pictures = self._pictures((index + step) % len(self.files))
            if pictures:
                return random_crop(pictures[int(part * len(pictures))], rng, height, width)
        raise InputError(f"{self.path}: none of its {len(self.files)} pictures and videos can be read")

    def _pictures(self, index: int) -> tuple[np.ndarray, ...]:
        """The decoded pictures of a file; none if it cannot be read."""
        if index in self._cache:
            self._cache.move_to_end(index)
            return self._cache[index]
        file = self.files[index]
        pictures = self._read_video(file) if file.suffix.lower() in VIDEOS else _read_picture(file)
        if not pictures:
            _log.warning("%s: cannot be read, passed over as a texture", file)
        pictures = tuple(self._shrink(p) for p in pictures)
        self._cache[index] = pictures
        self._held += sum(p.nbytes for p in pictures)
        while self._held > self.cache_bytes and len(self._cache) > 1:
            _, old = self._cache.popitem(last=False)
            self._held -= sum(p.nbytes for p in old)
        return pictures

    def _read_video(self, file: Path) -> tuple[np.ndarray, ...]:
        """Frames spread evenly over the video, as far as it can be decoded; its header's count is not believed."""
        count = sum(1 for _ in _decoded(file))
        places = set(((np.arange(self.frames) + 0.5) * count / self.frames).astype(int).tolist()) if count else set()
        # Decoded twice: three hundred frames held until they are counted would be a gigabyte.
        wanted = (frame for index, frame in enumerate(_decoded(file)) if index in places)
        return tuple(frame.to_ndarray(format="rgb24") for frame in islice(wanted, len(places)))

    def _shrink(self, picture: np.ndarray) -> np.ndarray:
        height, width = picture.shape[:2]
        scale = self.longest / max(height, width)
        if scale >= 1:
            return np.ascontiguousarray(picture)
        size = (max(round(width * scale), 1), max(round(height * scale), 1))
        return cv2.resize(picture, size, interpolation=cv2.INTER_AREA)


def _decoded(file: Path) -> Iterator[av.VideoFrame]:
    """The first frames of a video, as far as it can be decoded."""
    try:
        with av.open(str(file)) as container:
            yield from islice(container.decode(video=0), _DECODED)
    except (av.error.FFmpegError, OSError, IndexError) as error:
        _log.debug("%s: decoding stopped: %s", file, error)


def _read_picture(file: Path) -> tuple[np.ndarray, ...]:
    try:
        data = np.fromfile(file, np.uint8)
    except OSError:
        return ()
    picture = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    return () if picture is None else (cv2.cvtColor(picture, cv2.COLOR_BGR2RGB),)


def random_crop(picture: np.ndarray, rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """A random crop of a picture, scaled, flipped, turned by quarters and recoloured, uint8 (height, width, 3)."""
    turned = rng.random() < 0.25
    tall, wide = (width, height) if turned else (height, width)
    fit = min(picture.shape[0] / tall, picture.shape[1] / wide)
    # Source pixels a texture pixel: never beyond the picture, enlarged up to twice, shrunk up to three times.
    scale = min(np.exp(rng.uniform(np.log(0.5), np.log(3.0))), fit)
    if scale < 0.9 and fit > 0.9 and rng.random() < 0.7:
        scale = min(1.0, fit)
    rows = min(max(round(tall * scale), 1), picture.shape[0])
    cols = min(max(round(wide * scale), 1), picture.shape[1])
    top = int(rng.integers(picture.shape[0] - rows + 1))
    left = int(rng.integers(picture.shape[1] - cols + 1))
    crop = picture[top : top + rows, left : left + cols]
    if (rows, cols) != (tall, wide):
        method = cv2.INTER_AREA if scale > 1 else cv2.INTER_CUBIC
        crop = cv2.resize(crop, (wide, tall), interpolation=method)
    if turned:
        crop = crop.transpose(1, 0, 2)
    if rng.random() < 0.5:
        crop = crop[:, ::-1]
    return cv2.LUT(np.ascontiguousarray(crop), _recolouring(rng))


def _recolouring(rng: np.random.Generator) -> np.ndarray:
    """A table (1, 256, 3) of gain, bias and gamma, mild in most pictures."""
    strength = rng.random() ** 2
    gain = 1 + strength * (rng.uniform(-0.4, 0.4) + rng.uniform(-0.25, 0.25, 3))
    bias = strength * (rng.uniform(-0.2, 0.2) + rng.uniform(-0.1, 0.1, 3))
    gamma = np.exp(strength * rng.uniform(-0.5, 0.5, 3))
    level = (np.arange(256) / 255)[:, None]
    table = (np.clip((level - 0.5) * gain + 0.5 + bias, 0, 1) ** gamma) * 255
    if rng.random() < 0.03:
        table = 255 - table
    return np.round(table).astype(np.uint8)[None]


class ProceduralTextures:
    """Textures that need no data: dead leaves, noise of many scales, stripes, gradients, mixed.

    ``pictures`` base pictures exist for a ``seed``, made when first drawn; the last 256 are kept for all sources of
    the process. What is sampled is a random crop of one, recoloured.
    """

    def __init__(self, pictures: int = 256, seed: int = 0) -> None:
        if pictures < 1:
            raise InputError(f"pictures: {pictures} given, at least 1 expected")
        self.pictures = pictures
        self.seed = seed

    def sample(self, rng: np.random.Generator, height: int, width: int) -> np.ndarray:
        """A random crop of a random procedural picture, uint8 RGB (height, width, 3)."""
        return random_crop(_procedural(self.seed, int(rng.integers(self.pictures))), rng, height, width)


_SIDE = 400


@lru_cache(maxsize=256)
def _procedural(seed: int, index: int) -> np.ndarray:
    """One base picture, uint8 (400, 400, 3), not to be written to."""
    rng = np.random.default_rng([seed, index])
    kind = rng.random()
    picture = _noise(rng, rng.uniform(0.4, 1.1))
    if kind < 0.6:
        picture = _leaves(rng, picture)
    elif kind < 0.8:
        picture = picture + _stripes(rng) * rng.uniform(20, 60)
    if rng.random() < 0.7:
        picture = picture + _noise(rng, rng.uniform(0.3, 0.9), 0.3) - 128
    picture = cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.4, 0.9))
    picture = np.clip(np.round(picture), 0, 255).astype(np.uint8)
    picture.flags.writeable = False
    return picture


def _noise(rng: np.random.Generator, fall: float, contrast: float = 1.0) -> np.ndarray:
    """Noise of eight octaves whose strength falls by 2**-fall an octave, on a random colour; about 0 to 255."""
    mixing = 0.6 * np.ones((3, 3)) + rng.uniform(-0.6, 0.6, (3, 3))
    total = np.zeros((_SIDE, _SIDE, 3), np.float32)
    for octave in range(8):
        cells = min(3 * 2**octave, _SIDE)
        grain = rng.standard_normal((cells, cells, 3)).astype(np.float32)
        total += 2.0 ** (-fall * octave) * cv2.resize(grain, (_SIDE, _SIDE), interpolation=cv2.INTER_CUBIC)
    total = total @ mixing.astype(np.float32)
    spread = 45 * contrast * rng.uniform(0.5, 1.3)
    return total / total.std() * spread + rng.uniform(70, 185, 3) * (1 if contrast == 1 else 0) + (contrast != 1) * 128


def _leaves(rng: np.random.Generator, picture: np.ndarray) -> np.ndarray:
    """Shapes of all sizes over one another, the largest first, with the statistics of natural pictures."""
    canvas = np.clip(picture, 0, 255).astype(np.uint8)
    count = int(rng.integers(60, 500))
    sizes = np.sort(4.0 * (1 - rng.random(count) * 0.999) ** -0.5)[::-1]
    palette = rng.uniform(0, 255, (int(rng.integers(3, 12)), 3))
    for size in np.minimum(sizes, 90):
        colour = tuple(np.clip(palette[rng.integers(len(palette))] + rng.normal(0, 15, 3), 0, 255).tolist())
        corners = int(rng.integers(3, 8)) if rng.random() < 0.6 else 24
        angles = np.sort(rng.uniform(0, 2 * np.pi, corners)) if corners < 24 else np.linspace(0, 2 * np.pi, 24)
        points = size * np.stack([np.cos(angles), rng.uniform(0.3, 1) * np.sin(angles)], 1)
        turn = rng.uniform(0, np.pi)
        matrix = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        points = points @ matrix + rng.uniform(0, _SIDE, 2)
        cv2.fillPoly(canvas, [np.round(points * 16).astype(np.int32)[:, None]], colour, lineType=cv2.LINE_AA, shift=4)
    return 0.75 * canvas.astype(np.float32) + 0.25 * picture


def _stripes(rng: np.random.Generator) -> np.ndarray:
    """Warped stripes or their product, (400, 400, 1), -1 to 1."""
    warp = cv2.resize(rng.standard_normal((5, 5, 2)).astype(np.float32), (_SIDE, _SIDE), interpolation=cv2.INTER_CUBIC)
    y, x = np.mgrid[:_SIDE, :_SIDE].astype(np.float32)
    bend = np.float32(rng.uniform(0, 25))
    x, y = x + bend * warp[..., 0], y + bend * warp[..., 1]
    result = np.ones_like(x)
    for _ in range(int(rng.integers(1, 3))):
        angle, period = rng.uniform(0, np.pi), np.exp(rng.uniform(np.log(6), np.log(60)))
        wave = np.sin((np.cos(angle) * x + np.sin(angle) * y) * (2 * np.pi / period))
        result *= np.clip(wave * rng.uniform(1, 4), -1, 1)
    return result[..., None]
