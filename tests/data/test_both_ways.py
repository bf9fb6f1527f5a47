"""Batches of translations that are turned around."""

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")

from tfseq.data import bucketed_batches
from tfseq.data.both_ways import both_ways

START, END = 1, 2
SOURCES = [[5, 6, END], [7, END], [8, 9, 10, END], [11, END], [12, 13, END]]
WRITTEN = [[20, END], [21, 22, END], [23, END], [24, 25, 26, END], [27, END]]


def pairs_of(dataset):
    """What is read, fed and asked for, of each example, without its padding."""
    found = []
    for inputs, answers, weights in dataset.as_numpy_iterator():
        for source, target, answer, weight in zip(inputs["source"], inputs["target"], answers, weights, strict=True):
            asked = int(weight.sum())
            assert (weight == [1] * asked + [0] * (len(weight) - asked)).all()
            found.append((tuple(source[source != 0]), tuple(target[:asked]), tuple(answer[:asked])))
    return found


def batches(**options):
    as_arrays = [[np.array(text, "int32") for text in texts] for texts in (SOURCES, WRITTEN)]
    targets = [np.array([START, *text[:-1]], "int32") for text in WRITTEN]
    return bucketed_batches({"source": as_arrays[0], "target": targets}, as_arrays[1], 2, **options)


def forth_and_back():
    forth = {(tuple(s), (START, *w[:-1]), tuple(w)) for s, w in zip(SOURCES, WRITTEN, strict=True)}
    back = {(tuple(w), (START, *s[:-1]), tuple(s)) for s, w in zip(SOURCES, WRITTEN, strict=True)}
    return forth, back


@pytest.mark.parametrize("epoch", [0, 1])
def test_every_second_batch_of_the_first_epochs_is_turned_around(epoch):
    forth, back = forth_and_back()
    seen = pairs_of(both_ways(batches(), START, until=2)(epoch))
    turned = [pair in back for pair in seen]
    assert all(pair in forth | back for pair in seen)
    assert {pair if pair in forth else (pair[2], (START, *pair[0][:-1]), pair[0]) for pair in seen} == forth
    assert any(turned)
    assert not all(turned)


def test_two_epochs_that_follow_turn_different_batches():
    _, back = forth_and_back()
    in_order = [pairs_of(both_ways(batches(seed=None), START, until=2)(epoch)) for epoch in (0, 1)]
    for even, odd in zip(*in_order, strict=True):
        assert (even in back) != (odd in back)


def test_later_epochs_are_as_they_were():
    forth, _ = forth_and_back()
    both = both_ways(batches(), START, until=2)
    assert set(pairs_of(both(2))) == forth
    assert pairs_of(both(2)) == pairs_of(batches()(2))


def test_an_epoch_has_as_many_batches_and_may_be_a_tensor():
    both = both_ways(batches(), START, until=2)
    assert int(both(0).cardinality()) == int(batches()(0).cardinality())
    of_all = tf.data.Dataset.range(3).flat_map(both)
    assert pairs_of(of_all) == [pair for epoch in range(3) for pair in pairs_of(both(epoch))]
