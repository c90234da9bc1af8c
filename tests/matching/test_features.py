"""Plain matching: exact where pictures are shifted or resized copies, in the pixels of each."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from samepoint.datasets.pf_willow import pairs
from samepoint.errors import InputError
from samepoint.evaluation.metrics.semantic import PROTOCOLS, SemanticScore, pair_counts
from samepoint.geometry import Lattice
from samepoint.matching import FeatureMatchSettings, PictureEncoder, PictureMap, match_features, match_maps
from samepoint.models.colour import ColourSpace
from samepoint.models.features import load_features
from tests.shared import shared_path

OWN = FeatureMatchSettings(size=None, grid=None)


class Patches(nn.Module):
    """The pixels of each patch are its feature; a patch of ``stride`` pixels, centred as ``offset`` says."""

    colour: ColourSpace = "rgb"

    def __init__(self, stride: int = 4) -> None:
        super().__init__()
        self.stride, self.channels, self.lattices = stride, (3 * stride**2,), (Lattice(stride, stride / 2),)
        self.anchor = nn.Parameter(torch.zeros(1))
        self.calls = 0

    def preprocess(self, frames: Tensor) -> Tensor:
        return frames.permute(0, 3, 1, 2).float() / 255 - 0.5

    def features(self, x: Tensor) -> tuple[Tensor, ...]:
        self.calls += 1
        return (nn.functional.pixel_unshuffle(x, self.stride),)


def texture(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_a_shifted_picture_is_matched_exactly() -> None:
    """FGVC's untrained network, cells at 2 j + 0.5: what is 8 left and 6 up in the target is found there."""
    scene = texture(80, 96)
    source, target = np.ascontiguousarray(scene[:64, :72]), np.ascontiguousarray(scene[6:70, 8:80])
    points = np.array([[40.5, 36.5], [30.5, 44.5], [50.5, 30.5]], np.float32)  # on cells, away from borders
    xy, confidence = match_features(load_features("fgvc-untrained").network, source, target, points, OWN)
    np.testing.assert_allclose(xy, points - [8, 6], atol=1e-4)
    np.testing.assert_allclose(confidence, 1, atol=1e-6)


@pytest.mark.parametrize("read_out", ["nearest", "soft"])
def test_matches_are_in_the_pixels_of_each_picture(read_out: str) -> None:
    """The target is the source enlarged by 3 and 2: both become the source at the working size."""
    source = texture(32, 48)
    target = np.repeat(np.repeat(source, 3, axis=0), 2, axis=1)
    settings = FeatureMatchSettings(size=(32, 48), grid=None, read_out=read_out, temperature=0.005)  # type: ignore[arg-type]
    points = np.array([[2, 2], [22, 14], [46, 30]], np.float32)
    xy, confidence = match_features(Patches(), source, target, points, settings)
    np.testing.assert_allclose(xy, points * [2, 3], atol=0.05)
    np.testing.assert_allclose(confidence, 1, atol=1e-3)


def test_the_grid_spans_the_picture_and_lies_where_it_says() -> None:
    """Every second point of a grid twice as fine as cells of size 4 lies a quarter cell off their centres."""
    encode = PictureEncoder(Patches(), FeatureMatchSettings(size=None, grid=8), dtype=torch.float32)
    picture = encode(texture(32, 64))
    places, shape = picture.candidates(8)
    assert shape == (8, 8)
    assert places[:2].tolist() == [[4, 2], [12, 2]]
    assert places[-1].tolist() == [60, 30]
    places, shape = picture.candidates(None)
    assert shape == (8, 16)
    assert places[17].tolist() == [6, 6]
    assert torch.equal(picture.candidates(64)[0][0], torch.tensor([0.5, 0.25]))


def test_cells_past_the_border_do_not_compete() -> None:
    cells = torch.randn(2, 3, 8)
    picture = PictureMap(cells, Lattice(14, 7.0), (20, 30), (20, 30))
    places, shape = picture.candidates(None)
    assert shape == (1, 2)  # the second row is centred at 21, the third column at 35
    assert places.tolist() == [[7, 7], [21, 7]]


def test_descriptors_between_cells_are_bilinear_and_continue_past_the_last() -> None:
    cells = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])  # one row, two columns
    picture = PictureMap(cells, Lattice(4, 2.0), (4, 8), (4, 8))
    got = picture.descriptors(torch.tensor([[2.0, 2.0], [4.0, 2.0], [3.0, 0.0], [0.0, 4.0], [8.0, 2.0]]))
    expected = torch.tensor([[1, 0], [0.5**0.5, 0.5**0.5], [3 / 10**0.5, 1 / 10**0.5], [1, 0], [0, 1]])
    torch.testing.assert_close(got, expected)


def test_the_soft_read_out_finds_a_peak_between_cells_and_ignores_others_far_away() -> None:
    """Similarities are a Gaussian around (9.3, 6.6) on cells one pixel apart, and a lower bump elsewhere."""
    columns, rows = torch.meshgrid(torch.arange(24.0), torch.arange(16.0), indexing="xy")

    def bump(x: float, y: float) -> Tensor:
        return torch.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 8)

    likeness = (0.9 * bump(9.3, 6.6) + 0.85 * bump(20, 13)).clamp(max=1)
    cells = torch.stack([likeness, (1 - likeness**2).sqrt()], dim=-1)
    target = PictureMap(cells, Lattice(1, 0.5), (16, 24), (16, 24))
    source = PictureMap(torch.tensor([[[1.0, 0.0]]]), Lattice(1, 0.5), (1, 1), (1, 1))
    nearest, _ = match_maps(source, target, [[0.5, 0.5]], OWN)
    assert nearest.tolist() == [[9.5, 7.5]]
    soft, _ = match_maps(source, target, [[0.5, 0.5]], FeatureMatchSettings(size=None, grid=None, read_out="soft"))
    np.testing.assert_allclose(soft, [[9.8, 7.1]], atol=0.1)


def test_confidence_is_one_half_where_the_way_back_misses_by_the_tolerance() -> None:
    """Two source cells, the same to the target: both match its cell, which goes back to the first."""
    source = PictureMap(torch.tensor([[[1.0, 0.0], [0.9, 0.1]]]), Lattice(10, 5.0), (10, 20), (10, 20))
    target = PictureMap(torch.tensor([[[1.0, 0.0], [-1.0, 0.0]]]), Lattice(10, 5.0), (10, 20), (10, 20))
    settings = FeatureMatchSettings(size=None, grid=None, tolerance=0.5)
    xy, confidence = match_maps(source, target, [[5, 5], [15, 5]], settings)
    assert xy.tolist() == [[5, 5], [5, 5]]
    np.testing.assert_allclose(confidence, [1, 0.5], atol=1e-6)


def test_matching_in_pieces_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    encode = PictureEncoder(Patches(), FeatureMatchSettings(size=None, grid=16))
    source, target = encode(texture(32, 64)), encode(texture(32, 64, 1))
    points = np.random.default_rng(0).random((50, 2)) * [64, 32]
    whole = match_maps(source, target, points, encode.settings)
    monkeypatch.setattr("samepoint.matching.features._SCORES_AT_ONCE", 7 * 256)
    for one, other in zip(whole, match_maps(source, target, points, encode.settings), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_a_picture_with_a_key_is_encoded_once_while_it_is_kept() -> None:
    network = Patches().eval()  # one in training would be copied, and the copy called
    encode = PictureEncoder(network, OWN, capacity=2)
    pictures = {name: texture(16, 16, seed) for seed, name in enumerate("abc")}
    reads: list[str] = []

    def read(name: str) -> PictureMap:
        return encode.keyed(name, lambda: (reads.append(name), pictures[name])[1])

    for source, target in permutations("ab", 2):
        match_maps(read(source), read(target), [[3, 3]], OWN)
    assert (reads, network.calls) == (["a", "b"], 2)
    read("c")  # b was used before a, and goes
    read("a")
    read("b")
    assert reads == ["a", "b", "c", "b"]


def test_no_points_and_unusable_ones() -> None:
    picture = texture(16, 16)
    xy, confidence = match_features(Patches(), picture, picture, np.zeros((0, 2)), OWN)
    assert (xy.shape, confidence.shape) == ((0, 2), (0,))
    for points, message in (([1, 2], r"\(N, 2\), got \(2,\)"), ([[np.nan, 1]], "finite")):
        with pytest.raises(InputError, match=message):
            match_features(Patches(), picture, picture, points, OWN)
    with pytest.raises(InputError, match="uint8"):
        match_features(Patches(), picture.astype(float), picture, [[1, 1]], OWN)
    with pytest.raises(InputError, match="level: expected -1 to 0 for this network, got 1"):
        PictureEncoder(Patches(), FeatureMatchSettings(level=1))
    with pytest.raises(InputError, match="channels cannot be matched"):
        match_maps(PictureEncoder(Patches(2), OWN)(picture), PictureEncoder(Patches(), OWN)(picture), [[1, 1]], OWN)
    for wrong in (
        {"read_out": "best"},
        {"size": (0, 0)},
        {"size": 4.5},
        {"grid": 0},
        {"temperature": 0},
        {"sigma": -1},
        {"tolerance": float("nan")},
    ):
        with pytest.raises(InputError, match=next(iter(wrong))):
            FeatureMatchSettings(**wrong)  # type: ignore[arg-type]


def test_dinov2_on_a_few_pairs_of_pf_willow() -> None:
    """12 ordered pairs of four cars: far above chance, which is below 5."""
    weights, root = shared_path("weights", "dinov2_vits14.safetensors"), shared_path("data", "pf-willow")
    encode = PictureEncoder(load_features(weights).network, dtype=torch.float32)
    all_pairs = pairs(root)
    names = sorted({entry.source for entry in all_pairs.entries if entry.category == "car(S)"})[:4]
    protocol, score = PROTOCOLS["pf-willow"], SemanticScore(PROTOCOLS["pf-willow"].alphas)
    for index, entry in enumerate(all_pairs.entries):
        if entry.category == "car(S)" and {entry.source, entry.target} <= set(names):
            pair = all_pairs[index]
            source, target = encode.keyed(entry.source, pair.source), encode.keyed(entry.target, pair.target)
            xy, _ = match_maps(source, target, pair.source_xy, encode.settings)
            score.update(pair_counts(xy, pair.target_xy, pair.target_size, protocol))
    assert score.compute()[0.1] > 0.55
