import keras
import numpy as np
import pytest

from tfseq.decoding import Sample
from tfseq.decoding.sample import keep_top_k
from tfseq.errors import InputError


def choices(logits, rows, **settings):
    """What `rows` rows choose at position 0, all from the same logits."""
    strategy = Sample(**settings)
    tensors = {name: np.asarray(value, Sample.DTYPES[name]) for name, value in strategy.settings.items()}
    keys = Sample.prepare(tensors, rows, np.zeros(1, "int32"))
    logits = keras.ops.convert_to_tensor(np.tile(np.asarray(logits, "float32"), (rows, 1)))
    return np.asarray(Sample.choose(logits, keys[0], tensors))


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_symbols_come_as_often_as_softmax_says(temperature):
    logits = np.array([1.0, 0.0, -1.0, 2.0, 0.5])
    expected = np.exp(logits / temperature) / np.exp(logits / temperature).sum() * 20_000
    counts = np.bincount(choices(logits, 20_000, temperature=temperature, seed=1), minlength=5)
    assert ((counts - expected) ** 2 / expected).sum() < 18.5  # chi-square, 4 degrees of freedom, p = 0.001


def test_temperature_zero_is_greedy():
    assert choices([0.0, 3.0, 2.9999998], 100, temperature=0.0).tolist() == [1] * 100


def test_top_k_keeps_the_proportions_of_what_it_keeps():
    logits = np.array([1.0, 0.0, -1.0, 2.0, 0.5])
    kept = np.exp(logits) * (logits >= 0.5)
    expected = kept / kept.sum() * 20_000
    counts = np.bincount(choices(logits, 20_000, top_k=3, seed=2), minlength=5)
    assert counts[1] == counts[2] == 0
    assert ((counts[kept > 0] - expected[kept > 0]) ** 2 / expected[kept > 0]).sum() < 13.8  # 2 degrees of freedom


@pytest.mark.parametrize("k", [0, 5, 6, 2**31 - 1])
def test_top_k_of_none_or_more_than_all_keeps_all(k):
    logits = np.random.default_rng(0).normal(size=(3, 5)).astype("float32")
    assert np.array_equal(keep_top_k(logits, np.int32(k)), logits)


@pytest.mark.parametrize("k", [1, 2, 4])
def test_top_k_keeps_the_k_largest_of_each_row(k):
    logits = np.random.default_rng(0).normal(size=(50, 5)).astype("float32")
    order = np.argsort(-logits, axis=1)
    expected = logits.copy()
    np.put_along_axis(expected, order[:, k:], -np.inf, axis=1)
    assert np.array_equal(keep_top_k(logits, np.int32(k)), expected)


def test_top_k_keeps_ties():
    logits = np.array([[1.0, 2.0, 1.0, 0.0]], "float32")
    assert np.isfinite(keep_top_k(logits, np.int32(2))).tolist() == [[True, True, True, False]]


@pytest.mark.parametrize(
    "settings",
    [
        {"temperature": -0.1},
        {"temperature": float("nan")},
        {"temperature": float("inf")},
        {"temperature": "1"},
        {"top_k": -1},
        {"top_k": 2.5},
        {"seed": 2**31},
        {"seed": 1.0},
    ],
)
def test_settings_that_cannot_be_are_refused(settings):
    (name,) = settings
    with pytest.raises(InputError, match=name):
        Sample(**settings)
