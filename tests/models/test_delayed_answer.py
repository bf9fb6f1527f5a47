"""`DelayedAnswer`: `call` against `step`, the equations in NumPy, padding, and that no token is fed back."""

import os

import numpy as np
import pytest

keras = pytest.importorskip("keras")
from keras import ops

from tfseq.models import DelayedAnswer

CELLS = ["rnn", "irnn", "lstm", "gru"]
SOURCE = np.array([[3, 4, 5, 6, 7, 8], [4, 3, 8, 5, 0, 0], [5, 0, 0, 0, 0, 0], [6, 0, 4, 0, 0, 0]], "int32")
TARGET = np.array([[1, 3, 4, 5], [1, 8, 7, 0], [1, 4, 0, 0], [1, 5, 5, 5]], "int32")


def model_of(**options):
    keras.utils.set_random_seed(0)
    model = DelayedAnswer(9, **{"units": 6, "embedding_dim": 4} | options)
    model(inputs())
    draw = np.random.default_rng(1)
    for weight in model.weights:  # biases too, so that blanks change the state
        weight.assign(weight + draw.normal(0, 0.3, weight.shape))
    return model


def inputs(source=SOURCE):
    return {"source": ops.convert_to_tensor(source), "target": ops.convert_to_tensor(TARGET)}


def logits_of_steps(model, source=SOURCE, tokens=TARGET):
    memory = model.encode(ops.convert_to_tensor(source))
    state = model.initial_state(memory, len(source))
    logits = []
    for column in tokens.T:
        new, state = model.step(ops.convert_to_tensor(column), state, memory)
        logits.append(np.asarray(new))
    return np.stack(logits, axis=1)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(("cell", "depth"), [*((cell, 1) for cell in CELLS), ("lstm", 2), ("gru", 3)])
def test_call_and_step_agree_at_every_position(cell, depth, reverse):
    model = model_of(cell=cell, depth=depth, reverse=reverse)
    np.testing.assert_allclose(logits_of_steps(model), model(inputs()), atol=1e-5)


@pytest.mark.parametrize("reverse", [False, True])
def test_one_network_reads_the_source_then_blanks(reverse):
    """h_t = tanh(W_hh h_{t-1} + W_xh x_t + b) over the source's tokens, then over token 0; y = W_hy h_t."""
    model = model_of(cell="rnn", reverse=reverse)
    logits = np.asarray(model(inputs()))
    table = np.asarray(model.embedding.embeddings)
    w_xh, w_hh, bias = (np.asarray(w) for w in model.recurrent[0].weights)
    w_hy, bias_y = (np.asarray(w) for w in model.head.weights)
    for row, source in enumerate(([3, 4, 5, 6, 7, 8], [4, 3, 8, 5], [5], [6, 0, 4])):
        h = np.zeros(6)
        for t, token in enumerate([*(source[::-1] if reverse else source), 0, 0, 0, 0]):
            h = np.tanh(h @ w_hh + table[token] @ w_xh + bias)
            if t >= len(source):
                np.testing.assert_allclose(logits[row, t - len(source)], h @ w_hy + bias_y, atol=1e-5)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_padding_of_sources_changes_nothing(cell, reverse):
    model = model_of(cell=cell, depth=2, reverse=reverse)
    expected = np.asarray(model(inputs()))
    wider = np.pad(SOURCE, [(0, 0), (0, 3)])
    np.testing.assert_allclose(model(inputs(wider)), expected, atol=1e-5)
    np.testing.assert_allclose(logits_of_steps(model, wider), expected, atol=1e-5)
    alone = logits_of_steps(model, SOURCE[1:2, :4], TARGET[1:2])
    np.testing.assert_allclose(alone, expected[1:2], atol=1e-5)


def test_reading_backwards_is_reading_the_source_turned_around():
    forward, backward = model_of(), model_of(reverse=True)
    turned = SOURCE.copy()
    turned[0] = turned[0, ::-1]
    turned[1, :4] = turned[1, 3::-1]
    turned[3, :3] = turned[3, 2::-1]
    np.testing.assert_allclose(backward(inputs(turned)), forward(inputs()), atol=1e-6)
    assert np.abs(np.asarray(backward(inputs())) - np.asarray(forward(inputs())))[[0, 1]].max() > 1e-3


def test_the_token_that_was_just_written_is_not_read():
    model = model_of()
    np.testing.assert_array_equal(logits_of_steps(model, tokens=9 - 1 - TARGET), logits_of_steps(model))


def test_beams_of_a_source_answer_alike():
    model = model_of()
    memory = model.encode(ops.convert_to_tensor(SOURCE))
    state = keras.tree.map_structure(lambda x: ops.repeat(x, 2, axis=0), model.initial_state(memory, 4))
    logits, _ = model.step(ops.zeros((8,), "int32"), state, memory)
    np.testing.assert_allclose(logits, np.repeat(logits_of_steps(model)[:, 0], 2, axis=0), atol=1e-6)


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_repeating_what_was_read_is_learned(cell):
    keras.utils.set_random_seed(0)
    draw = np.random.default_rng(0)
    answers = draw.integers(3, 6, (512, 3)).astype("int32")
    model = DelayedAnswer(6, units=32, cell=cell, embedding_dim=8)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.02), loss, jit_compile=False)
    model.fit({"source": answers, "target": np.ones_like(answers)}, answers, batch_size=64, epochs=15, verbose=0)
    found = logits_of_steps(model, answers[:50], np.ones((50, 3), "int32")).argmax(-1)
    assert (found == answers[:50]).all(-1).mean() > 0.9


@pytest.mark.parametrize("reverse", [False, True])
def test_an_exported_file_answers_texts_of_different_lengths(reverse, tmp_path):
    """Against `call`, whose most likely tokens are the answer, as no token depends on the one before."""
    pytest.importorskip("tensorflow")
    import tfseq
    from tfseq.data import character_tokenizer

    tokenizer = character_tokenizer("abcde", start_and_end=True)
    model = model_of(reverse=reverse, start=tokenizer.start, end=tokenizer.end)
    never = np.isin(np.arange(9), [0, tokenizer.start])  # what is no text
    model.head.bias.assign(np.where(never, -100, model.head.bias))
    tfseq.export(model, tmp_path / "model.onnx", decode=tfseq.Greedy(), tokenizer=tokenizer, verify=False)
    texts = ["abcde", "e", "ba", "cab", "d" * 30]
    answers = tfseq.runtime.load(tmp_path / "model.onnx").generate(texts, max_length=4)
    for text, answer in zip(texts, answers):
        logits = model({"source": tokenizer.encode(text)[None], "target": np.zeros((1, 4), "int32")})
        tokens = np.asarray(logits)[0].argmax(-1).tolist()
        tokens = tokens[: tokens.index(tokenizer.end)] if tokenizer.end in tokens else tokens
        assert answer == tokenizer.decode(tokens)


def test_a_saved_model_gives_the_same_logits(tmp_path):
    model = model_of(depth=2, cell="lstm", reverse=True, dropout=0.3, dtype="mixed_bfloat16")
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert again.get_config() == model.get_config()
    logits = model(inputs())
    assert logits.dtype == "float32"
    np.testing.assert_array_equal(again(inputs()), logits)


ON_JAX = """
import sys
sys.path.insert(0, sys.argv[2])
import keras, numpy as np, test_delayed_answer as common
assert keras.backend.backend() == "jax"
model = keras.models.load_model(f"{sys.argv[1]}/model.keras")
np.save(f"{sys.argv[1]}/logits.npy", model(common.inputs()))
np.save(f"{sys.argv[1]}/steps.npy", common.logits_of_steps(model))
"""


def test_jax_gives_the_logits_of_tensorflow(tmp_path, on_jax):
    model = model_of(depth=2, reverse=True)
    model.save(tmp_path / "model.keras")
    on_jax(ON_JAX, tmp_path, os.path.dirname(__file__))
    for name in ("logits", "steps"):
        np.testing.assert_allclose(np.load(tmp_path / f"{name}.npy"), model(inputs()), atol=2e-5)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"units": 0}, "units is 0; expected at least 1"),
        ({"depth": 0}, "depth is 0; expected at least 1"),
        ({"embedding_dim": 0}, "embedding_dim is 0; expected at least 1"),
        ({"cell": "elman"}, "expected one of rnn, irnn, lstm, gru"),
    ],
)
def test_settings_that_make_no_model_are_refused(setting, message):
    with pytest.raises(ValueError, match=message):
        DelayedAnswer(9, **setting)
