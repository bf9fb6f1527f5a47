"""Transforms in exported files against NumPy's in double precision, relative to the size of what they give."""

import numpy as np
import pytest

keras = pytest.importorskip("keras")
pytest.importorskip("tf2onnx")

from keras import layers, ops

import tfseq

RANDOM = np.random.default_rng(0)


class Transform(layers.Layer):
    """Of x + i x/2, real and imaginary part side by side on the last axis; or of real x."""

    def __init__(self, transform, real=False):
        super().__init__()
        self.transform, self.real = transform, real

    def call(self, x):
        return ops.concatenate(self.transform(x if self.real else (x, x / 2)), axis=-1)


def exported(folder, transform, shape, real=False):
    x = keras.Input(shape, name="x")
    manifest = tfseq.export(
        keras.Model(x, Transform(transform, real)(x)), folder / "model.onnx", verify=False
    )  # the gate's tolerance is not for spectra
    return manifest, tfseq.runtime.load(folder / "model.onnx")


def relative_error(got, expected):
    """The largest error over the root mean square of what is right."""
    expected = np.concatenate([expected.real, expected.imag], axis=-1)
    return np.abs(got - expected).max() / np.sqrt(np.mean(expected**2))


@pytest.mark.parametrize("length", [1, 2, 17, 100, 128, 512, 600, 1000, 1009 * 2, 16000])
def test_a_transform_of_fixed_length_is_as_good_as_float32(length, tmp_path):
    _, model = exported(tmp_path, ops.fft, (length,))
    x = RANDOM.normal(size=(3, length)).astype("float32")
    tolerance = 1e-5 if length != 1009 * 2 else 1e-2  # a prime too large for a matrix is left to DFT
    assert relative_error(model.predict(x), np.fft.fft(x * (1 + 0.5j))) < tolerance


@pytest.mark.parametrize("length", [15, 250, 999, 1000])
def test_the_half_of_a_real_transform(length, tmp_path):
    _, model = exported(tmp_path, ops.rfft, (length,), real=True)
    x = RANDOM.normal(size=(3, length)).astype("float32")
    assert relative_error(model.predict(x), np.fft.rfft(x)) < 1e-5


def test_a_real_transform_pads_to_its_length(tmp_path):
    _, model = exported(tmp_path, lambda x: ops.rfft(x, 100), (60,), real=True)
    x = RANDOM.normal(size=(3, 60)).astype("float32")
    assert relative_error(model.predict(x), np.fft.rfft(x, 100)) < 1e-4


@pytest.mark.parametrize("time", [1, 7, 17, 64, 129])
@pytest.mark.parametrize(("transform", "expected"), [(ops.fft2, np.fft.fft2), (ops.ifft2, np.fft.ifft2)])
def test_two_axes_one_of_them_of_any_length(transform, expected, time, tmp_path):
    _, model = exported(tmp_path, transform, (None, 24))
    x = RANDOM.normal(size=(2, time, 24)).astype("float32")
    assert relative_error(model.predict(x), expected(x * (1 + 0.5j))) < 1e-5


def test_powers_of_two_go_by_the_operator(tmp_path):
    manifest, _ = exported(tmp_path, ops.fft, (64,))
    assert manifest.operators["DFT"] == 1
    assert "MatMul" not in manifest.operators
