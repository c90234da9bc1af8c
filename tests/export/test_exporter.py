"""Files for other runtimes: what they compute, what they say of themselves, and when they are not left behind."""

from __future__ import annotations

import copy
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from samepoint.correspondence import Window, affinity, propagate
from samepoint.errors import InputError, MissingExtraError
from samepoint.export import Exported, PropagationOptions, agreement, export_part, formats
from samepoint.export.exporter import describe_part
from samepoint.export.parts import MOVED, colour_of, rendered
from samepoint.export.quantise import quantise
from samepoint.models.matcher import Matcher, MatcherConfig
from samepoint.models.network import PointNetwork
from samepoint.models.resnet import ResNet, initialise
from samepoint.models.transformers_backbone import TransformersBackbone
from samepoint.models.vit import VisionTransformer

SIZE = (64, 96)


def session(path: str | Path) -> Any:
    runtime = pytest.importorskip("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    return runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def said(path: str | Path) -> dict[str, Any]:
    return dict(json.loads(session(path).get_modelmeta().custom_metadata_map["samepoint"]))


@pytest.mark.parametrize("shape", [(1, 32, 48), (3, 80, 64)])
def test_the_encoder_takes_any_batch_and_size(encoder: Exported, tiny: PointNetwork, shape: tuple[int, ...]) -> None:
    assert encoder.free
    assert encoder.difference < 1e-4
    assert encoder.cosine == pytest.approx(1)
    torch.manual_seed(1)
    x = torch.randn(shape[0], 3, *shape[1:])
    got = session(encoder.path).run(None, {"pictures": x.numpy()})
    with torch.inference_mode():
        for mine, theirs in zip(tiny.features(x), got, strict=True):
            np.testing.assert_allclose(theirs, mine.numpy(), atol=1e-4)


def test_the_file_says_what_it_must_be_fed(encoder: Exported, step: Exported) -> None:
    about = said(encoder.path)
    assert about["colour"] == {"space": "rgb", "mean": [0.485, 0.456, 0.406], "deviation": [0.229, 0.224, 0.225]}
    assert about["lattices"] == [{"stride": stride, "offset": 0.5} for stride in (16, 8, 4, 2)]
    assert (about["multiple"], about["size"], about["model"]["name"]) == (16, None, "tiny.safetensors")
    told = said(step.path)
    assert (told["level"], told["lattice"]["stride"], told["channels"]) == (2, 4, 8)
    assert (told["keys"], told["window"], told["topk"], told["temperature"]) == (3, 5.0, 5, 0.07)
    assert len(encoder.sha256) == 64
    assert Path(encoder.path).stat().st_size == encoder.bytes
    assert colour_of(ResNet.fgvc()) == {"space": "lab", "mean": [50.0, 0.0, 0.0], "deviation": [50.0, 127.0, 127.0]}


def test_a_step_of_propagation(step: Exported) -> None:
    torch.manual_seed(2)
    maps, labels = torch.randn(4, 8, 11, 14), torch.rand(3, 2, 11, 14)
    present = np.array([True, False, True])
    inputs = {"query": maps[0].numpy(), "keys": maps[1:].numpy(), "labels": labels.numpy(), "present": present}
    (got,) = session(step.path).run(None, inputs)
    found = affinity(maps[0], maps[[1, 3]], Window.circle(5), 5, path="torch")
    np.testing.assert_allclose(got, propagate(found, labels[[0, 2]]).numpy(), atol=1e-5)


def test_exported_programs_whole_and_in_fp16(weights: Path, tiny: PointNetwork, tmp_path: Path) -> None:
    plain = export_part(weights, tmp_path / "whole.pt2", form="exported-program", size=SIZE)
    half = export_part(weights, tmp_path / "half.pt2", form="exported-program", dtype="fp16", size=SIZE)
    assert plain.difference < 1e-5
    assert 0 < half.difference < 0.05
    assert not half.free
    assert half.bytes < plain.bytes
    extra = {"samepoint.json": ""}
    x = torch.randn(2, 3, *SIZE)
    with torch.inference_mode():
        got = torch.export.load(tmp_path / "whole.pt2", extra_files=extra).module()(x)
        torch.testing.assert_close(got, tiny.features(x))
        assert torch.export.load(tmp_path / "half.pt2").module()(x)[0].dtype == torch.float32
    assert json.loads(extra["samepoint.json"])["size"] == list(SIZE)


def test_int8_is_calibrated_and_measured(
    encoder: Exported, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The float32 file that is quantised is there already.
    monkeypatch.setattr(formats, "trace", lambda *arguments: None)
    monkeypatch.setattr(formats, "write_onnx", lambda part, program, path, about: shutil.copy(encoder.path, path))
    whole = export_part(weights, tmp_path / "int8.onnx", dtype="int8")
    assert whole.cosine is not None
    assert 0.95 < whole.cosine < 1
    assert whole.speedup == whole.torch_ms / whole.file_ms > 0
    assert any("times as fast" in line for line in whole.lines())
    onnx = pytest.importorskip("onnx")
    graph = onnx.load(str(tmp_path / "int8.onnx")).graph
    assert "QuantizeLinear" in {node.op_type for node in graph.node}
    # The stem and what each of the four maps ends in stay as they are.
    types = [value.data_type for value in graph.initializer if len(value.dims) == 4]
    assert types.count(onnx.TensorProto.FLOAT) == 5
    assert types.count(onnx.TensorProto.INT8) > 10


def test_a_weight_behind_a_transpose_is_quantised_once(tmp_path: Path) -> None:
    """A matcher's linear layers run on two pictures: two transposes of one weight."""
    onnx = pytest.importorskip("onnx")
    rng = np.random.default_rng(0)
    helper, floats = onnx.helper, onnx.TensorProto.FLOAT
    layers = [("x", "a", "s"), ("s", "b", "t"), ("x", "b", "u"), ("t", "c", "y"), ("u", "c", "z")]
    made = [
        node
        for number, (given, weight, result) in enumerate(layers)
        for node in (
            helper.make_node("Transpose", [weight], [f"turned{number}"], perm=[1, 0]),
            helper.make_node("MatMul", [given, f"turned{number}"], [result], name=f"layer{number}"),
        )
    ]
    values = {name: rng.normal(size=(32, 32)).astype(np.float32) for name in "abc"}
    graph = helper.make_graph(
        made,
        "layers",
        [helper.make_tensor_value_info("x", floats, [4, 32])],
        [helper.make_tensor_value_info(name, floats, [4, 32]) for name in "yz"],
        [onnx.numpy_helper.from_array(value, name) for name, value in values.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(tmp_path / "float32.onnx"))
    x = torch.randn(4, 32, generator=torch.Generator().manual_seed(0))
    quantise(tmp_path / "float32.onnx", tmp_path / "int8.onnx", ["x"], [(x,)])
    stored = onnx.load(str(tmp_path / "int8.onnx")).graph.initializer
    assert [value.data_type for value in stored if len(value.dims) == 2].count(onnx.TensorProto.INT8) == 1
    a, b, c = (values[name].T for name in "abc")
    found = session(tmp_path / "int8.onnx").run(None, {"x": x.numpy()})
    for got, expected in zip(found, (x.numpy() @ a @ b @ c, x.numpy() @ b @ c), strict=True):
        assert np.abs(got - expected).mean() < 0.05 * np.abs(expected).max()


def test_fp16_of_a_step(weights: Path, tmp_path: Path) -> None:
    options = PropagationOptions(window=3.0, context=1)
    result = export_part(
        weights, tmp_path / "half.onnx", part="propagation", dtype="fp16", size=SIZE, propagation=options
    )
    assert 0 < result.difference < 0.1
    inputs = {each.name: each.type for each in session(result.path).get_inputs()}
    assert inputs == {
        "query": "tensor(float)",
        "keys": "tensor(float)",
        "labels": "tensor(float)",
        "present": "tensor(bool)",
    }


def nodes(path: Path) -> Any:
    return pytest.importorskip("onnx").load(str(path)).graph.node


def test_a_matcher(tmp_path: Path) -> None:
    torch.manual_seed(0)
    tiny = MatcherConfig.tiny()
    matcher = Matcher(tiny.model_copy(update={"backbone": tiny.backbone.model_copy(update={"levels": (0,)})})).eval()
    result = export_part(matcher, tmp_path / "matcher.onnx", part="matcher")
    assert result.sizes == ((64, 64),)
    assert not result.free
    about = said(result.path)
    assert (about["size"], about["grid"]) == ([64, 64], [8, 8])
    source, target = torch.randn(2, 1, 3, 64, 64)
    (flow,) = session(result.path).run(None, {"source": source.numpy(), "target": target.numpy()})
    with torch.inference_mode():
        expected = matcher(target, source).flow.numpy()
    np.testing.assert_allclose(flow, expected, atol=1e-3 * np.abs(expected).max())


def test_what_a_matcher_is_tried_with() -> None:
    """Frames of a clip hardly move: in a share of such a flow rounding is all that there is."""
    torch.manual_seed(0)
    matcher = Matcher(MatcherConfig.tiny())
    part = describe_part(matcher, "matcher", PropagationOptions())
    source, target = part.example((64, 64), 0)
    first, second = matcher.preprocess(rendered((64, 64), 0))
    torch.testing.assert_close(source[0], first)
    torch.testing.assert_close(target[0], second.roll((8 * MOVED[0], 8 * MOVED[1]), (1, 2)))
    assert part.sized((64, 96)) == {"grid": [8, 12]}
    nothing = [np.full((1, 2, 8, 8), 0.001)]
    assert agreement(nothing, [nothing[0] + 0.0005], least=part.least).difference == pytest.approx(0.0005)


def test_the_network_that_is_given_stays_as_it_is(tiny: PointNetwork) -> None:
    network = copy.deepcopy(tiny).half().train()
    part = describe_part(network, "encoder", PropagationOptions())
    assert network.training
    assert {value.dtype for value in network.parameters()} == {torch.float16}
    assert {value.dtype for value in part.module.parameters()} == {torch.float32}
    assert not part.module.get_submodule("network").training


def test_a_matcher_in_fp16(tmp_path: Path) -> None:
    """Our encoder gives float32 in half precision, too; what follows it is not float32."""
    torch.manual_seed(0)
    matcher = Matcher(MatcherConfig.tiny()).eval()
    result = export_part(matcher, tmp_path / "half.pt2", part="matcher", dtype="fp16")
    assert result.format == "exported-program"
    assert 0 < result.difference < 0.05


@pytest.mark.parametrize("kind", ["vit", "resnet", "transformers"])
def test_other_networks(kind: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    if kind == "vit":
        network: torch.nn.Module = VisionTransformer(64, 1, 1, 64, patch=16, grid=3).eval()
    elif kind == "transformers":
        library = pytest.importorskip("transformers")
        settings = library.Dinov2Config(
            hidden_size=32, num_hidden_layers=1, num_attention_heads=2, image_size=48, patch_size=16, mlp_ratio=2
        )
        network = TransformersBackbone(library.AutoModel.from_config(settings)).eval()
    else:
        network = ResNet(18, outputs=(1,)).eval()
        initialise(network)
    result = export_part(network, tmp_path / "network.pt2", form="exported-program")
    assert result.free
    x = torch.randn(2, 3, 64, 80)
    with torch.inference_mode():
        got = torch.export.load(tmp_path / "network.pt2").module()(x)
        torch.testing.assert_close(got, network.features(x), atol=1e-4, rtol=1e-4)  # type: ignore[operator]


def test_a_file_that_differs_is_not_left_behind(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output = tmp_path / "encoder.pt2"
    output.write_bytes(b"what was there")
    run = formats.run_program

    def wrong(*arguments: Any) -> Callable[..., list[np.ndarray]]:
        inner = run(*arguments)
        return lambda inputs: [value + 0.01 for value in inner(inputs)]

    monkeypatch.setattr(formats, "run_program", wrong)
    with pytest.raises(InputError, match=r"float32 differs too much from the model: by 0\.0.* nothing was written"):
        export_part(weights, output, form="exported-program", size=SIZE)
    assert output.read_bytes() == b"what was there"
    assert list(tmp_path.iterdir()) == [output]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"form": "tflite"}, "format 'tflite': expected one of onnx, exported-program"),
        ({"part": "decoder"}, "part 'decoder'"),
        ({"dtype": "int4"}, "dtype 'int4'"),
        ({"dtype": "int8", "form": "exported-program"}, "int8 is for ONNX"),
        ({"dtype": "int8", "part": "propagation"}, "no weights to quantise"),
        ({"size": (16, 96)}, "size of encoder: expected sides of 32 pixels or more, got 16,96"),
        ({"part": "propagation", "size": (32, 96)}, "propagation: expected sides of 33 pixels or more, got 32,96"),
        ({"propagation": PropagationOptions()}, "are for the part propagation, got the part encoder"),
        ({"part": "matcher"}, "matcher: PointNetwork has none"),
    ],
)
def test_what_is_not_served(weights: Path, tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        export_part(weights, tmp_path / "part.onnx", **options)
    assert list(tmp_path.iterdir()) == []


def test_onnx_needs_its_extra(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingExtraError, match=r"samepoint\[export\]"):
        export_part(weights, tmp_path / "part.onnx")
