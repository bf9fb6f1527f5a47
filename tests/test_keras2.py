"""Models of Keras 2: the same outputs as by hand and as tf_keras, from files and objects; refused by layer."""

import json

import h5py
import keras
import numpy as np
import pytest
from numpy.testing import assert_allclose

import tfseq
from tfseq.errors import ExportError
from tfseq.keras2 import converted, load_keras_2
from tfseq.keras_files import load_keras_model
from tfseq.runtime import load


def layer(kind, **config):
    return {"class_name": kind, "config": config}


def called_on(name, *places):
    return {"name": name, "inbound_nodes": [list(places)]}


def write_h5(path, model, weights, version="2.9.0"):
    """As Keras 2 lays out an .h5 file.

    Args:
        weights: arrays by layer.
    """
    with h5py.File(path, "w") as file:
        file.attrs["keras_version"], file.attrs["model_config"] = version, json.dumps(model)
        group = file.create_group("model_weights")
        group.attrs["layer_names"] = [name.encode() for name in weights]
        for name, arrays in weights.items():
            own = group.create_group(name)
            own.attrs["weight_names"] = [f"{name}/{i}".encode() for i in range(len(arrays))]
            for i, array in enumerate(arrays):
                own[f"{name}/{i}"] = array
    return path


def lstm(name="lstm", units=3, **config):
    own = {"time_major": False, "implementation": 2, "unit_forget_bias": True, "kernel_initializer": layer("Zeros")}
    functions = {"activation": "tanh", "recurrent_activation": "hard_sigmoid"}
    return layer("LSTM", name=name, units=units, **functions | own | config)


def lstm_by_hand(x, kernel, recurrent, bias):
    """The last state, with Keras 2's hard sigmoid; x: (batch, time, width)."""
    h = c = np.zeros((len(x), len(recurrent)))
    for t in range(x.shape[1]):
        i, f, z, o = np.split(x[:, t] @ kernel + h @ recurrent + bias, 4, axis=1)
        i, f, o = (np.clip(0.2 * gate + 0.5, 0, 1) for gate in (i, f, o))
        c = f * c + i * np.tanh(z)
        h = o * np.tanh(c)
    return h


@pytest.fixture
def without_tf_keras(monkeypatch):
    monkeypatch.setattr("tfseq.keras2.find_spec", lambda name: None)


def normal(*shape):
    return np.random.normal(size=shape).astype("float32")


def test_a_sequential_file_is_what_keras_2_computes(tmp_path, without_tf_keras):
    weights = {"lstm": [2 * normal(2, 12), 2 * normal(3, 12), normal(12)], "dense": [normal(3, 2), normal(2)]}
    layers = [
        lstm(batch_input_shape=[None, None, 2], dtype="float32"),
        layer("Dense", name="dense", units=2, activation="linear"),
    ]
    path = write_h5(tmp_path / "old.h5", layer("Sequential", name="old", layers=layers), weights)
    manifest = tfseq.export(load_keras_model(path), tmp_path / "model.onnx")
    assert manifest.operators["LSTM"] == 1
    x = normal(4, 6, 2)
    expected = lstm_by_hand(x, *weights["lstm"]) @ weights["dense"][0] + weights["dense"][1]
    (name,) = (spec.name for spec in manifest.inputs)
    assert_allclose(load(tmp_path / "model.onnx").predict(**{name: x}), expected, atol=1e-4)


def test_a_functional_file_is_what_keras_2_computes(tmp_path, without_tf_keras):
    """y = leaky(x W), then y + 2 x, by one of TensorFlow's functions."""
    image = layer("InputLayer", name="x", batch_input_shape=[None, 3], dtype="float32", sparse=False, ragged=False)
    double = layer("TFOpLambda", name="tf.math.multiply", function="math.multiply")
    sum_of_two = layer("TFOpLambda", name="tf.__operators__.add", function="__operators__.add")
    layers = [
        image | {"name": "x", "inbound_nodes": []},
        layer("Dense", name="w", units=3, use_bias=False) | called_on("w", ["x", 0, 0, {}]),
        layer("LeakyReLU", name="leaky", alpha=0.25) | called_on("leaky", ["w", 0, 0, {}]),
        double | {"name": "double", "inbound_nodes": [["x", 0, 0, {"y": 2.0, "name": None}]]},
        sum_of_two | {"name": "sum", "inbound_nodes": [["leaky", 0, 0, {"y": ["double", 0, 0], "name": None}]]},
    ]
    network = layer("Functional", name="old", layers=layers, input_layers=[["x", 0, 0]], output_layers=[["sum", 0, 0]])
    w, x = normal(3, 3), normal(5, 3)
    model = load_keras_model(write_h5(tmp_path / "old.h5", network, {"w": [w]}))
    assert_allclose(model(x), np.where(x @ w > 0, x @ w, 0.25 * (x @ w)) + 2 * x, atol=1e-5)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lstm(time_major=True), r"The layer lstm \(LSTM\) has time_major=True, which Keras 3 does not know"),
        (lstm(activation="mine"), r"lstm \(LSTM\) has the activation 'mine'"),
        (layer("LocallyConnected1D", name="local", filters=2), r"local \(LocallyConnected1D\) .* no counterpart"),
        (layer("Lambda", name="code", function=["4wA=", None, None]), r"code \(Lambda\) of Keras 2 has no counterpart"),
        (layer("TFOpLambda", name="tf.fft", function="signal.fft"), r"calls tf\.signal\.fft"),
        (layer("Bidirectional", name="both", layer=lstm(time_major=True)), r"lstm \(LSTM\) has time_major"),
    ],
)
def test_what_means_something_else_is_refused_by_layer(wrong, message, tmp_path):
    wrong["config"]["batch_input_shape"] = [None, 5, 2]
    path = write_h5(tmp_path / "old.h5", layer("Sequential", name="old", layers=[wrong]), {})
    with pytest.raises(ExportError, match=message):
        load_keras_2(path)


def test_files_of_keras_3_and_damaged_ones_are_left_to_keras(tmp_path):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    for name in ("new.keras", "new.h5"):
        model.save(tmp_path / name)
        assert load_keras_2(tmp_path / name) is None
    (tmp_path / "damaged.h5").write_bytes(b"no HDF5")
    assert load_keras_2(tmp_path / "damaged.h5") is None


def convolutions(k, layers):
    x = k.Input((8, 8, 3), name="x")
    y = layers.BatchNormalization()(layers.SeparableConv2D(4, 3)(x))
    y = layers.DepthwiseConv2D(3, activation="hard_sigmoid")(y)
    return k.Model(x, layers.Concatenate()([layers.Flatten()(y), layers.GlobalAveragePooling2D()(y)]) * 2.0)


def attention(k, layers):
    x = k.Input((5, 8), name="x")
    y = layers.LayerNormalization()(layers.MultiHeadAttention(2, 4)(x, x) + x)
    y = layers.TimeDistributed(k.Sequential([layers.Dense(3), layers.BatchNormalization()]))(y)
    return k.Model(x, [y, layers.Bidirectional(layers.GRU(3, reset_after=False))(y)])


@pytest.mark.parametrize("build", [convolutions, attention])
def test_models_of_tf_keras_give_its_own_outputs(build, tmp_path):
    tf_keras = pytest.importorskip("tf_keras")
    model = build(tf_keras, tf_keras.layers)
    model.set_weights([np.random.uniform(0.2, 1, w.shape) for w in model.get_weights()])
    manifest = tfseq.export(model, tmp_path / "model.onnx")
    x = normal(3, *model.input_shape[1:])
    outputs = load(tmp_path / "model.onnx").run({"x": x})
    expected = model(x)
    for spec, value in zip(manifest.outputs, expected if isinstance(expected, list) else [expected]):
        assert_allclose(outputs[spec.name], value, atol=1e-4)
    assert tfseq.verify(tmp_path / "model.onnx", model).passed
    model.set_weights([0.5 * w for w in model.get_weights()])
    assert not tfseq.verify(tmp_path / "model.onnx", model).passed


@pytest.mark.parametrize("name", ["old.keras", "old.h5"])
def test_files_of_tf_keras_are_its_models(name, tmp_path):
    tf_keras = pytest.importorskip("tf_keras")
    model = tf_keras.Sequential([tf_keras.Input((2,)), tf_keras.layers.Dense(3, activation="hard_sigmoid")])
    model.save(tmp_path / name)
    x = normal(4, 2)
    assert_allclose(load_keras_model(tmp_path / name)(x), model(x), atol=1e-6)


def test_a_model_is_compared_with_keras_2_and_not_with_its_copy(tmp_path, monkeypatch):
    tf_keras = pytest.importorskip("tf_keras")
    model = tf_keras.Sequential([tf_keras.Input((2,)), tf_keras.layers.Dense(3)])

    def wrong(old):
        copy = converted(old)
        copy.layers[-1].bias.assign_add([0, 1, 0])
        return copy

    monkeypatch.setattr("tfseq.keras2.converted", wrong)
    with pytest.raises(tfseq.errors.ParityError):
        tfseq.export(model, tmp_path / "model.onnx")
