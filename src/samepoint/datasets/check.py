"""What a data set's folder holds and what it lacks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


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
