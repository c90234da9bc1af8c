"""Masks in and out: palette, grey and colour pictures, COCO's JSON in; palette PNGs as DAVIS has them out."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageOps

from samepoint.errors import InputError
from samepoint.io.atomic import atomic_path
from samepoint.io.images import list_images, open_image
from samepoint.io.rle import Size, decode_segmentation
from samepoint.structures.masks import VOID, Masks, davis_palette

PICTURES = (".png", ".bmp", ".tif", ".tiff")  # without loss: JPEG invents labels
SUFFIXES = (*PICTURES, ".json")
MATTE = 32  # so many grey levels beside 0 and 255 are a soft edge, not labels and void
RIM = 5  # pixels; fewer levels are one too where they are nowhere as wide as this, and most is white


def read_mask(path: str | Path, size: Size | None = None, of: str = "") -> np.ndarray:
    """The objects in one frame, uint8 (H, W): 0 background, 1 to 254 the objects.

    - Palette picture: the indices; void (255) is background. With two values, the second of them 255: as grey.
    - Grey picture: black and white is one object, 1; else the values are the labels and 255 is void.
    - Colour picture: each colour is an object, black is background. Colours of DAVIS's palette keep its numbers; if any
      other occurs, the objects are numbered from 1 by red, then green, then blue. Transparent is background.
    - ``.json``: a COCO file with one picture, one annotation or a list of them, or bare run lengths: objects numbered
      from 1 in the order of the annotations; where two overlap the later one lies on top.

    Args:
        path: .png, .bmp, .tif or .json.
        size: the (H, W) expected; polygons that come without a size take it.
        of: the picture that has that size, for messages; the video if not given.

    Raises:
        InputError: an unknown suffix, an unreadable file, more than 254 objects, or another size.
    """
    path = Path(path)
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(f"{path}: unknown kind of mask {path.suffix!r}; expected one of {', '.join(SUFFIXES)}")
    labels = _from_json(path, size) if path.suffix.lower() == ".json" else _read_picture(path)[0]
    if size is not None:
        check_size(labels, size, str(path), of)
    return labels


def check_size(labels: np.ndarray, size: Size, what: str, of: str = "") -> None:
    """Raise InputError where the labels (H, W) of a mask, ``what``, are not as large as the picture that it is of."""
    if labels.shape != size:
        height, width = labels.shape
        owner = f"{of} is" if of else "the frames are"
        raise InputError(f"{what}: is {width}x{height}, but {owner} {size[1]}x{size[0]}")


def write_mask(path: str | Path, labels: np.ndarray, palette: np.ndarray | None = None) -> None:
    """Labels uint8 (H, W) as a palette PNG, DAVIS's colours unless given; whole or not at all."""
    path = Path(path)
    if path.suffix.lower() != ".png":
        raise InputError(f"{path}: masks are written as .png, not {path.suffix or 'without suffix'}")
    if labels.dtype != np.uint8 or labels.ndim != 2:
        raise InputError(f"mask labels must be uint8 (H, W), got {labels.dtype} {labels.shape}")
    picture = Image.fromarray(labels)
    picture.putpalette((davis_palette() if palette is None else palette).tobytes())
    with atomic_path(path) as temporary:
        picture.save(temporary, format="PNG")


def mask_names(source: Any) -> Iterator[str]:
    """File names for the masks of a video's frames, without end: those of its pictures where ``source`` is a folder.

    Otherwise, and after the last picture, DAVIS's: 00000.png, 00001.png and so on.
    """
    stems = []
    if isinstance(source, (str, Path)) and Path(source).is_dir():
        stems = [path.stem for path in list_images(source)]
        if len(set(stems)) < len(stems):  # 1.jpg beside 1.png
            stems = []
    yield from (f"{stem}.png" for stem in stems)
    index = len(stems)
    while True:
        yield f"{index:05d}.png"
        index += 1


def _mask_pictures(folder: Path) -> list[Path]:
    return [path for path in list_images(folder) if path.suffix.lower() in PICTURES]


def load_masks(folder: Path, fps: float) -> Masks:
    """As ``Masks.load``."""
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; expected one with a PNG for each frame")
    paths = _mask_pictures(folder)
    if not paths:
        raise InputError(f"{folder}: no masks in this folder; expected {', '.join(PICTURES)}")
    first, palette = _read_picture(paths[0])
    size = (first.shape[0], first.shape[1])
    labels = np.zeros((len(paths), *size), np.uint8)
    for index, path in enumerate(paths):
        labels[index] = read_mask(path, size)
    return Masks(labels, davis_palette() if palette is None else palette, fps)


def save_masks(masks: Masks, folder: Path, names: Sequence[str] | None, overwrite: bool) -> None:
    """As ``Masks.save``."""
    if names is not None and not len(names) == len(set(names)) == len(masks):
        raise InputError(f"{len(masks)} frames need {len(masks)} different file names, got {len(set(names))}")
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: is a file; expected a folder or a new name")
    folder.mkdir(parents=True, exist_ok=True)
    chosen = [folder / name for name in (islice(mask_names(None), len(masks)) if names is None else names)]
    others = sorted(set(_mask_pictures(folder)) - set(chosen))
    if others and not overwrite:
        what = f"holds {len(others)} other pictures, such as {others[0].name}, which would be read as masks with these"
        raise InputError(f"{folder}: {what}; expected a new or empty folder, or overwrite=True, which removes them")
    for labels, path in zip(masks.labels, chosen, strict=True):
        write_mask(path, labels, masks.palette)
    for path in others:
        path.unlink()


def _read_picture(path: Path) -> tuple[np.ndarray, np.ndarray | None]:
    """Labels (H, W), and the palette (256, 3) of a palette picture."""
    palette = None
    with open_image(path) as opened:
        image = ImageOps.exif_transpose(opened)
        if image.mode == "P":
            colours = np.array(image.getpalette("RGB"), np.uint8).reshape(-1, 3)
            palette = davis_palette()
            palette[: len(colours)] = colours
        grey = image.mode in ("1", "L", "P") or image.mode.startswith("I")
        values = np.array(image if grey else image.convert("RGBA"))
    if not grey:
        values = np.where(values[..., 3:] >= 128, values[..., :3], 0).astype(np.uint8)
        if (values != values[..., :1]).any():
            return _from_colours(values, path), None
        values = values[..., 0]
    return _from_values(values, path, soft=palette is None), palette


def _from_values(values: np.ndarray, path: Path, soft: bool) -> np.ndarray:
    """Labels of grey values; with ``soft``, they may be the edges of a matte."""
    present = np.unique(values)
    if present[-1] == 65535 and (present[:-1] == 0).all():
        present, values = present // 257, values // 257
    if present[0] < 0 or present[-1] > VOID:
        label = present[0] if present[0] < 0 else present[-1]
        raise InputError(f"{path}: label {label}; objects have the labels 1 to {VOID - 1}")
    labels = values.astype(np.uint8)
    others = int(((present > 0) & (present < VOID)).sum())
    if present[-1] < VOID:
        return labels
    if not others:
        return (labels == VOID).astype(np.uint8)
    if others > MATTE or (soft and _is_rim((labels > 0) & (labels < VOID), labels == VOID)):
        raise InputError(
            f"{path}: {others} grey levels beside black and white look like soft edges; "
            "expected black and white, or the labels themselves"
        )
    return np.where(labels == VOID, 0, labels).astype(np.uint8)


def _is_rim(grey: np.ndarray, white: np.ndarray) -> bool:
    """Whether grey pixels, bool (H, W), are what enlarging a mask makes of its edges."""
    if grey.sum() >= white.sum():
        return False
    return not cv2.erode(grey.astype(np.uint8), np.ones((RIM, RIM), np.uint8)).any()


def _from_colours(colours: np.ndarray, path: Path) -> np.ndarray:
    weights = np.array([1 << 16, 1 << 8, 1])
    codes = colours.astype(np.int64) @ weights
    present, inverse = np.unique(codes, return_inverse=True)
    known = {int(code): label for label, code in enumerate(davis_palette().astype(np.int64) @ weights)}
    if all(int(code) in known for code in present):
        numbers = np.array([known[int(code)] % VOID for code in present])
    else:
        numbers = np.cumsum(present > 0)
        thin, solid = _thin_colours(inverse.reshape(codes.shape), present > 0)
        if thin > 2 * solid + 2:
            raise InputError(
                f"{path}: {thin + solid} colours, {thin} of them only along edges, look like soft edges; expected one "
                "colour for each object: draw without anti-aliasing and enlarge by the nearest pixel"
            )
    if numbers.max() >= VOID:
        raise InputError(f"{path}: {numbers.max()} colours; expected one for each object, at most {VOID - 1}")
    return numbers.astype(np.uint8)[inverse].reshape(codes.shape)


def _thin_colours(index: np.ndarray, is_object: np.ndarray) -> tuple[int, int]:
    """How many objects' colours, by index (H, W), look like the edges of others, and how many do not.

    Edges are nowhere as wide as ``RIM``, lie mostly within that of colours that are, and cover less than these.
    """
    values, kernel = index.astype(np.float32), np.ones((RIM, RIM), np.uint8)
    inside = cv2.erode(values, kernel) == cv2.dilate(values, kernel)
    wide = np.zeros(len(is_object), bool)
    wide[np.unique(index[inside])] = True
    near = cv2.dilate((wide & is_object)[index].astype(np.uint8), kernel) > 0
    count, beside = (np.bincount(index[where], minlength=len(is_object)) for where in (index >= 0, near))
    thin = is_object & ~wide & (2 * beside > count)
    if count[thin].sum() >= count[is_object & wide].sum():
        return 0, int(is_object.sum())
    return int(thin.sum()), int((is_object & ~thin).sum())


def _from_json(path: Path, size: Size | None) -> np.ndarray:
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not JSON ({error})") from None
    annotations, stated = _annotations(content, str(path))
    if len(annotations) >= VOID:
        raise InputError(f"{path}: {len(annotations)} objects; expected at most {VOID - 1}")
    labels: np.ndarray | None = None
    for number, annotation in enumerate(annotations, 1):
        where = f"{path}, annotation {number}"
        inside = decode_segmentation(annotation, stated or size, where)
        if labels is None:
            labels = np.zeros(inside.shape, np.uint8)
        if inside.shape != labels.shape:
            raise InputError(f"{where}: is of {inside.shape[1]}x{inside.shape[0]}, those before of another size")
        labels[inside] = number
    if labels is None:
        raise InputError(f"{path}: no annotation in this file")
    return labels


def _annotations(content: Any, where: str) -> tuple[list[Any], Size | None]:
    """The segmentations of a COCO file, and the size (H, W) of its picture where it says."""
    if isinstance(content, dict) and "annotations" in content:
        images, annotations = content.get("images", []), content["annotations"]
        if not isinstance(images, list) or not isinstance(annotations, list):
            raise InputError(f"{where}: images and annotations must be lists")
        of = {str(each.get("image_id")) for each in annotations if isinstance(each, dict)}
        if len(of) > 1 or len(images) > 1:
            raise InputError(f"{where}: holds {max(len(of), len(images))} pictures; expected the masks of one")
        picture = images[0] if images and isinstance(images[0], dict) else {}
        height, width = picture.get("height"), picture.get("width")
        size = None
        if type(height) is int and type(width) is int and 0 < height < 1 << 16 and 0 < width < 1 << 16:
            size = height, width
        return [_segmentation(each, where) for each in annotations], size
    listed = content if isinstance(content, list) else [content]
    return [_segmentation(each, where) for each in listed], None


def _segmentation(annotation: Any, where: str) -> Any:
    if isinstance(annotation, dict) and "segmentation" in annotation:
        return annotation["segmentation"]
    if isinstance(annotation, dict) and "counts" in annotation:
        return annotation
    raise InputError(f"{where}: expected COCO annotations with a segmentation, or run lengths with size and counts")
