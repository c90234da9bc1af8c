from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import samepoint
from samepoint.errors import InputError
from samepoint.structures import Matches

NAN = np.nan


def of(**changes) -> Matches:
    values = {
        "source_xy": [[1, 2], [3, 4]],
        "target_xy": [[5, 6], [NAN, NAN]],
        "confidence": [0.5, 0.49],
        "source_size": (10, 20),
        "target_size": (30, 40),
    }
    return Matches(**(values | changes))


def test_what_is_found_follows_from_confidence() -> None:
    matches = of(names=("nose", "tail"), source="a.jpg", target="b.jpg")
    assert matches.found.tolist() == [True, False]
    assert (len(matches), matches.names, matches.source, matches.target) == (2, ("nose", "tail"), "a.jpg", "b.jpg")
    assert {array.dtype for array in (matches.source_xy, matches.target_xy, matches.confidence)} == {np.dtype("f4")}
    assert of().names == ("0", "1")
    with pytest.raises(dataclasses.FrozenInstanceError):
        matches.source = "c.jpg"  # type: ignore[misc]
    assert len(of(source_xy=np.zeros((0, 2)), target_xy=np.zeros((0, 2)), confidence=[])) == 0
    assert samepoint.Matches is Matches


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"source_xy": [1, 2]}, "(N, 2)"),
        ({"source_xy": [[1, NAN], [3, 4]]}, "source_xy must be finite"),
        ({"target_xy": [[5, 6]]}, "target_xy must have the shape (2, 2)"),
        ({"target_xy": [[5, 6], [NAN, 1]]}, "NaN in both"),
        ({"target_xy": [[5, np.inf], [1, 1]]}, "finite"),
        ({"target_xy": [[NAN, NAN], [1, 1]]}, "point 0: found"),
        ({"confidence": [0.5]}, "confidence must have the shape (2,)"),
        ({"confidence": [0.5, 1.1]}, "0..1"),
        ({"confidence": [0.5, NAN]}, "0..1"),
        ({"source_size": (0, 3)}, "at least (1, 1)"),
        ({"target_size": 3}, "two whole numbers"),
        ({"names": ("a",)}, "2 points need 2 names"),
        ({"source": "a\nb"}, "control character"),
        ({"source": "b\udce4d.png"}, "is not UTF-8"),
    ],
)
def test_what_does_not_fit_is_refused(changes: dict, said: str) -> None:
    with pytest.raises(InputError) as error:
        of(**changes)
    assert said in str(error.value)
