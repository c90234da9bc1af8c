"""The errors that users meet; the command line turns them into one line and an exit status."""

from __future__ import annotations


class InputError(ValueError):
    """What the user gave cannot be used: the message names the file or value and what was expected (exit status 2)."""


class MissingExtraError(InputError):
    """A feature needs an optional dependency that is not installed; the message names the extra."""

    def __init__(self, feature: str, extra: str) -> None:
        super().__init__(f"{feature} needs an optional dependency: pip install 'samepoint[{extra}]'")


class LiveError(InputError, TypeError):
    """A camera or stream was asked for its length, for a frame by number or to run backwards.

    Also a TypeError, which is what ``list(video)`` expects of something without a length.
    """

    def __init__(self, source: object) -> None:
        super().__init__(f"{source!r} is live: it has no length and cannot be sought in or played backwards")
