"""``sp.match``: from pictures and points to matches."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

import samepoint as sp
from samepoint.errors import InputError
from samepoint.matching import LearntMatcher, PairModel, PlainMatcher, as_pair_model, default_model, match_each
from samepoint.models.features import load_features
from samepoint.models.match_confidence import MATCH_EVIDENCE
from samepoint.models.matcher import Matcher, MatcherConfig
from samepoint.models.vit import VisionTransformer
from tests.matching.stub import Scaled
from tests.matching.test_features import Patches
from tests.shared import shared_path


def blobs(size: tuple[int, int], seed: int = 0) -> np.ndarray:
    """A picture of soft spots, no two alike."""
    noise = np.random.default_rng(seed).normal(size=(*size, 3)).astype(np.float32)
    soft = cv2.GaussianBlur(noise, (0, 0), 5)
    return ((soft - soft.min()) / np.ptp(soft) * 255).astype(np.uint8)


def test_one_target_or_many() -> None:
    source, target = blobs((40, 60)), blobs((80, 30))
    stub = Scaled()
    one = sp.match(source, target, [(30, 10), (60, 40)], model=stub)
    assert one.target_xy.tolist() == [[15, 20], [30, 80]]
    assert (one.source_size, one.target_size, one.found.tolist()) == ((40, 60), (80, 30), [True, True])
    assert (one.source, one.target, one.names) == ("source", "target 0", ("0", "1"))
    stub.encoded.clear()
    many = sp.match(source, [target, source, target], [(30, 10)], model=stub)
    assert [matches.target for matches in many] == ["target 0", "target 1", "target 2"]
    assert stub.encoded == ["source", "target 0", "target 1", "target 2"]
    assert sp.match(source, [], [(30, 10)], model=stub) == []


def test_names_are_kept_and_empty_ones_numbered() -> None:
    queries = sp.Queries.at([(1, 1), (2, 2)], frame=[4, 5], name=["nose", ""])
    assert sp.match(blobs((9, 9)), blobs((9, 9)), queries, model=Scaled()).names == ("nose", "1")


def test_targets_are_opened_one_at_a_time() -> None:
    opened = []

    def targets():
        for number in range(3):
            opened.append(number)
            yield blobs((9, 9))

    stream = match_each(blobs((9, 9)), targets(), [(1, 1)], Scaled())
    next(stream)
    assert opened == [0]


@pytest.mark.parametrize(
    ("points", "said"),
    [
        ([(61, 1)], r"source: point 0 \(x=61, y=1\) lies outside the 60x40 picture"),
        ([(1, 1), (1, -1)], "point 1"),
        ([], "no point to match"),
        ([(float("nan"), 1)], "not finite"),
        ([1, 2, 3], r"points must be \(N, 2\), one row for each point, got \(3,\)"),
        ((30, 10), r"points must be \(N, 2\), one row for each point, got \(2,\)"),
        (5, r"points must be \(N, 2\)"),
        ([(1, 2), (3,)], r"points \(N, 2\) must be an array of float32, got list"),
        ("abc", "got str"),
        (None, r"points must be \(N, 2\)"),
    ],
)
def test_points_that_cannot_be_matched(points: object, said: str) -> None:
    with pytest.raises(InputError, match=said):
        sp.match(blobs((40, 60)), blobs((40, 60)), points, model=Scaled())


def test_a_moved_picture_is_followed_by_plain_features() -> None:
    """Shifted by a cell of the coarsest map at working size, the default network finds every point."""
    whole = blobs((300, 400))
    source, target = whole[:, :368], whole[:, 32:]
    points = sp.Queries.grid(4, (300, 300)).xy + np.array([50, 0])
    matches = sp.match(source, target, points, model="samepoint-base")
    error = np.linalg.norm(matches.target_xy - (points - (32, 0)), axis=1)
    assert np.median(error) < 6
    assert matches.found.mean() > 0.8


def test_proportions_stay() -> None:
    matcher = PlainMatcher(Patches(16))
    square = matcher.encode(sp.matching.open_picture(blobs((50, 50)), "a"))
    wide = matcher.encode(sp.matching.open_picture(blobs((20, 80)), "b"))
    strip = matcher.encode(sp.matching.open_picture(np.zeros((1, 900, 3), np.uint8), "c"))
    assert (square.work, wide.work, strip.work) == ((448, 448), (224, 896), (16, 1344))
    found = matcher.carry(square, strip, np.array([[25, 25]], np.float32)).xy
    assert ((found >= 0) & (found <= (900, 1))).all()


def test_which_model() -> None:
    assert default_model() in ("samepoint-match", "samepoint-base")
    network = load_features("fgvc-untrained").network
    assert isinstance(as_pair_model(network), PlainMatcher)
    torch.manual_seed(0)
    learnt = as_pair_model(Matcher(MatcherConfig.tiny()))
    assert isinstance(learnt, LearntMatcher)
    assert isinstance(learnt, PairModel)
    assert as_pair_model(learnt) is learnt
    with pytest.raises(InputError, match="did you mean samepoint-base"):
        as_pair_model("samepoint-bsae")
    with pytest.raises(InputError, match="Linear does not"):
        as_pair_model(torch.nn.Linear(1, 1))
    for mutual in (0, -1, float("nan")):
        with pytest.raises(InputError, match="mutual"):
            as_pair_model(network, mutual=mutual)


def test_the_learnt_matcher_answers_as_it_does_itself() -> None:
    torch.manual_seed(0)
    network = Matcher(MatcherConfig.tiny()).eval()
    source, target = blobs((40, 60)), blobs((50, 30), seed=1)
    points = np.array([[5, 5], [30, 20], [55, 35]], np.float32)
    xy, confidence = network.match(source, target, points)
    matches = sp.match(source, target, points, model=network)
    np.testing.assert_allclose(matches.target_xy, xy, atol=1e-4)
    np.testing.assert_allclose(matches.confidence, confidence, atol=1e-6)
    strict = sp.match(source, target, points, model=network, mutual=1e-4)
    assert (strict.confidence <= matches.confidence + 1e-6).all()
    assert not strict.found.any()


def missing_by(matcher: Matcher, shares: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every match of the matcher lead back to its point but for these shares of the longer side."""
    evidence = torch.zeros(len(shares), len(MATCH_EVIDENCE))
    evidence[:, MATCH_EVIDENCE.index("missed")] = torch.tensor(shares)
    monkeypatch.setattr(matcher, "carry", lambda *_: (torch.zeros(len(shares), 2), evidence))


def test_a_matcher_in_training_stays_in_it() -> None:
    torch.manual_seed(0)
    matcher = Matcher(MatcherConfig.tiny()).train()
    model = as_pair_model(matcher)
    assert matcher.training
    assert isinstance(model, LearntMatcher)
    assert not model.matcher.training
    matcher.eval()
    assert as_pair_model(matcher).matcher is matcher


def test_mutual_decides_where_nothing_was_fitted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Above the tenth of a new matcher, too; a fitted one, who is sure of everything, can only lose by it."""
    network = Matcher(MatcherConfig.tiny()).eval()
    missing_by(network, [0.0, 0.05, 0.1, 0.15, 0.3, 0.4], monkeypatch)

    def confidence(mutual: float | None) -> np.ndarray:
        picture = blobs((20, 30))
        return sp.match(picture, picture, sp.Queries.at([(1, 1)] * 6), model=network, mutual=mutual).confidence

    for mutual in (0.03, 0.1, 0.15, 0.3, 0.4):
        expected = 1 / (1 + np.exp(-4 * (1 - np.array([0.0, 0.05, 0.1, 0.15, 0.3, 0.4]) / mutual)))
        np.testing.assert_allclose(confidence(mutual), expected, rtol=1e-4)
    np.testing.assert_allclose(confidence(None), confidence(0.1), rtol=1e-5)
    assert (confidence(0.31) >= 0.5).tolist() == [True, True, True, True, True, False]
    network.confidence.weight.zero_()
    assert (confidence(None) > 0.9).all()
    assert (confidence(0.31) >= 0.5).tolist() == [True, True, True, True, True, False]


def test_mutual_reaches_matchers_around_networks() -> None:
    """Pictures that have nothing to do with each other: what is lost by a tenth is found by more."""
    torch.manual_seed(0)
    network = VisionTransformer(64, 4, 1, 64, 8, 4, True, (2,))
    source, target, points = blobs((60, 60)), blobs((60, 60), seed=1), sp.Queries.grid(6, (60, 60))
    usual, same, loose = (sp.match(source, target, points, model=network, mutual=m).found for m in (None, 0.1, 0.5))
    assert usual.tolist() == same.tolist()
    assert loose.sum() > usual.sum()
    assert (loose >= usual).all()


def test_choices_that_a_model_does_not_leave_open_are_refused() -> None:
    picture = blobs((9, 9))
    for choice in ({"mutual": 0.3}, {"device": "cpu"}):
        with pytest.raises(InputError, match=f"{next(iter(choice))}: .* cannot be chosen for a Scaled"):
            sp.match(picture, picture, [(1, 1)], model=Scaled(), **choice)
        with pytest.raises(InputError, match="cannot be chosen for a Scaled"):
            sp.carry_masks(picture, picture, np.ones((9, 9), np.uint8), model=Scaled(), **choice)
    with pytest.raises(InputError, match="backbone: 'x' cannot be chosen for a Matcher"):
        as_pair_model(Matcher(MatcherConfig.tiny()), backbone="x")


@pytest.mark.parametrize("name", ["nowhere", "meta"])
def test_devices_that_cannot_be_used_are_refused(name: str) -> None:
    for model in (Matcher(MatcherConfig.tiny()), Patches()):
        with pytest.raises(InputError, match=f"device {name}: cannot be used here"):
            sp.match(blobs((9, 9)), blobs((9, 9)), [(1, 1)], model=model, device=name)


def test_mutual_is_a_number() -> None:
    with pytest.raises(InputError, match=r"mutual: expected a share of the source's longer side above 0, got '0\.1'"):
        sp.match(blobs((9, 9)), blobs((9, 9)), [(1, 1)], model=Patches(), mutual="0.1")  # type: ignore[call-overload]


def test_mutual_is_the_tolerance_of_plain_features() -> None:
    """Confidence at a miss d: 2 ** -(d / tolerance) ** 2, so a quarter of the tolerance is a power of sixteen."""
    source, target = blobs((60, 60)), blobs((60, 60), seed=1)
    points = sp.Queries.grid(3, (60, 60))
    loose, strict = (sp.match(source, target, points, model=Patches(), mutual=share).confidence for share in (0.4, 0.1))
    np.testing.assert_allclose(strict, loose.astype(np.float64) ** 16, rtol=1e-3, atol=1e-6)


def test_the_flip_test_finds_what_looks_the_other_way() -> None:
    """A matcher that finds only what looks the same way, a target that is mirrored, and one that is not."""

    class OneWay(Scaled):
        def encode(self, picture):
            return picture.size, picture.rgb[:, : picture.rgb.shape[1] // 2].mean() > picture.rgb.mean()

        def carry(self, source, target, xy):
            carried = super().carry(source[0], target[0], xy)
            same = source[1] == target[1]
            astray = np.random.default_rng(0).uniform(0, 1, xy.shape).astype(np.float32) * target[0][::-1]
            return carried if same else carried._replace(xy=astray.astype(np.float32))

    source = np.zeros((20, 30, 3), np.uint8)
    source[:, :15] = 200
    target, points = source[:, ::-1], [(3, 4), (20, 6)]
    plain = sp.match(source, target, points, model=OneWay())
    flipped, same = sp.match(source, [target, source], points, model=OneWay(), flip_test=True)
    assert flipped.target_xy.tolist() == [[27, 4], [10, 6]]
    assert same.target_xy.tolist() == [[3, 4], [20, 6]]
    assert plain.target_xy.tolist() != flipped.target_xy.tolist()


def test_things_that_are_the_same_both_ways_keep_their_sides() -> None:
    matches = sp.match(blobs((20, 30)), blobs((20, 30)), [(3, 4)], model=Scaled(), flip_test=True)
    assert matches.target_xy.tolist() == [[3, 4]]


def test_files_and_frames(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(blobs((30, 20))).save(tmp_path / "turned.jpg", exif=exif)
    matches = sp.match(tmp_path / "turned.jpg", Image.fromarray(blobs((40, 60))), [(30, 20)], model=Scaled())
    assert (matches.source_size, matches.target_xy.tolist()) == ((20, 30), [[60, 40]])
    assert matches.source == str(tmp_path / "turned.jpg")
    path = tmp_path / "m.csv"
    matches.save(path)
    assert sp.Matches.load(path).source_size == (20, 30)


def test_two_pictures_of_pf_willow() -> None:
    """Two cars that face the same way: DINOv2 finds most of their parts, and most of what it says it found is right."""
    weights, root = shared_path("weights", "dinov2_vits14.safetensors"), shared_path("data", "pf-willow", "car(S)")
    from samepoint.datasets.pf_willow import pairs

    all_pairs = pairs(root.parent)
    index = next(i for i, entry in enumerate(all_pairs.entries) if entry.category == "car(S)")
    pair = all_pairs[index]
    matches = sp.match(pair.source(), pair.target(), pair.source_xy, model=load_features(weights).network)
    threshold = 0.15 * np.ptp(pair.target_xy, axis=0).max()
    right = np.linalg.norm(matches.target_xy - pair.target_xy, axis=1) < threshold
    assert right.mean() >= 0.6
    assert right[matches.found].mean() >= right.mean()
