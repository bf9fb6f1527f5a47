"""Patterns become single operators at opsets that have them; `tfseq.export` verifies each file against Keras."""

import keras
import numpy as np
import onnx
import onnxruntime
import pytest
import tensorflow as tf
from keras import layers, ops
from onnx import TensorProto, helper, numpy_helper

import tfseq
from tfseq.exporting.rewriting import count_operators, fuse
from tfseq.runtime import load

PRODUCTS = {"MatMul", "Softmax", "Einsum"}


def exported(tmp_path, model, **options):
    random = np.random.default_rng(0)
    for weight in model.weights:
        weight.assign(random.normal(size=weight.shape, scale=0.5))
    return tfseq.export(model, tmp_path / "model.onnx", **options)


def over_sequences(function, width=8):
    x = keras.Input((None, width), name="x")
    return keras.Model(x, function(x))


def over_tokens(function):
    """`function` of an embedding that masks token 0."""
    tokens = keras.Input((None,), dtype="int32", name="tokens")
    return keras.Model(tokens, function(layers.Embedding(20, 8, mask_zero=True)(tokens)))


def cross_attention():
    query, memory = keras.Input((None, 8), name="query"), keras.Input((None, 6), name="memory")
    return keras.Model([query, memory], layers.MultiHeadAttention(2, 4, value_dim=3)(query, memory))


def heads(**options):
    return layers.MultiHeadAttention(2, 4, **options)


ATTENTION = {
    "self": lambda: over_sequences(lambda x: heads()(x, x)),
    "causal": lambda: over_sequences(lambda x: heads()(x, x, use_causal_mask=True)),
    "with dropout": lambda: over_sequences(lambda x: heads(dropout=0.1)(x, x, use_causal_mask=True)),
    "cross": cross_attention,
    "padded": lambda: over_tokens(lambda x: heads()(x, x)),
    "padded with dropout": lambda: over_tokens(lambda x: heads(dropout=0.1)(x, x)),
    "padded and causal": lambda: over_tokens(lambda x: heads()(x, x, use_causal_mask=True)),
    "grouped queries": lambda: over_sequences(lambda x: layers.GroupQueryAttention(4, 4, 2)(x, x)),
    "one head": lambda: over_sequences(lambda x: layers.Attention()([x, x])),
    "one head, causal": lambda: over_sequences(
        lambda x: layers.Attention(use_scale=True)([x, x], use_causal_mask=True)
    ),
    "one head, padded": lambda: over_tokens(lambda x: layers.Attention()([x, x])),
}


@pytest.mark.parametrize("name", ATTENTION)
def test_attention_is_one_operator(tmp_path, name):
    manifest = exported(tmp_path, ATTENTION[name]())
    assert manifest.opset == 23
    assert manifest.operators["Attention"] == 1
    assert "Softmax" not in manifest.operators
    assert manifest.operators.get("MatMul", 0) == (0 if name.startswith("one head") else 4)  # the projections


def test_attention_written_by_hand_is_one_operator(tmp_path):
    class ScaledDotProduct(layers.Layer):
        def call(self, x):
            scores = tf.matmul(x, x, transpose_b=True) / tf.sqrt(8.0)
            scores += -1e9 * (1 - tf.linalg.band_part(tf.ones((tf.shape(x)[1], tf.shape(x)[1])), -1, 0))
            return tf.matmul(tf.nn.softmax(scores, axis=-1), x)

    assert exported(tmp_path, over_sequences(ScaledDotProduct())).operators["Attention"] == 1


@pytest.mark.parametrize(
    "function",
    [
        lambda x: heads()(x, x, return_attention_scores=True)[1],
        lambda x: ops.matmul(ops.softmax(ops.matmul(x, ops.transpose(x, (0, 2, 1))), axis=1), x),
    ],
)
def test_what_is_not_attention_stays(tmp_path, function):
    operators = exported(tmp_path, over_sequences(function)).operators
    assert "Softmax" in operators
    assert "Attention" not in operators


@pytest.mark.parametrize("opset", [13, 18, 20, 22, 23, 24])
def test_a_transformer_block_at_any_opset(tmp_path, opset):
    def block(x):
        x = layers.LayerNormalization()(x + heads()(x, x, use_causal_mask=True))
        return layers.LayerNormalization()(x + layers.Dense(8)(layers.Dense(16, activation="gelu")(x)))

    manifest = exported(tmp_path, over_sequences(block), opset=opset)
    (declared,) = onnx.load(tmp_path / "model.onnx").opset_import
    assert declared.version == manifest.opset == opset
    fused = {"LayerNormalization": 2 * (opset >= 17), "Gelu": int(opset >= 20), "Attention": int(opset >= 23)}
    assert {name: manifest.operators.get(name, 0) for name in fused} == fused


DEFAULT_OPSETS = {
    18: lambda x: layers.LayerNormalization()(layers.GRU(3)(x)),
    20: lambda x: layers.Dense(3, activation="gelu")(x),
    23: lambda x: layers.Attention()([x, x]),
}


@pytest.mark.parametrize("opset", DEFAULT_OPSETS)
def test_the_default_opset_is_the_lowest_that_suits_the_model(tmp_path, opset):
    manifest = exported(tmp_path, over_sequences(DEFAULT_OPSETS[opset]))
    assert manifest.opset == opset
    model = onnx.load(tmp_path / "model.onnx")
    assert model.ir_version == helper.find_min_ir_version_for(model.opset_import)


def test_an_older_runtime_gets_no_operators_that_it_lacks(tmp_path, monkeypatch):
    monkeypatch.setattr(onnxruntime, "__version__", "1.20.1")
    manifest = exported(tmp_path, over_sequences(lambda x: DEFAULT_OPSETS[23](DEFAULT_OPSETS[20](x))))
    assert manifest.opset == 20
    assert manifest.operators["Gelu"] == 1
    assert "Attention" not in manifest.operators


def textbook(x):
    mean = ops.mean(x, -1, keepdims=True)
    variance = ops.mean(ops.square(x - mean), -1, keepdims=True)
    return (x - mean) / ops.sqrt(variance + 1e-5)


class Normalization(layers.Layer):
    """(x - mean) / deviation * scale + shift, as in many a tutorial."""

    def build(self, shape):
        self.scale = self.add_weight(shape=(shape[-1],))
        self.shift = self.add_weight(shape=(shape[-1],))

    def call(self, x):
        return textbook(x) * self.scale + self.shift


class Root(layers.Layer):
    def build(self, shape):
        self.scale = self.add_weight(shape=(shape[-1],))

    def call(self, x):
        return self.scale * (x * ops.rsqrt(ops.mean(x * x, -1, keepdims=True) + 1e-6))


class Mapped(layers.Layer):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def call(self, x):
        return self.function(x)


SINGLE = {
    "LayerNormalization": lambda: layers.LayerNormalization(),
    "LayerNormalization without shift": lambda: layers.LayerNormalization(center=False),
    "LayerNormalization without scale": lambda: layers.LayerNormalization(scale=False),
    "LayerNormalization plain": lambda: layers.LayerNormalization(scale=False, center=False),
    "LayerNormalization by its textbook formula": Normalization,
    "LayerNormalization by its formula, plain": lambda: Mapped(textbook),
    "RMSNormalization": lambda: layers.RMSNormalization(),
    "RMSNormalization by its formula": Root,
    "Gelu": lambda: layers.Activation("gelu"),
    "Gelu by tanh": lambda: Mapped(lambda x: keras.activations.gelu(x, approximate=True)),
    "Gelu by its formula": lambda: Mapped(lambda x: 0.5 * x * (1 + tf.math.erf(x / tf.sqrt(2.0)))),
    "Gelu by the formula of GPT-2": lambda: Mapped(
        lambda x: 0.5 * x * (1 + tf.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * tf.pow(x, 3))))
    ),
    "Softmax": lambda: layers.Softmax(),
}


@pytest.mark.parametrize("name", SINGLE)
def test_one_operator(tmp_path, name):
    assert exported(tmp_path, over_sequences(SINGLE[name]())).operators == {name.split()[0]: 1}


def test_normalization_over_several_axes(tmp_path):
    x = keras.Input((None, 4, 5))
    model = keras.Model(x, layers.LayerNormalization(axis=(-2, -1))(x))
    assert exported(tmp_path, model).operators == {"LayerNormalization": 1}


@pytest.mark.parametrize(
    "function",
    [
        lambda x: layers.LayerNormalization(axis=1)(ops.reshape(x, (-1, 4, 8))),
        lambda x: 0.5 * x * (1 + ops.erf(x / 1.5)),
        lambda x: (x - ops.mean(x, -1, keepdims=True)) / ops.sqrt(ops.mean(x * x, -1, keepdims=True) + 1e-3),
    ],
)
def test_what_is_only_similar_stays(tmp_path, function):
    x = keras.Input((4, 8))
    operators = exported(tmp_path, keras.Model(x, function(x))).operators
    assert not {"LayerNormalization", "RMSNormalization", "Gelu"} & set(operators)


def test_a_product_that_is_read_elsewhere_stays():
    """softmax(q k') v whose weights are an output, too."""
    constants = [numpy_helper.from_array(np.float32(0.5), "half")]
    nodes = [
        helper.make_node("Transpose", ["k"], ["kt"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["q", "kt"], ["product"]),
        helper.make_node("Mul", ["product", "half"], ["scaled"]),
        helper.make_node("Softmax", ["scaled"], ["weights"], axis=-1),
        helper.make_node("MatMul", ["weights", "v"], ["y"]),
    ]
    value = lambda name: helper.make_tensor_value_info(name, TensorProto.FLOAT, ["b", "t", 4])  # noqa: E731
    weights = helper.make_tensor_value_info("weights", TensorProto.FLOAT, ["b", "t", "t"])
    for outputs, expected in (([value("y")], {"Attention": 1}), ([value("y"), weights], None)):
        graph = helper.make_graph(nodes, "g", [value(name) for name in "qkv"], outputs, constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
        before = count_operators(model.graph)
        fuse(model, None)
        onnx.checker.check_model(model, full_check=True)
        assert count_operators(model.graph) == (expected or before)


def test_weights_are_stored_in_the_layout_that_products_read(tmp_path):
    exported(tmp_path, over_sequences(lambda x: layers.MultiHeadAttention(4, 32)(x, x), width=128))
    model = onnx.load(tmp_path / "model.onnx")
    weights = {tensor.name for tensor in model.graph.initializer}
    assert not [n for n in model.graph.node if n.op_type in ("Reshape", "Transpose") and n.input[0] in weights]


def test_masked_queries_get_what_keras_gives_them(tmp_path):
    model = over_tokens(lambda x: heads(dropout=0.1)(x, x))
    exported(tmp_path, model)
    tokens = np.array([[0, 0, 0], [5, 3, 0]], "int32")
    output = load(tmp_path / "model.onnx").predict(tokens=tokens)
    assert np.allclose(output, model(tokens), atol=1e-5)
