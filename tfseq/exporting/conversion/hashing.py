"""Hashing and HashedCrossing of integers, traced: TensorFlow's hashes computed in 64-bit integers.

Hashing takes the FarmHash of a number's decimal digits (Fingerprint64, of at most 20 bytes; Pike, 2014), and
HashedCrossing puts the numbers themselves together (FingerprintCat64). Text has bytes that ONNX can't reach.
"""

from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras.src.utils import numerical_utils

_K0, _K1, _K2 = 0xC3A5C85C97CB3127, 0xB492B66FBE98F273, 0x9AE16A3B2F90404F
_MIX = 0xC6A4A7935BD1E995
_CROSSED = 0xDECAFCAFFE  # TensorFlow's key where none is given
_LONGEST = 20  # characters of a 64-bit integer, with its sign
_TEXT = (
    "it takes the hash of text, whose bytes ONNX can't reach. Hash the text before the model, or look it up, with a "
    "StringLookup."
)


def farmhash(x: Any) -> Any:
    """The hash of numbers as text: of int64, uint64 of the same shape."""
    text, length = _digits(tf.reshape(tf.cast(x, tf.int64), (-1,)))
    last = text[:, ::-1]  # (n, 20), the end on the right
    places = tf.range(tf.shape(text)[0])[:, None] * _LONGEST + tf.maximum(length[:, None] - 1 - tf.range(_LONGEST), 0)
    first = tf.gather(tf.reshape(text, (-1,)), places)  # (n, 20), the beginning on the left; beyond the end anything
    size = tf.cast(length, tf.uint64)
    middle = tf.gather(tf.reshape(text, (-1,)), places[:, 0] - length // 2)
    begun, ended = tf.cast(first[:, 0] + middle * 256, tf.uint64), tf.cast(text[:, 0] * 4, tf.uint64)
    few = begun * _K2, (size + ended) * _K0
    hashed = _folded(tf.bitwise.bitwise_xor(*few)) * _K2
    factor = _K2 + size * 2
    four = _mixed(size + _shifted(_word(first[:, :4]), 3), _word(last[:, -4:]), factor)
    a, b = _word(first[:, :8]) + _K2, _word(last[:, -8:])
    eight = _mixed(_rotated(b, 37) * factor + a, (_rotated(a, 25) + b) * factor, factor)
    a, b = _word(first[:, :8]) * _K1, _word(first[:, 8:16])
    c, d = _word(last[:, -8:]) * factor, _word(last[:, -16:-8]) * _K2
    more = _mixed(_rotated(a + b, 43) + _rotated(c, 30) + d, a + _rotated(b + _K2, 18) + c, factor)
    for shortest, longer in ((4, four), (8, eight), (17, more)):
        hashed = tf.where(length >= shortest, longer, hashed)
    return tf.reshape(hashed, tf.shape(x))


def _digits(x: Any) -> tuple[Any, Any]:
    """Numbers (n,) int64 as characters (n, 20) int64, the last one first, 0 behind; and how many, (n,) int32."""
    negative = x < 0
    size = tf.cast(x, tf.uint64)
    size = size * tf.where(negative, tf.constant(2**64 - 1, tf.uint64), 1)  # -1 of unsigned numbers
    powers = tf.constant(np.array([10**i for i in range(_LONGEST)], "uint64"))
    leading = size[:, None] // powers
    digits = tf.cast(leading % 10, tf.int64) + ord("0")
    count = 1 + tf.reduce_sum(tf.cast(tf.cast(leading[:, 1:], tf.int64) > 0, tf.int32), -1)
    place = tf.range(_LONGEST)
    sign = tf.logical_and(negative[:, None], place == count[:, None])
    text = tf.where(place < count[:, None], digits, tf.where(sign, tf.constant(ord("-"), tf.int64), 0))
    return text, count + tf.cast(negative, tf.int32)


def _word(characters: Any) -> Any:
    """Characters (n, at most 8) as one number, the first one lowest; ONNX Runtime is exact up to sums of 2^53."""
    weights = tf.constant([1.0, 2.0**8, 2.0**16, 2.0**24], tf.float64)
    four = [
        tf.cast(tf.reduce_sum(tf.cast(characters[:, i : i + 4], tf.float64) * weights, -1), tf.uint64)
        for i in range(0, characters.shape[1], 4)
    ]
    return four[0] if len(four) < 2 else four[0] + _shifted(four[1], 32)


def _mixed(a: Any, b: Any, factor: Any) -> Any:
    """FarmHash's `HashLen16`."""
    a = _folded(tf.bitwise.bitwise_xor(a, b) * factor)
    return _folded(tf.bitwise.bitwise_xor(b, a) * factor) * factor


def _folded(x: Any) -> Any:
    """FarmHash's `ShiftMix`."""
    return tf.bitwise.bitwise_xor(x, tf.bitwise.right_shift(x, tf.constant(47, tf.uint64)))


def _shifted(x: Any, bits: int) -> Any:
    return x * tf.constant(2**bits, tf.uint64)


def _rotated(x: Any, bits: int) -> Any:
    return tf.bitwise.right_shift(x, tf.constant(bits, tf.uint64)) + _shifted(x, 64 - bits)


def _hash_values_to_bins(self: Any, values: Any) -> Any:
    """Numbers are hashed as their text, fractions cut off; of several bins the first is for masks, if there are any."""
    if values.dtype == tf.string:
        raise ValueError(_TEXT)
    if self.salt is not None:
        raise ValueError("it hashes with a salt (SipHash), which has no translation to ONNX. Leave salt at None.")
    masked = self.mask_value is not None and self.num_bins > 1
    bins = tf.constant(self.num_bins - masked, tf.uint64)
    hashed = tf.cast(tf.math.floormod(farmhash(values), bins), tf.int64)
    return tf.where(tf.equal(values, self.mask_value), tf.zeros_like(hashed), hashed + 1) if masked else hashed


def _crossed(self: Any, inputs: Any) -> Any:
    inputs = [tf.convert_to_tensor(x) for x in inputs]
    if any(x.dtype == tf.string for x in inputs):
        raise ValueError(_TEXT)
    hashed = tf.constant(_CROSSED, tf.uint64)
    for x in inputs:
        other = tf.cast(tf.cast(x, tf.int64), tf.uint64)
        hashed = tf.bitwise.bitwise_xor(hashed, tf.constant(_MIX, tf.uint64))
        hashed = tf.bitwise.bitwise_xor(hashed, _folded(other * _MIX) * _MIX) * _MIX
        hashed = _folded(_folded(hashed) * _MIX)
    bins = tf.cast(tf.math.floormod(hashed, tf.constant(self.num_bins, tf.uint64)), tf.int64)
    return numerical_utils.encode_categorical_inputs(
        bins, self.output_mode, self.num_bins, self.dtype, backend_module=keras.src.backend.tensorflow
    )


PATCHES = (
    (keras.layers.Hashing, "_hash_values_to_bins", _hash_values_to_bins),
    (keras.layers.HashedCrossing, "call", _crossed),
)
