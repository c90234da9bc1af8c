"""``samepoint weights``: what there is, others' weights in, whole files told from damaged ones."""

from __future__ import annotations

import hashlib
import json
import pickle
from pathlib import Path

import pytest
import torch

from samepoint.cli.main import main
from samepoint.models import weights
from samepoint.models.convert.table import KINDS
from samepoint.models.resnet import ResNet
from tests.models.convert.published import as_fgvc, random_resnet, training_file


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file as FGVC publishes it."""
    tensors = as_fgvc(random_resnet(outputs=(3,))) | {"iteration": torch.tensor(0)}
    return training_file(tmp_path_factory.mktemp("published") / "fgvc.pth", tensors)


def test_table_names_what_is_shipped(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["weights", "list"]) == 0
    text = capsys.readouterr().out
    for row in weights.TABLE.values():
        assert row.name in text
        assert row.sha256 in text


def test_json_is_the_whole_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["weights", "list", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in rows] == list(weights.TABLE)
    for row in rows:
        data = weights.TABLE[row["name"]].path.read_bytes()
        assert row["bytes"] == len(data)
        assert row["sha256"] == hashlib.sha256(data).hexdigest()
        assert row["licence"]


def test_convert_then_list_then_verify(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    digest = hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    command = ["weights", "convert", str(checkpoint), "-o", "out.safetensors", "--from", "fgvc"]
    assert main([*command, "--sha256", digest.upper(), "--origin", "https://a.b/c"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "out.safetensors: 90 of 91 tensors of fgvc.pth",
        "  input   colour lab, units L in [0, 100], a and b about -128 to 127, "
        "mean [50.0, 0.0, 0.0], std [50.0, 127.0, 127.0]",
        "  ignored 1: a counter of training steps",
    ]
    assert main(["weights", "list", "out.safetensors"]) == 0
    text = capsys.readouterr().out
    assert "ResNet" in text
    assert "MIT" in text
    assert "from    fgvc.pth" in text
    assert "lab, mean [50.0, 0.0, 0.0]" in text
    assert "strides [1, 1, 1, 4]" in text
    assert main(["weights", "list", "--json", "out.safetensors"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["kind"] == "fgvc"
    assert row["file"] == {
        "file": "fgvc.pth",
        "bytes": checkpoint.stat().st_size,
        "sha256": digest,
        "origin": "https://a.b/c",
    }
    assert row["ignored"] == {"a counter of training steps": ["iteration"]}
    assert main(["weights", "verify", "out.safetensors"]) == 0
    assert capsys.readouterr().out == (
        "out.safetensors: checksum as in its metadata, 90 tensors, stored numbers within 0\n"
    )


def test_json_of_a_conversion_tells_what_became_of_every_name(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out.safetensors"
    assert (
        main(["weights", "convert", str(checkpoint), "-o", str(output), "--from", "fgvc", "--layer", "2", "--json"])
        == 0
    )
    said = json.loads(capsys.readouterr().out)
    names = torch.load(checkpoint, weights_only=False)["state_dict"]
    assert {*said["mapped"], *(name for group in said["ignored"].values() for name in group)} == set(names)
    assert said["mapped"]["backbone.layer2.0.downsample.bn.bias"] == "layer2.0.downsample.1.bias"
    assert said["ignored"]["past the last output, stage 2"][0].startswith("backbone.layer3.")


@pytest.mark.parametrize(
    "given",
    [["--heads", "8"], ["--layer", "5"], ["--sha256", "00"], ["--from", "fgcv"], ["--from", "crw"]],
)
def test_what_does_not_fit_leaves_nothing_behind(
    given: list[str], checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["weights", "convert", str(checkpoint), "-o", str(tmp_path / "out.safetensors"), "--from", "fgvc", *given]
    assert main(command) == 2
    error = capsys.readouterr().err
    assert error.startswith("samepoint: error: ")
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_means_of_the_weights_are_left_and_told(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = torch.load(checkpoint, weights_only=False)
    both, output = tmp_path / "both.pth", tmp_path / "out.safetensors"
    torch.save(content | {"state_dict_ema": content["state_dict"], "model_ema": None}, both)
    assert main(["weights", "convert", str(both), "-o", str(output), "--from", "fgvc"]) == 0
    told = "state_dict_ema left: means of the weights over the training; the weights themselves were taken"
    assert f"  note    {told}\n" in capsys.readouterr().out


def test_metadata_of_others_than_the_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What ``HubModel`` is given is kept as it was."""
    file, network = tmp_path / "mine.safetensors", ResNet(18, outputs=(1,))
    for said, told in (
        ({"source": "my camera", "input": "RGB", "colour": "rgb"}, ["from    my camera", "input   RGB"]),
        ({"source": {"file": "a.pth"}, "input": {"colour": "lab"}}, ["from    a.pth", "lab, mean None"]),
        ({"source": [], "input": None, "data": "none"}, ["from    none"]),
    ):
        weights.save_weights(network, file, said)
        assert main(["weights", "list", str(file)]) == 0
        text = capsys.readouterr().out
        assert all(line in text for line in told)
        assert main(["weights", "list", "--json", str(file)]) == 0
        json.loads(capsys.readouterr().out)


def test_gelu_is_for_matchers(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["weights", "convert", str(checkpoint), "-o", str(tmp_path / "out.safetensors"), "--from", "fgvc"]
    assert main([*command, "--gelu"]) == 2
    assert "gelu cannot be chosen for fgvc" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_names_of_files_are_checked_first(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def refused(source: Path, output: Path, message: str) -> None:
        assert main(["weights", "convert", str(source), "-o", str(output), "--from", "fgvc"]) == 2
        assert message in capsys.readouterr().err

    refused(checkpoint, tmp_path / "out.pth", "out.pth: expected a name that ends in .safetensors")
    refused(checkpoint, tmp_path / "none" / "out.safetensors", "there is no folder")
    refused(tmp_path / "none.pth", tmp_path / "out.safetensors", "none.pth: no such file")
    done = tmp_path / "done.safetensors"
    assert main(["weights", "convert", str(checkpoint), "-o", str(done), "--from", "fgvc"]) == 0
    before = done.read_bytes()
    refused(done, tmp_path / "again.safetensors", "done.safetensors: is a samepoint file already")
    refused(done, done, "would replace what is converted")
    assert done.read_bytes() == before


class _Evil:
    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (Path("evil"),)


def test_code_in_a_checkpoint_is_not_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": as_fgvc(random_resnet(outputs=(3,))), "hook": _Evil()}, "zip.pth")
    torch.save({"state_dict": {}, "hook": _Evil()}, "old.pth", _use_new_zipfile_serialization=False)
    Path("bare.pth").write_bytes(pickle.dumps(_Evil()))
    for name in ("zip.pth", "old.pth", "bare.pth"):
        for kind in KINDS:
            assert main(["weights", "convert", name, "-o", "out.safetensors", "--from", kind]) == 2
            error = capsys.readouterr().err
            assert error.startswith(f"samepoint: error: {name}: its pickle") or "it names" in error
    assert main(["weights", "verify", "zip.pth"]) == 2
    assert {path.name for path in tmp_path.iterdir()} == {"zip.pth", "old.pth", "bare.pth"}


def test_a_file_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["weights", "list", str(tmp_path / "none.safetensors")]) == 2
    assert capsys.readouterr().err == f"samepoint: error: {tmp_path / 'none.safetensors'}: no such file\n"


def test_verify_goes_through_all_and_fails_for_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = tmp_path / "bad.safetensors"
    bad.write_bytes(weights.TABLE["samepoint-base"].path.read_bytes()[:-1])
    assert main(["weights", "verify", str(bad), "samepoint-base", str(tmp_path / "none.pt")]) == 2
    printed = capsys.readouterr()
    assert printed.out.startswith("samepoint-base: checksum as in its table, ")
    assert "bad.safetensors: not a readable safetensors file" in printed.err
    assert "unknown model" in printed.err
    assert printed.err.count("\n") == 1


def test_verify_checks_all_that_is_shipped_and_prints_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["weights", "verify", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in said["passed"]] == list(weights.TABLE)
    assert said["failed"] == []
    assert all(row["numbers"] for row in said["passed"])
