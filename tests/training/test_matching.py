"""``train matching``: its pairs, its objectives, and every kind of training from a configuration to a matcher."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from samepoint.cli.main import main
from samepoint.datasets.photometric import PhotometricSettings
from samepoint.datasets.warp import WarpSettings
from samepoint.errors import InputError
from samepoint.io.images import write_image
from samepoint.models.matcher import Matcher
from samepoint.models.weights import load_model, read_metadata
from samepoint.training import matching_task
from samepoint.training.matching import train_matching
from samepoint.training.matching_checks import check_matching
from samepoint.training.matching_config import MatchingConfig, load_matching_config
from samepoint.training.matching_data import CrossPairs, KeypointPairs, PairItem
from samepoint.training.matching_objectives import MatchBatch, MatchingObjectives
from samepoint.training.matching_task import MatchingTask, PairBatches
from tests.datasets import pair_trees

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
TINY = CONFIGS / "tiny-matching.yaml"
QUICK = ["steps=2", "trackers=[]", "precision=fp32", "validate_every=0", "calibration.pairs=2", "validation.warps=0"]


def config(tmp_path: Path, *changes: str) -> MatchingConfig:
    return load_matching_config(TINY, [f"output={tmp_path / 'run'}", f"data.cache={tmp_path / 'cache'}", *changes])


def shown_alike(item: PairItem, least: int = 5) -> float:
    """Correlation, over the points, of what both pictures show at them: near 1 where the points are right."""
    valid = item.valid.nonzero()[:, 0]
    assert len(valid) >= least
    values = []
    for picture, xy in ((item.source, item.source_xy), (item.target, item.target_xy)):
        grid = (xy[valid] / picture.shape[-1] * 2 - 1)[None, None]
        sampled = torch.nn.functional.grid_sample(
            picture[None].float(), grid, align_corners=False, padding_mode="border"
        )
        values.append(sampled[0, :, 0].flatten().numpy())
    return float(np.corrcoef(*values)[0, 1])


PLAIN = [f"data.colours.{name}=0" for name in ("equalise", "solarise", "blur", "jitter", "grey")]


def test_points_of_warped_pictures_show_the_same(videos: Path, tmp_path: Path) -> None:
    made = PairBatches(config(tmp_path, f"data.videos={videos}", "data.warp.bend=0.02", *PLAIN), 64)
    assert made.warped is not None
    alike = [shown_alike(made.warped.item(index)) for index in range(6)]
    assert np.mean(alike) > 0.9, alike
    first, again = made[3].warps, made[3].warps
    assert first is not None
    assert again is not None
    assert all(torch.equal(one, other) for one, other in zip(first, again, strict=True))
    other = made[4].warps
    assert other is not None
    assert not torch.equal(first.source, other.source)


def test_labels_of_a_collection_follow_the_pictures(collection: Path, tmp_path: Path) -> None:
    asked = ("loss.warps=0", "loss.web=1", f"data.collection={collection}", "data.warp.area=[0.8,1]", *PLAIN)
    made = PairBatches(config(tmp_path, *asked), 64)
    assert made.web is not None
    alike = [shown_alike(made.web.item(index), 3) for index in range(4)]
    assert np.mean(alike) > 0.7, alike


def test_pairs_across_videos_are_of_one_class(collection: Path, tmp_path: Path) -> None:
    asked = ("loss.warps=0", "loss.cross.weight=1", f"data.collection={collection}")
    made = PairBatches(config(tmp_path, *asked), 64)
    assert isinstance(made.crossed, CrossPairs)
    item = made.crossed.cross(0)
    assert item.source.shape == item.target_view.shape == (3, 64, 64)
    assert not torch.equal(item.source, item.target)
    # The middle of the view comes from where its matrix says.
    old = item.source_back @ torch.tensor([32.0, 32.0, 1.0])
    assert ((old[:2] / old[2] > 0) & (old[:2] / old[2] < 64)).all()


def test_a_collection_with_one_video_a_class_has_no_pairs_across(collection: Path, tmp_path: Path) -> None:
    from samepoint.datasets.frame_cache import FrameCache
    from samepoint.training.matching_data import Changes
    from samepoint.webvideo.catalog import Catalogue

    rows = Catalogue(collection).read("shots").to_pylist()
    videos = {str(row["class"]): row["video"] for row in rows}
    few = [row for row in rows if videos[str(row["class"])] == row["video"]]
    changes = Changes(64, WarpSettings(), config(tmp_path).data.colours.build())
    with pytest.raises(InputError, match="no class with shots of two different videos"):
        CrossPairs(few, collection, changes, FrameCache(tmp_path / "cache", 64, 1e9, shots=False), 0)


def test_supervised_pairs_keep_their_points(tmp_path: Path) -> None:
    root = pair_trees.spair(tmp_path / "spair", {"trn": ["000001-a-b:cat", "000002-c-d:dog"]})
    labelled = [f"data.labelled={{benchmark: spair-71k, root: {root}}}", "loss.warps=0", "loss.keypoints=1"]
    made = PairBatches(config(tmp_path, *labelled, *PLAIN), 64)
    assert made.labelled is not None
    item = made.labelled.item(0)
    assert int(item.valid.sum()) == 2
    uncut = [*labelled, "data.labelled={benchmark: spair-71k, root: %s, crop: 0}" % root]  # noqa: UP031 - braces
    whole = PairBatches(config(tmp_path, *uncut, *PLAIN), 64).labelled
    assert whole is not None
    scale = np.array([64 / pair_trees.WIDTH, 64 / pair_trees.HEIGHT])
    # The set's pixels are counted from 0 at their centres or corners; half a pixel either way.
    np.testing.assert_allclose(whole.item(0).source_xy[:2], np.array([[10, 20], [30, 25]]) * scale, atol=0.9)
    with pytest.raises(InputError, match=r"none of cow is there; expected some of cat, dog"):
        PairBatches(
            config(tmp_path, *labelled, "data.labelled={benchmark: spair-71k, root: %s, categories: [cow]}" % root),  # noqa: UP031
            64,
        )


def test_target_pairs_have_colours_of_their_own(videos: Path, tmp_path: Path) -> None:
    root = pair_trees.spair(tmp_path / "spair", {"trn": ["000001-a-b:cat"]})
    pairs = f"{{benchmark: spair-71k, root: {root}, crop: 0, colours: {{equalise: 0, grey: 1, blur: 0, jitter: 0}}}}"
    asked = [f"data.videos={videos}", "loss.adversary=1", f"data.target.pairs={pairs}", *PLAIN]
    made = PairBatches(config(tmp_path, *asked), 64)
    assert isinstance(made.target, KeypointPairs)
    assert made.warped is not None
    assert (made.target.changes.colours.grey, made.warped.changes.colours.grey) == (1, 0)
    plain = PairBatches(config(tmp_path, *asked, f"data.target.pairs={{benchmark: spair-71k, root: {root}}}"), 64)
    assert isinstance(plain.target, KeypointPairs)
    assert plain.target.changes == plain.warped.changes  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (["data.videos=null"], r"set data\.videos"),
        (["loss.warps=0"], "nothing to learn"),
        (["loss.web=1"], r"set data\.collection"),
        (["loss.keypoints=1"], r"set data\.labelled"),
        (["loss.adversary=1"], "needs a target domain"),
        (["loss.warps=0", "loss.distillation=1"], r"loss\.distillation: learns from the pictures of other objectives"),
        (["loss.warps=0", "loss.relation=1"], r"loss\.relation: learns from the pictures of other objectives"),
        (
            ["data.target={cross: true, pairs: {benchmark: pf-pascal, root: x}}"],
            r"data\.target: pairs and cross are two",
        ),
    ],
)
def test_what_an_objective_lacks_is_said(videos: Path, tmp_path: Path, changes: list[str], said: str) -> None:
    with pytest.raises(InputError, match=said):
        PairBatches(config(tmp_path, f"data.videos={videos}", *changes), 64)


def test_a_collection_that_is_not_there_is_said_and_not_made(tmp_path: Path) -> None:
    asked = ("loss.warps=0", "loss.web=1", f"data.collection={tmp_path / 'mistyped'}")
    with pytest.raises(InputError, match="mistyped: no collection of web videos"):
        PairBatches(config(tmp_path, *asked), 64)
    assert not (tmp_path / "mistyped").exists()


def test_a_distillation_without_teacher_is_refused(videos: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"loss\.distillation: learns from a teacher"):
        MatchingTask(config(tmp_path, f"data.videos={videos}", "loss.distillation=1"))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (["parts=[backbone]"], "parts: backbone given, but there is no init"),
        (["data.target.cross=true"], r"data\.target\.cross: is the adversary's, whose weight is 0"),
        (
            ["loss.contrastive.weight=1", "loss.cross.weight=1", "loss.warps=0"],
            r"loss\.contrastive: is about pairs whose matches are known",
        ),
    ],
)
def test_what_would_be_of_no_effect_is_refused(tmp_path: Path, changes: list[str], said: str) -> None:
    with pytest.raises(InputError, match=said):
        MatchingTask(config(tmp_path, "data.videos=x", "validate_every=0", *changes))


def test_a_teacher_that_nothing_asks_is_told(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match=r"teacher\.model: nowhere is not used"):
        check_matching(config(tmp_path, "teacher.model=nowhere", "validate_every=0"))


def test_of_pairs_across_alone_no_confidence_can_be_fitted(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    across = ["loss.cross.weight=1", "validate_every=0"]
    with pytest.warns(UserWarning, match=r"of loss\.cross alone no match is known, so confidence is not fitted"):
        check_matching(config(tmp_path, *across, "loss.warps=0"))
    recwarn.clear()
    check_matching(config(tmp_path, *across, "loss.warps=0", "calibration.pairs=0"))
    check_matching(config(tmp_path, *across))
    assert not recwarn.list


def test_of_centred_maps_the_running_average_is_taken_away(videos: Path, teacher: Path, tmp_path: Path) -> None:
    task = MatchingTask(
        config(tmp_path, f"data.videos={videos}", f"teacher.model={teacher}", "loss.relation=1", "loss.centred=true")
    )
    objectives = task.objectives
    pictures = torch.randint(0, 256, (2, 3, 64, 64), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    cells = torch.zeros(2, 1, 4, 4)
    first = objectives.train()._taught(pictures, cells)
    torch.testing.assert_close(first.mean(dim=(0, 2, 3)), torch.zeros(first.shape[1]), atol=1e-5, rtol=0)
    whole = first + objectives.typical[:, None, None]
    dark = torch.zeros_like(pictures)
    plain = objectives._taught(dark, cells) + objectives.typical[:, None, None]
    expected = 0.98 * whole.mean(dim=(0, 2, 3)) + 0.02 * plain.mean(dim=(0, 2, 3))
    torch.testing.assert_close(objectives.typical, expected)
    objectives.eval()._taught(pictures, cells)
    torch.testing.assert_close(objectives.typical, expected)
    assert "typical" in objectives.state_dict()  # an interrupted run goes on with it


def test_centred_maps_of_nobody_are_refused(videos: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"loss\.centred: is about a teacher's maps"):
        MatchingTask(config(tmp_path, f"data.videos={videos}", "loss.centred=true"))


EVERYTHING = [
    *("loss.web=1", "loss.adversary=0.5", "data.target.cross=true", "loss.cross.weight=0.5", "loss.cross.begin=0"),
    *("loss.contrastive.weight=0.1", "loss.contrastive.width=8", "loss.distillation=1", "data.web=2", "data.cross=2"),
    *("loss.centred=true", "loss.relation=0.1"),
]


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny vision transformer with random weights, as a foreign file."""
    from samepoint.models.vit import VisionTransformer

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("teacher") / "vit.pth"
    torch.save(VisionTransformer(64, 2, 1, 64, 16, 4, True, (1,)).state_dict(), path)
    return path


def test_all_objectives_together(videos: Path, collection: Path, teacher: Path, tmp_path: Path) -> None:
    sources = [f"data.videos={videos}", f"data.collection={collection}", f"teacher.model={teacher}"]
    made = config(tmp_path, *QUICK, *EVERYTHING, *sources)
    weights = train_matching(made)
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    logged = next(line for line in lines if line.get("step") == 1)
    for name in ("warps", "web", "adversary", "cross", "contrastive", "distillation", "relation", "believed"):
        assert np.isfinite(logged[name]), name
    matcher = load_model(weights)
    assert isinstance(matcher, Matcher)
    assert logged["right"] == pytest.approx((logged["right_warps"] + logged["right_web"]) / 2, abs=1e-5)
    assert "match_4" not in logged
    assert read_metadata(weights)["training"]["loss"]["web"] == 1
    # Labels of the teacher's features too.
    train_matching(config(tmp_path / "other", *QUICK, *EVERYTHING, *sources, "loss.cross.labels=teacher"))


def test_a_matcher_learns_warps(videos: Path, tmp_path: Path) -> None:
    made = config(tmp_path, f"data.videos={videos}", "precision=fp32")
    task = MatchingTask(made.model_copy(update={"optimiser": made.optimiser.model_copy(update={"rate": 2e-3})}))
    task.networks.train()
    optimiser = task.optimiser()
    batch = next(iter(task.batches(range(1))))
    losses = []
    for _ in range(50):
        optimiser.zero_grad()
        loss, figures = task.loss(batch, 0.5)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(task.networks.parameters(), 1.0)
        optimiser.step()
        losses.append(figures["warps"])
    assert losses[-1] < 0.7 * losses[0], losses


def test_what_kinds_of_pairs_have_in_common_is_logged_as_their_mean(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ["loss.web=1", "loss.contrastive={weight: 0.5, width: 8}", "loss.warps=1"]
    made = config(tmp_path, f"data.videos={videos}", *asked)
    batch = PairBatches(config(tmp_path, f"data.videos={videos}"), 64)[0]
    objectives = MatchingObjectives(Matcher(made.model), made.loss, 64, None)
    values = iter([1.0, 3.0])
    monkeypatch.setattr(MatchingObjectives, "_contrast", lambda *_: torch.tensor(next(values)))
    total, figures = objectives(batch._replace(web=batch.warps), 0.5)
    assert figures["contrastive"] == 2.0
    assert total.item() == pytest.approx(figures["warps"] + figures["web"] + 0.5 * (1 + 3), rel=1e-5)


def test_the_averaged_matcher_follows_and_does_not_learn(videos: Path, tmp_path: Path) -> None:
    made = config(tmp_path, f"data.videos={videos}")
    loss = made.loss.model_copy(update={"momentum": 0.5})
    loss.cross.weight = 1.0
    objectives = MatchingObjectives(Matcher(made.model), loss, 64, None).train()
    assert objectives.averaged is not None
    assert not objectives.averaged.training
    before = objectives.averaged.aggregation.proj.bias.clone()
    with torch.no_grad():
        objectives.matcher.aggregation.proj.bias += 1
    objectives(MatchBatch(None, None, None, None, _still(made)), 0.5)
    assert torch.equal(objectives.averaged.aggregation.proj.bias, before), "only after an update"
    objectives.follow()
    torch.testing.assert_close(objectives.averaged.aggregation.proj.bias, before + 0.5)
    assert not any(value.requires_grad for value in objectives.averaged.parameters())


def test_the_averaged_matcher_follows_once_an_update(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = []
    monkeypatch.setattr(MatchingObjectives, "follow", lambda self: steps.append(1))
    train_matching(config(tmp_path, f"data.videos={videos}", "accumulation=3", "loss.contrastive.weight=0.1", *QUICK))
    assert len(steps) == 2


def test_a_frozen_backbone_keeps_its_statistics(videos: Path, tmp_path: Path) -> None:
    made = config(tmp_path, f"data.videos={videos}", "optimiser.backbone=0", *QUICK)
    torch.manual_seed(made.seed)
    kept = []
    for steps in (1, 2):
        path = train_matching(made.model_copy(update={"steps": steps, "output": str(tmp_path / f"run{steps}")}))
        matcher = load_model(path)
        assert isinstance(matcher, Matcher)
        kept.append(matcher.hypercolumn.state_dict())
    assert all(torch.equal(value, kept[1][key]) for key, value in kept[0].items())


def test_photographs_of_several_sizes_are_warped(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    for index, size in enumerate(((90, 120), (120, 90), (80, 80))):
        write_image(
            tmp_path / "photos" / f"{index}.png", np.random.default_rng(index).integers(0, 256, (*size, 3), np.uint8)
        )
    made = PairBatches(config(tmp_path, f"data.videos={tmp_path / 'photos'}"), 64)
    assert made.warped is not None
    assert made.warped.frames.names == ("0.png", "1.png", "2.png")
    assert made.warped.item(0).source.shape == (3, 64, 64)


def _still(made: MatchingConfig):
    """A pair across of one picture with itself, not changed."""
    from samepoint.training.matching_data import CrossItem

    picture = torch.randint(0, 256, (1, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return CrossItem(picture, picture, picture, picture, torch.eye(3)[None], torch.eye(3)[None])


def test_labels_across_lead_back(tmp_path: Path) -> None:
    """A picture and itself: every believed match of a cell is the cell itself; mirrored, its mirror image."""
    made = config(tmp_path)
    loss = made.loss.model_copy()
    loss.cross.weight = 1.0
    torch.manual_seed(0)
    objectives = MatchingObjectives(Matcher(made.model), loss, 64, None).eval()
    picture = _still(made).source
    source_xy, target_xy, sure = objectives.believed(picture, picture, 0.05, flip=False)
    assert sure.float().mean() > 0.5
    assert (source_xy - target_xy)[sure].norm(dim=-1).median() < 4
    source_xy, target_xy, sure = objectives.believed(picture, picture.flip(-1), 0.05, flip=True)
    mirrored = target_xy * torch.tensor([-1.0, 1.0]) + torch.tensor([64.0, 0.0])
    assert (source_xy - mirrored)[sure].norm(dim=-1).median() < 4


def test_a_run_from_the_command_line_resumes_and_transfers(
    videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = ["train", "matching", str(TINY), "--set", f"data.videos={videos}", "--set", f"data.cache={tmp_path / 'c'}"]
    for change in QUICK[1:]:
        base += ["--set", change]

    def run(output: str, *more: str) -> int:
        return main([*base, "--set", f"output={tmp_path / output}", *more])

    assert run("whole", "--set", "steps=4") == 0
    assert "wrote" in capsys.readouterr().out
    assert run("parts", "--set", "steps=4", "--set", "keep=3", "--set", "checkpoint_every=1") == 0
    whole, parts = (load_model(tmp_path / name / "model.safetensors") for name in ("whole", "parts"))
    for one, other in zip(whole.state_dict().values(), parts.state_dict().values(), strict=True):
        torch.testing.assert_close(one, other)
    assert run("whole") == 2  # a run is there already
    assert run("fine", "--set", f"init={tmp_path / 'whole' / 'model.safetensors'}", "--set", "steps=1") == 0
    last = (tmp_path / "fine" / "log.jsonl").read_text().splitlines()[-1]
    assert json.loads(last)["copied"]["aggregation"] > 0
    capsys.readouterr()
    assert run("bad", "--set", "loss.wrps=1") == 2
    assert "did you mean loss.warps?" in capsys.readouterr().err


def test_faithful_configurations_say_what_the_published_system_does() -> None:
    for name, grid, benchmark in (("ssscweb-spair", 24, "spair-71k"), ("ssscweb-pf", 16, "pf-pascal")):
        made = load_matching_config(CONFIGS / f"{name}.yaml")
        assert made.model.grid == grid
        assert made.model.geometry == "legacy"
        assert made.loss.geometry == "legacy"
        assert (made.loss.web, made.loss.keypoints) == (1.0, 0.0)
        assert made.data.target.pairs is not None
        assert made.data.target.pairs.benchmark == benchmark
        processes = 4
        assert (processes * made.data.web, processes * made.data.cross) == (24, 48)
        assert made.data.colours.build() == PhotometricSettings.published()
        assert made.data.target.pairs.colours is not None
        assert made.data.target.pairs.colours.build() == PhotometricSettings.published_pairs()
        assert made.data.warp.distortion == 0.7
        assert made.optimiser.milestones == (0.85, 0.9, 0.95)
        assert made.optimiser.backbone == 0.1
        assert made.validation.benchmark == benchmark


def test_confidence_that_cannot_be_fitted_is_told(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = MatchingTask(config(tmp_path, f"data.videos={videos}"))
    monkeypatch.setattr(matching_task, "matched", lambda *_: (torch.zeros(3, 5), torch.zeros(3, dtype=torch.bool)))
    task.weights.parent.mkdir()
    with pytest.warns(UserWarning, match="confidence is not fitted: all 3 matches are wrong"):
        assert "calibration" not in task.finish()
