"""Handler of OneHot: of any number of axes and any type, by comparisons where ONNX Runtime's own takes floats alone."""

from typing import Any

import numpy as np
from onnx import TensorProto
from tf2onnx.onnx_opset.tensor import OneHot

from tfseq.exporting.conversion.operators.builder import Builder
from tfseq.exporting.conversion.operators.comparisons import SELECTED


def _one_hot(graph: Any, node: Any, name: str, args: Any) -> None:
    """Of floats as ONNX' OneHot, of others by comparison with each class; nothing is on where an index is no class."""
    op = Builder(graph, node)
    indices, depth, on, off = node.input
    dtype = graph.get_dtype(node.output[0])
    classes, shape = op.value(depth), op.shape(indices)
    if dtype == TensorProto.FLOAT or classes is None or shape is None:
        (OneHot.version_13 if graph.opset >= 13 else OneHot.version_11)(graph, node)
        return
    axis = node.get_attr_int("axis") % (len(shape) + 1)
    count = int(classes)
    numbers = np.arange(count, dtype=np.int64).reshape(count, *[1] * (len(shape) - axis))
    indices = op("Unsqueeze", op("Cast", indices, to=TensorProto.INT64), np.array([axis]))
    chosen = op("Equal", indices, numbers)
    if dtype in SELECTED:
        op.finish(op("Where", chosen, on, off))
    elif op.value(on) == 1 and op.value(off) == 0:
        op.finish(op("Cast", chosen, to=dtype))
    else:
        wide = (op("Cast", x, to=TensorProto.FLOAT) for x in (on, off))
        op.finish(op("Cast", op("Where", chosen, *wide), to=dtype))


HANDLERS = {"OneHot": _one_hot}
