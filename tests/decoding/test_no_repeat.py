"""No repeated n-grams: every strategy against plain lists, and the graph against Keras."""

import numpy as np
import pytest

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
from tfseq.decoding import Beam, Greedy, NoRepeatNGram, Sample
from tfseq.errors import InputError


def n_grams(tokens, n):
    return [tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1)]


@pytest.mark.parametrize(("size", "seed"), [(1, 0), (2, 1), (3, 2), (4, 3)])
def test_each_strategy_does_what_plain_lists_do(size, seed):
    vocabulary = 30 if size == 1 else 6  # so that repeating is likely, and something is left
    model, source = TableTranslator(vocabulary, seed, scale=3.0), sources(4, seed=seed)
    rules, most = by_hand.Rules(2, no_repeat=size), 14
    barred = {"rules": [NoRepeatNGram(size)]}
    rows = [(model.logits_of(row), [1]) for row in source]
    assert_same(
        decoded(model, Greedy(**barred), source=source, max_length=most),
        [by_hand.greedy(*row, most, rules) for row in rows],
    )
    drawn = [by_hand.sample(*row, most, rules, i, 0.7, seed=seed) for i, row in enumerate(rows)]
    assert_same(decoded(model, Sample(0.7, seed=seed, **barred), source=source, max_length=most), drawn)
    searched = [by_hand.beam(*row, most, rules, 3, 0.8) for row in rows]
    assert_same(decoded(model, Beam(3, 0.8, **barred), source=source, max_length=most), searched)


@pytest.mark.parametrize("size", [1, 2, 3])
def test_prompts_count_however_they_are_read(size):
    """A ragged batch: the shortest prompt is read at once, the others go on token by token."""
    model = language_model(vocabulary=11)
    prompt, lengths = prompts()
    of_prompt = [row[:length].tolist() for row, length in zip(prompt, lengths)]
    logits_of, rules = logits_of_language_model(model), by_hand.Rules(no_repeat=size)
    most = 4 if size == 1 else 12
    expected = [by_hand.greedy(logits_of, row, most, rules) for row in of_prompt]
    got = decoded(model, Greedy(rules=[NoRepeatNGram(size)]), prompt=prompt, prompt_length=lengths, max_length=most)
    assert_same(got, expected)
    free = np.asarray(decoded(model, Greedy(), prompt=prompt, prompt_length=lengths, max_length=12).tokens)
    assert any(len(set(grams)) < len(grams) for grams in (n_grams(row.tolist(), size) for row in free))


def test_where_no_token_is_left_none_is_barred():
    model = TableTranslator(4, end=None)
    tokens = decoded(model, Greedy(rules=[NoRepeatNGram(1)]), source=sources(3), max_length=9).tokens
    for row in np.asarray(tokens):
        assert {*row[:3].tolist(), 1} == {0, 1, 2, 3}  # 1 was read as the start


def test_sizes_that_cannot_be_are_refused():
    with pytest.raises(InputError, match="size is 0; expected an integer of at least 1"):
        NoRepeatNGram(0)
    with pytest.raises(InputError, match=r"rules holds 3; expected"):
        Greedy(rules=[3])
