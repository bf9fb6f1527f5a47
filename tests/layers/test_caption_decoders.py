"""The three caption decoders, against their equations in NumPy."""

import numpy as np
import pytest

keras = pytest.importorskip("keras")
from keras import ops

from tfseq.layers.caption_decoders import (
    AttentionCaptionDecoder,
    Places,
    RecurrentCaptionDecoder,
    TransformerCaptionDecoder,
)

DRAW = np.random.default_rng(0)
PLACES = DRAW.normal(0, 1, (2, 3, 4)).astype("float32")  # (batch, places, units)
Y = DRAW.normal(0, 1, (2, 5, 6)).astype("float32")  # (batch, time, width)


def randomized(decoder, width=6):
    decoder.build((None, None, width), (None, *PLACES.shape[1:]))
    draw = np.random.default_rng(1)
    for weight in decoder.weights:
        if "seed" not in weight.path:
            weight.assign(draw.normal(0, 0.5, weight.shape))
    return decoder


def steps_of(decoder, y=Y, places=PLACES):
    """States (batch, time, units), and weights (batch, time, places) or a list of None."""
    memory = decoder.remember(ops.convert_to_tensor(places))
    state, states, weights = decoder.initial_state(memory, len(y)), [], []
    for t in range(y.shape[1]):
        x, state, looked = decoder.step(ops.convert_to_tensor(y[:, t]), state, memory)
        states.append(np.asarray(x))
        weights.append(looked)
    return np.stack(states, axis=1), weights


def softmax(x):
    x = np.exp(x - x.max(-1, keepdims=True))
    return x / x.sum(-1, keepdims=True)


def test_places_are_what_is_seen_and_where():
    layer = Places(4)
    grid = DRAW.normal(0, 1, (2, 3, 5, 6)).astype("float32")
    layer(grid)
    draw = np.random.default_rng(1)
    layer.set_weights([draw.normal(0, 0.5, weight.shape) for weight in layer.get_weights()])
    w, b = layer.project.get_weights()
    gamma, beta = layer.norm.get_weights()
    x = grid.reshape(2, 15, 6) @ w + b + np.asarray(layer.positions)
    x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5) * gamma + beta
    np.testing.assert_allclose(layer(grid), x, atol=1e-5)
    np.testing.assert_allclose(layer(grid.reshape(2, 15, 6)), x, atol=1e-5)


@pytest.mark.parametrize("summary", ["max", "mean", "flat"])
def test_the_image_enters_every_step_of_a_vanilla_decoder(summary):
    """h_t = tanh(W_xh y_{t-1} + W_hh h_{t-1} + W_ih v + b), one matrix after the other."""
    decoder = randomized(RecurrentCaptionDecoder(4, cell="rnn", summary=summary, width=3))
    kernel, w_hh, b = decoder.recurrent.layers[0].get_weights()
    w_xh, w_ih = kernel[:6], kernel[6:]
    w_v, b_v = decoder.vector.get_weights()
    read = {"max": PLACES, "mean": PLACES.mean(1), "flat": PLACES.reshape(2, 12)}[summary]
    v = np.maximum(read @ w_v + b_v, 0)
    v = v.max(1) if summary == "max" else v
    assert v.shape == (2, 3)
    h, expected = np.zeros((2, 4)), []
    for t in range(5):
        h = np.tanh(Y[:, t] @ w_xh + h @ w_hh + v @ w_ih + b)
        expected.append(h)
    expected = np.stack(expected, axis=1)
    states, weights = steps_of(decoder)
    np.testing.assert_allclose(states, expected, atol=1e-5)
    np.testing.assert_allclose(decoder(Y, decoder.remember(PLACES)), expected, atol=1e-5)
    assert weights == [None] * 5
    assert not decoder.looks


def test_a_gated_decoder_reads_the_image_beside_each_word():
    """Keras' own GRU over [y_{t-1}; v] of the same weights."""
    decoder = randomized(RecurrentCaptionDecoder(4, cell="gru"))
    v = np.asarray(decoder.remember(PLACES))
    peer = keras.layers.GRU(4, return_sequences=True)
    x = np.concatenate([Y, v[:, None].repeat(5, axis=1)], axis=-1)
    peer.build(x.shape)
    peer.set_weights(decoder.recurrent.get_weights())
    np.testing.assert_allclose(decoder(Y, decoder.remember(PLACES)), peer(x), atol=1e-5)


def test_show_attend_and_tell():
    """s_0 of the mean of the places; a = softmax(v . tanh(W s + U x + b)); a new context at each step."""
    decoder = randomized(AttentionCaptionDecoder(4, cell="rnn"))
    w_start, b_start = decoder.start.get_weights()
    align = decoder.attention.alignment
    (w_s,), (u_x, b_x), (to_score,) = (
        layer.get_weights() for layer in (align.of_query, align.of_memory, align.to_score)
    )
    kernel, w_hh, b = decoder.attention.recurrent.layers[0].get_weights()
    u, b_u = decoder.deep.get_weights()
    s = np.tanh(PLACES.mean(1) @ w_start + b_start)
    expected, expected_weights = [], []
    for t in range(5):
        a = softmax((np.tanh((s @ w_s)[:, None] + PLACES @ u_x + b_x) @ to_score)[..., 0])
        c = np.einsum("bp,bpu->bu", a, PLACES)
        s = np.tanh(np.concatenate([Y[:, t], c], axis=-1) @ kernel + s @ w_hh + b)
        expected.append(np.tanh(np.concatenate([s, c, Y[:, t]], axis=-1) @ u + b_u))
        expected_weights.append(a)
    expected = np.stack(expected, axis=1)
    states, weights = steps_of(decoder)
    np.testing.assert_allclose(states, expected, atol=1e-5)
    np.testing.assert_allclose(np.stack(weights), expected_weights, atol=1e-5)
    np.testing.assert_allclose(decoder(Y, decoder.remember(PLACES)), expected, atol=1e-5)
    assert decoder.looks


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_every_layer_starts_from_the_mean_of_the_places(cell):
    decoder = randomized(AttentionCaptionDecoder(4, depth=2, cell=cell))
    state = decoder.initial_state(decoder.remember(PLACES), 2)
    w, b = decoder.start.get_weights()
    expected = np.tanh(PLACES.mean(1) @ w + b)
    assert [len(layer) for layer in state] == [2 if cell == "lstm" else 1] * 2
    np.testing.assert_allclose(np.concatenate([x for layer in state for x in layer], axis=-1), expected, atol=1e-5)


def test_a_transformer_decoder_knows_the_order_of_words():
    decoder = randomized(TransformerCaptionDecoder(4, heads=2), width=4)
    y = np.broadcast_to(Y[:, :1, :4], (2, 5, 4))  # the same word at every position
    states, weights = steps_of(decoder, y)
    np.testing.assert_allclose(decoder(y, decoder.remember(PLACES)), states, atol=1e-5)
    assert (np.abs(np.diff(states, axis=1)).max((0, 2)) > 1e-3).all()
    assert np.stack(weights).shape == (5, 2, 3)
    assert decoder.looks


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_a_transformer_decoder_over_one_place_adds_its_value(norm):
    """With one place every head's weight is 1, so attention over it is a linear layer of it, in NumPy."""
    decoder = randomized(TransformerCaptionDecoder(4, heads=2, depth=1, norm=norm), width=4)
    (block,) = decoder.blocks.blocks
    one, others = PLACES[:, :1], PLACES[::-1, :1]
    kernel, bias = block.cross_attention.key_value.get_weights()
    out, out_bias = block.cross_attention.out.get_weights()

    def added(places):
        return (places @ kernel + bias)[..., 4:] @ out + out_bias  # keys come first, then values

    captured = []
    join = block.around_cross_attention.join
    block.around_cross_attention.join = lambda x, y, training=False: captured.append(np.asarray(y)) or join(x, y)
    for places in (one, others):
        decoder(Y[:, :, :4], decoder.remember(places))
    np.testing.assert_allclose(captured[0], np.broadcast_to(added(one), (2, 5, 4)), atol=1e-5)
    np.testing.assert_allclose(captured[1], np.broadcast_to(added(others), (2, 5, 4)), atol=1e-5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RecurrentCaptionDecoder(0), "units is 0 and depth 1; expected at least 1 of each"),
        (lambda: AttentionCaptionDecoder(4, depth=0), "units is 4 and depth 0"),
        (lambda: TransformerCaptionDecoder(4, heads=2, depth=0), "units is 4 and depth 0"),
        (lambda: TransformerCaptionDecoder(3, heads=3), "units is 3; expected an even number"),
        (lambda: TransformerCaptionDecoder(4, heads=3), "units is 4 and heads 3"),
        (lambda: RecurrentCaptionDecoder(4, summary="sum"), "summary is 'sum'; expected one of max, mean, flat"),
        (lambda: RecurrentCaptionDecoder(4, width=0), "width is 0; expected at least 1"),
        (lambda: RecurrentCaptionDecoder(4, cell="cnn"), "cell is 'cnn'; expected one of"),
        (lambda: AttentionCaptionDecoder(4, alignment="none"), "alignment is 'none'; expected one of"),
    ],
)
def test_hyper_parameters_that_can_not_be_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("shape", [(None, 4), (None, None, 4), (None, 2, None, 4), (None, 2, 2, 2, 4)])
def test_features_without_places_are_refused(shape):
    with pytest.raises(ValueError, match=r"features have the shape .* expected"):
        Places(4).build(shape)
