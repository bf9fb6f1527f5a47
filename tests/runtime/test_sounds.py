"""Samples of .wav files, whole, damaged and of other kinds; and sounds of different lengths as a batch."""

import wave

import numpy as np
import pytest

from tfseq.errors import ArtefactError, InputError
from tfseq.runtime.sounds import padded_sounds, read_wav

RATE = 16000


def written(path, frames, rate=RATE, width=2):
    """A .wav file of frames, (time, channels) integers."""
    with wave.open(str(path), "wb") as file:
        file.setparams((frames.shape[1], width, rate, len(frames), "NONE", ""))
        file.writeframes(frames.astype(f"<i{width}").tobytes())
    return path


@pytest.mark.parametrize("seed", range(5))
def test_samples_are_the_mean_of_the_channels(seed, tmp_path):
    random = np.random.default_rng(seed)
    frames = random.integers(-(2**15), 2**15, (random.integers(1, 500), random.integers(1, 4)))
    samples = read_wav(written(tmp_path / "a.wav", frames), RATE)
    assert (samples.dtype, samples.shape) == (np.float32, frames.shape[:1])
    assert np.abs(samples - frames.mean(1) / 2**15).max() < 1e-6


@pytest.mark.parametrize(
    ("settings", "error", "told"),
    [
        ({"rate": 44100}, InputError, "has 44100 samples a second, and the model reads 16000"),
        ({"width": 4}, ArtefactError, "has samples of 32 bits; expected 16"),
    ],
)
def test_other_kinds_are_refused(settings, error, told, tmp_path):
    with pytest.raises(error, match=told):
        read_wav(written(tmp_path / "a.wav", np.ones((9, 1)), **settings), RATE)


def test_a_file_without_samples_and_none_at_all_are_refused(tmp_path):
    with pytest.raises(InputError, match="has no samples"):
        read_wav(written(tmp_path / "a.wav", np.ones((0, 1))), RATE)
    with pytest.raises(ArtefactError, match="Can't read"):
        read_wav(tmp_path / "b.wav", RATE)


def test_a_damaged_file_is_read_or_refused(tmp_path):
    random = np.random.default_rng(0)
    whole = np.frombuffer(written(tmp_path / "a.wav", random.integers(-99, 99, (50, 2))).read_bytes(), np.uint8)
    refused = 0
    for _ in range(300):
        damaged = whole[: random.integers(1, len(whole) + 1)].copy()
        damaged[random.integers(0, min(44, len(damaged)), 3)] = random.integers(0, 256, 3)
        (tmp_path / "b.wav").write_bytes(damaged.tobytes())
        try:
            assert len(read_wav(tmp_path / "b.wav", RATE)) <= 100
        except (ArtefactError, InputError):
            refused += 1
    assert 100 < refused < 300


def test_sounds_are_padded_with_silence():
    short, long = np.array([0.5], "float32"), np.array([1.0, 2.0, 3.0], "float32")
    assert padded_sounds(long).tolist() == [[1, 2, 3]]
    assert padded_sounds([short, long]).tolist() == [[0.5, 0, 0], [1, 2, 3]]
    batch = np.stack([long, long])
    for other in (batch, "a", ["a", long], [], [short[:0]], None, {"samples": batch}, [[1.0]]):
        assert padded_sounds(other) is other
