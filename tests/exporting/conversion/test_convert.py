"""`to_onnx`: names and axes of the graph, comparisons, loops, and errors of the conversion."""

import re
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import onnxruntime
import pytest
import tensorflow as tf
from keras import ops

import tfseq
from tfseq.decoding.random import draw_bits, draw_keys
from tfseq.errors import ExportError
from tfseq.exporting.conversion.convert import to_onnx
from tfseq.exporting.conversion.untranslated import WORDS
from tfseq.exporting.rewriting import count_operators
from tfseq.runtime.manifest import TensorSpec


def converted(function, *inputs):
    model = to_onnx(function, inputs, 18)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    return model, lambda **feeds: dict(zip([o.name for o in session.get_outputs()], session.run(None, feeds)))


def test_names_order_and_axes_are_kept():
    inputs = (TensorSpec("second", "float32", ("batch", 3)), TensorSpec("first", "int32", ("batch", "time")))
    model, _ = converted(lambda second, first: {"sum": ops.sum(second, axis=1), "copy": first}, *inputs)
    shapes = {
        value.name: [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]
        for value in (*model.graph.input, *model.graph.output)
    }
    assert [value.name for value in model.graph.input] == ["second", "first"]
    assert shapes["second"] == ["batch", 3]
    assert shapes["first"] == ["batch", "time"]
    assert {"sum", "copy"} < shapes.keys()


def test_an_input_that_is_not_used_stays_an_input():
    inputs = (TensorSpec("used", "float32", ("batch",)), TensorSpec("idle", "float32", ("batch",)))
    _, run = converted(lambda used, idle: {"y": used * 2}, *inputs)
    assert run(used=np.ones(2, "float32"), idle=np.ones(2, "float32"))["y"].tolist() == [2, 2]


def test_random_bits_are_the_same_in_onnx_runtime():
    def function(seed, rows, positions):
        keys = draw_keys(seed, rows, positions)
        return {"keys": keys, "bits": draw_bits(ops.reshape(keys, (-1, 1)), 50)}

    inputs = (
        TensorSpec("seed", "int32", ()),
        TensorSpec("rows", "int32", ("r",)),
        TensorSpec("positions", "int32", ("p",)),
    )
    _, run = converted(function, *inputs)
    for seed in (0, 123456789, -1):
        arguments = [np.asarray(v, "int32") for v in (seed, range(7), range(1000, 1011))]
        expected = function(*arguments)
        got = run(**dict(zip(("seed", "rows", "positions"), arguments)))
        assert got["bits"].dtype == np.uint32
        for name in ("keys", "bits"):
            assert np.array_equal(got[name], expected[name])


def test_integers_are_compared_as_integers():
    big = 2**24 + 1  # the first that float32 does not hold
    spec = TensorSpec("x", "int32", ("batch",))
    _, run = converted(lambda x: {"less": x < big, "at_least": x >= big}, spec)
    result = run(x=np.array([big - 1, big], "int32"))
    assert result["less"].tolist() == [True, False]
    assert result["at_least"].tolist() == [False, True]


@pytest.mark.parametrize("dtype", ["float32", "int32", "int64", "bool", "uint32", "int8", "float16"])
def test_selection_is_one_operator_for_every_type(dtype):
    inputs = (
        TensorSpec("c", "bool", ("batch",)),
        TensorSpec("a", dtype, ("batch",)),
        TensorSpec("b", dtype, ("batch",)),
    )
    _, run = converted(lambda c, a, b: {"y": tf.where(c, a, b)}, *inputs)
    a, b = np.array([1, 0, 1]).astype(dtype), np.array([0, 1, 1]).astype(dtype)
    result = run(c=np.array([True, False, True]), a=a, b=b)["y"]
    assert result.dtype == dtype
    assert result.tolist() == [a[0], b[1], a[2]]


@pytest.mark.parametrize("dtype", ["int8", "uint8", "uint32", "int64", "float16"])
def test_every_type_is_compared(dtype):
    spec = TensorSpec("a", dtype, ("batch",)), TensorSpec("b", dtype, ("batch",))
    _, run = converted(lambda a, b: {"y": tf.greater(a, b)}, *spec)
    assert run(a=np.array([1, 3], dtype), b=np.array([2, 2], dtype))["y"].tolist() == [False, True]


def test_infinity_that_is_not_selected_leaves_no_trace():
    inputs = (TensorSpec("c", "bool", ("batch",)), TensorSpec("x", "float32", ("batch",)))
    _, run = converted(lambda c, x: {"y": ops.where(c, x, x * 2)}, *inputs)
    result = run(c=np.array([True, False]), x=np.array([1, np.inf], "float32"))["y"]
    assert result.tolist() == [1, np.inf]


def test_a_keras_loop_with_a_limit_converts():
    def function(x):
        steps, total = ops.while_loop(
            lambda i, total: ops.sum(total) < 50.0, lambda i, total: (i + 1, total + x), (0, x), maximum_iterations=4
        )
        return {"steps": ops.cast(steps, "int32"), "total": total}

    _, run = converted(function, TensorSpec("x", "float32", ("batch",)))
    for value in (1.0, 15.0):
        x = np.full(2, value, "float32")
        expected = function(tf.constant(x))
        got = run(x=x)
        assert got["steps"] == int(expected["steps"])
        assert np.array_equal(got["total"], expected["total"])


def test_what_has_no_translation_is_named():
    spec = TensorSpec("x", "float32", ("batch",))
    with pytest.raises(ExportError, match="Betainc"):
        to_onnx(lambda x: {"y": tf.math.betainc(x, x, x)}, [spec], 18)


def failing(x):
    raise ValueError("the cause")


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (
            lambda x: ops.qr(x)[0],
            r"The layer own \(Own\) computes a QR decomposition \(TensorFlow's Qr\), which has no",
        ),
        (lambda x: tf.nest.flatten(tf.linalg.lu(x))[0], r"The layer own \(Own\) computes an LU decomposition"),
        (lambda x: tf.linalg.diag(x, k=(0, 1)), r"The layer own \(Own\) .* here: Bands of diagonals, .* fixed\. Leave"),
        (lambda x: x + tf.random.Generator.from_seed(1).normal(()), r"The layer own \(Own\)"),
        (failing, r"The layer own \(Own\) can't be traced for ONNX: the cause$"),
    ],
)
def test_a_refusal_names_the_layer_what_it_computes_and_the_cause(function, message):
    class Own(keras.layers.Layer):
        def call(self, x):
            return function(x)

    layer = Own(name="own")
    with pytest.raises(ExportError, match=message):
        to_onnx(lambda x: {"y": layer(x)}, [TensorSpec("x", "float32", ("batch", 2, "time"))], 18)


def test_conversion_is_silent(capfd):
    keras.utils.set_random_seed(0)
    layer = keras.layers.GRU(4, return_sequences=True)
    layer.build((None, None, 3))
    to_onnx(lambda x: {"y": layer(x)}, [TensorSpec("x", "float32", ("batch", "time", 3))], 18)
    out, err = capfd.readouterr()
    assert out == ""
    assert [line for line in err.splitlines() if not line.startswith("I0000")] == []


class Branches(keras.Model):
    """Weights are read in the branches of a condition, and operators there depend on their ranks."""

    def __init__(self):
        super().__init__()
        sizes = {"wide": (3, 4), "tall": (4, 5), "bias": (4,)}
        for name, shape in sizes.items():
            setattr(self, name, self.add_weight(shape, "random_normal", name=name))

    def call(self, x):
        def positive():
            hidden = ops.softplus(ops.matmul(x, self.wide) + self.bias)
            return ops.sum((hidden * self.bias)[..., None] * self.tall, -2)[:, -1]

        def negative():
            inner = ops.cond(ops.mean(x) < -1, lambda: ops.tanh(x @ self.wide)[:, 0], lambda: (x @ self.wide)[:, -1])
            return ops.matmul(inner * self.bias, self.tall)

        return ops.cond(ops.sum(x) > 0, positive, negative)


def test_branches_know_the_shapes_of_weights(tmp_path):
    model, random = Branches(), np.random.default_rng(0)
    samples = [(random.normal(size=(2, 6, 3)) + mean).astype("float32") for mean in (2, -0.1, -2)]
    model(samples[0])
    tfseq.export(model, tmp_path / "model.onnx", samples=samples)
    for x in samples:
        np.testing.assert_allclose(tfseq.runtime.load(tmp_path / "model.onnx").predict(x), model(x), atol=1e-5)


BESIDE_A_TABLE = """
import sys
import keras, tfseq
vectorize = keras.layers.TextVectorization(vocabulary=["a", "fine", "film"])
vectorize(["a film"])
read = keras.Input((2,))
model = keras.Model(read, keras.layers.Dense(2)(read))
tfseq.export(model, f"{sys.argv[1]}/model.onnx")
tfseq.export(model, f"{sys.argv[1]}/saved")
"""


def test_tables_of_other_models_are_not_complained_about(tmp_path):
    run = subprocess.run([sys.executable, "-c", BESIDE_A_TABLE, tmp_path], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert "table_initializer" not in run.stdout + run.stderr


def test_no_operator_is_left_over():
    layer = keras.layers.Dense(4, bias_initializer="ones")
    layer.build((None, 3))
    model, _ = converted(lambda x: {"y": layer(x)}, TensorSpec("x", "float32", ("batch", 3)))
    assert count_operators(model.graph) == {"Add": 1, "MatMul": 1}


def test_the_manual_lists_what_is_refused():
    text = (Path(__file__).parents[3] / "docs/export.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| `(\w+)` \| (.*) \|$", text.partition("### What is refused")[2], re.MULTILINE)
    assert dict(listed) == WORDS
