"""FlyingThings3D on a tiny copy in the official layout."""

from __future__ import annotations

import numpy as np
import pytest

from samepoint.datasets import flyingthings
from samepoint.errors import InputError
from tests.datasets import pair_trees as trees
from tests.io.test_flow import flo, pfm

SIZE = (4, 6)


def write(root, name, frames="frames_cleanpass_webp", suffix=".webp", flow=".pfm", side="left") -> None:
    """Flow into the future of frame n is (n, 1), into the past (-n, 2)."""
    for n in flyingthings.FRAMES:
        trees.picture(root / frames / name / side / f"{n:04d}{suffix}", shade=n, size=SIZE)
        for direction, uv in (("Future", (n, 1)), ("Past", (-n, 2))):
            path = root / "optical_flow" / name / f"into_{direction.lower()}" / side
            path.mkdir(parents=True, exist_ok=True)
            field = np.broadcast_to(np.float32(uv), (*SIZE, 2))
            content = pfm(field) if flow == ".pfm" else flo(field)
            (path / f"OpticalFlowInto{direction}_{n:04d}_{side[0].upper()}{flow}").write_bytes(content)


def test_pairs_of_a_sequence(tmp_path) -> None:
    write(tmp_path, "TRAIN/A/0001")
    write(tmp_path, "TRAIN/A/0001", side="right")
    (sequence,) = flyingthings.sequences(tmp_path)
    assert sequence.name == "TRAIN/A/0001/left"
    assert [path.stem for path in sequence.frame_paths] == [f"{n:04d}" for n in range(6, 16)]
    pairs = sequence.pairs()
    assert len(pairs) == 18
    forward, back = pairs[2], pairs[9 + 2]  # frames 8 and 9
    assert (forward.reference_path.stem, forward.target_path.stem) == ("0008", "0009")
    assert (back.reference_path.stem, back.target_path.stem) == ("0009", "0008")
    # Target to reference is into the past of 9 going forward, into the future of 8 going back.
    flow, flow_back = forward.flows()
    assert (flow[0, 0].tolist(), flow_back[0, 0].tolist()) == ([-9, 2], [8, 1])
    flow, flow_back = back.flows()
    assert (flow[0, 0].tolist(), flow_back[0, 0].tolist()) == ([8, 1], [-9, 2])
    reference, target = forward.frames()
    assert reference.shape == target.shape == (*SIZE, 3)
    (right,) = flyingthings.sequences(tmp_path, side="right")
    assert right.pairs()[0].flow_path.name == "OpticalFlowIntoPast_0007_R.pfm"


def test_other_passes_suffixes_and_splits(tmp_path) -> None:
    write(tmp_path, "TEST/B/0000", frames="frames_finalpass", suffix=".png", flow=".flo")
    (sequence,) = flyingthings.sequences(tmp_path, "TEST", "final")
    assert (sequence.frame_paths[0].name, sequence.pairs()[0].flow_path.suffix) == ("0006.png", ".flo")
    for arguments, message in [
        (("TRAIN", "final"), "no complete sequence of TRAIN, final pass, left"),
        (("VAL",), "'VAL' is not known; expected one of TRAIN, TEST"),
        (("TEST", "dirty"), "'dirty' is not known"),
    ]:
        with pytest.raises(InputError, match=message):
            flyingthings.sequences(tmp_path, *arguments)


def test_sequences_are_matched_by_path(tmp_path) -> None:
    for name in ("TRAIN/A/0000", "TRAIN/A/0001", "TRAIN/B/0000"):
        write(tmp_path, name)
    lost = tmp_path / "optical_flow/TRAIN/A/0001/into_past/left/OpticalFlowIntoPast_0010_L.pfm"
    lost.unlink()
    found = flyingthings.sequences(tmp_path)
    assert [sequence.name for sequence in found] == ["TRAIN/A/0000/left", "TRAIN/B/0000/left"]
    assert found[1].past_paths[0].parts[-5:-2] == ("B", "0000", "into_past")
    answer = flyingthings.check(tmp_path)
    assert answer.found == 2
    assert "TRAIN/A/0001/left lacks 1 files, first optical_flow/TRAIN/A/0001/into_past/left" in answer.missing[0]
    assert "3 training sequences; published are 2,239" in answer.notes
