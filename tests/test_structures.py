from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from samepoint.errors import InputError
from samepoint.structures import Queries, Tracks, Video

NAN = np.nan


class TestQueries:
    def test_at_takes_one_frame_or_one_each(self) -> None:
        queries = Queries.at([(1, 2), (3.5, 4)], frame=7)
        assert queries.frame.tolist() == [7, 7]
        assert (queries.frame.dtype, queries.xy.dtype) == (np.int64, np.float32)
        assert queries.xy.tolist() == [[1, 2], [3.5, 4]]
        assert queries.name is None
        assert Queries.at(np.ones((2, 2)), frame=[3, 4], name=["a", "b"]).name == ("a", "b")
        assert Queries.at(np.ones((2, 2)), frame=[3, 4]).frame.tolist() == [3, 4]

    def test_empty(self) -> None:
        assert (len(Queries.at([])), Queries.at([]).xy.shape) == (0, (0, 2))
        assert len(Queries.concat([])) == 0

    def test_of_takes_what_has_no_frame(self) -> None:
        queries = Queries.at([(1, 2)], 3)
        assert Queries.of(queries) is queries
        for points in ([(1, 2), (3, 4)], np.array([[1, 2], [3, 4]])):
            assert (Queries.of(points).xy.tolist(), Queries.of(points).frame.tolist()) == ([[1, 2], [3, 4]], [0, 0])
        assert len(Queries.of([])) == 0
        for wrong in ((1, 2), 5, [[1, 2, 3]], None):
            with pytest.raises(InputError, match=r"points must be \(N, 2\), one row for each point"):
                Queries.of(wrong)
        with pytest.raises(InputError, match="points"):
            Queries.of("abc")

    def test_grid_is_centred_in_its_cells(self) -> None:
        grid = Queries.grid(3, size=(30, 60), frame=2)
        assert len(grid) == 9
        assert grid.xy[0].tolist() == [10, 5]
        assert grid.xy[1].tolist() == [30, 5]
        assert grid.xy[-1].tolist() == [50, 25]
        assert set(grid.frame.tolist()) == {2}

    def test_concat(self) -> None:
        both = Queries.concat([Queries.at([(1, 2)], 3), Queries.at([(4, 5)], 6, name=["eye"])])
        assert (both.frame.tolist(), both.xy.tolist(), both.name) == ([3, 6], [[1, 2], [4, 5]], ("", "eye"))

    def test_frozen(self) -> None:
        with pytest.raises(dataclasses.FrozenInstanceError):
            Queries.at([(1, 2)]).xy = np.zeros((1, 2))  # type: ignore[misc]

    @pytest.mark.parametrize(
        ("frame", "xy", "name", "message"),
        [
            ([0], [(1, 2, 3)], None, "shape"),
            ([0, 1], [(1, 2)], None, "shape"),
            ([0], [(NAN, 2)], None, r"point 0 \(x=nan, y=2\) is not finite"),
            ([0, 0], [(1, 2), (1, np.inf)], None, "point 1"),
            ([0], [(1e39, 0)], None, "not finite"),
            ([-3], [(1, 2)], None, "point 0: frame -3 is not a whole number of 0 or more"),
            ([0.5], [(1, 2)], None, "frame 0.5"),
            ([NAN], [(1, 2)], None, "frame nan"),
            ([2**60], [(1, 2)], None, "whole number"),
            (["x"], [(1, 2)], None, "frame"),
            ([0], [("a", "b")], None, "query xy"),
            ([0], [(1, 2)], ("a", "b"), "1 points need 1 names, got 2"),
            ([0], [(1, 2)], "a", "single string"),
            ([0], [(1, 2)], ("a\nb",), "control character"),
        ],
    )
    def test_wrong_content(self, frame: object, xy: object, name: object, message: str) -> None:
        with pytest.raises(InputError, match=message):
            Queries(frame, xy, name)  # type: ignore[arg-type]

    def test_grid_of_nothing(self) -> None:
        with pytest.raises(InputError, match="at least 1"):
            Queries.grid(0, (4, 4))

    def test_check(self) -> None:
        Queries.at([(0, 0), (854, 480)], frame=89).check((480, 854), 90)
        Queries.at([(0, 0)], frame=1000).check((480, 854))
        with pytest.raises(InputError, match=r"point 1 \(x=900, y=20\) lies outside the 854x480 frame"):
            Queries.at([(1, 1), (900, 20)]).check((480, 854), 90)
        for x, y in [(-0.1, 5), (5, -0.1), (854.1, 5), (5, 480.1)]:
            with pytest.raises(InputError, match="outside"):
                Queries.at([(x, y)]).check((480, 854))
        with pytest.raises(InputError, match=r"point 0: frame 90, but the video has 90 frames \(0\.\.89\)"):
            Queries.at([(1, 1)], frame=90).check((480, 854), 90)


def _tracks(**changes: object) -> Tracks:
    values: dict[str, object] = {
        "xy": [[[NAN, NAN], [1, 2], [3, 4]]],
        "visible": [[False, True, False]],
        "confidence": [[0, 0.5, 0.25]],
        "fps": 30,
        "size": (10, 20),
    }
    return Tracks(**{**values, **changes})  # type: ignore[arg-type]


class TestTracks:
    def test_fields(self) -> None:
        tracks = _tracks()
        assert (tracks.xy.dtype, tracks.visible.dtype, tracks.confidence.dtype) == (np.float32, bool, np.float32)
        assert (len(tracks), tracks.frames, tracks.fps, tracks.size, tracks.names) == (1, 3, 30.0, (10, 20), ("0",))
        assert _tracks(names=["nose"]).names == ("nose",)

    def test_from_confidence(self) -> None:
        tracks = Tracks.from_confidence(np.zeros((1, 3, 2)), [[0.49, 0.5, 1]], 25, (4, 4), ["a"])  # type: ignore[arg-type]
        assert tracks.visible.tolist() == [[False, True, True]]
        assert Tracks.from_confidence(
            np.zeros((1, 2, 2)), np.array([[True, False]]), 25, (4, 4)
        ).confidence.tolist() == [[1, 0]]

    def test_empty(self) -> None:
        empty = Tracks.from_confidence(np.zeros((0, 7, 2)), np.zeros((0, 7)), 25, (4, 4))
        assert (len(empty), empty.frames, empty.names) == (0, 7, ())

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"xy": np.zeros((1, 3))}, r"shape \(N, T, 2\)"),
            ({"xy": np.zeros((1, 4, 2))}, "shape"),
            ({"visible": [[False, True]]}, "visible must have the shape"),
            ({"visible": [[False, 2, False]]}, "visible"),
            ({"confidence": [[0, 1.5, 0]]}, r"0\.\.1"),
            ({"confidence": [[0, NAN, 0]]}, r"0\.\.1"),
            ({"confidence": [[0, 0.4, 0]]}, "point 0, frame 1: visible is True at confidence 0.4"),
            ({"confidence": [[0, 0.5, 0.9]]}, "point 0, frame 2: visible is False"),
            ({"xy": [[[NAN, 1], [1, 2], [3, 4]]]}, "NaN in both"),
            ({"xy": [[[np.inf, 1], [1, 2], [3, 4]]]}, "finite"),
            ({"xy": [[[1, 1], [NAN, NAN], [3, 4]]]}, "point 0, frame 1: visible but without a position"),
            ({"fps": 0}, "fps"),
            ({"fps": "x"}, "fps"),
            ({"size": (0, 4)}, "size"),
            ({"size": 4}, "size"),
            ({"size": (1, 2, 3)}, "size"),
            ({"names": ("a", "b")}, "names"),
            ({"xy": np.zeros((1, 0, 2)), "visible": [[]], "confidence": [[]]}, "at least one frame"),
        ],
    )
    def test_wrong_content(self, changes: dict[str, object], message: str) -> None:
        with pytest.raises(InputError, match=message):
            _tracks(**changes)

    def test_tapvid_by_hand(self) -> None:
        sample = _tracks().to_tapvid()
        assert sample["points"].tolist() == [[[0, 0], [1 / 20, 2 / 10], [3 / 20, 4 / 10]]]
        assert sample["occluded"].tolist() == [[True, False, True]]
        back = Tracks.from_tapvid(sample["points"], sample["occluded"], size=(10, 20), fps=30)
        assert back.xy.tolist() == [[[0, 0], [1, 2], [3, 4]]]
        assert back.confidence.tolist() == [[0, 1, 0]]
        with pytest.raises(InputError, match="TAP-Vid points"):
            Tracks.from_tapvid(np.zeros((1, 2)), np.zeros((1, 2)), size=(1, 1))

    def test_dataframe(self) -> None:
        pytest.importorskip("pandas")
        table = _tracks(names=["nose"]).to_dataframe()
        assert list(table.columns) == ["point", "name", "frame", "time", "x", "y", "visible", "confidence"]
        assert table["time"].tolist() == pytest.approx([0, 1 / 30, 2 / 30])
        assert table["x"].isna().tolist() == [True, False, False]
        assert table.loc[2, ["point", "name", "x", "y", "visible"]].tolist() == [0, "nose", 3, 4, False]


def test_looking_at_the_truth_of_a_video_does_not_count_its_frames() -> None:
    class Uncounted(np.ndarray):
        def __len__(self) -> int:
            raise AssertionError("counted")

    video = Video(np.zeros((2, 3, 4, 3), np.uint8).view(Uncounted))
    assert video
