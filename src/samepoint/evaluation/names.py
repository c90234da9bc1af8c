"""Which protocol names stand for prediction settings and which for a way of scoring; costs no import of PyTorch."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

from samepoint.errors import InputError

PROPAGATION = "propagation"
"""Of points: label propagation with our settings, by any network, in place of a refiner."""

SETTINGS = ("samepoint", PROPAGATION, "fgvc", "crw", "spa-then-temp", "spa-then-temp-stride4")
"""How predictions are made: ours, and published memory, window, top-k, temperature and size."""

SEARCHES = ("full", "coarse-to-fine")
"""How label propagation looks for matches, where nothing published says it."""

CONSENSUS = "consensus"
"""Of pairs of pictures: a matcher around any network, untrained; neighbours decide together."""

_TAPVID = ("tapvid", "tapvid-track", "tapvid-pooled")

SCORING: dict[str, tuple[str, ...]] = {
    "tapvid-davis": _TAPVID,
    "tapvid-kinetics": _TAPVID,
    "tapvid-rgb-stacking": _TAPVID,
    "robotap": _TAPVID,
    "jhmdb": ("jhmdb-strict", "jhmdb-vfs", "jhmdb-crw", "jhmdb-tapnet", "jhmdb-dev", "jhmdb-dev-inside"),
    "badja": ("badja-pips", "badja-visible", "badja-3px", "badja-fgvc"),
    "davis-2016": ("davis2016",),
    "davis-2017": ("davis2017",),
    "spair-71k": ("spair", "cats-spair"),
    "spair-u": ("spair", "cats-spair"),
    "pf-pascal": ("pf-pascal", "pf-pascal-square224"),
    "pf-willow": ("pf-willow", "pf-willow-padded"),
}
"""Of each benchmark, the scoring protocols by name, the default first."""

NAMES = tuple(SCORING)
PAIRS = NAMES[-4:]
VIDEO_POINTS = NAMES[:4]
VIDEOS = NAMES[:-4]
DAVIS = ("davis-2016", "davis-2017")
RESOLUTIONS = ("480p", "full")
"""In which DAVIS is published."""


def check_benchmark(name: str) -> None:
    """Raise the InputError of an unknown benchmark, with the nearest name."""
    if name not in NAMES:
        near = get_close_matches(name.lower().replace("_", "-"), NAMES, n=1)
        hint = f"did you mean {near[0]}? All: " if near else "expected one of "
        raise InputError(f"no benchmark is called {name!r}; {hint}{', '.join(NAMES)}")


def split_protocols(benchmark: str, names: Sequence[str]) -> tuple[str | None, str | None]:
    """The prediction settings and the scoring protocol among ``names``, None where there is none.

    Raises:
        InputError: an unknown benchmark or name, or two of a kind.

    >>> split_protocols("badja", ["badja-visible", "fgvc"])
    ('fgvc', 'badja-visible')
    """
    check_benchmark(benchmark)
    scoring = SCORING[benchmark]
    settings = (*SETTINGS, CONSENSUS) if benchmark in PAIRS else SETTINGS
    kinds: dict[bool, str] = {}
    for name in names:
        if name not in settings and name not in scoring:
            known = (*((SETTINGS[0], CONSENSUS) if benchmark in PAIRS else settings), *scoring)
            near = get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}? All: " if near else "expected one of "
            raise InputError(f"--protocol {name}: unknown for {benchmark}; {hint}{', '.join(known)}")
        kind = name in settings
        if kind in kinds:
            what = "prediction settings" if kind else "scoring protocols"
            raise InputError(f"--protocol {kinds[kind]} and {name}: both are {what}; give one")
        kinds[kind] = name
    return kinds.get(True), kinds.get(False)
