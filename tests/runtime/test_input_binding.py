"""Binding arrays to a signature: pairing, casts, shapes, and what is refused."""

import re

import numpy as np
import pytest

from tfseq.errors import InputError
from tfseq.runtime.input_binding import bind, require_finite
from tfseq.runtime.manifest import TensorSpec

X = TensorSpec("x", "float32", ("batch", 3))
TOKENS = TensorSpec("tokens", "int32", ("batch", "time"))
MASK = TensorSpec("mask", "bool", ("batch", "time"))


def test_arguments_are_paired_by_position_and_by_name():
    feeds = bind([X, TOKENS], [np.zeros((2, 3))], {"tokens": [[1], [2]]})
    assert list(feeds) == ["x", "tokens"]
    assert feeds["tokens"].tolist() == [[1], [2]]


@pytest.mark.parametrize(
    ("arrays", "named", "message"),
    [
        ([], {}, "Missing x"),
        ([[[1, 2, 3]], 5], {}, "Got 2 arrays; expected 1: x float32"),
        ([], {"y": 1}, "no input 'y'; expected x float32"),
        ([[[1, 2, 3]]], {"x": 1}, "given twice"),
    ],
)
def test_names_that_do_not_fit_are_named(arrays, named, message):
    with pytest.raises(InputError, match=message):
        bind([X], arrays, named)


@pytest.mark.parametrize("dtype", ["float16", "float64", "int64", "uint8", "bool"])
def test_numbers_that_a_float_can_hold_are_cast(dtype):
    feeds = bind([X], [np.ones((2, 3), dtype)], {})
    assert feeds["x"].dtype == np.float32
    assert (feeds["x"] == 1).all()


@pytest.mark.parametrize("dtype", ["int8", "uint16", "int64", "uint64", "bool"])
def test_integers_that_fit_are_cast(dtype):
    assert bind([TOKENS], [np.ones((2, 4), dtype)], {})["tokens"].dtype == np.int32


@pytest.mark.parametrize(
    ("spec", "value"),
    [
        (X, np.full((1, 3), 1e39)),  # beyond float32
        (X, np.full((1, 3), 2**24 + 1)),  # float32 has 24 bits
        (TOKENS, np.full((1, 3), 2**31)),
        (TOKENS, np.full((1, 3), 2**32 + 5, np.uint64)),
        (TOKENS, np.full((1, 3), 1.0)),
        (TOKENS, np.array([["hello"]])),
        (TOKENS, [[1], [2, 3]]),
        (TOKENS, None),
        (X, np.ones((1, 3), complex)),
        (MASK, np.ones((1, 3), int)),
    ],
)
def test_values_that_would_change_are_refused(spec, value):
    with pytest.raises(InputError, match=spec.name):
        bind([spec], [value], {})


def test_infinity_and_nan_are_values_like_others():
    feeds = bind([X], [np.array([[np.inf, -np.inf, np.nan]])], {})
    np.testing.assert_array_equal(feeds["x"], [[np.inf, -np.inf, np.nan]])


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.zeros(3), "1 axes.*Add the batch axis"),
        (np.zeros((1, 2, 3)), r"3 axes, \(1, 2, 3\); expected x float32 \(batch, 3\)"),
        (np.zeros((2, 4)), "Axis 1 .* size 4; expected x float32"),
    ],
)
def test_ranks_and_fixed_sizes_are_checked(value, message):
    with pytest.raises(InputError, match=message):
        bind([X], [value], {})


@pytest.mark.parametrize("value", [[], [[]], np.zeros((2, 0), int), np.zeros((0, 3), int)])
def test_empty_arrays_are_refused(value):
    with pytest.raises(InputError, match="'tokens' is empty"):
        bind([TOKENS], [value], {})


def test_axes_of_one_name_have_one_size():
    with pytest.raises(InputError, match="'batch' is 2 in 'x' and 5 in 'tokens'"):
        bind([X, TOKENS], [np.zeros((2, 3)), np.zeros((5, 7), int)], {})
    with pytest.raises(InputError, match="'time'"):
        bind([TOKENS, MASK], [np.zeros((2, 3), int), np.zeros((2, 4), bool)], {})


@pytest.mark.parametrize("seed", range(6))
def test_values_that_are_not_finite_are_found_and_placed(seed):
    random = np.random.default_rng(seed)
    shape = tuple(random.integers(1, 6, int(random.integers(1, 4))))
    spec = TensorSpec("x", str(random.choice(["float16", "float32", "float64"])), shape)
    array = random.normal(size=shape).astype(spec.dtype)
    require_finite([TOKENS, spec], {"x": array, "tokens": np.ones((1, 2), "int32")})
    count = int(random.integers(1, array.size + 1))
    places = np.sort(random.choice(array.size, count, replace=False))
    array.flat[places] = random.choice([np.nan, np.inf, -np.inf])
    first = [int(i) for i in np.unravel_index(places[0], shape)]
    others = f" and {count - 1} more" if count > 1 else "; expected finite"
    message = f"'x' holds {array.flat[places[0]]} at {first}{others}"
    with pytest.raises(InputError, match=re.escape(message)):
        require_finite([TOKENS, spec], {"x": array, "tokens": np.ones((1, 2), "int32")})
