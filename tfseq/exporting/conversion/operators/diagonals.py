"""Handlers of diagonals: MatrixDiag, MatrixSetDiag, Diag, DiagPart, single ones and bands."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
from onnx import TensorProto
from tensorflow.python.eager import context

from tfseq.exporting.conversion.operators.builder import Builder
from tfseq.exporting.conversion.operators.comparisons import SELECTED


def _matrix_diag(graph: Any, node: Any, name: str, args: Any) -> None:
    """Diagonals (..., [diagonals], length) to matrices: of fixed sizes as one Gather, by what TensorFlow makes of the
    places of their elements."""
    op = Builder(graph, node)
    diagonal, *more = node.input
    bounds, rows, columns, padding = _constants(op, more, (0, -1, -1, 0))
    align = _alignment(node)
    shape = _known(op, diagonal)
    own = shape[-1:] if np.size(bounds) < 2 or bounds[0] == bounds[-1] else shape[-2:]
    if None not in own:
        count = math.prod(own)
        sizes = {"num_rows": rows, "num_cols": columns}
        table = _places(tf.linalg.diag, _count(own), k=bounds, padding_value=count, align=align, **sizes)
        flat = _flattened(op, diagonal, len(shape), len(own), count)
        op.finish(op("Gather", _with_one_more(op, flat, padding, len(shape) - len(own)), table, axis=-1))
        return
    if len(own) > 1 or rows != -1 or columns != -1:
        raise ValueError("Bands of diagonals, or diagonals in a matrix of given size, need a length that is fixed.")
    k = int(np.ravel(bounds)[0])
    spread, size = _spread(op, diagonal, k, len(shape))
    zero = op.like(0, diagonal) if padding == 0 else op.like(padding, diagonal)
    op.finish(_selected(op, _on_diagonal(op, k, size, size), spread, zero))


def _matrix_set_diag(graph: Any, node: Any, name: str, args: Any) -> None:
    """Matrices with other diagonals: of fixed sizes as one Gather, as above."""
    op = Builder(graph, node)
    matrix, diagonal, *more = node.input
    (bounds,) = _constants(op, more, (0,))
    shape, of = _known(op, matrix), _known(op, diagonal)
    single = np.size(bounds) < 2 or bounds[0] == bounds[-1]
    own = of[-1:] if single else of[-2:]
    if None not in (*shape[-2:], *own):
        cells, count = math.prod(shape[-2:]), math.prod(own)
        new = _count(own, cells)
        table = _places(tf.linalg.set_diag, _count(shape[-2:]), new, k=bounds, align=_alignment(node))
        flat = [
            _flattened(op, x, len(sizes), len(trailing), number)
            for x, sizes, trailing, number in ((matrix, shape, shape[-2:], cells), (diagonal, of, own, count))
        ]
        op.finish(op("Gather", op("Concat", *flat, axis=-1), table, axis=-1))
        return
    if not single:
        raise ValueError("Setting a band of diagonals needs matrices of a size that is fixed.")
    k = int(np.ravel(bounds)[0])
    sizes = op("Shape", matrix)
    rows, columns = (op("Gather", sizes, np.array([axis])) for axis in (len(shape) - 2, len(shape) - 1))
    spread, _ = _spread(op, diagonal, k, len(of), rows if k >= 0 else columns)
    op.finish(_selected(op, _on_diagonal(op, k, rows, columns), spread, matrix))


def _tensor_diag(graph: Any, node: Any, name: str, args: Any) -> None:
    op = Builder(graph, node)
    shape = _known(op, node.input[0])
    if None in shape:
        raise ValueError("A tensor becomes a diagonal (tensor_diag), whose sizes have to be fixed.")
    count = math.prod(shape)
    table = _places(tf.linalg.tensor_diag, _count(shape, 1)) - 1
    flat = op("Reshape", node.input[0], np.array([-1]))
    op.finish(op("Gather", _with_one_more(op, flat, 0, 0), np.where(table < 0, count, table), axis=0))


def _tensor_diag_part(graph: Any, node: Any, name: str, args: Any) -> None:
    op = Builder(graph, node)
    shape = _known(op, node.input[0])
    if None in shape:
        raise ValueError("The diagonal of a tensor (tensor_diag_part) needs sizes that are fixed.")
    table = _places(tf.linalg.tensor_diag_part, _count(shape))
    op.finish(op("Gather", op("Reshape", node.input[0], np.array([-1])), table, axis=0))


def _count(shape: Any, first: int = 0) -> np.ndarray:
    """Numbers the elements of a tensor."""
    return np.arange(first, first + math.prod(shape), dtype="int32").reshape(shape)


def _places(function: Callable, *arrays: np.ndarray, **options: Any) -> np.ndarray:
    """What TensorFlow makes of numbered elements."""
    with context.eager_mode():
        return function(*arrays, **options).numpy()


def _constants(op: Builder, names: Any, usual: tuple[int, ...]) -> list[Any]:
    values: list[Any] = list(usual)
    for i, name in enumerate(names):
        value = op.value(name)
        if value is None:
            raise ValueError("Which diagonal (k), or the size of the matrix, is computed; it has to be a constant.")
        values[i] = value
    return values


def _alignment(node: Any) -> str:
    align = node.get_attr_value("align")
    return align.decode() if isinstance(align, bytes) else align or "LEFT_LEFT"


def _known(op: Builder, name: str) -> list[Any]:
    shape = op.shape(name)
    if shape is None:
        raise ValueError("Diagonals are taken of a tensor with an unknown number of axes.")
    return shape


def _flattened(op: Builder, x: str, rank: int, trailing: int, count: int) -> str:
    """The last axes as one."""
    return x if trailing == 1 else op("Reshape", x, np.array([0] * (rank - trailing) + [count]))


def _with_one_more(op: Builder, x: str, padding: Any, batch_axes: int) -> str:
    """An element that pads, behind those of the last axis."""
    behind = np.array([0] * (2 * batch_axes + 1) + [1])
    return op("Pad", x, behind, op.like(padding, x))


def _spread(op: Builder, diagonal: str, k: int, rank: int, size: str | None = None) -> tuple[str, str]:
    """A diagonal over all columns, or rows if it is below the main one; and that many."""
    last = op("Gather", op("Shape", diagonal), np.array([rank - 1]))
    size = size or op("Add", last, np.array([abs(k)]))
    pads = op("Concat", np.zeros(2 * rank - 1, "int64"), op("Sub", size, last), axis=0)
    return op("Unsqueeze", op("Pad", diagonal, pads), np.array([-1 if k >= 0 else -2])), size


def _on_diagonal(op: Builder, k: int, rows: str, columns: str) -> str:
    """(rows, columns), True on the k-th diagonal."""
    i, j = (op("Range", np.int64(0), op("Squeeze", size), np.int64(1)) for size in (rows, columns))
    return op("Equal", op("Add", op("Unsqueeze", i, np.array([1])), np.int64(k)), op("Unsqueeze", j, np.array([0])))


def _selected(op: Builder, condition: str, x: str, y: str) -> str:
    dtype = op.graph.get_dtype(op.node.output[0])
    if dtype in SELECTED:
        return op("Where", condition, x, y)
    wide = TensorProto.FLOAT if dtype == TensorProto.FLOAT16 else TensorProto.INT64
    return op("Cast", op("Where", condition, *(op("Cast", side, to=wide) for side in (x, y))), to=dtype)


HANDLERS = {
    **dict.fromkeys(("MatrixDiag", "MatrixDiagV2", "MatrixDiagV3"), _matrix_diag),
    **dict.fromkeys(("MatrixSetDiag", "MatrixSetDiagV2", "MatrixSetDiagV3"), _matrix_set_diag),
    "Diag": _tensor_diag,
    "DiagPart": _tensor_diag_part,
}
