"""R-Drop beside its equation in NumPy, and its gradient beside automatic differentiation."""

import numpy as np
import pytest

keras = pytest.importorskip("keras")
tf = pytest.importorskip("tensorflow")

from tfseq.training.label_smoothing import SmoothedCrossEntropy
from tfseq.training.r_drop import RDropCrossEntropy, twice, twofold_cross_entropy


def random_logits(seed, shape=(2, 5, 7)):
    return np.random.default_rng(seed).normal(0, 2, shape).astype("float32")


def softmax(x):
    exps = np.exp(x - x.max(-1, keepdims=True))
    return exps / exps.sum(-1, keepdims=True)


def kl(p, q):
    return (p * np.log(p / q)).sum(-1)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_it_is_the_equation_of_the_paper_halved(smoothing):
    a, b, tokens = random_logits(0), random_logits(1), np.random.default_rng(2).integers(0, 7, (2, 5))
    weights = (np.random.default_rng(3).random((2, 5)) < 0.6).astype("float32")
    p, q = softmax(a), softmax(b)
    cross_entropy = SmoothedCrossEntropy(smoothing, reduction=None)
    ce = np.array(cross_entropy(tokens, a)) + np.array(cross_entropy(tokens, b))
    expected = ((ce + 3.0 / 2 * (kl(p, q) + kl(q, p))) / 2 * weights).sum() / weights.sum()
    loss = RDropCrossEntropy(3.0, smoothing, reduction="mean_with_sample_weight")
    for each in (loss, RDropCrossEntropy.from_config(loss.get_config())):
        both = [np.concatenate(pair) for pair in ((tokens, tokens), (a, b), (weights, weights))]
        np.testing.assert_allclose(each(both[0], both[1], sample_weight=both[2]), expected, rtol=1e-5)


def test_of_two_that_agree_it_is_the_cross_entropy():
    logits, tokens = random_logits(0), np.random.default_rng(1).integers(0, 7, (2, 5))
    expected = SmoothedCrossEntropy(0.1)(tokens, logits)
    twofold = RDropCrossEntropy(5.0, 0.1)(np.concatenate([tokens] * 2), np.concatenate([logits] * 2))
    np.testing.assert_allclose(twofold, expected, rtol=1e-6)


def test_its_gradient_is_that_of_automatic_differentiation():
    logits, upstream = tf.constant(random_logits(0, (4, 5, 7))), tf.constant(random_logits(1, (4, 5)))
    tokens = np.random.default_rng(2).integers(0, 7, (4, 5)).astype("int32")

    def plain(logits):
        log_p = tf.nn.log_softmax(logits)
        a, b = tf.split(log_p, 2)
        apart = tf.reduce_sum((tf.exp(a) - tf.exp(b)) * (a - b), -1)
        one_hot = 0.9 * tf.one_hot(tokens, 7) + 0.1 / 7
        return -tf.reduce_sum(one_hot * log_p, -1) + 3.0 / 4 * tf.concat([apart, apart], 0)

    gradients = []
    for function in (lambda logits: twofold_cross_entropy(logits, tokens, 0.1, 3.0), plain):
        with tf.GradientTape() as tape:
            tape.watch(logits)
            total = tf.reduce_sum(function(logits) * upstream)
        gradients.append(tape.gradient(total, logits))
    np.testing.assert_allclose(*gradients, rtol=1e-4, atol=1e-5)


def test_twice_repeats_every_part_of_a_batch():
    batches = tf.data.Dataset.from_tensors(({"x": np.arange(3)}, np.arange(6).reshape(3, 2), np.ones(3)))
    inputs, targets, weights = next(iter(twice(batches)))
    np.testing.assert_array_equal(inputs["x"], [0, 1, 2, 0, 1, 2])
    assert targets.shape == (6, 2)
    assert weights.shape == (6,)


@pytest.mark.parametrize(
    ("options", "message"), [({"weight": -1}, "weight is -1"), ({"smoothing": 1}, "smoothing is 1")]
)
def test_what_can_not_be_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        RDropCrossEntropy(**options)
