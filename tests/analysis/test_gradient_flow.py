"""Gradient flow against Jacobians written out by hand in NumPy, and against known powers of singular values."""

import keras
import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")

from matplotlib.figure import Figure

from tfseq.analysis.gradient_flow import (
    explain,
    flow,
    flow_in_model,
    largest_singular_values,
    name_regions,
    norms_back,
    plot,
    plot_flows,
    reach,
    scale_recurrent_weights,
    step_jacobians,
)
from tfseq.errors import InputError
from tfseq.layers.recurrent import CELLS, recurrent_layer
from tfseq.models import RecurrentLanguageModel

UNITS, WIDTH, TIME = 4, 3, 6


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def a_layer(cell, units=UNITS, width=WIDTH, seed=0):
    """With weights that are no initializer's, biases included."""
    layer = recurrent_layer(cell, units)
    layer.build((None, None, width))
    random = np.random.default_rng(seed)
    layer.set_weights([random.normal(size=w.shape) * 0.7 for w in layer.get_weights()])
    return layer


def jacobians_by_hand(cell, weights, inputs):
    """Of one sequence: (time, states, states), states being h, and for LSTM c after it."""
    kernel, recurrent, bias = (w.astype("float64") for w in weights)
    units = recurrent.shape[0]
    h, c = np.zeros(units), np.zeros(units)
    jacobians = []
    if cell in ("rnn", "irnn"):
        for x in inputs:
            a = x @ kernel + h @ recurrent + bias
            h, slope = (np.tanh(a), 1 - np.tanh(a) ** 2) if cell == "rnn" else (np.maximum(a, 0), (a > 0) * 1.0)
            jacobians.append(np.diag(slope) @ recurrent.T)
    elif cell == "gru":
        u_z, u_r, u_n = np.split(recurrent, 3, axis=1)
        for x in inputs:
            x_z, x_r, x_n = np.split(x @ kernel + bias[0], 3)
            b_z, b_r, b_n = np.split(bias[1], 3)
            z, r = sigmoid(x_z + h @ u_z + b_z), sigmoid(x_r + h @ u_r + b_r)
            inner = h @ u_n + b_n
            n = np.tanh(x_n + r * inner)
            dz, dr = np.diag(z * (1 - z)) @ u_z.T, np.diag(r * (1 - r)) @ u_r.T
            dn = np.diag(1 - n**2) @ (np.diag(inner) @ dr + np.diag(r) @ u_n.T)
            jacobians.append(np.diag(z) + np.diag(h - n) @ dz + np.diag(1 - z) @ dn)
            h = z * h + (1 - z) * n
    else:
        u_i, u_f, u_g, u_o = np.split(recurrent, 4, axis=1)
        for x in inputs:
            a_i, a_f, a_g, a_o = np.split(x @ kernel + h @ recurrent + bias, 4)
            i, f, g, o = sigmoid(a_i), sigmoid(a_f), np.tanh(a_g), sigmoid(a_o)
            new_c = f * c + i * g
            dc_dh = (
                np.diag(c * f * (1 - f)) @ u_f.T + np.diag(g * i * (1 - i)) @ u_i.T + np.diag(i * (1 - g**2)) @ u_g.T
            )
            squashed = np.tanh(new_c)
            dh_dh = np.diag(squashed * o * (1 - o)) @ u_o.T + np.diag(o * (1 - squashed**2)) @ dc_dh
            dh_dc = np.diag(o * (1 - squashed**2) * f)
            jacobians.append(np.block([[dh_dh, dh_dc], [dc_dh, np.diag(f)]]))
            h, c = o * squashed, new_c
    return np.array(jacobians)


@pytest.fixture
def inputs():
    return np.random.default_rng(1).normal(size=(2, TIME, WIDTH))


@pytest.mark.parametrize("cell", CELLS)
def test_a_steps_jacobian_is_the_derivative_of_the_cells_equations(cell, inputs):
    layer = a_layer(cell)
    by_hand = [jacobians_by_hand(cell, layer.get_weights(), sequence) for sequence in inputs]
    np.testing.assert_allclose(step_jacobians(layer, inputs), by_hand, atol=2e-6)


@pytest.mark.parametrize("cell", CELLS)
def test_the_flow_is_the_norm_of_the_product_of_jacobians(cell, inputs):
    layer = a_layer(cell)
    norms = flow(layer, inputs).norms
    assert norms.keys() == ({"h", "c"} if cell == "lstm" else {"h"})
    for row, sequence in enumerate(inputs):
        jacobians = jacobians_by_hand(cell, layer.get_weights(), sequence)
        for back in range(TIME + 1):
            product = np.eye(len(jacobians[0]))
            for jacobian in jacobians[TIME - back :]:
                product = jacobian @ product
            for i, name in enumerate(norms):
                block = product[:UNITS, i * UNITS : (i + 1) * UNITS]
                largest = np.linalg.svd(block)[1].max()
                np.testing.assert_allclose(norms[name][row, back], largest, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("cell", CELLS)
def test_all_the_way_back_it_is_the_gradient_that_training_would_use(cell, inputs):
    layer = a_layer(cell)
    states = 2 if cell == "lstm" else 1
    initial = [tf.zeros((2, UNITS)) for _ in range(states)]
    with tf.GradientTape() as tape:
        tape.watch(initial)
        last = layer(inputs, initial_state=initial)[1]
    whole = tape.batch_jacobian(last, initial[0])
    expected = np.linalg.svd(whole)[1][:, 0]
    np.testing.assert_allclose(flow(layer, inputs).norms["h"][:, -1], expected, rtol=1e-4)


@pytest.mark.parametrize("sigma", [0.8, 1.0, 1.3])
@pytest.mark.parametrize("cell", ["rnn", "irnn"])
def test_where_slopes_are_1_the_norm_is_a_power_of_the_singular_value(cell, sigma):
    layer = recurrent_layer(cell, UNITS, **({"recurrent_initializer": "orthogonal"} if cell == "rnn" else {}))
    layer.build((None, None, WIDTH))
    scale_recurrent_weights(layer, sigma)
    inputs = np.zeros((1, TIME, WIDTH))  # tanh is straight at 0
    initial = [np.full((1, UNITS), 1.0 if cell == "irnn" else 0.0, "float32")]  # ReLU is straight above 0
    back = np.arange(TIME + 1)
    np.testing.assert_allclose(flow(layer, inputs, initial).norms["h"][0], sigma**back, rtol=1e-5)


@pytest.mark.parametrize("cell", CELLS)
def test_recurrent_weights_are_scaled_gate_by_gate(cell):
    layer = a_layer(cell)
    scale_recurrent_weights(layer, 0.8)
    kernel = layer.cell.recurrent_kernel.numpy()
    gates = [np.linalg.svd(kernel[:, i : i + UNITS])[1].max() for i in range(0, kernel.shape[1], UNITS)]
    np.testing.assert_allclose(gates, 0.8, rtol=1e-5)
    np.testing.assert_allclose(largest_singular_values(layer), gates, rtol=1e-5)


@pytest.mark.parametrize("chunk", [None, 1, 2, 4, 100])
def test_truncation_leaves_the_gradients_that_stopping_them_between_chunks_leaves(chunk, inputs):
    """Each state gets a perturbation of its own; a state that is carried into the next chunk is a constant there."""
    layer = a_layer("rnn")
    nudges = [tf.zeros((1, UNITS)) for _ in range(TIME + 1)]
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(nudges)
        states = [nudges[0]]
        for t in range(1, TIME + 1):
            before = states[-1]
            if chunk is not None and (t - 1) % chunk == 0:
                before = tf.stop_gradient(before)
            states.append(layer.cell(tf.constant(inputs[:1, t - 1], "float32"), [before])[0] + nudges[t])
    expected = np.zeros((TIME + 1, TIME + 1))
    for t in range(TIME + 1):
        for s in range(t + 1):
            jacobian = tape.jacobian(states[t], nudges[s], experimental_use_pfor=False)
            expected[t, s] = 0 if jacobian is None else np.linalg.norm(jacobian[0, :, 0], 2)
    jacobians = step_jacobians(layer, inputs[:1])[0]
    np.testing.assert_allclose(reach(jacobians, UNITS, chunk), expected, rtol=1e-4, atol=1e-7)


def test_a_models_layers_are_followed_on_what_they_read_there():
    keras.utils.set_random_seed(0)
    model = RecurrentLanguageModel(vocabulary_size=5, units=UNITS, depth=2, cell="gru", initial_state="random")
    tokens = np.array([[1, 2, 3, 0, 4]])
    first, second = flow_in_model(model, tokens)
    assert (first.name, second.name) == ("gru_1", "gru_2")
    state = model.initial_state((), 1)
    below, lower = model.recurrent
    outputs = below(keras.ops.one_hot(tokens, 5), initial_state=state[0])[0]
    expected = norms_back(step_jacobians(lower, outputs, state[1]), UNITS)
    np.testing.assert_allclose(second.norms["h"], expected["h"], rtol=1e-5)
    assert "call" not in vars(below)  # the model is as it was


def test_a_layer_that_reads_backwards_is_followed_in_its_own_order(inputs):
    forwards, backwards = keras.layers.GRU(UNITS), keras.layers.GRU(UNITS, go_backwards=True)
    outputs = [layer(inputs) for layer in (forwards, backwards)]
    assert outputs[0].shape == outputs[1].shape
    backwards.set_weights(forwards.get_weights())
    model = keras.Sequential([keras.layers.Input((None, WIDTH)), backwards])
    (back,) = flow_in_model(model, inputs)
    np.testing.assert_allclose(back.norms["h"], flow(forwards, inputs[:, ::-1]).norms["h"], rtol=1e-5)


def test_what_has_no_cell_no_weights_or_other_inputs_is_refused(inputs):
    with pytest.raises(InputError, match="has no recurrent cell"):
        step_jacobians(keras.layers.Dense(3), inputs)
    with pytest.raises(InputError, match="is not built"):
        step_jacobians(recurrent_layer("gru", 3), inputs)
    with pytest.raises(InputError, match=r"expected \(batch, time, 3\)"):
        step_jacobians(a_layer("rnn"), inputs[:, :, :2])
    with pytest.raises(InputError, match="no recurrent layer"):
        flow_in_model(keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(2)]), inputs)


def test_masked_steps_are_refused():
    embedding = keras.layers.Embedding(5, WIDTH, mask_zero=True)
    model = keras.Sequential([keras.layers.Input((None,), dtype="int32"), embedding, keras.layers.LSTM(UNITS)])
    flow_in_model(model, np.array([[1, 2, 3]]))
    with pytest.raises(InputError, match="masked"):
        flow_in_model(model, np.array([[1, 2, 0]]))


def test_the_explanation_and_its_pictures_name_what_goes_wrong(tmp_path):
    data = explain(units=16, steps=60, sequences=2)
    said = str(data).splitlines()
    assert "vanilla RNN  largest singular value 0.8" in said[1]
    assert said[1].endswith("vanishes")
    assert next(line for line in said if "IRNN" in line and "1.3" in line).endswith("explodes")
    assert next(line for line in said if "IRNN" in line and "value 1 " in line).endswith("is kept")
    plot(data, tmp_path / "flow.png")
    plot_flows([data.flows["lstm"][1.0]], tmp_path / "one.png")
    assert all((tmp_path / name).read_bytes().startswith(b"\x89PNG") for name in ("flow.png", "one.png"))


def test_the_regions_of_a_picture_are_named():
    axes = Figure().subplots()
    name_regions(axes, 1e-6, 1e6)
    assert {text.get_text() for text in axes.texts} == {"exploding", "vanishing"}
