"""Keras' own operations, traced in a form that converts, with the same results."""

import contextlib
from collections.abc import Iterator
from string import ascii_lowercase
from typing import Any
from unittest import mock

import numpy as np
import tensorflow as tf
from keras import layers, ops
from keras.src.backend.tensorflow import numpy as keras_numpy


@contextlib.contextmanager
def convertible() -> Iterator[None]:
    """While functions are traced for conversion."""
    with (
        mock.patch.object(layers.TimeDistributed, "call", _time_distributed_call),
        mock.patch.object(keras_numpy, "signbit", _sign_bit),
        mock.patch.object(tf, "tensordot", _tensordot),
    ):
        yield


def inlined(function: Any) -> None:
    """Lets functions that are marked for XLA be inlined as others are; in place."""
    for operation in function.graph.get_operations():
        if "_XlaMustCompile" in operation.node_def.attr:
            operation._clear_attr("_XlaMustCompile")


def _time_distributed_call(self: Any, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
    """All steps as one batch, where Keras maps over the steps: at inference the layer treats rows alike."""
    options: dict[str, Any] = {}
    if self.layer._call_has_mask_arg and mask is not None:
        options["mask"] = _steps_as_rows(mask)
    if self.layer._call_has_training_arg:
        options["training"] = training
    outputs = self.layer.call(_steps_as_rows(inputs), **options)  # (batch * time, ...)
    batch, time = ops.shape(inputs)[:2]
    return ops.reshape(outputs, (-1 if isinstance(time, int) else batch, time, *ops.shape(outputs)[1:]))


def _steps_as_rows(x: Any) -> Any:
    """(batch, time, ...) to (batch * time, ...)"""
    return ops.reshape(x, (-1, *ops.shape(x)[2:]))


def _tensordot(a: Any, b: Any, axes: Any, name: str | None = None) -> Any:
    """As an Einstein sum, where TensorFlow reshapes to matrices by sizes that it computes."""
    a, b = tf.convert_to_tensor(a), tf.convert_to_tensor(b)
    static = not tf.is_tensor(axes)
    if a.shape.rank is None or b.shape.rank is None or not static:
        return _TENSORDOT(a, b, axes, name)
    if isinstance(axes, int):
        axes = range(a.shape.rank - axes, a.shape.rank), range(axes)
    pairs = [[int(axis) % x.shape.rank for axis in np.ravel(own)] for own, x in zip(axes, (a, b))]
    letters = iter(ascii_lowercase)
    left = [next(letters) for _ in range(a.shape.rank)]
    right = [left[pairs[0][pairs[1].index(i)]] if i in pairs[1] else next(letters) for i in range(b.shape.rank)]
    kept = [x for i, x in enumerate(left) if i not in pairs[0]] + [x for i, x in enumerate(right) if i not in pairs[1]]
    return tf.einsum(f"{''.join(left)},{''.join(right)}->{''.join(kept)}", a, b, name=name)


_TENSORDOT = tf.tensordot


def _sign_bit(x: Any) -> Any:
    """Where x is negative, -0.0 included; Keras looks at the bits, and ONNX can't."""
    x = tf.convert_to_tensor(x)
    if not x.dtype.is_floating:
        return x < 0 if x.dtype != tf.bool else tf.zeros_like(x)
    return tf.logical_or(x < 0, 1 / x < 0)
