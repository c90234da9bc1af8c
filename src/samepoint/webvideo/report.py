"""What was collected, class by class: from the three tables to Markdown, JSON and a picture of curves."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from ..io.atomic import atomic_write
from ..io.images import write_image
from .catalog import Catalogue
from .curves import Curve, draw_curves
from .rows import TABLES, Row

_log = logging.getLogger(__name__)

STEPS = (1, 5, 10, 15, 20, 30)
"""Frames after which survival stands in the tables."""

_ENOUGH, _SHARE = 3, 0.05  # shots, and part of them, without which a point of a curve is not drawn
_REASONS = 8  # that are told of, of each stage
_NOTHING = "-"


def quality(videos: Iterable[Row], shots: Iterable[Row], labels: Iterable[Row]) -> dict[str, Any]:
    """What the tables say about each class (``classes``), and about all together (``all``), as JSON values.

    Counts and reasons of what was lost at each stage; medians over shots of what was measured, shots of all lengths
    counting alike; ``survival``: the mean over shots of the share of labels alive 0, 1, 2, ... frames after they
    began, among the shots that are that long (``shots``).

    >>> report = quality([{"video": "a", "class": "cow", "status": "failed", "reason": "private"}], [], [])
    >>> report["classes"]["cow"]["videos"]
    {'failed': 1, 'lost': {'private': 1}}
    """
    tables = [list(rows) for rows in (videos, shots, labels)]
    names = sorted({row.get("class") or "" for table in tables for row in table})
    own = [[[row for row in table if (row.get("class") or "") == name] for table in tables] for name in names]
    classes = {name: _class(*chosen) for name, chosen in zip(names, own, strict=True)}
    return {"classes": classes, "all": _class(*tables)}


def write_report(folder: str | Path, videos: Iterable[Row], shots: Iterable[Row], labels: Iterable[Row]) -> list[Path]:
    """Write ``report.json``, ``survival.png`` (where there are labels) and ``report.md`` into a folder, in this order.

    Returns:
        The files. Each appears whole or not at all.

    Raises:
        InputError: the folder cannot be written to.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: cannot make this folder ({error.strerror})") from None
    report = quality(videos, shots, labels)
    written = [folder / "report.json"]
    with atomic_write(written[0], "w") as file:
        json.dump(report, file, indent=1, ensure_ascii=False)
        file.write("\n")
    curves = survival_curves(report)
    picture = folder / "survival.png" if curves else None
    if picture is not None:
        write_image(picture, draw_curves(curves, "frames after a label began", "labels alive"))
        written.append(picture)
    written.append(folder / "report.md")
    with atomic_write(written[-1], "w") as file:
        file.write(markdown(report, picture.name if picture is not None else None))
    return written


def report_collection(folder: str | Path) -> list[Path]:
    """Write the report of a collection into ``report`` below its folder, and the contact sheets into ``sheets``.

    Returns:
        The files. Why a video has no sheet goes to the log.

    Raises:
        InputError: there is no such collection, or its folder cannot be written to.
        MissingExtraError: pyarrow is not installed.
    """
    from .sheet import write_sheets

    folder = Path(folder)
    catalogue = Catalogue.existing(folder)
    videos, shots, labels = (list(catalogue.rows(table)) for table in TABLES)
    written = write_report(folder / "report", videos, shots, labels)
    sheets, failed = write_sheets(folder, videos, shots, labels)
    for video, reason in failed.items():
        _log.warning("%s: no contact sheet: %s", video, reason)
    return written + sheets


def survival_curves(report: Mapping[str, Any]) -> list[Curve]:
    """One curve a class, and one of all where there are several; as far as enough shots reach to tell."""
    curves = []
    for name, part in _parts(report):
        survival = part["labels"]["survival"]
        most = max(survival["shots"], default=0)
        enough = max(min(_ENOUGH, most), _SHARE * most)
        values = [value for value, count in zip(survival["alive"], survival["shots"], strict=True) if count >= enough]
        if len(values) > 1:
            curves.append(Curve(name, tuple(values), part is report["all"]))
    return curves if len(curves) > 2 else curves[:1]


def _parts(report: Mapping[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Classes by the names that are shown, and all together."""
    return [*((name or "no class", part) for name, part in report["classes"].items()), ("all classes", report["all"])]


def markdown(report: Mapping[str, Any], picture: str | None = None) -> str:
    """The tables of a report; ``picture`` is the file of the curves beside it."""
    parts = ["# Web videos: what was collected\n"]
    head = ("class", "videos", "not to be had", "shots", "kept", "time kept", "median length", "motion", "repeats")
    rows = [
        (
            name,
            _whole(part["videos"].get("ok", 0)),
            _whole(sum(part["videos"]["lost"].values())),
            _whole(part["shots"]["all"]),
            _whole(part["shots"]["kept"]),
            _time(part["shots"]["hours"]),
            _number(part["shots"]["length"], 0),
            _number(part["shots"]["motion"], 2),
            _share(part["shots"]["repeats"]),
        )
        for name, part in _parts(report)
    ]
    parts.append(_table("Videos and shots", head, rows))
    parts.append(
        "Length: frames. Motion: pixels a frame in a copy whose short side is 256, median over the kept shots. Repeats:"
        " share of their frames that repeat the frame before.\n"
    )
    if report["all"]["labels"]["shots"]:
        parts += _labels(report, picture)
    parts.append(_lost(report))
    return "\n".join(parts)


def _labels(report: Mapping[str, Any], picture: str | None) -> list[str]:
    head = ("class", "shots", *(f"alive after {step}" for step in STEPS))
    rows = []
    for name, part in _parts(report):
        alive = part["labels"]["survival"]["alive"]
        shares = (_share(alive[step] if step < len(alive) else None) for step in STEPS)
        rows.append((name, _whole(part["labels"]["shots"]), *shares))
    parts = [_table("Survival of labels", head, rows)]
    parts.append("Frames after a label began; the mean over the shots that are this long.\n")
    if picture is not None:
        parts.append(f"![Survival of labels]({picture})\n")
    head = ("class", "seeds a shot", "cycle error", "similarity", "motion", "coverage", "bytes a frame", "seconds")
    rows = []
    for name, part in _parts(report):
        own = part["labels"]
        told = [_number(own[key], digits) for key, digits in (("seeds", 0), ("cycle_error", 2), ("similarity", 3))]
        told += [_number(own["motion"], 2), _share(own["coverage"])]
        told += [_number(own["bytes_per_frame"], 0), _number(own["seconds"], 1)]
        rows.append((name, *told))
    parts.append(_table("Labels", head, rows))
    parts.append("Medians over shots. Cycle error and motion: pixels of the video, motion from frame to frame.\n")
    return parts


def _class(videos: Sequence[Row], shots: Sequence[Row], labels: Sequence[Row]) -> dict[str, Any]:
    stretches = [shot for shot in shots if shot.get("start") is not None]
    kept = [shot for shot in stretches if shot.get("kept")]
    lengths = [shot["end"] - shot["start"] for shot in kept]
    done = [label for label in labels if label.get("status") == "ok"]
    status = Counter(video.get("status") or "" for video in videos)
    return {
        "videos": {**dict(sorted(status.items())), "lost": _reasons(videos, by_word=True)},
        "shots": {
            "all": len(stretches),
            "kept": len(kept),
            "frames": sum(shot["end"] - shot["start"] for shot in stretches),
            "frames_kept": sum(lengths),
            "hours": sum((shot["end"] - shot["start"]) / shot["fps"] for shot in kept if shot.get("fps")) / 3600,
            "length": _median(lengths),
            "motion": _median([shot.get("motion") for shot in kept]),
            "repeats": sum(len(shot.get("repeats") or ()) for shot in kept) / sum(lengths) if sum(lengths) else None,
            "lost": _reasons([shot for shot in shots if not shot.get("kept")]),
        },
        "labels": {
            "shots": len(done),
            "frames": sum(label.get("frames") or 0 for label in done),
            "bytes": sum(label.get("bytes") or 0 for label in done),
            "seeds": _median([label.get("seeds") for label in done]),
            "survival": _survival(done),
            **{key: _median([label.get(key) for label in done]) for key in ("cycle_error", "similarity", "motion")},
            "coverage": _median([label.get("coverage") for label in done]),
            "bytes_per_frame": _median(
                [label["bytes"] / label["frames"] for label in done if label.get("bytes") and label.get("frames")]
            ),
            "seconds": _median([label.get("seconds") for label in done]),
            "lost": _reasons(labels),
        },
    }


def _survival(labels: Sequence[Row]) -> dict[str, Any]:
    """The mean curve; beyond a shot's end nothing is known of its labels."""
    curves = [label["alive"] for label in labels if label.get("alive")]
    longest = max((len(curve) for curve in curves), default=0)
    sums, counts = np.zeros(longest), np.zeros(longest, int)
    for curve in curves:
        sums[: len(curve)] += curve
        counts[: len(curve)] += 1
    return {"alive": [round(float(share), 6) for share in sums / np.maximum(counts, 1)], "shots": counts.tolist()}


def _reasons(rows: Iterable[Row], *, by_word: bool = False) -> dict[str, int]:
    """Why rows were lost, the most frequent first; ``by_word``: by what stands before the colon."""
    lost = [row for row in rows if row.get("status") in ("failed", "skipped") or row.get("kept") is False]
    reasons = [str(row.get("reason") or "not told") for row in lost]
    counts = Counter(reason.partition(":")[0] if by_word else reason for reason in reasons)
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _median(values: Iterable[float | int | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.median(known)) if known else None


def _lost(report: Mapping[str, Any]) -> str:
    head = ("class", "stage", "reason", "number")
    rows = []
    for name, part in _parts(report):
        for stage in ("videos", "shots", "labels"):
            lost = list(part[stage]["lost"].items())
            rows += [(name, stage, reason, _whole(count)) for reason, count in lost[:_REASONS]]
            if lost[_REASONS:]:
                rest = sum(count for _, count in lost[_REASONS:])
                rows.append((name, stage, f"{len(lost) - _REASONS} other reasons", _whole(rest)))
    return _table("What was lost, and why", head, rows) if rows else "Nothing was lost.\n"


def _table(title: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [f"## {title}\n", _line(head), _line(["---"] * len(head)), *(_line(row) for row in rows)]
    return "\n".join(lines) + "\n"


def _line(cells: Iterable[str]) -> str:
    """Names and reasons come from the web: they must not end a cell, nor be markup."""
    shown = (" ".join(cell.split())[:200] for cell in cells)
    escaped = ("".join(f"\\{letter}" if letter in "\\|`*_<>[]#!" else letter for letter in cell) for cell in shown)
    return f"| {' | '.join(escaped)} |"


def _whole(value: int) -> str:
    return f"{value:,}"


def _number(value: float | None, digits: int) -> str:
    return _NOTHING if value is None else f"{value:,.{digits}f}"


def _time(hours: float) -> str:
    """Hours, minutes and seconds.

    >>> _time(1.5)
    '1:30:00'
    """
    seconds = round(3600 * hours)
    return f"{seconds // 3600:,}:{seconds // 60 % 60:02}:{seconds % 60:02}"


def _share(value: float | None) -> str:
    return _NOTHING if value is None else f"{100 * value:.1f} %"
