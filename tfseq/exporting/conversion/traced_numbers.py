"""Functions of numbers patched while tracing: quantiles beside NaN, Kronecker products, neighbours, bits."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras.src.backend.tensorflow import core as keras_core
from keras.src.backend.tensorflow import numpy as keras_numpy

from tfseq.exporting.signatures.small_integers import cast
from tfseq.keras_versions import function_of


def _nan_quantile(x: Any, q: Any, axis: Any = None, method: str = "linear", keepdims: bool = False) -> Any:
    """By sorting all rows at once, NaN last, and counting what is none; Keras takes row by row."""
    x, q = tf.convert_to_tensor(x), tf.cast(q, keras.config.floatx())
    dtype = tf.as_dtype(keras.backend.result_type(x.dtype, float))
    rank = x.shape.rank
    axes = range(rank) if axis is None else [axis] if isinstance(axis, int) else axis
    axes = [int(a) % rank for a in axes]
    others = [a for a in range(rank) if a not in axes]
    x = tf.transpose(tf.cast(x, dtype), [*others, *axes])
    kept = tf.shape(x)[: len(others)]
    rows = tf.reshape(x, tf.concat([tf.reduce_prod(kept, keepdims=True), [-1]], 0))  # (rows, elements)
    unknown = tf.math.is_nan(rows)
    ordered = tf.sort(tf.where(unknown, tf.constant(np.inf, dtype), rows))
    count = tf.reduce_sum(tf.cast(tf.logical_not(unknown), tf.int32), 1, keepdims=True)  # (rows, 1)
    place = tf.cast(count - 1, tf.float64) * tf.cast(tf.reshape(q, (1, -1)), tf.float64)  # (rows, quantiles)

    def element(at: Any) -> Any:
        return tf.gather(ordered, tf.clip_by_value(tf.cast(at, tf.int32), 0, tf.maximum(count - 1, 0)), batch_dims=1)

    lower, upper = tf.floor(place), tf.math.ceil(place)
    if method == "linear":
        share = tf.cast(place - lower, dtype)
        low = element(lower)
        found = tf.where(share > 0, low * (1 - share) + element(upper) * share, low)
    elif method == "midpoint":
        found = (element(lower) + element(upper)) / 2
    else:
        found = element({"lower": lower, "higher": upper, "nearest": tf.round(place)}[method])
    found = tf.where(count > 0, found, tf.constant(np.nan, dtype))
    sizes = [1] * rank if keepdims and axis is None else list(tf.unstack(kept, len(others)))
    if keepdims and axis is not None:
        for a in sorted(axes):
            sizes.insert(a, 1)
    shape = tf.concat([tf.shape(q), tf.cast(tf.stack(sizes), tf.int32) if sizes else tf.zeros(0, tf.int32)], 0)
    return tf.reshape(tf.transpose(found), shape)


def _nan_median(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    x = tf.convert_to_tensor(x)
    if axis is not None and not isinstance(axis, int) and not axis:
        return x
    return _nan_quantile(x, 0.5, axis, keepdims=keepdims)


def _kronecker_product(x1: Any, x2: Any) -> Any:
    """By the ranks that are known; Keras asks for them in the graph."""
    x1, x2 = tf.convert_to_tensor(x1), tf.convert_to_tensor(x2)
    dtype = keras.backend.result_type(x1.dtype, x2.dtype)
    rank = max(x1.shape.rank, x2.shape.rank)
    a, b = (tf.cast(x[(None,) * (rank - x.shape.rank)], dtype) for x in (x1, x2))
    sizes = tf.shape(a) * tf.shape(b)
    for axis in range(rank):  # (a1, 1, a2, 1, ..) and (1, b1, 1, b2, ..)
        a, b = tf.expand_dims(a, 2 * axis + 1), tf.expand_dims(b, 2 * axis)
    return tf.reshape(a * b, sizes)


def _next_after(x1: Any, x2: Any) -> Any:
    """As Keras gives it: the neighbour in float64, which in float32 is the number itself."""
    x1, x2 = tf.convert_to_tensor(x1), tf.convert_to_tensor(x2)
    dtype = tf.as_dtype(keras.backend.result_type(x1.dtype, x2.dtype, float))
    if dtype == tf.float64:
        return _NEXT_AFTER(x1, x2)
    x1, x2 = tf.cast(x1, dtype), tf.cast(x2, dtype)
    return tf.where(tf.math.is_nan(x2), x2, x1 + tf.zeros_like(x2))


_NEXT_AFTER = function_of(keras_numpy, "nextafter")


def _bitcast(input: Any, type: Any, name: str | None = None) -> Any:
    """By arithmetic: the bits of float32 from sign, exponent and fraction; bytes of whole numbers by division."""
    x, source, target = tf.convert_to_tensor(input), tf.convert_to_tensor(input).dtype, tf.as_dtype(type)
    if source == target:
        return tf.identity(x, name)
    if not all(dtype.is_integer or dtype == tf.float32 for dtype in (source, target)) or source.is_quantized:
        return _BITCAST(x, target, name)
    numbers = tf.cast(_bits(x) if source == tf.float32 else x, tf.int64)
    if source.size > target.size:
        steps = 256 ** (target.size * np.arange(source.size // target.size, dtype="int64"))
        numbers = tf.math.floordiv(numbers[..., None], steps)
    elif source.size < target.size:
        steps = 256 ** (source.size * np.arange(target.size // source.size, dtype="int64"))
        parts = tf.concat([_unsigned(numbers[..., :-1], source), numbers[..., -1:]], -1)
        numbers = tf.reduce_sum(parts * steps, -1)
    if target == tf.float32:
        return tf.identity(_from_bits(_signed(numbers, tf.int32)), name)
    if target.size == 8:
        return tf.cast(numbers, target, name=name)
    return tf.cast(_unsigned(numbers, target) if target.is_unsigned else _signed(numbers, target), target, name=name)


_BITCAST = tf.bitcast


def _view(x: Any, dtype: Any = None) -> Any:
    """Keras', with a last axis of any size."""
    x = tf.convert_to_tensor(x)
    target = tf.as_dtype(keras.backend.standardize_dtype(dtype or x.dtype))
    if x.dtype.size == target.size or x.shape.rank == 0:
        return tf.bitcast(x, target)
    before = tf.shape(x)[:-1]
    if x.dtype.size > target.size:
        return tf.reshape(tf.bitcast(x, target), tf.concat([before, [-1]], 0))
    return tf.bitcast(tf.reshape(x, tf.concat([before, [-1, target.size // x.dtype.size]], 0)), target)


def _unsigned(numbers: Any, dtype: Any) -> Any:
    return tf.math.floormod(numbers, 256**dtype.size)


def _signed(numbers: Any, dtype: Any) -> Any:
    half = 256**dtype.size // 2
    return tf.math.floormod(numbers + half, 2 * half) - half


def _bits(x: Any) -> Any:
    """Of float32, as int64 from -2**31 on."""
    size = tf.abs(x)
    negative = tf.logical_or(x < 0, 1 / x < 0)
    finite = tf.logical_and(size > 0, size < np.inf)
    exponent = tf.floor(tf.math.log(tf.where(finite, size, tf.ones_like(size))) / np.float32(np.log(2)))
    exponent = tf.clip_by_value(exponent, -126, 127)
    fraction = _times_two_to(size, -exponent)  # 1 to 2, or a rounding error beside
    exponent += tf.where(fraction >= 2, 1.0, tf.where(fraction < 1, -1.0, 0.0))
    exponent = tf.maximum(exponent, -126)
    fraction = tf.cast(_times_two_to(size, -exponent) * 2.0**23, tf.int64)  # below 2**23 where it is subnormal
    bits = (tf.cast(exponent, tf.int64) + 126) * 2**23 + fraction
    zero, infinite, unknown = (tf.constant(n, tf.int64) for n in (0, 0x7F800000, 0x7FC00000))
    bits = tf.where(finite, bits, tf.where(size == 0, zero, tf.where(size > 0, infinite, unknown)))
    return tf.where(negative, bits - 2**31, bits)


def _from_bits(bits: Any) -> Any:
    """float32 of bits as int64 from -2**31 on."""
    size = tf.where(bits < 0, bits + 2**31, bits)
    exponent = size // 2**23
    fraction = size - exponent * 2**23
    normal = exponent > 0
    digits = tf.cast(tf.where(normal, fraction + 2**23, fraction), tf.float32)
    value = _times_two_to(digits, tf.cast(tf.maximum(exponent, 1) - 150, tf.float32))
    value = tf.where(exponent == 255, tf.where(fraction == 0, np.float32(np.inf), np.float32(np.nan)), value)
    return tf.where(bits < 0, -value, value)


def _times_two_to(x: Any, exponent: Any) -> Any:
    """In two steps, neither of which leaves what float32 holds."""
    half = tf.floor(exponent / 2)
    two = np.float32(2)
    return x * tf.pow(two, half) * tf.pow(two, exponent - half)


def _invert_permutation(x: Any, name: str | None = None) -> Any:
    """By sorting, in the dtype it has."""
    x = tf.convert_to_tensor(x)
    return tf.cast(tf.argsort(x), x.dtype, name=name)


_QUESTIONS = ("isfinite", "isinf", "isnan", "isneginf", "isposinf")


def _of_whole_numbers(name: str, answer: bool) -> Any:
    """A question that whole numbers all answer alike; Keras asks for their static shape."""
    usual = function_of(keras_numpy, name)

    def function(x: Any) -> Any:
        x = tf.convert_to_tensor(x)
        if x.dtype.is_floating or x.dtype.is_complex:
            return usual(x)
        return (tf.ones_like if answer else tf.zeros_like)(x, tf.bool)

    return function


PATCHES: Sequence[tuple[Any, str, Any]] = (
    (keras_numpy, "nanquantile", _nan_quantile),
    (keras_numpy, "nanmedian", _nan_median),
    (keras_numpy, "kron", _kronecker_product),
    (keras_numpy, "nextafter", _next_after),
    (keras_core, "cast", cast),
    *((keras_numpy, name, _of_whole_numbers(name, name == "isfinite")) for name in _QUESTIONS),
    (keras_numpy, "view", _view),
    (tf, "bitcast", _bitcast),
    (tf.math, "invert_permutation", _invert_permutation),
)
