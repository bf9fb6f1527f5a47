"""Selective state spaces against the paper's equations in NumPy, one position at a time; gradients of both scans."""

import keras
import numpy as np
import pytest
from keras import ops

from tfseq.layers import state_space
from tfseq.layers.state_space import SelectiveStateSpace, StateSpaceBlock, selective_scan


def softplus(x):
    return np.log1p(np.exp(x))


def silu(x):
    return x / (1 + np.exp(-x))


def by_hand(layer, x):
    """Algorithm 2 of Gu and Dao (2023) and the block around it, of one sequence x (time, units)."""
    enter, select, spread, leave = (
        np.asarray(part.kernel, "float64") for part in (layer.enter, layer.select, layer.spread, layer.leave)
    )
    taps, bias, delta_bias, log_decay, skip = (
        np.asarray(w, "float64") for w in (layer.taps, layer.taps_bias, layer.delta_bias, layer.log_decay, layer.skip)
    )
    channels, states = log_decay.shape
    signal, gate = np.split(x @ enter, 2, axis=1)
    h, outputs = np.zeros((channels, states)), []
    for t in range(len(x)):
        u = bias.copy()
        for i in range(min(len(taps), t + 1)):
            u += taps[-1 - i] * signal[t - i]
        u = silu(u)
        low, b, c = np.split(u @ select, [layer.rank, layer.rank + states])
        delta = softplus(low @ spread + delta_bias)
        for channel in range(channels):
            decay = np.exp(delta[channel] * -np.exp(log_decay[channel]))
            h[channel] = decay * h[channel] + delta[channel] * b * u[channel]
        outputs.append((h @ c + skip * u) * silu(gate[t]) @ leave)
    return np.array(outputs)


def made(seed):
    random = np.random.default_rng(seed)
    sizes = {"expansion": int(random.integers(1, 4)), "states": int(random.integers(1, 6))}
    sizes |= {"window": int(random.integers(2, 6)), "rank": [None, 2][seed % 2]}
    layer = SelectiveStateSpace(int(random.integers(1, 9)), **sizes)
    layer.build((None, None, layer.units))
    for weight in layer.weights:
        weight.assign(weight + random.normal(0, 0.3, weight.shape))
    return layer, random


@pytest.mark.parametrize("seed", range(6))
def test_outputs_are_those_of_the_equations(seed):
    layer, random = made(seed)
    x = random.normal(size=(3, [1, 2, 7, 16, 5, 33][seed], layer.units)).astype("float32")
    expected = [by_hand(layer, row) for row in x]
    np.testing.assert_allclose(layer(x), expected, atol=1e-5)
    np.testing.assert_allclose(layer(x, training=True), expected, atol=1e-5)
    state, steps = layer.initial_state(3), []
    for t in range(x.shape[1]):
        y, state = layer.step(x[:, t], state)
        steps.append(np.asarray(y))
    np.testing.assert_allclose(np.stack(steps, 1), expected, atol=1e-5)
    middle = int(random.integers(0, x.shape[1]))
    state, parts = layer.initial_state(3), []
    for part in (x[:, :middle], x[:, middle:]):
        if part.shape[1]:
            y, state = layer.read(part, state)
            parts.append(np.asarray(y))
    np.testing.assert_allclose(np.concatenate(parts, 1), expected, atol=1e-5)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="the kernel is TensorFlow's")
@pytest.mark.parametrize("time", [1, 5, 12])
def test_gradients_in_order_are_those_of_the_parallel_scan(time, monkeypatch):
    import tensorflow as tf

    random = np.random.default_rng(time)
    shapes = {"u": (2, time, 3), "delta": (2, time, 3), "b": (2, time, 4), "c": (2, time, 4), "a": (3, 4)}
    given = {name: tf.constant(random.normal(size=shape), "float32") for name, shape in shapes.items()}
    given |= {"delta": tf.nn.softplus(given["delta"]), "a": -tf.exp(given["a"])}

    def gradients():
        with tf.GradientTape() as tape:
            tape.watch(given)
            y, h = selective_scan(**given, training=True)
            loss = tf.reduce_sum(tf.sin(y)) + tf.reduce_sum(tf.cos(h))
        return tape.gradient(loss, given, unconnected_gradients="zero")

    in_order = gradients()
    monkeypatch.setattr(state_space, "kernels_apply", lambda *_: False)
    for name, expected in gradients().items():
        np.testing.assert_allclose(in_order[name], expected, rtol=1e-4, atol=1e-5, err_msg=name)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="other backends know all sizes")
def test_sequences_of_free_length_are_read_in_graphs():
    import tensorflow as tf

    layer, random = made(3)
    free = [tf.TensorSpec((None, None, layer.units))]
    run = tf.function(lambda x: layer(x), input_signature=free)
    trained = tf.function(lambda x: tf.gradients(layer(x, training=True), x)[0], input_signature=free)
    for time in (1, 6, 17):
        x = random.normal(size=(2, time, layer.units)).astype("float32")
        np.testing.assert_allclose(run(x), layer(x), atol=1e-5)
        with tf.GradientTape() as tape:
            tape.watch(x := tf.constant(x))
            y = layer(x)
        np.testing.assert_allclose(trained(x), tape.gradient(y, x), atol=1e-4)
    x = keras.Input((None, layer.units))
    assert StateSpaceBlock(layer.units, states=3)(x).shape == x.shape


def test_step_sizes_begin_between_a_thousandth_and_a_tenth_and_states_decay_each_at_its_rate():
    layer = SelectiveStateSpace(64)
    layer.build((None, None, 64))
    deltas = softplus(np.asarray(layer.delta_bias, "float64"))
    assert 0.00099 < deltas.min() < 0.003
    assert 0.04 < deltas.max() < 0.101
    np.testing.assert_allclose(-np.exp(np.asarray(layer.log_decay))[5], -np.arange(1, 17), rtol=1e-5)
    assert layer.rank == 4


def test_a_block_adds_to_what_it_reads_normalized():
    block = StateSpaceBlock(5, states=2)
    x = np.random.default_rng(0).normal(size=(2, 4, 5)).astype("float32")
    block(x)
    scaled = x / np.sqrt(np.mean(x * x, -1, keepdims=True) + 1e-5)
    np.testing.assert_allclose(block(x) - x, block.mix(ops.convert_to_tensor(scaled)), atol=1e-5)
    again = StateSpaceBlock.from_config(block.get_config())
    again.build((None, None, 5))
    assert [w.shape for w in again.weights] == [w.shape for w in block.weights]
