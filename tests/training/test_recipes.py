"""Every recipe from its file to a model that is loaded, evaluated and tracked with."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from samepoint.cli.main import main
from samepoint.datasets.synthetic import ClipSettings, ProceduralTextures, SyntheticClips
from samepoint.errors import InputError
from samepoint.io.images import write_image
from samepoint.models.network import PointNetwork
from samepoint.models.resnet import ResNet
from samepoint.models.weights import load_model, read_metadata, sha256
from samepoint.training.checks import check_features
from samepoint.training.config import load_config
from samepoint.training.data import RenderedBatches
from samepoint.training.features import train
from samepoint.training.recipes import Batches, FeaturesTask, student_of
from tests.datasets import test_flyingthings
from tests.evaluation import benchmark_trees
from tests.evaluation.commands import run

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
TINY = CONFIGS / "tiny.yaml"
QUICK = ["steps=2", "data.workers=0", "precision=fp32", "trackers=[]", "log_every=1"]
BRIEFLY = ["validation.clips=1", "validation.frames=3", "validation.points=6"]


def write_videos(folder: Path, count: int, frames: int = 6) -> Path:
    clips = SyntheticClips(ClipSettings(frames=frames, size=(48, 64), layers=(1, 2)), ProceduralTextures(), 5)
    folder.mkdir(parents=True)
    for index in range(count):
        with av.open(str(folder / f"{index}.mp4"), "w") as container:
            stream = container.add_stream("mpeg4", rate=25)
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
            for frame in clips.clip(index).frames:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
            container.mux(stream.encode())
    return folder


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_videos(tmp_path_factory.mktemp("videos") / "real", 2)


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Overrides that name a tiny YouTube-VOS and a tiny FlyingThings3D."""
    monkeypatch.setattr(test_flyingthings, "SIZE", (40, 48))
    test_flyingthings.write(tmp_path / "things", "TRAIN/A/0001")
    rng = np.random.default_rng(0)
    for t in (0, 5, 10):
        folder = tmp_path / "vos" / "train" / "JPEGImages" / "a"
        folder.mkdir(parents=True, exist_ok=True)
        write_image(folder / f"{t:05d}.jpg", rng.integers(0, 255, (40, 60, 3), np.uint8))
    return [f"data.real.youtube_vos={tmp_path / 'vos'}", f"data.labelled.flyingthings={tmp_path / 'things'}"]


def assert_usable(path: Path, tmp_path: Path) -> None:
    """The weights are evaluated and followed with by the commands."""
    root = benchmark_trees.make(tmp_path / "benchmark", "badja")
    result = run("badja", root, tmp_path / "result.json", "--model", str(path), "--limit", "1")
    assert result["model"]["sha256"] == sha256(path)
    clip = write_videos(tmp_path / "clip", 1, 3) / "0.mp4"
    out = tmp_path / "tracks.csv"
    assert main(["track", str(clip), "--point", "20,20", "--model", str(path), "-o", str(out)]) == 0
    rows = list(csv.reader(line for line in out.read_text().splitlines() if not line.startswith("#")))
    assert len(rows) == 4


def test_fgvc(published: list[str], tmp_path: Path) -> None:
    small = ["data.size=[32, 32]", "data.real.short_side=32", "teacher.model=fgvc-untrained", *published]
    small += [f"loss.{name}.radius=3" for name in ("reconstruction", "soft_targets", "adversary")]
    small += [f"output={tmp_path / 'run'}", "loss.adversary.hidden=[8, 4]"]
    path = train(CONFIGS / "fgvc.yaml", [*QUICK, *BRIEFLY, *small])
    records = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert records[-1]["validation"].keys() == {"AJ", "delta_avg", "OA"}
    assert {"reconstruction", "soft_targets", "adversary", "match_4"} <= records[0].keys()
    network = load_model(path)
    assert isinstance(network, ResNet)
    assert network.config == ResNet.fgvc().config
    assert not [key for key in network.state_dict() if "layer4" in key or "discriminator" in key]
    assert read_metadata(path)["data"] == "FlyingThings3D, YouTube-VOS"


def test_hidden_pixels_of_flyingthings_are_found_by_the_flow_back(published: list[str], tmp_path: Path) -> None:
    """Flow there is (-n, 2), back (n - 1, 1): far apart by more than the bound, so nothing counts as seen."""
    small = ["data.size=[32, 32]", "output=x", *published]
    config = load_config(CONFIGS / "fgvc.yaml", small)
    batches = Batches(config)
    pairs = batches[0].pairs
    assert pairs is not None
    assert pairs.frames.shape == (1, 2, 3, 32, 32)
    assert not pairs.valid.any()
    labelled, real = batches.describe(3).split("; ")
    assert Path(labelled).exists()
    assert Path(labelled).suffix in (".pfm", ".webp", ".flo", ".zip")
    assert real in ("a frames 00000, 00005", "a frames 00005, 00010")


def test_crw_trains_through_stage_4_and_saves_stage_3(videos: Path, tmp_path: Path) -> None:
    small = ["data.size=[32, 32]", "data.real.short_side=32", "data.real.clips=1", "loss.random_walk.patch=16"]
    small += ["loss.random_walk.step=16", f"data.videos={videos}", f"data.real.cache={tmp_path / 'cache'}"]
    config = load_config(CONFIGS / "crw.yaml", [f"output={tmp_path / 'run'}", *QUICK, *BRIEFLY, *small])
    student = student_of(config)
    assert isinstance(student, ResNet)
    assert (student.outputs, student.channels) == ((4, 3), (512, 256))
    path = train(config)
    network = load_model(path)
    assert isinstance(network, ResNet)
    assert (network.outputs, network.channels, network.lattices[0].stride) == ((3,), (256,), 8)
    assert network.padding == "reflect"
    again = train(config.model_copy(update={"output": str(tmp_path / "again"), "init": str(path), "steps": 1}))
    assert_usable(again, tmp_path)


def test_a_stranger_fine_tunes_on_ten_videos_and_tracks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two commands, as the guide has them but for the sizes."""
    monkeypatch.chdir(tmp_path)
    write_videos(tmp_path / "my-videos", 10)
    small = ["steps=2", "data.size=[64, 64]", "data.scales=[1.0]", "data.clips=1", "data.frames=3", "data.pairs=1"]
    small += ["data.points=16", "data.followed=8", "data.workers=0", "data.real.clips=1", "data.real.frames=2"]
    small += ["data.real.short_side=64", "data.real.cache=cache", "calibration.clips=2", "calibration.frames=3"]
    small += ["calibration.size=[64, 64]", "calibration.points=8", "calibration.short_side=64", "trackers=[]"]
    small += ["calibration.steps=20", "calibration.hindsight_steps=20"]
    sets = [argument for text in ["data.videos=my-videos", *BRIEFLY, *small] for argument in ("--set", text)]
    assert main(["train", "features", str(CONFIGS / "finetune.yaml"), *sets]) == 0
    path = tmp_path / "runs" / "finetune" / "model.safetensors"
    tuned, shipped = load_model(path), load_model("samepoint-base")
    assert isinstance(tuned, PointNetwork)
    moved = [not torch.equal(one, shipped.state_dict()[key]) for key, one in tuned.state_dict().items()]
    assert any(moved)
    assert main(["track", "my-videos/0.mp4", "--grid", "3", "--model", str(path), "-o", "tracks.csv"]) == 0
    assert (tmp_path / "tracks.csv").stat().st_size > 0


@pytest.mark.parametrize("objective", ["random_walk", "reconstruction"])
def test_real_clips_alone_teach_our_network(objective: str, videos: Path, tmp_path: Path) -> None:
    off = [f"loss.{name}.weight=0" for name in ("reconstruction", "soft_targets", "adversary", "random_walk", "cycle")]
    off += ["loss.matching=[0, 0, 0]", "loss.refinement=0", "data.real.rendered=false", f"data.real.videos={videos}"]
    off += ["data.size=[32, 32]", f"data.real.cache={tmp_path / 'cache'}", f"loss.{objective}.weight=1"]
    config = load_config(TINY, [f"output={tmp_path / 'run'}", *QUICK, *off])
    path = train(config)
    assert read_metadata(path)["data"] == "videos without labels"
    assert isinstance(load_model(path), PointNetwork)


@pytest.fixture
def tiny_weights(tmp_path: Path) -> Path:
    return train(load_config(TINY, [f"output={tmp_path / 'first'}", *QUICK]))


LEFT = ["optimiser.encoder=0"]
LEFT += [f"loss.{name}.weight=0" for name in ("reconstruction", "soft_targets", "adversary", "random_walk", "cycle")]


def test_an_encoder_left_as_it_is_stays_so_to_the_last_bit(tiny_weights: Path, tmp_path: Path) -> None:
    given = [f"output={tmp_path / 'second'}", f"init={tiny_weights}", "loss.refinement=1", *LEFT, *QUICK]
    before, after = (load_model(path).state_dict() for path in (tiny_weights, train(load_config(TINY, given))))
    changed = {key.split(".")[0] for key, value in after.items() if not torch.equal(value, before[key])}
    assert "encoder" not in changed
    assert "refiner" in changed


def test_the_encoder_has_a_share_of_the_rate(tmp_path: Path) -> None:
    config = load_config(TINY, [f"output={tmp_path / 'run'}", "optimiser.encoder=0.25"])
    task = FeaturesTask(config)
    shares = {group["scale"]: {id(one) for one in group["params"]} for group in task.optimiser().param_groups}
    assert isinstance(task.student, PointNetwork)
    assert shares[0.25] == {id(one) for one in task.student.encoder.parameters()}
    assert {id(one) for one in task.student.refiner.parameters()} <= shares[1.0]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ([*LEFT, "loss.refinement=0"], "only the refiner"),
        (
            [*LEFT, "loss.cycle.weight=1"],
            r"optimiser\.encoder: 0 given, .*learns by loss\.cycle\.weight; set 0",
        ),
        ([*LEFT, "loss.soft_targets.weight=1"], r"learns by loss\.soft_targets\.weight"),
        ([*LEFT, "loss.matching=[0, 0, 1]"], r"learns by loss\.matching;"),
        (["optimiser.encoder=0.1", "resnet.depth=18", "model={}", "loss.refinement=0"], "all encoder"),
    ],
)
def test_an_encoder_that_cannot_be_left_is_told(changes: list[str], told: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=told):
        FeaturesTask(load_config(TINY, [f"output={tmp_path / 'run'}", *changes]))


def test_an_encoder_is_left_by_the_configuration_for_it_and_where_nothing_is_learnt() -> None:
    check_features(load_config(CONFIGS / "cpu-refiner.yaml", ["validate_every=0"]))
    check_features(load_config(CONFIGS / "cpu-base.yaml", ["init=x", "steps=0", "optimiser.encoder=0"]))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (["data.pairs=7"], r"data\.pairs: 7 given, but a clip of 3 \(data\.frames\) has 6"),
        (["data.real.frames=2"], r"data\.real\.frames: 2 given, but loss\.random_walk\.nearest is 2"),
        (
            ["loss.random_walk.nodes=patches", "loss.random_walk.patch=65"],
            r"loss\.random_walk\.patch: 65 given, but clips have 64 x 64 pixels",
        ),
        (
            ["resnet={}", "model={}", "loss.matching=[1, 1, 0]", "loss.refinement=0", *LEFT[1:]],
            "every objective has weight 0",
        ),
    ],
)
def test_keys_that_contradict_each_other_are_told(changes: list[str], told: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=told):
        FeaturesTask(load_config(TINY, [f"output={tmp_path / 'run'}", *changes]))


def test_as_many_pairs_as_a_short_clip_has_where_none_are_asked_for(tmp_path: Path) -> None:
    config = load_config(TINY, ["output=x", "data.frames=2", "data.pairs=6"])
    check_features(config)
    batch = RenderedBatches(config.data, 0, 1)[0]
    assert len(batch.source) == config.data.clips * 2 * config.data.points


@pytest.mark.parametrize("soft", ["loss.soft_targets.weight=0", "loss.soft_targets.label=gaussian"])
def test_a_teacher_that_nothing_asks_is_told_and_not_loaded(soft: str) -> None:
    asked = ["output=x", "teacher.model=nowhere.pth"]
    with pytest.raises(InputError, match=r"nowhere\.pth"):
        FeaturesTask(load_config(TINY, asked))
    with pytest.warns(UserWarning, match=r"teacher\.model: nowhere\.pth is not used"):
        FeaturesTask(load_config(TINY, [*asked, soft]))
