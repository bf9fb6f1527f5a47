"""Functions of numbers as they are traced for conversion: ONNX Runtime gives what NumPy gives."""

import itertools

import numpy as np
import pytest
from keras import ops

from tests.exporting.conversion.test_traced_arrays import converted, normal

RANDOM = np.random.default_rng(0)


@pytest.mark.parametrize("axis", [None, 1, (0, 2), -1])
def test_quantiles_beside_nan(axis):
    methods = ["linear"] if axis != 1 else ["linear", "lower", "higher", "midpoint", "nearest"]
    for method, keepdims in itertools.product(methods, (False, True)):
        q = np.float32([0.3, 0.5, 1.0])

        def function(x, q=q, method=method, keepdims=keepdims):
            return ops.nanquantile(x, q, axis=axis, method=method, keepdims=keepdims)

        run = converted(function, normal(2, 3, 4))
        for batch in (1, 5):
            x = np.where(RANDOM.random((batch, 3, 4)) < 0.3, np.float32(np.nan), normal(batch, 3, 4))
            with np.errstate(all="ignore"):
                expected = np.nanquantile(x, q, axis=axis, method=method, keepdims=keepdims)
            np.testing.assert_allclose(run(x), expected, atol=1e-6)


def test_medians_beside_nan_are_nan_only_where_all_is():
    x = np.float32([[np.nan, 3, 1], [np.nan] * 3, [2, np.nan, np.nan]])
    run = converted(lambda x: ops.nanmedian(x, axis=1), x, free=(0, 1))
    np.testing.assert_array_equal(run(x), np.float32([2, np.nan, 2]))


@pytest.mark.parametrize("shapes", [((3,), (2,)), ((2, 3), (4,)), ((2,), (1, 3, 2)), ((2, 3), (3, 1))])
def test_kronecker_products(shapes):
    x, y = (normal(*shape) for shape in shapes)
    np.testing.assert_allclose(converted(ops.kron, x, y)(x, y), np.kron(x, y), atol=1e-6)


def test_bits_of_numbers_as_another_type():
    special = np.float32([0, -0.0, np.inf, -np.inf, 1, np.nextafter(np.float32(2), 0), 2, -3.4e38, 1.1754944e-38])
    floats = np.concatenate([special, np.exp(RANDOM.uniform(-87, 88, 999)) * RANDOM.choice([-1, 1], 999)])[:1008]
    floats = floats.astype("float32")
    powers = np.ldexp(np.float32(1), np.arange(-126, 128)).astype("float32")
    for x in (floats, powers, np.nextafter(powers[1:], np.float32(0))):
        assert np.array_equal(converted(lambda x: ops.view(x, "int32"), x)(x), x.view("int32"))
        assert np.array_equal(converted(lambda x: ops.view(x, "float32"), x.view("int32"))(x.view("int32")), x)


@pytest.mark.parametrize(("source", "target"), [("int32", "uint8"), ("uint8", "int32"), ("int64", "int32")])
def test_whole_numbers_as_bytes_of_others(source, target):
    limits = np.iinfo(source)
    x = RANDOM.integers(limits.min, limits.max, (3, 8), dtype=source)
    assert np.array_equal(converted(lambda x: ops.view(x, target), x)(x), x.view(target))


@pytest.mark.parametrize("target", ["uint8", "int8", "uint16"])
def test_floats_wrap_around_in_small_whole_numbers(target):
    x = np.float32([-1.5, -0.4, 0.9, 127.5, 128, 300.7, -300, 65537])
    run = converted(lambda x: ops.cast(ops.cast(x, target), "int32"), x)
    assert np.array_equal(run(x), x.astype("int32").astype(target).astype("int32"))


def test_whole_numbers_are_finite_at_any_size():
    x = np.int32([[1, 2], [3, 4], [5, 6]])
    questions = (ops.isfinite, ops.isinf, ops.isnan, ops.isneginf, ops.isposinf)
    run = converted(lambda x: ops.stack([question(x) for question in questions]), x)
    assert np.array_equal(run(x), np.stack([np.full(x.shape, i == 0) for i in range(5)]))
