"""What a data set's folder holds and what it lacks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from samepoint.errors import InputError


@dataclass(frozen=True)
class Check:
    """The answer of a reader's ``check``."""

    name: str
    """The set's name on the command line, e.g. ``pf-willow``."""
    root: Path
    found: int
    """How many items (pairs, clips, sequences) can be used."""
    missing: tuple[str, ...]
    """What exactly lacks, one line each, and where to get it; empty when the set is complete."""
    notes: tuple[str, ...]
    """What is worth knowing: layout found, leakage between splits, licence."""


def some(names: Sequence[str]) -> str:
    """How many are missing and which, three of them by name.

    >>> some(["a", "b"])
    '2 missing (a, b)'
    >>> some(["a", "b", "c", "d"])
    '4 missing (a, b, c, ...)'
    """
    more = ", ..." if len(names) > 3 else ""
    return f"{len(names):,} missing ({', '.join(names[:3])}{more})"


def listed(path: Path, where: str) -> list[tuple[int, str]]:
    """The lines of a list that are not blank, each with its number from 1.

    Raises InputError where the file cannot be read as text; ``where`` tells where to get it.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise InputError(f"{path}: missing; {where}") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: not a text file in UTF-8") from None
    return [(number, line.strip()) for number, line in enumerate(text.split("\n"), 1) if line.strip()]


def entries_of(folder: Path) -> frozenset[str]:
    """The names in a folder; none where there is no such folder."""
    return frozenset(path.name for path in folder.iterdir()) if folder.is_dir() else frozenset()
