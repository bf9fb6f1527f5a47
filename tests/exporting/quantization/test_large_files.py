"""Quantization of files of any size: weights in the file or beside it, read and written a layer at a time."""

import os
import tracemalloc
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from onnx import helper

from tfseq.errors import ArtefactError, ExportError, InputError, QuantizationError
from tfseq.exporting import quantize
from tfseq.exporting.quantization import blocks, weight_quantization
from tfseq.exporting.quantization import quantize as module
from tfseq.exporting.rewriting.weights import Weights
from tfseq.exporting.writing import onnx_file
from tfseq.exporting.writing.hollow_graph import read_hollow
from tfseq.exporting.writing.onnx_file import OnnxFile
from tfseq.runtime import Manifest, TensorSpec, load

UNITS, LAYERS = 256, 4
HOW = pytest.mark.parametrize(
    "how",
    [
        {"to": "int4"},
        {"to": "int4", "contrib": True},
        {"to": "int8"},
        {"to": "int8", "block_size": 64},
        {"to": "float16"},
    ],
    ids=str,
)


def write_stack(path, units=UNITS, layers=LAYERS, external=False, opset=18) -> Path:
    """x (batch, units) to y = x W0 W1 ..., weights of random numbers."""
    weights, names = Weights(), ["x", *(f"h{i}" for i in range(1, layers)), "y"]

    def matrix(seed):
        return np.random.default_rng(seed).standard_normal((units, units), dtype="float32") / np.float32(units**0.5)

    tensors = [
        weights.hollow(f"w{i}", np.dtype("float32"), (units, units), lambda i=i: matrix(i)) for i in range(layers)
    ]
    nodes = [helper.make_node("MatMul", [names[i], f"w{i}"], [names[i + 1]]) for i in range(layers)]
    ends = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["batch", units]) for name in "xy"]
    graph = helper.make_graph(nodes, "stack", ends[:1], ends[1:], tensors)
    file = OnnxFile(path, weights, external)
    manifest = Manifest(
        name="stack",
        task="predict",
        inputs=(TensorSpec("x", "float32", ("batch", units)),),
        outputs=(TensorSpec("y", "float32", ("batch", units)),),
        operators={"MatMul": layers},
        opset=opset,
        external_data=file.write(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)),
    )
    file.describe(manifest.to_metadata())
    return path


@HOW
@pytest.mark.parametrize("external", [False, True])
def test_weights_in_the_file_or_beside_it_give_the_same_file(how, external, tmp_path):
    path = write_stack(tmp_path / "model.onnx", external=external)
    manifest = quantize(path, tmp_path / "small.onnx", **how)
    assert manifest.external_data is None
    assert sorted(os.listdir(tmp_path)) == ["model.onnx", *(["model.onnx.data"] if external else []), "small.onnx"]
    size = sum(file.stat().st_size for file in tmp_path.glob("model.onnx*"))
    assert manifest.quantization["bytes"] == {"before": size, "after": (tmp_path / "small.onnx").stat().st_size}
    other = write_stack(tmp_path / "other.onnx", external=not external)
    quantize(other, tmp_path / "same.onnx", **how)
    x = np.random.default_rng(0).normal(size=(3, UNITS)).astype("float32")
    near = load(tmp_path / "small.onnx").predict(x)
    assert_array_equal(near, load(tmp_path / "same.onnx").predict(x))
    exact = load(path).predict(x)
    assert np.linalg.norm(near - exact) < 0.3 * np.linalg.norm(exact)


@HOW
def test_what_one_file_cannot_hold_goes_beside_it(how, tmp_path, monkeypatch):
    path = write_stack(tmp_path / "model.onnx")
    quantize(path, tmp_path / "one.onnx", **how)
    monkeypatch.setattr(onnx_file, "LARGEST_FILE", 2**16)
    monkeypatch.setattr(onnx_file, "_ROOM_FOR_MANIFEST", 0)
    manifest = quantize(path, tmp_path / "two.onnx", **how)
    assert manifest.external_data.file == "two.onnx.data"
    manifest.external_data.check_content(tmp_path / "two.onnx")
    assert Manifest.from_file(tmp_path / "two.onnx") == manifest
    x = np.random.default_rng(0).normal(size=(3, UNITS)).astype("float32")
    assert_array_equal(load(tmp_path / "one.onnx").predict(x), load(tmp_path / "two.onnx").predict(x))


def test_a_pair_of_files_takes_the_place_of_its_original(tmp_path):
    path = write_stack(tmp_path / "model.onnx", external=True)
    quantize(path, path, "int4")
    assert os.listdir(tmp_path) == ["model.onnx"]
    assert load(path).manifest.quantization["to"] == "int4"


def test_large_files_are_run_one_after_the_other(tmp_path, monkeypatch):
    path = write_stack(tmp_path / "model.onnx")
    together = quantize(path, tmp_path / "small.onnx", "int4")
    monkeypatch.setattr(module, "APART", 2**16)
    told: list[str] = []
    apart = quantize(path, tmp_path / "small.onnx", "int4", progress=told.append)
    assert told == [
        "running the original on 64 random inputs",
        "converting to int4",
        "comparing on 64 random inputs",
        "timing both",
    ]
    for one, other in zip(together.quantization["scores"], apart.quantization["scores"], strict=True):
        assert one["metric"] == other["metric"]
        assert_allclose(one["loss"], other["loss"])
    speed = apart.quantization["milliseconds"]
    assert speed["low"] <= speed["faster"] <= speed["high"]
    assert sorted(os.listdir(tmp_path)) == ["model.onnx", "small.onnx"]
    with pytest.raises(QuantizationError, match="int8 loses less"):
        quantize(path, tmp_path / "small.onnx", "int4", tolerance=0.001)
    assert sorted(os.listdir(tmp_path)) == ["model.onnx", "small.onnx"]


@pytest.mark.parametrize("how", [{"to": "int4", "block_size": 32}, {"to": "int8", "block_size": None}], ids=str)
def test_converting_holds_less_than_one_layer(how, tmp_path, monkeypatch):
    units, layers = 2048, 4
    path = write_stack(tmp_path / "model.onnx", units, layers)
    for part in (blocks, weight_quantization):
        monkeypatch.setattr(part, "_PART", 2**18)
    tracemalloc.start()
    graph, values = read_hollow(path, None)
    module._convert(graph, values, **how, contrib=False)
    OnnxFile(tmp_path / "small.onnx", values, external=False).write(graph)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 * units**2


def test_an_opset_without_blocks_is_said(tmp_path):
    path = write_stack(tmp_path / "model.onnx", opset=13)
    with pytest.raises(ExportError, match=r"exported for opset 13, .* with opset=18 or more"):
        quantize(path, tmp_path / "small.onnx", "int4")


def test_a_file_without_its_weights_is_refused(tmp_path):
    path = write_stack(tmp_path / "model.onnx", external=True)
    (tmp_path / "model.onnx.data").unlink()
    with pytest.raises(ArtefactError, match=r"weights are in model\.onnx\.data, which is not beside it"):
        quantize(path, tmp_path / "small.onnx", "int4")


def test_samples_that_do_not_suit_a_large_file_are_said(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "APART", 2**16)
    path = write_stack(tmp_path / "model.onnx")
    with pytest.raises(InputError, match="Axis 1 of the input 'x' has size 5"):
        quantize(path, tmp_path / "small.onnx", samples={"x": np.ones((2, 5))})
    assert os.listdir(tmp_path) == ["model.onnx"]
