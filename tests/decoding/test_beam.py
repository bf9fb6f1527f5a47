"""Beam search against reference decoding, brute force over all sequences, and pairs computed by hand."""

import math

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.decoding import by_hand
from tests.decoding.toys import (
    TableTranslator,
    assert_same,
    decoded,
    language_model,
    logits_of_language_model,
    prompts,
    sources,
)
from tfseq.decoding import Beam
from tfseq.errors import InputError


@pytest.mark.parametrize("length_penalty", [0.0, 0.6, 1.0, 2.0, -0.5])
@pytest.mark.parametrize("min_length", [0, 2])
@pytest.mark.parametrize(("vocabulary", "max_length"), [(3, 4), (4, 3)])
def test_with_room_for_every_sequence_the_best_of_all_is_found(vocabulary, max_length, min_length, length_penalty):
    rules = by_hand.Rules(end=2, min_length=min_length)
    beam = Beam(vocabulary**max_length, length_penalty, patience=math.inf, min_length=min_length)
    source = sources(6)
    for seed in range(3):
        model = TableTranslator(vocabulary, seed)
        expected = [by_hand.best_of_all(model.logits_of(row), [1], max_length, rules, length_penalty) for row in source]
        assert_same(decoded(model, beam, source=source, max_length=max_length), expected)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    width=st.integers(1, 6),
    length_penalty=st.sampled_from([0.0, 0.7, 1.0, 3.0, -1.0]),
    max_length=st.integers(1, 12),
    min_length=st.integers(0, 5),
    repetition_penalty=st.sampled_from([1.0, 1.7, 0.8]),
    forbidden=st.sets(st.integers(3, 6), max_size=2),
    patience=st.sampled_from([0.3, 1.0, 1.5, math.inf]),
    shares_memory=st.booleans(),
)
def test_search_is_that_of_plain_lists(
    seed, width, length_penalty, max_length, min_length, repetition_penalty, forbidden, patience, shares_memory
):
    model = TableTranslator(7, seed, shares_memory=shares_memory)
    source = sources(4, seed=seed)
    rules = by_hand.Rules(2, min_length, repetition_penalty, tuple(forbidden))
    searched = {"length_penalty": length_penalty, "patience": patience}
    asked = {"min_length": min_length, "repetition_penalty": repetition_penalty, "forbidden": tuple(forbidden)}
    beam = Beam(width, **searched, **asked)
    expected = [by_hand.beam(model.logits_of(row), [1], max_length, rules, width, **searched) for row in source]
    assert_same(decoded(model, beam, source=source, max_length=max_length), expected)


@pytest.mark.parametrize(("cell", "end", "repetition_penalty"), [("gru", None, 1.0), ("rnn", 3, 1.0), ("lstm", 3, 1.4)])
def test_prompts_of_any_lengths_are_continued_as_by_plain_lists(cell, end, repetition_penalty):
    model = language_model(cell, end=end, depth=2, embedding_dim=5)
    prompt, lengths = prompts()
    rules = by_hand.Rules(end, repetition_penalty=repetition_penalty)
    logits_of = logits_of_language_model(model)
    expected = [
        by_hand.beam(logits_of, row[:length].tolist(), 7, rules, 3, 1.0) for row, length in zip(prompt, lengths)
    ]
    beam = Beam(3, repetition_penalty=repetition_penalty)
    assert_same(decoded(model, beam, prompt=prompt, prompt_length=lengths, max_length=7), expected)


@pytest.mark.parametrize("patience", [1.0, math.inf])
def test_the_search_stops_when_enough_have_ended_or_none_can_win_any_more(patience):
    """As many steps as the row that takes longest, counted by a loop that is not compiled."""
    source, rules = sources(4), by_hand.Rules(2)
    ran = set()
    for seed in range(6):
        model = TableTranslator(5, seed)
        steps = max(by_hand.beam(model.logits_of(row), [1], 30, rules, 3, 0.6, patience)[2] for row in source)
        decoded(model, Beam(3, 0.6, patience), source=source, max_length=30)
        assert model.steps == steps
        ran.add(steps)
    assert min(ran) < 10
    assert len(ran) > 1


def test_a_row_does_not_depend_on_other_rows():
    model = TableTranslator(6, 3)
    source = sources(8)
    together = decoded(model, Beam(3), source=source, max_length=12)
    for row in range(8):
        tokens, lengths, scores, _ = map(
            np.asarray, decoded(model, Beam(3), source=source[row : row + 1], max_length=12)
        )
        assert lengths[0] == together.lengths[row]
        assert scores[0] == pytest.approx(float(together.scores[row]), abs=1e-6)
        assert tokens[0].tolist() == np.asarray(together.tokens)[row, : lengths[0]].tolist()


@pytest.mark.parametrize("width", [1, 3])
def test_attention_is_that_of_the_beam_that_won(width):
    model = TableTranslator(6, 1)
    source = sources(5, time=4)
    tokens, lengths, _, attention = map(
        np.asarray, decoded(model, Beam(width), source=source, max_length=9, return_attention=True)
    )
    assert attention.shape == (*tokens.shape, 4)
    for row, length in enumerate(lengths):
        for i in range(tokens.shape[1]):
            state = model.state_by_hand(source[row], [1, *tokens[row, :i]])
            expected = source[row] + 0.001 * state if i < length else np.zeros(4)
            np.testing.assert_allclose(attention[row, i], expected, atol=1e-5)


def test_a_wider_search_finds_what_a_greedy_one_misses():
    """0.6 * 0.5 < 0.4 * 0.9: the less likely first token begins the most likely pair."""

    class Fork(TableTranslator):
        def step(self, tokens, state, memory=()):
            rows = np.log(np.array([[0.6, 0.4], [0.5, 0.5], [0.9, 0.1]], "float32"))  # at first, after 0, after 1
            return keras.ops.take(rows, keras.ops.where(state[0] > 0, tokens + 1, 0), axis=0), [state[0] + 1]

    model = Fork(2, start=0, end=None)
    narrow, wide = (decoded(model, Beam(width, 0.0), source=[[1]], max_length=2) for width in (1, 2))
    assert np.asarray(narrow.tokens).tolist() == [[0, 0]]
    assert np.asarray(wide.tokens).tolist() == [[1, 0]]
    np.testing.assert_allclose([narrow.scores[0], wide.scores[0]], np.log([0.3, 0.36]), atol=1e-5)


def test_between_equals_the_lower_token_id_wins():
    model = TableTranslator(6)
    model.table = np.zeros_like(model.table)
    for width in (1, 2, 5):
        generated = decoded(model, Beam(width, 0.0, min_length=4), source=[[1]], max_length=4)
        assert np.asarray(generated.tokens).tolist() == [[0] * 4]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"width": 0}, "width is 0; expected an integer of at least 1"),
        ({"width": 2.0}, "width is 2.0"),
        ({"length_penalty": float("inf")}, "length_penalty is inf"),
        ({"length_penalty": "1"}, "length_penalty is '1'"),
        ({"patience": 0}, "patience is 0; expected a number above 0"),
    ],
)
def test_settings_that_cannot_be_are_refused(wrong, message):
    with pytest.raises(InputError, match=message):
        Beam(**wrong)
