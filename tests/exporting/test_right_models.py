"""Right models of every size and kind of input export: the gate tries them on what they take."""

import keras
import numpy as np
import onnx
import pytest
import tensorflow as tf
from keras import layers, ops

from tfseq.errors import ExportError, ParityError
from tfseq.exporting import export, quantize, verify
from tfseq.runtime import load

RANDOM = np.random.default_rng(7)


def drawn(low, high, count, seed):
    return sorted({int(n) for n in np.random.default_rng(seed).integers(low, high + 1, count)} | {low, high})


class Positions(layers.Layer):
    """Adds a table of positions: its first rows, rows by index, or all of it."""

    def __init__(self, count, how):
        super().__init__()
        self.count, self.how = count, how

    def build(self, shape):
        self.table = self.add_weight(shape=(self.count, shape[-1]), initializer="normal")

    def call(self, x):
        if self.how == "all":
            return x + self.table
        steps = ops.shape(x)[1]
        return x + (self.table[:steps] if self.how == "slice" else ops.take(self.table, ops.arange(steps), axis=0))

    def compute_output_shape(self, shape):
        return shape


class Applied(layers.Layer):
    """A function of tensors as a layer, which gives (batch, ...) of a shape."""

    def __init__(self, function, *shape, dtype="float32"):
        super().__init__()
        self.function, self.shape, self.dtype_ = function, shape, dtype

    def call(self, *tensors):
        return self.function(*tensors)

    def compute_output_spec(self, *tensors):
        return keras.KerasTensor((tensors[0].shape[0], *self.shape), self.dtype_)


def integers(name, *shape):
    return keras.Input(shape, dtype="int32", name=name)


def exported(model, path, **options):
    """The manifest; the file gives what Keras gives."""
    manifest = export(model, path, **options)
    assert manifest.parity["passed"]
    return manifest


def agree(path, model, *arrays):
    expected = model([*arrays] if len(arrays) > 1 else arrays[0])
    np.testing.assert_allclose(load(path).predict(*arrays), expected, atol=1e-5)


@pytest.mark.parametrize("count", drawn(2, 40, 5, seed=1))
@pytest.mark.parametrize("how", ["slice", "take"])
def test_a_table_of_positions_bounds_the_lengths(count, how, tmp_path):
    words = integers("words", None)
    x = Positions(count, how)(layers.Embedding(11, 4)(words))
    model = keras.Model(words, layers.Dense(3)(layers.MultiHeadAttention(1, 4)(x, x)))
    manifest = exported(model, tmp_path / "model.onnx")
    assert [spec.shape for spec in (*manifest.inputs, *manifest.outputs)] == [("batch", "time"), ("batch", "time", 3)]
    for length in {1, (count + 1) // 2, count}:
        agree(tmp_path / "model.onnx", model, RANDOM.integers(0, 11, (2, length)).astype("int32"))
    assert f", {count}" in manifest.parity["checks"][0]["on"]  # the last position was read


@pytest.mark.parametrize(("source", "target"), [(20, 20), (7, 33), (40, 3)])
def test_encoder_and_decoder_have_tables_of_their_own(source, target, tmp_path):
    s, t = integers("source", None), integers("target", None)
    memory = Positions(source, "take")(layers.Embedding(9, 4)(s))
    x = Positions(target, "slice")(layers.Embedding(9, 4)(t))
    model = keras.Model([s, t], layers.Dense(9)(layers.MultiHeadAttention(1, 4)(x, memory)))
    manifest = exported(model, tmp_path / "model.onnx")
    assert manifest.outputs[0].shape == ("batch", "target_time", 9)


@pytest.mark.parametrize("count", drawn(2, 230, 3, seed=2))
def test_a_free_axis_may_have_a_single_length(count, tmp_path):
    x = keras.Input((None, 4), name="x")
    model = keras.Model(x, layers.Dense(2)(Positions(count, "all")(x)))
    manifest = exported(model, tmp_path / "model.onnx")
    assert str(count) in manifest.parity["checks"][0]["on"]
    agree(tmp_path / "model.onnx", model, RANDOM.normal(size=(2, count, 4)).astype("float32"))


@pytest.mark.parametrize("shortest", drawn(1, 200, 5, seed=3))
def test_a_model_may_need_a_least_number_of_steps(shortest, tmp_path):
    x = keras.Input((None, 3), name="x")
    model = keras.Model(x, layers.Dense(2)(layers.Conv1D(4, shortest)(x)))
    manifest = exported(model, tmp_path / "model.onnx")
    assert manifest.outputs[0].shape[0] == "batch"
    assert isinstance(manifest.outputs[0].shape[1], str)
    assert manifest.outputs[0].shape[1] != "batch"
    agree(tmp_path / "model.onnx", model, RANDOM.normal(size=(2, shortest + 3, 3)).astype("float32"))


def test_pooled_convolutions_may_need_many_steps(tmp_path):
    stack = [layers.Conv1D(4, 5), layers.MaxPooling1D(5), layers.Conv1D(4, 5), layers.MaxPooling1D(5)]
    model = keras.Sequential([keras.Input((None, 3)), *stack, layers.Conv1D(4, 5), layers.GlobalMaxPooling1D()])
    assert exported(model, tmp_path / "model.onnx").outputs[0].shape == ("batch", 4)


@pytest.mark.parametrize("strides", [3, 4, 50])
@pytest.mark.parametrize("padding", ["valid", "same"])
def test_convolutions_of_large_steps_have_an_axis_of_their_own(strides, padding, tmp_path):
    x = keras.Input((None, 2), name="x")
    y = x
    for _ in range(2):
        y = layers.Conv1D(4, max(5, strides), strides=strides, padding=padding)(y)
    model = keras.Model(x, layers.Dense(3, name="y")(y))
    assert exported(model, tmp_path / "model.onnx").outputs[0].shape == ("batch", "y_axis_1", 3)
    agree(tmp_path / "model.onnx", model, RANDOM.normal(size=(1, 5 * strides**2, 2)).astype("float32"))


@pytest.mark.parametrize("size", drawn(2, 60, 3, seed=4))
def test_steps_may_come_in_patches(size, tmp_path):
    x = keras.Input((None, 3), name="x")
    patches = Applied(lambda x: ops.reshape(x, (ops.shape(x)[0], -1, size * 3)), None, size * 3)(x)
    model = keras.Model(x, layers.Dense(2)(patches))
    exported(model, tmp_path / "model.onnx")
    agree(tmp_path / "model.onnx", model, RANDOM.normal(size=(2, 3 * size, 3)).astype("float32"))


def test_two_axes_that_always_go_together_in_patches_keep_their_names(tmp_path):
    image = keras.Input((None, None, 3), name="image")
    half = layers.Conv2D(4, 3, strides=2, padding="same")(image)
    model = keras.Model(image, layers.Concatenate()([layers.UpSampling2D()(half), image]))
    manifest = exported(model, tmp_path / "model.onnx")
    assert manifest.outputs[0].shape == ("batch", "axis_1", "axis_2", 7)


@pytest.mark.parametrize("shape", [(2, 4), (1, 20, 3), (5, 3, 2), (3, 1, 1, 4)])
@pytest.mark.parametrize("file", ["model.onnx", "saved"])
def test_what_a_model_declares_is_fixed_in_the_file(shape, file, tmp_path):
    x = keras.Input(batch_shape=shape, name="x")
    model = keras.Model(x, layers.Dense(2, name="y")(ops.reshape(x, (1, -1, shape[-1]))))
    manifest = exported(model, tmp_path / file)
    rows = int(np.prod(shape[:-1]))
    assert [spec.shape for spec in (*manifest.inputs, *manifest.outputs)] == [shape, (1, rows, 2)]
    if file == "model.onnx":
        graph = onnx.load(tmp_path / file).graph
        assert tuple(d.dim_value for d in graph.input[0].type.tensor_type.shape.dim) == shape
        agree(tmp_path / file, model, RANDOM.normal(size=shape).astype("float32"))


def test_a_fixed_batch_leaves_a_free_time_free(tmp_path):
    model = keras.Sequential([keras.Input(batch_shape=(3, None, 4)), layers.GRU(2, return_sequences=True)])
    manifest = exported(model, tmp_path / "model.onnx")
    assert (manifest.inputs[0].shape, manifest.outputs[0].shape) == ((3, "time", 4), (3, "time", 2))


class Subclassed(keras.Model):
    def __init__(self, batch):
        super().__init__()
        self.batch, self.dense = batch, layers.Dense(2)

    def call(self, x):
        return self.dense(ops.reshape(x, (self.batch, 12)))


@pytest.mark.parametrize("batch", drawn(2, 9, 2, seed=5))
@pytest.mark.parametrize("called", [True, False])
def test_a_subclassed_model_keeps_the_only_batch_that_it_takes(batch, called, tmp_path):
    model, x = Subclassed(batch), np.ones((batch, 4, 3), "float32")
    if called:
        model(x)
    manifest = exported(model, tmp_path / "model.onnx", samples=[] if called else [x])
    assert manifest.inputs[0].shape[0] == manifest.outputs[0].shape[0] == batch


@pytest.mark.parametrize("shape", [(1, 20), (None, None)])
def test_sizes_are_fixed_and_freed_by_a_twin_of_another_input(shape, tmp_path):
    words = keras.Input(batch_shape=(4, 7), dtype="int32", name="words")
    model = keras.Model(words, layers.LSTM(3)(layers.Embedding(5, 4)(words)))
    other = keras.Input(batch_shape=shape, dtype="int32", name="words")
    twin = keras.models.clone_model(model, input_tensors=other)
    twin.set_weights(model.get_weights())
    named = tuple(size or name for size, name in zip(shape, ("batch", "time")))
    assert exported(twin, tmp_path / "model.onnx").inputs[0].shape == named


def test_a_subclassed_model_is_fixed_by_calling_it_on_an_input(tmp_path):
    x = keras.Input(batch_shape=(3, 4, 3), name="x")
    assert exported(keras.Model(x, Subclassed(3)(x)), tmp_path / "model.onnx").inputs[0].shape == (3, 4, 3)


WHOLE_NUMBERS = {
    "remainder": lambda x, n, m: (n % m)[:, None],
    "quotient": lambda x, n, m: (n // (m * (m + 1)))[:, None],
    "both ways": lambda x, n, m: (n % m + m // n)[:, None],
    "lengths": lambda x, n, m: tf.reverse_sequence(x, n, seq_axis=1),
    "ragged rows": lambda x, n, m: tf.reduce_max(tf.RaggedTensor.from_tensor(x, lengths=n).to_tensor(), axis=1),
    "ragged means": lambda x, n, m: tf.reduce_mean(tf.RaggedTensor.from_tensor(x, lengths=n), axis=1),
    "the last step": lambda x, n, m: tf.gather(x, n - 1, batch_dims=1),
    "steps by index": lambda x, n, m: tf.gather(x, n, batch_dims=1),
    "a length and a divisor": lambda x, n, m: tf.reverse_sequence(x, n // (m // m), seq_axis=1),
    "months": lambda x, n, m: tf.gather(tf.eye(12), n - 1),
}


@pytest.mark.parametrize("use", WHOLE_NUMBERS)
@pytest.mark.parametrize("time", [None, 2, 9])
def test_integers_may_divide_count_and_index(use, time, tmp_path):
    x, n, m = keras.Input((time, 3), name="x"), integers("n"), integers("m")
    whole = use in ("remainder", "quotient", "both ways")
    function = WHOLE_NUMBERS[use]
    shape = tuple(None if size is None else int(size) for size in _shape_of(function, time))
    model = keras.Model([x, n, m], Applied(function, *shape, dtype="int32" if whole else "float32")(x, n, m))
    exported(model, tmp_path / "model.onnx")
    export(model, tmp_path / "model.onnx", verify=False)
    values = RANDOM.normal(size=(4, time or 6, 3)).astype("float32")
    agree(tmp_path / "model.onnx", model, values, np.array([1, 1, 1, 1], "int32"), np.array([1, 2, 3, 2], "int32"))


def _shape_of(function, time):
    ones = np.ones(2, "int32")
    shape = function(tf.zeros((2, time or 5, 3)), tf.constant(ones), tf.constant(ones)).shape[1:]
    return [None if time is None and size == 5 else size for size in shape]


def year(y):
    return tf.gather(tf.eye(30), y - 1990)


def years():
    y = integers("year")
    return keras.Model(y, layers.Identity(name="one_hot")(Applied(year, 30)(y)))


def test_what_random_inputs_can_not_be_is_verified_on_samples(tmp_path):
    told = r'takes none of the random inputs.*-19\d\d.*samples=\[\.\.\.\], with verify="samples"'
    with pytest.raises(ExportError, match=told):
        export(years(), tmp_path / "model.onnx")
    assert export(years(), tmp_path / "model.onnx", verify=False).parity is None
    samples = [np.array([1991, 2003, 2019], "int32")]
    for how in (True, "samples"):
        manifest = exported(years(), tmp_path / "model.onnx", samples=samples, verify=how)
        assert manifest.outputs[0].shape == ("batch", 30)
    assert manifest.parity["checks"][0]["on"] == "1 of samples"
    agree(tmp_path / "model.onnx", years(), samples[0])
    assert verify(tmp_path / "model.onnx", years(), samples, random=False).passed


class Calendar(keras.Model):
    """Right for the years from 1990 on; before, it counts its calls, which no graph does."""

    calls = 0

    def call(self, y):
        self.calls += 1
        return ops.where(y < 1990, float(self.calls), ops.cast(y - 1990, "float32"))


def test_verifying_on_samples_alone_leaves_out_what_random_inputs_would_find(tmp_path):
    model, samples = Calendar(), [np.array([[1991, 2003]], "int32")]
    with pytest.raises(ParityError, match='verify="samples"') as raised:
        export(model, tmp_path / "model.onnx", samples=[np.array([[1991, 1003]], "int32")])
    assert ".new" not in str(raised.value)
    assert exported(Calendar(), tmp_path / "model.onnx", samples=samples, verify="samples").parity["passed"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"verify": "samples"}, "give some, samples="),
        ({"verify": "yes"}, "verify is 'yes'; expected True, False or \"samples\""),
        ({"samples": [np.array([3], "int32")]}, "does not take the sample: .*-1987"),
    ],
)
def test_how_to_verify_is_checked(options, message, tmp_path):
    with pytest.raises(ExportError, match=message):
        export(years(), tmp_path / "model.onnx", **options)
    assert not list(tmp_path.iterdir())


def test_samples_bound_the_lengths_that_are_tried(tmp_path):
    lengths = []

    def noted(x):
        if isinstance(x.shape[1], int):
            lengths.append(x.shape[1])
        return x

    x = keras.Input((None, 3), name="x")
    model = keras.Model(x, layers.LSTM(2)(Applied(noted, None, 3)(x)))
    exported(model, tmp_path / "model.onnx", samples=[np.ones((2, 7, 3), "float32"), np.ones((1, 4, 3), "float32")])
    assert max(lengths) <= 8


def test_a_slow_model_is_tried_on_fewer_inputs(tmp_path, monkeypatch):
    from tfseq.exporting.signatures import accepted_inputs

    monkeypatch.setattr(accepted_inputs, "SECONDS", 0.0)
    x = keras.Input((None, 3), name="x")
    manifest = exported(keras.Model(x, layers.Dense(2)(x)), tmp_path / "model.onnx")
    assert manifest.parity["checks"][0]["on"] == "1 random; batch 1; time 1"


class Broken(keras.Model):
    def call(self, x):
        raise RuntimeError("a wrong turn")


def test_only_export_errors_leave_and_none_names_a_temporary_file(tmp_path, monkeypatch):
    from tfseq.runtime.session import Session

    x = keras.Input((3,), name="x")
    model = keras.Model(x, layers.Dense(2)(x))
    for error in (ValueError, KeyError, MemoryError, RuntimeError):

        def fails(self, path, *_, error=error):
            raise error(f"no room for {path}")

        monkeypatch.setattr(Session, "__init__", fails)
        with pytest.raises(ExportError) as raised:
            export(model, tmp_path / "model.onnx")
        told: BaseException | None = raised.value
        while told is not None:
            assert ".new" not in str(told)
            told = told.__cause__
    with pytest.raises(ExportError):
        export(Broken(), tmp_path / "model.onnx", samples=[np.ones((1, 2), "float32")])


@pytest.mark.parametrize("shape", [(1, 1, 16), (3, 1, 2), (2, 5, 3)])
def test_a_stateful_model_streams_in_chunks_of_the_sizes_that_it_declares(shape, tmp_path):
    x = keras.Input(batch_shape=shape, name="x")
    y = layers.LayerNormalization(axis=[1, 2])(x)
    y = layers.GRU(3, return_sequences=True, stateful=True)(layers.Conv1D(4, 3, padding="same")(y))
    model = keras.Model(x, layers.Dense(2, name="y")(y))
    manifest = exported(model, tmp_path / "model.onnx")
    assert [spec.shape for spec in manifest.inputs] == [shape, (shape[0], 3)]
    stream = load(tmp_path / "model.onnx").stream()
    chunks = RANDOM.normal(size=(4, *shape)).astype("float32")
    for chunk in chunks:  # Keras keeps its own states
        np.testing.assert_allclose(stream.predict(chunk), model(chunk), atol=1e-5)
    assert verify(tmp_path / "model.onnx", model, chunks[0]).passed
    np.testing.assert_allclose(stream.predict(chunks[0]), model(chunks[0]), atol=1e-5)  # which left its states alone


@pytest.mark.parametrize("count", [5, 20])
def test_quantizing_measures_on_lengths_that_the_file_takes(count, tmp_path):
    words = integers("words", None)
    x = layers.Embedding(11, 64)(words)
    model = keras.Model(words, layers.Dense(64)(Positions(count, "slice")(x)))
    exported(model, tmp_path / "model.onnx")
    manifest = quantize(tmp_path / "model.onnx", tmp_path / "small.onnx", to="float16", tolerance=1.0)
    assert manifest.quantization["to"] == "float16"


class Filter(keras.Model):
    def __init__(self, length=40, **kwargs):
        super().__init__(**kwargs)
        self.convolution = layers.Conv1D(2, length)

    def call(self, x, words):
        return self.convolution(x) * ops.cast(words, "float32")[:, None, None]

    def build(self, *shapes):
        self.convolution.build((None, None, 3))
        self.built = True


def test_a_loaded_model_that_needs_many_steps_is_verified(tmp_path):
    sample = {"x": np.ones((2, 45, 3), "float32"), "words": np.array([3, 4], "int32")}
    model = Filter()
    exported(model, tmp_path / "model.onnx", samples=[sample])
    again = Filter()
    again.build()
    again.set_weights(model.get_weights())
    assert verify(tmp_path / "model.onnx", again).passed
