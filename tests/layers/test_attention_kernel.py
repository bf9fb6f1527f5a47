"""The CPU training kernel of decoders with attention, against TensorFlow's gradients of the plain loop."""

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")


from tfseq.layers import attention_kernel
from tfseq.layers.attention import ALIGNMENTS
from tfseq.layers.encoder_decoder import AttentionDecoder

UNITS, WIDTH, PLACES, TIME = 6, 5, 4, 7
CELLS = ("rnn", "irnn", "lstm", "gru")


def made(cell="gru", alignment="general", dtype="float32", **options):
    decoder = AttentionDecoder(cell, UNITS, alignment=alignment, dtype=dtype, **options)
    decoder.build((None, None, WIDTH))
    draw = np.random.default_rng(1)
    for weight in decoder.weights:
        weight.assign(weight + draw.normal(0, 0.3, weight.shape))
    return decoder


def drawn(decoder, batch):
    draw = np.random.default_rng(0)
    dtype = decoder.compute_dtype
    y, places = draw.normal(0, 1, (batch, TIME, WIDTH)), draw.normal(0, 1, (batch, PLACES, UNITS))
    states = [draw.normal(0, 0.5, (batch, UNITS)) for _ in range(2 if decoder.settings["cell"] == "lstm" else 1)]
    return tf.cast(y, dtype), tf.cast(places, dtype), [tf.cast(state, dtype) for state in states]


def outputs_and_gradients(decoder, y, places, states, mask=None, training=True):
    draw = np.random.default_rng(2)
    towards = [tf.constant(draw.normal(0, 1, (len(y), TIME, UNITS)), "float32") for _ in range(2)]
    with tf.GradientTape() as tape:
        tape.watch([y, places, *states])
        outputs = decoder(y, [states], decoder.remember(places, mask), training=training)
        loss = sum(tf.reduce_sum(tf.cast(x, "float32") * w) for x, w in zip(outputs, towards))
    sources = [y, places, *states, *[variable.value for variable in decoder.trainable_variables]]
    return [*outputs, *tape.gradient(loss, sources)]


def both(decoder, batch=3, mask=None, in_graph=True):
    """Of the quick kernel, which is for training, and of the loop that inference takes."""
    sample = drawn(decoder, batch)

    def run(training):
        return outputs_and_gradients(decoder, *sample, mask, training)

    run = tf.function(run, autograph=False) if in_graph else run
    return run(True), run(False)


def assert_equal(quick, slow):
    assert len(quick) == len(slow)
    for a, b in zip(quick, slow):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=2e-5 * max(1, np.abs(b).max()))


@pytest.fixture
def calls(monkeypatch):
    """How often the kernel ran."""
    counted, original = [], attention_kernel.attentive_recurrence

    def counting(*arguments):
        counted.append(arguments[2].shape)
        return original(*arguments)

    monkeypatch.setattr(attention_kernel, "attentive_recurrence", counting)
    return counted


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("alignment", [name for name in ALIGNMENTS if name != "network"])
def test_outputs_and_gradients_are_those_of_the_loop(cell, alignment, calls):
    assert_equal(*both(made(cell, alignment)))
    assert calls == [(3, TIME, WIDTH)]  # in training only


@pytest.mark.parametrize("in_graph", [True, False], ids=["graph", "eager"])
def test_a_batch_is_cut_into_a_stream_per_core(in_graph):
    assert_equal(*both(made(), batch=16, in_graph=in_graph))


def test_padding_gets_no_gradient():
    mask = tf.constant([[True, True, False, False], [True] * 4, [True, False, False, False]])
    quick, slow = both(made("lstm"), mask=mask)
    assert_equal(quick, slow)
    assert np.all(np.asarray(quick[3])[~mask.numpy()] == 0)


def test_a_batch_of_unknown_size_trains_too():
    decoder = made()
    sample = drawn(decoder, 5)
    signature = [tf.TensorSpec((None, *x.shape[1:])) for x in (sample[0], sample[1], sample[2][0])]

    @tf.function(autograph=False, input_signature=signature)
    def run(y, places, state):
        with tf.GradientTape() as tape:
            s, c = decoder(y, [[state]], decoder.remember(places), training=True)
            loss = tf.reduce_sum(s * c)
        return tape.gradient(loss, decoder.recurrent.layers[0].cell.kernel.value)

    with tf.GradientTape() as tape:
        s, c = decoder(sample[0], [sample[2]], decoder.remember(sample[1]))
        loss = tf.reduce_sum(s * c)
    expected = tape.gradient(loss, decoder.recurrent.layers[0].cell.kernel.value)
    np.testing.assert_allclose(run(sample[0], sample[1], sample[2][0]), expected, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("cell", CELLS)
def test_under_mixed_bfloat16_the_gradients_point_where_those_of_float32_do(cell):
    mixed, exact = made(cell, dtype="mixed_bfloat16"), made(cell)
    exact.set_weights(mixed.get_weights())
    results = [outputs_and_gradients(d, *drawn(d, 16)) for d in (mixed, exact)]
    for a, b in zip(*results):
        a, b = (np.asarray(tf.cast(x, "float64")).ravel() for x in (a, b))
        cosine = float(a @ b / np.sqrt((a @ a) * (b @ b)))
        assert cosine > 0.98


@pytest.mark.parametrize("options", [{"depth": 2}, {"alignment": "network"}])
def test_more_layers_and_networks_take_the_loop(options, calls):
    decoder = made(**options)
    y, places, states = drawn(decoder, 3)
    s, _ = decoder(y, [states] * options.get("depth", 1), decoder.remember(places), training=True)
    assert s.shape == (3, TIME, UNITS)
    assert calls == []
