"""cuDNN's operators, traced and never run, against the recurrences in NumPy."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import sys

import keras
import numpy as np
import onnxruntime
import pytest
import tensorflow as tf
from keras import layers

from tfseq.exporting.conversion.convert import to_onnx
from tfseq.exporting.rewriting import count_operators
from tfseq.runtime.manifest import TensorSpec

BATCH, TIME, WIDTH, UNITS = 3, 5, 2, 4
RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(BATCH, TIME, WIDTH)).astype("float32")
SPEC = TensorSpec("x", "float32", ("batch", "time", WIDTH))
GATES = {"lstm": 4, "gru": 3, "rnn_tanh": 1, "rnn_relu": 1}


def run(function, feeds, specs):
    model = to_onnx(function, specs, 18)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, feeds))), count_operators(model.graph)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def reference(mode, x, lengths, kernels, biases):
    """The equations of cuDNN's manual for one direction over one sequence each: outputs, h, c."""
    w, r = kernels
    bw, br = biases
    outputs, h_last, c_last = np.zeros((*x.shape[:2], UNITS)), np.zeros((len(x), UNITS)), np.zeros((len(x), UNITS))
    for row in range(len(x)):
        h = c = np.zeros(UNITS)
        for t in range(lengths[row]):
            a = [w[k] @ x[row, t] + bw[k] for k in range(len(w))]
            b = [r[k] @ h + br[k] for k in range(len(w))]
            if mode == "lstm":
                i, f, g, o = (p + q for p, q in zip(a, b))
                c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
                h = sigmoid(o) * np.tanh(c)
            elif mode == "gru":
                reset, update = sigmoid(a[0] + b[0]), sigmoid(a[1] + b[1])
                h = (1 - update) * np.tanh(a[2] + reset * b[2]) + update * h
            else:
                h = np.tanh(a[0] + b[0]) if mode == "rnn_tanh" else np.maximum(a[0] + b[0], 0)
            outputs[row, t] = h
        h_last[row], c_last[row] = h, c
    return outputs, h_last, c_last


@pytest.mark.parametrize("time_major", [False, True], ids=["batch first", "time first"])
@pytest.mark.parametrize("mode", GATES)
def test_one_direction(mode, time_major):
    gates = GATES[mode]
    w, r, bw, br = (
        RANDOM.normal(size=(gates, *shape)).astype("float32") / 2
        for shape in ((UNITS, WIDTH), (UNITS, UNITS), (UNITS,), (UNITS,))
    )
    packed = np.concatenate([part.ravel() for part in (w, r, bw, br)])
    lengths = np.array([5, 2, 4], "int32")

    def function(x, lengths):
        x = tf.transpose(x, [1, 0, 2]) if time_major else x
        first = tf.zeros([1, tf.shape(lengths)[0], UNITS] if time_major else [tf.shape(lengths)[0], 1, UNITS])
        outputs, h, c, _, _ = tf.raw_ops.CudnnRNNV3(
            input=x,
            input_h=first,
            input_c=first if mode == "lstm" else 0.0,
            params=packed,
            sequence_lengths=lengths,
            rnn_mode=mode,
            time_major=time_major,
        )
        axis = 0 if time_major else 1
        states = {"h": tf.squeeze(h, axis)} | ({"c": tf.squeeze(c, axis)} if mode == "lstm" else {})
        return {"y": tf.transpose(outputs, [1, 0, 2]) if time_major else outputs, **states}

    got, _ = run(function, {"x": X, "lengths": lengths}, [SPEC, TensorSpec("lengths", "int32", ("batch",))])
    expected = dict(zip("yhc", reference(mode, X, lengths, (w, r), (bw, br))))
    for name, value in got.items():
        np.testing.assert_allclose(value, expected[name], atol=1e-5, err_msg=name)


def test_two_directions_in_two_layers():
    """PyTorch's and cuDNN's order: kernels of layer 0 forward, backward, layer 1 forward, ..., then all biases."""
    runs = [(WIDTH, 0), (WIDTH, 1), (2 * UNITS, 0), (2 * UNITS, 1)]
    kernels = [
        [RANDOM.normal(size=(4, UNITS, columns)).astype("float32") / 2 for columns in (width, UNITS)]
        for width, _ in runs
    ]
    biases = [RANDOM.normal(size=(2, 4, UNITS)).astype("float32") / 2 for _ in runs]
    packed = np.concatenate([part.ravel() for pair in kernels for part in pair] + [bias.ravel() for bias in biases])

    def function(x):
        first = tf.zeros([tf.shape(x)[0], 4, UNITS])
        outputs, h, _, _, _ = tf.raw_ops.CudnnRNNV3(
            input=x,
            input_h=first,
            input_c=first,
            params=packed,
            sequence_lengths=tf.fill([tf.shape(x)[0]], tf.shape(x)[1]),
            rnn_mode="lstm",
            direction="bidirectional",
            time_major=False,
        )
        return {"y": outputs, "h": h}

    got, operators = run(function, {"x": X}, [SPEC])
    lengths = [TIME] * BATCH
    y, last = X, []
    for layer in (0, 2):
        ahead, h_ahead, _ = reference("lstm", y, lengths, kernels[layer], biases[layer])
        back, h_back, _ = reference("lstm", y[:, ::-1], lengths, kernels[layer + 1], biases[layer + 1])
        y = np.concatenate([ahead, back[:, ::-1]], axis=-1)
        last += [h_ahead, h_back]
    assert operators["LSTM"] == 2
    np.testing.assert_allclose(got["y"], y, atol=1e-5)
    np.testing.assert_allclose(got["h"], np.stack(last, 1), atol=1e-5)


@pytest.mark.parametrize("backwards", [False, True], ids=["forward", "backward"])
@pytest.mark.parametrize("kind", [layers.LSTM, layers.GRU])
def test_what_keras_traces_where_it_sees_a_gpu(monkeypatch, kind, backwards):
    """A function that was traced on a GPU machine keeps cuDNN's operator; Keras' own loop is the reference."""
    layer = kind(UNITS, return_sequences=True, return_state=True, go_backwards=backwards)
    expected = layer(X)
    keras_rnn = sys.modules[keras.src.backend.rnn.__module__]
    monkeypatch.setattr(keras_rnn, "_is_gpu_available", lambda: True)
    monkeypatch.setattr(tf.sysconfig, "get_build_info", lambda: {"is_cuda_build": True, "is_rocm_build": False})
    traced = tf.function(layer.__call__).get_concrete_function(tf.TensorSpec([None, None, WIDTH]))
    assert "CudnnRNNV3" in {operation.type for operation in traced.graph.get_operations()}
    got, operators = run(
        lambda x: {f"y{i}": tensor for i, tensor in enumerate(keras.tree.flatten(traced(x)))}, {"x": X}, [SPEC]
    )
    assert operators[kind.__name__] == 1
    for i, tensor in enumerate(expected):
        np.testing.assert_allclose(got[f"y{i}"], tensor, atol=1e-5)
