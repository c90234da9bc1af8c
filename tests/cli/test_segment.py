"""``samepoint segment``: what it writes, that it goes on after an interruption, and what it refuses."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from samepoint.cli.main import main
from samepoint.correspondence import Window
from samepoint.io.masks import read_mask, write_mask
from samepoint.structures import Masks, Video
from samepoint.tracking import MASK_PROTOCOLS, MaskSettings, mask_folder
from samepoint.tracking.mask_tracker import MaskTracker
from tests.cli.conftest import FRAMES, SIZE
from tests.shared import shared_path
from tests.test_docs import ROOT, options
from tests.tracking.test_tracker import Pixels

STATE = ".segment-state.safetensors"


@pytest.fixture
def mask(folder: Path) -> Path:
    labels = np.zeros(SIZE, np.uint8)
    labels[10:30, 12:40] = 1
    labels[30:44, 44:60] = 3
    write_mask(folder / "mask.png", labels)
    return folder / "mask.png"


@pytest.fixture
def pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    """A network that costs nothing, at twice the clip's own size; its colours tell cells hardly apart."""
    monkeypatch.setattr("samepoint.models.features.load_features", lambda name: SimpleNamespace(network=Pixels()))
    for name, settings in MASK_PROTOCOLS.items():
        small = replace(settings, size=96, window=Window.circle(3), topk=5, fast_window=None, own_window=None)
        monkeypatch.setitem(MASK_PROTOCOLS, name, small)


def stop_at(monkeypatch: pytest.MonkeyPatch, frame: int, error: type[BaseException] = KeyboardInterrupt) -> None:
    """Break off in the middle of that frame, once."""
    step: Callable[..., np.ndarray] = MaskTracker.step

    def broken(self: MaskTracker, picture: np.ndarray) -> np.ndarray:
        labels = step(self, picture)
        if self.frame == frame:
            monkeypatch.setattr(MaskTracker, "step", step)
            raise error
        return labels

    monkeypatch.setattr(MaskTracker, "step", broken)


def labels_in(folder: Path) -> np.ndarray:
    return Masks.load(folder).labels


@pytest.mark.usefixtures("pixels")
class TestWriting:
    def test_a_palette_png_each_frame(self, clip: str, mask: Path, capsys) -> None:
        assert main(["segment", clip, "--mask", str(mask), "-o", "out/deep", "--render", "out/deep/seen.mp4"]) == 0
        out = capsys.readouterr().out
        assert f"2 objects followed through {FRAMES} frames of 64x48" in out
        folder = Path("out/deep")
        names = [f"{t:05d}.png" for t in range(FRAMES)]
        assert sorted(path.name for path in folder.iterdir()) == [*names, "seen.mp4", "segment.json"]
        with Image.open(folder / names[3]) as image:
            assert (image.mode, image.size) == ("P", (64, 48))
        assert (read_mask(folder / names[0]) == read_mask(mask)).all()
        assert len(Video(folder / "seen.mp4")) == FRAMES
        record = json.loads((folder / "segment.json").read_text())
        assert record["complete"]
        assert record["files"] == names
        assert record["made_with"]["settings"]["strides"] == [4]

    def test_names_of_a_folder_of_pictures(self, clip: str, mask: Path, capsys) -> None:
        Path("frames").mkdir()
        for t, frame in enumerate(Video(clip)):
            Image.fromarray(frame).save(f"frames/img{t + 7}.jpg")
        assert main(["segment", "frames", "--mask", str(mask), "-o", "out", "--json"]) == 0
        facts = json.loads(capsys.readouterr().out)
        assert (facts["objects"], facts["frames"], facts["frames_before"]) == ([1, 3], FRAMES, 0)
        assert (facts["width"], facts["height"], facts["outputs"]) == (64, 48, ["out"])
        assert sorted(path.name for path in Path("out").glob("*.png"))[:2] == ["img10.png", "img11.png"]
        for t in range(FRAMES):  # another video of the same names, size and length
            Image.fromarray(np.full((48, 64, 3), 40 * t, np.uint8)).save(f"frames/img{t + 7}.jpg")
        assert main(["segment", "frames", "--mask", str(mask), "-o", "out"]) == 2
        assert "out: its masks were made with bytes: " in capsys.readouterr().err

    def test_looks_of_untrained_features(self, clip: str, mask: Path) -> None:
        command = ["segment", clip, "--mask", str(mask), "-o", "out", "--appearance", "fgvc-untrained"]
        assert main(command) == 0
        assert json.loads(Path("out/segment.json").read_text())["made_with"]["companion"] == {"name": "fgvc-untrained"}

    def test_what_tells_objects_by_their_looks_is_told_and_kept(self, clip: str, mask: Path, capsys) -> None:
        command = ["segment", clip, "--mask", str(mask), "-o"]
        made = {}
        for choice, told in (("auto", "samepoint-match"), ("own", "own"), ("none", "none"), ("samepoint-base",) * 2):
            assert main([*command, choice, "--appearance", choice, "--json"]) == 0
            assert json.loads(capsys.readouterr().out)["appearance"] == told
            record = json.loads(Path(choice, "segment.json").read_text())["made_with"]
            assert record["settings"]["appearance"] == (0 if choice == "none" else 1)
            assert (record["companion"] or {}).get("name") == (told if told.startswith("samepoint") else None)
            made[choice] = labels_in(Path(choice))
        assert not all((made["none"] == labels).all() for labels in made.values())
        assert main([*command, "auto", "--appearance", "own"]) == 2
        assert "auto: its masks were made with companion: {'name': 'samepoint-match'" in capsys.readouterr().err
        assert main([*command, "crw", "--protocol", "crw", "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["appearance"] == "none"

    def test_looks_that_cannot_be(self, clip: str, mask: Path, capsys) -> None:
        for more, said in (
            (
                ["--protocol", "crw", "--appearance", "own"],
                "--appearance own: crw knows nothing of looks, as published",
            ),
            (["--appearance", "samepoint-bas"], "unknown model 'samepoint-bas'"),
        ):
            assert main(["segment", clip, "--mask", str(mask), "-o", "new", *more]) == 2
            assert said in capsys.readouterr().err
            assert not Path("new").exists()

    def test_masks_of_several_frames(self, clip: str, mask: Path) -> None:
        more = np.zeros(SIZE, np.uint8)
        more[0:8, 0:10] = 2
        write_mask("more.png", more)
        write_mask("also.png", np.where(more > 0, 0, np.roll(more, 30, axis=1)) * 2)
        command = ["segment", clip, "--mask", str(mask), "--mask", "more.png@3", "--mask", "also.png@3", "-o", "out"]
        assert main(command) == 0
        labels = labels_in(Path("out"))
        assert set(np.unique(labels[:3]).tolist()) == {0, 1, 3}
        assert set(np.unique(labels[3]).tolist()) == {0, 1, 2, 3, 4}
        assert (labels[3][more > 0] == 2).all()

    def test_the_search_is_told_and_kept(self, clip: str, mask: Path, capsys) -> None:
        command = ["segment", clip, "--mask", str(mask), "-o", "out"]
        assert main([*command, "--search", "coarse-to-fine", "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["search"] == "coarse-to-fine"
        told = json.loads(Path("out/segment.json").read_text())["made_with"]["settings"]
        assert (told["coarse"], told["fine_window"], told["matches"]) == (16, "square 4", 2)
        assert main(command) == 2
        assert "made with settings, coarse: 16, now it is None" in capsys.readouterr().err
        for more, said in (
            (["--protocol", "crw", "--search", "coarse-to-fine"], "crw looks through its whole window, as published"),
            (["--search", "fine"], "unknown search 'fine'; expected one of full, coarse-to-fine"),
        ):
            assert main([*command[:-1], "new", *more]) == 2
            assert said in capsys.readouterr().err
            assert not Path("new").exists()

    def test_coco(self, clip: str, folder: Path) -> None:
        polygon = {"segmentation": [[12, 10, 40, 10, 40, 30, 12, 30]]}
        Path("mask.json").write_text(json.dumps(polygon))
        assert main(["segment", clip, "--mask", "mask.json", "-o", "out"]) == 0
        assert (labels_in(Path("out"))[0, 10:30, 12:40] == 1).all()


@pytest.mark.usefixtures("pixels")
class TestGoingOn:
    @pytest.fixture
    def whole(self, clip: str, mask: Path) -> np.ndarray:
        assert main(["segment", clip, "--mask", str(mask), "-o", "whole"]) == 0
        return labels_in(Path("whole"))

    @pytest.mark.parametrize("frame", range(FRAMES))
    def test_after_ctrl_c_exactly(
        self, clip: str, mask: Path, whole: np.ndarray, frame: int, monkeypatch: pytest.MonkeyPatch, capsys
    ) -> None:
        command = ["segment", clip, "--mask", str(mask), "-o", "out", "--json"]
        stop_at(monkeypatch, frame)
        assert main(command) == 130
        assert len(list(Path("out").glob("*.png"))) == frame
        assert (Path("out") / STATE).exists() == (frame > 0)
        capsys.readouterr()
        assert main(command) == 0
        assert json.loads(capsys.readouterr().out)["frames_before"] == frame
        assert (labels_in(Path("out")) == whole).all()
        assert not (Path("out") / STATE).exists()

    def test_after_a_power_cut_from_the_last_state(
        self, clip: str, mask: Path, whole: np.ndarray, monkeypatch: pytest.MonkeyPatch, capsys
    ) -> None:
        monkeypatch.setattr(mask_folder, "EVERY", 2)
        command = ["segment", clip, "--mask", str(mask), "-o", "out", "--json"]
        stop_at(monkeypatch, 3)
        with monkeypatch.context() as patch:
            patch.setattr(mask_folder, "suppress", None)  # whatever is done at the end fails
            with pytest.raises(TypeError):
                main(command)
        assert main(command) == 0
        assert json.loads(capsys.readouterr().out)["frames_before"] == 2
        assert (labels_in(Path("out")) == whole).all()

    @pytest.mark.parametrize("damage", ["cut", "gone", "frame"])
    def test_a_state_that_does_not_serve_begins_anew(
        self, clip: str, mask: Path, whole: np.ndarray, damage: str, monkeypatch: pytest.MonkeyPatch, capsys
    ) -> None:
        command = ["segment", clip, "--mask", str(mask), "-o", "out", "--json"]
        stop_at(monkeypatch, 4)
        assert main(command) == 130
        state = Path("out") / STATE
        if damage == "cut":
            state.write_bytes(state.read_bytes()[:-9])
        elif damage == "gone":
            state.unlink()
        else:
            Path("out/00001.png").unlink()
        capsys.readouterr()
        assert main(command) == 0
        assert json.loads(capsys.readouterr().out)["frames_before"] == 0
        assert (labels_in(Path("out")) == whole).all()

    @pytest.mark.parametrize("frames", [1, 3, FRAMES - 1])
    def test_after_the_first_frames_exactly(
        self, clip: str, mask: Path, whole: np.ndarray, frames: int, capsys
    ) -> None:
        command = ["segment", clip, "--mask", str(mask), "-o", "out"]
        capsys.readouterr()
        assert main([*command, "--frames", str(frames), "--render", "seen.mp4"]) == 0
        assert f"{FRAMES - frames} are left, without --frames it goes on" in capsys.readouterr().out
        assert len(list(Path("out").glob("*.png"))) == len(Video("seen.mp4")) == frames
        assert main([*command, "--frames", "1", "--json"]) == 0
        said = json.loads(capsys.readouterr().out)
        assert (said["frames"], said["frames_before"], said["frames_left"]) == (frames, frames, FRAMES - frames)
        assert main([*command, "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["frames_before"] == frames
        assert (labels_in(Path("out")) == whole).all()
        assert not (Path("out") / STATE).exists()

    def test_more_frames_than_there_are(self, clip: str, mask: Path, whole: np.ndarray, capsys) -> None:
        assert main(["segment", clip, "--mask", str(mask), "-o", "out", "--frames", "999"]) == 0
        assert "left" not in capsys.readouterr().out
        assert (labels_in(Path("out")) == whole).all()

    def test_a_mask_beyond_the_first_frames_waits(self, clip: str, mask: Path) -> None:
        write_mask(mask.with_name("later.png"), np.full(SIZE, 7, np.uint8))
        command = ["segment", clip, "--mask", str(mask), "--mask", "later.png@4", "-o", "out"]
        assert main([*command, "--frames", "4"]) == 0
        assert 7 not in np.unique(labels_in(Path("out")))
        assert main(command) == 0
        assert (read_mask(Path("out/00004.png")) == 7).all()

    def test_what_is_done_is_not_done_again(self, clip: str, mask: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        command = ["segment", clip, "--mask", str(mask), "-o", "out"]
        assert main(command) == 0
        stop_at(monkeypatch, 0)
        assert main([*command, "--render", "seen.mp4"]) == 0
        assert Path("seen.mp4").exists()

    def test_a_setting_that_was_none_and_is_no_more_changes_nothing(self, clip: str, mask: Path, capfd) -> None:
        command = ["segment", clip, "--mask", str(mask), "-o", "out"]
        assert main(command) == 0
        record = json.loads(Path("out/segment.json").read_text())
        record["made_with"]["settings"]["gone"] = None
        Path("out/segment.json").write_text(json.dumps(record))
        assert main([*command, "--json"]) == 0
        assert json.loads(capfd.readouterr().out.splitlines()[-1])["frames_before"] == FRAMES

    def test_other_settings_ask_for_overwrite(self, clip: str, mask: Path, capfd) -> None:
        command = ["segment", clip, "--mask", str(mask), "-o", "out"]
        assert main(command) == 0
        before = labels_in(Path("out"))
        assert main([*command, "--protocol", "spa-then-temp"]) == 2
        said = capfd.readouterr().err
        assert "out: its masks were made with settings, strides: [4], now it is [8]" in said
        assert "--overwrite" in said
        labels = read_mask(mask)
        labels[40:, :10] = 9
        write_mask(mask, labels)
        assert main(command) == 2
        assert "made with masks, 0:" in capfd.readouterr().err
        assert (labels_in(Path("out")) == before).all()
        assert main([*command, "--overwrite"]) == 0
        assert 9 in np.unique(labels_in(Path("out")))

    def test_overwrite_removes_what_the_earlier_run_wrote_and_nothing_else(self, clip: str, mask: Path) -> None:
        Path("frames").mkdir()
        for t, frame in enumerate(Video(clip)):
            Image.fromarray(frame).save(f"frames/img{t}.jpg")
        assert main(["segment", "frames", "--mask", str(mask), "-o", "out"]) == 0
        Path("out/mine.png").write_bytes(b"mine")
        assert main(["segment", clip, "--mask", str(mask), "-o", "out", "--overwrite"]) == 0
        names = [*(f"{t:05d}.png" for t in range(FRAMES)), "mine.png", "segment.json"]
        assert sorted(path.name for path in Path("out").iterdir()) == names

    def test_pictures_of_others_are_not_replaced(self, clip: str, mask: Path, capfd) -> None:
        Path("out").mkdir()
        Path("out/00002.png").write_bytes(b"mine")
        command = ["segment", clip, "--mask", str(mask), "-o", "out"]
        assert main(command) == 2
        assert "out/00002.png: is there already; choose another folder, or --overwrite" in capfd.readouterr().err
        assert [path.name for path in Path("out").iterdir()] == ["00002.png"]
        Path("out/segment.json").write_text("{}")
        assert main(command) == 2
        assert "segment.json: damaged, or not written by this command" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "nothing to follow: give at least one --mask FILE[@FRAME]"),
        (["--mask", "none.png"], "none.png: no such file"),
        (["--mask", "mask.jpg"], "mask.jpg: unknown kind of mask '.jpg'"),
        (["--mask", "small.png"], "small.png: is 5x4, but the frames are 64x48"),
        (["--mask", "empty.png"], "empty.png: no object in this mask; it is all background"),
        (["--mask", "deep.png"], "deep.png: label 300; objects have the labels 1 to 254"),
        (["--mask", "mask.png", "--frames", "0"], "--frames 0: expected at least 1 frame"),
        (["--mask", "mask.png@3", "--frames", "3"], "--frames 3: leaves out the first mask, which is of frame 3"),
        (["--mask", "mask.png@6"], "mask.png: frame 6, but the video has 6 frames (0..5)"),
        (["--mask", "mask.png@-1"], "--mask mask.png@-1: frames count from 0, -1 is negative"),
        (["--mask", "mask.png", "--mask", "mask.png"], "object 1 is in another mask of frame 0, too"),
        (["--mask", "mask.png", "--render", "x.avi"], "--render x.avi: unknown suffix '.avi', expected .mp4"),
        (["--mask", "mask.png", "--render", "no/x.mp4"], "cannot write no/x.mp4: there is no folder no"),
        (
            ["--mask", "mask.png", "--protocol", "nobody"],
            "unknown protocol 'nobody' of masks; expected one of samepoint",
        ),
        (["--mask", "mask.png", "--model", "nobody"], "unknown model 'nobody'"),
        (["--mask", "mask.png", "--device", "nowhere"], "--device nowhere: cannot be used here"),
        (["--mask", "mask.png", "-o", "mask.png"], "mask.png: is a file; expected a folder or a new name"),
        (["--mask", "mask.png", "-o", "."], ".: holds the pictures that are read, which would be overwritten"),
    ],
)
def test_bad_input_is_one_line(clip: str, mask: Path, capfd, arguments: list[str], said: str) -> None:
    write_mask("small.png", np.ones((4, 5), np.uint8))
    write_mask("empty.png", np.zeros(SIZE, np.uint8))
    Image.fromarray(np.full(SIZE, 300, np.uint16)).save("deep.png")
    before = sorted(Path().iterdir())
    output = [] if "-o" in arguments else ["-o", "out"]
    assert main(["segment", clip, *arguments, *output]) == 2
    err = capfd.readouterr().err
    assert said in err
    assert err.count("\n") == 1
    assert sorted(Path().iterdir()) == before


def test_live_sources_and_frames_are_refused(clip: str, mask: Path, capfd) -> None:
    assert main(["segment", "0", "--mask", str(mask), "-o", "out"]) == 2
    assert "camera 0 is live" in capfd.readouterr().err
    Path("frames").mkdir()
    Image.fromarray(np.zeros((*SIZE, 3), np.uint8)).save("frames/a.png")
    assert main(["segment", "frames", "--mask", str(mask), "-o", "frames"]) == 2
    assert "frames: holds the pictures that are read" in capfd.readouterr().err


def test_a_file_may_have_an_at_in_its_name(clip: str, mask: Path, pixels: None) -> None:
    mask.rename("mask.png@2")
    assert main(["segment", clip, "--mask", "mask.png@2", "-o", "out"]) == 2  # the suffix is not known
    Path("mask.png@2").rename("a@2.png")
    assert main(["segment", clip, "--mask", "a@2.png", "-o", "out"]) == 0


def test_the_guide_names_every_option_setting_and_protocol() -> None:
    text = (ROOT / "docs" / "segment.md").read_text()
    assert set(re.findall(r"(?<=`)--?[a-z-]+", "".join(re.findall(r"^\| `-.*? \|.*", text, re.MULTILINE)))) == options(
        "segment"
    )
    for setting in dataclasses.fields(MaskSettings):
        assert f"| `{setting.name}` |" in text
    for name, settings in MASK_PROTOCOLS.items():
        row = re.search(rf"^\| `{name}` \| (\d+) \| (\d+) \| [^|]* \| (\d+), ([\d.]+) \|", text, re.MULTILINE)
        assert row is not None, name
        said = (settings.strides, settings.context, settings.topk, settings.temperature)
        assert ((int(row[1]),), int(row[2]), int(row[3]), float(row[4])) == said


def test_a_real_clip_end_to_end(folder: Path, capsys) -> None:
    source = shared_path("data", "jhmdb", "dev", "clap", "Applauding_Abby_clap_u_nm_np1_fr_med_0.avi")
    with np.load(source.with_suffix(".npz")) as archive:
        truth = np.unpackbits(archive["mask"], axis=-1, count=320).astype(bool)[:6]
    Path("frames").mkdir()
    for t, frame in zip(range(6), Video(source), strict=False):
        Image.fromarray(frame).save(f"frames/{t:05d}.png")
    Image.fromarray(truth[0].astype(np.uint8) * 255).save("first.png")
    torch.manual_seed(0)
    assert main(["segment", "frames", "--mask", "first.png", "-o", "out", "--render", "seen.mp4", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["frames"], facts["width"], facts["height"]) == (6, 320, 240)
    labels = labels_in(Path("out"))
    overlap = [(labels[t] & truth[t]).sum() / (labels[t] | truth[t]).sum() for t in range(1, 6)]
    assert np.mean(overlap) > 0.85
