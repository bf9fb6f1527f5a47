"""Weight quantization of graphs built by hand: what ONNX Runtime computes, and which weights are stored how."""

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.testing import assert_allclose
from onnx import TensorProto, helper, numpy_helper

from tfseq.exporting.quantization.weight_quantization import to_float16, to_int8
from tfseq.exporting.rewriting import all_graphs, count_operators

RANDOM = np.random.default_rng(0)
WEIGHT = RANDOM.normal(size=(32, 40)).astype("float32")
X = RANDOM.normal(size=(5, 32)).astype("float32")
TABLE = RANDOM.normal(size=(64, 64)).astype("float32")


def model_of(nodes, constants, inputs, outputs, opset=18):
    """A graph of float32 inputs and outputs, given by name and shape; constants by name."""
    tensors = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    values = [
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in side.items()]
        for side in (inputs, outputs)
    ]
    graph = helper.make_graph(nodes, "g", *values, tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)


def run(model, **feeds):
    onnx.checker.check_model(model, full_check=True)
    return onnxruntime.InferenceSession(model.SerializeToString()).run(None, feeds)[0]


def product():
    return model_of(
        [helper.make_node("MatMul", ["x", "w"], ["y"])], {"w": WEIGHT}, {"x": ["batch", 32]}, {"y": ["batch", 40]}
    )


def lstm():
    """Two directions, 16 units, over (time, batch, 8)."""
    constants = {
        "w": RANDOM.normal(size=(2, 64, 8)).astype("float32"),
        "r": (0.3 * RANDOM.normal(size=(2, 64, 16))).astype("float32"),
        "b": RANDOM.normal(size=(2, 128)).astype("float32"),
    }
    node = helper.make_node("LSTM", ["x", *constants], ["y"], hidden_size=16, direction="bidirectional")
    return model_of([node], constants, {"x": ["time", "batch", 8]}, {"y": ["time", 2, "batch", 16]})


def loop():
    """h becomes tanh(h w + table[i]) three times; the weight and the table stand outside the loop."""
    body = helper.make_graph(
        [
            helper.make_node("MatMul", ["h", "w"], ["hw"]),
            helper.make_node("Gather", ["table", "i"], ["row"], axis=0),
            helper.make_node("Add", ["hw", "row"], ["sum"]),
            helper.make_node("Tanh", ["sum"], ["h_next"]),
            helper.make_node("Identity", ["go"], ["go_next"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("h", TensorProto.FLOAT, ["batch", 64]),
        ],
        [
            helper.make_tensor_value_info("go_next", TensorProto.BOOL, []),
            helper.make_tensor_value_info("h_next", TensorProto.FLOAT, ["batch", 64]),
        ],
    )
    constants = {"three": np.array(3), "yes": np.array(True), "w": 0.1 * TABLE, "table": TABLE[::-1].copy()}
    node = helper.make_node("Loop", ["three", "yes", "x"], ["y"], body=body)
    return model_of([node], constants, {"x": ["batch", 64]}, {"y": ["batch", 64]})


def test_a_product_is_the_product_of_quantized_values():
    model = product()
    to_int8(model)
    scale = np.float32((max(X.max(), 0) - min(X.min(), 0)) / 255)  # as the standard defines DynamicQuantizeLinear
    zero = np.uint8(np.clip(np.rint(-min(X.min(), 0) / scale), 0, 255))
    activations = np.clip(np.rint(X / scale) + zero, 0, 255).astype(int) - int(zero)
    columns = np.abs(WEIGHT).max(0) / 63  # seven bits
    weights = np.rint(WEIGHT / columns).astype(int)
    assert_allclose(run(model, x=X), (activations @ weights) * scale * columns, rtol=1e-5, atol=1e-6)
    assert_allclose(run(model, x=X), X @ WEIGHT, atol=0.3)
    assert count_operators(model.graph) == {
        **{"Cast": 1, "DynamicQuantizeLinear": 1, "MatMulInteger": 1, "Mul": 2},
    }


def test_float16_is_the_weights_rounded_and_nothing_else():
    model = product()
    to_float16(model)
    assert_allclose(run(model, x=X), X @ WEIGHT.astype("float16").astype("float32"), rtol=1e-5, atol=1e-6)


def test_values_that_float16_cannot_hold_stay_in_float32():
    model = product()
    huge = WEIGHT.copy()
    huge[0, 0] = 1e6
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(huge, "w"))
    assert to_float16(model).stored == 0
    assert_allclose(run(model, x=X), X @ huge, rtol=1e-5, atol=1e-5)


def test_gemm_keeps_its_bias():
    bias = RANDOM.normal(size=40).astype("float32")
    model = model_of(
        [helper.make_node("Gemm", ["x", "w", "b"], ["y"])],
        {"w": WEIGHT, "b": bias},
        {"x": ["batch", 32]},
        {"y": ["batch", 40]},
    )
    to_int8(model)
    assert_allclose(run(model, x=X), X @ WEIGHT + bias, atol=0.3)
    assert count_operators(model.graph)["MatMulInteger"] == 1


def test_products_of_one_activation_quantize_it_once():
    model = model_of(
        [
            helper.make_node("MatMul", ["x", "w"], ["a"]),
            helper.make_node("MatMul", ["x", "v"], ["b"]),
            helper.make_node("Sub", ["a", "b"], ["y"]),
        ],
        {"w": WEIGHT, "v": 2 * WEIGHT},
        {"x": ["batch", 32]},
        {"y": ["batch", 40]},
    )
    to_int8(model)
    assert count_operators(model.graph)["DynamicQuantizeLinear"] == 1
    assert_allclose(run(model, x=X), -(X @ WEIGHT), atol=0.6)


@pytest.mark.parametrize("convert", [to_int8, to_float16])
def test_weights_of_a_loop_are_stored_once_outside_it(convert):
    model = loop()
    x = RANDOM.normal(size=(3, 64)).astype("float32")
    expected = run(model, x=x)
    convert(model)
    large = [t for g in all_graphs(model.graph) for t in g.initializer if np.prod(t.dims) > 64]
    assert sorted(t.dims[0] * t.dims[1] for t in large) == [4096, 4096]
    assert {t.data_type for t in large} <= {TensorProto.INT8, TensorProto.FLOAT16}
    assert_allclose(run(model, x=x), expected, atol=0.05 if convert is to_int8 else 1e-3)


def test_products_inside_a_loop_are_of_integers():
    model = loop()
    to_int8(model)
    (node,) = [node for node in model.graph.node if node.op_type == "Loop"]
    assert [n.op_type for n in node.attribute[0].g.node].count("MatMulInteger") == 1


def test_a_weight_inside_a_loop_moves_out():
    model = loop()
    (body,) = [a.g for node in model.graph.node for a in node.attribute if a.name == "body"]
    (weight,) = [t for t in model.graph.initializer if t.name == "w"]
    body.initializer.append(weight)
    model.graph.initializer.remove(weight)
    expected = run(model, x=TABLE)
    to_int8(model)
    assert_allclose(run(model, x=TABLE), expected, atol=0.05)


def test_a_table_that_is_also_multiplied_with_is_stored_once():
    model = model_of(
        [
            helper.make_node("Cast", ["x"], ["i"], to=TensorProto.INT64),
            helper.make_node("Gather", ["table", "i"], ["row"]),
            helper.make_node("MatMul", ["row", "table"], ["y"]),
        ],
        {"table": TABLE},
        {"x": ["batch"]},
        {"y": ["batch", 64]},
    )
    x = np.array([0, 63, 5], "float32")
    to_int8(model)
    assert_allclose(run(model, x=x), TABLE[[0, 63, 5]] @ TABLE, atol=1)
    assert sum(np.prod(t.dims) > 64 for t in model.graph.initializer) == 1


def tied(embeddings):
    """Logits of a row of the embeddings, by the same embeddings transposed."""
    return model_of(
        [
            helper.make_node("Cast", ["x"], ["i"], to=TensorProto.INT64),
            helper.make_node("Gather", ["table", "i"], ["row"]),
            helper.make_node("Transpose", ["table"], ["transposed"], perm=[1, 0]),
            helper.make_node("MatMul", ["row", "transposed"], ["y"]),
        ],
        {"table": embeddings},
        {"x": ["batch"]},
        {"y": ["batch", len(embeddings)]},
    )


def test_tied_embeddings_are_stored_once_and_multiplied_in_int8():
    embeddings = TABLE[:, :32] * np.linspace(0.1, 3, 64, dtype="float32")[:, None]  # rows of different sizes
    model, x = tied(embeddings), np.array([0, 63, 5], "float32")
    to_int8(model)
    assert_allclose(run(model, x=x), embeddings[[0, 63, 5]] @ embeddings.T, atol=4)  # of up to 300
    assert sum(np.prod(t.dims) > 64 for t in model.graph.initializer) == 1
    operators = count_operators(model.graph)
    assert operators["MatMulInteger"] == 1
    assert "MatMul" not in operators


def test_a_weight_multiplied_with_both_ways_has_one_scale_and_right_results():
    model = model_of(
        [
            helper.make_node("MatMul", ["x", "w"], ["z"]),
            helper.make_node("Transpose", ["w"], ["transposed"], perm=[1, 0]),
            helper.make_node("MatMul", ["z", "transposed"], ["y"]),
        ],
        {"w": WEIGHT},
        {"x": ["batch", 32]},
        {"y": ["batch", 32]},
    )
    to_int8(model)
    assert_allclose(run(model, x=X), X @ WEIGHT @ WEIGHT.T, atol=6)
    assert sum(np.prod(t.dims) > 64 for t in model.graph.initializer) == 1


def test_recurrent_operators_stay_standard_and_their_weights_are_stored_in_int8():
    model = lstm()
    x = RANDOM.normal(size=(6, 3, 8)).astype("float32")
    expected = run(model, x=x)
    weights = to_int8(model)
    assert (weights.multiplied, weights.stored, weights.kept) == (0, 2 * 64 * (8 + 16), 256)
    assert {node.domain for node in model.graph.node} == {""}
    assert_allclose(run(model, x=x), expected, atol=0.05)


def test_a_table_that_forbids_tokens_stays_in_float32():
    """Rows of zeros and -inf, which generation adds to logits, have no scale."""
    forbidding = np.where(RANDOM.random((2, 1024)) < 0.5, -np.inf, 0).astype("float32")
    nodes = [
        helper.make_node("Cast", ["early"], ["i"], to=TensorProto.INT64),
        helper.make_node("Gather", ["forbidding", "i"], ["y"]),
    ]
    model = model_of(nodes, {"forbidding": forbidding}, {"early": ["batch"]}, {"y": ["batch", 1024]})
    assert to_int8(model).kept == forbidding.size
    np.testing.assert_array_equal(run(model, early=np.array([1, 0, 1], "float32")), forbidding[[1, 0, 1]])


def test_large_biases_and_other_constants_stay_in_float32():
    position = RANDOM.normal(size=(32, 32)).astype("float32")
    bias = RANDOM.normal(size=(2, 6 * 256)).astype("float32")
    constants = {
        "p": position,
        "w": WEIGHT[:, :32],
        "gru_w": RANDOM.normal(size=(2, 768, 32)).astype("float32"),
        "gru_r": RANDOM.normal(size=(2, 768, 256)).astype("float32"),
        "gru_b": bias,
    }
    model = model_of(
        [
            helper.make_node("Add", ["x", "p"], ["a"]),
            helper.make_node("MatMul", ["a", "w"], ["b"]),
            helper.make_node("Add", ["b", "w"], ["c"]),
            helper.make_node(
                "GRU", ["c", "gru_w", "gru_r", "gru_b"], ["y"], hidden_size=256, direction="bidirectional"
            ),
        ],
        constants,
        {"x": ["time", 32, 32]},
        {"y": ["time", 2, 32, 256]},
    )
    weights = to_int8(model)
    assert (weights.multiplied, weights.kept) == (32 * 32, position.size + bias.size)
    run(model, x=RANDOM.normal(size=(4, 32, 32)).astype("float32"))


def test_contrib_lets_lstms_compute_in_int8():
    model = lstm()
    x = RANDOM.normal(size=(6, 3, 8)).astype("float32")
    expected = run(model, x=x)
    weights = to_int8(model, contrib=True)
    assert weights.multiplied == 2 * 64 * (8 + 16)
    assert count_operators(model.graph) == {"DynamicQuantizeLSTM": 1}
    assert [o.domain for o in model.opset_import] == ["", "com.microsoft"]
    assert_allclose(run(model, x=x), expected, atol=0.1)


def test_convolutions_keep_to_float32_with_a_scale_for_each_filter():
    kernel = RANDOM.normal(size=(16, 8, 3, 3)).astype("float32")
    kernel[3] *= 1000
    model = model_of(
        [helper.make_node("Conv", ["x", "k"], ["y"])],
        {"k": kernel},
        {"x": ["batch", 8, 5, 5]},
        {"y": ["batch", 16, 3, 3]},
    )
    x = RANDOM.normal(size=(2, 8, 5, 5)).astype("float32")
    expected = run(model, x=x)
    to_int8(model)
    error = np.abs(run(model, x=x) - expected).max((0, 2, 3))
    assert (error < 0.03 * np.abs(expected).max((0, 2, 3))).all()
