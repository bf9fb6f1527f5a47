"""Sampling: frequencies by chi-square tests, top-k and top-p against reference decoding."""

import itertools

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as given_settings
from hypothesis import strategies as st

from tests.decoding import by_hand
from tests.decoding.toys import TableTranslator, assert_same, decoded, sources
from tfseq.decoding import Context, Sample
from tfseq.decoding.sample import filter_min_p, filter_top_k_top_p
from tfseq.errors import InputError

LOGITS = np.array([1.0, 0.0, -1.0, 2.0, 0.5])


def choices(logits, rows, **settings):
    """What `rows` rows choose at position 0, all from the same logits."""
    strategy = Sample(**settings)
    tensors = {name: np.asarray(spec.default, spec.dtype) for name, spec in strategy.read_settings.items()}
    prepared = strategy.prepare(tensors, rows, len(logits), np.zeros(1, "int32"))
    logits = keras.ops.convert_to_tensor(np.tile(np.asarray(logits, "float32"), (rows, 1)))
    context = Context(None, strategy, tensors, logits, None, 0, prepared=prepared)
    return np.asarray(strategy.choose(context).tokens)


def kept(logits, temperature=1.0, top_k=0, top_p=1.0):
    logits = np.atleast_2d(np.asarray(logits, "float32"))
    cut = np.asarray(filter_top_k_top_p(logits, np.float32(temperature), np.int32(top_k), np.float32(top_p)))
    assert np.array_equal(cut[np.isfinite(cut)], logits[np.isfinite(cut)])
    return np.isfinite(cut)


def chi_square(counts, probabilities):
    """Sum of (observed - expected)^2 / expected, over what can happen at all."""
    counts, expected = np.asarray(counts, "float64"), np.asarray(probabilities) * np.sum(counts)
    assert not counts[expected == 0].any()
    return ((counts - expected)[expected > 0] ** 2 / expected[expected > 0]).sum()


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_tokens_come_as_often_as_softmax_says(temperature):
    expected = np.exp(LOGITS / temperature) / np.exp(LOGITS / temperature).sum()
    counts = np.bincount(choices(LOGITS, 20_000, temperature=temperature, seed=1), minlength=5)
    assert chi_square(counts, expected) < 18.5  # 4 degrees of freedom, p = 0.001


@pytest.mark.parametrize(
    ("settings", "survivors", "limit"),  # the limit of chi-square where p = 0.001
    [
        ({"top_k": 3}, [0, 3, 4], 13.8),
        ({"top_p": 0.7}, [0, 3], 10.8),  # 0.563 + 0.207 >= 0.7
        ({"top_k": 3, "top_p": 0.9}, [0, 3, 4], 13.8),  # of what the cut to 3 leaves, 0.629 + 0.231 < 0.9
        ({"temperature": 2.0, "top_p": 0.7}, [0, 3, 4], 13.8),  # flatter: 0.379 + 0.230 < 0.7
    ],
)
def test_cuts_keep_the_proportions_of_what_they_keep(settings, survivors, limit):
    weights = np.exp(LOGITS / settings.get("temperature", 1.0)) * np.isin(np.arange(5), survivors)
    counts = np.bincount(choices(LOGITS, 20_000, seed=2, **settings), minlength=5)
    assert chi_square(counts, weights / weights.sum()) < limit


def test_whole_sequences_come_as_often_as_the_model_says():
    """All of up to three tokens, END among them, from rows with the same source."""
    model = TableTranslator(3, seed=4, scale=1.0)
    rows = 20_000
    source = np.ones((rows, 1), "int32")
    tokens, lengths, *_ = decoded(model, Sample(seed=6), source=source, max_length=3)
    drawn = [tuple(row[:n]) for row, n in zip(np.asarray(tokens).tolist(), np.asarray(lengths))]
    log_p = {}
    for n in range(4):
        for new in itertools.product([0, 1], repeat=n):  # 2 ends
            whole = [*new, 2] if n < 3 else list(new)
            steps = [by_hand.log_softmax(model.logits_of([1])([1, *whole[:i]])) for i in range(len(whole))]
            log_p[new] = sum(step[token] for step, token in zip(steps, whole))
    counts = [drawn.count(new) for new in log_p]
    assert sum(counts) == rows
    assert chi_square(counts, np.exp(list(log_p.values()))) < 36.1  # 14 degrees of freedom, p = 0.001


def test_temperature_zero_is_greedy():
    assert choices([0.0, 3.0, 2.9999998], 100, temperature=0.0).tolist() == [1] * 100
    assert choices([0.0, 3.0, 2.9999998], 100, temperature=0.0, top_p=0.5).tolist() == [1] * 100


@pytest.mark.parametrize("k", [0, 5, 6, 2**31 - 1])
def test_top_k_of_none_or_more_than_all_keeps_all(k):
    assert kept(np.random.default_rng(0).normal(size=(3, 5)), top_k=k).all()


@pytest.mark.parametrize("k", [1, 2, 4])
def test_top_k_keeps_the_k_largest_of_each_row(k):
    logits = np.random.default_rng(0).normal(size=(50, 5))
    assert np.array_equal(kept(logits, top_k=k), (-logits).argsort(axis=1).argsort(axis=1) < k)


def test_what_equals_the_last_that_stays_stays_too():
    assert kept([1.0, 2.0, 1.0, 0.0], top_k=2).tolist() == [[True, True, True, False]]
    assert kept([1.0, 2.0, 1.0, 0.0], top_p=0.7).tolist() == [[True, True, True, False]]


@given_settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    temperature=st.sampled_from([0.0, 0.3, 1.0, 2.5]),
    top_k=st.integers(0, 12),
    top_p=st.floats(0.01, 1.0),
)
def test_the_nucleus_is_the_fewest_tokens_that_reach_top_p(seed, temperature, top_k, top_p):
    logits = np.random.default_rng(seed).normal(size=(6, 10), scale=2)
    expected = [by_hand.top_k_top_p(np.float32(row), temperature, top_k, np.float32(top_p)) for row in logits]
    assert np.array_equal(kept(logits, temperature, top_k, top_p), expected)


@pytest.mark.parametrize("seed", range(3))
def test_min_p_keeps_what_is_as_likely_beside_the_other_cuts(seed):
    model, source = TableTranslator(9, seed), sources(5, seed=seed)
    rows = [(model.logits_of(row), [1]) for row in source]
    chosen = {
        "temperature": (0.0, 0.7, 1.5)[seed],
        "top_k": (0, 6, 0)[seed],
        "min_p": (0.2, 0.3, 1.0)[seed],
        "seed": seed,
    }
    expected = [by_hand.sample(*row, 9, by_hand.Rules(2), i, **chosen) for i, row in enumerate(rows)]
    assert_same(decoded(model, Sample(**chosen), source=source, max_length=9), expected)


@given_settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**31), temperature=st.sampled_from([0.3, 1.0, 2.5]), min_p=st.floats(0.0, 1.0))
def test_min_p_cuts_by_the_ratio_to_the_most_likely(seed, temperature, min_p):
    logits = np.random.default_rng(seed).normal(size=10, scale=2).astype("float32")
    cut = np.asarray(filter_min_p(logits[None], np.float32(temperature), np.float32(min_p)))[0]
    ratios = np.exp((logits - logits.max()).astype("float64") / temperature)
    certain = np.abs(ratios - min_p) > 1e-6
    assert np.array_equal(np.isfinite(cut)[certain], (ratios >= min_p)[certain])


def test_one_token_stays_however_small_top_p_is():
    assert kept(LOGITS, top_p=1e-30).tolist() == [[False, False, False, True, False]]


def test_tokens_that_the_rules_bar_do_not_count():
    barred = np.where(np.arange(5) == 3, -np.inf, LOGITS)
    expected = np.exp(barred) / np.exp(barred).sum()
    assert kept(barred, top_p=0.76).tolist() == [[True, False, False, False, True]]  # 0.474 + 0.288
    counts = np.bincount(choices(barred, 20_000, seed=3), minlength=5)
    assert chi_square(counts, expected) < 16.3  # 3 degrees of freedom, p = 0.001


@pytest.mark.parametrize(
    "settings",
    [
        {"temperature": -0.1},
        {"temperature": float("nan")},
        {"temperature": float("inf")},
        {"temperature": "1"},
        {"top_k": -1},
        {"top_k": 2.5},
        {"top_p": 0},
        {"top_p": 1.01},
        {"top_p": float("nan")},
        {"seed": 2**31},
        {"seed": 1.0},
    ],
)
def test_settings_that_cannot_be_are_refused(settings):
    (name,) = settings
    with pytest.raises(InputError, match=f"{name} is "):
        Sample(**settings)
