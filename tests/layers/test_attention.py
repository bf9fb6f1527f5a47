"""Dot-product attention and the alignment scores, by hand and against NumPy."""

import numpy as np
import pytest

keras = pytest.importorskip("keras")
from keras import ops

from tfseq.layers import attention

QUERY = np.array([[[1.0, 0.0]]], "float32")  # (batch, queries, units)
MEMORY = np.array([[[0.0, 5.0], [2.0, 0.0], [1.0, 1.0]]], "float32")  # (batch, time, units)


def softmax(x):
    e = np.exp(x - np.max(x))
    return e / e.sum()


def test_attention_of_one_head_by_hand():
    query = ops.array([[[[2.0, 0.0]]]])  # scores 2/sqrt(2) and 0
    keys = ops.array([[[[1.0, 0.0], [0.0, 1.0]]]])
    values = ops.array([[[[10.0, 0.0], [0.0, 10.0]]]])
    output, weights = attention.dot_product_attention(query, keys, values)
    first = 1 / (1 + np.exp(-np.sqrt(2)))
    np.testing.assert_allclose(np.asarray(weights)[0, 0, 0], [first, 1 - first], rtol=1e-6)
    np.testing.assert_allclose(np.asarray(output)[0, 0, 0], [10 * first, 10 - 10 * first], rtol=1e-6)


def test_dot_alignment_by_hand():
    weights = attention.DotAlignment()(QUERY, MEMORY)
    np.testing.assert_allclose(np.asarray(weights)[0, 0], softmax([0.0, 2.0, 1.0]), rtol=1e-6)


def test_general_alignment_by_hand():
    layer = attention.GeneralAlignment()
    layer.build(QUERY.shape, MEMORY.shape)
    layer.kernel.set_weights([np.array([[0.0, 1.0], [3.0, 0.0]])])  # W h swaps the entries: (3 h_2, h_1)
    np.testing.assert_allclose(np.asarray(layer(QUERY, MEMORY))[0, 0], softmax([15.0, 0.0, 3.0]), rtol=1e-5)


def test_network_alignment_is_equation_of_bahdanau():
    layer = attention.NetworkAlignment(4)
    rng = np.random.default_rng(0)
    query, memory = rng.normal(size=(2, 3, 5)).astype("float32"), rng.normal(size=(2, 6, 7)).astype("float32")
    layer(query, memory)
    layer.set_weights([rng.normal(size=w.shape) for w in layer.weights])
    w, u, b, v = [np.asarray(x) for x in layer.get_weights()]
    weights = np.asarray(layer(query, memory))
    for batch, i in ((0, 0), (1, 2)):
        scores = [v[:, 0] @ np.tanh(query[batch, i] @ w + h @ u + b) for h in memory[batch]]
        np.testing.assert_allclose(weights[batch, i], softmax(scores), rtol=1e-5)


def test_cosine_alignment_ignores_lengths_and_is_sharpened():
    layer = attention.CosineAlignment()
    strength = np.exp(2.0)
    weights = np.asarray(layer(QUERY, MEMORY))[0, 0]
    np.testing.assert_allclose(weights, softmax(strength * np.array([0.0, 1.0, np.sqrt(0.5)])), rtol=1e-5)
    np.testing.assert_allclose(np.asarray(layer(7 * QUERY, 3 * MEMORY))[0, 0], weights, rtol=1e-5)


@pytest.mark.parametrize("alignment", attention.ALIGNMENTS)
def test_padding_gets_no_weight_and_changes_nothing(alignment):
    layer = attention.alignment_layer(alignment, 2)
    alone = np.asarray(layer(QUERY, MEMORY[:, :2]))
    padded = np.asarray(layer(QUERY, MEMORY, np.array([[True, True, False]])))
    np.testing.assert_allclose(padded[..., :2], alone, rtol=1e-6)
    assert padded[0, 0, 2] == 0


@pytest.mark.parametrize("alignment", attention.ALIGNMENTS)
def test_a_memory_projected_once_gives_the_same_weights(alignment):
    layer = attention.alignment_layer(alignment, 2)
    expected = layer(QUERY, MEMORY)
    np.testing.assert_array_equal(layer.align(QUERY, layer.project(MEMORY)), expected)


@pytest.mark.parametrize("alignment", ["dot", "cosine"])
def test_states_of_different_width_are_refused_where_they_are_compared_directly(alignment):
    with pytest.raises(ValueError, match=r"query is 3 wide and the memory 2.*general"):
        attention.alignment_layer(alignment, 2).build((1, 1, 3), MEMORY.shape)


def test_an_unknown_alignment_is_refused():
    with pytest.raises(ValueError, match="alignment is 'additive'; expected one of network, dot, general, cosine"):
        attention.alignment_layer("additive", 2)
