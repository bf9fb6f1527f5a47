"""`LogMel`, the features that Whisper hears: KerasHub's WhisperAudioConverter in Keras' own operations."""

import math
from typing import Any

import numpy as np
from keras import ops


class LogMel:
    """Sounds, (batch, time) float32, as log-mel spectrograms, (batch, frames, mels) float32.

    Each sound is cut to the converter's length, or padded to it with silence.

    Args:
        converter: a `keras_hub.layers.WhisperAudioConverter`, for its lengths and its filters.
    """

    def __init__(self, converter: Any):
        self.converter = converter
        self.samples, self._stride = int(converter.num_samples), int(converter.stride)
        self._width = int(converter.num_fft_bins)  # samples of a frame
        self.frames = self.samples // self._stride
        self._window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(self._width) / self._width)
        self._spectrum = _Spectrum(self._width)
        self._filters = self._spectrum.ordered(np.asarray(converter.mel_filters, "float32"))

    def __call__(self, sounds: Any) -> Any:
        silence = ops.zeros((ops.shape(sounds)[0], self.samples), "float32")
        sounds = ops.concatenate([sounds, silence], axis=1)[:, : self.samples]
        frames = ops.cast(self._framed(sounds), "float64") * self._window
        energies = ops.matmul(ops.cast(self._spectrum.powers(frames), "float32"), self._filters)
        levels = ops.log(ops.maximum(energies, 1e-10)) / np.float32(np.log(10.0))
        return (ops.maximum(levels, ops.max(levels, axis=(1, 2), keepdims=True) - 8.0) + 4.0) / 4.0

    def _framed(self, sounds: Any) -> Any:
        """Overlapping frames, (batch, frames, width), the sound reflected at both ends."""
        half = self._width // 2
        before, behind = ops.flip(sounds[:, 1 : half + 1], 1), ops.flip(sounds[:, -half - 1 : -1], 1)
        used = (self.frames - 1) * self._stride + self._width
        reflected = ops.concatenate([before, sounds, behind], axis=1)[:, :used]
        block = math.gcd(self._width, self._stride)
        blocks = ops.reshape(reflected, (-1, used // block, block))
        step = self._stride // block
        until = (self.frames - 1) * step + 1
        parts = [blocks[:, first : first + until : step] for first in range(self._width // block)]
        return ops.concatenate(parts, axis=2)


class _Spectrum:
    """The Fourier transform of real frames in two products, of rows and of columns (Cooley and Tukey, 1965).

    It is computed in float64: beside a pure tone, float32 makes errors of 2e-4 of the silent levels.

    Args:
        width: samples of a frame. Place n of it is (row, column), n = row * columns + column; frequency k of it is
            (slow, fast), k = slow + fast * rows.
    """

    def __init__(self, width: int):
        self._width = width
        self._rows = next(size for size in range(math.isqrt(width), 0, -1) if width % size == 0)
        self._columns = width // self._rows
        self._fast = self._columns // 2 + 1  # others mirror these
        rows, columns = np.arange(self._rows), np.arange(self._columns)
        of_rows = np.exp(-2j * np.pi * (rows[:, None] * rows % self._rows) / self._rows)
        self._of_rows = np.concatenate([of_rows.real, of_rows.imag], axis=1)
        turns = np.exp(-2j * np.pi * columns[:, None] * rows / width)  # (columns, slow)
        self._cosines, self._sines = turns.real, turns.imag
        of_columns = np.exp(-2j * np.pi * (columns[:, None] * columns[: self._fast] % self._columns) / self._columns)
        real, imaginary = of_columns.real, of_columns.imag
        self._of_columns = np.block([[real, imaginary], [-imaginary, real]])

    def powers(self, frames: Any) -> Any:
        """Squared magnitudes, (batch, frames, frequencies) in the order of `ordered`."""
        grid = ops.reshape(frames, (-1, frames.shape[1], self._rows, self._columns))
        real, imaginary = ops.split(ops.matmul(ops.transpose(grid, (0, 1, 3, 2)), self._of_rows), 2, axis=3)
        turned = [real * self._cosines - imaginary * self._sines, real * self._sines + imaginary * self._cosines]
        slow = ops.concatenate([ops.transpose(part, (0, 1, 3, 2)) for part in turned], axis=3)
        real, imaginary = ops.split(ops.matmul(slow, self._of_columns), 2, axis=3)
        powers = ops.square(real) + ops.square(imaginary)  # (batch, frames, slow, fast)
        return ops.reshape(powers, (-1, frames.shape[1], self._rows * self._fast))

    def ordered(self, filters: np.ndarray) -> np.ndarray:
        """Filters of the frequencies up to half the width, (frequencies, mels), in the order of `powers`."""
        places = np.arange(self._rows)[:, None] + np.arange(self._fast) * self._rows  # (slow, fast)
        known = places.ravel() < len(filters)
        return np.where(known[:, None], filters[np.minimum(places.ravel(), len(filters) - 1)], 0).astype("float32")
