"""LoRA and weights of 8 and 4 bits: the numbers of Keras, in files as small as the weights."""

import keras
import numpy as np
import onnx
import pytest
from onnx import TensorProto

import tfseq
from tfseq.keras_versions import INSTALLED

if INSTALLED < (3, 15):
    pytest.skip("quantizes otherwise", allow_module_level=True)


def model(random):
    """Of token ids; its products are 96 to 160 wide, its tables of an odd width."""
    width = int(random.integers(96, 161)) // 2 * 2 + int(random.integers(2))
    x = tokens = keras.Input((None,), dtype="int32")
    x = keras.layers.Embedding(120, width)(x)
    x = keras.layers.EinsumDense("abc,cde->abde", (None, 4, 32), bias_axes="de")(x)
    x = keras.layers.EinsumDense("abde,dec->abc", (None, 97), bias_axes="c", activation="gelu")(x)
    x = keras.layers.Dense(width)(x)
    table = keras.layers.ReversibleEmbedding(90, width, tie_weights=bool(random.integers(2)))
    x = x + table(tokens % 90)
    made = keras.Model(tokens, table(x, reverse=True))
    for weight in made.weights:
        weight.assign(random.normal(size=weight.shape) * (0.5 if "embed" in weight.path else weight.shape[0] ** -0.5))
    return made


def with_lora(made, random):
    for layer in made.layers:
        if hasattr(layer, "enable_lora"):
            layer.enable_lora(3, lora_alpha=5)
    for weight in made.weights:
        if "lora" in weight.path:
            weight.assign(random.normal(size=weight.shape) * 0.2)
    return made


def results(made, path, **options):
    """Of the file and of the model, on rows of different lengths; and the file's graph."""
    manifest = tfseq.export(made, path, **options)
    assert manifest.parity["passed"]
    tokens = np.random.default_rng(0).integers(0, 120, (3, 7)).astype("int32")
    found = next(iter(tfseq.runtime.load(path).run({manifest.inputs[0].name: tokens}).values()))
    return found, np.asarray(made(tokens)), onnx.load(path).graph


def floats(graph):
    """Matrices of floats of a size that matters."""
    return [t.name for t in graph.initializer if t.data_type == TensorProto.FLOAT and np.prod(t.dims) > 2500]


@pytest.mark.parametrize("seed", range(3))
def test_low_rank_updates_are_added_up(seed, tmp_path):
    random = np.random.default_rng(seed)
    made = with_lora(model(random), random)
    found, expected, graph = results(made, tmp_path / "lora.onnx")
    np.testing.assert_allclose(found, expected, atol=1e-4)
    plain = sum(np.prod(weight.shape) for weight in made.weights if "lora" not in weight.path)
    assert not [t.name for t in graph.initializer if 3 in t.dims]
    assert (tmp_path / "lora.onnx").stat().st_size < 4 * plain * 1.1 + 20_000


@pytest.mark.parametrize(("mode", "opset"), [("int8", None), ("int8", 13), ("int4", None), ("int4", 13), ("int4", 24)])
def test_small_weights_stay_small(mode, opset, tmp_path):
    random = np.random.default_rng(opset or 0)
    made = model(random)
    made.quantize(mode)
    found, expected, graph = results(made, tmp_path / "small.onnx", opset=opset)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert floats(graph) == []
    stored = sum(np.prod(weight.shape) * np.dtype(weight.dtype).itemsize for weight in made.weights)
    assert (tmp_path / "small.onnx").stat().st_size < 1.1 * stored + 40_000
