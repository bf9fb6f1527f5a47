"""Handlers of image operators: resizing with TensorFlow's kernels and rounding, and extracting patches."""

from collections.abc import Callable
from typing import Any

import numpy as np
from onnx import TensorProto

from tfseq.exporting.conversion.operators.builder import Builder

_TO_CHANNELS_FIRST, _TO_CHANNELS_LAST = (0, 3, 1, 2), (0, 2, 3, 1)


def _resize(graph: Any, node: Any, name: str, args: Any) -> None:
    """By sizes, as TensorFlow does; tf2onnx divides them into scales, which round to other sizes."""
    op = Builder(graph, node)
    if node.type == "ResizeBicubic" and _resize_by_table(op):
        return
    half_pixel = bool(node.get_attr_value("half_pixel_centers"))
    align_corners = bool(node.get_attr_value("align_corners"))
    positions = "half_pixel" if half_pixel else "align_corners" if align_corners else "asymmetric"
    options: dict[str, Any] = {"coordinate_transformation_mode": positions}
    if node.type == "ResizeNearestNeighbor":
        options |= {"mode": "nearest", "nearest_mode": "floor" if positions == "asymmetric" else "round_prefer_ceil"}
    elif node.type == "ResizeBilinear":
        options |= {"mode": "linear"}
    else:
        options |= {"mode": "cubic", "cubic_coeff_a": -0.5 if half_pixel else -0.75, "exclude_outside": int(half_pixel)}
    images, size = node.input
    x = op("Transpose", images, perm=_TO_CHANNELS_FIRST)
    if node.type != "ResizeNearestNeighbor" and graph.get_dtype(images) != TensorProto.FLOAT:
        x = op("Cast", x, to=TensorProto.FLOAT)
    shape, size = op("Shape", x), op("Cast", size, to=TensorProto.INT64)
    kept, area = (op("Slice", shape, np.array([i]), np.array([i + 2]), np.array([0])) for i in (0, 2))
    sizes = op("Concat", kept, size, axis=0)
    if options["mode"] == "cubic":  # ONNX Runtime moves the transposition past Resize, and then can't resize by cubics
        one = np.array([-1, 1])
        x = op("Reshape", x, op("Concat", one, area, axis=0))
        count = op("Slice", op("Shape", x), np.array([0]), np.array([2]), np.array([0]))
        x = op("Reshape", op("Resize", x, "", "", op("Concat", count, size, axis=0), **options), sizes)
    else:
        x = op("Resize", x, "", "", sizes, **options)
    op.finish(op("Transpose", x, perm=_TO_CHANNELS_LAST))


def _resize_by_table(op: Builder) -> bool:
    """Where sizes are fixed: TensorFlow rounds the weights' arguments to 1/1024, which ONNX's Resize does not."""
    images, size = op.node.input
    before, after = (op.shape(images) or [None] * 4)[1:3], op.value(size)
    if after is None or None in before:
        return False
    half_pixel = bool(op.node.get_attr_value("half_pixel_centers"))
    align_corners = bool(op.node.get_attr_value("align_corners"))
    rows, columns = (_cubic_weights(n or 0, int(m), half_pixel, align_corners) for n, m in zip(before, after))
    _multiply_by_weights(op, images, rows, columns)
    return True


def _cubic_weights(before: int, after: int, half_pixel: bool, align_corners: bool) -> np.ndarray:
    """Of each pixel of an axis in each resized one, (after, before)."""
    scale = np.float32((before - 1) / (after - 1) if align_corners and after > 1 else before / after)
    at = np.arange(after, dtype="float32")
    at = (at + np.float32(0.5)) * scale - np.float32(0.5) if half_pixel else at * scale
    first = np.floor(at).astype(int)
    offsets = np.rint((at - first) * 1024) / 1024
    a = -0.5 if half_pixel else -0.75
    weights = np.zeros((after, before))
    for tap in (-1, 0, 1, 2):
        x = np.abs(offsets - tap)
        near = ((a + 2) * x - (a + 3)) * x * x + 1
        far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
        pixel = first + tap
        inside = (pixel >= 0) & (pixel < before) if half_pixel else np.ones(after, bool)
        np.add.at(weights, (np.arange(after), np.clip(pixel, 0, before - 1)), np.where(x <= 1, near, far) * inside)
    return (weights / weights.sum(1, keepdims=True)).astype("float32")


def _multiply_by_weights(op: Builder, images: str, rows: np.ndarray, columns: np.ndarray) -> None:
    x = op("Transpose", op("Cast", images, to=TensorProto.FLOAT), perm=_TO_CHANNELS_FIRST)
    x = op("MatMul", rows, op("MatMul", x, np.ascontiguousarray(columns.T)))
    op.finish(op("Transpose", x, perm=_TO_CHANNELS_LAST))


def _resize_by_area(graph: Any, node: Any, name: str, args: Any) -> None:
    """As two matrices of the parts of pixels that each resized pixel covers, where the sizes are fixed."""
    op = Builder(graph, node)
    images, size = node.input
    before, after = (op.shape(images) or [None] * 4)[1:3], op.value(size)
    if after is None or None in before:
        raise ValueError("Resizing by area needs images of a fixed size.")
    align_corners = bool(node.get_attr_value("align_corners"))
    rows, columns = (_covered(n or 0, int(m), align_corners) for n, m in zip(before, after))
    _multiply_by_weights(op, images, rows, columns)


def _covered(before: int, after: int, align_corners: bool) -> np.ndarray:
    """Of each pixel of an axis in each resized one, (after, before); beyond the last pixel, the last one."""
    scale = (before - 1) / (after - 1) if align_corners and after > 1 else before / after
    weights = np.zeros((after, before))
    for i in range(after):
        start, end = i * scale, (i + 1) * scale
        for pixel in range(int(np.floor(start)), int(np.ceil(end))):
            weights[i, min(pixel, before - 1)] += min(pixel + 1, end) - max(pixel, start)
    return (weights / scale).astype("float32")


def _scale_and_translate(graph: Any, node: Any, name: str, args: Any) -> None:
    """As two matrices of weights, where the sizes are fixed."""
    op = Builder(graph, node)
    images, size, scale, translation = node.input
    settings = [op.value(x) for x in (size, scale, translation)]
    shape = op.shape(images) or [None] * 4
    if settings[0] is not None and None not in shape[1:3] and settings[1] is None:
        settings[1] = settings[0] / shape[1:3]  # tf.image.resize computes this from the shape
    if any(x is None for x in (*settings, *shape[1:3])):
        raise ValueError("Resizing with antialiasing or by Lanczos' kernel needs images of a fixed size.")
    kernel, antialias = node.get_attr_value("kernel_type").decode(), bool(node.get_attr_value("antialias"))
    sizes, factors, shifts = (x for x in settings if x is not None)
    rows, columns = (_weights(shape[1 + i] or 0, sizes[i], factors[i], shifts[i], kernel, antialias) for i in (0, 1))
    _multiply_by_weights(op, images, rows, columns)


def _lanczos(radius: float) -> Callable[[np.ndarray], np.ndarray]:
    return lambda x: np.where(x < radius, np.sinc(x) * np.sinc(x / radius), 0)


def _cubic(b: float, c: float) -> Callable[[np.ndarray], np.ndarray]:
    """Mitchell and Netravali, "Reconstruction Filters in Computer Graphics" (1988), eq. 8."""

    def weight(x: np.ndarray) -> np.ndarray:
        near = (12 - 9 * b - 6 * c) * x**3 + (-18 + 12 * b + 6 * c) * x**2 + 6 - 2 * b
        far = (-b - 6 * c) * x**3 + (6 * b + 30 * c) * x**2 + (-12 * b - 48 * c) * x + 8 * b + 24 * c
        return np.where(x < 1, near, np.where(x < 2, far, 0)) / 6

    return weight


_KERNELS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "lanczos1": _lanczos(1),
    "lanczos3": _lanczos(3),
    "lanczos5": _lanczos(5),
    "gaussian": lambda x: np.where(x < 1.5, np.exp(-(x**2) / (2 * 0.5**2)), 0),
    "box": lambda x: np.where(x < 0.5, 1.0, np.where(x == 0.5, 0.5, 0)),
    "triangle": lambda x: np.maximum(0, 1 - x),
    "keyscubic": _cubic(0, 0.5),
    "mitchellcubic": _cubic(1 / 3, 1 / 3),
}


def _weights(before: int, after: int, scale: float, translation: float, kernel: str, antialias: bool) -> np.ndarray:
    """Of each pixel of an axis in each resized one, (after, before)."""
    width = max(1 / scale, 1) if antialias else 1.0
    centres = (np.arange(after) + 0.5 - translation) / scale
    weights = _KERNELS[kernel](np.abs(np.arange(before) + 0.5 - centres[:, None]) / width)
    total = weights.sum(1, keepdims=True)
    inside = ((centres >= 0) & (centres <= before))[:, None] & (np.abs(total) > 1e-6)
    return np.where(inside, weights / np.where(inside, total, 1), 0).astype("float32")


def _extract_patches(graph: Any, node: Any, name: str, args: Any) -> None:
    """Cut by axes where patches tile the image, else gathered by a convolution with ones and zeros."""
    op = Builder(graph, node)
    images = node.input[0]
    _, height, width, channels = op.shape(images) or [None] * 4
    (_, rows, columns, _), (_, *strides, _), (_, *rates, _) = (
        node.get_attr(key).ints for key in ("ksizes", "strides", "rates")
    )
    padding = node.get_attr_value("padding").decode()
    if channels is None:
        raise ValueError(f"{name} cuts images with an unknown number of channels into patches.")
    tiles = strides == [rows, columns] and rates == [1, 1] and height is not None and width is not None
    if tiles and height % rows == 0 and width % columns == 0:
        grid = height // rows, width // columns
        x = op("Reshape", images, np.array([-1, grid[0], rows, grid[1], columns, channels]))
        x = op("Transpose", x, perm=(0, 1, 3, 2, 4, 5))
        op.finish(op("Reshape", x, np.array([-1, *grid, rows * columns * channels])))
        return
    pixels = rows * columns
    kernel = np.zeros((pixels, channels, channels, pixels), "float32")
    kernel[np.arange(pixels), :, :, np.arange(pixels)] = np.eye(channels)
    kernel = kernel.reshape(pixels * channels, channels, rows, columns)
    x = op("Transpose", op("Cast", images, to=TensorProto.FLOAT), perm=_TO_CHANNELS_FIRST)
    pad = "SAME_UPPER" if padding == "SAME" else "VALID"
    x = op("Conv", x, kernel, strides=list(strides), dilations=list(rates), auto_pad=pad, kernel_shape=[rows, columns])
    x = op("Cast", x, to=graph.get_dtype(node.output[0]))
    op.finish(op("Transpose", x, perm=_TO_CHANNELS_LAST))


HANDLERS = {
    "ResizeBilinear": _resize,
    "ResizeNearestNeighbor": _resize,
    "ResizeBicubic": _resize,
    "ResizeArea": _resize_by_area,
    "ScaleAndTranslate": _scale_and_translate,
    "ExtractImagePatches": _extract_patches,
}
