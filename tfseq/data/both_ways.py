"""Translating there and back while a model begins to learn (Ding et al., 2021)."""

from typing import Any

import tensorflow as tf

from tfseq.data.bucketing import Batches


def both_ways(batches: Batches, start: int, until: int) -> Batches:
    """Batches of translations, every second of which is turned around in the first epochs.

    A model that reads and writes both languages with one table of embeddings learns from each pair twice, and then
    goes on in the direction that is wanted (Ding et al., 2021, "Improving neural machine translation by bidirectional
    training"). Nothing tells it which way to go but the language that it reads. An epoch has as many batches as before.

    Args:
        batches: of ({"source", "target"}, answers, weights), (batch, time) each, padded with 0: what
            `bucketed_batches` makes of pairs whose sources and answers end with `end`.
        start: symbol that targets begin with.
        until: epochs at the beginning in which batches are turned around.
    """

    def epoch_of(epoch):
        epoch = tf.cast(epoch, tf.int64)

        def in_turns(number, batch):
            turn = tf.logical_and(epoch < until, (number + epoch) % 2 == 0)
            return tf.cond(turn, lambda: turned_around(*batch, start=start), lambda: batch)

        return batches(epoch).enumerate().map(in_turns)

    return epoch_of


def turned_around(inputs: dict[str, Any], answers: Any, weights: Any, *, start: int) -> tuple[dict, Any, Any]:
    """A batch whose answers are its sources, and whose sources are its answers; see `both_ways`."""
    source = inputs["source"]
    first = tf.fill([tf.shape(source)[0], 1], tf.cast(start, source.dtype))
    target = tf.concat([first, source[:, :-1]], axis=1)
    return {"source": answers, "target": target}, source, tf.cast(source != 0, weights.dtype)
