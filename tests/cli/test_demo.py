"""``samepoint demo``: pictures to look at and honest figures, or nothing."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from samepoint.cli import demo as module
from samepoint.cli.main import main
from samepoint.datasets.synthetic import Clip, ClipSettings, SyntheticClips
from samepoint.structures import Queries, Tracks, Video

FILES = ["clip.mp4", "tracks.csv", "tracks.mp4", "tracks.png"]


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> Clip:
    """A shorter, smaller clip in place of the real one."""
    clip = SyntheticClips(ClipSettings.clean(frames=5, size=(64, 96), layers=(1, 2), speed=(1.0, 2.0)), seed=1).clip(0)
    monkeypatch.setattr(module, "_clip", lambda: clip)
    return clip


def test_writes_pictures_and_measures_against_the_truth(folder: Path, short: Clip, still_tracker, capsys) -> None:
    def track(video: Video, queries: Queries, **options) -> Tracks:
        """The truth, moved by (3, 4) px after the first frame."""
        xy, visible = short.tracks(queries.xy, frame=0)
        xy[:, 1:] += (3.0, 4.0)
        return Tracks.from_confidence(xy, visible, video.fps, video.size)

    still_tracker.track = track
    assert main(["demo"]) == 0
    text = capsys.readouterr().out
    assert "median error 5.00 px; 0% of positions within 2 px, 100% within 8 px" in text
    assert "100% of the cases" in text
    assert sorted(path.name for path in (folder / "samepoint-demo").iterdir()) == FILES
    assert all(f"samepoint-demo/{name}" in text for name in FILES)
    for name in ("clip.mp4", "tracks.mp4"):
        with av.open(f"samepoint-demo/{name}") as container:
            stream = container.streams.video[0]
            assert (stream.width, stream.height, stream.frames, stream.average_rate) == (96, 64, 5, 24)
    with Image.open("samepoint-demo/tracks.png") as picture:
        assert np.asarray(picture).std() > 10
    assert Tracks.load("samepoint-demo/tracks.csv").frames == 5


def test_again_into_a_folder_that_is_there(folder: Path, short: Clip, still_tracker, capsys) -> None:
    (folder / "mine").mkdir()
    (folder / "mine" / "notes.txt").write_text("keep")
    (folder / "mine" / "tracks.csv").write_text("old")
    assert main(["demo", "-o", "mine", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["outputs"][0] == "mine/clip.mp4"
    assert 0 < answer["median_error"] < 20
    assert 0 <= answer["within_2_px"] <= answer["within_8_px"] <= 1
    assert (folder / "mine" / "notes.txt").read_text() == "keep"
    assert len(Tracks.load("mine/tracks.csv")) == answer["points"] == 100


@pytest.mark.parametrize(
    ("failure", "status"), [(OSError(errno.ENOSPC, "No space left on device"), 1), (KeyboardInterrupt(), 130)]
)
@pytest.mark.parametrize("stage", ["track", "save"])
def test_failures_leave_what_was_there(
    folder: Path, short: Clip, still_tracker, monkeypatch, capsys, failure, status: int, stage: str
) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise failure

    if stage == "track":
        still_tracker.track = fail
    else:
        monkeypatch.setattr(Tracks, "save", fail)
    assert main(["demo", "-o", "new/folder"]) == status
    assert not list(folder.iterdir())
    (folder / "old").mkdir()
    (folder / "old" / "tracks.png").write_text("old")
    assert main(["demo", "-o", "old"]) == status
    assert [path.read_text() for path in (folder / "old").iterdir()] == ["old"]
    assert capsys.readouterr().out == ""


def test_a_file_in_the_way(folder: Path, capfd) -> None:
    (folder / "taken").write_text("mine")
    for path in ("taken", "taken/demo"):
        assert main(["demo", "-o", path]) == 2
        assert capfd.readouterr().err.count("\n") == 1
    assert (folder / "taken").read_text() == "mine"


def test_the_real_demo(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    """The whole line on two seconds of the clip: the default model must be good on it. `.ci/run` has all three."""
    whole = module._clip
    monkeypatch.setattr(module, "_clip", lambda: whole(48))
    assert main(["demo", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["points"], answer["frames"]) == (100, 48)
    assert answer["median_error"] < 1.0
    assert answer["within_8_px"] > 0.9
    assert sorted(path.name for path in (folder / "samepoint-demo").iterdir()) == FILES
    tracks = Tracks.load("samepoint-demo/tracks.csv")
    assert tracks.size == (320, 480)
    assert 0.05 < 1 - tracks.visible.mean() < 0.5, "some of what it shows are occlusions"
