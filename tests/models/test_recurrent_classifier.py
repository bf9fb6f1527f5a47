"""`RecurrentClassifier`: poolings, both directions, padding, training, and exported files."""

import itertools

import numpy as np
import pytest

keras = pytest.importorskip("keras")

from tfseq.models import RecurrentClassifier

VOCABULARY, CLASSES, UNITS = 11, 3, 5
DRAW = np.random.default_rng(0)
TOKENS = DRAW.integers(1, VOCABULARY, (4, 7)).astype("int32")
LENGTHS = np.array([7, 3, 1, 5])
TOKENS[np.arange(7) >= LENGTHS[:, None]] = 0


def embedding(**kwargs):
    return keras.layers.Embedding(VOCABULARY, 4, mask_zero=True, **kwargs)


def series_front():
    return keras.Sequential([keras.layers.Masking(), keras.layers.Rescaling([2.0, 0.5], [1.0, -1.0])])


def randomized(model, inputs):
    """The model with weights that are far from where they begin, so that every difference shows."""
    model(inputs)
    draw = np.random.default_rng(1)
    model.set_weights([draw.normal(0, 0.7, weight.shape) for weight in model.get_weights()])
    return model


def padded(inputs, steps):
    return np.concatenate([inputs, np.zeros_like(inputs[:, :1]).repeat(steps, axis=1)], axis=1)


def by_hand(model, tokens, backwards=False):
    """States of a vanilla cell over the real steps of one sequence, (time, units)."""
    layer = model.recurrent[0]
    if model.bidirectional:
        layer = layer.backward_layer if backwards else layer.forward_layer
    kernel, recurrent_kernel, bias = (np.asarray(w) for w in layer.cell.weights)
    (table,) = model.front.get_weights()
    h, states = np.zeros(UNITS), []
    for token in tokens[::-1] if backwards else tokens:
        h = np.tanh(table[token] @ kernel + h @ recurrent_kernel + bias)
        states.append(h)
    return np.array(states[::-1] if backwards else states)


def softmax(x):
    e = np.exp(x - x.max())
    return e / e.sum()


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("pooling", ["last", "max", "mean"])
def test_the_answer_follows_the_equations_over_the_real_steps_alone(pooling, bidirectional):
    model = RecurrentClassifier(embedding(), CLASSES, UNITS, cell="rnn", pooling=pooling, bidirectional=bidirectional)
    answers = np.asarray(randomized(model, TOKENS)(TOKENS))
    w, b = (np.asarray(weight) for weight in model.head.weights)
    for tokens, length, answer in zip(TOKENS, LENGTHS, answers):
        directions = [by_hand(model, tokens[:length], backwards) for backwards in (False, True)[: 1 + bidirectional]]
        ends = [states[0] if backwards else states[-1] for backwards, states in enumerate(directions)]
        h = {
            "last": np.concatenate(ends),
            "max": np.concatenate(directions, axis=1).max(0),
            "mean": np.concatenate(directions, axis=1).mean(0),
        }[pooling]
        np.testing.assert_allclose(answer, softmax(h @ w + b), atol=1e-5)


@pytest.mark.parametrize(
    ("cell", "bidirectional", "pooling"),
    [
        *itertools.product(["rnn", "irnn", "lstm", "gru"], [False, True], ["last"]),
        ("lstm", True, "max"),
        ("lstm", True, "mean"),
    ],
)
def test_padding_changes_no_answer(cell, bidirectional, pooling):
    model = RecurrentClassifier(
        embedding(), CLASSES, UNITS, depth=2, cell=cell, bidirectional=bidirectional, pooling=pooling
    )
    expected = np.asarray(randomized(model, TOKENS)(TOKENS))
    np.testing.assert_allclose(expected.sum(-1), 1, atol=1e-5)
    np.testing.assert_allclose(model(padded(TOKENS, 6)), expected, atol=1e-5)
    np.testing.assert_allclose(model(TOKENS[1:2, : LENGTHS[1]])[0], expected[1], atol=1e-5)  # alone, without any


@pytest.mark.parametrize("pooling", ["last", "max"])
def test_padding_changes_no_gradient(pooling):
    tf = pytest.importorskip("tensorflow")
    model = RecurrentClassifier(embedding(), CLASSES, UNITS, cell="gru", bidirectional=True, pooling=pooling)
    randomized(model, TOKENS)

    def gradients(tokens):
        with tf.GradientTape() as tape:
            loss = keras.losses.sparse_categorical_crossentropy(np.array([0, 1, 2, 1]), model(tokens, training=True))
        found = tape.gradient(loss, [weight.value for weight in model.trainable_variables])
        return [tf.convert_to_tensor(gradient) for gradient in found]

    for padded_gradient, gradient in zip(gradients(padded(TOKENS, 4)), gradients(TOKENS)):
        np.testing.assert_allclose(padded_gradient, gradient, atol=1e-5)


@pytest.mark.parametrize(
    ("front", "inputs", "settings"),
    [
        (embedding, TOKENS, {"cell": "gru", "bidirectional": True, "depth": 2}),
        (embedding, TOKENS, {"cell": "lstm", "bidirectional": True, "pooling": "max"}),
        (series_front, np.where(TOKENS[..., None] > 0, DRAW.normal(size=(4, 7, 2)), 0).astype("float32"), {}),
    ],
    ids=["both directions", "pooled", "series"],
)
def test_padding_changes_no_answer_of_the_exported_file(front, inputs, settings, tmp_path):
    pytest.importorskip("tensorflow")
    import tfseq

    model = randomized(RecurrentClassifier(front(), CLASSES, UNITS, **settings), inputs)
    manifest = tfseq.export(model, tmp_path / "model.onnx")
    operator = settings.get("cell", "lstm").upper()
    assert manifest.operators[operator] == settings.get("depth", 1)  # one operator per layer, no loop
    file = tfseq.runtime.load(tmp_path / "model.onnx")
    for given in (inputs, padded(inputs, 6)):
        np.testing.assert_allclose(file.predict(given), model(inputs), atol=1e-5)


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_a_saved_model_comes_back_the_same(policy, tmp_path):
    front = keras.Sequential([keras.Input((None,), dtype="int32"), embedding(dtype=policy), keras.layers.Dropout(0.5)])
    model = RecurrentClassifier(
        front, CLASSES, UNITS, depth=2, cell="gru", bidirectional=True, pooling="mean", dropout=0.3, dtype=policy
    )
    expected = randomized(model, TOKENS)(TOKENS)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(TOKENS), expected)
    assert loaded.get_config() | {"front": None} == model.get_config() | {"front": None}


def test_raw_numbers_reach_the_front_as_they_are():
    """bfloat16 can't tell 1000 from 1001; the front's standardisation comes first."""
    front = keras.layers.Rescaling(1.0, -1000.0, dtype="float32")
    model = RecurrentClassifier(front, CLASSES, UNITS, cell="rnn", dtype="mixed_bfloat16")
    series = np.full((1, 3, 2), 1001, "float32")
    randomized(model, series)
    assert np.abs(np.asarray(model(series)) - np.asarray(model(series - 1))).max() > 0.01


def test_it_learns_what_came_first_of_sequences_of_different_lengths():
    """The answer is the first token of up to 8, so the state has to keep it to the end."""
    draw = np.random.default_rng(2)
    tokens = draw.integers(1, 4, (256, 8)).astype("int32")
    first = tokens[:, 0] - 1
    tokens[np.arange(8) >= draw.integers(1, 9, (256, 1))] = 0
    keras.utils.set_random_seed(0)
    model = RecurrentClassifier(keras.layers.Embedding(4, 8, mask_zero=True), 3, 16, cell="gru")
    model.compile(keras.optimizers.Adam(0.02), "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(tokens, first, epochs=12, batch_size=64, verbose=0)
    assert model.evaluate(tokens, first, verbose=0)[1] > 0.98


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"front": "embedding"}, "expected a Keras layer"),
        ({"pooling": "sum"}, "expected one of last, max, mean"),
        ({"cell": "elman"}, "expected one of rnn, irnn, lstm, gru"),
        ({"classes": 1}, "classes is 1; expected at least 2"),
        ({"units": 0}, "units is 0; expected at least 1"),
        ({"depth": 0}, "depth is 0; expected at least 1"),
    ],
)
def test_settings_that_make_no_model_are_refused(setting, message):
    with pytest.raises(ValueError, match=message):
        RecurrentClassifier(**{"front": embedding(), "classes": 2, "units": 4} | setting)


ON_JAX = """
import sys
import keras, numpy as np
import tfseq.models
assert keras.backend.backend() == "jax"
folder = sys.argv[1]
model = keras.models.load_model(f"{folder}/model.keras")
np.save(f"{folder}/jax.npy", model(np.load(f"{folder}/tokens.npy")))
"""


def test_jax_gives_the_answers_of_tensorflow(tmp_path, on_jax):
    model = RecurrentClassifier(embedding(), CLASSES, UNITS, depth=2, cell="gru", bidirectional=True, pooling="max")
    expected = randomized(model, TOKENS)(TOKENS)
    model.save(tmp_path / "model.keras")
    np.save(tmp_path / "tokens.npy", TOKENS)
    on_jax(ON_JAX, tmp_path)
    np.testing.assert_allclose(np.load(tmp_path / "jax.npy"), expected, atol=2e-5)
