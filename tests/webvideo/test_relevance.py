from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch.nn.functional as F

from samepoint.errors import InputError
from samepoint.io.images import list_images, read_image, write_image
from samepoint.matching import FeatureMatchSettings, PictureEncoder
from samepoint.models.features import load_features
from samepoint.webvideo.relevance import Relevance, RelevanceSettings
from tests.shared import shared_path


def draw(kind: str, seed: int) -> np.ndarray:
    """Stripes or blobs, uint8 (64, 64, 3); every seed another."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:64, :64]
    if kind == "stripes":
        grey = 127 + 120 * np.sin((x * rng.uniform(0.9, 1.1) + rng.uniform(0, 6)) * 0.9)
    else:
        centres = rng.uniform(8, 56, (3, 2))
        grey = 255 * np.exp(-np.min([(x - a) ** 2 + (y - b) ** 2 for a, b in centres], axis=0) / 90)
    return np.repeat(grey[..., None], 3, 2).astype(np.uint8)


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("examples")
    for kind in ("stripes", "blobs"):
        (root / kind).mkdir()
        for seed in range(3):
            write_image(root / kind / f"{seed}.png", draw(kind, seed))
    return root


def test_a_picture_is_most_like_its_own_class(examples: Path) -> None:
    score = Relevance(RelevanceSettings(examples=examples, size=64))
    for kind, other in (("stripes", "blobs"), ("blobs", "stripes")):
        for seed in (10, 11):
            own, foreign = score(draw(kind, seed), kind), score(draw(kind, seed), other)
            assert own is not None
            assert foreign is not None
            assert -1 <= foreign < 0 < own <= 1
    assert score(draw("stripes", 0), "stripes") == pytest.approx(1, abs=1e-5)
    assert score(draw("stripes", 0), "unheard of") is None


def test_the_score_against_its_definition(examples: Path) -> None:
    settings = RelevanceSettings(examples=examples, size=64)
    encode = PictureEncoder(load_features("samepoint-base").network, FeatureMatchSettings(size=(64, 64), level=0))

    def mean_feature(rgb: np.ndarray) -> np.ndarray:
        cells = encode(rgb).cells.reshape(-1, encode(rgb).cells.shape[2])
        return F.normalize(cells, dim=1).mean(0).numpy()

    vectors = {
        kind: [mean_feature(read_image(path)) for path in list_images(examples / kind)] for kind in ("blobs", "stripes")
    }
    shared = np.mean(vectors["blobs"] + vectors["stripes"], axis=0)
    asked = mean_feature(draw("blobs", 7)) - shared
    cosines = [asked @ (v - shared) / np.linalg.norm(asked) / np.linalg.norm(v - shared) for v in vectors["blobs"]]
    assert Relevance(settings)(draw("blobs", 7), "blobs") == pytest.approx(max(cosines), abs=1e-4)


def test_examples_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder of example pictures"):
        Relevance(RelevanceSettings(examples=tmp_path / "none"))
    with pytest.raises(InputError, match="sub-folder of pictures for each class"):
        Relevance(RelevanceSettings(examples=tmp_path))
    (tmp_path / "cat").mkdir()
    with pytest.raises(InputError, match="cat"):
        Relevance(RelevanceSettings(examples=tmp_path))
    write_image(tmp_path / "cat" / "a.png", draw("blobs", 0))
    with pytest.raises(InputError, match="unknown model"):
        Relevance(RelevanceSettings(examples=tmp_path, model="samepoint-bse"))


def test_real_pictures_are_told_apart_better_than_by_chance(tmp_path: Path) -> None:
    """Three examples of each of two classes; the others are scored against both."""
    import shutil

    root = shared_path("data", "pf-willow")
    rest: dict[str, list[Path]] = {}
    for name in ("duck(S)", "winebottle(woC)"):
        pictures = list(list_images(root / name))
        (tmp_path / name).mkdir()
        for path in pictures[:3]:
            shutil.copy(path, tmp_path / name / path.name)
        rest[name] = pictures[3:]
    score = Relevance(RelevanceSettings(examples=tmp_path, size=160))
    right = total = 0
    for name, pictures in rest.items():
        (other,) = set(rest) - {name}
        for path in pictures:
            rgb = read_image(path)
            right += score(rgb, name) > score(rgb, other)  # type: ignore[operator]
            total += 1
    assert right / total > 0.7
