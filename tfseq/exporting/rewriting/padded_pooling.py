"""Padding before max pooling kept from ONNX Runtime, which makes it the pooling's own: that holds no zeros."""

import numpy as np
import onnx

from tfseq.exporting.rewriting.graph import all_graphs
from tfseq.exporting.rewriting.pattern_matching import Values, attribute

_TINY = np.finfo("float32").tiny  # beside any number as good as 0, and none that ONNX Runtime takes for it


def keep_padding(model: onnx.ModelProto) -> None:
    """MaxPool(Pad(x, 0)) -> MaxPool(Pad(x, 1e-38)): the largest of numbers below 0 and of a margin is the margin."""
    values = Values(model)
    for graph in all_graphs(model.graph):
        for node in list(graph.node):
            pad = _padding_before(values, node) if node.op_type == "MaxPool" else None
            if pad is None or attribute(pad, "mode", b"constant") != b"constant":
                continue
            filled = values.array(pad.input[2]) if len(pad.input) > 2 and pad.input[2] else np.zeros((), "float32")
            if filled is not None and filled.dtype == "float32" and not filled.any():
                name = values.constant(np.array(_TINY, "float32"), pad.output[0])
                rest = list(pad.input[3:])
                del pad.input[2:]
                pad.input.extend([name, *rest])


def _padding_before(values: Values, node: onnx.NodeProto) -> onnx.NodeProto | None:
    moved = values.node(node.input[0], "Transpose")
    return values.node(node.input[0] if moved is None else moved.input[0], "Pad")
