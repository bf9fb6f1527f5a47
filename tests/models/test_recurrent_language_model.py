"""The recurrent language model: the lecture's equations in NumPy, `call` against `step`, training, saving."""

import itertools

import numpy as np
import pytest

keras = pytest.importorskip("keras")

from tfseq.models import RecurrentLanguageModel

CELLS = ["rnn", "irnn", "lstm", "gru"]
TOKENS = np.random.default_rng(0).integers(0, 11, (3, 9)).astype("int32")


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


@pytest.mark.parametrize(
    ("cell", "embedding_dim", "initial_state"),
    list(itertools.product(CELLS, [None, 4], ["zeros", "random", "learned"])),
)
def test_call_and_step_agree_at_every_position(cell, embedding_dim, initial_state):
    model = RecurrentLanguageModel(
        11, units=6, depth=2, cell=cell, embedding_dim=embedding_dim, initial_state=initial_state
    )
    expected = np.asarray(model(TOKENS))
    state = model.initial_state(model.encode(), 3)
    for position in range(TOKENS.shape[1]):
        logits, state = model.step(TOKENS[:, position], state)
        np.testing.assert_allclose(logits, expected[:, position], atol=1e-5)


def test_the_vanilla_cell_follows_the_lectures_equations():
    """h_t = tanh(W_hh h_{t-1} + W_xh x_t + b), y_t = W_hy h_t + b_y, with x_t one-hot."""
    model = RecurrentLanguageModel(11, units=5, cell="rnn", initial_state="random")
    logits = np.asarray(model(TOKENS))
    layer = model.recurrent[0].cell
    w_xh, w_hh, bias = (np.asarray(w) for w in (layer.kernel, layer.recurrent_kernel, layer.bias))
    w_hy, bias_y = (np.asarray(w) for w in model.head.weights)
    h = np.tile(np.asarray(model.h0[0][0]), (3, 1))
    for position in range(TOKENS.shape[1]):
        h = np.tanh(h @ w_hh + np.eye(11)[TOKENS[:, position]] @ w_xh + bias)
        np.testing.assert_allclose(logits[:, position], h @ w_hy + bias_y, atol=1e-5)


def test_the_lstm_follows_the_lectures_equations():
    """c_t = f c_{t-1} + i g, h_t = o tanh(c_t)."""
    model = RecurrentLanguageModel(11, units=5, cell="lstm")
    logits = np.asarray(model(TOKENS))
    layer = model.recurrent[0].cell
    kernel, recurrent_kernel, bias = (np.asarray(w) for w in (layer.kernel, layer.recurrent_kernel, layer.bias))
    w_hy, bias_y = (np.asarray(w) for w in model.head.weights)
    h = c = np.zeros((3, 5))
    for position in range(TOKENS.shape[1]):
        i, f, g, o = np.split(np.eye(11)[TOKENS[:, position]] @ kernel + h @ recurrent_kernel + bias, 4, axis=1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        np.testing.assert_allclose(logits[:, position], h @ w_hy + bias_y, atol=1e-5)


@pytest.mark.parametrize("cell", CELLS)
def test_trained_on_hello_it_continues_h_with_ello(cell):
    """The lecture's own example: four characters, one-hot input, next-token loss, its own output fed back."""
    alphabet = "helo"
    text = np.array([[alphabet.index(c) for c in "hello"]], "int32")
    keras.utils.set_random_seed(0)
    model = RecurrentLanguageModel(4, units=12, cell=cell)
    model.compile(keras.optimizers.Adam(0.05), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(text[:, :-1], text[:, 1:], epochs=60, verbose=0)

    state, token, generated = model.initial_state((), 1), text[:, 0], ""
    for _ in range(4):
        logits, state = model.step(token, state)
        token = np.argmax(logits, axis=-1).astype("int32")
        generated += alphabet[token[0]]
    assert generated == "ello"


@pytest.mark.parametrize("cell", CELLS)
def test_a_saved_model_comes_back_the_same(cell, tmp_path):
    model = RecurrentLanguageModel(11, units=6, depth=2, cell=cell, embedding_dim=3, initial_state="learned")
    expected = model(TOKENS)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(TOKENS), expected)


def test_only_a_learned_initial_state_is_trainable():
    def trainable(kind):
        model = RecurrentLanguageModel(11, units=6, initial_state=kind)
        model.build((None, None))
        return [w.path for w in model.trainable_variables if "initial_state" in w.path]

    assert len(trainable("learned")) == 2
    assert trainable("random") == trainable("zeros") == []


def test_a_random_initial_state_is_drawn_once():
    model = RecurrentLanguageModel(11, units=6, initial_state="random")
    first, second = model(TOKENS), model(TOKENS)
    np.testing.assert_array_equal(first, second)
    assert np.abs(np.asarray(model.h0[0][0])).max() > 0


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"cell": "elman"}, "expected one of rnn, irnn, lstm, gru"),
        ({"initial_state": "ones"}, "expected one of zeros, random, learned"),
        ({"units": 0}, "at least 1"),
        ({"depth": 0}, "at least 1"),
    ],
)
def test_settings_that_make_no_model_are_refused(setting, message):
    with pytest.raises(ValueError, match=message):
        RecurrentLanguageModel(11, **setting)
