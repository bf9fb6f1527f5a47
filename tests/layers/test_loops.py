"""`while_loop`, `scan`, `associative_scan` and `take_rows`, compiled and not, against plain Python."""

import keras
import numpy as np
import pytest
from keras import ops

from tfseq.layers.key_value_cache import advance, empty_cached_state
from tfseq.layers.loops import (
    associative_scan,
    compiled,
    compiled_for_any_sizes,
    number,
    scan,
    take_rows,
    while_loop,
)


def collatz(start, max_steps):
    """3n + 1 where n is odd, n / 2 where it is even, while n > 1; all n on the way."""

    def body(step, carry):
        n = ops.where(carry[0] % 2 > 0, 3 * carry[0] + 1, carry[0] // 2)
        return (n,), {"n": n, "odd": n % 2 > 0, "step": step}

    start = (ops.convert_to_tensor(start, "int32"),)
    dtypes = {"n": "int32", "odd": "bool", "step": "int32"}
    return while_loop(lambda carry: ops.max(carry[0]) > 1, body, start, number(max_steps), dtypes)


def test_a_loop_stops_by_its_condition_and_stacks_as_many_outputs():
    (n,), outputs = collatz(6, 100)
    assert int(n) == 1
    assert np.asarray(outputs["n"]).tolist() == [3, 10, 5, 16, 8, 4, 2, 1]
    assert np.asarray(outputs["odd"]).tolist() == [True, False, True, False, False, False, False, True]
    assert np.asarray(outputs["step"]).tolist() == list(range(8))


def test_a_loop_stops_at_the_most_steps():
    (n,), outputs = collatz(6, 3)
    assert int(n) == 5
    assert np.asarray(outputs["n"]).tolist() == [3, 10, 5]


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="elsewhere loops are compiled by themselves")
def test_compiled_loops_leave_out_steps_that_did_not_run():
    run = compiled(lambda start, most: collatz(start, most)[1]["n"])
    assert np.asarray(run(np.int32(6), np.int32(1000))).tolist() == [3, 10, 5, 16, 8, 4, 2, 1]
    assert np.asarray(run(np.int32(4), np.int32(1000))).tolist() == [2, 1]


def traces(function, *shapes, known=None):
    """What a function for any sizes returns for ones of these shapes, and the shapes that it was traced with."""
    seen = []

    def run(inputs):
        seen.append(tuple(inputs["x"].shape))
        return function(inputs["x"])

    compiled_run = compiled_for_any_sizes(run, known)
    return [np.asarray(compiled_run({"x": ops.ones(shape)})).tolist() for shape in shapes], seen


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="elsewhere loops are compiled by themselves")
def test_a_function_for_any_sizes_is_traced_once():
    assert traces(ops.sum, (2, 3), (1, 7), (4, 1)) == ([6, 7, 4], [(None, None)])
    assert traces(ops.sum, (2, 3), (1, 3), known={"x": (None, 3)}) == ([6, 3], [(None, 3)])


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="elsewhere loops are compiled by themselves")
def test_a_function_that_relies_on_its_sizes_is_traced_with_those_that_come():
    results, seen = traces(lambda x: ops.ones(2 * x.shape[0]), (1, 3), (2, 3))
    assert results == [[1, 1], [1, 1, 1, 1]]
    assert seen[0] == (None, None)
    assert {(1, 3), (2, 3)} <= set(seen)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="caches grow on TensorFlow alone")
def test_rows_and_caches_may_change_their_sizes_in_a_compiled_loop():
    def body(step, carry):
        rows, cached = carry
        key = ops.ones((2, 3, 1, 4)) * ops.cast(step, "float32")
        cached = advance(cached)._replace(caches=((ops.concatenate([cached.caches[0][0], key], 2), key[:, :, :0]),))
        return (ops.concatenate([rows, rows]), cached), ()

    def run(steps):
        carry = (ops.zeros((1, 5)), empty_cached_state(1, 2, 3, 4))
        (rows, cached), _ = while_loop(lambda _: True, body, carry, steps, ())
        return rows, cached.caches[0][0], cached.position

    rows, keys, position = compiled(run)(np.int32(4))
    assert rows.shape == (16, 5)
    assert np.asarray(keys)[1, 2, :, 3].tolist() == [0, 1, 2, 3]
    assert int(position) == 4


def test_a_scan_carries_and_stacks():
    last, sums = scan(
        lambda carry, x: (carry + x, carry + x), ops.zeros(2), ops.reshape(ops.arange(6.0), (3, 2)), "float32"
    )
    assert np.asarray(sums).tolist() == [[0, 1], [2, 4], [6, 9]]
    assert np.asarray(last).tolist() == [6, 9]


def test_rows_are_taken_by_index_of_any_shape():
    x = np.arange(12).reshape(4, 3)
    index = np.array([[3, 0], [1, 1]])
    assert np.array_equal(take_rows(x, index), x[index])


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_an_associative_scan_combines_each_element_with_all_before_it(axis, reverse):
    """Products of matrices do not commute; each is kept in four arrays, so that any axis can be that of the scan."""

    def product(earlier, later):
        a, b, c, d = earlier["m"]
        e, f, g, h = later["m"]
        return {"m": (a * e + b * g, a * f + b * h, c * e + d * g, c * f + d * h)}

    random = np.random.default_rng(0)
    run = compiled(lambda *m: associative_scan(product, {"m": m}, reverse=reverse, axis=axis)["m"])
    for length in (1, 2, 3, 8, 13):
        shape = [2, 3, 4]
        shape[axis] = length
        m = random.normal(size=(4, *shape)).astype("float32")
        places = np.moveaxis(m, 1 + (axis % 3), -1).reshape(2, 2, -1, length).transpose(2, 3, 0, 1)  # rows, time, 2, 2
        expected = np.empty_like(places)
        for row, matrices in enumerate(places):
            total = np.eye(2)
            for t in range(length)[:: -1 if reverse else 1]:
                expected[row, t] = total = total @ matrices[t]
        for found in (run(*m), associative_scan(product, {"m": tuple(m)}, reverse=reverse, axis=axis)["m"]):
            found = np.moveaxis(np.stack(found), 1 + (axis % 3), -1).reshape(2, 2, -1, length).transpose(2, 3, 0, 1)
            np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)
