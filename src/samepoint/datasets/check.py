"""What a data set's folder holds and what it lacks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import import_module
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

    @property
    def complete(self) -> bool:
        """Whether nothing is missing. An incomplete set is usable all the same where ``found`` is above 0."""
        return not self.missing


# Each set's reader: its module below samepoint.datasets, the function there, and what it takes besides the folder.
_READERS: dict[str, tuple[str, ...]] = {
    "tapvid-davis": ("tapvid", "check", "tapvid-davis"),
    "tapvid-kinetics": ("tapvid", "check", "tapvid-kinetics"),
    "tapvid-rgb-stacking": ("tapvid", "check", "tapvid-rgb-stacking"),
    "robotap": ("tapvid", "check", "robotap"),
    "jhmdb": ("jhmdb", "check"),
    "badja": ("badja", "check"),
    "davis-2016": ("davis", "check", "davis-2016"),
    "davis-2017": ("davis", "check", "davis-2017"),
    "spair-71k": ("spair", "check"),
    "spair-u": ("spair", "check_u"),
    "pf-pascal": ("pf_pascal", "check"),
    "pf-willow": ("pf_willow", "check"),
    "youtube-vos": ("youtube_vos", "check"),
    "flyingthings3d": ("flyingthings", "check"),
}

NAMES = tuple(_READERS)
"""The benchmarks, then the two sets that are for training only."""


def check(name: str, root: str | Path) -> Check:
    """See what of a data set is in a folder, without decoding pictures or videos.

    Raises:
        InputError: the name is not one of :data:`NAMES`, there is no such folder, or a file in it is damaged.
    """
    if name not in _READERS:
        near = get_close_matches(name.lower().replace("_", "-"), NAMES, n=1)
        hint = f"did you mean {near[0]}? All: " if near else "expected one of "
        raise InputError(f"no data set is called {name!r}; {hint}{', '.join(NAMES)}")
    folder = Path(root)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; expected the data set {name}")
    module, function, *more = _READERS[name]
    answer: Check = getattr(import_module(f"samepoint.datasets.{module}"), function)(folder, *more)
    return answer


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
