"""Linear algebra by textbook algorithms, traced where TensorFlow calls LAPACK: elimination, Cholesky, Jacobi.

Each is a loop over columns (or pairs of them) in which nothing is indexed by what is computed, so that batches of any
rank go through it at once. Small matrices have it unrolled. Matrices are (.., n, n), right-hand sides (.., n, m).
"""

import contextlib
import itertools
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import numpy as np
import tensorflow as tf
from keras.src.backend.tensorflow import linalg as keras_linalg

UNROLLED = 4  # columns up to which a loop is unrolled
LARGEST = 24  # columns of matrices whose singular values are found
_SWEEPS = 12  # over all pairs of columns; Jacobi's method converges quadratically


@contextlib.contextmanager
def by_algorithms() -> Iterator[None]:
    """While functions are traced for conversion."""
    with contextlib.ExitStack() as patches:
        for name, (algorithm, fits) in _ALGORITHMS.items():
            usual = getattr(tf.linalg, name)
            patches.enter_context(mock.patch.object(tf.linalg, name, _where_it_fits(algorithm, fits, usual)))
        patches.enter_context(
            mock.patch.object(keras_linalg, "lstsq", _where_it_fits(_least_squares, _jacobi_fits, keras_linalg.lstsq))
        )
        yield


def _where_it_fits(algorithm: Callable, fits: Callable[[Any], bool], usual: Callable) -> Callable:
    def function(matrix: Any, *args: Any, **kwargs: Any) -> Any:
        matrix = tf.convert_to_tensor(matrix)
        if not matrix.dtype.is_floating or matrix.shape.rank is None or not fits(matrix):
            return usual(matrix, *args, **kwargs)
        kwargs.pop("name", None)
        return algorithm(matrix, *args, **kwargs)

    return function


def _always(matrix: Any) -> bool:
    return True


def _is_square(matrix: Any) -> bool:
    return matrix.shape[-1] is not None and matrix.shape[-1] == matrix.shape[-2]


def _jacobi_fits(matrix: Any) -> bool:
    sizes = matrix.shape[-2:]
    return None not in sizes and min(sizes) <= LARGEST


def _for_each(count: Any, step: Callable, *values: Any) -> tuple[Any, ...]:
    """values = step(i, *values) for i below count."""
    known = tf.get_static_value(count)
    if known is not None and known <= UNROLLED:
        for i in range(int(known)):
            values = step(tf.constant(i), *values)
        return values
    shapes = (tf.TensorShape([]), *(value.shape for value in values))
    return tf.while_loop(
        lambda i, *_: i < count, lambda i, *now: (i + 1, *step(i, *now)), (tf.constant(0), *values), shapes
    )[1:]


def _columns(matrix: Any) -> Any:
    size = matrix.shape[-1]
    return tf.shape(matrix)[-1] if size is None else tf.constant(size)


def _eliminated(matrix: Any, right: Any) -> tuple[Any, Any, Any]:
    """Gauss-Jordan elimination with partial pivoting.

    Returns:
        the solution (.., n, m), and the determinant's sign and logarithm (..).
    """
    n = _columns(matrix)
    places = tf.range(n)
    batch = tf.broadcast_dynamic_shape(tf.shape(matrix)[:-2], tf.shape(right)[:-2])
    matrix, right = (tf.broadcast_to(x, tf.concat([batch, tf.shape(x)[-2:]], 0)) for x in (matrix, right))
    both = tf.concat([matrix, right], -1)

    def step(k: Any, both: Any, sign: Any, logarithm: Any) -> tuple[Any, ...]:
        column = tf.gather(both, k, axis=-1)  # (.., n)
        chosen = tf.argmax(tf.where(places >= k, tf.abs(column), tf.constant(-1, both.dtype)), -1, tf.int32)
        is_chosen, is_kth = places == chosen[..., None], places == k
        pivot_row = tf.reduce_sum(tf.where(is_chosen[..., None], both, tf.zeros((), both.dtype)), -2, keepdims=True)
        kth_row = tf.gather(both, k, axis=-2)[..., None, :]
        both = tf.where(is_kth[:, None], pivot_row, tf.where(is_chosen[..., None], kth_row, both))
        pivot = tf.gather(pivot_row, k, axis=-1)[..., 0]
        sign = sign * tf.sign(pivot) * tf.where(chosen == k, tf.ones((), both.dtype), -tf.ones((), both.dtype))
        logarithm = logarithm + tf.math.log(tf.abs(pivot))
        row = pivot_row / tf.where(pivot == 0, tf.ones((), both.dtype), pivot)[..., None, None]
        factors = tf.gather(both, k, axis=-1)[..., None]
        return tf.where(is_kth[:, None], row, both - factors * row), sign, logarithm

    start = tf.zeros_like(both[..., 0, 0])
    both, sign, logarithm = _for_each(n, step, both, start + 1, start)
    return both[..., n:], sign, logarithm


def _solve(matrix: Any, rhs: Any, adjoint: bool = False) -> Any:
    return _eliminated(tf.linalg.matrix_transpose(matrix) if adjoint else matrix, tf.convert_to_tensor(rhs))[0]


def _inverse(matrix: Any, adjoint: bool = False) -> Any:
    return _solve(matrix, tf.eye(_columns(matrix), dtype=matrix.dtype), adjoint)


def _sign_and_logarithm(matrix: Any) -> tuple[Any, Any]:
    return _eliminated(matrix, matrix[..., :1])[1:]


def _lu(matrix: Any, output_idx_type: Any = tf.int32, name: str | None = None) -> tuple[Any, Any]:
    """Doolittle's algorithm with partial pivoting: L below the diagonal and U in one matrix, and the rows' order."""
    n = _columns(matrix)
    places = tf.range(n)

    def step(k: Any, both: Any, order: Any) -> tuple[Any, ...]:
        column = tf.gather(both, k, axis=-1)  # (.., n)
        chosen = tf.argmax(tf.where(places >= k, tf.abs(column), tf.constant(-1, both.dtype)), -1, tf.int32)
        is_chosen, is_kth = places == tf.expand_dims(chosen, -1), places == k

        def swapped(rows: Any) -> Any:  # (.., n, columns)
            pivot = tf.where(tf.expand_dims(is_chosen, -1), rows, tf.zeros((), rows.dtype))
            kth = tf.expand_dims(tf.gather(rows, k, axis=-2), -2)
            rows = tf.where(tf.expand_dims(is_chosen, -1), kth, rows)
            return tf.where(is_kth[:, None], tf.reduce_sum(pivot, -2, keepdims=True), rows)

        both, order = swapped(both), swapped(order)
        row = tf.expand_dims(tf.gather(both, k, axis=-2), -2)
        pivot = tf.gather(row, k, axis=-1)  # (.., 1)
        below = places > k
        factors = tf.where(below, tf.gather(both, k, axis=-1) / pivot, tf.zeros((), both.dtype))
        factors = tf.expand_dims(factors, -1)
        rest = both - factors * tf.where(below, row, tf.zeros((), both.dtype))
        return tf.where(tf.logical_and(below[:, None], is_kth), factors, rest), order

    start = tf.zeros_like(matrix[..., :1], tf.int32) + places[:, None]  # (.., n, 1)
    factors, order = _for_each(n, step, matrix, start)
    return factors, tf.cast(tf.squeeze(order, -1), output_idx_type)


def _log_determinant(matrix: Any) -> Any:
    """Of positive definite ones."""
    return 2 * tf.reduce_sum(tf.math.log(tf.linalg.diag_part(_cholesky(matrix))), -1)


def _cholesky(matrix: Any) -> Any:
    """The lower triangle, column by column; only the lower triangle of the matrix is read."""
    n = _columns(matrix)
    places = tf.range(n)

    def step(k: Any, rest: Any, lower: Any) -> tuple[Any, ...]:
        column = tf.gather(rest, k, axis=-1)  # (.., n)
        root = tf.sqrt(tf.gather(column, k, axis=-1))[..., None]
        column = tf.where(places >= k, column / root, tf.zeros((), column.dtype))
        rest = rest - column[..., :, None] * column[..., None, :]
        return rest, tf.where(places == k, column[..., None], lower)

    return _for_each(n, step, matrix, tf.zeros_like(matrix))[1]


def _triangular_solve(matrix: Any, rhs: Any, lower: bool = True, adjoint: bool = False) -> Any:
    """By substitution, from the row with one unknown on."""
    if adjoint:
        matrix, lower = tf.linalg.matrix_transpose(matrix), not lower
    n = _columns(matrix)
    places = tf.range(n)

    def step(i: Any, x: Any) -> tuple[Any]:
        k = i if lower else n - 1 - i
        row = tf.gather(matrix, k, axis=-2)  # (.., n)
        known = tf.where(places < k if lower else places > k, row, tf.zeros((), row.dtype))
        sums = tf.matmul(known[..., None, :], x)  # (.., 1, m)
        value = (tf.gather(rhs, k, axis=-2)[..., None, :] - sums) / tf.gather(row, k, axis=-1)[..., None, None]
        return (tf.where((places == k)[:, None], value, x),)

    rhs = tf.convert_to_tensor(rhs) + tf.zeros_like(matrix[..., :1])
    return _for_each(n, step, tf.zeros_like(rhs))[0]


def _cholesky_solve(chol: Any, rhs: Any) -> Any:
    return _triangular_solve(chol, _triangular_solve(chol, rhs), adjoint=True)


def _rotated(matrix: Any) -> tuple[Any, Any]:
    """One-sided Jacobi rotations (Hestenes, 1958) of a matrix (.., m, n), m >= n, until its columns are orthogonal.

    Returns:
        W (.., m, n) and the rotation V (.., n, n) with matrix = W V'; the columns' lengths are the singular values.
    """
    n = matrix.shape[-1]
    pairs = [*itertools.combinations(range(n), 2)]
    table = tf.constant(pairs or [(0, 0)])
    places = tf.range(n)
    rows = matrix.shape[-2]
    eye = tf.zeros_like(matrix[..., :1, :]) + tf.eye(n, dtype=matrix.dtype)

    def step(i: Any, both: Any) -> tuple[Any]:
        pair = tf.gather(table, i % len(pairs))
        p, q = pair[0], pair[1]
        a, b = tf.gather(both, p, axis=-1), tf.gather(both, q, axis=-1)  # (.., m + n)
        first, second = a[..., :rows], b[..., :rows]
        product = tf.reduce_sum(first * second, -1, keepdims=True)
        difference = tf.reduce_sum(second * second, -1, keepdims=True) - tf.reduce_sum(first * first, -1, keepdims=True)
        idle = product == 0
        zeta = difference / (2 * tf.where(idle, tf.ones_like(product), product))
        sign = tf.where(zeta < 0, -tf.ones_like(zeta), tf.ones_like(zeta))
        tangent = tf.where(idle, tf.zeros_like(zeta), sign / (tf.abs(zeta) + tf.sqrt(1 + zeta * zeta)))
        cosine = 1 / tf.sqrt(1 + tangent * tangent)
        sine = cosine * tangent
        new_a, new_b = cosine * a - sine * b, sine * a + cosine * b
        return (tf.where(places == p, new_a[..., None], tf.where(places == q, new_b[..., None], both)),)

    (both,) = _for_each(tf.constant(len(pairs) * _SWEEPS), step, tf.concat([matrix, eye], -2))
    return both[..., :rows, :], both[..., rows:, :]


def _upright(matrix: Any) -> tuple[Any, bool]:
    """With at least as many rows as columns, and whether it was turned for that."""
    turned = matrix.shape[-2] < matrix.shape[-1]
    return (tf.linalg.matrix_transpose(matrix) if turned else matrix), turned


def _singular_values(matrix: Any) -> Any:
    """(.., n), the largest first."""
    columns, _ = _rotated(_upright(matrix)[0])
    values = tf.sqrt(tf.reduce_sum(columns * columns, -2))
    return tf.math.top_k(values, values.shape[-1]).values


def _svd(tensor: Any, full_matrices: bool = False, compute_uv: bool = True) -> Any:
    if compute_uv:  # singular vectors have signs that are LAPACK's choice
        return _SVD(tensor, full_matrices=full_matrices)
    return _singular_values(tensor)


_SVD = tf.linalg.svd


def _pseudoinverse(matrix: Any, rcond: Any = None, validate_args: bool = False) -> Any:
    """A = W V' has the pseudoinverse V S^-2 W', over the singular values above the largest times `rcond`."""
    if rcond is None:
        rcond = 10.0 * max(matrix.shape[-2:]) * np.finfo(matrix.dtype.as_numpy_dtype).eps
    return _inverted(matrix, rcond, tf.greater)


def _inverted(matrix: Any, rcond: Any, above: Callable) -> Any:
    upright, turned = _upright(matrix)
    columns, rotation = _rotated(upright)
    squares = tf.reduce_sum(columns * columns, -2, keepdims=True)  # (.., 1, n)
    values = tf.sqrt(squares)
    cutoff = tf.cast(rcond, matrix.dtype) * tf.reduce_max(values, -1, keepdims=True)
    kept = tf.logical_and(above(values, cutoff), squares > 0)
    inverse = tf.where(kept, 1 / tf.where(kept, squares, tf.ones_like(squares)), tf.zeros_like(squares))
    found = tf.matmul(rotation * inverse, columns, transpose_b=True)
    return tf.linalg.matrix_transpose(found) if turned else found


def _matrix_rank(matrix: Any, tol: Any = None, validate_args: bool = False) -> Any:
    values = _singular_values(matrix)
    if tol is None:
        eps = np.finfo(matrix.dtype.as_numpy_dtype).eps
        tol = eps * max(matrix.shape[-2:]) * tf.reduce_max(values, -1, keepdims=True)
    return tf.reduce_sum(tf.cast(values > tol, tf.int32), -1)


def _least_squares(a: Any, b: Any, rcond: Any = None) -> Any:
    """Keras' `lstsq`: the shortest solution, over the singular values from the largest times `rcond` on."""
    b = tf.convert_to_tensor(b)
    rcond = np.finfo(a.dtype.as_numpy_dtype).eps * max(a.shape) if rcond is None else rcond
    solution = tf.matmul(_inverted(a, rcond, tf.greater_equal), b if b.shape.rank == 2 else b[:, None])
    return solution if b.shape.rank == 2 else solution[:, 0]


_ALGORITHMS: dict[str, tuple[Callable, Callable[[Any], bool]]] = {
    "solve": (_solve, _always),
    "inv": (_inverse, _always),
    "slogdet": (_sign_and_logarithm, _always),
    "cholesky": (_cholesky, _always),
    "logdet": (_log_determinant, _always),
    "lu": (_lu, _is_square),
    "triangular_solve": (_triangular_solve, _always),
    "cholesky_solve": (_cholesky_solve, _always),
    "svd": (_svd, _jacobi_fits),
    "pinv": (_pseudoinverse, _jacobi_fits),
    "matrix_rank": (_matrix_rank, _jacobi_fits),
}
