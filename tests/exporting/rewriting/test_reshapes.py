"""Transposes that copy nothing become reshapes, of fixed and free sizes; ONNX Runtime gives what NumPy gives."""

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper

from tfseq.exporting.rewriting.reshapes import reshape_where_only_ones_move

RANDOM = np.random.default_rng(0)


def transposed(shape, order):
    """A graph that transposes; names in the shape are of free axes."""
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [None] * len(shape))
    graph = helper.make_graph([helper.make_node("Transpose", ["x"], ["y"], perm=order)], "g", [x], [y])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def test_transposes_of_any_order_keep_their_result():
    kinds = set()
    for _ in range(60):
        x = RANDOM.normal(size=RANDOM.choice([1, 1, 2, 3], size=RANDOM.integers(1, 5))).astype("float32")
        order = RANDOM.permutation(x.ndim).tolist()
        shape = [f"axis{i}" if RANDOM.random() < 0.3 else n for i, n in enumerate(x.shape)]
        model = transposed(shape, order)
        reshape_where_only_ones_move(model)
        onnx.checker.check_model(model, full_check=True)
        (found,) = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": x})
        assert np.array_equal(found, x.transpose(order))
        kind = model.graph.node[0].op_type
        moved = [axis for axis in order if shape[axis] != 1]
        if kind == "Reshape":
            assert moved == sorted(moved)
        elif all(isinstance(n, int) for n in shape):
            assert moved != sorted(moved)
        kinds.add(kind)
    assert kinds == {"Reshape", "Transpose"}


def test_two_free_axes_stay_a_transpose_where_both_change_places():
    kinds = []
    for shape, order in ((("batch", 1, "time", 1), [0, 2, 1, 3]), ((1, "batch", "time"), [1, 2, 0])):
        model = transposed(shape, order)
        reshape_where_only_ones_move(model)
        kinds.append(model.graph.node[0].op_type)
    assert kinds == ["Reshape", "Transpose"]
