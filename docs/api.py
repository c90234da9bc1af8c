"""Build the API reference from the docstrings: ``python docs/api.py [FOLDER]``. Needs the extra ``docs``."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import pdoc

import samepoint

MODULES = (
    "samepoint",
    "samepoint.errors",
    "samepoint.tracking",
    "samepoint.matching",
    "samepoint.correspondence",
    "samepoint.datasets",
    "samepoint.viz",
    "samepoint.evaluation",
    "samepoint.training",
    "samepoint.models",
    "samepoint.geometry",
    "samepoint.io",
)


def build(folder: Path) -> None:
    """Write the pages into ``folder``."""
    # What the package imports only when it is asked for, pdoc would not find.
    for name in samepoint.__all__:
        setattr(samepoint, name, getattr(samepoint, name))
    # pdoc cannot name the types in the generated constructors of named tuples; their fields are shown all the same.
    warnings.filterwarnings("ignore", message="Error parsing type annotation ForwardRef")
    pdoc.render.configure(docformat="google")
    pdoc.pdoc(*MODULES, output_directory=folder)


if __name__ == "__main__":
    build(Path(sys.argv[1] if len(sys.argv) > 1 else "site"))
