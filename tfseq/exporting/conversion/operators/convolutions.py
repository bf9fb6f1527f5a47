"""Handlers of convolutions and pooling: groups in 3-D, strides above the kernel, and transposed convolutions."""

from typing import Any

import numpy as np
from onnx import TensorProto
from tf2onnx.onnx_opset import nn

from tfseq.exporting.conversion.operators.builder import Builder


def _convolve(graph: Any, node: Any, name: str, args: Any) -> None:
    *kernel, depth, _ = graph.get_shape(node.input[1])
    axis = -1 if _channels_last(node) else 1
    channels = (graph.get_shape(node.input[0]) or {axis: -1})[axis]
    _crop(Builder(graph, node), kernel)
    nn.ConvOp.any_version(graph.opset, graph, node)
    if channels > 0 and depth > 0:
        node.set_attr("group", channels // depth)


def _convolve_each_channel(graph: Any, node: Any, name: str, args: Any) -> None:
    _crop(Builder(graph, node), graph.get_shape(node.input[1])[:2])
    nn.DepthwiseConv2d.version_1(graph, node)


def _pool(graph: Any, node: Any, name: str, args: Any) -> None:
    kind = node.type
    if len(node.input) == 1:
        kernel = _spatial(node, node.get_attr("ksize").ints)
        _crop(Builder(graph, node), kernel)
        _drop_partial_windows(Builder(graph, node), kernel)
    node.type = "AveragePool" if kind.startswith("Avg") else "MaxPool"
    nn.PoolOp.version_11(graph, node, tf_op=kind)


def _drop_partial_windows(op: Builder, kernel: list[int]) -> None:
    """None where the whole axis is shorter than a window; ONNX Runtime gives one, of infinities."""
    graph, node = op.graph, op.node
    shape = op.shape(node.input[0])
    if node.get_attr_value("padding") != b"VALID" or shape is None:
        return
    first = 1 if _channels_last(node) else 2
    strides, _ = _strides_and_dilations(node, len(kernel))
    axes = [i for i, stride in enumerate(strides) if stride > 1 and kernel[i] > 1 and shape[first + i] is None]
    if not axes:
        return
    at = np.array([first + i for i in axes])
    window, stride = (np.array([values[i] for i in axes]) for values in (kernel, strides))
    n = op("Gather", op("Shape", node.input[0]), at, axis=0)
    windows = op("Div", op("Sub", n, window - stride), stride)
    starts, by_axis = op.constant(np.zeros(len(axes), "int64")), op.constant(at)
    pooled = node.output[0]
    kept = graph.insert_new_node_on_output("Slice", pooled, inputs=[pooled, starts, windows, by_axis])
    graph.copy_shape(pooled, kept.output[0])
    graph.copy_dtype(pooled, kept.output[0])
    kept.skip_conversion = True


def _channels_last(node: Any) -> bool:
    return not (node.get_attr_value("data_format") or b"NHWC").startswith(b"NC")


def _spatial(node: Any, values: Any) -> list[int]:
    """Those of the axes between batch and channels, of one value per axis."""
    return list(values[1:-1] if _channels_last(node) else values[2:])


def _strides_and_dilations(node: Any, rank: int) -> tuple[list[int], list[int]]:
    strides, dilations = (node.get_attr(key) for key in ("strides", "dilations"))
    return (
        _spatial(node, strides.ints) if strides else [1] * rank,
        _spatial(node, dilations.ints) if dilations and len(dilations.ints) else [1] * rank,
    )


def _crop(op: Builder, kernel: list[int]) -> None:
    """Cuts off what no window reaches, where "same" padding would be negative: with a stride above the kernel.

    Of n steps, ceil(n / stride) windows reach to (ceil(n / stride) - 1) * stride + extent, that of the dilated kernel.
    TensorFlow leaves the rest at the end, in three dimensions half of it at the start; ONNX Runtime pads
    sizes that are free by the negative number.
    """
    graph, node = op.graph, op.node
    x = node.input[0]
    shape = op.shape(x)
    if node.get_attr_value("padding") != b"SAME" or shape is None or len(shape) != len(kernel) + 2:
        return
    first = 1 if _channels_last(node) else 2
    halved = node.type == "Conv3D"
    strides, dilations = _strides_and_dilations(node, len(kernel))
    extents = [(k - 1) * dilation + 1 for k, dilation in zip(kernel, dilations)]
    axes = [i for i, stride in enumerate(strides) if stride > extents[i] > 0]
    if not axes or not (halved or None in shape[first : first + len(kernel)]):
        return
    at = np.array([first + i for i in axes])
    stride, extent = (np.array([values[i] for i in axes]) for values in (strides, extents))
    n = op("Gather", op("Shape", x), at, axis=0)
    windows = op("Div", op("Sub", n, np.array(1)), stride)  # before the last one
    end = op("Add", op("Mul", windows, stride), extent)
    none = np.zeros(len(axes), "int64")
    start: Any = op("Div", op("Max", op("Sub", n, end), none), np.array(2)) if halved else none
    cropped = op("Slice", x, start, op("Add", start, end) if halved else end, at)
    left = list(shape)
    for i in axes:
        size = shape[first + i]
        if size is not None:
            left[first + i] = min(size, (size - 1) // strides[i] * strides[i] + extents[i])
    graph.set_shape(cropped, [size or -1 for size in left])
    graph.set_dtype(cropped, graph.get_dtype(x))
    graph.replace_input(node, x, cropped, 0)


def _transposed_convolution(graph: Any, node: Any, name: str, args: Any) -> None:
    """The gradient of a convolution: of the full result (steps - 1) * stride + extent, what the padding leaves.

    A result that reaches beyond the full one has zeros there.
    """
    op = Builder(graph, node)
    sizes, kernel, x, *bias = node.input  # the last where tf2onnx has put them together
    last = _channels_last(node)
    *window, _, _ = graph.get_shape(kernel)
    rank = len(window)
    first = 1 if last else 2
    strides, dilations = _strides_and_dilations(node, rank)
    padding = node.get_attr_value("padding").decode()
    if padding not in ("SAME", "VALID"):
        raise ValueError("A transposed convolution with explicit padding has no translation: pad its result instead.")
    extents = np.array([(k - 1) * dilation + 1 for k, dilation in zip(window, dilations)])
    steps, result = ((op.shape(value) or [None] * (rank + 2))[first : first + rank] for value in (x, node.output[0]))

    if last:
        x = op("Transpose", x, perm=[0, rank + 1, *range(1, rank + 1)])
    weights = op("Transpose", kernel, perm=[rank + 1, rank, *range(rank)])
    options = {"strides": strides, "dilations": dilations, "kernel_shape": list(window)}
    known = [(n, m) for n, m in zip(steps, result) if n is not None and m is not None]
    if len(known) == rank:
        beyond = [m - ((n - 1) * stride + extent) for (n, m), stride, extent in zip(known, strides, extents)]
        cut = [max(0, -b) for b in beyond]
        before = [c // 2 if padding == "SAME" else 0 for c in cut]
        y = op(
            "ConvTranspose",
            x,
            weights,
            *bias,
            pads=[*before, *(c - b for c, b in zip(cut, before))],
            output_padding=[max(0, int(b)) for b in beyond],
            **options,
        )
    else:
        y = op("ConvTranspose", x, weights, *bias, output_padding=[max(0, n - 1) for n in strides], **options)
        wanted = op("Slice", op("Cast", sizes, to=TensorProto.INT64), np.array([first]), np.array([first + rank]))
        steps_of_x = op("Slice", op("Shape", x), np.array([2]), np.array([rank + 2]))
        full = op("Add", op("Mul", op("Sub", steps_of_x, np.array(1)), np.array(strides)), extents)
        cut_here = op("Max", op("Sub", full, wanted), np.zeros(rank, "int64"))
        start = op("Div", cut_here, np.array(2)) if padding == "SAME" else np.zeros(rank, "int64")
        end = op("Add", start, wanted)
        y = op("Slice", y, start, end, np.arange(2, rank + 2))
    op.finish(op("Transpose", y, perm=[0, *range(2, rank + 2), 1]) if last else y)


HANDLERS = {
    "Conv2D": _convolve,
    "Conv3D": _convolve,
    "DepthwiseConv2dNative": _convolve_each_channel,
    "AvgPool": _pool,
    "AvgPool3D": _pool,
    "MaxPool": _pool,
    "MaxPoolV2": _pool,
    "MaxPool3D": _pool,
    "Conv2DBackpropInput": _transposed_convolution,
    "Conv3DBackpropInputV2": _transposed_convolution,
}
