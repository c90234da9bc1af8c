"""The stages of a collection, each over the rows that it has not done yet."""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from . import engine
from .catalog import STAGES, TARGETS, Catalogue, Stage
from .engine import Outcome, Work
from .rows import TABLES, Row, Table, complete

if TYPE_CHECKING:  # it imports PyTorch, for which workers that download have no use
    from .config import WebConfig

Progress = Callable[[Stage, int, "int | None"], None]
_TAKEN_FROM: dict[Stage, Table] = {"download": "videos", "shots": "videos", "label": "shots"}


@dataclass(frozen=True)
class Summary:
    """What a stage did in this run."""

    stage: Stage
    rows: int  # worked on; of search: found
    failed: int
    seconds: float

    def __str__(self) -> str:
        """One line.

        >>> print(Summary("shots", 12, 1, 3.25))
        shots: 12 rows, 1 failed (3.2 s)
        """
        return f"{self.stage}: {self.rows} rows, {self.failed} failed ({self.seconds:.1f} s)"


def run(
    config: WebConfig,
    stages: Iterable[Stage] = STAGES,
    *,
    retry_failed: bool = False,
    progress: Progress | None = None,
) -> list[Summary]:
    """Do what is left to do of the stages, in their order; a run that was interrupted goes on where it was.

    What was done under other settings, or from another file, is done again. Rows that failed keep their reason. After
    labelling the collection's report is written, with contact sheets unless ``sheets`` is off.

    Args:
        config: of the collection; it is written to its folder as ``web.yaml``.
        stages: which.
        retry_failed: work on failed rows again.
        progress: called with stage, rows done and all rows of the stage (None: not known) after each row.

    Raises:
        InputError: settings that cannot be used, another run at work on the same folder, or Ray that is not there.
        MissingExtraError: a package of the extra ``web`` is missing.
        OSError: the machine's fault (a full disk). What was done by then is kept.
        KeyboardInterrupt: Ctrl-C; what was done by then is kept.
    """
    from .config import OWN, write_own_config

    asked = set(stages)
    tell = progress or (lambda stage, done, total: None)
    catalogue = Catalogue(config.output)
    with catalogue.held():
        write_own_config(config, config.output / OWN)
        summaries = []
        for stage in STAGES:
            if stage in asked:
                act = _search if stage == "search" else _stage
                summaries.append(act(stage, config, catalogue, retry_failed, tell))
        if "label" in asked:
            _report(config, catalogue)
    return summaries


def _report(config: WebConfig, catalogue: Catalogue) -> None:
    from .report import report_collection, write_report

    if config.sheets:
        report_collection(config.output)
    else:
        write_report(config.output / "report", *(catalogue.rows(table) for table in TABLES))


def counts(config: WebConfig) -> dict[Table, dict[str, int]]:
    """How many rows of each status the tables hold."""
    catalogue = Catalogue(config.output)
    return {table: dict(sorted(Counter(catalogue.read(table, ["status"])[0].to_pylist()).items())) for table in TABLES}


def as_json(summaries: Iterable[Summary]) -> list[dict[str, Any]]:
    """JSON values."""
    return [asdict(summary) for summary in summaries]


def _search(stage: Stage, config: WebConfig, catalogue: Catalogue, retry: bool, tell: Progress) -> Summary:
    """Search is one piece of work: found twice is known only of all queries together, so it is done whole or again."""
    from .search import candidates

    began = time.monotonic()
    digest = config.digest("search", _listing(config))
    videos = catalogue.read("videos", ["video", "status", "settings"]).to_pylist()
    failed_before = {row["video"] for row in videos if row["status"] == "failed" and _by_search(row)}
    if catalogue.searched().get(stage) == digest and not (retry and failed_before):
        return Summary(stage, 0, 0, time.monotonic() - began)
    set_aside = {row["video"] for row in videos if row["status"] == "skipped" and _by_search(row)}
    known = {row["video"] for row in videos} - failed_before - set_aside  # which are judged by the present settings
    found = failed = 0
    with catalogue.journal(stage) as journal:
        for video in failed_before:
            journal.add(video, [])
        for row in candidates(config.search, known):
            journal.add(row["video"], [{**row, "settings": digest}])
            found += 1
            failed += row["status"] == "failed"
            tell(stage, found, None)
        journal.add_search(stage, digest)
    return Summary(stage, found, failed, time.monotonic() - began)


def _listing(config: WebConfig) -> list[list[object]]:
    """What local sources hold, so that a new file is found by the next run."""
    from .listing import files_below

    listing: list[list[object]] = []
    for path in config.search.lists:
        digest = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None
        listing.append([str(config.as_given(path)), digest])
    for folder in config.search.folders:
        given, files = config.as_given(folder), sorted(files_below(folder))
        listing += [[str(given / file.relative_to(folder)), file.stat().st_size] for file in files]
    return listing


def _stage(stage: Stage, config: WebConfig, catalogue: Catalogue, retry: bool, tell: Progress) -> Summary:
    began = time.monotonic()
    wanted = {"download": _downloads, "shots": _shots, "label": _labels}[stage](config, catalogue, retry)
    failed = 0
    if wanted:
        rows = catalogue.rows(_TAKEN_FROM[stage], wanted)
        by = TARGETS[stage].by
        outcomes = engine.run(work_of(stage, config), rows, config.engine)
        with catalogue.journal(stage) as journal, closing(outcomes):
            for done, outcome in enumerate(outcomes, 1):
                item = outcome.row[by]
                results = finished(stage, outcome, wanted[item])
                journal.add(item, results)
                failed += any(row["status"] == "failed" for row in results)
                tell(stage, done, len(wanted))
    return Summary(stage, len(wanted), failed, time.monotonic() - began)


def _downloads(config: WebConfig, catalogue: Catalogue, retry: bool) -> dict[str, str]:
    """Videos to fetch, with the digest that their rows get."""
    videos = catalogue.read("videos", ["video", "status", "settings", "source", "path", "bytes"]).to_pylist()
    digest = config.digest("download")
    wanted = {}
    for video in videos:
        status = video["status"]
        stale = video["settings"] != digest or (retry and status == "failed") or _replaced(video)
        if status == "found" if _by_search(video) else stale:
            wanted[video["video"]] = digest
    return wanted


def _replaced(video: Row) -> bool:
    """Whether another file lies where one of the user's own was, read or not; one that is away may come back."""
    from .download import own_size

    return video["bytes"] is not None and own_size(video) not in (None, video["bytes"])


def _by_search(video: Row) -> bool:
    """Whether searching had the last word, not downloading."""
    return (video["settings"] or "").startswith("search-")


def _shots(config: WebConfig, catalogue: Catalogue, retry: bool) -> dict[str, str]:
    """Videos to cut."""
    videos = catalogue.read("videos", ["video", "status", "path", "sha256", "settings"]).to_pylist()
    done = _done(catalogue, "shots", retry)
    wanted = {}
    for video in videos:
        digest = config.digest("shots", video["path"], video["sha256"] or video["settings"])
        if video["status"] == "ok" and done.get(video["video"]) != digest:
            wanted[video["video"]] = digest
    return wanted


def _labels(config: WebConfig, catalogue: Catalogue, retry: bool) -> dict[str, str]:
    """Shots to label: those that are not yet, or were by other weights."""
    table = catalogue.read("labels", ["shot", "model_sha256"]).to_pylist()
    made_by = {row["shot"]: row["model_sha256"] for row in table if row["model_sha256"]}
    weights = _weights(config) if made_by else None
    shots = catalogue.read("shots", ["shot", "kept", "status", "start", "end", "settings"]).to_pylist()
    done = _done(catalogue, "label", retry)
    wanted = {}
    for shot in shots:
        digest = config.digest("label", shot["start"], shot["end"], shot["settings"])
        others = weights is not None and made_by.get(shot["shot"], weights) != weights
        if shot["kept"] and shot["status"] == "ok" and (others or done.get(shot["shot"]) != digest):
            wanted[shot["shot"]] = digest
    return wanted


def _weights(config: WebConfig) -> str | None:
    """The checksum of the weights that label; None where they are not on this machine."""
    from ..models.weights import resolve, sha256

    try:
        return sha256(resolve(config.labels.model))
    except (InputError, OSError):
        return None


def _done(catalogue: Catalogue, stage: Stage, retry: bool) -> dict[str, str]:
    """Items of a stage with the digest of their results, without those to be tried again."""
    table, by = TARGETS[stage]
    rows = catalogue.read(table, [by, "status", "settings"]).to_pylist()
    return {row[by]: row["settings"] for row in rows if not (retry and row["status"] == "failed")}


def work_of(stage: Stage, config: WebConfig) -> Work:
    """What the engine is to do for a stage."""
    if stage == "download":
        return Work(_make_fetch, (config.download, config.output))
    if stage == "shots":
        return Work(_make_cut, (config.shots, config.output))
    return Work(_make_labeller, (config.labels, config.engine.device, config.output), holds_model=True)


def finished(stage: Stage, outcome: Outcome, digest: str) -> list[Row]:
    """The rows of the stage's table that an outcome is: never none, so that every row is accounted for."""
    table, by = TARGETS[stage]
    reason = outcome.reason
    if reason is None:
        rows = outcome.results or [_stand_in(stage, outcome.row, "skipped", "no shots")]
        try:
            rows = [complete(table, {"status": "ok", **row, "settings": digest}) for row in rows]
            if all(row[by] == outcome.row[by] for row in rows):
                return rows
            reason = f"its results are of another {by}"
        except InputError as error:
            reason = str(error)
    return [complete(table, {**_stand_in(stage, outcome.row, "failed", reason), "settings": digest})]


def _stand_in(stage: Stage, row: Row, status: str, reason: str) -> Row:
    """A row that only says why there are no results."""
    if stage == "download":
        from .download import own_size

        size = own_size(row)
        return {**row, "status": status, "reason": reason, "bytes": row.get("bytes") if size is None else size}
    same = ("shot", "video", "class", "start", "end") if stage == "label" else ("video", "class", "path")
    result = {name: row[name] for name in same} | {"status": status, "reason": reason}
    return result if stage == "label" else {**result, "shot": row["video"], "kept": False}


def _make_fetch(settings: Any, folder: Path) -> Callable[[Row], Row]:
    from .download import fetch

    if settings.cookies is not None:
        if not settings.cookies.is_file():
            raise InputError(f"download.cookies: there is no file {settings.cookies}")
        from .ytdlp import client

        with client(settings):  # reads them: what is wrong there would fail every row
            pass
    return lambda row: fetch(row, settings, folder)


def _make_cut(settings: Any, folder: Path) -> Callable[[Row], list[Row]]:
    from .shots import cut

    return lambda row: cut(row, settings, folder)


def _make_labeller(settings: Any, device: str | None, folder: Path) -> Callable[[Row], Row]:
    from .labels import Labeller

    labeller = Labeller(settings, device)
    return lambda row: labeller(row, folder)
