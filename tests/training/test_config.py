"""Training configurations."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from samepoint.datasets.augment import Augmentation
from samepoint.errors import InputError
from samepoint.training.config import AugmentConfig, FeaturesConfig, GapConfig, load_config
from samepoint.training.matching_config import load_matching_config
from samepoint.training.recipes import FeaturesTask

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
TINY = CONFIGS / "tiny.yaml"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("loss.reconstruktion.weight=1", r"unknown key loss\.reconstruktion; did you mean loss\.reconstruction\?"),
        (
            "loss.random_walk.dropot=1",
            r"unknown key loss\.random_walk\.dropot; did you mean loss\.random_walk\.dropout",
        ),
        (
            "data.real.augment.flipp=1",
            r"unknown key data\.real\.augment\.flipp; did you mean data\.real\.augment\.flip",
        ),
        ("resnet.deph=18", r"unknown key resnet\.deph; did you mean resnet\.depth"),
        ("teacher.modell=x", r"unknown key teacher\.modell; did you mean teacher\.model"),
        ("loss.cycle.weight=-1", r"loss\.cycle\.weight: .*greater than or equal to 0"),
        ("loss.soft_targets.teacher_norm=width", r"loss\.soft_targets\.teacher_norm: .*'channel' or 'height'"),
        ("resnet.depth=19", r"resnet\.depth: .*18, 34, 50 or 101"),
        ("trackers=[tensorboard, tensorboard]", r"trackers: each tracker can be named once"),
        ("seed=99999999999999999999999", r"seed: .*less than 9223372036854775808"),
        ("optimiser.rate=.inf", r"optimiser\.rate: .*finite number"),
        ("optimiser.final=1e+38", r"optimiser\.final: .*less than or equal to 100"),
        ("optimiser.rate=1e+38", r"optimiser\.rate: .*less than or equal to 100"),
        ("loss.temperature=.nan", r"loss\.temperature: .*finite number"),
        ("data.real.gap.between=[1, .inf]", r"data\.real\.gap\.between\.1: .*finite number"),
        ("loss.matching=[0, -1, 1]", r"loss\.matching\.1: .*greater than or equal to 0"),
        ("optimiser.milestones=[0.5]", r"optimiser: milestones are of schedule: steps, and the schedule is cosine"),
        ("optimiser={schedule: steps, milestones: [0.5, 5]}", r"optimiser\.milestones\.1: .*less than 1"),
        ("calibration.short_side=0", r"calibration\.short_side: .*greater than or equal to 16"),
        ("calibration.size=[64, 1]", r"calibration\.size\.1: .*greater than or equal to 16"),
    ],
)
def test_mistakes_are_named(override: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_config(TINY, [override])


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("trackers=[wandb, wandb]", r"trackers: each tracker can be named once"),
        ("seed=9223372036854775808", r"seed: .*less than 9223372036854775808"),
        ("loss.cross.tolerance=.inf", r"loss\.cross\.tolerance: .*finite number"),
        ("optimiser.milestones=[0.5]", r"optimiser: milestones are of schedule: steps, and the schedule is cosine"),
    ],
)
def test_mistakes_of_a_matcher_are_named(override: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_matching_config(CONFIGS / "tiny-matching.yaml", [override])


def test_values_of_clips_are_finite_too() -> None:
    with pytest.raises(InputError, match=r"data\.clip\.plain: nan given; .*finite number"):
        load_config(TINY, ["data.clip.plain=.nan"]).data.clip_settings()


def test_published_recipes_say_what_was_published() -> None:
    fgvc = load_config(CONFIGS / "fgvc.yaml")
    assert fgvc.resnet is not None
    assert (fgvc.resnet.depth, fgvc.resnet.strides, fgvc.resnet.colour) == (18, (1, 1, 1, 4), "lab")
    loss = fgvc.loss
    assert (loss.reconstruction.weight, loss.soft_targets.weight, loss.adversary.weight) == (1, 1, 1)
    assert (fgvc.on_rendered, loss.on_pairs, loss.on_clips) == (False, True, True)
    assert (fgvc.data.real.augment.build((256, 256)), fgvc.data.labelled.augment.build((256, 256))) == (
        dataclasses.replace(Augmentation.fgvc_real(), **_KEPT),
        dataclasses.replace(Augmentation.fgvc_flow(), aspect=AugmentConfig().aspect, **_KEPT),
    )
    crw = load_config(CONFIGS / "crw.yaml")
    assert (crw.data.real.frames, crw.data.real.gap.build().between) == (4, (0.125, 0.125))
    own = crw.data.real.augment.build((256, 256))
    assert own == dataclasses.replace(Augmentation.crw(), sigma=own.sigma, **_KEPT)


_KEPT = {key: getattr(AugmentConfig(), key) for key in ("brightness", "contrast", "saturation", "hue")}
"""Of no effect without jitter."""


def test_augmentation_can_be_set_whole() -> None:
    fields = {field.name for field in dataclasses.fields(Augmentation)} - {"size"}
    assert fields == set(AugmentConfig.model_fields)
    assert GapConfig(weights={1: 0.5, 4: 0.5}).build().weights == {1: 0.5, 4: 0.5}


def test_rates_of_the_published_schedules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def rates(config: FeaturesConfig, *shares: float) -> list[float]:
        task = FeaturesTask.__new__(FeaturesTask)
        task.config = config
        return [task.rate(round(share * config.steps)) for share in shares]

    assert rates(load_config(CONFIGS / "fgvc.yaml"), 0, 0.5, 1) == pytest.approx([1e-3, 5.005e-4, 1e-6])
    assert rates(load_config(CONFIGS / "crw.yaml"), 0, 0.79, 0.81, 1) == pytest.approx([1e-4, 1e-4, 3e-5, 3e-5])


def test_the_loop_is_told() -> None:
    loop = load_config(TINY, ["accumulation=4", "optimiser.clip=null", "device=auto"]).loop()
    assert (loop.accumulation, loop.clip, loop.ema, loop.device) == (4, None, 0.998, "auto")
    assert load_config(TINY, ["device=cpu"]).loop().device == "cpu"
