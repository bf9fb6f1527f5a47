"""Handlers of Cross (products of 3-vectors), BroadcastArgs (what two shapes broadcast to) and ScatterNd (sums)."""

from typing import Any

import numpy as np
from onnx import TensorProto
from tf2onnx import utils

from tfseq.exporting.conversion.operators.builder import Builder


def _cross(graph: Any, node: Any, name: str, args: Any) -> None:
    """Of vectors of three: (a x b)_i = a_j b_k - a_k b_j, with (i, j, k) in turn 012, 120, 201."""
    op = Builder(graph, node)
    next_, last = np.array([1, 2, 0]), np.array([2, 0, 1])
    (a_j, a_k), (b_j, b_k) = ([op("Gather", x, i, axis=-1) for i in (next_, last)] for x in node.input)
    op.finish(op("Sub", op("Mul", a_j, b_k), op("Mul", a_k, b_j)))


def _broadcast_shapes(graph: Any, node: Any, name: str, args: Any) -> None:
    """Aligned at the end, the size that is not 1."""
    op = Builder(graph, node)
    dtype = utils.map_onnx_to_numpy_type(graph.get_dtype(node.input[0]))
    ranks = [size for x in node.input for size in op.shape(x) or [None] if size is not None]
    if len(ranks) < 2:
        raise ValueError("Tensors with an unknown number of axes are broadcast to each other's shape.")
    a, b = (
        op("Concat", np.ones(max(ranks) - rank, dtype), x, axis=0) if rank < max(ranks) else x
        for x, rank in zip(node.input, ranks)
    )
    op.finish(op("Where", op("Equal", a, np.ones(1, dtype)), b, a))


def _scatter(graph: Any, node: Any, name: str, args: Any) -> None:
    """What goes to the same place is added up: ONNX can from opset 16 on, and below as a product with a matrix of 0 and
    1, (places, updates)."""
    op = Builder(graph, node)
    updates = node.input[1]
    indices, shape = (op("Cast", x, to=TensorProto.INT64) for x in (node.input[0], node.input[2]))
    if graph.opset >= 16:
        zeros = op("Expand", op.like(0, updates), shape)
        op.finish(op("ScatterND", zeros, indices, updates, reduction="add"))
        return
    if (op.shape(node.input[0]) or [None])[-1] != 1:
        raise ValueError("What has places of several axes is added up from opset 16 on.")
    zero, one = np.array(0), np.array(1)
    places = op("Range", zero, op("Gather", shape, zero, axis=0), one)
    there = op("Reshape", indices, np.array([-1, 1]))  # (updates, 1)
    hits = op("Cast", op("Equal", there, places), to=graph.get_dtype(updates))  # (updates, places)
    count = op("Gather", op("Shape", there), np.array([0]), axis=0)
    rows = op("Reshape", updates, op("Concat", count, np.array([-1]), axis=0))
    op.finish(op("Reshape", op("MatMul", op("Transpose", hits, perm=[1, 0]), rows), shape))


HANDLERS = {"Cross": _cross, "BroadcastArgs": _broadcast_shapes, "ScatterNd": _scatter}
