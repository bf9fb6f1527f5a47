"""AdamW is Keras', with one learning rate a step; Muon makes updates of matrices orthogonal, all else is AdamW's."""

from unittest import mock

import numpy as np
import pytest

keras = pytest.importorskip("keras")
tf = pytest.importorskip("tensorflow")

from tfseq.training.optimizers import OPTIMIZERS, Muon, adamw, muon

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


@pytest.mark.parametrize("eager", [True, False])
def test_adamw_takes_the_steps_of_keras(eager):
    ours = adamw(0.1, steps=9, warmup=3, weight_decay=0.2, clip_norm=0.7)
    theirs = keras.optimizers.AdamW.from_config(ours.get_config())
    theirs.exclude_from_weight_decay(var_names=["bias"])
    again = keras.optimizers.deserialize(keras.optimizers.serialize(ours))
    assert type(again) is keras.optimizers.AdamW  # what can be loaded without tfseq
    assert again.get_config() == ours.get_config()

    start = [RNG.normal(size=(3, 4)), RNG.normal(size=4), RNG.normal(size=(4, 2))]
    steps = [[RNG.normal(size=array.shape).astype("float32") for array in start] for _ in range(5)]
    results = []
    for optimizer in (ours, theirs):
        variables = [keras.Variable(array, name=name) for array, name in zip(start, ("kernel", "bias", "table"))]
        optimizer.build(variables)
        step = as_one_step(optimizer, variables, eager)
        for gradients in steps:
            step([keras.ops.convert_to_tensor(gradient) for gradient in gradients])
        results.append([np.asarray(variable) for variable in variables])
    for found, expected in zip(*results):
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-7)


def as_one_step(optimizer, variables, eager):
    def step(gradients):
        optimizer.apply(gradients, variables)

    return step if eager else tf.function(step)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_schedule_is_computed_as_often_for_many_weights_as_for_one(name):
    def computed(weights):
        optimizer = OPTIMIZERS[name](0.1, steps=9, warmup=3, weight_decay=0.2, clip_norm=1.0)
        schedule = type(optimizer._learning_rate)
        variables = [keras.Variable(np.ones((3, 4), "float32"), name=f"kernel_{i}") for i in range(weights)]
        optimizer.build(variables)
        with mock.patch.object(schedule, "__call__", autospec=True, side_effect=schedule.__call__) as call:
            optimizer.apply([keras.ops.ones((3, 4))] * weights, variables)
        return call.call_count

    assert computed(5) == computed(1) > 0
