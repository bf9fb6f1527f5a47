"""Positional encodings: sinusoidal, learned, and rotary ones as complex numbers."""

import numpy as np
import pytest

keras = pytest.importorskip("keras")

from tfseq.layers.positions import PositionedEmbedding, rotated, sinusoidal_positions


def positional_table(length, units):
    """Vaswani et al., 2017, section 3.5, entry by entry; our order has the sines first."""
    table = np.zeros((length, units))
    for p in range(length):
        for i in range(units // 2):
            table[p, i] = np.sin(p / 10000 ** (2 * i / units))
            table[p, units // 2 + i] = np.cos(p / 10000 ** (2 * i / units))
    return table


def test_sinusoidal_positions_are_those_of_the_paper():
    positions = sinusoidal_positions(np.arange(40), 8)
    np.testing.assert_allclose(positions, positional_table(40, 8), atol=1e-5)


def test_a_step_has_the_position_that_it_is_given():
    layer = PositionedEmbedding(5, 4)
    tokens = np.array([[1, 2, 3]])
    parallel = np.asarray(layer(tokens))
    for position in range(3):
        step = layer(tokens[:, position], keras.ops.convert_to_tensor(position, "int32"))
        np.testing.assert_allclose(step, parallel[:, position], rtol=1e-6)


def test_embeddings_of_any_length_are_dropped_at_their_rate_in_training_alone():
    tf = pytest.importorskip("tensorflow")
    layer = PositionedEmbedding(5, 64, dropout=0.3)
    layer.build()
    embed = tf.function(layer, [tf.TensorSpec((None, None), "int32")], autograph=False)
    embed_training = tf.function(lambda x: layer(x, training=True), [tf.TensorSpec((None, None), "int32")])
    for shape in ((20, 30), (7, 11)):
        tokens = np.random.default_rng(0).integers(0, 5, shape).astype("int32")
        kept, dropped = np.asarray(embed(tokens)), np.asarray(embed_training(tokens))
        gone = dropped == 0
        np.testing.assert_allclose(dropped[~gone], kept[~gone] / 0.7, rtol=1e-5)
        assert np.mean(gone) == pytest.approx(0.3, abs=0.03)


def test_rotary_positions_turn_pairs_as_complex_numbers():
    x = np.random.default_rng(0).normal(size=(2, 3, 5, 8)).astype("float32")
    pairs = x[..., :4] + 1j * x[..., 4:]  # (batch, heads, time, 4)
    turned = pairs * np.exp(1j * np.outer(np.arange(5), 10000.0 ** (-np.arange(4) / 4)))
    expected = np.concatenate([turned.real, turned.imag], axis=-1)
    np.testing.assert_allclose(rotated(x, np.arange(5)), expected, atol=1e-5)
    third = rotated(x[:, :, 3:4], np.int32(3))
    np.testing.assert_allclose(third, expected[:, :, 3:4], atol=1e-5)


def test_rotary_attention_sees_distances_and_no_positions():
    rng = np.random.default_rng(0)
    query, key = rng.normal(size=(2, 1, 1, 1, 6)).astype("float32")

    def score(p, q):
        return np.sum(rotated(query, np.int32(p)) * rotated(key, np.int32(q)))

    np.testing.assert_allclose(score(57, 50), score(7, 0), rtol=1e-4)
    assert abs(score(7, 0) - score(2, 0)) > 1e-2


def test_tied_embeddings_make_the_logits():
    layer = PositionedEmbedding(5, 4)
    layer.build()
    (table,) = layer.get_weights()
    x = np.random.default_rng(0).normal(size=(3, 4)).astype("float32")
    np.testing.assert_allclose(layer.logits(x), x @ table.T, rtol=1e-5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PositionedEmbedding(5, 4, "rotary"), "positions is 'rotary'; expected one of sinusoidal"),
        (lambda: PositionedEmbedding(5, 3), "units is 3; expected an even number"),
        (
            lambda: PositionedEmbedding(5, 4, "learned", max_positions=2)(np.ones((1, 3), "int32")),
            "sequence has 3 tokens; expected at most max_positions, 2",
        ),
    ],
)
def test_what_can_not_be_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("rows", [1, 2, 5, 7, 8, 9])
@pytest.mark.parametrize("tied", [True, False])
def test_logits_of_any_number_of_rows_are_the_product_with_the_table(rows, tied):
    layer = PositionedEmbedding(11, 6, tied=tied)
    layer.build()
    x = np.random.default_rng(rows).normal(size=(rows, 6)).astype("float32")
    table = layer.symbols.embeddings if tied else layer.symbols.reverse_embeddings
    expected = x @ (np.asarray(table).T if tied else np.asarray(table))
    np.testing.assert_allclose(layer.logits(keras.ops.convert_to_tensor(x)), expected, atol=1e-5)
    np.testing.assert_allclose(layer.logits(keras.ops.convert_to_tensor(x[None])), expected[None], atol=1e-5)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        compiled = tf.function(layer.logits, input_signature=[tf.TensorSpec((None, 6))], autograph=False)
        np.testing.assert_allclose(compiled(x), expected, atol=1e-5)
