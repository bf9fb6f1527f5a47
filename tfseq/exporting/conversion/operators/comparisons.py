"""Handlers of comparisons and SelectV2: by ONNX' own operators, without tf2onnx's detours through floats.

tf2onnx keeps to what ONNX Runtime could do years ago: it compares integers as floats (wrong from 2^24 on) and selects
by multiplying with 0 and 1 (NaN where the other side is infinite, and six operators for one).
"""

from onnx import TensorProto

# What ONNX Runtime's CPU kernels take, which is less than the standard allows.
_COMPARED = {TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.INT32, TensorProto.INT64}
SELECTED = {*_COMPARED, TensorProto.UINT8, TensorProto.STRING}

_COMPARISONS = {
    "Greater": "Greater",
    "GreaterEqual": "GreaterOrEqual",
    "Less": "Less",
    "LessEqual": "LessOrEqual",
}


def _select(graph, node, name, args):
    dtype = graph.get_dtype(node.output[0])
    if dtype not in SELECTED:
        _compute_in(graph, node, TensorProto.FLOAT if dtype == TensorProto.FLOAT16 else TensorProto.INT64, (1, 2))
        graph.insert_new_node_on_output("Cast", node.output[0], to=dtype)
    node.type = "Where"


def _compare(graph, node, name, args):
    dtype = graph.get_dtype(node.input[0])
    counts_iterations = any("loop_counter" in name for name in node.input)  # int32 in TensorFlow, int64 in ONNX
    if dtype not in _COMPARED or counts_iterations:
        _compute_in(graph, node, TensorProto.FLOAT if dtype == TensorProto.FLOAT16 else TensorProto.INT64, (0, 1))
    node.type = _COMPARISONS[node.type]


def _compute_in(graph, node, dtype, inputs):
    for i in inputs:
        cast = graph.insert_new_node_on_input(node, "Cast", node.input[i], to=dtype)
        graph.set_dtype(cast.output[0], dtype)
    if 0 not in inputs:
        graph.set_dtype(node.output[0], dtype)


HANDLERS = {"SelectV2": _select, **dict.fromkeys(_COMPARISONS, _compare)}
