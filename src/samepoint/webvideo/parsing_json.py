"""Shot lists as JSON: SSSCWEB's ``parsing.json``, and version 2 of it, in and out of the catalogue.

The published list, which knows classes, ids of YouTube videos and shots that follow one another without a gap::

    {"<class>": {"<video id>": {"skip_cnt": 1, "0": [start, end], "1": [start, end], ...}}}

Version 2 also holds where videos are from, their licences, and which stretches were not kept and why::

    {"version": 2, "detector": {"name": "content", "threshold": 27.0, "min_len": 15, "start_in_scene": true},
     "videos": {"<id>": {"class", "url", "licence", "sha256", "fps", "width", "height", "n_frames",
                         "shots": [[start, end], ...], "dropped": [[start, end, reason], ...],
                         "status": "ok" | "failed:<reason>"}}}

``dropped`` is there if anything was. Numbers are those of frames; start inclusive, end exclusive.
"""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, NamedTuple

from ..errors import InputError
from ..io.atomic import atomic_write
from ..io.video import open_reader
from .rows import Row
from .safety import safe_name
from .shots import ShotSettings

_YOUTUBE = re.compile(r"[A-Za-z0-9_-]{11}")  # the form of its ids
_PREFIX = "youtube-"  # of the ids that the catalogue gives to them
_NO_SHOTS = "no shots in the list"


class ShotList(NamedTuple):
    """Rows of the catalogue that a list says as much about as it knows."""

    videos: list[Row]
    shots: list[Row]


def read_parsing(path: str | Path, root: str | Path | None = None) -> ShotList:
    """Read a list of either version.

    A video of the published list without shots has one row of shots, ``skipped``; shots without a frame are passed
    over with a warning, and the others keep their numbers. All of its shots are kept ones.

    Ids of the published list that have the form of YouTube's get the ones that they have in the catalogue
    (``youtube-<id>``); an id that could not be the name of a file becomes one that can.

    Args:
        path: the JSON file.
        root: where videos lie as ``<class>/<id>/<id>.mp4``, the published layout; rows of those that do have their
            paths and status ``ok``, other videos ``found``. What the list does not say of their pictures (``width``,
            ``height``, ``fps``) is that of the file's header.

    Raises:
        InputError: no such file, not JSON, or not a list of shots: a gap or an overlap, numbers missing or negative.
    """
    path = Path(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=lambda pairs: _object(pairs, path))
    except OSError as error:
        raise InputError(f"{path}: cannot read this shot list ({error.strerror})") from None
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"{path}: not JSON ({error})") from None
    content = _mapping(content, str(path))
    if "version" not in content:
        result = _read_published(content, path)
    elif content["version"] == 2:
        result = _read_second(content, path)
    else:
        raise InputError(f"{path}: a shot list of version {content['version']!r}; expected 2, or the published form")
    if root is not None:
        _place(result, Path(root))
    return result


def write_parsing(
    path: str | Path,
    videos: Iterable[Row],
    shots: Iterable[Row],
    settings: ShotSettings | None = None,
    version: Literal[1, 2] = 2,
) -> None:
    """Write a list, whole or not at all, sorted by class and video.

    Args:
        path: the JSON file.
        videos: rows of the table of videos.
        shots: rows of the table of shots; those of other videos are passed over.
        settings: what cut them, for version 2; its defaults without.
        version: 1 is the published form. It knows no gaps, so the stretches that were not kept stand in it as shots
            like the others; a video that has none is one without shots.

    Raises:
        InputError: the file cannot be written, or (version 1) the shots of a video leave a gap.
    """
    parts = _by_video(shots)
    ordered = sorted(videos, key=lambda row: (row.get("class") or "", row["video"]))
    if version == 1:
        content: dict[str, Any] = {}
        for video in ordered:
            stretches = [(shot["start"], shot["end"]) for shot in parts.get(video["video"], ()) if _whole(shot)]
            _check_contiguous(stretches, f"{path}: {video['video']}")
            entry = {str(number): list(stretch) for number, stretch in enumerate(stretches)}
            content.setdefault(video.get("class") or "", {})[_outer(video["video"])] = {"skip_cnt": 1, **entry}
    else:
        known = {video["video"]: _second(video, parts.get(video["video"], ())) for video in ordered}
        content = {"version": 2, "detector": _detector(settings or ShotSettings()), "videos": known}
    with atomic_write(path, "w") as file:
        json.dump(content, file, indent=1 if version == 2 else None, ensure_ascii=False)
        file.write("\n")


def _read_published(content: Mapping[str, Any], path: Path) -> ShotList:
    videos: dict[str, Row] = {}
    shots: list[Row] = []
    empty: list[str] = []
    for name, members in content.items():
        for outer, entry in _mapping(members, f"{path}: {name}").items():
            where = f"{path}: {name}/{outer}"
            stretches = _numbered(_mapping(entry, where), where)
            video = _inner(outer)
            if video in videos:
                known = [(shot["start"], shot["end"]) for shot in shots if shot["video"] == video and _whole(shot)]
                if known != [stretch for stretch in stretches if stretch[0] < stretch[1]]:
                    raise InputError(f"{where}: has other shots than in class {videos[video]['class']}")
                videos[video]["also_in"] = sorted({*videos[video]["also_in"], name} - {videos[video]["class"]})
                continue
            videos[video] = _video(video, name)
            empty += [f"{name}/{outer}/{number}" for number, (start, end) in enumerate(stretches) if start == end]
            kept = [_shot(videos[video], number, *at) for number, at in enumerate(stretches) if at[0] < at[1]]
            shots += kept or [_none(videos[video], "skipped", _NO_SHOTS)]
    _tell(empty, path)
    return ShotList(list(videos.values()), shots)


def _numbered(entry: Mapping[str, Any], where: str) -> list[tuple[int, int]]:
    """Stretches of a video's entry in the order of their keys, which are "0", "1", "2" and so on."""
    keys = [key for key in entry if key != "skip_cnt"]
    expected = [str(number) for number in range(len(keys))]
    if sorted(keys) != sorted(expected):
        wrong = next((key for key in keys if key not in expected), None)
        missing = next((key for key in expected if key not in keys), None)
        raise InputError(f"{where}: has the key {wrong!r} and no {missing!r}; expected shots numbered from 0")
    stretches = [_stretch(entry[key], f"{where}, shot {key}") for key in expected]
    _check_contiguous(stretches, where)
    return stretches


def _check_contiguous(stretches: Sequence[tuple[int, int]], where: str) -> None:
    end = 0
    for number, stretch in enumerate(stretches):
        if stretch[0] != end:
            told = "the first shot starts" if number == 0 else f"shot {number} starts"
            raise InputError(f"{where}: {told} at frame {stretch[0]}, expected {end}: no gap and no overlap")
        end = stretch[1]


def _read_second(content: Mapping[str, Any], path: Path) -> ShotList:
    videos: list[Row] = []
    shots: list[Row] = []
    empty: list[str] = []
    for outer, entry in _mapping(content.get("videos"), f"{path}: videos").items():
        where, video = f"{path}: {outer}", safe_name(outer)
        entry = _mapping(entry, where)
        row = _video(video, _value(entry, "class", str, where))
        row |= {key: _value(entry, key, str, where) for key in ("url", "licence", "sha256")}
        row["fps"] = _value(entry, "fps", float, where)
        row |= {key: _value(entry, key, int, where) for key in ("width", "height")}
        row["frames"] = _value(entry, "n_frames", int, where)
        status, _, reason = (_value(entry, "status", str, where) or "ok").partition(":")
        if status not in ("ok", "failed"):
            raise InputError(f"{where}: status {entry['status']!r}; expected ok or failed:<reason>")
        videos.append(row)
        if status == "failed":
            row |= {"status": "failed", "reason": reason}
        stretches = _reasons(entry, where)
        empty += [f"{video}, {start} to {end}" for start, end, _ in stretches if start == end]
        kept = [stretch for stretch in stretches if stretch[0] < stretch[1]]
        for number, (start, end, why) in enumerate(kept):
            shots.append({**_shot(row, number, start, end), "kept": why is None, "reason": why})
        if not kept:
            shots.append(_none(row, "failed" if status == "failed" else "skipped", reason or _NO_SHOTS))
    _tell(empty, path)
    return ShotList(videos, shots)


def _reasons(entry: Mapping[str, Any], where: str) -> list[tuple[int, int, str | None]]:
    """Stretches of a video's entry in version 2, in order, with the reasons of those that were dropped."""
    found: list[tuple[int, int, str | None]] = []
    for at in _items(entry.get("shots"), f"{where}, shots"):
        found.append((*_stretch(at, f"{where}, shots"), None))
    for at in _items(entry.get("dropped", []), f"{where}, dropped"):
        if not (isinstance(at, list) and len(at) == 3 and isinstance(at[2], str)):
            raise InputError(f"{where}, dropped: {_short(at)}; expected [start, end, reason]")
        found.append((*_stretch(at[:2], f"{where}, dropped"), at[2]))
    found.sort(key=lambda stretch: stretch[:2])
    for (_, end, _), (start, _, _) in pairwise(found):
        if start < end:
            raise InputError(f"{where}: a stretch starts at frame {start}, before another ends at {end}")
    return found


def _tell(empty: Sequence[str], path: Path) -> None:
    if empty:
        shots = "1 shot without a frame is" if len(empty) == 1 else f"{len(empty)} shots without a frame are"
        warnings.warn(f"{path}: {shots} passed over, the first: {empty[0]}", stacklevel=4)


def _second(video: Row, parts: Sequence[Row]) -> dict[str, Any]:
    """A video's entry in version 2."""
    whole = [shot for shot in parts if _whole(shot)]
    first = parts[0] if parts else {}
    entry = {key: video.get(key) for key in ("class", "url", "licence", "sha256")}
    entry |= {key: video.get(key) or first.get(key) for key in ("fps", "width", "height")}
    # What the video's own row counts; where it counts nothing, its shots, if they cover it from its first frame.
    covered = whole[-1]["end"] if whole and whole[0]["start"] == 0 else None
    entry |= {"n_frames": video.get("frames") or covered}
    entry["shots"] = [[shot["start"], shot["end"]] for shot in whole if shot.get("kept")]
    if dropped := [[shot["start"], shot["end"], shot.get("reason") or ""] for shot in whole if not shot.get("kept")]:
        entry["dropped"] = dropped
    return {**entry, "status": _status(video, first)}


def _status(video: Row, first: Row) -> str:
    for row in (video, first):
        if row.get("status") == "failed" or (row is video and row.get("status") == "skipped"):
            return f"failed:{row.get('reason') or 'not known'}"
    return "failed:not downloaded" if video.get("status") == "found" and not first else "ok"


def _detector(settings: ShotSettings) -> dict[str, Any]:
    threshold = {"content": settings.threshold, "adaptive": settings.ratio, "finder": None}[settings.detector]
    scene = settings.start_in_scene and not settings.legacy
    return {
        "name": settings.detector,
        "threshold": threshold,
        "min_len": settings.min_length,
        "start_in_scene": scene,
    }


def _by_video(shots: Iterable[Row]) -> dict[str, list[Row]]:
    """Rows of each video in the order of their frames."""
    parts: dict[str, list[Row]] = {}
    for shot in shots:
        parts.setdefault(shot["video"], []).append(shot)
    return {video: sorted(rows, key=lambda row: row.get("start") or 0) for video, rows in parts.items()}


def _whole(shot: Row) -> bool:
    """Whether a row is of a stretch of frames; else it says why a video has none."""
    return shot.get("start") is not None and shot.get("end") is not None


def _video(video: str, name: str | None) -> Row:
    outer = _outer(video)
    url = f"https://www.youtube.com/watch?v={outer}" if outer != video else None
    return {"video": video, "class": name, "source": "list", "url": url, "also_in": [], "status": "found"}


def _shot(video: Row, number: int, start: int, end: int) -> Row:
    row = {"shot": f"{video['video']}/{number}", "video": video["video"], "class": video["class"], "index": number}
    row |= {"start": start, "end": end, "kept": True, "reason": None, "status": "ok"}
    return row | {key: video.get(key) for key in ("fps", "width", "height")}


def _none(video: Row, status: str, reason: str) -> Row:
    same = {"shot": video["video"], "video": video["video"], "class": video["class"]}
    return {**same, "kept": False, "status": status, "reason": reason}


def _place(found: ShotList, root: Path) -> None:
    known: dict[str, Row] = {}
    for video in found.videos:
        outer = _outer(video["video"])
        path = root / str(video["class"]) / outer / f"{outer}.mp4"
        if path.is_file() and path.resolve().is_relative_to(root.resolve()):
            known[video["video"]] = {"path": str(path.resolve()), **_pictures(path, video)}
            video |= {**known[video["video"]], "status": "ok"}
    for shot in found.shots:
        if shot["video"] in known:
            shot |= known[shot["video"]]


def _pictures(path: Path, video: Row) -> Row:
    """Size and rate as the row says, or else the file's header; nothing of a file that cannot be read."""
    said = {key: video.get(key) for key in ("fps", "width", "height")}
    if None not in said.values():
        return said
    try:
        reader = open_reader(path)
    except InputError:
        return said
    stated = {"fps": reader.fps, "width": reader.size[1], "height": reader.size[0]}
    return {key: stated[key] if value is None else value for key, value in said.items()}


def _outer(video: str) -> str:
    """The id that the published list knows.

    >>> _outer("youtube-dQw4w9WgXcQ"), _outer("file-0123")
    ('dQw4w9WgXcQ', 'file-0123')
    """
    rest = video.removeprefix(_PREFIX)
    return rest if rest != video and _YOUTUBE.fullmatch(rest) else video


def _inner(outer: str) -> str:
    return _PREFIX + outer if _YOUTUBE.fullmatch(outer) else safe_name(outer)


def _object(pairs: list[tuple[str, Any]], path: Path) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise InputError(f"{path}: has {twice!r} twice in the same place")
    return content


def _mapping(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InputError(f"{where}: expected an object, got {_short(value)}")
    return value


def _items(value: Any, where: str) -> list[Any]:
    if not isinstance(value, list):
        raise InputError(f"{where}: expected a list, got {_short(value)}")
    return value


def _stretch(value: Any, where: str) -> tuple[int, int]:
    if not (isinstance(value, list) and len(value) == 2 and all(type(at) is int for at in value)):
        raise InputError(f"{where}: expected [start, end], whole numbers, got {_short(value)}")
    start, end = value
    if not 0 <= start <= end:
        raise InputError(f"{where}: frames {start} to {end}; expected 0 or more, and no end before its start")
    return start, end


def _value(entry: Mapping[str, Any], key: str, kind: type, where: str) -> Any:
    value = entry.get(key)
    if value is None:
        return None
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:
        raise InputError(f"{where}: {key} is {_short(value)}, expected {kind.__name__}")
    return value


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."
