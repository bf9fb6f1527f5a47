"""Counter-based random numbers for sampling: the same on TensorFlow, JAX, PyTorch and ONNX Runtime.

A counter-based generator (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011) has no state to carry:
the number is a hash of its key. Here the key is (seed, row, position, token id) and the hash is `lowbias32`, two rounds
of xor-shift and multiply found by a search for little avalanche bias (Wellons, "Prospecting for hash functions", 2018).
All of it is exact arithmetic on uint32, its products on int32: the same bits, with a kernel in every ONNX Runtime. ONNX
has every operator it takes since opset 18.
"""

import keras
import numpy as np
from keras import ops


def lowbias32(x):
    """Wellons' mixer: a bijection of uint32 in which each input bit flips every output bit with probability 1/2."""
    x = ops.bitwise_xor(x, ops.bitwise_right_shift(x, np.uint32(16)))
    x = _times(x, 0x7FEB352D)
    x = ops.bitwise_xor(x, ops.bitwise_right_shift(x, np.uint32(15)))
    x = _times(x, 0x846CA68B)
    return ops.bitwise_xor(x, ops.bitwise_right_shift(x, np.uint32(16)))


def _times(x, factor):
    """The product modulo 2^32."""
    signed = np.array(factor, "uint32").view("int32")
    return _modulo(ops.cast(ops.multiply(ops.cast(x, "int32"), signed), "uint32"))


def _modulo(x):
    """Modulo 2^32: as it is, but on PyTorch, where Keras has int64 in the place of uint32."""
    return x if keras.backend.standardize_dtype(x.dtype) == "uint32" else ops.bitwise_and(x, 0xFFFFFFFF)


def draw_keys(seed, rows, positions):
    """One key per row and position.

    Args:
        seed: () int32.
        rows: (batch,) int32.
        positions: (time,) int32.

    Returns:
        (time, batch, 1) uint32.
    """
    seed, rows, positions = (_modulo(ops.cast(x, "uint32")) for x in (seed, rows, positions))
    streams = lowbias32(ops.bitwise_xor(lowbias32(ops.bitwise_xor(seed, np.uint32(0x9E3779B9))), rows))
    return lowbias32(ops.bitwise_xor(ops.reshape(streams, (-1, 1)), ops.reshape(positions, (-1, 1, 1))))


def draw_bits(keys, vocabulary_size):
    """32 random bits per key and token.

    Token ids are hashed before they meet the key, so that two keys that differ in few bits don't share their numbers.

    Args:
        keys: (batch, 1) uint32.
        vocabulary_size: a Python integer.

    Returns:
        (batch, vocabulary) uint32.
    """
    hashed = lowbias32(ops.cast(ops.arange(vocabulary_size, dtype="int32"), "uint32"))
    return lowbias32(ops.bitwise_xor(keys, hashed))


def uniform(bits):
    """Bits as float32 strictly between 0 and 1: the middles of 2^23 equal intervals, each one exact."""
    return (ops.cast(ops.bitwise_right_shift(bits, np.uint32(9)), "float32") + 0.5) * (2.0**-23)


def gumbel(bits):
    """Bits as draws from the standard Gumbel distribution, between -2.9 and 16.7."""
    return -ops.log(-ops.log(uniform(bits)))
