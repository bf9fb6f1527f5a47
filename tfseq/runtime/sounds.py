"""Sounds as models read them: the samples of .wav files, and batches padded with silence."""

import os
import wave
from typing import Any

import numpy as np

from tfseq.errors import ArtefactError, InputError


def read_wav(path: str | os.PathLike[str], sampling_rate: int) -> np.ndarray:
    """The samples of a .wav file of 16-bit PCM, (time,) float32 from -1 to 1; of several channels the mean.

    Args:
        sampling_rate: samples a second that the model reads.

    Raises:
        ArtefactError: there is no such file, or it is of another kind.
        InputError: it has another sampling rate, or no samples.
    """
    try:
        with wave.open(os.fspath(path), "rb") as file:
            width, channels, rate = file.getsampwidth(), file.getnchannels(), file.getframerate()
            held = os.path.getsize(path) // (width * channels)  # a damaged header may promise gigabytes
            read = file.readframes(min(file.getnframes(), held))
    except OSError as error:
        raise ArtefactError(f"Can't read {path}: {error.strerror or error}.") from None
    except (wave.Error, EOFError, ValueError, RuntimeError) as error:
        raise ArtefactError(f"{path} is no .wav file of 16-bit PCM: {error or 'it ends too early'}.") from None
    if width != 2:
        raise ArtefactError(f"{path} has samples of {8 * width} bits; expected 16: ffmpeg -i {path} -c:a pcm_s16le ...")
    if rate != sampling_rate:
        raise InputError(
            f"{path} has {rate} samples a second, and the model reads {sampling_rate}: ffmpeg -i {path} -ar "
            f"{sampling_rate} ..."
        )
    samples = np.frombuffer(read[: len(read) // (2 * channels) * 2 * channels], "<i2").reshape(-1, channels)
    if not len(samples):
        raise InputError(f"{path} has no samples.")
    return (samples.mean(1, dtype="float32") / 32768).astype("float32")


def padded_sounds(given: Any) -> Any:
    """A sound, (time,), as a batch of one, and a list of sounds padded to the longest with 0; others as they are."""
    if is_sound(given):
        return given[None]
    if not (isinstance(given, list | tuple) and given and all(map(is_sound, given))):
        return given
    padded = np.zeros((len(given), max(map(len, given))), np.result_type(*given))
    for row, sound in zip(padded, given, strict=True):
        row[: len(sound)] = sound
    return padded


def is_sound(given: Any) -> bool:
    """Whether it is one sound: an array (time,) of numbers."""
    return isinstance(given, np.ndarray) and given.ndim == 1 and given.dtype.kind in "fiu" and given.size > 0
