"""Reductions over axes of size 0, in ONNX Runtime: their axes are gone."""

import numpy as np
import pytest
from onnx import TensorProto, helper

from tests.exporting.rewriting.test_simplify import model_of, run
from tfseq.exporting.rewriting.empty_reductions import count_axes_from_the_front

NUMPY = {"ReduceSum": np.sum, "ReduceProd": np.prod, "ReduceMax": lambda x, axis: np.max(x, axis, initial=-np.inf)}


@pytest.mark.parametrize("operator", NUMPY)
@pytest.mark.parametrize("axes", [[-1], [2], [-2], [-1, -3], [0, -1]])
def test_what_is_reduced_is_gone(operator, axes):
    nodes = [
        helper.make_node("Slice", ["x", "start", "end", "last"], ["nothing"]),
        helper.make_node(operator, ["nothing", "axes"], ["y"], keepdims=0),
    ]
    constants = {"start": np.int64([5]), "end": np.int64([9]), "last": np.int64([2]), "axes": np.int64(axes)}
    inputs = [("x", TensorProto.FLOAT, ["batch", 4, 3])]
    model = model_of(nodes, inputs, [("y", TensorProto.FLOAT, [None] * (3 - len(axes)))], constants)
    count_axes_from_the_front(model)
    x = np.ones((2, 4, 3), "float32")
    np.testing.assert_array_equal(run(model, x=x)[0], NUMPY[operator](x[:, :, 5:], axis=tuple(axes)))
