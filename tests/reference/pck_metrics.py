"""PCK of videos and of picture pairs point by point, straight from the protocols' descriptions."""

from __future__ import annotations

import math


def slow_badja(pred, gt, visible, area, protocol):
    """(correct, scored) of one sequence at 0.2, or at 3 px; ``pred`` and ``gt`` are lists [joint][frame]."""
    correct = scored = 0
    for j in range(len(gt)):
        for t in range(len(area)):
            if not visible[j][t] or (t == 0 and protocol != "badja-fgvc"):
                continue
            if protocol == "badja-visible" and not visible[j][0]:
                continue
            if area[t] == 0 and protocol != "badja-3px":
                continue
            x, y = (float(value) for value in gt[j][t])
            if protocol == "badja-fgvc":
                x, y = int(x), int(y)
            limit = 3 if protocol == "badja-3px" else 0.2 * math.sqrt(area[t])
            scored += 1
            correct += _far(pred[j][t][0] - x, pred[j][t][1] - y) < limit
    return correct, scored


def slow_jhmdb(pred, gt, size, protocol, alpha):
    """For each joint (correct, scored) of one clip; ``pred`` and ``gt`` are lists [joint][frame] of raster pixels."""
    height, width = size
    number, frames = len(gt), len(gt[0])
    inside = lambda j, t: 0 <= gt[j][t][0] <= width and 0 <= gt[j][t][1] <= height  # noqa: E731

    def counted(j, t):
        if protocol == "jhmdb-vfs":
            return pred[j][t][0] - 0.5 > 0
        if protocol == "jhmdb-crw":
            return pred[j][t][0] - 0.5 >= 0
        if protocol == "jhmdb-tapnet":
            return 0 <= gt[j][0][0] + 0.5 < width and 0 <= gt[j][0][1] + 0.5 < height
        if protocol == "jhmdb-strict":
            return inside(j, 0) and inside(j, t)
        return protocol == "jhmdb-dev" or inside(j, t)

    def boxed(j, t):
        if protocol == "jhmdb-strict":
            return inside(j, t)
        return protocol.startswith("jhmdb-dev") or counted(j, t)

    result = [[0, 0] for _ in range(number)]
    for t in range(frames):
        if t == 0 and protocol not in ("jhmdb-vfs", "jhmdb-tapnet"):
            continue
        box = [gt[j][t] for j in range(number) if boxed(j, t)]
        if not box:
            continue
        wide = max(x for x, _ in box) - min(x for x, _ in box)
        high = max(y for _, y in box) - min(y for _, y in box)
        length = 0.6 * math.sqrt(wide**2 + high**2)
        if length == 0:
            continue
        for j in range(number):
            if counted(j, t):
                error = _far(pred[j][t][0] - gt[j][t][0], pred[j][t][1] - gt[j][t][1])
                result[j][0] += error <= alpha * length
                result[j][1] += 1
    return result


def slow_pair(pred, gt, size, box, tau, space, comparison, alpha):
    """(correct, scored) of one pair."""
    height, width = size
    edge = None if space == "native" else int(space[6:])
    across = lambda x: x if edge is None else x * edge / width  # noqa: E731
    down = lambda y: y if edge is None else y * edge / height  # noqa: E731
    points = [(across(x), down(y)) for x, y in gt if not (math.isnan(x) or math.isnan(y))]
    if tau == "img":
        length = max(down(height), across(width))
    elif tau == "bbox":
        length = max(across(box[2]) - across(box[0]), down(box[3]) - down(box[1]))
    elif not points:
        return 0, 0
    else:
        if tau == "kpbox-padded":
            points = points + [(-1, -1)] * (40 - len(points))
        length = max(max(p[axis] for p in points) - min(p[axis] for p in points) for axis in (0, 1))
    correct = scored = 0
    if not length > 0:
        return 0, 0
    for (px, py), (x, y) in zip(pred, gt, strict=True):
        if math.isnan(x) or math.isnan(y):
            continue
        error = _far(across(px - x), down(py - y))
        scored += 1
        correct += error < alpha * length or (error == alpha * length and comparison == "le")
    return correct, scored


def _far(x, y):
    # Not hypot, whose last bit differs from a root of squares and so decides ties with the limit the other way.
    return math.sqrt(x * x + y * y)
