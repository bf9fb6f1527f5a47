"""Random stacks of layers: ONNX gives what Keras gives."""

import keras
import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from keras import layers, ops

from tfseq.exporting import export
from tfseq.runtime import load

VOCABULARY_SIZE = 7

units = st.integers(1, 5)
smooth = st.sampled_from(["tanh", "sigmoid", "relu", "hard_sigmoid", "linear"])
gates = st.sampled_from(["sigmoid", "hard_sigmoid"])


@st.composite
def recurrent(draw, return_sequences=True, **fixed):
    kind = draw(st.sampled_from([layers.LSTM, layers.GRU, layers.SimpleRNN]))
    options = {"use_bias": draw(st.booleans()), "activation": draw(smooth), "return_sequences": return_sequences}
    if kind is not layers.SimpleRNN:
        options["recurrent_activation"] = draw(gates)
    if kind is layers.GRU:
        options["reset_after"] = draw(st.booleans())
    if return_sequences:
        options["zero_output_for_mask"] = draw(st.booleans())
    return kind(draw(units), **options, **fixed)


@st.composite
def bidirectional(draw):
    mode = draw(st.sampled_from(["concat", "sum", "mul", "ave"]))
    return layers.Bidirectional(draw(recurrent()), merge_mode=mode)


@st.composite
def convolution(draw):
    padding = draw(st.sampled_from(["same", "causal"]))
    width, dilation = draw(st.integers(1, 3)), draw(st.integers(1, 2))
    return layers.Conv1D(draw(units), width, padding=padding, dilation_rate=dilation, activation=draw(smooth))


class SelfAttention(layers.Layer):
    def __init__(self, heads, causal):
        super().__init__()
        self.supports_masking = True
        self.attention = layers.MultiHeadAttention(heads, 3)
        self.causal = causal

    def call(self, x):
        return x + self.attention(x, x, use_causal_mask=self.causal)


steps = st.one_of(
    units.map(lambda n: layers.Dense(n, activation="gelu")),
    convolution(),
    recurrent(),
    st.booleans().flatmap(lambda backwards: recurrent(go_backwards=backwards)),
    bidirectional(),
    st.builds(lambda: layers.LayerNormalization()),
    st.builds(SelfAttention, st.integers(1, 2), st.booleans()),
    st.builds(lambda: layers.MaxPooling1D(2, padding="same")),
    st.builds(lambda: layers.TimeDistributed(layers.Dense(3))),
)
ends = st.one_of(
    st.none(),
    recurrent(return_sequences=False),
    st.builds(lambda: layers.GlobalAveragePooling1D()),
    st.builds(lambda: layers.GlobalMaxPooling1D()),
)


@st.composite
def models(draw):
    """A model, and inputs with padding and holes for it."""
    keras.utils.set_random_seed(draw(st.integers(0, 99)))
    time = draw(st.sampled_from([None, 6]))
    masked = draw(st.booleans())
    random = np.random.default_rng(draw(st.integers(0, 99)))
    if draw(st.booleans()):
        source = keras.Input((time,), dtype="int32", name="x")
        x = layers.Embedding(VOCABULARY_SIZE, draw(units), mask_zero=masked)(source)
        values = random.integers(0, VOCABULARY_SIZE, (3, 6))
    else:
        source = keras.Input((time, 3), name="x")
        x = layers.Masking()(source) if masked else source
        values = random.normal(size=(3, 6, 3)).astype("float32")
    values[0, 4:] = values[1, 2] = 0
    for layer in draw(st.lists(steps, min_size=1, max_size=3)):
        x = layer(x)
    end = draw(ends)
    model = keras.Model(source, x if end is None else end(x))
    for weight in model.trainable_weights:
        weight.assign(weight + 0.2 * random.normal(size=weight.shape))
    return model, values


@settings(max_examples=12, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck), database=None)
@given(models())
def test_any_stack_of_layers_gives_the_same_in_onnx(tmp_path_factory, drawn):
    model, values = drawn
    path = tmp_path_factory.mktemp("random") / "model.onnx"
    manifest = export(model, path)
    assert manifest.parity["passed"]
    expected = ops.convert_to_numpy(model(values, training=False))
    np.testing.assert_allclose(load(path).predict(values), expected, atol=1e-4, rtol=1e-4)
