"""Diagonals, identity matrices, cumulative products and cross-entropy: ONNX Runtime gives what NumPy gives."""

import numpy as np
import onnxruntime
import pytest
import tensorflow as tf
from keras import ops

from tfseq.errors import ExportError
from tfseq.exporting.conversion.convert import to_onnx
from tfseq.runtime import TensorSpec


def run(function, opset=18, **arrays):
    """Outputs in ONNX Runtime of a function of named arrays, whose axes are given as (array, names and sizes)."""
    inputs = [TensorSpec(name, str(array.dtype), shape) for name, (array, shape) in arrays.items()]
    session = onnxruntime.InferenceSession(to_onnx(function, inputs, opset).SerializeToString())
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, {name: array for name, (array, _) in arrays.items()})))


def cases(seed):
    """Diagonals of random places, and rows, columns and types."""
    random = np.random.default_rng(seed)
    for dtype in ("float32", "int32", "int64", "uint8", "bool"):
        yield int(random.integers(-3, 4)), int(random.integers(1, 6)), (random.normal(size=(3, 5)) * 9).astype(dtype)


@pytest.mark.parametrize("opset", [13, 18])
def test_vectors_on_diagonals_of_matrices(opset):
    """Of a fixed and of a free length."""
    for i, (k, count, values) in enumerate(cases(opset)):
        x = values[:, :count]

        def diagonals(fixed, free, k=k):
            return {
                "of fixed": tf.linalg.diag(fixed, k=k),
                "of free": tf.linalg.diag(free, k=k),
                "flat": ops.diagflat(fixed[0], k=k),
            }

        got = run(diagonals, opset, fixed=(x, ("batch", count)), free=(x, ("batch", "time")))
        expected = np.stack([np.diag(row, k) for row in x])
        for name in ("of fixed", "of free"):
            assert got[name].dtype == expected.dtype
            assert np.array_equal(got[name], expected), (i, name)
        assert np.array_equal(got["flat"], np.diag(x[0], k))


def test_diagonals_of_matrices_replaced():
    for k, count, values in cases(1):
        k = max(k, 1 - count)
        matrix = np.stack([values[:, :1]] * count, axis=1).reshape(3, count, 1).repeat(5, axis=2)
        length = min(count + min(k, 0), 5 - max(k, 0))
        new = values[:, :length]

        def replaced(matrix, new, wide, diagonal, k=k):
            return {"fixed": tf.linalg.set_diag(matrix, new, k=k), "free": tf.linalg.set_diag(wide, diagonal, k=k)}

        got = run(
            replaced,
            matrix=(matrix, ("batch", count, 5)),
            new=(new, ("batch", length)),
            wide=(matrix, ("batch", "rows", "columns")),
            diagonal=(new, ("batch", "length")),
        )
        expected = matrix.copy()
        for i in range(length):
            expected[:, i - min(k, 0), i + max(k, 0)] = new[:, i]
        assert np.array_equal(got["fixed"], expected)
        assert np.array_equal(got["free"], expected)


def test_bands_and_tensors():
    x, cube = np.arange(1, 31, dtype="float32").reshape(2, 3, 5), np.arange(6, dtype="float32").reshape(2, 3)

    def function(x, cube):
        return {
            "band": tf.linalg.diag(x, k=(-1, 1), align="RIGHT_LEFT", padding_value=7.0),
            "sized": tf.linalg.diag(x[:, 0], k=1, num_rows=5, num_cols=8),
            "tensor": tf.linalg.tensor_diag(cube),
            "part": tf.linalg.tensor_diag_part(tf.linalg.tensor_diag(cube)),
        }

    got = run(function, x=(x, ("batch", 3, 5)), cube=(cube, (2, 3)))
    for name, expected in function(tf.constant(x), tf.constant(cube)).items():
        assert np.array_equal(got[name], expected), name


def test_what_diagonals_need_is_said():
    with pytest.raises(ExportError, match="Bands of diagonals"):
        run(lambda x: {"y": tf.linalg.diag(x, k=(-1, 1))}, x=(np.ones((2, 3, 5), "float32"), ("batch", 3, "time")))


def test_a_batch_of_identity_matrices():
    def function(x):
        return {"y": x + tf.eye(tf.shape(x)[1], batch_shape=[tf.shape(x)[0]]), "z": tf.eye(3, 4, batch_shape=[2, 1])}

    x = np.zeros((2, 3, 3), "float32")
    got = run(function, x=(x, ("batch", "n", "n")))
    assert np.array_equal(got["y"], np.stack([np.eye(3)] * 2))
    assert np.array_equal(got["z"], np.broadcast_to(np.eye(3, 4), (2, 1, 3, 4)))


@pytest.mark.parametrize("dtype", ["float32", "int32", "int64", "uint8"])
def test_cumulative_products_are_exact_for_integers(dtype):
    """Over a fixed and a free length, both ways, with and without the place itself; integers overflow as NumPy's."""
    random = np.random.default_rng(3)
    x = random.integers(1, 8, (2, 21, 3)).astype(dtype)
    x = x / 4 if dtype == "float32" else x
    ways = [(exclusive, reverse) for exclusive in (False, True) for reverse in (False, True)]

    def products(fixed, free):
        return {
            f"{name} {exclusive} {reverse}": tf.math.cumprod(y, 1, exclusive, reverse)
            for name, y in (("fixed", fixed), ("free", free))
            for exclusive, reverse in ways
        }

    x = x.astype(dtype)
    got = run(products, fixed=(x, ("batch", 21, 3)), free=(x, ("batch", "time", 3)))
    for exclusive, reverse in ways:
        y = x[:, ::-1] if reverse else x
        expected = np.cumprod(y, 1, dtype=dtype)
        if exclusive:
            expected = np.concatenate([np.ones_like(y[:, :1]), expected[:, :-1]], 1)
        expected = expected[:, ::-1] if reverse else expected
        for name in ("fixed", "free"):
            result = got[f"{name} {exclusive} {reverse}"]
            assert result.dtype == dtype
            assert np.allclose(result, expected, rtol=1e-5 if dtype == "float32" else 0, atol=0), (name, exclusive)


def test_sparse_cross_entropy():
    random = np.random.default_rng(0)
    logits, labels = random.normal(size=(4, 6, 5)).astype("float32") * 9, random.integers(0, 5, (4, 6)).astype("int32")

    def losses(logits, labels):
        probabilities = ops.softmax(logits)
        return {
            "of logits": ops.sparse_categorical_crossentropy(labels, logits, from_logits=True),
            "probabilities": ops.sparse_categorical_crossentropy(labels, probabilities + 0.0),
        }

    got = run(losses, logits=(logits, ("batch", "time", 5)), labels=(labels, ("batch", "time")))
    shifted = logits.astype("float64") - logits.max(-1, keepdims=True)
    log_softmax = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    expected = -np.take_along_axis(log_softmax, labels[..., None], -1)[..., 0]
    assert np.allclose(got["of logits"], expected, atol=1e-4)
    assert np.allclose(got["probabilities"], np.minimum(expected, -np.log(1e-7)), atol=1e-4)
