"""KV caches that beams share, against caches that NumPy really reorders."""

import numpy as np
import pytest

keras = pytest.importorskip("keras")
from keras import ops

from tfseq.layers import key_value_cache as kv
from tfseq.layers.attention import split_heads

BATCH, HEADS, HEAD_DIM, LAYERS = 2, 3, 4, 2


class NaiveBeams:
    """Every row keeps its own keys and values, (layers, 2, rows, heads, time, head_dim), and copies them."""

    def __init__(self, window=None):
        self.first = 0 if window is None else -window
        self.past = np.zeros((LAYERS, 2, BATCH, HEADS, 0, HEAD_DIM))

    def widen(self, width):
        self.past = self.past.repeat(width, axis=2)

    def attend(self, query, key, value):
        def heads(x):
            return x.reshape(LAYERS, -1, HEADS, HEAD_DIM)

        new = np.stack([heads(key), heads(value)], axis=1)[:, :, :, :, None]
        self.past = np.concatenate([self.past, new], axis=4)
        scores = np.einsum("lrhd,lrhtd->lrht", heads(query), self.past[:, 0, ..., self.first :, :]) / np.sqrt(HEAD_DIM)
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        weights /= weights.sum(-1, keepdims=True)
        mean = np.einsum("lrht,lrhtd->lrhd", weights, self.past[:, 1, ..., self.first :, :])
        return mean.reshape(LAYERS, -1, HEADS * HEAD_DIM)

    def reorder(self, parents):
        rows = parents + np.arange(BATCH)[:, None] * parents.shape[1]
        self.past = self.past[:, :, rows.ravel()]


def step(state, query, key, value, window=None):
    state = kv.advance(state)
    heads = state.caches[0][0].shape[1]
    done = [
        kv.attend(*(split_heads(x, heads, state.width) for x in of_layer), own, state, window)
        for *of_layer, own in zip(query, key, value, state.caches)
    ]
    return state._replace(caches=tuple(own for _, own in done)), np.stack([np.asarray(output) for output, _ in done])


@pytest.mark.parametrize("width", [1, 2, 4])
@pytest.mark.parametrize("steps_before", [0, 3], ids=["from the start", "after a prompt of one beam"])
@pytest.mark.parametrize("window", [None, 4])
def test_beams_attend_over_their_own_past_after_any_reordering(width, steps_before, window):
    rng = np.random.default_rng(width)
    naive, state = NaiveBeams(window), kv.empty_cached_state(LAYERS, BATCH, HEADS, HEAD_DIM)
    for t in range(steps_before + 6):
        if t == steps_before:
            naive.widen(width)
            state = kv.widen(state, width)
        rows = BATCH * (width if t >= steps_before else 1)
        query, key, value = rng.normal(size=(3, LAYERS, rows, HEADS * HEAD_DIM)).astype("float32")
        state, outputs = step(state, query, key, value, window)
        np.testing.assert_allclose(outputs, naive.attend(query, key, value), atol=1e-5)
        if t >= steps_before:
            parents = rng.integers(0, width, (BATCH, width)).astype("int32")
            naive.reorder(parents)
            state = kv.reorder(state, ops.convert_to_tensor(parents))
    assert int(state.position) == steps_before + 6


@pytest.mark.parametrize("width", [1, 3])
def test_a_cache_of_a_fixed_size_knows_which_steps_are_recent(width, monkeypatch):
    monkeypatch.setattr(kv, "fixed_steps", kv._CAPACITY.get)  # as backends have it that compile loops
    with kv.capacity(9):
        rng = np.random.default_rng(0)
        naive, state = NaiveBeams(window=2), kv.empty_cached_state(LAYERS, BATCH, HEADS, HEAD_DIM)
        for t in range(8):
            if t == 3:
                naive.widen(width)
                state = kv.widen(state, width)
            rows = BATCH * (width if t >= 3 else 1)
            query, key, value = rng.normal(size=(3, LAYERS, rows, HEADS * HEAD_DIM)).astype("float32")
            state, outputs = step(state, query, key, value, window=2)
            np.testing.assert_allclose(outputs, naive.attend(query, key, value), atol=1e-5)


def test_reordering_leaves_caches_where_they_are_and_takes_other_leaves():
    state = kv.widen({"cached": kv.empty_cached_state(1, 2, 1, 2), "h": ops.array([[1.0], [2.0]])}, 2)
    rows = np.ones((4, 2), "float32")
    cached, _ = step(state["cached"], [rows], [rows], [rows])
    before = cached.caches
    moved = kv.reorder({"cached": cached, "h": ops.array([[1.0], [2.0], [3.0], [4.0]])}, ops.array([[1, 1], [1, 0]]))
    assert moved["cached"].caches[0][0] is before[0][0]
    np.testing.assert_array_equal(np.asarray(moved["h"])[:, 0], [2, 2, 4, 3])
    expected = [[[False, True], [False, True]], [[False, True], [True, False]]]
    np.testing.assert_array_equal(np.asarray(moved["cached"].ancestors), expected)


def test_widening_repeats_the_beams_of_a_row_side_by_side():
    widened = kv.widen([ops.array([[1], [2]]), {"nothing": ()}], 3)
    np.testing.assert_array_equal(np.asarray(widened[0])[:, 0], [1, 1, 1, 2, 2, 2])
    assert widened[1] == {"nothing": ()}


def test_one_beam_of_a_growing_cache_has_nothing_to_mask():
    state = kv.widen(kv.empty_cached_state(1, 2, 1, 2), 1)
    assert state.ancestors == ()
    assert state.mask is None
    assert state.width == 1


def test_a_capacity_without_room_is_refused():
    with pytest.raises(ValueError, match="capacity is 0; expected at least 1 step"), kv.capacity(0):
        pass
