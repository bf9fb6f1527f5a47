"""Hashes of numbers: in ONNX Runtime as TensorFlow's kernels compute them, for numbers of every length."""

import keras
import numpy as np
import pytest
from keras import layers

import tfseq
from tfseq.errors import ExportError
from tfseq.runtime import load


def numbers(seed, dtype="int64"):
    """Of 1 to 20 characters, the smallest and the largest among them."""
    random = np.random.default_rng(seed)
    limits = np.iinfo("int32" if dtype == "float32" else dtype)
    sizes = [random.integers(-(10**k), 10**k, 40) for k in range(1, 19)]
    edges = [
        0,
        -1,
        limits.max,
        limits.min,
        *(sign * (10**k - one) for k in range(19) for sign in (1, -1) for one in (0, 1)),
    ]
    found = np.concatenate([np.array(edges), *sizes])
    return found[(found >= limits.min) & (found <= limits.max)].astype(dtype)


def column(dtype, name="x"):
    return keras.Input((1,), dtype=dtype, name=name)


@pytest.mark.parametrize(
    ("dtype", "mask"), [("int64", None), ("int64", 7), ("int32", None), ("float32", None), ("float32", 7)]
)
def test_numbers_fall_into_the_bins_that_tensorflow_puts_them_in(tmp_path, dtype, mask):
    model = keras.Sequential([column(dtype), layers.Hashing(1009, mask_value=mask)])
    tfseq.export(model, tmp_path / "m.onnx")
    x = np.append(numbers(1, dtype), 7)[:, None].astype(dtype)
    found = load(tmp_path / "m.onnx").predict(x)
    assert len(np.unique(found)) > 200
    np.testing.assert_array_equal(found, model(x))


def test_numbers_are_crossed(tmp_path):
    a, b = column("int64", "a"), column("int64", "b")
    model = keras.Model([a, b], layers.HashedCrossing(1009)((a, b)))
    tfseq.export(model, tmp_path / "m.onnx")
    x, y = numbers(2)[:, None], numbers(3)[::-1, None]
    np.testing.assert_array_equal(load(tmp_path / "m.onnx").predict(x, y), model([x, y]))


def test_unknown_numbers_are_spread_by_their_hash(tmp_path):
    look_up = layers.IntegerLookup(vocabulary=[5, -3], num_oov_indices=50, oov_method="farmhash")
    model = keras.Sequential([column("int64"), look_up])
    tfseq.export(model, tmp_path / "m.onnx")
    x = np.append(numbers(4), [5, -3])[:, None]
    np.testing.assert_array_equal(load(tmp_path / "m.onnx").predict(x), model(x))


@pytest.mark.parametrize(
    ("layer", "dtype", "message"),
    [
        (lambda: layers.Hashing(9, name="bins"), "string", "the hash of text"),
        (lambda: layers.Hashing(9, salt=3, name="bins"), "int64", "with a salt"),
    ],
)
def test_text_and_salt_are_refused_by_layer(tmp_path, layer, dtype, message):
    with pytest.raises(ExportError, match=rf"The layer bins \(Hashing\).*{message}"):
        tfseq.export(keras.Sequential([column(dtype), layer()]), tmp_path / "m.onnx")


def test_crossed_text_is_refused_by_layer(tmp_path):
    a, b = column("string", "a"), column("string", "b")
    with pytest.raises(ExportError, match=r"The layer pairs \(HashedCrossing\).*the hash of text"):
        tfseq.export(keras.Model([a, b], layers.HashedCrossing(9, name="pairs")((a, b))), tmp_path / "m.onnx")
