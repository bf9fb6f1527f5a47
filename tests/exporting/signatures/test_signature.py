"""Forward signatures: names, dtypes, axes and vocabulary sizes of a model's inputs, and the user's sample inputs."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from tfseq.errors import ExportError
from tfseq.exporting import export, verify
from tfseq.exporting.signatures.signature import forward_signature
from tfseq.runtime import load


def inputs(model, samples=None):
    return [str(spec) for spec in forward_signature(model, samples).inputs]


class Tagger(keras.Model):
    def __init__(self):
        super().__init__()
        self.embedding = layers.Embedding(9, 4)
        self.recurrent = layers.LSTM(3, return_sequences=True)

    def call(self, words):
        return self.recurrent(self.embedding(words))


class Scorer(keras.Model):
    """Two arguments: Keras remembers the shape of the first alone."""

    def __init__(self):
        super().__init__()
        self.embedding = layers.Embedding(9, 4)
        self.dense = layers.Dense(4)

    def call(self, picture, words, training=False):
        return {"scores": ops.matmul(self.embedding(words), self.dense(picture)[..., None])}


class Pair(keras.Model):
    def call(self, inputs):
        left, right = inputs if isinstance(inputs, list) else (inputs["left"], inputs["right"])
        return left + ops.mean(right, axis=1, keepdims=True)


def test_what_keras_numbers_is_named_the_same_in_every_program():
    for _ in range(2):
        assert inputs(keras.Sequential([keras.Input((None, 3)), layers.Dense(2)])) == ["input float32 (batch, time, 3)"]


def test_declared_sizes_stay_as_they_are_declared():
    a, b = keras.Input((None,), dtype="int32", name="a"), keras.Input((4, 3), name="b")
    assert inputs(keras.Model([a, b], [a, b])) == ["a int32 (batch, time)", "b float32 (batch, 4, 3)"]
    c = keras.Input((None, 3), name="c")
    assert inputs(keras.Model([a, c], [a, c])) == ["a int32 (batch, a_time)", "c float32 (batch, c_time, 3)"]


def test_outputs_keep_their_order_and_names(tmp_path):
    x = keras.Input((3,), name="x")
    model = keras.Model(x, [layers.Dense(2, name="zebra")(x), layers.Dense(2, name="ape")(x), x])
    assert [spec.name for spec in export(model, tmp_path / "model.onnx").outputs] == ["zebra", "ape", "x_output"]


class Centred(keras.Model):
    def call(self, numbers):
        return numbers - ops.convert_to_tensor([[1.0, 2.0]])


def test_what_is_only_broadcast_is_not_free():
    """One number instead of two would be subtracted from, too."""
    assert inputs(Centred(), np.zeros((3, 2), "float32")) == ["numbers float32 (batch, 2)"]


def test_a_subclassed_model_takes_its_parameter_with_as_many_steps_as_it_can():
    model = Tagger()
    model(np.zeros((1, 5), "int32"))
    assert inputs(model) == ["words int32 (batch, time)"]
    assert forward_signature(model).vocabulary_sizes == {"words": 9}


class Flat(keras.Model):
    def __init__(self):
        super().__init__()
        self.layer = keras.Sequential([layers.Flatten(), layers.Dense(2)])

    def call(self, x):
        return self.layer(x)


def test_sizes_that_a_model_needs_stay_fixed():
    model = Flat()
    model(np.zeros((2, 4, 3)))
    assert inputs(model) == ["x float32 (batch, 4, 3)"]


@pytest.mark.parametrize("keys", [None, ["left", "right"]])
def test_dictionaries_name_inputs_and_lists_number_them(keys):
    arrays = [np.ones((2, 5, 3), "float32"), np.ones((2, 7, 3), "float32")]
    model = Pair()
    model(dict(zip(keys, arrays)) if keys else arrays)
    names = keys or ["input_1", "input_2"]
    assert inputs(model) == [f"{name} float32 (batch, {name}_time, 3)" for name in names]


@pytest.mark.parametrize("by_name", [True, False])
def test_a_model_that_was_never_called_is_called_on_a_sample(tmp_path, by_name):
    words = np.arange(12).reshape(2, 6) % 9
    model = Tagger()
    manifest = export(model, tmp_path / "model.onnx", samples=[{"words": words}] if by_name else words)
    assert manifest.parity["checks"][0]["cases"] == 10
    assert [str(spec) for spec in manifest.inputs] == ["words int32 (batch, time)"]
    assert np.allclose(load(tmp_path / "model.onnx").predict(words), model(words), atol=1e-5)


@pytest.mark.parametrize(
    ("stack", "shape"),
    [
        (lambda: [layers.Embedding(9, 4), layers.GRU(3)], "int32 (batch, time)"),
        (lambda: [layers.Embedding(9, 4), layers.Flatten(), layers.Dense(3)], "int32 (batch, 6)"),
    ],
)
def test_a_sequential_model_without_an_input_is_built_for_a_sample(stack, shape):
    model = keras.Sequential(stack())
    assert inputs(model, [np.zeros((2, 6), "int64")]) == [f"input {shape}"]


@pytest.mark.parametrize("form", [dict, list])
def test_a_model_of_several_arguments_takes_samples_by_name_or_in_order(form, tmp_path):
    sample = {"picture": np.ones((2, 5), "float32"), "words": np.array([[1, 8, 3], [0, 0, 2]])}
    model = Scorer()
    model(*sample.values())
    with pytest.raises(ExportError, match="does not remember what Scorer was called with beside picture"):
        export(model, tmp_path / "model.onnx")
    manifest = export(model, tmp_path / "model.onnx", samples=[sample if form is dict else list(sample.values())])
    assert [str(spec) for spec in manifest.inputs] == ["picture float32 (batch, 5)", "words int32 (batch, time)"]
    assert [spec.name for spec in manifest.outputs] == ["scores"]
    assert manifest.parity["passed"]


def test_a_file_tells_what_its_model_is_called_with(tmp_path):
    sample = {"picture": np.ones((2, 5), "float32"), "words": np.array([[1, 8, 3], [0, 0, 2]])}
    model, loaded = Scorer(), Scorer()
    export(model, tmp_path / "model.onnx", samples=[sample])
    for one in (loaded, model):
        one(*sample.values())
    loaded.set_weights(model.get_weights())
    assert verify(tmp_path / "model.onnx", loaded).passed


@pytest.mark.parametrize(
    ("sample", "message"),
    [
        (np.zeros((2, 6, 1)), r"has shape \(2, 6, 1\); expected words int32 \(batch, time\)"),
        (np.full((2, 6), 0.5), "holds fractions"),
        ([np.zeros((2, 6)), np.zeros((2, 7))], None),
        ([[np.zeros((2, 6)), np.zeros((2, 6))]], "has 2 arrays; expected 1"),
    ],
)
def test_samples_that_do_not_fit_are_refused_before_the_work(sample, message, tmp_path):
    model = Tagger()
    model(np.zeros((1, 5), "int32"))
    if message is None:
        assert export(model, tmp_path / "model.onnx", samples=sample).parity["checks"][0]["cases"] == 11
        return
    with pytest.raises(ExportError, match=message):
        export(model, tmp_path / "model.onnx", samples=sample)


def test_a_sample_that_the_model_does_not_take_is_said():
    with pytest.raises(ExportError, match="can't be called on the sample"):
        forward_signature(Scorer(), [{"picture": np.zeros((2, 5)), "words": np.full((2, 3), 99)}])
    with pytest.raises(ExportError, match="takes picture, words; the sample has picture"):
        forward_signature(Scorer(), [{"picture": np.zeros((2, 5))}])


def test_vocabulary_sizes_are_found_through_slices_and_one_hot_vectors():
    words = keras.Input((None,), dtype="int32", name="words")
    kind = keras.Input((2,), dtype="int32", name="kind")
    count = keras.Input((), dtype="int32", name="count")
    x = layers.Embedding(9, 4)(words[:, :-1])
    outputs = [x, ops.one_hot(kind[:, 0], 5), layers.Embedding(7, 2)(kind), ops.cast(count, "float32") / 2]
    model = keras.Model([words, kind, count], outputs)
    assert forward_signature(model).vocabulary_sizes == {"words": 9, "kind": 5}
