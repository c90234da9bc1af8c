"""Candidates that need no search: lists of URLs, and folders of videos."""

from __future__ import annotations

import csv
import hashlib
import io
import logging
import os
from collections.abc import Iterator
from pathlib import Path

from ..datasets.video_folder import SUFFIXES
from ..errors import InputError
from ..io.images import natural_key
from ..structures.checks import is_utf8
from .info import url_id
from .rows import Row
from .safety import UnsafeURLError, check_url, safe_name

_log = logging.getLogger(__name__)

_COLUMNS = ("title", "uploader", "licence", "query")
"""Of a list in CSV that go into the row as they are, beside url and class."""


def read_list(path: Path, default_class: str) -> Iterator[Row]:
    """Rows of a list: CSV or TSV with a column ``url`` (and ``class``, title, uploader, licence, query where they are
    there), or a text with a URL a line, its class after a space; lines that begin with ``#`` are left out.

    ``video`` is made of the URL.

    Raises:
        InputError: it cannot be read, has no column ``url``, or a line holds no URL.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: the list of URLs cannot be read ({error})") from None
    table = path.suffix.lower() in (".csv", ".tsv")
    for line, values in _table(path, text) if table else _lines(text):
        url = values["url"]
        try:
            check_url(url, allow_internal=True)
        except UnsafeURLError as error:
            raise InputError(f"{path}, line {line}: {error}") from None
        yield {
            "video": url_id(url),
            "class": values.get("class") or default_class,
            "source": "list",
            "url": url,
            **{key: values.get(key) or None for key in _COLUMNS},
            "query": values.get("query") or path.name,
            "status": "found",
        }


def _lines(text: str) -> Iterator[tuple[int, dict[str, str]]]:
    for line, content in enumerate(text.splitlines(), start=1):
        url, _, name = content.strip().partition(" ")
        if url and not url.startswith("#"):
            yield line, {"url": url, "class": name.strip()}


def _table(path: Path, text: str) -> Iterator[tuple[int, dict[str, str]]]:
    reader = csv.DictReader(
        io.StringIO(text, newline=""), dialect="excel-tab" if path.suffix.lower() == ".tsv" else "excel"
    )
    header = [(name or "").strip().lower() for name in reader.fieldnames or ()]
    if "url" not in header:
        raise InputError(f"{path}: expected a column url, got {', '.join(header) or 'an empty file'}")
    reader.fieldnames = header
    try:
        for values in reader:
            kept = {key: (value or "").strip() for key, value in values.items() if isinstance(key, str)}
            if any(kept.values()):
                yield reader.line_num, kept
    except csv.Error as error:
        raise InputError(f"{path}, line {reader.line_num}: {error}") from None


def read_folder(folder: Path, default_class: str) -> Iterator[Row]:
    """Rows of the videos under a folder, by their suffix, hidden ones left out; its sub-folders are classes.

    ``video`` is made of the file's name and path, ``path`` is absolute.

    Raises:
        InputError: no such folder, or no video in it.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder")
    found = False
    for path in files_below(folder):
        if path.suffix.lower() not in SUFFIXES:
            continue
        if not is_utf8(str(path)):
            _log.warning("%r: passed over, its name is not UTF-8; rename it", str(path))
            continue
        found = True
        parts = path.relative_to(folder).parts
        absolute = path.absolute()
        digest = hashlib.sha256(os.fsencode(absolute)).hexdigest()[:12]
        yield {
            "video": f"{safe_name(path.stem)[:60]}-{digest}",
            "class": parts[0] if len(parts) > 1 else default_class,
            "source": "folder",
            "query": folder.name,
            "title": path.stem,
            "path": str(absolute),
            "status": "found",
        }
    if not found:
        raise InputError(f"{folder}: no videos in it; expected files that end in {', '.join(sorted(SUFFIXES))}")


def files_below(folder: Path) -> Iterator[Path]:
    """All files under a folder in natural order, but hidden ones; then those of folders elsewhere that links lead to.

    Each folder once: links to what lies in the folder, or around it, would give its files other names.
    """
    links: list[Path] = []
    yield from _walked(folder, links)
    root, seen = Path(os.path.realpath(folder)), set[Path]()
    for link in links:
        real = Path(os.path.realpath(link))
        if real not in seen and not real.is_relative_to(root) and not root.is_relative_to(real):
            seen.add(real)
            yield from _walked(link, [])


def _walked(folder: Path, links: list[Path]) -> Iterator[Path]:
    """Files under a folder; links to folders are added to ``links``."""
    for place, folders, files in os.walk(folder):
        folders[:] = sorted((name for name in folders if not name.startswith(".")), key=natural_key)
        links += [Path(place) / name for name in folders if (Path(place) / name).is_symlink()]
        paths = (Path(place) / name for name in sorted(files, key=natural_key) if not name.startswith("."))
        yield from (path for path in paths if path.is_file())
