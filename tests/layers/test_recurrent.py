"""Recurrent layers with CPU training kernels, against Keras' own layers and automatic differentiation."""

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")
import keras

from tfseq.layers import recurrent

KERAS = {
    "rnn": keras.layers.SimpleRNN,
    "irnn": keras.layers.SimpleRNN,
    "lstm": keras.layers.LSTM,
    "gru": keras.layers.GRU,
}
CELLS = list(KERAS)


def pair(cell, units=8, width=5, **kwargs):
    ours = recurrent.recurrent_layer(cell, units, **kwargs)
    theirs = KERAS[cell].from_config(ours.get_config())
    for layer in (ours, theirs):
        layer.build((None, None, width))
    rng = np.random.default_rng(1)
    ours.set_weights([w + rng.normal(0, 0.2, w.shape) for w in ours.get_weights()])
    theirs.set_weights(ours.get_weights())
    return ours, theirs


def outputs_and_gradients(layer, x, state, output_weights, state_weights, mask=None):
    with tf.GradientTape() as tape:
        tape.watch([x, *state])
        outputs = layer(x, initial_state=state, mask=mask, training=True)
        outputs = outputs if isinstance(outputs, list | tuple) else [outputs]
        loss = tf.reduce_sum(outputs[0] * output_weights)
        loss += sum(tf.reduce_sum(s * w) for s, w in zip(outputs[1:], state_weights))
    return [*outputs, *tape.gradient(loss, [x, *state, *[w.value for w in layer.trainable_variables]])]


def assert_equal_in_training(ours, theirs, batch, time=7, in_graph=True, returns_state=True, mask=None):
    normal = tf.random.Generator.from_seed(2).normal
    states = 2 if isinstance(ours, keras.layers.LSTM) else 1
    sample = (
        normal((batch, time, 5)),
        [normal((batch, 8)) for _ in range(states)],
        normal((batch, time, 8)) if ours.return_sequences else normal((batch, 8)),
        [normal((batch, 8)) for _ in range(states if returns_state else 0)],
        mask,
    )
    run = tf.function(outputs_and_gradients, autograph=False) if in_graph else outputs_and_gradients
    for a, b in zip(run(ours, *sample), run(theirs, *sample), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("batch", [3, 16], ids=["one stream", "a stream per core"])
@pytest.mark.parametrize("in_graph", [True, False], ids=["graph", "eager"])
def test_training_gives_the_outputs_states_and_gradients_of_keras(cell, batch, in_graph):
    assert_equal_in_training(*pair(cell), batch, in_graph=in_graph)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize(
    "setting",
    [{"go_backwards": True}, {"use_bias": False}, {"return_sequences": False}, {"return_state": False}],
    ids=str,
)
def test_settings_that_the_kernels_know_give_the_results_of_keras(cell, setting):
    assert_equal_in_training(*pair(cell, **setting), batch=3, returns_state=setting.get("return_state", True))


@pytest.mark.parametrize(
    ("cell", "setting"),
    [
        ("gru", {"reset_after": False}),
        ("lstm", {"activation": "relu"}),
        ("lstm", {"recurrent_activation": "hard_sigmoid"}),
        ("lstm", {"unroll": True}),
        ("rnn", {"activation": "sigmoid"}),
    ],
    ids=str,
)
def test_settings_that_the_kernels_do_not_know_are_left_to_keras(cell, setting):
    assert_equal_in_training(*pair(cell, **setting), batch=3)


MASK = np.array([[1, 1, 1, 1, 0, 0, 0], [0, 0, 1, 1, 1, 0, 1], [1, 1, 1, 1, 1, 1, 1], [0, 0, 0, 0, 0, 0, 0]], bool)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize(
    ("setting", "rows"), [({}, 16), ({"go_backwards": True}, 4), ({"zero_output_for_mask": True}, 4)], ids=str
)
def test_masks_padded_on_either_side_or_with_holes_give_the_results_of_keras(cell, setting, rows):
    mask = tf.constant(np.repeat(MASK, rows // 4, axis=0))
    assert_equal_in_training(*pair(cell, **setting), batch=rows, mask=mask)


def test_a_masked_last_output_is_that_of_keras():
    ours, theirs = pair("gru", return_sequences=False)
    assert_equal_in_training(ours, theirs, batch=4, mask=tf.constant(MASK))


def test_masked_layers_train_with_the_quick_kernels(monkeypatch):
    ours, _ = pair("gru")
    monkeypatch.setattr(keras.layers.GRU, "inner_loop", lambda *a, **k: pytest.fail("this is Keras' loop"))
    x = tf.random.normal((4, 7, 5), seed=1)
    ours(x, mask=MASK, training=True)


@pytest.mark.parametrize("cell", CELLS)
def test_masked_steps_do_not_change_the_state(cell):
    ours, _ = pair(cell)
    x = np.random.default_rng(0).normal(size=(2, 6, 5)).astype("float32")
    mask = np.array([[True] * 4 + [False] * 2] * 2)
    _, *masked = ours(x, mask=mask, training=True)
    _, *short = ours(x[:, :4], training=True)
    for a, b in zip(masked, short, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


@pytest.mark.parametrize("cell", CELLS)
def test_a_batch_of_unknown_size_trains_too(cell):
    ours, theirs = pair(cell)
    signature = [tf.TensorSpec((None, None, 5))]

    def gradient(layer):
        @tf.function(input_signature=signature)
        def of(x):
            with tf.GradientTape() as tape:
                loss = tf.reduce_sum(layer(x, training=True)[0] ** 2)
            return tape.gradient(loss, [w.value for w in layer.trainable_variables])

        return of(tf.random.Generator.from_seed(5).normal((6, 4, 5)))

    for a, b in zip(gradient(ours), gradient(theirs), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("cell", CELLS)
def test_under_mixed_bfloat16_the_gradients_point_where_those_of_float32_do(cell):
    exact, _ = pair(cell)
    mixed = type(exact).from_config(exact.get_config() | {"dtype": "mixed_bfloat16"})
    mixed.build((None, None, 5))
    mixed.set_weights(exact.get_weights())
    x = tf.random.Generator.from_seed(4).normal((16, 9, 5))

    def gradients(layer):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.cast(layer(x, training=True)[0], "float32") ** 2)
        return [g.numpy().ravel() for g in tape.gradient(loss, [w.value for w in layer.trainable_variables])]

    for a, b in zip(gradients(exact), gradients(mixed), strict=True):
        assert b.dtype == np.float32
        assert a @ b / np.linalg.norm(a) / np.linalg.norm(b) > 0.999


def test_the_irnn_starts_as_the_identity_with_zero_bias():
    layer = recurrent.recurrent_layer("irnn", 4)
    layer.build((None, None, 3))
    np.testing.assert_array_equal(layer.cell.recurrent_kernel, np.eye(4))
    np.testing.assert_array_equal(layer.cell.bias, np.zeros(4))


def test_an_unknown_cell_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="'elman'; expected one of rnn, irnn, lstm, gru"):
        recurrent.recurrent_layer("elman", 4)
