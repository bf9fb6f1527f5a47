"""Reductions over nothing: their axes counted from the front, as ONNX Runtime otherwise leaves an axis of size 0."""

import onnx

from tfseq.exporting.rewriting.graph import all_graphs, initializers
from tfseq.exporting.rewriting.pattern_matching import Values


def count_axes_from_the_front(model: onnx.ModelProto) -> None:
    """Reduce(x, [-1]) -> Reduce(x, [2]) of x (batch, steps, 0)."""
    reductions = [node for graph in all_graphs(model.graph) for node in graph.node if _has_axes(node)]
    constants = initializers(model.graph)
    if not any(node.input[1] in constants for node in reductions):
        return
    values = Values(model)
    for node in reductions:
        axes, shape = values.integers(node.input[1]), values.shapes.get(node.input[0])
        if axes and shape and 0 in shape and min(axes) < 0:
            node.input[1] = values.constant([axis % len(shape) for axis in axes], node.output[0])


def _has_axes(node: onnx.NodeProto) -> bool:
    return node.op_type.startswith("Reduce") and len(node.input) > 1 and bool(node.input[1])
