"""`ConvolutionalEncoder`: its equation in NumPy, clips frame by frame, and what is refused."""

import numpy as np
import pytest

keras = pytest.importorskip("keras")

import tfseq
from tfseq.layers.convolutional import ConvolutionalEncoder

IMAGES = np.random.default_rng(0).integers(0, 256, (3, 9, 8, 2)).astype("uint8")


def made(images=IMAGES, **options):
    keras.utils.set_random_seed(1)
    layer = ConvolutionalEncoder(**{"filters": (3, 4)} | options)
    layer(images)
    rng = np.random.default_rng(0)
    for weight in layer.weights:  # norms too, so that none is neutral
        weight.assign(weight + rng.uniform(0, 0.3, weight.shape))
    return layer


def convolved(x, w, stride, padding):
    """sum_{a, b, c} w[a, b, c, o] x[i stride + a, j stride + b, c] by three loops."""
    size = len(w)
    if padding == "same":
        over = [max((-(-n // stride) - 1) * stride + size - n, 0) for n in x.shape[1:3]]
        x = np.pad(x, [(0, 0), *[(o // 2, o - o // 2) for o in over], (0, 0)])
    rows, columns = [(n - size) // stride + 1 for n in x.shape[1:3]]
    y = np.zeros((len(x), rows, columns, w.shape[-1]))
    for i in range(rows):
        for j in range(columns):
            patch = x[:, i * stride : i * stride + size, j * stride : j * stride + size]
            y[:, i, j] = np.einsum("nabc,abco->no", patch, w)
    return y


def pooled(x, pool):
    rows, columns = x.shape[1] // pool, x.shape[2] // pool
    return x[:, : rows * pool, : columns * pool].reshape(len(x), rows, pool, columns, pool, -1).max((2, 4))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"stride": 2, "pool": 1},
        {"padding": "valid", "kernel_size": 2, "convolutions": 2, "filters": (5,), "pool": 3},
        {"padding": "same", "kernel_size": 4, "stride": 2, "filters": (2,)},
    ],
)
def test_the_grid_is_the_equation_of_the_docstring(options):
    layer = made(**options)
    settings = layer.get_config()
    x = IMAGES / 255.0
    for i, (convolution, norm) in enumerate(layer.stages):
        stride = 1 if i % settings["convolutions"] else settings["stride"]
        x = convolved(x, convolution.get_weights()[0], stride, settings["padding"])
        gamma, beta, mean, variance = norm.get_weights()
        x = np.maximum(gamma * (x - mean) / np.sqrt(variance + norm.epsilon) + beta, 0)
        if (i + 1) % settings["convolutions"] == 0:
            x = pooled(x, settings["pool"])
    np.testing.assert_allclose(layer.grid(IMAGES), x, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(layer(IMAGES), x.mean((1, 2)), rtol=1e-4, atol=1e-4)
    assert layer.compute_output_shape(IMAGES.shape) == (3, settings["filters"][-1])


def test_with_units_the_vector_is_a_dense_layer_of_the_grid():
    layer = made(units=5)
    kernel, bias = layer.vector.get_weights()
    expected = np.maximum(np.asarray(layer.grid(IMAGES)).reshape(3, -1) @ kernel + bias, 0)
    np.testing.assert_allclose(layer(IMAGES), expected, rtol=1e-5, atol=1e-5)
    assert layer.compute_output_shape(IMAGES.shape) == (3, 5)


def test_a_grid_is_given_as_it_is():
    layer, summed = made(grid=True), made()
    layer.set_weights(summed.get_weights())
    features = np.asarray(layer(IMAGES))
    assert features.shape == layer.compute_output_shape(IMAGES.shape) == (3, 2, 2, 4)
    np.testing.assert_allclose(features.mean((1, 2)), summed(IMAGES), rtol=1e-5, atol=1e-6)
    again = ConvolutionalEncoder.from_config(layer.get_config())
    assert again.compute_output_shape((None, None, 9, 8, 2)) == (None, None, 2, 2, 4)
    clips = np.stack([IMAGES, IMAGES[::-1]], axis=1)
    np.testing.assert_allclose(layer(clips), np.stack([features, features[::-1]], axis=1), rtol=1e-6)


def test_images_without_channels_have_one():
    layer = made(IMAGES[..., :1])
    np.testing.assert_array_equal(layer(IMAGES[..., 0]), layer(IMAGES[..., :1]))


def test_floats_are_pixels_too():
    layer = made()
    np.testing.assert_allclose(layer(IMAGES.astype("float32")), layer(IMAGES), rtol=1e-6)


def test_the_mean_takes_images_of_any_size():
    layer = made()
    assert layer(IMAGES[:, :5, :7]).shape == (3, 4)


@pytest.mark.parametrize("units", [None, 5])
def test_every_frame_of_a_clip_is_seen_alone(units):
    clips = np.stack([IMAGES, IMAGES[::-1]], axis=1)  # (batch, 2, height, width, channels)
    layer = made(units=units)
    expected = np.stack([layer(clips[:, 0]), layer(clips[:, 1])], axis=1)
    np.testing.assert_allclose(layer(clips), expected, rtol=1e-6)
    np.testing.assert_allclose(keras.layers.TimeDistributed(layer)(clips), expected, rtol=1e-6)
    assert layer.compute_output_shape((None, None, 9, 8, 2)) == (None, None, units or 4)


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_model_of_clips_of_any_length_is_saved_and_exported(wrapped, tmp_path):
    clips = keras.Input((None, 9, 8, 2), dtype="uint8")
    layer = ConvolutionalEncoder((3, 4), units=5)
    features = (keras.layers.TimeDistributed(layer) if wrapped else layer)(clips)
    model = keras.Model(clips, keras.layers.GRU(3)(features))
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    x = np.stack([IMAGES] * 4, axis=1)
    np.testing.assert_array_equal(again(x), model(x))
    manifest = tfseq.export(model, tmp_path / "model.onnx")
    assert manifest.inputs[0].dtype == "uint8"
    file = tfseq.runtime.load(tmp_path / "model.onnx")
    np.testing.assert_allclose(file.predict(x), model(x), atol=1e-5)


def test_mixed_precision_keeps_weights_in_float32():
    exact, mixed = made(units=5), made(units=5, dtype="mixed_bfloat16")
    features = mixed(IMAGES)
    assert features.dtype == "bfloat16"
    assert {weight.dtype for weight in mixed.weights} == {"float32"}
    np.testing.assert_allclose(np.asarray(features, "float32"), exact(IMAGES), rtol=0.05, atol=0.05)


def test_a_vertical_edge_is_learned_wherever_it_is():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 100, (128, 8, 8)).astype("uint8")
    labels = np.arange(128) % 2
    for image, label, at in zip(images, labels, rng.integers(0, 7, 128)):
        image[:, at] += 120 * label.astype("uint8")  # a bright column
    keras.utils.set_random_seed(0)
    model = keras.Sequential([ConvolutionalEncoder((4, 8)), keras.layers.Dense(2, "softmax")])
    model.compile(
        keras.optimizers.Adam(0.02), "sparse_categorical_crossentropy", metrics=["accuracy"], jit_compile=False
    )
    model.fit(images, labels, batch_size=32, epochs=15, verbose=0)
    assert model.evaluate(images, labels, verbose=0)[1] > 0.9


ON_JAX = """
import sys
import keras, numpy as np
from tfseq.layers.convolutional import ConvolutionalEncoder
assert keras.backend.backend() == "jax"
model = keras.models.load_model(f"{sys.argv[1]}/model.keras")
np.save(f"{sys.argv[1]}/features.npy", model(np.load(f"{sys.argv[1]}/images.npy")))
"""


def test_jax_gives_the_features_of_tensorflow(tmp_path, on_jax):
    model = keras.Sequential([made(units=5, stride=2, pool=1)])
    model.build(IMAGES.shape)
    model.save(tmp_path / "model.keras")
    np.save(tmp_path / "images.npy", IMAGES)
    on_jax(ON_JAX, tmp_path)
    np.testing.assert_allclose(np.load(tmp_path / "features.npy"), model(IMAGES), atol=2e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"filters": ()}, "expected at least one stage"),
        ({"filters": (3, 0)}, "sizes from 1"),
        ({"units": 0}, "units 0.*sizes from 1"),
        ({"pool": 0}, "pool 0.*sizes from 1"),
        ({"grid": True, "units": 3}, "units is 3 and grid True; expected no units"),
        ({"padding": "full"}, "padding is 'full'; expected one of same, valid"),
    ],
)
def test_hyper_parameters_that_can_not_be_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        ConvolutionalEncoder(**options)


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((2, 9), {}, r"shape \(2, 9\); expected \(batch, height, width\)"),
        ((2, 9, 8, None), {}, "with a number of channels"),
        ((2, 9, 8, 1), {"filters": (1, 1, 1, 1)}, r"\(2, 9, 8, 1\) are too small for 4 stages with pool 2"),
        ((2, 2, 2, 1), {"padding": "valid"}, "too small for 2 stages"),
        ((2, None, 8, 1), {"units": 3}, "units=None takes images of any size"),
    ],
)
def test_images_that_can_not_be_read_are_refused(shape, options, message):
    with pytest.raises(ValueError, match=message):
        ConvolutionalEncoder(**options).build(shape)
