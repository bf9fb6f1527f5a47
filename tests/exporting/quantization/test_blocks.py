"""Quantization in blocks, beside the same by hand: block after block, value after value."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from tfseq.exporting.quantization import blocks as module
from tfseq.exporting.quantization.blocks import Blocks


def by_hand(column, bits, size):
    """Integers and scales of a list of numbers."""
    integers, scales = [], []
    for first in range(0, len(column), size):
        block = [float(value) for value in column[first : first + size]]
        furthest = max(block, key=abs)
        scale = np.float32(furthest / -8 if bits == 4 else abs(furthest) / 127) if furthest else np.float32(1)
        lowest, highest = (-8, 7) if bits == 4 else (-127, 127)
        scales.append(scale)
        integers += [min(max(round(float(np.float32(value) / scale)), lowest), highest) for value in block]
    return integers, scales


@settings(max_examples=40)
@given(
    shape=st.tuples(st.integers(1, 3), st.integers(1, 70), st.integers(1, 3)),
    bits=st.sampled_from([4, 8]),
    size=st.sampled_from([4, 16, 32]),
    part=st.sampled_from([1, 100, 10**6]),
    seed=st.integers(0, 100),
)
def test_each_block_is_quantized_by_the_value_furthest_from_zero(shape, bits, size, part, seed):
    random = np.random.default_rng(seed)
    values = (random.normal(size=shape) * random.integers(0, 2, shape)).astype("float32")
    blocks = Blocks(bits, size)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_PART", part)
        integers, scales = blocks.integers(values), blocks.scales(values)
    assert integers.shape == (shape[0], blocks.count(shape[1]), size, shape[2])
    for outer in range(shape[0]):
        for inner in range(shape[2]):
            expected, of_blocks = by_hand(values[outer, :, inner], bits, size)
            assert_array_equal(integers[outer, :, :, inner].reshape(-1)[: shape[1]], expected)
            assert_allclose(scales[outer, :, inner], of_blocks, rtol=1e-6)


@pytest.mark.parametrize(("bits", "steps"), [(4, 1.0), (8, 0.5)])
def test_no_value_moves_by_more_than_its_blocks_steps(bits, steps):
    """Of four bits, a value as far from 0 as the furthest, on the other side, moves by a whole step: to 7 from 8."""
    values = np.random.default_rng(0).normal(size=(1, 512, 40)).astype("float32")
    blocks = Blocks(bits, 32)
    scales = blocks.scales(values)[:, :, None]
    error = np.abs(blocks.integers(values) * scales - values.reshape(1, 16, 32, 40))
    assert (error <= steps * np.abs(scales) * 1.0001).all()


def test_quantizing_takes_less_memory_than_the_weights():
    values = np.zeros((1, 2**12, 2**12), "float32")  # 64 MB
    tracemalloc.start()
    integers = Blocks(4, 32).integers(values)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert integers.nbytes == values.size
    assert peak < integers.nbytes + values.nbytes
