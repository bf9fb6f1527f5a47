"""Padding before max pooling, in ONNX Runtime with all its own rewrites."""

import numpy as np
import pytest
from onnx import TensorProto, helper

from tests.exporting.rewriting.test_simplify import model_of, run
from tfseq.exporting.rewriting.padded_pooling import keep_padding


@pytest.mark.parametrize("value", [(), (0.0,), (-9.0,)])
@pytest.mark.parametrize("moved", [False, True])
def test_the_margin_takes_part_in_the_maximum(moved, value):
    nodes = [
        helper.make_node("Neg", ["x"], ["below"]),
        helper.make_node("Pad", ["below", "pads", *(["value"] if value else [])], ["padded"]),
        helper.make_node("Transpose", ["padded"], ["turned"], perm=[0, 1, 3, 2]),
        helper.make_node("MaxPool", ["turned" if moved else "padded"], ["y"], kernel_shape=[2, 2], strides=[2, 2]),
    ]
    floats = [(name, TensorProto.FLOAT, [1, 1, *sizes]) for name, sizes in (("x", [4, 2]), ("y", [None, None]))]
    constants = {"pads": np.int64([0, 0, 1, 1, 0, 0, 1, 1])} | ({"value": np.float32(value[0])} if value else {})
    model = model_of(nodes if moved else [*nodes[:2], nodes[3]], floats[:1], floats[1:], constants)
    keep_padding(model)
    x = 1 + np.random.default_rng(0).random((1, 1, 4, 2)).astype("float32")
    padded = np.pad(-x, [(0, 0), (0, 0), (1, 1), (1, 1)], constant_values=value[0] if value else 0)
    padded = np.swapaxes(padded, 2, 3) if moved else padded
    rows, columns = (size // 2 for size in padded.shape[2:])
    expected = padded[:, :, : 2 * rows, : 2 * columns].reshape(1, 1, rows, 2, columns, 2).max((3, 5))
    np.testing.assert_allclose(run(model, x=x)[0], expected, atol=1e-30)
