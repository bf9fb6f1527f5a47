"""Convolutions and pooling of any kernel, stride, padding and size give what Keras gives; `export` compares them."""

import keras
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from keras import layers

import tfseq
from tfseq.runtime import load


@st.composite
def convolutions(draw):
    """A layer that looks through windows, and the shape of its inputs, None for a free size."""
    rank = draw(st.integers(1, 3))
    kinds = ["Conv", "Transpose", "MaxPooling", "AveragePooling", *(["Depthwise", "Separable"] if rank < 3 else [])]
    kind = draw(st.sampled_from(kinds))
    numbers = lambda low, high: [draw(st.integers(low, high)) for _ in range(rank)]  # noqa: E731
    kernel, strides, sizes = numbers(1, 4), numbers(1, 6), numbers(4, 9)
    if draw(st.booleans()):
        sizes = [None if draw(st.booleans()) else size for size in sizes]
    options = {"padding": draw(st.sampled_from(["same", "valid"])), "strides": strides}
    channels = draw(st.sampled_from([1, 2, 4]))
    if kind in ("Depthwise", "Separable"):
        options["strides"] = strides[0]
        layer = getattr(layers, f"{kind}Conv{rank}D")(*([3] if kind == "Separable" else []), kernel, **options)
    elif kind == "Transpose":
        layer = getattr(layers, f"Conv{rank}DTranspose")(2, kernel, **options)
    elif kind == "Conv":
        groups = draw(st.sampled_from([1, 2])) if channels > 1 else 1
        layer = getattr(layers, f"Conv{rank}D")(2 * groups, kernel, groups=groups, **options)
    else:
        layer = getattr(layers, f"{kind}{rank}D")(kernel, **options)
    return layer, (*sizes, channels)


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(convolutions())
def test_windows_of_any_kind(tmp_path_factory, drawn):
    layer, shape = drawn
    x = keras.Input(shape, name="x")
    manifest = tfseq.export(keras.Model(x, layer(x)), tmp_path_factory.mktemp("drawn") / "model.onnx")
    assert manifest.parity["passed"]


@pytest.mark.parametrize("convolution", [layers.Conv2D(4, 3, groups=2, strides=2), layers.DepthwiseConv2D(3)])
def test_margins_before_windows(tmp_path, convolution):
    """The margin of a convolution becomes its own; that of a pooling stays, and caps negative numbers."""
    x = keras.Input((9, None, 2), name="x")
    y = convolution(layers.ZeroPadding2D(((1, 0), (2, 1)))(x))
    y = layers.MaxPooling2D(2)(layers.ZeroPadding2D(1)(y - 1))
    manifest = tfseq.export(keras.Model(x, y), tmp_path / "model.onnx")
    assert manifest.parity["passed"]


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (lambda: layers.Conv3D(4, 3, groups=2), (6, 6, 6, 4)),
        (lambda: layers.Conv1D(2, 5, strides=50, padding="same"), (None, 3)),
        (lambda: layers.Conv3D(2, (1, 1, 3), strides=(5, 2, 4), padding="same"), (9, 3, 8, 1)),
        (lambda: layers.MaxPooling2D(2, strides=5, padding="same"), (None, None, 3)),
        (lambda: layers.Conv2DTranspose(2, 2, strides=3, padding="same"), (5, None, 3)),
        (lambda: layers.Conv2DTranspose(2, 3, strides=2, output_padding=0), (4, 5, 3)),
        (lambda: layers.DepthwiseConv1D(3, strides=5), (None, 1)),
    ],
)
@pytest.mark.parametrize("opset", [13, None])
def test_groups_and_strides_above_the_kernel(tmp_path, layer, shape, opset):
    x = keras.Input(shape, name="x")
    manifest = tfseq.export(keras.Model(x, layer()(x)), tmp_path / "model.onnx", opset=opset)
    assert manifest.parity["passed"]


@pytest.mark.parametrize("pooling", [layers.MaxPooling1D, layers.AveragePooling1D])
def test_a_row_shorter_than_a_window_gives_nothing(tmp_path, pooling):
    x = keras.Input((None, 2), name="x")
    tfseq.export(keras.Model(x, pooling(3)(x)), tmp_path / "model.onnx")
    model = load(tmp_path / "model.onnx")
    for length in range(1, 8):
        assert model.predict(x=np.ones((2, length, 2), "float32")).shape == (2, length // 3, 2)


@pytest.mark.parametrize("normalization", ["LayerNormalization", "RMSNormalization", "UnitNormalization"])
@pytest.mark.parametrize("shape", [(1, 5, 8), (1, 1, 8), (5, 1, 8), (1, 1, 1), (1, None, 8)])
def test_normalizations_of_images_with_axes_of_one(tmp_path, normalization, shape):
    x = keras.Input(shape, name="x")
    y = getattr(layers, normalization)()(layers.Conv2D(4, 1)(x))
    assert tfseq.export(keras.Model(x, y), tmp_path / "model.onnx").parity["passed"]
