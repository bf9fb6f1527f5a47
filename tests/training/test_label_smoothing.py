"""Label smoothing beside Keras' own, which takes one-hot targets."""

import numpy as np
import pytest

keras = pytest.importorskip("keras")

from tfseq.training.label_smoothing import SmoothedCrossEntropy


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.6])
def test_it_is_that_of_keras_on_one_hot_targets(smoothing):
    random = np.random.default_rng(0)
    tokens, logits = random.integers(0, 7, (3, 5)), random.normal(0, 3, (3, 5, 7)).astype("float32")
    weights = (random.random((3, 5)) < 0.6).astype("float32")
    options = {"reduction": "mean_with_sample_weight"}
    theirs = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=smoothing, **options)
    ours = SmoothedCrossEntropy(smoothing, **options)
    again = SmoothedCrossEntropy.from_config(ours.get_config())
    expected = theirs(np.eye(7, dtype="float32")[tokens], logits, sample_weight=weights)
    for loss in (ours, again):
        np.testing.assert_allclose(loss(tokens, logits, sample_weight=weights), expected, rtol=1e-5)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_its_gradient_is_that_of_automatic_differentiation(smoothing):
    tf = pytest.importorskip("tensorflow")
    random = np.random.default_rng(0)
    tokens, logits = random.integers(0, 7, (3, 5)), tf.constant(random.normal(0, 3, (3, 5, 7)), tf.float32)
    upstream = random.normal(size=(3, 5)).astype("float32")
    theirs = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=smoothing, reduction=None)
    gradients = []
    for loss, targets in ((SmoothedCrossEntropy(smoothing, reduction=None), tokens), (theirs, np.eye(7)[tokens])):
        with tf.GradientTape() as tape:
            tape.watch(logits)
            total = tf.reduce_sum(loss(targets, logits) * upstream)
        gradients.append(tape.gradient(total, logits))
    np.testing.assert_allclose(*gradients, rtol=1e-4, atol=1e-6)


def test_a_share_that_can_not_be_is_refused():
    with pytest.raises(ValueError, match="smoothing is 1; expected a number from 0 to below 1"):
        SmoothedCrossEntropy(1)
