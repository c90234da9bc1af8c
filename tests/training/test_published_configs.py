"""Configurations of publications hold what was published, to the last constant."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from samepoint.training.checks import check_features
from samepoint.training.config import load_config
from samepoint.training.matching_checks import check_matching
from samepoint.training.matching_config import load_matching_config

CONFIGS = Path(__file__).parents[2] / "configs"

NOTHING_ELSE = {
    "accumulation": 1,
    "precision": "fp32",
    "optimiser": {"kind": "adam", "weight_decay": 0.0, "warmup": 0, "clip": None, "ema": 0.0, "encoder": 1.0},
    "calibration": {"clips": 0},
}
"""No second network, no averaging, no half precision."""

FGVC = {
    "steps": 30 * 10_075,
    "sync_norm": True,
    "resnet": {"depth": 18, "strides": [1, 1, 1, 4], "pool": False, "output": 3, "colour": "lab", "padding": "zeros"},
    "data": {
        "size": [256, 256],
        "real": {
            "clips": 1,
            "frames": 2,
            "short_side": 256,
            "size": None,
            "augment": {
                "area": [0.6, 1.0],
                "aspect": [1.5, 2.0],
                "flip": 0.5,
                "blur": 0.8,
                "sigma": [0.1, 0.2],
                "jitter": 0.0,
                "same_view": True,
            },
        },
        "labelled": {
            "pairs": 1,
            "size": None,
            "augment": {"area": None, "flip": 0.0, "blur": 0.8, "sigma": [0.1, 0.2], "jitter": 0.0, "same_view": True},
        },
    },
    "loss": {
        "matching": [0.0, 0.0, 0.0],
        "refinement": 0.0,
        "recovery": 0.0,
        "channel_dropout": True,
        "reconstruction": {
            "weight": 1.0,
            "stride": None,
            "radius": 24,
            "temperature": None,
            "normalised": False,
            "legacy": True,
        },
        "soft_targets": {
            "weight": 1.0,
            "stride": None,
            "radius": 24,
            "temperature": 0.07,
            "label": "teacher",
            "label_temperature": None,
            "teacher_norm": "height",
            "sigma": None,
            "legacy": True,
        },
        "adversary": {
            "weight": 1.0,
            "stride": None,
            "radius": 24,
            "hidden": [1200, 600],
            "normalised": False,
            "coefficient": 1.0,
            "schedule": "constant",
        },
        **{other: {"weight": 0.0} for other in ("random_walk", "cycle", "relation")},
    },
    "optimiser": {"rate": 1e-3, "final": 1e-3, "schedule": "cosine"},
}

CRW = {
    "sync_norm": False,
    "resnet": {"depth": 18, "strides": [1, 2, 1, 1], "pool": True, "output": 3, "colour": "rgb", "padding": "reflect"},
    "data": {
        "size": [256, 256],
        "real": {
            "clips": 20,
            "frames": 4,
            "gap": {"between": [0.125, 0.125], "unit": "seconds", "weights": None},
            "augment": {
                "area": [0.8, 0.95],
                "aspect": [0.7, 1.3],
                "flip": 0.0,
                "blur": 0.0,
                "jitter": 0.0,
                "same_view": False,
            },
        },
    },
    "loss": {
        "matching": [0.0, 0.0, 0.0],
        "refinement": 0.0,
        "recovery": 0.0,
        "random_walk": {
            "weight": 1.0,
            "stride": None,
            "nodes": "patches",
            "temperature": 0.05,
            "dropout": 0.1,
            "patch": 64,
            "step": 32,
            "embedding": 128,
        },
        **{o: {"weight": 0.0} for o in ("reconstruction", "soft_targets", "adversary", "cycle", "relation")},
    },
    "optimiser": {"rate": 1e-4, "schedule": "steps", "milestones": [20 / 25], "gamma": 0.3},
}


@pytest.mark.parametrize(("name", "published"), [("fgvc", FGVC), ("crw", CRW)])
def test_every_constant_is_the_published_one(name: str, published: dict[str, Any]) -> None:
    found = load_config(CONFIGS / f"{name}.yaml").model_dump(mode="json")
    for expected in (NOTHING_ELSE, published):
        assert _of(found, expected) == expected


def _of(found: dict[str, Any], asked: dict[str, Any]) -> dict[str, Any]:
    """The part of ``found`` whose keys ``asked`` has."""
    return {key: _of(found[key], value) if isinstance(value, dict) else found[key] for key, value in asked.items()}


FEATURES = sorted(path.stem for path in CONFIGS.glob("*.yaml") if "match" not in path.stem and "web" not in path.stem)
DOCUMENTED = [
    ("cpu-base", ["init=x", "steps=0", "calibration.clips=128", "calibration.crossing=1", "calibration.rounds=0"]),
    ("cpu-crossing", ["init=samepoint-base"]),
]
MATCHERS = ["tiny-matching", "cpu-match", "ssscweb-pf", "ssscweb-spair"]
DISTILLED = [
    *("init=x", "parts=[backbone]", "optimiser.backbone=0", "model.frozen=true", "loss.warps=1", "loss.distillation=0"),
    *("loss.centred=false", "loss.relation=0", "loss.cross.weight=0", "teacher.model=null"),
]
TRANSFER = ["init=x", "loss.web=0", "loss.adversary=0", "loss.keypoints=1"]
MATCHERS_DOCUMENTED = [("cpu-match", DISTILLED), ("cpu-match", ["loss.cross.weight=0"]), ("ssscweb-pf", TRANSFER)]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("name", "changes"), [*((name, []) for name in FEATURES), *DOCUMENTED])
def test_no_key_of_features_contradicts_another(name: str, changes: list[str]) -> None:
    check_features(load_config(CONFIGS / f"{name}.yaml", ["validate_every=0", *changes]))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("name", "changes"), [*((name, []) for name in MATCHERS), *MATCHERS_DOCUMENTED])
def test_no_key_of_a_matcher_contradicts_another(name: str, changes: list[str]) -> None:
    check_matching(load_matching_config(CONFIGS / f"{name}.yaml", ["validate_every=0", *changes]))


def test_videos_of_ones_own_are_read_where_all_configurations_take_them() -> None:
    crw = load_config(CONFIGS / "crw.yaml", ["data.videos=mine"])
    assert (crw.data.videos, crw.data.real.videos, crw.data.real.youtube_vos) == ("mine", None, None)
    changes = ["data.videos=mine", "data.real.youtube_vos=null", "data.labelled.flyingthings=null"]  # as its head says
    fgvc = load_config(CONFIGS / "fgvc.yaml", changes)
    assert (fgvc.data.videos, fgvc.data.real.videos, fgvc.data.real.youtube_vos) == ("mine", None, None)
