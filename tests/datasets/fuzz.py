"""What every reader promises about damaged files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from samepoint.errors import InputError


@contextmanager
def used_or_named(path: Path) -> Iterator[None]:
    """What happens inside succeeds, or fails with an InputError that names ``path``."""
    try:
        yield
    except InputError as error:
        if str(path) not in str(error):
            pytest.fail(f"{error!r} does not name {path}")
