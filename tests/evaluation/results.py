"""Hand-made RESULT.json files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def content(**changes: Any) -> dict[str, Any]:
    """As ``samepoint evaluate`` writes them; ``protocol`` and ``model`` are changed key by key."""
    result: dict[str, Any] = {
        "benchmark": "badja",
        "protocol": {
            **{"name": "badja-pips", "settings": "samepoint", "size": [320, 512], "query_mode": "first"},
            **{"aggregation": "video", "frame_0": False},
        },
        "found": 2,
        "missing": ["bear: no frames"],
        "metrics": {"PCK@0.2": 65.149},
        "per_item": {"camel": {"PCK@0.2": 83.6}, "cows": {"PCK@0.2": None}},
        "other_protocols": {},
        "model": {"name": "base", "sha256": "0123456789abcdef"},
        "settings": {"points": {"name": "samepoint", "size": [320, 512]}, "root": "/data/badja"},
        "version": "0.1.0",
        "seconds": 12.34,
        "peak_memory": 123456789,
        "predictions": "a.predictions",
    }
    for key in ("protocol", "model"):
        result[key] = {**result[key], **changes.pop(key, {})}
    return {**result, **changes}


def write(path: Path, **changes: Any) -> Path:
    path.write_text(json.dumps(content(**changes)), encoding="utf-8")
    return path


ANIMALS = ("bear", "camel", "cows", "dog", "dog-agility", "horsejump-high", "horsejump-low")


def whole_badja(score: float, **changes: Any) -> dict[str, Any]:
    """Changes that make a result of all seven animals."""
    items = {name: {"PCK@0.2": score} for name in ANIMALS}
    return {"found": 7, "missing": [], "metrics": {"PCK@0.2": score}, "per_item": items, **changes}
