"""Floats cast to whole numbers of 8 or 16 bits: clipped to their range, which TensorFlow does for some sizes only."""

import contextlib
from collections.abc import Iterator
from typing import Any
from unittest import mock

import keras
import tensorflow as tf
from keras.src.backend.tensorflow import core as keras_core


@contextlib.contextmanager
def clipping_casts() -> Iterator[None]:
    """Within, Keras casts by `cast`."""
    with mock.patch.object(keras_core, "cast", cast):
        yield


def cast(x: Any, dtype: Any) -> Any:
    """Keras', with the same result for a number whatever the size of its tensor.

    TensorFlow clips numbers beyond the range in groups of 32, and has the rest wrap around.
    """
    x, target = tf.convert_to_tensor(x), tf.as_dtype(keras.backend.standardize_dtype(dtype))
    if x.dtype.is_floating and target.is_integer and target.size < 4:
        x = tf.clip_by_value(x, tf.constant(target.min, x.dtype), tf.constant(target.max, x.dtype))
    return _CAST(x, dtype)


_CAST = keras_core.cast
