"""Blocks of a text: those to train on come from everywhere, those to evaluate on predict every token exactly once."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("tensorflow")

from tfseq.data import random_blocks, sliding_blocks
from tfseq.errors import DataError

few = settings(max_examples=25, deadline=None)


def elements(dataset):
    return list(dataset.as_numpy_iterator())


def test_random_blocks_are_cut_out_of_the_text_and_followed_by_its_next_tokens():
    epoch = random_blocks(np.arange(100, 130), batch=4, block=5, steps=50)
    firsts = set()
    for tokens, targets in elements(epoch(0)):
        np.testing.assert_array_equal(tokens, tokens[:, :1] + np.arange(5))
        np.testing.assert_array_equal(targets, tokens + 1)
        firsts |= set(tokens[:, 0].tolist())
    assert firsts == set(range(100, 125))  # the last block ends before 129, its last target


def test_random_blocks_depend_on_the_seed_and_the_step_alone():
    def starts(epoch, steps, seed=0):
        return [x[:, 0].tolist() for x, _ in elements(random_blocks(np.arange(1000), 4, 5, steps, seed)(epoch))]

    assert starts(1, 3) == starts(0, 6)[3:]
    assert starts(0, 3) != starts(0, 3, seed=1)


def test_blocks_that_overlap_by_hand():
    (tokens, targets, weights), (more, _, last) = elements(sliding_blocks(np.arange(10), batch=2, block=4, context=2))
    np.testing.assert_array_equal(tokens, [[0, 1, 2, 3], [2, 3, 4, 5]])
    np.testing.assert_array_equal(targets, tokens + 1)
    np.testing.assert_array_equal(weights, [[1, 1, 1, 1], [0, 0, 1, 1]])
    np.testing.assert_array_equal(more, [[4, 5, 6, 7], [6, 7, 8, 0]])
    np.testing.assert_array_equal(last, [[0, 0, 1, 1], [0, 0, 1, 0]])


@few
@given(length=st.integers(2, 60), batch=st.integers(1, 4), block=st.integers(1, 9), data=st.data())
def test_every_token_but_the_first_is_predicted_once_from_more_than_the_context(length, batch, block, data):
    context = data.draw(st.integers(0, block - 1))
    predicted = []
    for tokens, targets, weights in elements(sliding_blocks(np.arange(length), batch, block, context)):
        row, column = np.nonzero(weights)
        np.testing.assert_array_equal(targets[row, column], tokens[row, column] + 1)
        np.testing.assert_array_equal(tokens[row, 0], tokens[row, column] - column)
        assert np.all((column >= context) | (tokens[row, 0] == 0))
        predicted += targets[row, column].tolist()
    assert sorted(predicted) == list(range(1, length))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: random_blocks(np.arange(5), 1, 5, 1), "has 5 tokens; blocks of 5 need at least 6"),
        (lambda: random_blocks(np.arange(9), 0, 5, 1), "batch is 0 and block is 5 and steps is 1; expected at least 1"),
        (lambda: random_blocks(np.ones(9), 1, 5, 1), "Tokens are float64"),
        (lambda: sliding_blocks(np.arange(9), 2, 4, 4), "context is 4; expected a number from 0 to below block, 4"),
        (lambda: sliding_blocks(np.arange(1), 2, 4), "a loss needs at least 2"),
    ],
)
def test_what_can_not_be_cut_is_refused(make, message):
    with pytest.raises(DataError, match=message):
        make()
