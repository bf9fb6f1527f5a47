"""Constant folding of weight layouts: reshapes and transposes of weights, done once and for all."""

import math
from collections.abc import Callable

import numpy as np
import onnx
from onnx import GraphProto, NodeProto, numpy_helper

from tfseq.exporting.rewriting.graph import all_graphs, initializers, uses
from tfseq.exporting.rewriting.pattern_matching import LARGE, attribute
from tfseq.exporting.rewriting.weights import Weights


def fold_layouts(graph: GraphProto, weights: Weights) -> None:
    """Reshapes and transposes constants; not large ones with another reader, which would be stored twice."""
    constants, counts = initializers(graph), uses(graph)
    outputs = {output.name for g in all_graphs(graph) for output in g.output}
    for g in all_graphs(graph):
        kept = []
        for node in g.node:
            change = _change(node, constants)
            source = constants.get(node.input[0]) if change else None
            if (
                change is None
                or source is None
                or (counts[source.name] > 1 and math.prod(source.dims) > LARGE)
                or node.output[0] in outputs
            ):
                kept.append(node)
                continue
            graph.initializer.append(weights.changed(source, node.output[0], change))
            constants[node.output[0]] = graph.initializer[-1]
        del g.node[:]
        g.node.extend(kept)


def _change(node: NodeProto, constants: dict[str, onnx.TensorProto]) -> Callable[[np.ndarray], np.ndarray] | None:
    """What the node does to the layout of its first input, if all inputs are constants."""
    layout = _LAYOUTS.get(node.op_type)
    if layout is None or not all(name in constants for name in node.input):
        return None
    rest = [numpy_helper.to_array(constants[name]) for name in node.input[1:]]
    copy = NodeProto()
    copy.CopyFrom(node)  # the node itself goes away, and the change of a hollow tensor is made later
    return lambda array: layout(copy, array, *rest)


def _reshape(node: NodeProto, x: np.ndarray, shape: np.ndarray) -> np.ndarray:
    copied = attribute(node, "allowzero", 0) == 0
    return x.reshape([x.shape[i] if n == 0 and copied else n for i, n in enumerate(shape)])


def _squeeze(node: NodeProto, x: np.ndarray, axes: np.ndarray | None = None) -> np.ndarray:
    return np.squeeze(x, None if axes is None else tuple(int(axis) for axis in axes))


_LAYOUTS: dict[str, Callable[..., np.ndarray]] = {
    "Reshape": _reshape,
    "Transpose": lambda node, x: np.transpose(x, attribute(node, "perm")),
    "Squeeze": _squeeze,
    "Unsqueeze": lambda node, x, axes: np.expand_dims(x, tuple(int(axis) for axis in axes)),
}
