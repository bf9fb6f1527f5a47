"""Gradient clipping and truncated BPTT: lengths of steps, how far gradients reach, diverged runs."""

import keras
import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")

from tfseq.analysis.gradient_remedies import Descent, Explanation, descend, explain, plot
from tfseq.models import RecurrentLanguageModel

VOCABULARY_SIZE = 5


def make_model():
    keras.utils.set_random_seed(0)
    model = RecurrentLanguageModel(VOCABULARY_SIZE, units=4, cell="rnn")
    model.build((None, None))
    return model


def batches():
    random = np.random.default_rng(0)
    while True:
        tokens = random.integers(0, VOCABULARY_SIZE, (2, 7)).astype("int32")
        yield tokens[:, :-1], tokens[:, 1:]


def moved(clip_norm):
    """How far one step of gradient descent moves all weights together, and what it reported."""
    model = make_model()
    before = [weight.numpy() for weight in model.trainable_variables]
    run = descend(model, batches(), clip_norm, learning_rate=0.5, steps=1)
    after = [weight.numpy() for weight in model.trainable_variables]
    return np.sqrt(sum(((a - b) ** 2).sum() for a, b in zip(after, before))), run


def test_a_step_is_as_long_as_its_gradient_and_with_clipping_no_longer_than_the_clip():
    distance, run = moved(None)
    assert distance == pytest.approx(0.5 * run.norm[0], rel=1e-4)
    distance, run = moved(0.01)
    assert run.norm[0] > 0.01  # what is reported is the norm before clipping
    assert distance == pytest.approx(0.5 * 0.01, rel=1e-4)
    distance, run = moved(1e6)
    assert distance == pytest.approx(0.5 * run.norm[0], rel=1e-4)


def test_the_loss_is_the_cross_entropy_in_nats():
    run = descend(make_model(), batches(), None, learning_rate=0.0, steps=2)
    for loss, (tokens, targets) in zip(run.loss, batches()):
        logits = make_model()(tokens).numpy().astype("float64")
        log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
        expected = -np.take_along_axis(log_p, targets[..., None], axis=-1).mean()
        assert loss == pytest.approx(expected, rel=1e-5)


def test_the_explanation_says_what_is_left_and_is_drawn(tmp_path):
    data = explain(make_model, batches, steps=3, chunk=5)
    assert len(data.clipped.loss) == len(data.unclipped.loss) == 3
    assert data.unclipped.clip_norm is None
    # 20 steps: 210 pairs of a step and an earlier one; in each chunk of 5 there are 10, its beginning left out
    assert "of 210 pairs of steps that gradients connect, 40 are left" in str(data)
    plot(data, tmp_path / "remedies.png")
    assert (tmp_path / "remedies.png").read_bytes().startswith(b"\x89PNG")


def test_a_run_that_diverged_says_so():
    lost = Descent(np.array([1.0, np.nan]), np.array([9.0, np.inf]), None)
    kept = Descent(np.array([1.0, 0.5]), np.array([9.0, 1.0]), 0.1)
    _, unclipped, clipped, _ = str(Explanation(lost, kept, np.eye(3), np.eye(3), 1)).splitlines()
    assert "largest gradient not finite, largest loss not finite" in unclipped
    assert "largest gradient 9.0e+00, largest loss 1.0e+00, at the end 0.75 nats" in clipped
