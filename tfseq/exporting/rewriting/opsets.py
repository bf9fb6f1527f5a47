"""Opsets: the one that a graph's operators need, and lifting a graph to a higher one than it was converted for."""

import numpy as np
import onnx
import onnxruntime
from onnx import helper

from tfseq.exporting.rewriting.graph import all_graphs
from tfseq.exporting.rewriting.pattern_matching import Values, attribute, put

CONVERTED = 18  # the highest that tf2onnx 1.17 writes
OPSETS = range(13, 25)  # from the oldest that tf2onnx 1.17 writes to the newest that ONNX Runtime 1.31 runs well

# In which opset an operator that fuses others came; above CONVERTED these decide what a graph needs.
FUSED = {"LayerNormalization": 17, "Gelu": 20, "Attention": 23, "RMSNormalization": 23}
_WITH_GELU = 20  # ONNX Runtime since 1.17
_WITH_ATTENTION = 24  # since 1.24; 1.23 fails on an Attention without a past


def newest_here() -> int:
    """The newest opset that the installed onnx knows and the installed ONNX Runtime runs in full."""
    runtime = tuple(int(number) for number in onnxruntime.__version__.split(".")[:2])
    return min(onnx.defs.onnx_opset_version(), _WITH_ATTENTION if runtime >= (1, 24) else _WITH_GELU, OPSETS[-1])


def needed(model: onnx.ModelProto) -> int:
    """The opset that the graph's operators came in, at least CONVERTED."""
    return max(CONVERTED, *(FUSED.get(node.op_type, 0) for graph in all_graphs(model.graph) for node in graph.node))


def lift(model: onnx.ModelProto, opset: int) -> None:
    """From CONVERTED to a higher opset, in place.

    From 19 to 24 operators took new types and new optional attributes; two changed otherwise: DFT takes its axis as an
    input since 20, and GridSample, which no handler writes, names its modes otherwise.
    """
    if opset >= 20:
        _dft_axes_as_inputs(model)
    for declared in model.opset_import:
        if declared.domain == "":
            declared.version = opset
    model.ir_version = helper.find_min_ir_version_for(model.opset_import, ignore_unknown=True)


def _dft_axes_as_inputs(model: onnx.ModelProto) -> None:
    if not any(node.op_type == "DFT" for graph in all_graphs(model.graph) for node in graph.node):
        return
    values = Values(model)
    for graph in all_graphs(model.graph):
        for node in graph.node:
            if node.op_type == "DFT" and len(node.input) < 3:
                axis = values.constant(np.int64(attribute(node, "axis", 1)), node.output[0])
                options = {name: attribute(node, name, 0) for name in ("inverse", "onesided")}
                put(values, node, "DFT", [node.input[0], *(node.input[1:] or [""]), axis], **options)
