"""The errors that users meet; the command line turns them into one line and an exit status."""

from __future__ import annotations


class InputError(ValueError):
    """What the user gave cannot be used: the message names the file or value and what was expected (exit status 2)."""


class MissingExtraError(InputError):
    """A feature needs an optional dependency that is not installed; the message names the extra."""

    def __init__(self, feature: str, extra: str) -> None:
        super().__init__(f"{feature} needs an optional dependency: pip install 'samepoint[{extra}]'")
