"""How points are followed for a benchmark: at which size, by which method, under which name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from samepoint.correspondence import Window
from samepoint.datasets.frames import resize_frames
from samepoint.errors import InputError
from samepoint.evaluation.benchmarks.base import Model, plain
from samepoint.evaluation.names import PROPAGATION
from samepoint.evaluation.predictions import Arrays
from samepoint.geometry import Lattice, read_peak_published
from samepoint.structures import Queries
from samepoint.tracking import PropagatedPoints, PropagationSettings, track
from samepoint.tracking.points import SUPPORT
from samepoint.tracking.quality import QUALITIES, Quality, Search, named_search, searched_points
from samepoint.tracking.ring import RADIUS
from samepoint.tracking.tracker import Method

Family = Literal["tapvid", "badja", "jhmdb"]

QUALITY: Quality = "balanced"
"""Of the default tracker."""


@dataclass(frozen=True)
class PointSettings:
    """How the points of one benchmark are followed."""

    name: str
    size: tuple[int, int] | None
    """(H, W) that frames are resized to before anything else; None keeps their own."""
    short_side: int | None = None
    """Working resolution of the tracker."""
    filter: Literal["lanczos", "bilinear"] = "bilinear"
    stride: int | None = None
    """Of the map that labels are propagated on; None is the finest."""
    propagation: PropagationSettings | None = None
    """None follows with the default tracker."""
    labels: Literal["centred", "spanning", "crw"] = "centred"
    """Where labels are put and read: where the network's cells are centred; as if cells spanned the picture like large
    pixels; or CRW's way, see :class:`CrwPoints`."""
    search: Search = "full"
    """Of label propagation, already in ``propagation``."""
    alone: bool = False
    """What the default tracker says of a query does not depend on the others: a rule of TAP-Vid."""

    def describe(self) -> dict[str, Any]:
        """As JSON can say it."""
        facts = asdict(self)
        if self.search == "full":
            del facts["search"]
        if self.alone:
            facts["support"] = SUPPORT
        else:
            del facts["alone"]
        if self.propagation is None:
            chosen = QUALITIES[QUALITY]
            points = "any" if self.alone else chosen.ring_points
            rings = {"followers": chosen.ring, "points": points, "radius": RADIUS, "support": SUPPORT}
            facts |= {"quality": QUALITY, "refine": asdict(chosen.refine), "ring": rings}
        else:
            kept = asdict(self.propagation)
            del kept["level"]  # said by the stride
            facts["propagation"] = {**kept, "dtype": str(self.propagation.dtype).removeprefix("torch.")}
        return plain(facts)

    def method(self, network: nn.Module) -> Method:
        """What carries the points.

        Raises:
            InputError: the network has no map of that stride.
        """
        lattices: Sequence[Lattice] = network.lattices  # type: ignore[assignment]
        assert self.propagation is not None
        level = len(lattices) - 1
        if self.stride is not None:
            strides = [lattice.stride for lattice in lattices]
            if self.stride not in strides:
                known = ", ".join(map(str, strides))
                raise InputError(f"{self.name}: wants a map of stride {self.stride}; the model has {known}")
            level = strides.index(self.stride)
        settings = replace(self.propagation, level=level)
        if self.labels == "crw":
            return CrwPoints(lattices, settings)
        if self.labels == "spanning":
            lattices = [Lattice(lattice.stride, lattice.stride / 2) for lattice in lattices]
        return PropagatedPoints(lattices, settings)


class CrwPoints(PropagatedPoints):
    """CRW's (NeurIPS 2020): the memory is full from the start, with copies of the query frame; cells are read as cells.

    While copies are in it, the ``topk`` largest affinities are to few different cells.
    """

    def add(self, maps: tuple[Tensor, ...], xy: Tensor) -> None:
        super().add(maps, xy)
        group = self.groups[-1]
        group.recent.extend([group.first] * self.settings.context)

    def read(self, labels: Tensor) -> tuple[Tensor, Tensor]:
        cells = read_peak_published(labels, self.settings.read_count)
        return self.lattice.to_pixels(cells), labels.flatten(1).amax(dim=1)


_SIZES: dict[Family, tuple[int, int] | None] = {"tapvid": (256, 256), "badja": (320, 512), "jhmdb": None}
_PUBLISHED = PropagationSettings(read_out="published")
# A label of 4 pixels in a clip of 320x240, made square: 4.7 on average over the two axes.
_JOINTS = replace(_PUBLISHED, sigma=4.7)
_SPA = replace(_JOINTS, context=20, window=Window.square(5))
_SQUARE = (320, 320)

PUBLISHED: dict[tuple[str, Family], PointSettings] = {
    ("fgvc", "tapvid"): PointSettings("fgvc", (256, 256), propagation=_PUBLISHED),
    ("fgvc", "badja"): PointSettings("fgvc", (320, 512), propagation=_PUBLISHED),
    ("fgvc", "jhmdb"): PointSettings("fgvc", _SQUARE, propagation=_JOINTS, labels="spanning"),
    ("crw", "jhmdb"): PointSettings(
        "crw",
        _SQUARE,
        stride=8,
        propagation=replace(
            _PUBLISHED,
            context=20,
            window=Window.circle(12),
            first_window=Window.everywhere(),
            temperature=0.05,
            sigma=4.0,
            read_count=3,
        ),
        labels="crw",
    ),
    ("spa-then-temp", "jhmdb"): PointSettings("spa-then-temp", _SQUARE, stride=8, propagation=_SPA, labels="spanning"),
    ("spa-then-temp-stride4", "jhmdb"): PointSettings(
        "spa-then-temp-stride4",
        _SQUARE,
        stride=4,
        propagation=replace(_SPA, window=Window.square(12)),
        labels="spanning",
    ),
}
"""Published settings (FGVC, ICCV 2023; CRW, NeurIPS 2020; Spa-then-Temp, CVPR 2023).

Memory, window, top-k, temperature and size are theirs. What differs: in JHMDB they draw labels on the clip's own pixels
around whole-numbered centres and read them there; here both happen on the square working grid, without rounding. CRW
gives no memory and window for joints, its own for masks are used. FGVC reports every point as occluded; here a point
counts as visible where the peak of its map is 0.5 or more.
"""


def point_settings(name: str | None, family: Family, network_is_ours: bool, search: str | None = None) -> PointSettings:
    """The settings of a name; by default ours for networks of ours, FGVC's for others.

    Raises:
        InputError: nothing was published under that name for the benchmark, or these settings leave no choice of
            ``search``.
    """
    name = name or ("samepoint" if network_is_ours else "fgvc")
    if name in ("samepoint", PROPAGATION):
        refined = network_is_ours and name == "samepoint"
        if refined and search is not None:
            raise InputError(
                f"--search {search}: of label propagation, and {name} follows points by the model's refiner; "
                f"add --protocol {PROPAGATION}"
            )
        how = named_search(search or "full")
        return PointSettings(
            name,
            _SIZES[family],
            480,
            "lanczos" if family == "tapvid" else "bilinear",
            propagation=None if refined else searched_points(PropagationSettings(), how),
            search=how,
            alone=refined and family == "tapvid",
        )
    if (name, family) not in PUBLISHED:
        known = ", ".join(["samepoint", PROPAGATION, *(key[0] for key in PUBLISHED if key[1] == family)])
        raise InputError(f"--protocol {name}: no settings for following points in this benchmark; there are {known}")
    if search not in (None, "full"):
        raise InputError(f"--search {search}: {name} looks through its whole window, as published")
    return PUBLISHED[name, family]


def check_follower(settings: PointSettings, model: Model) -> None:
    """Load the network. Raises InputError where it cannot follow points in this way."""
    network = model.video_network
    if settings.propagation is not None:
        settings.method(network)


def follow(
    frames: NDArray[np.uint8],
    query_frame: NDArray[np.int64],
    query_xy: NDArray[Any],
    settings: PointSettings,
    model: Model,
    *,
    backward: bool = False,
) -> Arrays:
    """Follow N points through frames (T, H, W, 3) that have the settings' size already, or none.

    A query outside the picture is followed from the nearest place inside, and its answer moved by the difference; a
    query that is not a number is not followed.

    Returns:
        ``xy`` float32 (N, T, 2) pixels of the frames given, ``confidence`` float32 (N, T).
    """
    height, width = frames.shape[1:3]
    asked = np.isfinite(query_xy).all(axis=1)
    xy = np.full((len(query_xy), len(frames), 2), np.nan, np.float32)
    confidence = np.zeros(xy.shape[:2], np.float32)
    if asked.any():
        points = np.asarray(query_xy, np.float32)[asked]
        inside = np.clip(points, 0.5, [width - 0.5, height - 0.5]).astype(np.float32)
        tracks = track(
            frames,
            Queries(frame=np.asarray(query_frame, np.int64)[asked], xy=inside),
            model=model.network,
            method=None if settings.propagation is None else settings.method,
            quality=QUALITY,
            backward=backward,
            alone=settings.alone,
            short_side=settings.short_side,
            device=model.device,
            dtype=model.dtype,
        )
        xy[asked], confidence[asked] = tracks.xy + (points - inside)[:, None], tracks.confidence
    return {"xy": xy, "confidence": confidence}


def resized(frames: NDArray[np.uint8], settings: PointSettings) -> NDArray[np.uint8]:
    """Frames at the settings' size."""
    if settings.size is None or frames.shape[1:3] == settings.size:
        return frames
    return resize_frames(frames, settings.size, settings.filter)
