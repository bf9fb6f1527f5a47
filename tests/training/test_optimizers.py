"""Muon: updates of matrices are made orthogonal, all else is AdamW's."""

import numpy as np
import pytest

keras = pytest.importorskip("keras")

from tfseq.training.optimizers import Muon, muon

RNG = np.random.default_rng(0)


def updated(optimizer, shape, gradient, path="kernel"):
    """What one step adds to a variable of zeros."""
    variable = keras.Variable(np.zeros(shape, "float32"), name=path)
    optimizer.apply([keras.ops.convert_to_tensor(gradient.astype("float32"))], [variable])
    return np.asarray(variable)


@pytest.mark.parametrize("shape", [(24, 40), (40, 24), (16, 16)])
def test_an_update_is_the_orthogonal_factor_of_its_gradient(shape):
    gradient = RNG.normal(size=shape)
    step = -updated(Muon(0.1, weight_decay=None), shape, gradient) / (0.1 * 0.2 * max(shape) ** 0.5)
    assert np.all((np.linalg.svd(step)[1] > 0.5) & (np.linalg.svd(step)[1] < 1.3))  # Jordan et al.: about 0.7 to 1.2
    left, _, right = np.linalg.svd(gradient, full_matrices=False)
    cosine = np.sum(step * (left @ right)) / np.linalg.norm(step) / np.linalg.norm(left @ right)
    assert cosine > 0.97


def test_its_update_is_that_of_keras_but_for_bfloat16():
    gradient = RNG.normal(size=(32, 48))
    ours, theirs = (
        updated(optimizer(0.1, weight_decay=None), (32, 48), gradient) for optimizer in (Muon, keras.optimizers.Muon)
    )
    assert np.linalg.norm(ours - theirs) < 0.1 * np.linalg.norm(theirs)
    assert np.linalg.norm(ours - theirs) > 0


@pytest.mark.parametrize(("shape", "path"), [((6,), "bias"), ((5, 4), "embeddings")])
def test_vectors_and_embeddings_take_the_step_of_adam(shape, path):
    gradient = RNG.normal(size=shape)
    optimizer = muon(0.1, steps=10, warmup=0, weight_decay=0.0, clip_norm=1e9)
    np.testing.assert_allclose(updated(optimizer, shape, gradient, path), -0.1 * np.sign(gradient), rtol=1e-4)


def test_the_learning_rate_rises_then_falls_to_a_hundredth():
    rate = muon(0.5, steps=110, warmup=10, weight_decay=0.0, clip_norm=1.0)._learning_rate
    assert [float(rate(step)) for step in (0, 5, 10, 60, 110)] == pytest.approx([0, 0.25, 0.5, 0.2525, 0.005])
