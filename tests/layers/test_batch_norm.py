"""Batch normalization by the CPU training kernel, against Keras' own."""

import numpy as np
import pytest

keras = pytest.importorskip("keras")
tf = pytest.importorskip("tensorflow")

from tfseq.layers.batch_norm import BatchNormalization

DRAW = np.random.default_rng(0)
X = DRAW.normal(1, 2, (5, 4, 3, 6)).astype("float32")
TOWARDS = DRAW.normal(0, 1, X.shape).astype("float32")


def trained(make, dtype, x=X, **options):
    """Outputs in training, gradients of x, gamma and beta, moving mean and variance, outputs in inference."""
    layer = make(momentum=0.7, epsilon=1e-2, dtype=dtype, **options)
    layer.build(x.shape)
    draw = np.random.default_rng(1)
    layer.set_weights([draw.uniform(0.5, 2, weight.shape) for weight in layer.get_weights()])
    x = tf.cast(x, layer.compute_dtype)

    @tf.function(autograph=False)
    def step(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x, training=True)
            loss = tf.reduce_sum(tf.cast(y, "float32") * TOWARDS[: x.shape[0]])
        return y, *tape.gradient(loss, [x, *layer.trainable_variables])

    results = [*step(x), *layer.non_trainable_variables, layer(x)]
    return [np.asarray(tf.cast(result, "float32")) for result in results]


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("mixed_bfloat16", 0.03)])
def test_it_is_keras_batch_normalization(dtype, tolerance):
    ours, keras_own = (trained(make, dtype) for make in (BatchNormalization, keras.layers.BatchNormalization))
    for got, expected in zip(ours, keras_own):
        np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance * np.abs(expected).max())


def test_moving_averages_are_those_of_the_batch():
    *_, mean, variance, _ = trained(BatchNormalization, "float32")
    draw = np.random.default_rng(1)
    _, _, mean_before, variance_before = (draw.uniform(0.5, 2, 6) for _ in range(4))
    np.testing.assert_allclose(mean, 0.7 * mean_before + 0.3 * X.mean((0, 1, 2)), rtol=1e-5)
    np.testing.assert_allclose(variance, 0.7 * variance_before + 0.3 * X.var((0, 1, 2)), rtol=1e-5)


@pytest.mark.parametrize("options", [{"scale": False}, {"center": False}])
def test_without_scale_or_centre_it_is_keras_own_too(options):
    results = (trained(make, "float32", **options) for make in (BatchNormalization, keras.layers.BatchNormalization))
    for got, expected in zip(*results):
        np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_a_frozen_layer_keeps_to_what_it_has_learned():
    layer = BatchNormalization()
    layer.build(X.shape)
    layer.trainable = False
    np.testing.assert_allclose(layer(X, training=True), X / np.sqrt(1 + layer.epsilon), rtol=1e-5)
    np.testing.assert_array_equal(layer.moving_mean, np.zeros(6))


def test_vectors_are_normalized_by_keras():
    layer = BatchNormalization()
    x = X.reshape(-1, 6)
    np.testing.assert_allclose(layer(x, training=True), (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-3), atol=1e-4)
