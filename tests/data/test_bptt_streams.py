"""Truncated BPTT streams: contiguous, resumable at any step; evaluation predicts every token exactly once."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("tensorflow")

from tfseq.data import contiguous_streams, evaluation_stream, steps_per_epoch
from tfseq.errors import DataError

few = settings(max_examples=25, deadline=None)
sizes = {"batch": st.integers(1, 5), "chunk": st.integers(1, 6)}


def elements(dataset):
    return list(dataset.as_numpy_iterator())


def rows(parts):
    return np.concatenate(parts, axis=1)


def test_a_small_text_by_hand():
    # 11 predictions: 2 streams of 4 tokens in chunks of 2; 3 are left over.
    first, second = elements(contiguous_streams(np.arange(12), batch=2, chunk=2))
    np.testing.assert_array_equal(first[0]["tokens"], [[0, 1], [4, 5]])
    np.testing.assert_array_equal(first[1], [[1, 2], [5, 6]])
    np.testing.assert_array_equal(second[0]["tokens"], [[2, 3], [6, 7]])
    np.testing.assert_array_equal(second[1], [[3, 4], [7, 8]])
    assert first[0]["starts"].tolist() == [True, True]
    assert second[0]["starts"].tolist() == [False, False]


def test_shapes_and_types_are_known_before_the_first_element():
    (inputs, targets) = contiguous_streams(np.arange(50), batch=3, chunk=4).element_spec
    assert (inputs["tokens"].shape, inputs["tokens"].dtype) == ((3, 4), "int32")
    assert (inputs["starts"].shape, inputs["starts"].dtype) == ((3,), "bool")
    assert (targets.shape, targets.dtype) == ((3, 4), "int32")
    (_, _, weights) = evaluation_stream(np.arange(50), batch=3, chunk=4).element_spec
    assert (weights.shape, weights.dtype) == ((3, 4), "float32")


@few
@given(**sizes, extra=st.integers(0, 60))
def test_the_chunks_of_a_row_are_a_contiguous_text(batch, chunk, extra):
    length = batch * chunk + 1 + extra
    passed = elements(contiguous_streams(np.arange(length), batch, chunk))
    inputs, targets = rows([x["tokens"] for x, _ in passed]), rows([y for _, y in passed])
    per_row = (length - 1) // batch // chunk * chunk
    assert len(passed) == steps_per_epoch(length, batch, chunk) == per_row // chunk
    np.testing.assert_array_equal(inputs.ravel(), np.arange(batch * per_row))
    np.testing.assert_array_equal(targets, inputs + 1)


@few
@given(**sizes, extra=st.integers(0, 30), start=st.integers(0, 12), seed=st.none() | st.integers(-3, 2**62))
def test_a_run_can_go_on_at_any_step(batch, chunk, extra, start, seed):
    tokens = np.random.default_rng(0).integers(0, 99, batch * chunk + chunk + extra)
    whole = contiguous_streams(tokens, batch, chunk, epochs=3, seed=seed)
    rest = contiguous_streams(tokens, batch, chunk, epochs=3, seed=seed, start=start)
    skipped = elements(whole)[start:]
    assert len(skipped) == len(rest)
    for (x, y), (expected_x, expected_y) in zip(rest.as_numpy_iterator(), skipped, strict=True):
        np.testing.assert_array_equal(x["tokens"], expected_x["tokens"])
        np.testing.assert_array_equal(x["starts"], expected_x["starts"])
        np.testing.assert_array_equal(y, expected_y)


def test_every_pass_starts_afresh():
    passed = elements(contiguous_streams(np.arange(14), batch=2, chunk=2, epochs=3))
    assert [bool(x["starts"].all()) for x, _ in passed] == [True, False, False] * 3
    np.testing.assert_array_equal(passed[3][0]["tokens"], passed[0][0]["tokens"])


def test_repeat_equals_more_epochs():
    once = contiguous_streams(np.arange(14), batch=2, chunk=2)
    thrice = contiguous_streams(np.arange(14), batch=2, chunk=2, epochs=3)
    assert len(once.repeat(3)) == len(thrice) == 9
    for (x, y), (expected_x, expected_y) in zip(elements(once.repeat(3)), elements(thrice), strict=True):
        np.testing.assert_array_equal(x["tokens"], expected_x["tokens"])
        np.testing.assert_array_equal(y, expected_y)


def test_an_endless_run_can_start_far_away():
    endless = contiguous_streams(np.arange(14), batch=2, chunk=2, epochs=None, start=3 * 10**12 + 1)
    ((x, _),) = elements(endless.take(1))
    np.testing.assert_array_equal(x["tokens"], [[2, 3], [8, 9]])


@few
@given(**sizes, extra=st.integers(0, 30), seed=st.integers(0, 99))
def test_a_shifted_pass_is_contiguous_too(batch, chunk, extra, seed):
    length = batch * chunk + chunk + extra
    steps = steps_per_epoch(length, batch, chunk, shifted=True)
    passed = elements(contiguous_streams(np.arange(length), batch, chunk, seed=seed, epochs=2))
    assert len(passed) == 2 * steps
    for one_pass in (passed[:steps], passed[steps:]):
        inputs, targets = rows([x["tokens"] for x, _ in one_pass]), rows([y for _, y in one_pass])
        np.testing.assert_array_equal(inputs.ravel(), np.arange(inputs.size) + inputs[0, 0])
        np.testing.assert_array_equal(targets, inputs + 1)


def test_shifted_passes_cut_the_text_everywhere_and_reach_its_end():
    length, chunk = 41, 5
    passes = elements(contiguous_streams(np.arange(length), batch=2, chunk=chunk, seed=1, epochs=200))
    steps = steps_per_epoch(length, 2, chunk, shifted=True)
    shifts = {int(x["tokens"][0, 0]) for x, _ in passes[::steps]}
    assert shifts == set(range(length - 2 * steps * chunk))
    assert {shift % chunk for shift in shifts} == set(range(chunk))
    assert max(y.max() for _, y in passes) == length - 1


def test_another_seed_shifts_otherwise():
    def shifts(seed):
        dataset = contiguous_streams(np.arange(60), batch=1, chunk=30, seed=seed, epochs=20)
        return [int(x["tokens"][0, 0]) for x, _ in dataset.as_numpy_iterator()]

    assert shifts(1) == shifts(1) != shifts(2)


def test_a_small_evaluation_by_hand():
    # 7 predictions in 2 streams: tokens 1 to 3 and 4 to 7.
    first, second = elements(evaluation_stream(np.arange(10, 18), batch=2, chunk=3))
    np.testing.assert_array_equal(first[0]["tokens"], [[10, 11, 12], [13, 14, 15]])
    np.testing.assert_array_equal(first[1], [[11, 12, 13], [14, 15, 16]])
    np.testing.assert_array_equal(first[2], np.ones((2, 3)))
    np.testing.assert_array_equal(second[0]["tokens"], [[0, 0, 0], [16, 0, 0]])
    np.testing.assert_array_equal(second[1], [[0, 0, 0], [17, 0, 0]])
    np.testing.assert_array_equal(second[2], [[0, 0, 0], [1, 0, 0]])
    assert first[0]["starts"].all()
    assert not second[0]["starts"].any()


@few
@given(**sizes, length=st.integers(2, 80))
def test_evaluation_predicts_every_token_but_the_first_exactly_once(batch, chunk, length):
    passed = elements(evaluation_stream(np.arange(length), batch, chunk))
    inputs, targets = rows([x["tokens"] for x, _, _ in passed]), rows([y for _, y, _ in passed])
    weights = rows([w for _, _, w in passed])
    real = weights == 1
    assert weights[~real].sum() == 0
    np.testing.assert_array_equal(targets[real], np.arange(1, length))  # in order, each once
    np.testing.assert_array_equal(inputs[real], np.arange(length - 1))
    assert (np.diff(weights, axis=1) <= 0).all()  # padding only behind the text: no state that is used has read it
    lengths = weights.sum(axis=1)
    assert lengths.max() - lengths.min() <= 1


def test_evaluation_needs_no_full_chunk():
    ((x, y, w),) = elements(evaluation_stream(np.array([7, 9]), batch=3, chunk=4))
    assert w.sum() == 1
    assert x["tokens"][w == 1].tolist() == [7]
    assert y[w == 1].tolist() == [9]


@pytest.mark.parametrize("length", [0, 1, 24])
def test_a_text_shorter_than_one_chunk_per_stream_is_refused(length):
    with pytest.raises(DataError, match=f"has {length} tokens; 4 streams with chunks of 6 need at least 25"):
        contiguous_streams(np.zeros(length, np.int32), batch=4, chunk=6)
    assert steps_per_epoch(25, 4, 6) == 1


def test_shifted_passes_need_a_little_more():
    with pytest.raises(DataError, match=r"has 29 tokens; .* need at least 30"):
        contiguous_streams(np.zeros(29, np.int32), batch=4, chunk=6, seed=0)
    assert len(contiguous_streams(np.zeros(30, np.int32), batch=4, chunk=6, seed=0)) == 1


@pytest.mark.parametrize("length", [0, 1])
def test_an_evaluation_of_nothing_is_refused(length):
    with pytest.raises(DataError, match=f"has {length} tokens; a loss needs at least 2"):
        evaluation_stream(np.zeros(length, np.int32), batch=1, chunk=1)


@pytest.mark.parametrize("streams", [contiguous_streams, evaluation_stream])
@pytest.mark.parametrize("sizes", [(0, 5), (5, 0), (-1, 5)])
def test_sizes_below_one_are_refused(streams, sizes):
    with pytest.raises(DataError, match="expected at least 1 of each"):
        streams(np.arange(9), *sizes)


@pytest.mark.parametrize("streams", [contiguous_streams, evaluation_stream])
@pytest.mark.parametrize("tokens", [np.zeros((3, 3), np.int32), np.zeros(9), "abc"])
def test_what_is_no_row_of_integers_is_refused(streams, tokens):
    with pytest.raises(DataError, match=r"expected integers of shape \(length,\)"):
        streams(tokens, 1, 1)


@pytest.mark.parametrize("position", [{"start": -1}, {"epochs": -1}])
def test_a_position_before_the_first_step_is_refused(position):
    with pytest.raises(DataError, match="not negative"):
        contiguous_streams(np.arange(9), 1, 1, **position)


def test_a_run_that_is_over_has_no_more_steps():
    assert len(contiguous_streams(np.arange(9), 2, 2, epochs=2, start=4)) == 0
    assert len(contiguous_streams(np.arange(9), 2, 2, epochs=2, start=9)) == 0
