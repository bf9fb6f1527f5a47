"""Free running by hand, errors by distance from the prompt, and the comparison of training methods."""

import keras
import numpy as np
import pytest

pytest.importorskip("tensorflow")

from tfseq.analysis.teacher_forcing import (
    Waves,
    errors_by_length,
    explain,
    free_running_inputs,
    noisy_waves,
    plot,
    run_freely,
)
from tfseq.errors import InputError
from tfseq.models import Generator, RecurrentLanguageModel

LEVELS = 7


class Adds(Generator):
    """Predicts the token that it reads, plus `by`: what it does is known without running it."""

    def __init__(self, by):
        super().__init__()
        self.by, self.vocabulary_size = by, LEVELS

    def call(self, tokens):
        return keras.ops.one_hot((tokens + self.by) % LEVELS, LEVELS)

    def initial_state(self, memory, batch_size):
        return [keras.ops.zeros((batch_size, 1))]

    def step(self, tokens, state, memory=()):
        return self.call(tokens), state


def test_running_freely_reads_the_prompt_and_then_its_own():
    tokens = np.array([[3, 1, 5, 5, 5, 5]])
    np.testing.assert_array_equal(run_freely(Adds(1), tokens, prompt=2), [[4, 2, 3, 4, 5, 6]])
    np.testing.assert_array_equal(run_freely(Adds(1), tokens, prompt=6), [[4, 2, 6, 6, 6, 6]])
    np.testing.assert_array_equal(free_running_inputs(Adds(1), tokens, prompt=2), [[3, 1, 2, 3, 4, 5]])


def test_running_freely_is_a_loop_over_the_models_steps():
    keras.utils.set_random_seed(0)
    model = RecurrentLanguageModel(LEVELS, units=5, cell="gru", embedding_dim=3)
    model.build((None, None))
    tokens = np.random.default_rng(0).integers(0, LEVELS, (3, 9))
    read = tokens[:, :1]
    for _ in range(8):  # read anew from the beginning each time
        chosen = np.argmax(model(read), axis=-1)[:, -1:]
        read = np.concatenate([read, tokens[:, read.shape[1] :][:, :1] if read.shape[1] < 4 else chosen], axis=1)
    np.testing.assert_array_equal(free_running_inputs(model, tokens, prompt=4), read)
    np.testing.assert_array_equal(run_freely(model, tokens, 4), np.argmax(model(read), axis=-1))


def test_waves_are_sines_rounded_to_levels():
    waves = noisy_waves(50, 60, noise=0.0, levels=25, seed=1)
    assert waves.tokens.shape == waves.clean.shape == (50, 60)
    assert waves.tokens.dtype == "int32"
    np.testing.assert_allclose(waves.value([0, 12, 24]), [-1.2, 0, 1.2], atol=1e-12)
    assert np.abs(waves.value(waves.tokens) - waves.clean).max() <= 0.05 + 1e-9  # half a level
    # x(t+1) + x(t-1) = 2 cos(2 pi f) x(t) for every sine
    ratio = ((waves.clean[:, 2:] + waves.clean[:, :-2]) * waves.clean[:, 1:-1]).sum(1) / (
        waves.clean[:, 1:-1] ** 2
    ).sum(1)
    period = 2 * np.pi / np.arccos(ratio / 2)
    assert period.min() >= 8 - 1e-6
    assert period.max() <= 20 + 1e-6
    noisy = noisy_waves(50, 60, noise=0.1, levels=1000, seed=1)
    assert np.std(noisy.value(noisy.tokens) - noisy.clean) == pytest.approx(0.1, rel=0.05)


def test_errors_are_measured_from_the_first_token_after_the_prompt():
    """Tokens that stay as they are, for a model that adds 1: off by one level reading them, by k running freely."""
    tokens = np.full((2, 6), 1, "int32")
    waves = Waves(tokens, np.full((2, 6), -0.8), LEVELS)
    level = 2 * 1.2 / (LEVELS - 1)
    errors = errors_by_length(Adds(1), waves, prompt=2)
    np.testing.assert_allclose(errors.forced, np.full(4, level), atol=1e-6)
    np.testing.assert_allclose(errors.free, level * np.array([1, 2, 3, 4]), atol=1e-6)
    np.testing.assert_allclose(errors.example, waves.value([2, 3, 4, 5]))


@pytest.mark.parametrize("prompt", [0, 6])
def test_a_prompt_that_leaves_nothing_to_predict_is_refused(prompt):
    with pytest.raises(InputError, match=f"prompt is {prompt} of 6"):
        errors_by_length(Adds(1), noisy_waves(2, 6, levels=LEVELS), prompt)


def test_the_explanation_says_the_errors_and_is_drawn(tmp_path):
    waves = noisy_waves(20, 12, levels=LEVELS)
    data = explain({"copying": Adds(0), "adding": Adds(1)}, waves, prompt=4)
    assert data.no_idea == pytest.approx(np.sqrt((waves.clean**2).mean()))
    lines = str(data).splitlines()
    assert lines[2].split()[:4] == ["copying", "reads", "true", "tokens"]
    assert float(lines[3].split()[-1]) == pytest.approx(data.errors["copying"].free[-1], abs=0.005)
    plot(data, tmp_path / "forcing.png")
    assert (tmp_path / "forcing.png").read_bytes().startswith(b"\x89PNG")
