"""`Blocks`: symmetric quantization to 4 or 8 bits with a scale for each block of values along one axis."""

import dataclasses
from collections.abc import Iterator

import numpy as np

SIZES = (16, 32, 64, 128, 256)  # that ONNX Runtime's MatMulNBits multiplies
_PART = 2**22  # values that are quantized at a time


@dataclasses.dataclass(frozen=True)
class Blocks:
    """Values (outer, length, inner), of which `size` along the middle axis share a scale to multiply them with.

    Of 8 bits, the integers are -127 to 127. Of 4 bits they are -8 to 7, and the value of a block that is furthest from
    0 becomes -8 exactly, so that its scale may be negative: as in ggml's Q4_0, which loses less than -7 to 7.

    Attributes:
        bits: 4 or 8.
        size: of a block; the last one is shorter where the length is no multiple of it.
    """

    bits: int
    size: int

    def count(self, length: int) -> int:
        return -(-length // self.size)

    def scales(self, values: np.ndarray) -> np.ndarray:
        """(outer, blocks, inner) float32."""
        outer, length, inner = values.shape
        scales = np.empty((outer, self.count(length), inner), np.float32)
        for place, part in self._parts(values):
            scales[place[0], :, place[1]] = self._scales_of(part)
        return scales

    def integers(self, values: np.ndarray) -> np.ndarray:
        """(outer, blocks, size, inner) int8, with zeros behind the end of the last block."""
        outer, length, inner = values.shape
        integers = np.empty((outer, self.count(length), self.size, inner), np.int8)
        lowest, highest = (-8, 7) if self.bits == 4 else (-127, 127)
        for place, part in self._parts(values):
            part /= self._scales_of(part)[:, :, None]
            integers[place[0], :, :, place[1]] = np.clip(np.rint(part, out=part), lowest, highest, out=part)
        return integers

    def _scales_of(self, part: np.ndarray) -> np.ndarray:
        """(outer, blocks, inner) of (outer, blocks, size, inner)."""
        highest, lowest = part.max(2), part.min(2)
        extreme = np.where(highest > -lowest, highest, lowest)
        scales = extreme / np.float32(-8) if self.bits == 4 else np.abs(extreme) / np.float32(127)
        return np.where(scales != 0, scales, np.float32(1))

    def _parts(self, values: np.ndarray) -> Iterator[tuple[tuple[slice, slice], np.ndarray]]:
        """Some of the values at a time: their places in outer and inner, and a copy (outer, blocks, size, inner)."""
        outer, length, inner = values.shape
        blocks = self.count(length)
        columns = max(1, min(inner, _PART // length))
        rows = max(1, _PART // (length * columns))
        for first in range(0, outer, rows):
            for left in range(0, inner, columns):
                place = (slice(first, first + rows), slice(left, left + columns))
                part = values[place[0], :, place[1]]
                padded = np.zeros((len(part), blocks * self.size, part.shape[2]), np.float32)
                padded[:, :length] = part
                yield place, padded.reshape(len(part), blocks, self.size, -1)
