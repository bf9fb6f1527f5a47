"""Handlers of floor division and modulo, and of searches among sorted values: Bucketize, LowerBound, InTopK."""

from typing import Any

import numpy as np
from onnx import TensorProto

from tfseq.exporting.conversion.operators.builder import Builder

_INTEGERS = {TensorProto.INT8, TensorProto.INT16, TensorProto.INT32, TensorProto.INT64}


def _floor_divide(graph: Any, node: Any, name: str, args: Any) -> None:
    """ONNX divides integers towards 0; x - (x mod y) divides without a rest."""
    op = Builder(graph, node)
    x, y = node.input
    if graph.get_dtype(x) in _INTEGERS:
        op.finish(op("Div", op("Sub", x, op("Mod", x, y)), y))
    elif graph.get_dtype(x) in (TensorProto.UINT8, TensorProto.UINT16, TensorProto.UINT32, TensorProto.UINT64):
        op.finish(op("Div", x, y))
    else:
        op.finish(op("Floor", op("Div", x, y)))


def _floor_mod(graph: Any, node: Any, name: str, args: Any) -> None:
    """ONNX's Mod of integers takes the sign of the divisor, as TensorFlow's does."""
    op = Builder(graph, node)
    x, y = node.input
    if graph.get_dtype(x) in (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16):
        op.finish(op("Sub", x, op("Mul", op("Floor", op("Div", x, y)), y)))
    else:
        op.finish(op("Mod", x, y))


def _bucketize(graph: Any, node: Any, name: str, args: Any) -> None:
    """How many boundaries are at most x."""
    op = Builder(graph, node)
    boundaries = np.asarray(node.get_attr("boundaries").floats, "float32")
    x = op("Cast", node.input[0], to=TensorProto.FLOAT)
    above = op("GreaterOrEqual", op("Unsqueeze", x, np.array([-1])), boundaries)
    count = op("ReduceSum", op("Cast", above, to=TensorProto.INT32), np.array([-1]), keepdims=0)
    op.finish(count)


def _bound(graph: Any, node: Any, name: str, args: Any) -> None:
    """How many of each row of sorted numbers are below (LowerBound) or at most (UpperBound) each value of the row."""
    op = Builder(graph, node)
    numbers, values = node.input
    comparison = "Less" if node.type == "LowerBound" else "LessOrEqual"
    below = op(comparison, op("Unsqueeze", numbers, np.array([1])), op("Unsqueeze", values, np.array([2])))
    count = op("ReduceSum", op("Cast", below, to=TensorProto.INT32), np.array([2]), keepdims=0)
    op.finish(op("Cast", count, to=graph.get_dtype(node.output[0])))


def _in_top_k(graph: Any, node: Any, name: str, args: Any) -> None:
    """Whether fewer than k predictions are above the target's."""
    op = Builder(graph, node)
    predictions, targets, k = node.input
    chosen = op("GatherElements", predictions, op("Unsqueeze", targets, np.array([1])), axis=1)
    above = op("Cast", op("Greater", predictions, chosen), to=TensorProto.INT32)
    count = op("ReduceSum", above, np.array([1]), keepdims=0)
    op.finish(op("Less", count, op("Cast", k, to=TensorProto.INT32)))


HANDLERS = {
    "FloorDiv": _floor_divide,
    "FloorMod": _floor_mod,
    "Bucketize": _bucketize,
    "LowerBound": _bound,
    "UpperBound": _bound,
    "InTopKV2": _in_top_k,
}
