"""Image functions as they are traced for conversion: ONNX Runtime gives what `colorsys` and Keras' kernels give."""

import colorsys

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

import tfseq
from tests.exporting.conversion.test_traced_arrays import converted

RANDOM = np.random.default_rng(0)


def test_colours_by_hue():
    pixels = RANDOM.uniform(size=(2, 40, 3, 3)).astype("float32")
    pixels[:, :4] = pixels[:, :4, :, :1]  # greys
    pixels[0, 0], pixels[0, 1] = 0, 1
    hsv = converted(ops.image.rgb_to_hsv, pixels, free=(0, 1))(pixels)
    assert np.allclose(hsv.reshape(-1, 3), [colorsys.rgb_to_hsv(*p) for p in pixels.reshape(-1, 3)], atol=1e-5)
    rgb = converted(ops.image.hsv_to_rgb, pixels, free=(0, 1))(pixels)
    assert np.allclose(rgb.reshape(-1, 3), [colorsys.hsv_to_rgb(*p) for p in pixels.reshape(-1, 3)], atol=1e-5)


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear"])
@pytest.mark.parametrize("fill_mode", ["constant", "nearest", "wrap", "reflect"])
def test_affine_transforms(interpolation, fill_mode):
    images = RANDOM.normal(size=(4, 6, 5, 2)).astype("float32")
    transforms = (RANDOM.normal(size=(4, 8)) * [*[2] * 6, 0.05, 0.05]).astype("float32")
    transforms[0] = [1, 0.1, 0.3, 0, 1, 0.5, 0, 0]

    def function(x, t):
        return ops.image.affine_transform(x, t, interpolation, fill_mode, fill_value=0.5)

    run = converted(function, images, transforms, free=(0,))
    assert np.allclose(run(images, transforms), function(images, transforms), atol=1e-4)


def test_perspective_transforms():
    images = RANDOM.normal(size=(3, 6, 5, 2)).astype("float32")
    corners = np.float32([[0, 0], [4, 0], [0, 5], [4, 5]])
    moved = corners + RANDOM.uniform(-1, 1, (3, 4, 2)).astype("float32")
    function = lambda x: ops.image.perspective_transform(x, np.stack([corners] * 3), moved)  # noqa: E731
    assert np.allclose(converted(function, images, free=())(images), function(images), atol=1e-4)


@pytest.mark.parametrize("size", [(5, 7), (3, 3), (15, 20), (1, 1)])
def test_resizing_by_area(size):
    x = RANDOM.normal(size=(2, 10, 14, 3)).astype("float32")
    function = lambda x: tf.image.resize(x, size, method="area")  # noqa: E731
    assert np.allclose(converted(function, x, free=(0,))(x), function(x), atol=1e-5)


@pytest.mark.parametrize("keeping", ["pad_to_aspect_ratio", "crop_to_aspect_ratio"])
@pytest.mark.parametrize("shape", [(10, 14, 3), (9, 4, 3)])
@pytest.mark.parametrize(
    "options", [{"interpolation": "bicubic"}, {"interpolation": "lanczos3"}, {"antialias": True}], ids=str
)
def test_resizing_that_keeps_the_shape(tmp_path, keeping, shape, options):
    x = keras.Input(shape, name="x")
    layer = layers.Resizing(6, 7, **{keeping: True}, **options)
    assert tfseq.export(keras.Model(x, layer(x)), tmp_path / "model.onnx").parity["passed"]


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "lanczos3", "lanczos5"])
def test_antialiased_images_of_free_sizes(tmp_path, interpolation):
    x = keras.Input((None, None, 2), name="x")
    layer = layers.Resizing(5, 6, interpolation=interpolation, antialias=True)
    assert tfseq.export(keras.Model(x, layer(x)), tmp_path / "model.onnx").parity["passed"]
    run = tfseq.runtime.load(tmp_path / "model.onnx").predict
    for height, width in ((3, 13), (11, 2), (1, 1)):
        images = np.random.default_rng(0).random((2, height, width, 2)).astype("float32")
        np.testing.assert_allclose(run(images), layer(images), atol=1e-4)


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_free_images_are_cropped_or_resized(tmp_path, data_format):
    x = keras.Input((None, None, 2) if data_format == "channels_last" else (2, None, None), name="x")
    layer = layers.CenterCrop(3, 4, data_format=data_format)
    tfseq.export(keras.Model(x, layer(x)), tmp_path / "model.onnx")
    run = tfseq.runtime.load(tmp_path / "model.onnx").predict
    for sizes in ((3, 4), (8, 9), (2, 9), (9, 3), (1, 1)):
        images = RANDOM.random((2, *sizes, 2) if data_format == "channels_last" else (2, 2, *sizes)).astype("float32")
        np.testing.assert_allclose(run(images), layer(images), atol=1e-5)
