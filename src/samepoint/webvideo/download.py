"""One candidate row to a whole file and what is known of it."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from .network import NetworkSettings
from .rows import Row


class DownloadSettings(NetworkSettings):
    """What is fetched and what is too much; a video beyond a limit is skipped with its reason."""

    height: int = Field(480, ge=1)  # lines, at most
    max_bytes: int = Field(500_000_000, ge=1)
    min_duration: float | None = Field(None, ge=0)  # seconds
    max_duration: float | None = Field(1800.0, gt=0)
    time_limit: float = Field(1800.0, gt=0)  # seconds that one video may take, waiting for retries included
    rate: int | None = Field(None, ge=1)  # bytes a second, of each worker


def fetch(row: Row, settings: DownloadSettings, folder: Path) -> Row:
    """The row with its file and what was measured on it; one video, never more.

    A file that is there and whole is kept. What was transferred before an interruption is continued.

    Args:
        row: a row of the table of videos.
        settings: limits.
        folder: output folder; files go to ``videos/<class>/<id>/`` in it.

    Returns:
        The row with the status "ok", "failed" (the video's own doing) or "skipped" (ours: a limit, an address refused)
        and the reason, ``word: detail``.

    Raises:
        InputError: settings that cannot be used (a cookies file that is not there).
        MissingExtraError: yt-dlp is not installed.
        OSError: of this machine (a full disk).
    """
    raise NotImplementedError
