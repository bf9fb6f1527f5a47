"""Associative recall: each question has exactly one note before it, and nothing else gives the answer away."""

import numpy as np
import pytest

from tfseq.data.recall_task import Recall
from tfseq.errors import DataError

TASK = Recall(keys=3, values=5, distractors=4)  # answers 0-4, distractors 5-8, notes 9-23, questions 24-26


def answered_by_reading(tokens):
    """What somebody says who reads from left to right and writes the notes down."""
    book, answers = {}, []
    for token in tokens.tolist():
        if 9 <= token <= 23:
            key, value = divmod(token - 9, 5)
            assert key not in book, "two notes of one key"
            book[key] = value
        elif token >= 24:
            answers.append(book[token - 24])
        else:
            assert 5 <= token <= 8, "an answer was given away"
    return answers


def test_every_answer_was_stated_in_one_note():
    inputs, targets = TASK.sequences(200, 12)
    assert inputs.shape == (200, 12)
    assert inputs.dtype == targets.dtype == np.int32
    assert TASK.vocabulary == 27
    assert [answered_by_reading(row) for row in inputs] == targets.tolist()


def test_the_last_tokens_ask_for_every_key_in_any_order():
    inputs, _ = TASK.sequences(300, 20)
    assert (inputs[:, :-3] < 24).all()
    orders = {tuple(row) for row in inputs[:, -3:].tolist()}
    assert len(orders) == 6
    assert all(sorted(order) == [24, 25, 26] for order in orders)


def test_without_distractors_there_are_notes_and_questions():
    inputs, targets = TASK.sequences(50, 6)
    assert (inputs[:, :3] >= 9).all()
    assert [answered_by_reading(row) for row in inputs] == targets.tolist()


def test_notes_lie_anywhere_and_values_are_drawn_evenly():
    inputs, targets = TASK.sequences(6000, 13, seed=3)
    body = inputs[:, :-3]
    for key in range(3):  # each place has each key's note in a tenth of the sequences: 600, deviation 23
        notes = (body >= 9 + 5 * key) & (body < 14 + 5 * key)
        np.testing.assert_allclose(notes.sum(0), 600, atol=120)
    counts = np.bincount(targets.ravel(), minlength=5)  # 3,600 of each, deviation 54
    np.testing.assert_allclose(counts, 3600, atol=270)
    assert TASK.chance == pytest.approx(1 / 5)


def test_a_seed_draws_the_same_again_and_another_does_not():
    first, again, other = (TASK.sequences(4, 30, seed).inputs for seed in ([1, 2], [1, 2], [1, 3]))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


@pytest.mark.parametrize("wrong", [{"keys": 0}, {"values": 1}, {"distractors": 0}])
def test_numbers_that_make_no_task(wrong):
    with pytest.raises(DataError, match="expected at least 1 key, 2 values and 1 distractor"):
        Recall(**wrong)


def test_a_sequence_too_short_for_its_notes():
    with pytest.raises(DataError, match="length is 5 and count 1; expected at least 1 sequence of at least 6 tokens"):
        TASK.sequences(1, 5)
