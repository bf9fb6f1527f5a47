"""The contract of every generator: `call` against `step` and `read`, padding, KV caches, beams that share a memory."""

import functools
import os

import numpy as np
import pytest

keras = pytest.importorskip("keras")
from keras import ops

from tfseq.layers.key_value_cache import reorder, widen
from tfseq.models import (
    AttentionSeq2Seq,
    RecurrentLanguageModel,
    Seq2Seq,
    StateSpaceLanguageModel,
    Transformer,
    TransformerLanguageModel,
)

VOCABULARY, SOURCES = 9, 11
SOURCE = np.array([[3, 4, 5, 6, 7, 8], [4, 3, 10, 9, 0, 0], [5, 0, 0, 0, 0, 0]], "int32")
TOKENS = np.array([[1, 3, 4, 5, 6], [1, 8, 7, 2, 0], [1, 4, 4, 4, 2]], "int32")


def attention_seq2seq(**options):
    return AttentionSeq2Seq(VOCABULARY, **{"source_vocabulary_size": SOURCES, "units": 8, "embedding_dim": 5} | options)


def seq2seq(**options):
    return Seq2Seq(VOCABULARY, **{"source_vocabulary_size": SOURCES, "units": 8, "embedding_dim": 5} | options)


def transformer(**options):
    small = {"source_vocabulary_size": SOURCES, "units": 8, "heads": 2, "hidden": 16, "depth": 2}
    return Transformer(VOCABULARY, **small | options)


def transformer_language_model(**options):
    return TransformerLanguageModel(VOCABULARY, **{"units": 8, "heads": 2, "depth": 2} | options)


def state_space_language_model(**options):
    return StateSpaceLanguageModel(VOCABULARY, **{"units": 8, "depth": 2, "states": 3} | options)


MODELS = {
    "attention gru network": lambda **kw: attention_seq2seq(**kw),
    "attention lstm dot, two layers": lambda **kw: attention_seq2seq(cell="lstm", alignment="dot", depth=2, **kw),
    "attention rnn general": lambda **kw: attention_seq2seq(cell="rnn", alignment="general", **kw),
    "attention irnn cosine": lambda **kw: attention_seq2seq(cell="irnn", alignment="cosine", **kw),
    "seq2seq gru": lambda **kw: seq2seq(**kw),
    "seq2seq lstm, two layers in both directions": lambda **kw: seq2seq(cell="lstm", depth=2, bidirectional=True, **kw),
    "seq2seq vanilla": lambda **kw: seq2seq(cell="rnn", **kw),
    "seq2seq rnn in both directions": lambda **kw: seq2seq(cell="rnn", bidirectional=True, **kw),
    "seq2seq irnn, two layers, shared": lambda **kw: seq2seq(
        **{"cell": "irnn", "depth": 2, "source_vocabulary_size": None} | kw
    ),
    "transformer pre": lambda **kw: transformer(**kw),
    "transformer post, learned, untied": lambda **kw: transformer(norm="post", positions="learned", tied=False, **kw),
    "transformer rotary": lambda **kw: transformer(positions="rotary", **kw),
    "transformer shared, shallow decoder": lambda **kw: transformer(
        **{"source_vocabulary_size": None, "decoder_depth": 1} | kw
    ),
    "transformer language model": lambda **kw: transformer_language_model(**kw),
    "transformer language model, rotary": lambda **kw: transformer_language_model(positions="rotary", **kw),
    "transformer language model, rotary, of a window": lambda **kw: transformer_language_model(
        positions="rotary", window=2, **kw
    ),
    "transformer language model, sinusoidal, untied, of a window": lambda **kw: transformer_language_model(
        positions="sinusoidal", tied=False, window=3, **kw
    ),
    "recurrent language model": lambda **kw: RecurrentLanguageModel(VOCABULARY, units=8, **kw),
    "recurrent language model, two layers, learned start": lambda **kw: RecurrentLanguageModel(
        VOCABULARY, units=8, depth=2, cell="gru", embedding_dim=5, initial_state="learned", **kw
    ),
    "recurrent language model, vanilla": lambda **kw: RecurrentLanguageModel(VOCABULARY, units=8, cell="rnn", **kw),
    "state-space language model": lambda **kw: state_space_language_model(**kw),
    "state-space language model, a window of two, untied": lambda **kw: state_space_language_model(
        window=2, expansion=3, tied=False, **kw
    ),
}
READ_AT_ONCE = [name for name in MODELS if "language" in name]
ENCODER_DECODERS = [name for name in MODELS if "language" not in name]
ATTENTIVE = [name for name in ENCODER_DECODERS if "seq2seq" not in name]


@functools.cache
def made(name, **options):
    """One for all tests, which leave its weights alone."""
    keras.utils.set_random_seed(1)
    model = MODELS[name](**options)
    model(inputs(model))
    rng = np.random.default_rng(0)
    for weight in model.weights:  # biases and norms too, so that none is neutral
        weight.assign(weight + rng.normal(0, 0.2, weight.shape))
    return model


def inputs(model, source=SOURCE):
    if not model.sources:
        return ops.convert_to_tensor(TOKENS)
    if "source_vocabulary_size" in model.get_config() and model.get_config()["source_vocabulary_size"] is None:
        source = np.minimum(source, VOCABULARY - 1)
    return {"source": ops.convert_to_tensor(source), "target": ops.convert_to_tensor(TOKENS)}


def memory_of(model, source=SOURCE):
    return model.encode(inputs(model, source)["source"]) if model.sources else ()


def logits_of_steps(model, memory, tokens=TOKENS, width=1):
    """(rows, time, vocabulary), of steps that read the rows of `tokens`."""
    state = widen(model.initial_state(memory, len(tokens) // width), width)
    memory = memory if model.shares_memory else widen(memory, width)
    logits = []
    for column in tokens.T:
        new, state = model.step(ops.convert_to_tensor(column), state, memory)
        logits.append(np.asarray(new))
    return np.stack(logits, axis=1)


@pytest.mark.parametrize("name", MODELS)
def test_steps_give_the_logits_of_the_parallel_call_at_every_position(name):
    model = made(name)
    expected = np.asarray(model(inputs(model)))
    assert expected.shape == (*TOKENS.shape, VOCABULARY)
    np.testing.assert_allclose(logits_of_steps(model, memory_of(model)), expected, atol=2e-5)


def logits_of_reading(model, memory, lengths, tokens=TOKENS):
    """(rows, vocabulary) after each part of `tokens` that was read at once, parts of these lengths; the last state."""
    state, logits, begin = model.initial_state(memory, len(tokens)), [], 0
    for length in lengths:
        part = ops.convert_to_tensor(tokens[:, begin : begin + length])
        new, state = model.read(part, state, memory)
        logits.append(np.asarray(new))
        begin += length
    return logits, state


@pytest.mark.parametrize("name", READ_AT_ONCE)
def test_reading_at_once_gives_the_logits_of_the_parallel_call_at_every_position(name):
    model = made(name)
    expected, memory = np.asarray(model(inputs(model))), memory_of(model)
    for length in range(1, TOKENS.shape[1] + 1):
        (logits,), _ = logits_of_reading(model, memory, [length])
        assert logits.dtype == "float32"
        np.testing.assert_allclose(logits, expected[:, length - 1], atol=2e-5)


@pytest.mark.parametrize("lengths", [(2, 3), (1, 1, 3), (4, 1)])
@pytest.mark.parametrize("name", READ_AT_ONCE)
def test_reading_in_parts_is_reading_at_once(name, lengths):
    model = made(name)
    expected, memory = np.asarray(model(inputs(model))), memory_of(model)
    logits, state = logits_of_reading(model, memory, lengths)
    for end, after in zip(np.cumsum(lengths), logits):
        np.testing.assert_allclose(after, expected[:, end - 1], atol=2e-5)
    _, at_once = logits_of_reading(model, memory, [5])
    keras.tree.assert_same_structure(state, at_once)
    for one, other in zip(keras.tree.flatten(state), keras.tree.flatten(at_once)):
        assert one.shape == other.shape
        assert one.dtype == other.dtype
        np.testing.assert_allclose(one, other, atol=2e-5)


@pytest.mark.parametrize("width", [1, 3])
@pytest.mark.parametrize("name", READ_AT_ONCE)
def test_beams_go_on_by_steps_from_what_was_read_at_once(name, width):
    model = made(name)
    tokens = np.random.default_rng(5).integers(1, VOCABULARY, (3 * width, 4)).astype("int32")
    whole = np.concatenate([TOKENS[:, :3].repeat(width, axis=0), tokens], axis=1)
    expected = logits_of_steps(model, memory_of(model, SOURCE.repeat(width, axis=0)), whole)[:, 3:]
    memory = memory_of(model)
    _, state = logits_of_reading(model, memory, [3])
    state, memory = widen(state, width), memory if model.shares_memory else widen(memory, width)
    for t in range(4):
        logits, state = model.step(ops.convert_to_tensor(tokens[:, t]), state, memory)
        np.testing.assert_allclose(logits, expected[:, t], atol=2e-5)


@pytest.mark.parametrize("name", MODELS)
def test_a_position_knows_nothing_of_what_follows(name):
    model = made(name)
    before = np.asarray(model(inputs(model)))
    later = inputs(model)
    changed = TOKENS.copy()
    changed[:, 3:] = 7 - changed[:, 3:] % 3
    later = later | {"target": changed} if model.sources else changed
    after = np.asarray(model(later))
    np.testing.assert_allclose(after[:, :3], before[:, :3], atol=1e-6)
    assert np.abs(after[:, 3:] - before[:, 3:]).max() > 1e-3


def test_two_layers_with_windows_of_two_depend_on_nothing_three_positions_before():
    model = made("transformer language model, rotary, of a window")
    changed = TOKENS.copy()
    changed[:, 0] = 7
    before, after = np.asarray(model(TOKENS)), np.asarray(model(changed))
    np.testing.assert_allclose(after[:, 3:], before[:, 3:], atol=1e-6)
    assert np.abs(after[:, 2] - before[:, 2]).max() > 1e-3


@pytest.mark.parametrize("name", ENCODER_DECODERS)
def test_padding_of_sources_changes_nothing(name):
    model = made(name)
    expected = np.asarray(model(inputs(model)))
    wider = np.concatenate([SOURCE, np.zeros((3, 4), "int32")], axis=1)
    np.testing.assert_allclose(model(inputs(model, wider)), expected, atol=2e-5)
    shorter = model({"source": inputs(model)["source"][1:2, :4], "target": TOKENS[1:2]})
    np.testing.assert_allclose(shorter, expected[1:2], atol=2e-5)


@pytest.mark.parametrize("name", ENCODER_DECODERS)
def test_the_source_matters(name):
    model = made(name)
    other = model(inputs(model, np.where(SOURCE > 0, 3 + SOURCE % 5, 0)))
    assert np.abs(np.asarray(other) - np.asarray(model(inputs(model)))).max() > 1e-3


@pytest.mark.parametrize("name", ATTENTIVE)
def test_attention_sums_to_one_over_what_is_real(name):
    model = made(name)
    memory = memory_of(model)
    state = model.initial_state(memory, 3)
    tokens = ops.convert_to_tensor(TOKENS[:, 0])
    logits, _, weights = model.step_with_attention(tokens, state, memory)
    np.testing.assert_allclose(logits, model.step(tokens, state, memory)[0], atol=1e-6)
    weights = np.asarray(weights)
    assert weights.dtype == "float32"
    assert weights.shape == SOURCE.shape
    np.testing.assert_allclose(weights.sum(1), 1, rtol=1e-5)
    assert np.all(weights[SOURCE == 0] == 0)
    assert weights[2, 0] == 1


@pytest.mark.parametrize("name", MODELS)
def test_beams_that_share_a_memory_go_their_own_ways(name):
    """Every beam is fed its own tokens and is compared with a batch of its own."""
    model, width = made(name), 3
    rng = np.random.default_rng(2)
    tokens = rng.integers(1, VOCABULARY, (3 * width, 5)).astype("int32")
    memory = memory_of(model)
    alone = logits_of_steps(model, memory_of(model, SOURCE.repeat(width, axis=0)), tokens)
    shared = logits_of_steps(model, memory, tokens, width)
    np.testing.assert_allclose(shared, alone, atol=2e-5)


@pytest.mark.parametrize("name", MODELS)
def test_a_beam_that_goes_on_from_another_has_that_ones_past(name):
    model, width = made(name), 2
    rng = np.random.default_rng(3)
    parents = rng.integers(0, width, (5, 3, width)).astype("int32")
    tokens = rng.integers(1, VOCABULARY, (5, 3 * width)).astype("int32")
    memory = memory_of(model)
    memory_of_beams = memory if model.shares_memory else widen(memory, width)
    state, past = widen(model.initial_state(memory, 3), width), np.zeros((3 * width, 0), "int32")
    for t in range(5):
        past = np.concatenate([past, tokens[t][:, None]], axis=1)
        logits, state = model.step(ops.convert_to_tensor(tokens[t]), state, memory_of_beams)
        expected = logits_of_steps(model, memory_of(model, SOURCE.repeat(width, axis=0)), past)[:, -1]
        np.testing.assert_allclose(logits, expected, atol=2e-5)
        state = reorder(state, ops.convert_to_tensor(parents[t]))
        past = past[(parents[t] + np.arange(3)[:, None] * width).ravel()]


@pytest.mark.parametrize("name", MODELS)
def test_a_saved_model_gives_the_same_logits(name, tmp_path):
    model = made(name, dropout=0.3)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert again.get_config() == model.get_config()
    np.testing.assert_array_equal(again(inputs(model)), model(inputs(model)))


@pytest.mark.parametrize("name", MODELS)
def test_mixed_precision_keeps_weights_and_logits_in_float32(name):
    exact, mixed = made(name), made(name, dtype="mixed_bfloat16")
    mixed.set_weights(exact.get_weights())
    logits = mixed(inputs(mixed))
    assert logits.dtype == "float32"
    assert {weight.dtype for weight in mixed.weights} == {"float32"}
    memory = memory_of(mixed)
    new, state = mixed.step(ops.convert_to_tensor(TOKENS[:, 0]), mixed.initial_state(memory, 3), memory)
    assert new.dtype == "float32"
    states = [state]
    if mixed.reads_at_once:
        states.append(mixed.read(inputs(mixed)[:, :3], mixed.initial_state(memory, 3))[1])
    for state in states:
        dtypes = {keras.backend.standardize_dtype(leaf.dtype) for leaf in keras.tree.flatten(state)}
        assert dtypes - {"int32"} == {"bfloat16"}
    np.testing.assert_allclose(new, logits[:, 0], atol=0.1)
    np.testing.assert_allclose(logits, exact(inputs(exact)), atol=0.3)
    assert np.abs(np.asarray(logits) - np.asarray(exact(inputs(exact)))).max() > 1e-4


def test_dropout_acts_in_training_only():
    for name in (
        "attention gru network",
        "seq2seq gru",
        "transformer pre",
        "transformer language model",
        "state-space language model",
    ):
        model = made(name, dropout=0.5)
        first, second = model(inputs(model), training=True), model(inputs(model), training=True)
        assert np.abs(np.asarray(first) - np.asarray(second)).max() > 1e-3, name
        np.testing.assert_array_equal(model(inputs(model)), model(inputs(model)))


def test_equal_weights_give_the_equations_of_the_paper():
    """c = where the encoder ended; s_t = cell(s_{t-1}, [y_{t-1}; c]); W tanh(U [s_t; c; y_{t-1}]), in NumPy."""
    model = made("seq2seq vanilla")
    source, y_of = np.asarray(model.source_embedding.embeddings), np.asarray(model.target_embedding.embeddings)
    encoder, decoder = ([np.asarray(w) for w in part.weights] for part in (model.encoder, model.decoder))
    hidden, hidden_bias, logits, logits_bias = (np.asarray(w) for w in model.head.weights)
    expected = np.zeros((*TOKENS.shape, VOCABULARY))
    for row, (tokens, targets) in enumerate(zip(SOURCE, TOKENS)):
        c = np.zeros(8)
        for token in tokens[tokens != 0]:
            c = np.tanh(source[token] @ encoder[0] + c @ encoder[1] + encoder[2])
        s = c
        for t, token in enumerate(targets):
            s = np.tanh(np.concatenate([y_of[token], c]) @ decoder[0] + s @ decoder[1] + decoder[2])
            z = np.tanh(np.concatenate([s, c, y_of[token]]) @ hidden + hidden_bias)
            expected[row, t] = z @ logits + logits_bias
    np.testing.assert_allclose(model(inputs(model)), expected, atol=2e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["attention gru network", "transformer pre"])
def test_reversing_is_learned(name):
    """120 steps of training on sequences to reverse, which a decoder can only do by attending to the source."""
    keras.utils.set_random_seed(0)
    options = {"source_vocabulary_size": None, "units": 32}
    model = MODELS[name](**options | ({"hidden": 64, "depth": 1} if "transformer" in name else {"embedding_dim": 16}))
    rng = np.random.default_rng(0)
    source = rng.integers(3, VOCABULARY, (256, 5)).astype("int32")
    target = np.concatenate([np.ones((256, 1)), source[:, ::-1], np.full((256, 1), 2)], axis=1).astype("int32")
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.01), loss, jit_compile=False)
    x = {"source": source, "target": target[:, :-1]}
    history = model.fit(x, target[:, 1:], batch_size=64, epochs=30, verbose=0)
    assert history.history["loss"][0] > 1.5
    assert history.history["loss"][-1] < 0.5


ON_JAX = """
import sys
sys.path.insert(0, sys.argv[2])
import keras, numpy as np, test_generators as common
from tfseq.layers.key_value_cache import capacity
assert keras.backend.backend() == "jax"
for i, name in enumerate(common.MODELS):
    model = keras.models.load_model(f"{sys.argv[1]}/{i}.keras")
    np.save(f"{sys.argv[1]}/{i}.npy", model(common.inputs(model)))
    with capacity(7):
        np.save(f"{sys.argv[1]}/{i}_steps.npy", common.logits_of_steps(model, common.memory_of(model)))
        if name in common.READ_AT_ONCE:
            logits, _ = common.logits_of_reading(model, common.memory_of(model), [3, 1, 1])
            np.save(f"{sys.argv[1]}/{i}_read.npy", np.stack(logits, axis=1))
        if name == "transformer pre":
            common.test_a_beam_that_goes_on_from_another_has_that_ones_past(name)
"""


def test_jax_gives_the_logits_of_tensorflow(tmp_path, on_jax):
    expected = []
    for i, name in enumerate(MODELS):
        model = made(name)
        model.save(tmp_path / f"{i}.keras")
        expected.append(np.asarray(model(inputs(model))))
    on_jax(ON_JAX, tmp_path, os.path.dirname(__file__))
    for i, logits in enumerate(expected):
        np.testing.assert_allclose(np.load(tmp_path / f"{i}.npy"), logits, atol=2e-5)
        np.testing.assert_allclose(np.load(tmp_path / f"{i}_steps.npy"), logits, atol=2e-5)
        if (tmp_path / f"{i}_read.npy").exists():
            np.testing.assert_allclose(np.load(tmp_path / f"{i}_read.npy"), logits[:, 2:], atol=2e-5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: attention_seq2seq(units=7), "units is 7; expected an even number"),
        (lambda: seq2seq(units=7, bidirectional=True), "units is 7; expected an even number"),
        (lambda: seq2seq(depth=0), "depth is 0; expected at least 1"),
        (lambda: attention_seq2seq(depth=0), "depth is 0; expected at least 1"),
        (lambda: attention_seq2seq(cell="cnn"), "cell is 'cnn'; expected one of"),
        (lambda: attention_seq2seq(alignment="none"), "alignment is 'none'; expected one of"),
        (lambda: transformer(heads=3), "units is 8 and heads 3"),
        (lambda: transformer(decoder_depth=0), "decoder_depth is 0; expected at least 1"),
        (lambda: transformer(source_vocabulary_size=0), "source_vocabulary_size is 0; expected at least 1"),
        (lambda: transformer(norm="layer"), "norm is 'layer'; expected one of pre, post"),
        (lambda: transformer_language_model(positions="none"), "positions is 'none'; expected one of"),
        (lambda: transformer_language_model(units=0), "units is 0; expected at least 1"),
        (lambda: state_space_language_model(states=0), "states is 0; expected at least 1"),
        (lambda: state_space_language_model(window=1), "window is 1; expected at least 2"),
    ],
)
def test_hyper_parameters_that_can_not_be_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
