"""Graphs built by hand keep their results and lose their transposes."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from tfseq.exporting.recurrent.transposes import remove_transposes
from tfseq.exporting.rewriting import count_operators

X = np.random.default_rng(0).normal(size=(2, 5, 4)).astype("float32")
CONSTANTS = {
    "w": np.arange(16, dtype="float32").reshape(4, 4) / 10,
    "bias": np.arange(4, dtype="float32"),
    "per_step": np.arange(5, dtype="float32").reshape(5, 1, 1),
    "side_by_side": np.array([0, 0, 4]),
    "apart": np.array([0, 0, 2, 2]),
}


def exchange(x, y):
    return helper.make_node("Transpose", [x], [y], perm=[1, 0, 2])


def operators_after(nodes):
    """Counts, once the laid out graph was seen to give the same."""
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", "time", 4])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["i", "j", "k"])]
    read = {name for node in nodes for name in node.input}
    constants = [numpy_helper.from_array(value, name) for name, value in CONSTANTS.items() if name in read]
    graph = helper.make_graph(nodes, "g", inputs, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    before = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": X})
    remove_transposes(model.graph)
    onnx.checker.check_model(model, full_check=True)
    after = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": X})
    np.testing.assert_allclose(after[0], before[0], atol=1e-6)
    return count_operators(model.graph)


def test_a_pair_around_what_treats_positions_alike_goes():
    nodes = [
        exchange("x", "a"),
        helper.make_node("MatMul", ["a", "w"], ["b"]),
        helper.make_node("Add", ["b", "bias"], ["c"]),
        helper.make_node("Tanh", ["c"], ["d"]),
        exchange("d", "y"),
    ]
    assert operators_after(nodes) == {"Add": 1, "MatMul": 1, "Tanh": 1}


@pytest.mark.parametrize(
    "between",
    [
        helper.make_node("Add", ["a", "per_step"], ["b"]),
        helper.make_node("Softmax", ["a"], ["b"], axis=0),
        helper.make_node("LpNormalization", ["a"], ["b"], axis=0),
    ],
    ids=lambda node: node.op_type,
)
def test_a_pair_around_what_looks_at_time_stays(between):
    assert operators_after([exchange("x", "a"), between, exchange("b", "y")])["Transpose"] == 2


def test_a_transposed_value_that_others_read_stays():
    nodes = [
        exchange("x", "a"),
        helper.make_node("Tanh", ["a"], ["b"]),
        exchange("b", "c"),
        exchange("a", "d"),
        helper.make_node("Add", ["c", "d"], ["y"]),
    ]
    assert operators_after(nodes)["Transpose"] == 3


def test_directions_side_by_side_and_batches_first_take_one_transposition():
    nodes = [
        helper.make_node("Reshape", ["x", "apart"], ["a"]),
        helper.make_node("Transpose", ["a"], ["b"], perm=[0, 2, 1, 3]),
        helper.make_node("Transpose", ["b"], ["c"], perm=[0, 2, 1, 3]),
        helper.make_node("Reshape", ["c", "side_by_side"], ["d"]),
        exchange("d", "y"),
    ]
    assert operators_after(nodes)["Transpose"] == 2
