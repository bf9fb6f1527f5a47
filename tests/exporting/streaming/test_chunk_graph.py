"""Chunk graphs: chunk after chunk gives what Keras gives over the whole sequence."""

import keras
import numpy as np
import pytest
from keras import layers

from tfseq.errors import ExportError, InputError
from tfseq.exporting import export, verify
from tfseq.models import Generator, RecurrentLanguageModel
from tfseq.runtime import load

CHUNKS = (1, 3, 2, 7)


def sequential(*stack, shape=(None, 3), dtype="float32", batch_size=None):
    keras.utils.set_random_seed(3)
    return keras.Sequential([keras.Input(shape, batch_size=batch_size, dtype=dtype, name="x"), *stack])


def in_chunks(path, x):
    stream = load(path).stream()
    ends = np.cumsum(CHUNKS)
    return [stream.predict(x[:, end - chunk : end]) for chunk, end in zip(CHUNKS, ends)]


def numbers():
    return np.random.default_rng(0).normal(size=(2, sum(CHUNKS), 3)).astype("float32")


def test_chunk_after_chunk_equals_the_whole_sequence(tmp_path):
    stack = [layers.LSTM(4, return_sequences=True), layers.GRU(5, return_sequences=True), layers.SimpleRNN(3)]
    model = sequential(*stack, layers.Dense(2))
    manifest = export(model, tmp_path / "model.onnx", streaming=True)
    x = numbers()
    outputs = in_chunks(tmp_path / "model.onnx", x)
    for output, end in zip(outputs, np.cumsum(CHUNKS)):
        assert np.allclose(output, model(x[:, :end]), atol=1e-5)
    names = [state.input for state in manifest.states]
    assert names == [spec.name for spec in manifest.inputs[1:]]
    assert [name.split("_")[-1] for name in names] == ["h", "c", "h", "h"]
    assert [state.output for state in manifest.states] == [f"{name}_next" for name in names]
    assert [state.initial for state in manifest.states] == [0, 0, 0, 0]
    assert manifest.operators.keys() >= {"LSTM", "GRU"}
    assert "Loop" not in manifest.operators
    assert verify(tmp_path / "model.onnx", model).passed


@pytest.mark.parametrize("batch_size", [None, 4])
def test_sizes_that_a_model_was_built_for_are_free_in_a_stream(tmp_path, batch_size):
    model = sequential(layers.LSTM(4, return_sequences=True), shape=(6, 3), batch_size=batch_size)
    manifest = export(model, tmp_path / "model.onnx", streaming=True)
    assert str(manifest.inputs[0]) == "x float32 (batch, time, 3)"
    free = keras.Sequential([keras.Input((None, 3)), layers.LSTM(4, return_sequences=True)])
    free.set_weights(model.get_weights())
    x = numbers()
    assert np.allclose(np.concatenate(in_chunks(tmp_path / "model.onnx", x), axis=1), free(x), atol=1e-5)


def test_a_stateful_model_streams_without_being_asked(tmp_path):
    model = sequential(layers.GRU(4, return_sequences=True, stateful=True), batch_size=2)
    manifest = export(model, tmp_path / "model.onnx")
    assert len(manifest.states) == 1
    assert "stateful" in manifest.notes[0]
    x = numbers()
    model(x[:, :5])  # what the model itself has read since does not matter
    outputs = in_chunks(tmp_path / "model.onnx", x)
    model.layers[0].reset_state()
    for output, end, chunk in zip(outputs, np.cumsum(CHUNKS), CHUNKS):
        assert np.allclose(output, model(x[:, end - chunk : end]), atol=1e-5)
    assert model.layers[0].stateful


def test_masked_steps_between_chunks_repeat_the_output_before_them(tmp_path):
    embedding = layers.Embedding(5, 4, mask_zero=True)
    model = sequential(embedding, layers.RNN([layers.GRUCell(3), layers.LSTMCell(4)]), shape=(None,), dtype="int32")
    export(model, tmp_path / "model.onnx", streaming=True)
    tokens = np.array([[0, 0, 0, 0, 0, 0, 3, 1, 0, 2, 0, 0, 0], [4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]])
    for output, end in zip(in_chunks(tmp_path / "model.onnx", tokens), np.cumsum(CHUNKS)):
        assert np.allclose(output, model(tokens[:, :end]), atol=1e-5)


def test_causal_convolutions_keep_the_steps_they_look_back_on(tmp_path):
    convolution = layers.Conv1D(4, 3, padding="causal", dilation_rate=2, activation="relu")
    model = sequential(convolution, layers.GRU(3, return_sequences=True))
    manifest = export(model, tmp_path / "model.onnx", streaming=True)
    assert manifest.inputs[1].shape == ("batch", 4, 3)
    x = numbers()
    assert np.allclose(np.concatenate(in_chunks(tmp_path / "model.onnx", x), axis=1), model(x), atol=1e-5)


def test_a_layer_used_twice_has_two_states(tmp_path):
    left, right = keras.Input((None, 3), name="left"), keras.Input((None, 3), name="right")
    encoder = layers.GRU(4, name="encoder")
    model = keras.Model([left, right], layers.Subtract()([encoder(left), encoder(right)]))
    manifest = export(model, tmp_path / "model.onnx", streaming=True)
    assert [state.input for state in manifest.states] == ["encoder_h", "encoder_2_h"]


def test_a_language_model_starts_from_its_learned_state(tmp_path):
    keras.utils.set_random_seed(0)
    model = RecurrentLanguageModel(7, 4, depth=2, cell="gru", initial_state="random")
    model.build()
    manifest = export(model, tmp_path / "model.onnx", streaming=True)
    assert np.allclose(manifest.states[0].initial, model.h0[0][0])
    tokens = np.random.default_rng(0).integers(0, 7, (2, sum(CHUNKS)))
    assert np.allclose(np.concatenate(in_chunks(tmp_path / "model.onnx", tokens), axis=1), model(tokens), atol=1e-5)


class Counter(Generator):
    """Scores the number of times that each token was read."""

    vocabulary_size = 4

    def call(self, tokens, training=False):
        return keras.ops.cumsum(keras.ops.one_hot(tokens, 4), axis=1)

    def initial_state(self, memory, batch_size):
        return keras.ops.zeros((batch_size, 4))

    def step(self, tokens, state, memory=()):
        state = state + keras.ops.one_hot(tokens, 4)
        return state, state


def test_a_generator_without_recurrent_layers_streams_by_its_step(tmp_path):
    model = Counter()
    model.built = True
    export(model, tmp_path / "model.onnx", streaming=True)
    stream = load(tmp_path / "model.onnx").stream()
    assert stream.predict([[1, 1]]).tolist() == [[[0, 1, 0, 0], [0, 2, 0, 0]]]
    assert stream.predict([[3]]).tolist() == [[[0, 2, 0, 1]]]


def test_a_saved_model_streams_too(tmp_path):
    model = sequential(layers.LSTM(4))
    manifest = export(model, tmp_path / "saved", streaming=True)
    assert manifest.parity["passed"]
    assert manifest.inputs[0].name == "x"
    assert verify(tmp_path / "saved", model).passed


def decoder_that_starts_from_an_encoder():
    x = keras.Input((None, 3))
    _, *states = layers.LSTM(4, return_state=True)(x)
    return keras.Model(x, layers.LSTM(4, return_sequences=True)(x, initial_state=states))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lambda: sequential(layers.Bidirectional(layers.LSTM(2))), "is bidirectional"),
        (lambda: sequential(layers.GRU(2, go_backwards=True)), "reads backwards"),
        (lambda: sequential(layers.Dense(2)), "no recurrent layer"),
        (decoder_that_starts_from_an_encoder, "starts from what the model computes"),
        (lambda: sequential(layers.GRU(2, return_sequences=True), layers.GlobalMaxPooling1D()), "GlobalMaxPooling1D"),
        (lambda: sequential(layers.Conv1D(2, 3, name="c", padding="same"), layers.GRU(2)), r"c \(Conv1D\)"),
        (lambda: sequential(layers.Conv1D(2, 3), layers.GRU(2)), r"\(Conv1D\)"),
    ],
)
def test_what_needs_later_steps_is_refused(model, message, tmp_path):
    with pytest.raises(ExportError, match=message):
        export(model(), tmp_path / "model.onnx", streaming=True)
    assert not list(tmp_path.iterdir())


def test_a_stateful_model_can_be_exported_for_whole_sequences(tmp_path):
    model = sequential(layers.GRU(4, stateful=True), batch_size=2)
    manifest = export(model, tmp_path / "model.onnx", streaming=False)
    assert manifest.states == ()
    with pytest.raises(InputError, match="streaming=True"):
        load(tmp_path / "model.onnx").stream()
