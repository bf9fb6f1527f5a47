"""Rewriter of complex tensors, which ONNX lacks, to pairs of real ones; FFTs become DFT or matrix products.

Runs over TensorFlow's operators before they are translated, so that slices, sums, ... of the real and the imaginary
parts are translated as those of any real tensor.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from onnx import TensorProto
from tf2onnx import utils

from tfseq.exporting.conversion.operators.builder import Builder
from tfseq.exporting.conversion.operators.fourier import by_products, is_for_products

_COMPLEX = {TensorProto.COMPLEX64, TensorProto.COMPLEX128}
Pair = tuple[str, str]

# f(a + bi) = f(a) + f(b) i: the operator is applied to both parts.
_BY_PART = {
    "Add",
    "AddN",
    "AddV2",
    "BroadcastTo",
    "ConcatV2",
    "EnsureShape",
    "ExpandDims",
    "GatherNd",
    "GatherV2",
    "Identity",
    "MatrixDiagV3",
    "Mean",
    "Neg",
    "Pack",
    "Pad",
    "PadV2",
    "Reshape",
    "ReverseV2",
    "Roll",
    "SelectV2",
    "Slice",
    "Split",
    "SplitV",
    "Squeeze",
    "StridedSlice",
    "StopGradient",
    "Sub",
    "Sum",
    "Tile",
    "Transpose",
    "Unpack",
    "ZerosLike",
}


def as_pairs(graph: Any, ops: list[Any]) -> list[Any]:
    """A rewriter for tf2onnx: no complex tensor is left where all operators on them are known.

    Raises:
        ValueError: a Fourier transform below opset 17, or of a tensor of unknown rank; an output that is complex.
    """
    if any(graph.get_dtype(name) in _COMPLEX for name in graph.outputs):
        raise ValueError("an output is complex, which files can't hold; give out its real and imaginary parts.")
    if any(graph.get_dtype(name) in _COMPLEX for node in ops for name in node.output):
        graph.topological_sort(ops)
        rewrite = _Rewrite(graph)
        for node in list(graph.get_nodes()):
            rewrite.visit(node)
        rewrite.remove_complex()
    return graph.get_nodes()


class _Rewrite:
    def __init__(self, graph: Any):
        self.graph = graph
        self.pairs: dict[str, Pair] = {}
        self.done: list[Any] = []

    def visit(self, node: Any) -> None:
        reads = [self.pairs[name] for name in node.input if name in self.pairs]
        makes = any(self.graph.get_dtype(name) in _COMPLEX for name in node.output)
        if not reads and not makes:
            return
        op = _Parts(self.graph, node)
        if node.is_const():
            value = node.get_tensor_value(as_list=False)
            self._becomes(node, (op.constant(value.real), op.constant(value.imag)))
        elif node.type == "Shape":
            self.graph.replace_inputs(node, [reads[0][0]])
        elif node.type in _TO_REAL:
            real = _TO_REAL[node.type](op, reads[0], node)
            self.graph.remove_node(node.name)
            self._identity(node, real)
        elif node.type in _TO_COMPLEX:
            self._becomes(node, _TO_COMPLEX[node.type](op, reads, node))
        elif node.type in _BY_PART:
            parts = [self._clone(node, [self.pairs.get(x, (x, x))[i] for x in node.input]) for i in (0, 1)]
            for i, name in enumerate(node.output):
                self.pairs[name] = parts[0][i], parts[1][i]
            self.done.append(node)
        elif node.type == "Cast":
            if reads:
                self.graph.replace_inputs(node, [reads[0][0]])
            else:
                real = op.float(node.input[0])
                self._becomes(node, (real, op.zero(real)))

    def remove_complex(self) -> None:
        """Those that were rewritten; readers go before what they read."""
        for node in reversed(self.done):
            self.graph.remove_node(node.name)

    def _becomes(self, node: Any, pair: Pair) -> None:
        self.pairs[node.output[0]] = pair
        self.done.append(node)

    def _clone(self, node: Any, inputs: list[str]) -> list[str]:
        attributes = dict(node.attr)
        shapes = [self.graph.get_shape(name) for name in node.output]
        made = self.graph.make_node(
            node.type,
            inputs,
            attr=attributes,
            name=utils.make_name(node.name),
            output_count=len(node.output),
            skip_conversion=False,
            shapes=shapes,
            dtypes=[TensorProto.FLOAT] * len(node.output),
        )
        if "T" in attributes:
            made.set_attr("T", TensorProto.FLOAT)
        return made.output

    def _identity(self, node: Any, source: str) -> None:
        shape, names = self.graph.get_shape(source), node.output
        self.graph.make_node(
            "Identity", [source], name=node.name, outputs=names, shapes=[shape], dtypes=[self.graph.get_dtype(source)]
        )


class _Parts(Builder):
    """Nodes over the parts of complex tensors."""

    def float(self, name: str) -> str:
        return name if self.graph.get_dtype(name) == TensorProto.FLOAT else self("Cast", name, to=TensorProto.FLOAT)

    def zero(self, name: str) -> str:
        return self("Mul", name, np.float32(0))

    def times(self, a: Pair, b: Pair) -> Pair:
        real = self("Sub", self("Mul", a[0], b[0]), self("Mul", a[1], b[1]))
        return real, self("Add", self("Mul", a[0], b[1]), self("Mul", a[1], b[0]))

    def divided(self, a: Pair, b: Pair) -> Pair:
        size = self("Add", self("Mul", b[0], b[0]), self("Mul", b[1], b[1]))
        real, imaginary = self.times(a, (b[0], self("Neg", b[1])))
        return self("Div", real, size), self("Div", imaginary, size)

    def transformed(
        self, pair: Pair | str, axis: int, inverse: bool = False, length: Any = None, matrix: bool = False
    ) -> Pair:
        """The discrete Fourier transform along an axis (counted from the end); half of it for a real tensor.

        `matrix` lets the matrix of the transform be made at run time where the length is not known before.
        """
        if self.graph.opset < 17:
            raise ValueError("Fourier transforms need opset 17.")
        shape = self.shape(pair if isinstance(pair, str) else pair[0])
        if shape is None:
            raise ValueError(f"{self.node.name} transforms a tensor of unknown rank.")
        known = shape[axis]
        if length is None and (matrix if known is None else is_for_products(known)):
            return self._transformed_by_products(pair, axis, shape, inverse)
        parts = [self("Unsqueeze", x, np.array([-1])) for x in ([pair] if isinstance(pair, str) else pair)]
        stacked = self("Concat", *parts, axis=len(shape)) if len(parts) > 1 else parts[0]  # (..., 1 or 2)
        inputs = [stacked] if length is None else [stacked, length]
        options = {"axis": len(shape) + axis, "inverse": int(inverse), "onesided": int(isinstance(pair, str))}
        result = self("DFT", *inputs, **options)
        real, imaginary = (self("Gather", result, np.int64(i), axis=len(shape)) for i in (0, 1))
        self._describe((real, imaginary), [None if i == len(shape) + axis else n for i, n in enumerate(shape)])
        return real, imaginary

    def _transformed_by_products(self, pair: Pair | str, axis: int, shape: list[int | None], inverse: bool) -> Pair:
        known, half = shape[axis], isinstance(pair, str)
        parts = (pair, self.zero(pair)) if isinstance(pair, str) else pair
        result = by_products(self, parts, axis, len(shape), known, inverse)
        if half and known is not None:
            shape = [known // 2 + 1 if i == len(shape) + axis else n for i, n in enumerate(shape)]
            bounds = np.array([0]), np.array([known // 2 + 1]), np.array([axis])
            result = self("Slice", result[0], *bounds), self("Slice", result[1], *bounds)
        self._describe(result, shape)
        return result

    def _describe(self, pair: Pair, shape: list[int | None]) -> None:
        for name in pair:
            self.graph.set_dtype(name, TensorProto.FLOAT)
            self.graph.set_shape(name, [-1 if size is None else size for size in shape])

    def lengths(self, vector: str, name: str, axes: tuple[int, ...]) -> list[str | None]:
        """What `vector` says of the lengths of transforms of `name` along `axes`; None for those it has already."""
        said, shape = self.value(vector), self.shape(name)
        return [
            None if said is not None and shape and said[i] == shape[axis] else self.length(vector, i)
            for i, axis in enumerate(axes)
        ]

    def length(self, name: str, axis: int) -> str:
        """Element `axis` of the int32 vector `name`, as an int64 scalar."""
        return self("Gather", self("Cast", name, to=TensorProto.INT64), np.int64(axis), axis=0)


def _absolute(op: _Parts, z: Pair, node: Any) -> str:
    return op("Sqrt", op("Add", op("Mul", z[0], z[0]), op("Mul", z[1], z[1])))


def _angle(op: _Parts, z: Pair, node: Any) -> str:
    """atan2(y, x) = 2 atan(y / (|z| + x)), but by (|z| - x) / y for x < 0, where |z| + x cancels; pi for y = 0 > x."""
    x, y = z
    size = _absolute(op, z, node)
    left, flat = op("Less", x, np.float32(0)), op("Equal", y, np.float32(0))
    right_side = op("Div", y, op("Where", op("Equal", size, np.float32(0)), np.float32(1), op("Add", size, x)))
    left_side = op("Div", op("Sub", size, x), op("Where", flat, np.float32(1), y))
    half = op("Atan", op("Where", left, left_side, right_side))
    return op("Where", op("And", left, flat), np.float32(np.pi), op("Mul", half, np.float32(2)))


def _inverse_real(op: _Parts, z: Pair, node: Any) -> str:
    """From the first n // 2 + 1 of n frequencies, whose others are their conjugates, mirrored."""
    if node.type == "IRFFT2D":
        z = op.transformed(z, -2, inverse=True, length=op.length(node.input[1], 0))
    n = op.length(node.input[1], 1 if node.type == "IRFFT2D" else 0)
    half = op("Add", op("Div", n, np.int64(2)), np.int64(1))
    vector = np.array([0])
    mirrored = op("Unsqueeze", op("Sub", n, half), vector)  # (1,): how many
    half = op("Unsqueeze", half, vector)
    last = np.array([-1])
    parts = []
    for part in z:
        first = op("Slice", part, vector, half, last)
        rest = op("Slice", part, mirrored, vector, last, last)
        parts.append((first, rest))
    full = (
        op("Concat", *parts[0], axis=-1),
        op("Concat", parts[1][0], op("Neg", parts[1][1]), axis=-1),
    )
    shape = [*(op.graph.get_shape(z[0])[:-1]), -1]
    for name in full:
        op.graph.set_shape(name, shape)
    return op.transformed(full, -1, inverse=True)[0]


_TO_REAL: dict[str, Callable[[_Parts, Pair, Any], str]] = {
    "Real": lambda op, z, node: z[0],
    "Imag": lambda op, z, node: z[1],
    "ComplexAbs": _absolute,
    "Abs": _absolute,
    "Angle": _angle,
    "IRFFT": _inverse_real,
    "IRFFT2D": _inverse_real,
}


def _transform(axes: tuple[int, ...], inverse: bool) -> Callable[[_Parts, list[Pair], Any], Pair]:
    def transform(op: _Parts, reads: list[Pair], node: Any) -> Pair:
        pair = reads[0]
        for axis in axes:
            pair = op.transformed(pair, axis, inverse, matrix=len(axes) > 1)
        return pair

    return transform


def _real_transform(op: _Parts, reads: list[Pair], node: Any) -> Pair:
    x, vector = node.input
    axes = (-2, -1) if node.type == "RFFT2D" else (-1,)
    lengths = op.lengths(vector, x, axes)
    pair = op.transformed(op.float(x), -1, length=lengths[-1])
    return op.transformed(pair, -2, length=lengths[0]) if len(axes) > 1 else pair


def _matrix_product(op: _Parts, reads: list[Pair], node: Any) -> Pair:
    (a, b), (c, d) = reads
    if any(node.get_attr_value(name) for name in ("adj_x", "adj_y", "transpose_a", "transpose_b")):
        raise ValueError(f"{node.name} multiplies transposed complex matrices.")
    product = lambda x, y: op("MatMul", x, y)  # noqa: E731
    return op("Sub", product(a, c), product(b, d)), op("Add", product(a, d), product(b, c))


def _exponential(op: _Parts, reads: list[Pair], node: Any) -> Pair:
    size = op("Exp", reads[0][0])
    return op("Mul", size, op("Cos", reads[0][1])), op("Mul", size, op("Sin", reads[0][1]))


_TO_COMPLEX: dict[str, Callable[[_Parts, list[Pair], Any], Pair]] = {
    "Complex": lambda op, reads, node: tuple(node.input),
    "Conj": lambda op, reads, node: (reads[0][0], op("Neg", reads[0][1])),
    "Mul": lambda op, reads, node: op.times(*reads),
    "Square": lambda op, reads, node: op.times(reads[0], reads[0]),
    "RealDiv": lambda op, reads, node: op.divided(*reads),
    "Div": lambda op, reads, node: op.divided(*reads),
    "Exp": _exponential,
    "MatMul": _matrix_product,
    "BatchMatMul": _matrix_product,
    "BatchMatMulV2": _matrix_product,
    "FFT": _transform((-1,), False),
    "IFFT": _transform((-1,), True),
    "FFT2D": _transform((-1, -2), False),
    "IFFT2D": _transform((-1, -2), True),
    "FFT3D": _transform((-1, -2, -3), False),
    "IFFT3D": _transform((-1, -2, -3), True),
    "RFFT": _real_transform,
    "RFFT2D": _real_transform,
}
