"""Inputs that a model takes are found for any rule about their sizes and values, and only those are."""

import time

import numpy as np
import pytest
import tensorflow as tf

from tfseq.exporting.signatures.accepted_inputs import AcceptedInputs
from tfseq.exporting.signatures.signature import Signature
from tfseq.runtime.manifest import TensorSpec

X = TensorSpec("x", "float32", ("batch", "time", 2))
Y = TensorSpec("y", "float32", ("batch", "other"))
N = TensorSpec("n", "int32", ("batch",))


def picky(takes, *specs):
    """A model that takes what a rule about its inputs' shapes and values says."""

    def function(**tensors):
        tf.debugging.assert_equal(takes(**tensors), True)
        return {spec.name: tensors[spec.name] * 2 for spec in specs}

    return Signature(specs, function, {})


RULES = {
    "at most": lambda n: lambda time: time <= n,
    "at least": lambda n: lambda time: time >= n,
    "exactly": lambda n: lambda time: tf.equal(time, n),
    "multiples": lambda n: lambda time: tf.equal(time % n, 0),
    "between": lambda n: lambda time: tf.logical_and(time >= n, time <= n + 1),
}


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("n", sorted({int(n) for n in np.random.default_rng(0).integers(1, 200, 3)}))
def test_lengths_are_found_whatever_the_rule(rule, n):
    takes = RULES[rule](n)
    accepted = AcceptedInputs(picky(lambda x: takes(tf.shape(x)[1]), X))
    points, cases = accepted.points(), list(accepted.cases())
    lengths = {case.sizes["time"] for case in (*points, *cases)}
    assert lengths
    assert all(bool(takes(length)) for length in lengths)
    if rule != "exactly" and (rule, n) != ("at most", 1):
        assert len(lengths) > 1
    if rule == "at most" and n < 64:
        assert n in lengths
    assert {case.sizes["batch"] for case in cases} >= {1, 3, 8}
    for case in cases:
        assert case.feeds["x"].shape == (case.sizes["batch"], case.sizes["time"], 2)
        assert np.array_equal(case.outputs["x"], case.feeds["x"] * 2)


@pytest.mark.parametrize("n", [2, 5, 12, 31])
def test_batches_are_found_too(n):
    accepted = AcceptedInputs(picky(lambda x: tf.equal(tf.shape(x)[0] % n, 0), X))
    assert {case.sizes["batch"] % n for case in (*accepted.points(), *accepted.cases())} == {0}


@pytest.mark.parametrize(("low", "high"), [(40, 9), (3, 150), (64, 2)])
def test_two_axes_may_have_nothing_in_common(low, high):
    """One is at least `low` long and the other at most `high`."""
    accepted = AcceptedInputs(picky(lambda x, y: (tf.shape(x)[1] >= low) & (tf.shape(y)[1] <= high), X, Y))
    sizes = [case.sizes for case in accepted.points()]
    assert len({one["time"] for one in sizes}) > 1
    assert len({one["other"] for one in sizes}) > 1
    assert any(one["time"] != one["other"] for one in sizes)


def test_axes_that_have_to_be_equal_are_equal():
    accepted = AcceptedInputs(picky(lambda x, y: tf.equal(tf.shape(x)[1], tf.shape(y)[1]), X, Y))
    assert {case.sizes["time"] - case.sizes["other"] for case in accepted.points()} == {0}


@pytest.mark.parametrize(
    "takes",
    [
        lambda x, n: tf.reduce_all(n > 0),
        lambda x, n: tf.reduce_all((n > 0) & (n <= tf.shape(x)[1])),
        lambda x, n: tf.reduce_all((n >= 0) & (n < tf.shape(x)[1])),
        lambda x, n: tf.reduce_all(n == 1),
        lambda x, n: tf.reduce_all(x > 0) & tf.reduce_all(n > 0),
    ],
)
def test_values_are_found_by_what_they_can_mean(takes):
    cases = list(AcceptedInputs(picky(takes, X, N)).cases())
    assert len(cases) == 9
    assert all(takes(tf.constant(case.feeds["x"]), tf.constant(case.feeds["n"])) for case in cases)


def test_where_outputs_overflow_smaller_values_are_tried():
    signature = Signature((X,), lambda x: {"y": tf.exp(500 * tf.reduce_sum(x * x, -1))}, {})
    assert not np.isfinite(signature.function(x=np.ones((1, 1, 2), "float32"))["y"]).any()
    cases = list(AcceptedInputs(signature).cases())
    assert len(cases) == 9
    assert all(np.isfinite(case.outputs["y"]).all() for case in cases)


def test_a_model_that_takes_nothing_says_why():
    accepted = AcceptedInputs(picky(lambda n: tf.reduce_all(n > 1000), N))
    assert list(accepted.cases()) == accepted.points() == []
    assert accepted.reason


def test_samples_bound_the_lengths_and_lend_their_values():
    samples = [{"x": np.ones((2, 6, 2), "float32"), "n": np.array([1500, 1700], "int32")}]
    accepted = AcceptedInputs(picky(lambda x, n: tf.reduce_all(n > 1000), X, N), samples)
    cases = list(accepted.cases())
    assert {case.sizes["time"] for case in cases} == {1, 3, 6}
    assert {int(n) for case in cases for n in case.feeds["n"]} == {1500, 1700}


def compute(seconds):
    until = time.process_time() + seconds
    while time.process_time() < until:
        pass


def test_a_slow_model_is_run_as_it_is_at_every_length():
    """Its code looks at the length, which a graph of any length does not know; few of its runs are eager."""
    eager = []

    def function(x):
        if tf.executing_eagerly():
            eager.append(x.shape[1])
            compute(0.005 * x.shape[1])
        return {"y": x * 2 if x.shape[1] is not None and x.shape[1] > 40 else x}

    accepted = AcceptedInputs(Signature((X,), function, 0))
    accepted.points()
    first = {case.sizes["time"]: case for case in reversed(list(accepted.cases()))}
    assert set(first) == {1, 17, 64}
    assert max(eager) < 64
    for case in first.values():
        assert np.array_equal(case.outputs["y"], function(tf.constant(case.feeds["x"]))["y"])
