"""Shape inference believes what a loop body declares about its state, which ONNX's own inference forgets."""

import pytest

pytest.importorskip("onnx")
from onnx import ModelProto, TensorProto, helper

from tfseq.exporting.rewriting.pattern_matching import Values


def looped(state_shape) -> ModelProto:
    """state <- state @ w, then reshaped by a constant, three times; w is made outside."""

    def scalar(name, kind):
        return helper.make_tensor_value_info(name, kind, [])

    def state(name):
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, state_shape)

    body = helper.make_graph(
        [
            helper.make_node("MatMul", ["h", "w"], ["product"]),
            helper.make_node("Reshape", ["product", "shape"], ["split"]),
            helper.make_node("ReduceSum", ["split", "axis"], ["next"], keepdims=0),
            helper.make_node("Identity", ["go_on"], ["still"]),
        ],
        "body",
        [scalar("i", TensorProto.INT64), scalar("go_on", TensorProto.BOOL), state("h")],
        [scalar("still", TensorProto.BOOL), state("next")],
    )
    graph = helper.make_graph(
        [
            helper.make_node("Neg", ["v"], ["w"]),
            helper.make_node("Loop", ["trips", "", "h0"], ["last"], body=body),
        ],
        "graph",
        [state("h0"), helper.make_tensor_value_info("v", TensorProto.FLOAT, [6, 12])],
        [helper.make_tensor_value_info("last", TensorProto.FLOAT, None)],
        [
            helper.make_tensor("trips", TensorProto.INT64, [], [3]),
            helper.make_tensor("shape", TensorProto.INT64, [3], [-1, 2, 6]),
            helper.make_tensor("axis", TensorProto.INT64, [1], [1]),
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def test_shapes_in_a_body_follow_from_its_declared_state_and_from_outside():
    shapes = Values(looped(["batch", 6])).shapes
    assert shapes["product"] == ("batch", 12)
    assert shapes["split"][1:] == (2, 6)


def test_a_state_without_a_declared_shape_has_none():
    shapes = Values(looped(None)).shapes
    assert "product" not in shapes
    assert shapes["split"][1:] == (2, 6)
