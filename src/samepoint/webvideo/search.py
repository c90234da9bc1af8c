"""Candidate videos of each class: searches, playlists, lists of URLs and folders, filtered and told from each other."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import date
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from .duplicates import DuplicateSettings
from .network import NetworkSettings
from .relevance import RelevanceSettings
from .rows import Row


class SearchSettings(NetworkSettings):
    """Where candidates come from and which of them are taken; at least one source."""

    classes: dict[str, tuple[str, ...]] = Field(default_factory=dict)  # class: queries; a list of classes: their names
    service: str = "ytsearch"  # one of yt-dlp's searches
    windows: tuple[int | tuple[date, date], ...] = ()  # years or first and last days, each asked for by itself
    results: int = Field(20, ge=1)  # taken of each query and window, at most
    examined: int | None = Field(None, ge=1)  # looked at for them, at most; as many as results without
    per_class: int | None = Field(None, ge=1)  # taken of each class, at most

    playlists: dict[str, tuple[str, ...]] = Field(default_factory=dict)  # class: URLs of playlists, channels, pages
    lists: tuple[Path, ...] = ()  # CSV with the columns url and class, or a text with a URL and a class a line
    folders: tuple[Path, ...] = ()  # of videos; sub-folders are classes
    default_class: str = Field("video", min_length=1)  # of what a list or folder gives no class to

    min_duration: float | None = Field(None, ge=0)  # seconds
    max_duration: float | None = Field(None, gt=0)
    licence: Literal["any", "creative-commons"] = "any"
    after: date | None = None  # first day of upload
    before: date | None = None  # last day of upload

    duplicates: DuplicateSettings = DuplicateSettings()
    relevance: RelevanceSettings | None = None

    @field_validator("classes", mode="before")
    @classmethod
    def _names_are_queries(cls, value: Any) -> Any:
        if isinstance(value, (list, tuple)):
            return {name: (name,) for name in value}
        return value

    @model_validator(mode="after")
    def _some_source(self) -> SearchSettings:
        if not (self.classes or self.playlists or self.lists or self.folders):
            raise ValueError("expected at least one of classes, playlists, lists and folders")
        return self


def candidates(settings: SearchSettings, known: Collection[str] = ()) -> Iterator[Row]:
    """Rows of videos that the catalogue does not have yet, each video once.

    Args:
        settings: sources and filters.
        known: ids of the catalogue; such videos still count as found first.

    Yields:
        Rows with the status "found"; and one with the status "failed" for every query or playlist that could not be
        read, whose id begins with ``query-``.

    Raises:
        InputError: a list, folder or service that cannot be used.
        MissingExtraError: yt-dlp is not installed and a source on the web is asked for.
    """
    raise NotImplementedError
