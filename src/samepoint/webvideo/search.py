"""Candidate videos of each class: searches, playlists, lists of URLs and folders, filtered and told from each other."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection, Iterator
from datetime import date, datetime, timezone
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import Field, field_validator, model_validator

from .attempts import persist
from .duplicates import DuplicateSettings, hash_thumbnail, hash_video, merge
from .filters import Filter, Licence, Window, check_durations, youtube_search
from .info import address, of_info, tool_versions, url_id, video_id
from .listing import read_folder, read_list
from .network import NetworkSettings
from .outcomes import Outcome
from .pictures import frames_at, stated_duration, thumbnail
from .relevance import RelevanceSettings, scorer
from .rows import Row

_log = logging.getLogger(__name__)


class SearchSettings(NetworkSettings):
    """Where candidates come from and which of them are taken; at least one source."""

    classes: dict[str, tuple[str, ...]] = Field(default_factory=dict)  # class: queries; a list of classes: their names
    service: str = "ytsearch"  # one of yt-dlp's searches
    windows: tuple[int | tuple[date, date], ...] = ()  # years or first and last days, each asked for by itself
    results: int = Field(20, ge=1)  # taken of each query and window, at most
    examined: int | None = Field(None, ge=1)  # looked at for them, at most; as many as results without
    per_class: int | None = Field(None, ge=1)  # taken of each class's searches and playlists, at most

    playlists: dict[str, tuple[str, ...]] = Field(default_factory=dict)  # class: URLs of playlists, channels, pages
    playlist_results: int = Field(200, ge=1)  # looked at of each playlist, at most
    lists: tuple[Path, ...] = ()  # CSV with the columns url and class, or a text with a URL and a class a line
    folders: tuple[Path, ...] = ()  # of videos; sub-folders are classes
    default_class: str = Field("video", min_length=1)  # of what a list or folder gives no class to

    min_duration: float | None = Field(None, ge=0)  # seconds; of searches and playlists, as licence and days are
    max_duration: float | None = Field(None, gt=0)
    licence: Licence = "any"
    after: date | None = None  # first day of upload
    before: date | None = None  # last day of upload

    duplicates: DuplicateSettings = DuplicateSettings()
    relevance: RelevanceSettings | None = None

    @field_validator("classes", mode="before")
    @classmethod
    def _names_are_queries(cls, value: Any) -> Any:
        if isinstance(value, (list, tuple)):
            odd = [name for name in value if not isinstance(name, (str, int, float))]
            if odd:
                raise ValueError(f"expected names, or a mapping of class: [queries], got {odd[0]} among names")
            return {name: (name,) for name in value}
        return value

    @model_validator(mode="after")
    def _some_source(self) -> SearchSettings:
        if not (self.classes or self.playlists or self.lists or self.folders):
            raise ValueError("expected at least one of classes, playlists, lists and folders")
        empty = [name for name, window in ((str(w), _window(w)) for w in self.windows) if window.empty]
        overall = Window(self.after, self.before)
        if empty or overall.empty:
            raise ValueError(f"expected the earlier day first, got {empty[0] if empty else (self.after, self.before)}")
        if self.classes and self.windows and all(_window(value).within(overall).empty for value in self.windows):
            raise ValueError("expected a window with days that after and before leave; there is none")
        check_durations(self.min_duration, self.max_duration)
        return self


class _Task(NamedTuple):
    """One question to the web."""

    label: str  # class
    source: str  # search or playlist
    query: str
    ask: str  # what yt-dlp gets
    wanted: Filter
    examined: int
    taken: int


def candidates(settings: SearchSettings, known: Collection[str] = ()) -> Iterator[Row]:
    """Rows of videos that the catalogue does not have yet, each video once.

    All sources are read first, then told from each other, then given out: the same answers of the web give the same
    rows, whatever of them is known already.

    Args:
        settings: sources and filters.
        known: ids of the catalogue; such videos are found like the others but not given out again.

    Yields:
        Rows with the status "found"; with "failed" for what could not be read, a query or playlist (its id begins with
        ``query-``) or the page of a video on which a filter depends; with "skipped" for what is not relevant.

    Raises:
        InputError: a list, folder or service that cannot be used.
        MissingExtraError: yt-dlp is not installed and a source on the web is asked for.
    """
    found = list(_found(settings))
    needs_pictures = settings.duplicates.perceptual or settings.relevance is not None
    if needs_pictures:
        _look(found, settings)
    retrieved = datetime.now(timezone.utc).isoformat(timespec="seconds")
    for row in merge(found, settings.duplicates):
        if row["video"] not in known:
            yield {**row, "retrieved": retrieved, "tool_versions": tool_versions()}


def _found(settings: SearchSettings) -> Iterator[Row]:
    yield from _from_web(settings)
    listed = [row for path in settings.lists for row in read_list(path, settings.default_class)]
    if listed:
        yield from _identified(listed, settings)
    for folder in settings.folders:
        yield from read_folder(folder, settings.default_class)


def _window(value: int | tuple[date, date]) -> Window:
    return Window(date(value, 1, 1), date(value, 12, 31)) if isinstance(value, int) else Window(*value)


def _tasks(settings: SearchSettings) -> Iterator[_Task]:
    overall = Window(settings.after, settings.before)
    plain = Filter(settings.min_duration, settings.max_duration, settings.licence, overall)
    examined = settings.examined or settings.results
    for label, queries in settings.classes.items():
        for query in queries:
            for value in settings.windows or (None,):
                window = overall if value is None else _window(value).within(overall)
                if window.empty:
                    continue
                wanted = plain._replace(window=window)
                if settings.service == "ytsearch":
                    ask = youtube_search(query, wanted, examined)
                else:
                    ask = f"{settings.service}{examined}:{query}"
                yield _Task(label, "search", query, ask, wanted, examined, settings.results)
    for label, urls in settings.playlists.items():
        for url in urls:
            most = settings.playlist_results
            yield _Task(label, "playlist", url, url, plain, most, most)


def _from_web(settings: SearchSettings) -> Iterator[Row]:
    tasks = list(_tasks(settings))
    if not tasks:
        return
    from .ytdlp import check_service

    if settings.classes:
        check_service(settings.service)
    taken: dict[str, set[str]] = {}
    pages: dict[str, dict[str, Any] | Outcome] = {}  # read in this run, by id
    for task in tasks:
        ids = taken.setdefault(task.label, set())
        here = 0
        for row in _answers(task, settings, pages):
            full = settings.per_class is not None and len(ids) >= settings.per_class
            if row["status"] == "found":
                if full or here >= task.taken:
                    break
                here += 1
                ids.add(row["video"])
            yield row


def _answers(task: _Task, settings: SearchSettings, pages: dict[str, dict[str, Any] | Outcome]) -> Iterator[Row]:
    """Rows of one question, in the order of the answers."""
    base: Row = {"class": task.label, "source": task.source, "query": task.query}
    entries = persist(lambda: _entries(task, settings), settings)
    if isinstance(entries, Outcome):
        name = f"query-{url_id(f'{task.label} {task.ask}').removeprefix('url-')}"
        url = task.ask if task.ask.startswith("http") else None
        yield {**base, "video": name, "url": url, "status": "failed", "reason": entries.reason}
        return
    refused: Counter[str] = Counter()
    for entry in entries:
        url = address(entry)
        if url is None:
            refused["no URL"] += 1
            continue
        name = video_id(entry, url)
        info: Any = entry
        if task.wanted(entry, incomplete=True) is None and task.wanted.undecided(entry):
            if name not in pages:
                pages[name] = persist(lambda url=url: _page(url, settings), settings)  # type: ignore[misc]
            page = pages[name]
            if isinstance(page, Outcome):
                yield {**base, **of_info(entry), "video": name, "url": url, "status": "failed", "reason": page.reason}
                continue
            info = {**entry, **{key: value for key, value in page.items() if value is not None}}
        reason = task.wanted(info)
        if reason is not None:
            refused[reason.partition(":")[0]] += 1
            continue
        yield {**base, **of_info(info), "video": name, "url": url, "status": "found"}
    _log.info("%s, %s: %d answers, refused: %s", task.label, task.ask, len(entries), dict(refused) or "none")


def _entries(task: _Task, settings: SearchSettings) -> list[dict[str, Any]]:
    from .ytdlp import client, date_range, identify

    with client(
        settings,
        extract_flat="in_playlist",
        playlistend=task.examined,
        match_filter=task.wanted,
        daterange=date_range(*task.wanted.days()),
        noplaylist=False,
        ignore_no_formats_error=True,
    ) as ydl:
        info = ydl.extract_info(task.ask, download=False)
        if not info:
            return []
        single = info.get("_type", "video") not in ("playlist", "multi_video")
        entries = [info] if single else [entry for entry in info.get("entries") or () if entry]
        for entry in entries:
            url = address(entry)
            if not entry.get("ie_key") and not entry.get("extractor_key") and url:
                entry["ie_key"], entry["id"] = identify(ydl, url) or (None, entry.get("id"))
        return [dict(entry) for entry in entries]


def _page(url: str, settings: SearchSettings) -> dict[str, Any]:
    """What a video's own page says."""
    from .ytdlp import client

    with client(settings, extract_flat="in_playlist", playlistend=1, ignore_no_formats_error=True) as ydl:
        info = ydl.extract_info(url, download=False) or {}
    return dict(info) if info.get("_type", "video") == "video" else {}


def _identified(rows: list[Row], settings: SearchSettings) -> Iterator[Row]:
    """Rows of a list with the ids that a search would give the same videos; nothing is asked of the web."""
    from .ytdlp import client, identify

    with client(settings) as ydl:
        for row in rows:
            found = identify(ydl, row["url"])
            yield row if found is None else {**row, "video": video_id({"ie_key": found[0], "id": found[1]}, row["url"])}


def _look(rows: list[Row], settings: SearchSettings) -> None:
    """Fills in what pictures tell: the hash, and how relevant they are."""
    score = None if settings.relevance is None else scorer(settings.relevance)
    seen: dict[str, Row] = {}
    for row in rows:
        if row["status"] != "found":
            continue
        before = seen.setdefault(row["video"], row)
        if before is not row and score is None:
            continue  # merged by its id
        local = Path(row["path"]) if row["source"] == "folder" else None
        if local:
            row["duration"] = stated_duration(local)
            picture = next(iter(frames_at(local, [0.0])), None) if score else None
        else:
            picture = thumbnail(row.get("thumbnail"), settings)
        if settings.duplicates.perceptual:
            row["phash"] = hash_video(local) if local else (hash_thumbnail(picture) if picture is not None else None)
        if score is None or picture is None:
            continue
        row["relevance"] = score(picture, row["class"])
        least = settings.relevance.least if settings.relevance else None
        if least is not None and row["relevance"] is not None and row["relevance"] < least:
            row["status"], row["reason"] = "skipped", f"not relevant: {row['relevance']:.3f}, at least {least}"
