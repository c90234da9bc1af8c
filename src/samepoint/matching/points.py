"""``samepoint.match``: the same points in another picture, or in many."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, overload

import torch
from numpy.typing import ArrayLike

from ..errors import InputError
from ..structures import Matches, Queries
from .flip import carry_either_way
from .pair_model import Model, PairModel, as_pair_model
from .pictures import Picture, PictureSource, open_picture


@overload
def match(
    source: PictureSource,
    target: PictureSource,
    points: ArrayLike | Queries,
    *,
    model: Model | None = ...,
    mutual: float | None = ...,
    flip_test: bool = ...,
    device: torch.device | str | None = ...,
) -> Matches: ...
@overload
def match(
    source: PictureSource,
    target: list[Any] | tuple[Any, ...],
    points: ArrayLike | Queries,
    *,
    model: Model | None = ...,
    mutual: float | None = ...,
    flip_test: bool = ...,
    device: torch.device | str | None = ...,
) -> list[Matches]: ...
def match(
    source: PictureSource,
    target: PictureSource | list[Any] | tuple[Any, ...],
    points: ArrayLike | Queries,
    *,
    model: Model | None = None,
    mutual: float | None = None,
    flip_test: bool = False,
    device: torch.device | str | None = None,
) -> Matches | list[Matches]:
    """The same points in another picture: of the same thing, of another individual, of another species.

    Args:
        source: a path, a frame of a video (``"clip.mp4@12"``), an array uint8 RGB (H, W, 3) or grey (H, W), or an image
            of Pillow's. Files are taken as displayed: EXIF rotation applied.
        target: the same, or a list of them: then the source is encoded once, and a list comes back.
        points: (N, 2) x and y in pixels of the source, or ``Queries``, whose names are kept and frames are not looked
            at.
        model: a name of the weights table, a weight file, a network that gives features, or a :class:`PairModel`; by
            default the shipped matcher.
        mutual: how nearly a match must lead back to its point for a confidence of one half, as a share of the source's
            longer side; None: as the model has learnt, 0.1 where it has learnt nothing of it. Not for a
            :class:`PairModel`.
        flip_test: match with the mirrored target, too, and keep the one of the two that fits better: for things that
            may look the other way there, see :mod:`samepoint.matching.flip`.
        device: ``"cpu"``, ``"cuda"``, ...; the model's by default. Not for a :class:`PairModel`.

    Returns:
        For each point where it is in the target, in pixels of that, and the probability that it is there.

    Raises:
        InputError: no point, a point outside the source, points that are not (N, 2) numbers, a picture that cannot be
            read, an unknown model, ``mutual`` or ``device`` with a :class:`PairModel`.
    """
    several = isinstance(target, (list, tuple))
    chosen = as_pair_model(model, mutual=mutual, device=device)
    targets = target if isinstance(target, (list, tuple)) else [target]
    found = [matches for _, matches in match_each(source, targets, points, chosen, flip_test=flip_test)]
    return found if several else found[0]


def match_each(
    source: PictureSource,
    targets: Iterable[PictureSource],
    points: ArrayLike | Queries,
    model: PairModel,
    *,
    flip_test: bool = False,
) -> Iterator[tuple[Picture, Matches]]:
    """What :func:`match` does, one target at a time: the picture and where the points are in it.

    Targets without a name are called ``target 0``, ``target 1`` and so on. Raises what :func:`match` raises.
    """
    first = open_picture(source, "source")
    asked = as_points(points, first)
    names = names_of(asked)
    encoded = model.encode(first)
    for number, target in enumerate(targets):
        picture = open_picture(target, f"target {number}")
        carried = carry_either_way(model, encoded, first.size, picture, asked.xy, flip_test)
        yield (
            picture,
            Matches(
                asked.xy,
                carried.xy,
                carried.confidence,
                first.size,
                picture.size,
                names,
                first.name,
                picture.name,
            ),
        )


def names_of(queries: Queries) -> tuple[str, ...]:
    """What matches call the points: by their names, those without by their numbers from 0.

    >>> names_of(Queries.at([(1, 2), (3, 4)], name=["nose", ""]))
    ('nose', '1')
    """
    return tuple(name or str(number) for number, name in enumerate(queries.name or ("",) * len(queries)))


def as_points(points: ArrayLike | Queries, picture: Picture) -> Queries:
    """Points of a picture, checked: at least one, all within it."""
    queries = Queries.of(points)
    if not len(queries):
        raise InputError("no point to match")
    try:
        queries.check(picture.size)
    except InputError as error:
        raise InputError(f"{picture.name}: {str(error).replace(' frame ', ' picture ', 1)}") from None
    return queries
