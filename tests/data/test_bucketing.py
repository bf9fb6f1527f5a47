"""Batches bucketed by length: every example once per epoch, and padding that changes no output."""

import numpy as np
import pytest

keras = pytest.importorskip("keras")

from tfseq.data import bucketed_batches, shuffled_batches
from tfseq.errors import DataError

LENGTHS = np.random.RandomState(0).randint(1, 40, size=203)
SERIES = [np.full((length, 2), row, "float32") + 1 for row, length in enumerate(LENGTHS)]
ROWS = np.arange(203)


def elements(dataset):
    return list(dataset.as_numpy_iterator())


@pytest.mark.parametrize("epoch", [0, 1, 7])
def test_every_example_comes_once_per_epoch_whole(epoch):
    batches = elements(bucketed_batches(SERIES, ROWS, 16, mask="mask")(epoch))
    assert sorted(row for _, rows in batches for row in rows) == ROWS.tolist()
    assert sorted(len(rows) for _, rows in batches) == [11] + [16] * 12
    for inputs, rows in batches:
        assert inputs["mask"].sum(1).tolist() == LENGTHS[rows].tolist()
        for series, mask, row in zip(inputs["inputs"], inputs["mask"], rows):
            np.testing.assert_array_equal(series[: LENGTHS[row]], SERIES[row])
            assert mask[: LENGTHS[row]].all()
            assert not mask[LENGTHS[row] :].any()
            assert not series[LENGTHS[row] :].any()


def padding(batches):
    return sum(x.size // 2 for x, _ in batches) - LENGTHS.sum()


def test_batches_have_similar_lengths():
    sorted_ = padding(elements(bucketed_batches(SERIES, ROWS, 16)(0)))
    unsorted = padding(elements(bucketed_batches(SERIES, ROWS, 16, seed=None)(0)))
    assert sorted_ < 0.15 * unsorted


def test_epochs_and_seeds_differ_and_each_can_be_had_again():
    def order(seed, epoch):
        batches = bucketed_batches(SERIES, ROWS, 16, seed=seed, pool=2)(epoch)
        return [rows.tolist() for _, rows in elements(batches)]

    assert order(0, 3) == order(0, 3)
    assert order(0, 3) != order(0, 4)
    assert order(0, 3) != order(1, 3)
    assert sorted(map(sorted, order(0, 3))) != sorted(map(sorted, order(0, 4)))  # other batches, not only their order


def test_epochs_can_be_counted_in_a_dataset():
    import tensorflow as tf

    batches = bucketed_batches(SERIES, ROWS, 16)
    both = elements(tf.data.Dataset.range(2, 4).flat_map(batches))
    expected = elements(batches(2)) + elements(batches(3))
    assert all(np.array_equal(a, b) for (_, a), (_, b) in zip(both, expected, strict=True))


def test_sources_and_targets_are_padded_each_and_targets_have_weights():
    targets = [np.arange(length % 5 + 1, dtype="int32") + 1 for length in LENGTHS]
    inputs = {"source": [np.arange(length, dtype="int32") + 1 for length in LENGTHS], "target": targets}
    seen = 0
    for read, answers, weights in elements(bucketed_batches(inputs, targets, 8)(0)):
        np.testing.assert_array_equal(read["target"], answers)
        np.testing.assert_array_equal(weights, answers != 0)
        np.testing.assert_array_equal((read["source"] != 0).sum(1) % 5 + 1, weights.sum(1))
        assert weights.dtype == np.float32
        seen += len(answers)
    assert seen == 203


def test_padding_does_not_change_what_a_masked_model_answers():
    values, mask = keras.Input((None, 2), name="inputs"), keras.Input((None,), dtype="bool", name="mask")
    hidden = keras.layers.GRU(4, return_sequences=True)(values, mask=mask)
    hidden = keras.layers.LSTM(3)(hidden, mask=mask)
    model = keras.Model({"inputs": values, "mask": mask}, keras.layers.Dense(2)(hidden))
    series = [s / 200 for s in SERIES[:40]]
    alone = [model.predict_on_batch({"inputs": s[None], "mask": np.ones((1, len(s)), bool)})[0] for s in series]
    for inputs, rows in elements(bucketed_batches(series, ROWS[:40], 8, seed=None, mask="mask")(0)):
        np.testing.assert_allclose(model.predict_on_batch(inputs), [alone[row] for row in rows], atol=1e-6)


def test_shuffled_batches_have_every_example_once_in_another_order_each_epoch():
    batches = shuffled_batches({"x": ROWS * 2, "y": -ROWS}, ROWS, 50)
    orders = []
    for epoch in (0, 1, 0):
        elements_ = elements(batches(epoch))
        assert [len(rows) for _, rows in elements_] == [50, 50, 50, 50, 3]
        assert all((x["x"] == 2 * rows).all() and (x["y"] == -rows).all() for x, rows in elements_)
        orders.append(np.concatenate([rows for _, rows in elements_]).tolist())
    assert sorted(orders[0]) == sorted(orders[1]) == ROWS.tolist()
    assert orders[0] == orders[2] != orders[1]
    in_order = np.concatenate([rows for _, rows in elements(shuffled_batches(ROWS, ROWS, 50, seed=None)(3))])
    np.testing.assert_array_equal(in_order, ROWS)


def test_what_does_not_fit_together_is_refused():
    with pytest.raises(DataError, match="have 202 and 203 examples"):
        shuffled_batches(ROWS, ROWS[1:], 4)
    with pytest.raises(DataError, match="batch is 0"):
        bucketed_batches(SERIES, ROWS, 0)
    with pytest.raises(DataError, match="without a step"):
        bucketed_batches([np.zeros((0, 2))], ROWS[:1], 1)
    with pytest.raises(DataError, match="sequences of 2 kinds"):
        bucketed_batches([np.zeros((3, 2)), np.zeros((3, 1))], ROWS[:2], 1)
