"""Published numbers, each with its protocol, its input size and where it was read.

Confidence H: the authors' own page or card; M: a third party's copy of the paper's table. A value in the lists below
that ends with ``M`` is of that kind. What the source does not say is None here and "not stated" in a report.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

Confidence = Literal["H", "M"]


@dataclass(frozen=True)
class Number:
    """One published value."""

    text: str
    """As published, ``68.1`` or a range ``79.2-79.4``."""
    confidence: Confidence

    @property
    def value(self) -> float | None:
        """None for a range."""
        return None if "-" in self.text else float(self.text)


@dataclass(frozen=True)
class Published:
    """A method's numbers on one benchmark under one protocol."""

    benchmark: str
    method: str
    year: str
    metrics: dict[str, Number]
    """Percentages under the names that RESULT.json uses; an averaging or threshold that is unclear is in the name."""
    protocol: str | None
    """Name of the scoring protocol; None where it is not stated."""
    query_mode: str | None
    """``first`` or ``strided``; None where the benchmark knows no such choice."""
    size: str | None
    """Input size, height x width, as stated; None where it is not."""
    note: str = ""
    differs: str = ""
    """Why the numbers can be compared with nobody's, where that is so."""
    per_item: dict[str, float] = field(default_factory=dict)
    """Of the first metric."""

    @property
    def input_size(self) -> tuple[int, int] | None:
        """(H, W), where ``size`` is in numbers."""
        found = re.fullmatch(r"(\d+)(?: x (\d+))?", self.size or "")
        return (int(found[1]), int(found[2] or found[1])) if found else None


@dataclass(frozen=True)
class _Row:
    method: str
    year: str
    values: str
    """One for each metric, separated by `` / ``; ``-`` where there is none."""
    size: str | None = None
    note: str = ""
    differs: str = ""
    protocol: str | None = "as the list"
    metrics: tuple[str, ...] = ()
    """In place of the list's."""


def _list(
    benchmark: str, metrics: tuple[str, ...], protocol: str | None, query_mode: str | None, *rows: _Row
) -> Iterator[Published]:
    for row in rows:
        numbers = {}
        for name, text in zip(row.metrics or metrics, row.values.split(" / "), strict=True):
            if text != "-":
                numbers[name] = Number(text.removesuffix(" M"), "M" if text.endswith(" M") else "H")
        own = protocol if row.protocol == "as the list" else row.protocol
        yield Published(benchmark, row.method, row.year, numbers, own, query_mode, row.size, row.note, row.differs)


_TAPVID = ("AJ", "delta_avg", "OA")
_JOINT = "its authors track all queries jointly"

_DAVIS_FIRST = _list(
    *("tapvid-davis", _TAPVID, "tapvid", "first"),
    _Row("Track-On-R", "2026", "68.1 M / 80.3 / 92.5 M", "384 x 512"),
    _Row("Track-On2", "2025", "67.0 M / 79.9 / 92.0 M", "384 x 512"),
    _Row("TAPNext++ at 512", "2026", "67.0 / - / -", "512"),
    _Row("TAPNext++ at 256", "2026", "65.6 / 79.0 / 92.0", "256"),
    _Row("AllTracker", "2025", "63.3 / 76.3 / 90.0", "384 x 512"),
    _Row("AllTracker", "2025", "65.9 / 78.8 / 90.2", "448 x 768"),
    _Row("AllTracker", "2025", "67.2 / 80.6 / 89.7", "768 x 1024"),
    _Row("Anthro-TAPNext", "2026", "66.1 M / - / -", "256"),
    _Row("Anthro-LocoTrack-B", "2026", "64.8 M / - / -", "256"),
    _Row("BootsTAPNext-B", "2025", "65.2 / 78.5 M / 91.2 M", "256"),
    _Row("CoTracker2 + VGGT features", "2025", "64.7 M / - / -"),
    _Row("CoTracker3 offline", "2024", "64.4 M / 76.9 / 91.2 M", "384 x 512", differs=_JOINT),
    _Row("CoTracker3 online", "2024", "63.8 M / 76.7 / 90.2 M", "384 x 512", differs=_JOINT),
    _Row("TAPTRv3", "2024", "63.2 M / 76.7 M / 91.0 M", "256"),
    _Row("LocoTrack-B", "2024", "63.0 M / 75.3 M / 87.2 M", "256"),
    _Row("BootsTAPIR, paper", "2024", "61.4 M / 74.0 M / 88.4 M", "256"),
    _Row("BootsTAPIR, checkpoint v2", "2024", "62.4 / - / -", "256"),
    _Row("Online BootsTAPIR", "2024", "59.7 / 72.3 M / 86.9 M", "256"),
    _Row("CoWTracker", "2026", "- / 78.0 M / -", "336 x 560"),
    _Row("PointSt3R (pairwise)", "2025", "- / 73.8 M / 85.8 M", "512 x 384"),
    _Row("PIPs++", "2023", "- / 70.6 / -", "512 x 896", protocol="pips2"),
    _Row("PIPs++, elsewhere", "2023", "- / 69.1 M / -", protocol=None),
    _Row("TAPIR", "2023", "58.5 / 70.0 M / 86.5 M", "256"),
    _Row("FGVC R18", "2023", "- / 62.8 / -", "256", "propagation, no tracker head", protocol="tapvid-track"),
    _Row("PIPs", "2022", "- / 55.3 / -", "256", "run by the authors of FGVC", protocol=None),
    _Row("TAP-Net", "2022", "33.0 / 48.6 / -", "256"),
    _Row("RAFT, chained", "2020", "- / 42.1 / -", "256"),
)

_DAVIS_STRIDED = _list(
    *("tapvid-davis", _TAPVID, "tapvid", "strided"),
    _Row("Anthro-TAPNext", "2026", "71.4 M / - / -"),
    _Row("TAPNext++ at 512", "2026", "71.2 / - / -", "512"),
    _Row("BootsTAPNext-B", "2025", "68.9 / 82.4 M / 91.6 M"),
    _Row("Chrono ViT-B + LocoTrack refiner", "2025", "68.2 M / 80.2 M / -"),
    _Row("LocoTrack-B", "2024", "67.8 / 79.6 / 89.9"),
    _Row("LocoTrack-S", "2024", "66.9 M / - / -"),
    _Row("BootsTAPIR, checkpoint v2", "2024", "67.4 / - / -"),
    _Row("BootsTAPIR, paper", "2024", "66.2 M / 78.5 M / 90.7 M"),
    _Row("CoTracker v1", "2023", "65.9 M / 79.2-79.4 M / -"),
    _Row("DINO-Tracker", "2024", "64.6 M / 80.4 M / 88.1 M", note="trained on each test video"),
    _Row("TAPIR, paper", "2023", "61.3 M / 73.6 M / 88.8 M", note="delta_avg, OA: paper or checkpoint, not said which"),
    _Row("TAPIR, checkpoint", "2023", "63.3 / - / -"),
    _Row("Chrono ViT-B, head-free", "2025", "- / 70.1 M / -"),
    _Row("Chrono ViT-S, head-free", "2025", "- / 68.0 M / -"),
    _Row("DINOv2-B, argmax", "2025", "- / 54.4 M / -", note="run by the authors of Chrono"),
    _Row("ResNet-18, argmax", "2025", "- / 53.3 M / -", note="run by the authors of Chrono"),
    _Row("TSM-R18, argmax", "2025", "- / 49.2 M / -", note="run by the authors of Chrono"),
    _Row("TAP-Net", "2022", "38.4 / 53.4 M / -"),
)

_KINETICS = _list(
    *("tapvid-kinetics", _TAPVID, "tapvid", "first"),
    _Row("Track-On-R", "2026", "57.8 M / 71.0 / -"),
    _Row("BootsTAPNext-B", "2025", "57.3 / 70.6 M / 87.4 M"),
    _Row("AllTracker", "2025", "56.8 M / 69.3 M / 89.1 M"),
    _Row("BootsTAPIR, checkpoint", "2024", "55.8 / 68.4 M / 86.5 M"),
    _Row("CoTracker3 online", "2024", "- / 68.3 / -", differs=_JOINT),
    _Row("CoTracker3 offline", "2024", "- / 67.8 / -", differs=_JOINT),
    _Row("Track-On2", "2025", "55.3 M / 69.3 / 89.6 M"),
    _Row("TAPTRv3", "2024", "54.5-54.9 M / 67.5 M / 88.2 M"),
    _Row("TAPNext++", "2026", "53.9 / 68.4 / 88.7"),
    _Row("LocoTrack-B", "2024", "52.9 M / 66.8 M / 85.3 M"),
    _Row("TAPIR, checkpoint", "2023", "50.0 / 64.2 M / 85.0 M"),
    _Row("FGVC R18", "2023", "- / 54.6 / -", note="propagation, no tracker head", protocol="tapvid-track"),
    _Row("RAFT", "2020", "- / 44.3 / -", protocol=None),
    _Row("TAP-Net", "2022", "- / 54.4 / -", protocol=None),
    _Row("PIPs", "2022", "- / 48.2 / -", protocol=None),
)

_STACKING = _list(
    *("tapvid-rgb-stacking", _TAPVID, "tapvid", "first"),
    _Row("AllTracker", "2025", "- / 90.0 M / -"),
    _Row("BootsTAPIR, checkpoint", "2024", "70.8 M / - / -"),
    _Row("CoTracker3 online", "2024", "- / 82.7 / -", differs=_JOINT),
    _Row("CoTracker3 offline", "2024", "- / 85.0 / -", differs=_JOINT),
    _Row("TAPTRv3", "2024", "72.3 M / 84.1 M / 90.8 M"),
)

_ROBOTAP = _list(
    *("robotap", _TAPVID, "tapvid", "first"),
    _Row("Track-On-R", "2026", "70.9 M / 82.6 / -"),
    _Row("BootsTAPNext-B", "2025", "64.1 / - / -"),
    _Row("AllTracker", "2025", "68.8 M / - / -"),
    _Row("BootsTAPIR, checkpoint", "2024", "69.2 / - / -"),
    _Row("CoTracker3 online", "2024", "- / 78.8 / -", differs=_JOINT),
    _Row("CoTracker3 offline", "2024", "- / 78.0 / -", differs=_JOINT),
    _Row("Track-On2", "2025", "68.1 M / 80.5 / -"),
    _Row("TAPTRv3", "2024", "64.5 M / 77.3 M / 89.7 M"),
    _Row("TAPNext++", "2026", "61.1 / 75.4 / 89.0"),
    _Row("TAPIR, checkpoint", "2023", "59.6 / - / -"),
)

_STRIDED = (
    *_list(
        *("tapvid-kinetics", _TAPVID, "tapvid", "strided"),
        _Row("Chrono ViT-B, head-free", "2025", "- / 68.5 M / -"),
    ),
    *_list(
        *("tapvid-rgb-stacking", _TAPVID, "tapvid", "strided"),
        _Row("LocoTrack-B", "2024", "77.1 M / - / -"),
        _Row("TAPIR, checkpoint", "2023", "62.7 M / - / -"),
        _Row("Chrono ViT-B, head-free", "2025", "- / 86.0 M / -"),
    ),
)

_PIPS_ITEMS = {
    **{"bear": 76.1, "camel": 91.6, "cows": 87.7, "dog-agility": 31.0, "dog": 45.4},
    **{"horsejump-high": 60.9, "horsejump-low": 58.1},
}
_BADJA_SIZE = "320 x 512"
_3PX = "at 3 px: exact protocol unverified"

_BADJA = (
    *_list(
        *("badja", ("PCK@0.2", "delta_3px"), None, None),
        _Row("DINO-Tracker", "2024", "72.4 M / 14.3 M", note=f"about 1 h of training a video; {_3PX}"),
        _Row("FGVC R18", "2023", "69.7 / -", _BADJA_SIZE, protocol="badja-fgvc"),
        _Row("TAPIR", "2022-24", "68.7 M / 10.5 M", note=_3PX),
        _Row("CoTracker", "2022-24", "64.0 M / 11.2 M", note=_3PX),
        _Row("DINOv2-L, raw", "2022-24", "62.8 M / 8.4 M", note=_3PX),
        _Row("TAP-Net", "2022-24", "45.4 M / 9.6 M", note=_3PX),
        _Row("PIPs", "2022", "62.3 / -", _BADJA_SIZE, protocol="badja-pips"),
        _Row("RAFT", "2020", "45.6 / 5.8 M", note=f"45.0 (M) elsewhere; {_3PX}"),
    ),
    Published(
        *("badja", "PIPs, repository with newer weights", "2022", {"PCK@0.2": Number("64.4", "H")}, "badja-pips"),
        *(None, _BADJA_SIZE),
        per_item=_PIPS_ITEMS,
    ),
)

_JHMDB_SIZE = "320 x 320"
_JHMDB = _list(
    *("jhmdb", ("PCK@0.1", "PCK@0.2"), None, None),
    _Row("FGVC R18", "2023", "66.8 / -", _JHMDB_SIZE, protocol="jhmdb-vfs"),
    _Row("TAP-Net", "2022", "62.3 / -", note="presumably jhmdb-tapnet"),
    _Row("RAFT", "2020", "66.4 / -"),
    _Row("Spa-then-Temp R50, stride 4", "2023", "66.4 / 84.4", _JHMDB_SIZE, protocol="jhmdb-vfs"),
    _Row("Spa-then-Temp R18, stride 4", "2023", "65.6 / 83.8", _JHMDB_SIZE, protocol="jhmdb-vfs"),
    _Row("Spa-then-Temp R18, stride 8", "2023", "63.5 / 83.1", _JHMDB_SIZE, protocol="jhmdb-vfs"),
    _Row("SiamMAE ViT-S/8", "2023", "61.9 M / -"),
    _Row("CRW, paper", "2020", "59.3 / 84.9", _JHMDB_SIZE, protocol="jhmdb-crw"),
    _Row("CRW, released weights", "2020", "57.6 / 79.6", _JHMDB_SIZE, protocol="jhmdb-crw"),
    _Row("Thin-Slicing Net", "2017", "68.7 / -", note="year and supervision unverified"),
)

_CEILING = "it was trained with masks"
_DAVIS_2017 = _list(
    *("davis-2017", ("J&F", "J_mean", "F_mean"), "davis2017", None),
    _Row("DINOv3 7B", "2025", "83.3 M / - / -", "large resolution"),
    _Row("DINOv3 S", "2025", "72.7 / - / -", "standard resolution"),
    _Row("DINOv3 S+", "2025", "75.5 / - / -", "standard resolution"),
    _Row("DINOv3 B", "2025", "77.2 / - / -", "standard resolution"),
    _Row("DINOv3 L", "2025", "79.9 / - / -", "standard resolution"),
    _Row("DINOv3 H+", "2025", "79.3 / - / -", "standard resolution"),
    _Row("DINOv3 7B", "2025", "79.7 / - / -", "standard resolution"),
    _Row("TED (diffusion features)", "2025", "77.6 / 74.4 / 80.8"),
    _Row("DINOv2-g", "2023", "76.6 M / - / -", "large resolution"),
    _Row("DIFT (ADM)", "2023", "75.7 / 72.7 / 78.6"),
    _Row("Spa-then-Temp R50, stride 4", "2023", "74.1 / 71.1 / 77.1"),
    _Row("Spa-then-Temp R18, stride 4", "2023", "73.5 / - / -"),
    _Row("Spa-then-Temp R50, stride 8", "2023", "71.2 / - / -"),
    _Row("Spa-then-Temp R18, stride 8", "2023", "70.7 / - / -"),
    _Row("SMTC R50", "2022-23", "73.0 / 69.4 / 76.6"),
    _Row("SFC", "2022-23", "71.2 / 68.3 / 74.0"),
    _Row("SiamMAE ViT-S/8", "2022-23", "71.4 M / - / -"),
    _Row("DINO ViT-B/8", "2021", "71.4 M / - / -"),
    _Row("DINO ViT-S/8", "2021", "69.9 M / - / -"),
    _Row("VFS R50", "2021", "69.5 / 67.0 / 72.0", note="68.9 in the paper"),
    _Row("VFS R18", "2021", "66.7 / 64.0 / 69.5"),
    _Row("CRW R18", "2020", "67.6 / 64.6 / 70.6"),
    _Row("MAST", "2019-20", "65.5 / - / -"),
    _Row("VINCE", "2019-20", "65.2 / - / -"),
    _Row("UVC", "2019-20", "60.9 / - / -"),
    _Row("CorrFlow", "2019-20", "50.3 / - / -"),
    _Row("TimeCycle", "2019-20", "48.7 / - / -"),
    _Row("XMem", "2021-22", "87.7 M / - / -", note="supervised ceiling", differs=_CEILING),
    _Row("STCN", "2021-22", "85.4 M / - / -", note="supervised ceiling", differs=_CEILING),
)

_PAIR, _POINT = ("PCK@0.1 pair",), ("PCK@0.1 point",)
_KEYPOINTS, _PSEUDO = "supervision: keypoints", "supervision: keypoints and pseudo-labels"
_DISTILL = "59.8 with a stricter threshold, not said for which"
_RECALL = ("correspondence recall",)

_SPAIR = _list(
    *("spair-71k", ("PCK@0.1 (averaging unverified)",), None, None),
    _Row("MARCO, SPair", "2026", "87.2", note=f"{_KEYPOINTS}; 27.0 (M) at 0.01, not said for which", metrics=_PAIR),
    _Row("MARCO, AP-10k + SPair", "2026", "87.3", note=_KEYPOINTS, metrics=_PAIR),
    _Row("GeoAware-SC, supervised", "2024", "85.6", note=f"{_KEYPOINTS}; averaging presumably point"),
    _Row("GeoAware-SC, zero-shot", "2024", "65.4", note="no supervision; averaging presumably point"),
    _Row("DINOv2, fine-tuned baseline (TPAMI 2025)", "2025", "85.1", note=_KEYPOINTS),
    _Row("SimpleMatch", "2026", "84.1", note=_KEYPOINTS),
    _Row("DIY-SC, IN3D pre-trained", "2025", "75.1 M", note="pseudo-labels and coarse pose", metrics=_POINT),
    _Row("DIY-SC, SPair only", "2025", "74.4 M", note="pseudo-labels and coarse pose", metrics=_POINT),
    _Row("DistillDIFT, weak", "2025", "70.6 M", note=f"weak supervision; {_DISTILL}", metrics=_POINT),
    _Row("DistillDIFT, unsupervised", "2025", "65.1 M", note=f"no supervision; {_DISTILL}", metrics=_POINT),
    _Row("TLR", "2024", "69.6 M", note="supervision: left-right labels", metrics=_POINT),
    _Row("SphMap", "2024", "67.8 M", note="supervision: weak 3-D", metrics=_POINT),
    _Row("Shape-of-You", "2026", "67.9 M", note="no supervision (geometry model)"),
    _Row("ASIC, in Shape-of-You's table", "", "36.9 M"),
    _Row("SD + DINOv2, in Shape-of-You's table", "2023", "63.5", note="no supervision"),
    _Row("SD + DINOv2", "2023", "64.0 M", note="no supervision", metrics=_POINT),
    _Row("DINOv2, nearest neighbour", "2023", "55.7-56.1 M", note="no supervision; averaging mixed"),
    _Row("DINOv3 S", "2025", "50.4", note="not PCK", metrics=_RECALL),
    _Row("DINOv3 S+", "2025", "55.2", note="not PCK", metrics=_RECALL),
    _Row("DINOv3 B", "2025", "57.2", note="not PCK", metrics=_RECALL),
    _Row("DINOv3 L", "2025", "61.3", note="not PCK", metrics=_RECALL),
    _Row("DINOv3 H+", "2025", "56.3", note="not PCK", metrics=_RECALL),
    _Row("DINOv3 7B", "2025", "58.7", note="not PCK", metrics=_RECALL),
    _Row("SCorrSAN", "2022", "55.3", note=f"{_PSEUDO}; averaging presumably pair"),
    _Row("SemiMatch", "2022", "50.7 M", note=f"{_PSEUDO}; averaging presumably pair"),
    _Row("CATs, backbone tuned", "2021", "49.9", note=_KEYPOINTS, metrics=_PAIR, protocol="cats-spair"),
    _Row("CATs, backbone frozen", "2021", "42.4", note=_KEYPOINTS, metrics=_PAIR, protocol="cats-spair"),
)

_SPAIR_U = _list(
    *("spair-u", ("PCK (alpha and averaging not stated)",), None, None),
    _Row("MARCO, SPair", "2026", "67.5", note=_KEYPOINTS),
    _Row("MARCO, AP-10k + SPair", "2026", "69.7", note=_KEYPOINTS),
    _Row("MARCO without self-distillation", "2026", "41.8 M", note=_KEYPOINTS),
    _Row("Jamais Vu", "2025", "62.4 M", note="supervision: keypoints and depth"),
)

_PF = tuple(f"PCK@{alpha} (averaging not stated)" for alpha in (0.05, 0.1, 0.15))
_PF_PASCAL = _list(
    *("pf-pascal", _PF, None, None),
    _Row("SCorrSAN", "2022", "81.5 / 93.3 / 96.6", note=_PSEUDO),
    _Row("SemiMatch", "2022", "- / 93.5 M / -", note=_PSEUDO),
    _Row("CATs, backbone tuned", "2021", "75.4 / 92.6 / 96.4", note=_KEYPOINTS),
    _Row("CATs, backbone frozen", "2021", "67.5 / 89.1 / 94.9", note=_KEYPOINTS),
)
_PF_WILLOW = _list(
    *("pf-willow", _PF, "pf-willow-padded", None),
    _Row("SCorrSAN", "2022", "54.1 / 80.0 / 89.8", note=_PSEUDO),
)

PUBLISHED: tuple[Published, ...] = (
    *(*_DAVIS_FIRST, *_DAVIS_STRIDED, *_KINETICS, *_STACKING, *_ROBOTAP, *_STRIDED),
    *(*_BADJA, *_JHMDB, *_DAVIS_2017, *_SPAIR, *_SPAIR_U, *_PF_PASCAL, *_PF_WILLOW),
)
"""In the order of each benchmark's list."""
