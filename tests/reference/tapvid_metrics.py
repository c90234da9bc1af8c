"""TAP-Vid scores point by point, straight from their definitions: slow, and it shares no line with the library."""

from __future__ import annotations

import math


def slow_metrics(query_frame, gt_xy, gt_occluded, pred_xy, pred_occluded, mode):
    """Scores of one video as fractions; NaN where nothing is counted."""
    number = len(query_frame)
    frames = len(gt_occluded[0]) if number else 0
    points = [
        (n, t)
        for n in range(number)
        for t in range(frames)
        if (t > query_frame[n] if mode == "first" else t != query_frame[n])
    ]
    share = lambda part, whole: len(part) / len(whole) if whole else math.nan  # noqa: E731
    visible = [(n, t) for n, t in points if not gt_occluded[n][t]]
    scores = {"OA": share([p for p in points if gt_occluded[p[0]][p[1]] == pred_occluded[p[0]][p[1]]], points)}
    for distance in (1, 2, 4, 8, 16):
        close = set()
        for n, t in visible:
            dx = float(pred_xy[n][t][0]) - float(gt_xy[n][t][0])
            dy = float(pred_xy[n][t][1]) - float(gt_xy[n][t][1])
            if dx * dx + dy * dy < distance * distance:
                close.add((n, t))
        said = [(n, t) for n, t in points if not pred_occluded[n][t]]
        right = [p for p in said if p in close]
        wrong = [p for p in said if p not in close]
        scores[f"delta_{distance}"] = share(close, visible)
        scores[f"J_{distance}"] = share(right, visible + wrong)
    scores["delta_avg"] = sum(scores[f"delta_{d}"] for d in (1, 2, 4, 8, 16)) / 5
    scores["AJ"] = sum(scores[f"J_{d}"] for d in (1, 2, 4, 8, 16)) / 5
    return scores


def slow_track_metrics(query_frame, gt_xy, gt_occluded, pred_xy, pred_occluded):
    """The variant ``tapvid-track`` of one video: each track over all frames but the query's, then the mean."""
    rows = [
        slow_metrics([q], [x], [o], [p], [s], "strided")
        for q, x, o, p, s in zip(query_frame, gt_xy, gt_occluded, pred_xy, pred_occluded, strict=True)
    ]
    scores = {}
    for name in slow_metrics([], [], [], [], [], "strided"):
        known = [row[name] for row in rows if not math.isnan(row[name])]
        scores[name] = sum(known) / len(known) if known else math.nan
    return scores


def slow_trajectories(query_frame, gt_xy, gt_occluded, pred_xy, mode):
    """(survival, MTE) of one video, NaN where nothing is counted."""
    lasting, medians = [], []
    for n, query in enumerate(query_frame):
        frames = len(gt_occluded[n])
        ways = [range(query + 1, frames)] + ([range(query - 1, -1, -1)] if mode == "strided" else [])
        survived, errors = 0, []
        for way in ways:
            failed = False
            for t in way:
                error = math.dist(pred_xy[n][t], gt_xy[n][t])
                if not gt_occluded[n][t]:
                    errors.append(error)
                    failed = failed or error > 50
                survived += not failed
        if any(len(way) for way in ways):
            lasting.append(survived / sum(len(way) for way in ways))
        if errors:
            errors.sort()
            medians.append((errors[(len(errors) - 1) // 2] + errors[len(errors) // 2]) / 2)
    return tuple(sum(values) / len(values) if values else math.nan for values in (lasting, medians))
