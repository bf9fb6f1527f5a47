"""Recurrent layers come out as recurrent operators, and give what Keras gives eagerly."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import onnxruntime
import pytest
import tensorflow as tf
from keras import layers

from tfseq.exporting.conversion.convert import to_onnx
from tfseq.exporting.rewriting import count_operators
from tfseq.models import RecurrentLanguageModel
from tfseq.runtime.manifest import TensorSpec

BATCH, TIME, WIDTH, UNITS = 5, 6, 3, 4
KINDS = {"LSTM": layers.LSTM, "GRU": layers.GRU, "Scan": layers.SimpleRNN}  # by the operator expected
LOOPS = {"Loop", "If"}
RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(BATCH, TIME, WIDTH)).astype("float32")
H = RANDOM.normal(size=(BATCH, UNITS)).astype("float32")
MASK = np.array(
    [
        [1, 1, 1, 1, 1, 1],  # all steps
        [1, 1, 1, 0, 0, 0],  # padded on the right
        [0, 0, 1, 1, 1, 1],  # on the left
        [0, 1, 0, 1, 0, 0],  # with holes
        [0, 0, 0, 0, 0, 0],  # nothing
    ],
    bool,
)
SPECS = {
    "x": TensorSpec("x", "float32", ("batch", "time", WIDTH)),
    "h": TensorSpec("h", "float32", ("batch", UNITS)),
    "mask": TensorSpec("mask", "bool", ("batch", "time")),
}
FEEDS = {"x": X, "h": H, "mask": MASK}


def with_random_weights(layer, shape=(None, None, WIDTH)):
    layer.build(shape)
    for weight in layer.weights:
        if "seed" not in weight.path:
            weight.assign(RANDOM.normal(size=weight.shape) / 2)
    return layer


def flat(outputs, prefix="y"):
    return {f"{prefix}{i}": tensor for i, tensor in enumerate(keras.tree.flatten(outputs))}


def exported(function, feeds, specs=None, opset=18):
    """Checks that ONNX Runtime gives what `function` gives. Returns the operators' counts and the notes."""
    notes: list[str] = []
    specs = specs or [SPECS[name] for name in feeds]
    model = to_onnx(function, specs, opset, notes)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    names = [output.name for output in session.get_outputs()]
    expected = function(**{name: tf.constant(array) for name, array in feeds.items()})
    assert sorted(names) == sorted(expected)
    for name, got in zip(names, session.run(names, feeds)):
        np.testing.assert_allclose(got, expected[name], atol=1e-5, err_msg=name)
    return count_operators(model.graph), notes


def states_for(kind, h):
    return [h, 0.5 * h] if kind is layers.LSTM else [h]


@pytest.mark.parametrize("masked", [False, True], ids=["unmasked", "masked"])
@pytest.mark.parametrize("operator", KINDS)
def test_sequences_states_directions_and_masks(operator, masked):
    kind = KINDS[operator]
    cases = [
        (with_random_weights(kind(UNITS, return_sequences=sequences, return_state=True, go_backwards=backwards)), given)
        for sequences in (False, True)
        for backwards in (False, True)
        for given in (False, True)
    ]

    def function(x, h, mask=None):
        outputs = {}
        for i, (layer, given) in enumerate(cases):
            first = states_for(kind, h) if given else None
            outputs |= flat(layer(x, initial_state=first, mask=mask), f"case{i}_")
        return outputs

    operators, notes = exported(function, {name: FEEDS[name] for name in ("x", "h", "mask")[: 2 + masked]})
    assert operators[operator] == len(cases)
    assert not LOOPS & operators.keys()
    assert not notes


@pytest.mark.parametrize("masked", [False, True], ids=["unmasked", "masked"])
@pytest.mark.parametrize("operator", KINDS)
def test_a_bidirectional_layer_is_one_operator_whatever_its_merge(operator, masked):
    kind = KINDS[operator]
    cases = [
        (with_random_weights(layers.Bidirectional(kind(UNITS, **options), merge_mode=merge)), merge in ("sum", None))
        for merge in ("concat", "sum", "ave", "mul", None)
        for options in ({"return_state": True}, {"return_sequences": True, "return_state": True})
    ]

    def function(x, h, mask=None):
        outputs = {}
        for i, (layer, given) in enumerate(cases):
            first = [*states_for(kind, h), *states_for(kind, 2 * h)] if given else None
            outputs |= flat(layer(x, initial_state=first, mask=mask), f"case{i}_")
        return outputs

    operators, notes = exported(function, {name: FEEDS[name] for name in ("x", "h", "mask")[: 2 + masked]})
    assert operators[operator] == len(cases)
    assert not LOOPS & operators.keys()
    assert not notes


def test_unlike_directions_are_two_operators():
    layer = layers.Bidirectional(
        layers.LSTM(UNITS, return_sequences=True),
        backward_layer=layers.GRU(2, return_sequences=True, go_backwards=True),
    )
    with_random_weights(layer)
    operators, _ = exported(lambda x, mask: {"y": layer(x, mask=mask)}, {"x": X, "mask": MASK})
    assert operators["LSTM"] == operators["GRU"] == 1


@pytest.mark.parametrize(
    "name", ["tanh", "relu", "sigmoid", "hard_sigmoid", "softsign", "softplus", "elu", "leaky_relu", "linear"]
)
def test_activations(name):
    gate = name if name in ("sigmoid", "hard_sigmoid", "softsign") else "sigmoid"
    cases = [
        layers.LSTM(UNITS, activation=name, recurrent_activation=gate),
        layers.GRU(UNITS, activation=name, recurrent_activation=gate),
        layers.SimpleRNN(UNITS, activation=name),
    ]
    for layer in cases:
        with_random_weights(layer)
    operators, notes = exported(lambda x: flat([layer(x) for layer in cases]), {"x": X})
    assert operators["LSTM"] == operators["GRU"] == operators["Scan"] == 1
    assert not notes


def test_both_forms_of_gru_and_layers_without_biases():
    cases = [
        *(layers.GRU(UNITS, reset_after=after, use_bias=bias) for after in (False, True) for bias in (False, True)),
        *(kind(UNITS, use_bias=False) for kind in (layers.LSTM, layers.SimpleRNN)),
    ]
    for layer in cases:
        with_random_weights(layer)
    operators, _ = exported(lambda x: flat([layer(x) for layer in cases]), {"x": X})
    assert operators["GRU"] == 4
    assert operators["LSTM"] == operators["Scan"] == 1


def test_zeros_in_place_of_masked_outputs():
    cases = [
        with_random_weights(
            layers.LSTM(UNITS, zero_output_for_mask=True, return_sequences=sequences, go_backwards=backwards)
        )
        for sequences in (False, True)
        for backwards in (False, True)
    ]
    exported(lambda x, mask: flat([layer(x, mask=mask) for layer in cases]), {"x": X, "mask": MASK})


def test_a_mask_holds_back_the_state_of_an_lstm():
    """Against the layer's equations in NumPy."""
    layer = with_random_weights(layers.LSTM(UNITS, return_sequences=True, return_state=True))
    kernel, recurrent_kernel, bias = (weight.numpy() for weight in layer.weights)
    h = c = output = np.zeros((BATCH, UNITS))
    outputs = []
    for t in range(TIME):
        i, f, g, o = np.split(X[:, t] @ kernel + h @ recurrent_kernel + bias, 4, axis=1)
        i, f, o = (1 / (1 + np.exp(-gate)) for gate in (i, f, o))
        new_c = f * c + i * np.tanh(g)
        new_h = o * np.tanh(new_c)
        real = MASK[:, t, None]
        h, c, output = np.where(real, new_h, h), np.where(real, new_c, c), np.where(real, new_h, output)
        outputs.append(output)
    model = to_onnx(lambda x, mask: flat(layer(x, mask=mask)), [SPECS["x"], SPECS["mask"]], 18)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    got = session.run(["y0", "y1", "y2"], {"x": X, "mask": MASK})
    for a, b in zip(got, (np.stack(outputs, 1), h, c)):
        np.testing.assert_allclose(a, b, atol=1e-5)


@pytest.mark.parametrize("masked", [False, True], ids=["unmasked", "masked"])
def test_stacked_cells_are_one_operator_each(masked):
    cells = [layers.LSTMCell(UNITS), layers.GRUCell(2), layers.SimpleRNNCell(3)]
    layer = with_random_weights(layers.RNN(cells, return_sequences=True, return_state=True))
    feeds = {"x": X, "mask": MASK} if masked else {"x": X}
    operators, notes = exported(lambda x, mask=None: flat(layer(x, mask=mask)), feeds)
    assert operators["LSTM"] == operators["GRU"] == operators["Scan"] == 1
    assert not notes


@pytest.mark.parametrize("opset", [13, 16, 18])
def test_every_opset(opset):
    cases = [layers.Bidirectional(kind(UNITS, return_sequences=True), merge_mode="ave") for kind in KINDS.values()]
    for layer in cases:
        with_random_weights(layer)
    exported(lambda x, mask: flat([layer(x, mask=mask) for layer in cases]), {"x": X, "mask": MASK}, opset=opset)


def test_stacked_layers_stay_in_the_order_of_the_operators():
    model = keras.Sequential(
        [
            keras.Input((None, WIDTH)),
            layers.Bidirectional(layers.LSTM(UNITS, return_sequences=True)),
            layers.Dropout(0.5),
            layers.GRU(UNITS, return_sequences=True),
            layers.LayerNormalization(),
            layers.LSTM(UNITS, return_sequences=True, dropout=0.1, recurrent_dropout=0.1),
        ]
    )
    operators, _ = exported(lambda x: {"y": model(x)}, {"x": X})
    assert operators["Transpose"] == 3  # the input, the two directions, the output


def test_layers_that_share_a_mask_sort_its_steps_once():
    model = keras.Sequential(
        [
            keras.Input((None,), dtype="int32"),
            layers.Embedding(5, WIDTH, mask_zero=True),
            layers.LSTM(UNITS, return_sequences=True),
            layers.Bidirectional(layers.GRU(UNITS, return_sequences=True)),
            layers.LSTM(UNITS),
        ]
    )
    tokens = RANDOM.integers(0, 5, (BATCH, TIME)).astype("int32")
    operators, _ = exported(
        lambda tokens: {"y": model(tokens)}, {"tokens": tokens}, [TensorSpec("tokens", "int32", ("batch", "time"))]
    )
    assert operators["TopK"] == 1
    assert operators["Gather"] == 2  # the embedding, and the steps that count
    assert operators["LSTM"] == 2


def test_inside_other_layers_loops_and_branches():
    frames = RANDOM.normal(size=(2, 3, TIME, WIDTH)).astype("float32")
    inner = keras.Sequential([keras.Input((None, WIDTH)), layers.GRU(WIDTH, return_sequences=True)])
    each = layers.TimeDistributed(inner)
    each(frames)

    def function(x):
        shape = tf.TensorShape([]), tf.TensorShape([None, None, WIDTH])
        frame = x[:, 0]
        _, looped = tf.while_loop(lambda i, _: i < 2, lambda i, y: (i + 1, inner(y)), (0, frame), shape)
        branched = tf.cond(tf.reduce_sum(frame) > 0, lambda: inner(frame), lambda: -inner(frame))
        return {"each": each(x), "looped": looped, "branched": branched}

    spec = TensorSpec("x", "float32", ("batch", "clips", "time", WIDTH))
    operators, _ = exported(function, {"x": frames}, [spec])
    assert operators["GRU"] == 4
    assert operators["Loop"] == 1  # the one written above


def test_a_tf_function_traced_by_the_export_still_runs():
    layer = with_random_weights(layers.Bidirectional(layers.LSTM(UNITS, return_sequences=True), merge_mode="mul"))

    @tf.function(input_signature=[tf.TensorSpec([None, None, WIDTH]), tf.TensorSpec([None, None], tf.bool)])
    def function(x, mask):
        return layer(x, mask=mask)

    exported(lambda x, mask: {"y": function(x, mask)}, {"x": X, "mask": MASK})
    np.testing.assert_allclose(function(X, MASK), layer(X, mask=MASK), atol=1e-6)


@pytest.mark.parametrize("cell", ["rnn", "irnn", "lstm", "gru"])
def test_the_language_model_has_no_loop(cell):
    model = RecurrentLanguageModel(11, units=UNITS, depth=2, cell=cell, initial_state="random")
    tokens = RANDOM.integers(0, 11, (BATCH, TIME)).astype("int32")
    model(tokens)
    operators, _ = exported(
        lambda tokens: {"logits": model(tokens)}, {"tokens": tokens}, [TensorSpec("tokens", "int32", ("batch", "time"))]
    )
    assert operators[{"lstm": "LSTM", "gru": "GRU"}.get(cell, "Scan")] == 2
    assert not LOOPS & operators.keys()


class LeakyCell(layers.Layer):
    """A cell that ONNX has no operator for."""

    state_size = UNITS

    def build(self, shape):
        self.kernel = self.add_weight(shape=(shape[-1], UNITS), name="kernel")

    def call(self, x, states):
        h = 0.9 * states[0] + x @ self.kernel
        return h, [h]


def test_other_cells_stay_loops_and_are_noted():
    cases = [
        with_random_weights(layers.RNN(LeakyCell(), return_sequences=True, name="leaky")),
        with_random_weights(layers.Bidirectional(layers.LSTM(UNITS, activation="gelu", name="soft"))),
    ]
    operators, notes = exported(lambda x, mask: flat([layer(x, mask=mask) for layer in cases]), {"x": X, "mask": MASK})
    assert operators["Loop"] == 3
    assert notes == [
        "leaky (LeakyCell) runs as a loop: LeakyCell is a cell of its own.",
        "forward_soft (LSTM) runs as a loop: ONNX' recurrent operators have no activation gelu.",
        "backward_soft (LSTM) runs as a loop: ONNX' recurrent operators have no activation gelu.",
    ]


def test_keras_is_left_as_it_was():
    before = layers.LSTM.inner_loop, layers.RNN.inner_loop, layers.Bidirectional.call
    layer = with_random_weights(layers.LSTM(UNITS))
    to_onnx(lambda x: {"y": layer(x)}, [SPECS["x"]], 18)
    assert (layers.LSTM.inner_loop, layers.RNN.inner_loop, layers.Bidirectional.call) == before


def test_what_operators_lack_in_precision_and_masks_lack_in_rows():
    layer = with_random_weights(layers.GRU(UNITS, return_sequences=True, dtype="float64"))
    operators, _ = exported(
        lambda x: {"y": layer(x, mask=tf.constant(MASK[3:4]))},
        {"x": X.astype("float64")},
        [TensorSpec("x", "float64", ("batch", "time", WIDTH))],
    )
    assert operators["GRU"] == 1


def random_stack(random):
    """Recurrent layers, most of them in both directions, with layers between them that treat every step alike."""
    stack = []
    for _ in range(random.integers(2, 4)):
        kind = random.choice([layers.LSTM, layers.GRU, layers.SimpleRNN])
        layer = kind(UNITS, return_sequences=True, go_backwards=bool(random.integers(2)))
        if random.integers(4):
            merge = "sum" if random.integers(4) == 0 else "concat"
            layer = layers.Bidirectional(kind(UNITS, return_sequences=True), merge_mode=merge)
        between = [layers.Dense(3), layers.LayerNormalization(), layers.Activation("relu"), layers.Dense(4, "tanh")]
        stack += [layer, *random.choice(between, random.integers(1, 3), replace=False)]
    return stack


@pytest.mark.parametrize("seed", range(8))
def test_layers_between_recurrent_layers_need_no_other_layout(seed):
    random = np.random.default_rng(seed)
    stack = random_stack(random)
    shape = [None, [TIME, None][seed % 2], WIDTH]
    for layer in stack:
        with_random_weights(layer, shape)
        shape = list(layer.compute_output_shape(shape))

    def function(x):
        for layer in stack:
            x = layer(x)
        return {"y": x}

    spec = TensorSpec("x", "float32", ("batch", shape[1] or "time", WIDTH))
    operators, _ = exported(function, {"x": X}, [spec])
    recurrent = sum(isinstance(layer, (layers.RNN, layers.Bidirectional)) for layer in stack)
    assert sum(operators.get(kind, 0) for kind in ("LSTM", "GRU", "Scan")) >= recurrent
    assert not LOOPS & operators.keys()
