"""Reductions over nothing: their axes counted from the front, as ONNX Runtime otherwise leaves an axis of size 0."""

from collections.abc import Mapping

import onnx
from onnx import numpy_helper

from tfseq.exporting.rewriting.graph import all_graphs, initializers
from tfseq.exporting.rewriting.pattern_matching import Values


def count_axes_from_the_front(model: onnx.ModelProto) -> None:
    """Reduce(x, [-1]) -> Reduce(x, [2]) of x (batch, steps, 0)."""
    constants = initializers(model.graph)
    reductions = [
        node for graph in all_graphs(model.graph) for node in graph.node if _counts_from_the_end(node, constants)
    ]
    if not reductions:
        return
    values = Values(model)
    for node in reductions:
        shape = values.shapes.get(node.input[0])
        if shape and 0 in shape:
            axes = [axis % len(shape) for axis in values.integers(node.input[1]) or ()]
            node.input[1] = values.constant(axes, node.output[0])


def _counts_from_the_end(node: onnx.NodeProto, constants: Mapping[str, onnx.TensorProto]) -> bool:
    if not node.op_type.startswith("Reduce") or len(node.input) < 2 or node.input[1] not in constants:
        return False
    return bool((numpy_helper.to_array(constants[node.input[1]]) < 0).any())
