"""Layer normalization by the CPU training kernel, against Keras' own."""

import numpy as np
import pytest

keras = pytest.importorskip("keras")
tf = pytest.importorskip("tensorflow")

from tfseq.layers.layer_norm import LayerNormalization

DRAW = np.random.default_rng(0)
X = DRAW.normal(1, 2, (5, 4, 6)).astype("float32")
TOWARDS = DRAW.normal(0, 1, X.shape).astype("float32")


def trained(make, dtype, x=X, **options):
    """Outputs in training, gradients of x and of the weights, outputs in inference."""
    layer = make(epsilon=1e-2, dtype=dtype, **options)
    layer.build(x.shape)
    draw = np.random.default_rng(1)
    layer.set_weights([draw.uniform(0.5, 2, weight.shape) for weight in layer.get_weights()])
    x = tf.cast(x, layer.compute_dtype)

    def step(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x, training=True) if make is LayerNormalization else layer(x)
            loss = tf.reduce_sum(tf.cast(y, "float32") * TOWARDS)
        return y, *tape.gradient(loss, [x, *layer.trainable_variables])

    any_length = [tf.TensorSpec((None, None, x.shape[-1]), x.dtype)]  # as batches of texts have it
    results = [*tf.function(step, any_length, autograph=False)(x), layer(x)]
    return [np.asarray(tf.cast(result, "float32")) for result in results]


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("mixed_bfloat16", 0.03)])
@pytest.mark.parametrize("options", [{}, {"axis": 2}, {"center": False}, {"scale": False}])
def test_it_is_keras_layer_normalization(dtype, tolerance, options):
    ours, keras_own = (
        trained(make, dtype, **options) for make in (LayerNormalization, keras.layers.LayerNormalization)
    )
    for got, expected in zip(ours, keras_own, strict=True):
        np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance * np.abs(expected).max())


def test_it_standardizes_the_last_axis():
    layer = LayerNormalization(epsilon=0.0)
    y = np.asarray(layer(X, training=True))
    np.testing.assert_allclose(y, (X - X.mean(-1, keepdims=True)) / X.std(-1, keepdims=True), rtol=1e-4, atol=1e-5)
