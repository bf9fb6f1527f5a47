"""Constant folding of weight layouts: reshapes and transposes of weights, done once and for all."""

from collections.abc import Callable

import numpy as np
import onnx
from onnx import GraphProto, NodeProto, numpy_helper

from tfseq.exporting.rewriting.graph import all_graphs, initializers, uses
from tfseq.exporting.rewriting.pattern_matching import LARGE, attribute


def fold_layouts(graph: GraphProto) -> None:
    """Reshapes and transposes constants; not large ones with another reader, which would be stored twice."""
    constants, counts = initializers(graph), uses(graph)
    outputs = {output.name for g in all_graphs(graph) for output in g.output}
    for g in all_graphs(graph):
        kept = []
        for node in g.node:
            arrays = _arrays(node, constants)
            alone = arrays is not None and (counts[node.input[0]] == 1 or arrays[0].size <= LARGE)
            alone = alone and node.output[0] not in outputs
            if arrays is None or not alone:
                kept.append(node)
                continue
            result = numpy_helper.from_array(
                np.ascontiguousarray(_LAYOUTS[node.op_type](node, *arrays)), node.output[0]
            )
            graph.initializer.append(result)
            constants[node.output[0]] = graph.initializer[-1]
        del g.node[:]
        g.node.extend(kept)


def _arrays(node: NodeProto, constants: dict[str, onnx.TensorProto]) -> list[np.ndarray] | None:
    if node.op_type not in _LAYOUTS or not all(name in constants for name in node.input):
        return None
    return [numpy_helper.to_array(constants[name]) for name in node.input]


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
