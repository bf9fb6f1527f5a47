"""Linear algebra in ONNX Runtime beside NumPy's in float64, over sizes that are unrolled and that are loops."""

import numpy as np
import onnxruntime
import pytest
import tensorflow as tf
from keras import ops

from tfseq.errors import ExportError
from tfseq.exporting.conversion.convert import to_onnx
from tfseq.exporting.conversion.linear_algebra import UNROLLED
from tfseq.runtime import TensorSpec


def run(function, *arrays, free=False, opset=18):
    """Outputs in ONNX Runtime; the batch is free, or all axes are."""
    names = [f"x{i}" for i in range(len(arrays))]
    shapes = [["batch", *(["n", "n"] if free else x.shape[1:])] for x in arrays]
    specs = [TensorSpec(name, "float32", tuple(shape)) for name, shape in zip(names, shapes)]
    model = to_onnx(lambda **given: function(*(given[name] for name in names)), specs, opset)
    assert {node.domain for node in model.graph.node} == {""}
    session = onnxruntime.InferenceSession(model.SerializeToString())
    outputs = [output.name for output in session.get_outputs()]
    return dict(zip(outputs, session.run(None, {n: x.astype("float32") for n, x in zip(names, arrays)})))


def drawn(n, m=None, batch=4):
    """Matrices whose singular values lie between 0.5 and 2, some with zeros that elimination has to step around."""
    random = np.random.default_rng(n)
    u, v = (np.linalg.qr(random.normal(size=(batch, size, size)))[0] for size in (n, m or n))
    k = min(n, m or n)
    matrices = u[..., :k] * random.uniform(0.5, 2, (batch, 1, k)) @ np.swapaxes(v[..., :k], -1, -2)
    if m is None and n > 1:
        matrices[0] = np.roll(np.eye(n), 1, 0) * random.uniform(
            0.5, 2, n
        )  # zeros on the diagonal, determinant < 0 or > 0
    return matrices.astype("float32").astype("float64")


@pytest.mark.parametrize(("n", "free"), [(1, False), (UNROLLED, False), (UNROLLED + 3, False), (3, True)])
def test_square_systems(n, free):
    a = drawn(n)
    b = np.random.default_rng(0).normal(size=(4, n, n))
    definite = a @ np.swapaxes(a, -1, -2) + 0.1 * np.eye(n)

    def function(a, b, definite):
        sign, logarithm = ops.slogdet(a)
        return {
            "inverse": ops.inv(a),
            "solution": ops.solve(a, b),
            "transposed": tf.linalg.solve(a, b, adjoint=True),
            "vector": ops.solve(a, b[..., 0]),
            "sign": sign,
            "logarithm": logarithm,
            "determinant": ops.det(a),
            "cholesky": ops.cholesky(definite),
            "upper": ops.cholesky(definite, upper=True),
            "with factor": tf.linalg.cholesky_solve(tf.linalg.cholesky(definite), b),
            "below": ops.solve_triangular(tf.linalg.cholesky(definite), b, lower=True),
            "above": ops.solve_triangular(ops.cholesky(definite, upper=True), b),
        }

    got = run(function, a, b, definite, free=free, opset=13 if n == 1 else 18)
    sign, logarithm = np.linalg.slogdet(a)
    lower = np.linalg.cholesky(definite)
    expected = {
        "inverse": np.linalg.inv(a),
        "solution": np.linalg.solve(a, b),
        "transposed": np.linalg.solve(np.swapaxes(a, -1, -2), b),
        "vector": np.linalg.solve(a, b[..., :1])[..., 0],
        "sign": sign,
        "logarithm": logarithm,
        "determinant": np.linalg.det(a),
        "cholesky": lower,
        "upper": np.swapaxes(lower, -1, -2),
        "with factor": np.linalg.solve(definite, b),
        "below": np.linalg.solve(lower, b),
        "above": np.linalg.solve(np.swapaxes(lower, -1, -2), b),
    }
    for name, value in expected.items():
        assert np.allclose(got[name], value, rtol=1e-3, atol=1e-4), name


@pytest.mark.parametrize(("n", "m"), [(3, 3), (2, 5), (4, 1)])
def test_matrices_of_any_shape_and_rank(n, m):
    """The last matrix of the batch has rank 1."""
    a = drawn(n, m)
    a[-1] = np.outer(np.arange(1, n + 1), np.arange(1, m + 1)) / n / m
    b = np.random.default_rng(0).normal(size=(4, n, 2))

    def function(a, b):
        return {
            "inverse": ops.pinv(a),
            "values": ops.svd(a, compute_uv=False),
            "rank": tf.linalg.matrix_rank(a),
            "first": ops.lstsq(a[0], b[0]),
            "last": ops.lstsq(a[3], b[3, :, 0]),
        }

    got = run(function, a, b)
    expected = {
        "inverse": np.linalg.pinv(a, rcond=1e-5),
        "values": np.linalg.svd(a, compute_uv=False),
        "rank": np.linalg.matrix_rank(a, tol=1e-4),
        "first": np.linalg.lstsq(a[0], b[0], rcond=1e-5)[0],
        "last": np.linalg.lstsq(a[3], b[3, :, 0], rcond=1e-5)[0],
    }
    for name, value in expected.items():
        assert np.allclose(got[name], value, rtol=1e-3, atol=1e-4), name


@pytest.mark.parametrize(
    ("function", "word"),
    [(lambda x: ops.qr(x)[0], "a QR decomposition"), (lambda x: ops.svd(x)[0], "a singular value decomposition")],
)
def test_what_has_no_plain_algorithm_is_refused_by_name(function, word):
    with pytest.raises(ExportError, match=f"computes {word}"):
        run(lambda x: {"y": function(x)}, drawn(3))


@pytest.mark.parametrize(("n", "batch"), [(1, 2), (UNROLLED, 2), (UNROLLED + 3, 3)])
def test_triangular_factors_with_the_order_of_the_rows(n, batch):
    a = drawn(n, batch=batch)

    def function(a):
        factors, order = tf.linalg.lu(a)
        return {
            "factors": factors,
            "order": order,
            "of one": ops.lu_factor(a[0])[1],
            "logarithm": ops.logdet(a @ ops.swapaxes(a, 1, 2)),
        }

    found = run(function, a)
    lower, upper = np.tril(found["factors"], -1) + np.eye(n), np.triu(found["factors"])
    assert np.abs(lower).max() < 1 + 1e-5  # pivots are the largest of their columns
    np.testing.assert_allclose(lower @ upper, np.take_along_axis(a, found["order"][..., None], 1), atol=1e-4)
    np.testing.assert_array_equal(found["of one"][found["order"][0]], np.arange(n))
    np.testing.assert_allclose(found["logarithm"], 2 * np.linalg.slogdet(a)[1], atol=1e-4)
