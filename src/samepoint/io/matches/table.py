"""Tidy tables of matches, one row for every point and target: what CSV and pandas have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from samepoint.errors import MissingExtraError
from samepoint.structures import Matches

if TYPE_CHECKING:
    import pandas

COLUMNS = (
    *("target", "point", "name", "source_x", "source_y", "target_x", "target_y", "found", "confidence"),
    *("target_height", "target_width"),
)


def to_dataframe(pairs: Sequence[Matches]) -> pandas.DataFrame:
    """The table in pandas; NaN in target_x and target_y where there is not even a guess.

    Raises MissingExtraError without pandas.
    """
    try:
        import pandas as pd
    except ImportError:
        raise MissingExtraError("Matches.to_dataframe", "tables") from None
    counts = [len(matches) for matches in pairs]
    xy = [np.concatenate([getattr(matches, key) for matches in pairs]) for key in ("source_xy", "target_xy")]
    return pd.DataFrame(
        {
            "target": pd.Series([matches.target for matches in pairs for _ in range(len(matches))], dtype="str"),
            "point": np.concatenate([np.arange(count) for count in counts]),
            "name": pd.Series([name for matches in pairs for name in matches.names], dtype="str"),
            "source_x": xy[0][:, 0],
            "source_y": xy[0][:, 1],
            "target_x": xy[1][:, 0],
            "target_y": xy[1][:, 1],
            "found": np.concatenate([matches.found for matches in pairs]),
            "confidence": np.concatenate([matches.confidence for matches in pairs]),
            "target_height": np.repeat([matches.target_size[0] for matches in pairs], counts),
            "target_width": np.repeat([matches.target_size[1] for matches in pairs], counts),
        }
    )
