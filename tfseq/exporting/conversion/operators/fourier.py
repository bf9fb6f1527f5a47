"""Fourier transforms as matrix products, for the lengths at which ONNX Runtime's DFT is inaccurate.

DFT is as good as float32 at powers of two. At other lengths ONNX Runtime 1.31 goes by Bluestein's algorithm, loses
three digits at 1000 and takes long; a product with the matrix of the transform loses none.
"""

import numpy as np
from onnx import TensorProto

from tfseq.exporting.conversion.operators.builder import Builder

LARGEST_MATRIX = 512
Pair = tuple[str, str]


def is_for_products(length: int) -> bool:
    """Whether a transform of this length had better not go by DFT, and can go by matrices that are not too large."""
    return bool(length & (length - 1)) and all(prime <= LARGEST_MATRIX for prime in _primes(length))


def by_products(op: Builder, pair: Pair, axis: int, rank: int, length: int | None, inverse: bool) -> Pair:
    """The discrete Fourier transform of a complex tensor along an axis.

    Args:
        op: writes the nodes.
        pair: names of the real and the imaginary part.
        axis: counted from the end, -1 or less.
        rank: number of axes.
        length: of the axis; None if it is known only at run time, when the matrix is then made.
        inverse: the inverse transform.
    """
    order = list(range(rank))
    order[axis], order[-1] = order[-1], order[axis]
    if axis != -1:
        pair = _both(op, "Transpose", pair, perm=order)
    if length is None:
        n = op("Gather", op("Shape", pair[0]), np.int64(rank - 1), axis=0)
        result, scale = _product(op, pair, _matrix_at_run_time(op, n, inverse)), op("Cast", n, to=TensorProto.FLOAT)
    else:
        result, scale = _along_last(op, pair, rank, length, inverse), op.constant(np.float32(length))
    if inverse:
        result = op("Div", result[0], scale), op("Div", result[1], scale)
    return _both(op, "Transpose", result, perm=order) if axis != -1 else result


def _along_last(op: Builder, pair: Pair, rank: int, length: int, inverse: bool) -> Pair:
    """For length a b: transforms of length a, a product with roots of unity, transforms of length b (Cooley, Tukey)."""
    if length <= LARGEST_MATRIX:
        return _product(op, pair, _roots(op, length, length, length, inverse))
    a = min(
        (d for d in range(2, LARGEST_MATRIX + 1) if length % d == 0), key=lambda d: (length // d > LARGEST_MATRIX, d)
    )
    b = length // a
    outer = [0] * (rank - 1)  # a 0 keeps the size
    x = op("Reshape", pair[0], np.array([*outer, a, b])), op("Reshape", pair[1], np.array([*outer, a, b]))
    x = _product(op, _roots(op, a, a, a, inverse), x)
    roots = _roots(op, length, a, b, inverse)
    x = (
        op("Sub", op("Mul", x[0], roots[0]), op("Mul", x[1], roots[1])),
        op("Add", op("Mul", x[0], roots[1]), op("Mul", x[1], roots[0])),
    )
    x = _along_last(op, x, rank + 1, b, inverse)
    x = _both(op, "Transpose", x, perm=[*range(rank - 1), rank, rank - 1])
    return op("Reshape", x[0], np.array([*outer, length])), op("Reshape", x[1], np.array([*outer, length]))


def _product(op: Builder, x: Pair, y: Pair) -> Pair:
    real = op("Sub", op("MatMul", x[0], y[0]), op("MatMul", x[1], y[1]))
    return real, op("Add", op("MatMul", x[0], y[1]), op("MatMul", x[1], y[0]))


def _roots(op: Builder, order: int, rows: int, columns: int, inverse: bool) -> Pair:
    """exp(-2 pi i j k / order) for row j and column k; +2 for the inverse."""
    angles = 2 * np.pi / order * (np.outer(np.arange(rows), np.arange(columns)) % order)
    sines = np.sin(angles) if inverse else -np.sin(angles)
    return op.constant(np.cos(angles).astype("float32")), op.constant(sines.astype("float32"))


def _matrix_at_run_time(op: Builder, length: str, inverse: bool) -> Pair:
    steps = op("Range", np.int64(0), length, np.int64(1))
    turns = op("Mod", op("Mul", op("Unsqueeze", steps, np.array([1])), steps), length)  # whole, hence exact
    turns = op("Div", op("Cast", turns, to=TensorProto.FLOAT), op("Cast", length, to=TensorProto.FLOAT))
    angles = op("Mul", turns, np.float32(2 * np.pi if inverse else -2 * np.pi))
    return op("Cos", angles), op("Sin", angles)


def _both(op: Builder, operator: str, pair: Pair, **attributes) -> Pair:
    return op(operator, pair[0], **attributes), op(operator, pair[1], **attributes)


def _primes(number: int) -> list[int]:
    found, divisor = [], 2
    while divisor * divisor <= number:
        if number % divisor:
            divisor += 1
        else:
            found.append(divisor)
            number //= divisor
    return [*found, number] if number > 1 else found
