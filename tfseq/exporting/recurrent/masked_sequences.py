"""Batch-major, masked sequences -> time-major sequences with lengths, as ONNX' operators read them, and back.

Keras lets a mask skip any steps of a row. Moving the steps that count to the front, in their order, and passing their
number makes every mask one that the operators know. Afterwards each step finds its output by counting the steps that
count up to it: that is also how a skipped step finds the output before it, which Keras repeats there.
"""

import tensorflow as tf


class EveryStep:
    """Sequences without a mask."""

    lengths = None

    def time_major(self, x):
        """(batch, time, width) -> (time, batch, width)."""
        return tf.transpose(x, [1, 0, 2])

    def batch_major(self, y, backwards=False, zeros=False, flip=False):
        """(time, batch, width) -> (batch, time, width), in reversed order if `flip`."""
        return tf.transpose(y[::-1] if flip else y, [1, 0, 2])

    def last_output(self, h, given, backwards, zeros):
        return h

    def last_states(self, new, first):
        return new


class MaskedSteps:
    """Sequences with a mask, (batch, time) bool, True on the steps that count.

    Attributes:
        lengths: how many steps of each row count, (batch,) int32.
    """

    def __init__(self, mask):
        self.mask = mask
        counted = tf.cast(mask, tf.int32)
        self.lengths = tf.reduce_sum(counted, axis=1)
        self._until = tf.cumsum(counted, axis=1)  # (batch, time): steps that count, this one included
        self._batch, self._time = tf.shape(mask)[0], tf.shape(mask)[1]
        at = tf.range(self._time)
        # Steps that count get time, time - 1, ..., the others 0, -1, ...: from the largest down is the new order.
        keys = tf.cast(counted * self._time - at, tf.float32)
        _, order = tf.math.top_k(keys, self._time)  # (batch, time)
        self._order = tf.transpose(order + tf.range(self._batch)[:, None] * self._time)

    def time_major(self, x):
        """(batch, time, width) -> (time, batch, width), the steps that count in front."""
        return tf.gather(tf.reshape(x, [-1, x.shape[-1]]), self._order)

    def batch_major(self, y, backwards=False, zeros=False, flip=False):
        """The inverse.

        Args:
            y: (time, batch, width), zero from `lengths` on.
            backwards: the recurrence ran from the last step to the first.
            zeros: skipped steps get zeros, else the last output before them, in the recurrence's direction.
            flip: gives the steps in reversed order.

        Returns:
            (batch, time, width).
        """
        last = self._time - 1  # zeros stand there in a row that has skipped any
        if zeros:
            at = tf.where(self.mask, self._until - 1, last)
        elif backwards:
            at = self._until - tf.cast(self.mask, tf.int32)  # the next step that counts; zeros after the last of them
        else:
            at = tf.where(self._until > 0, self._until - 1, last)
        at = at * self._batch + tf.range(self._batch)[:, None]
        return tf.gather(tf.reshape(y, [-1, y.shape[-1]]), at[:, ::-1] if flip else at)

    def last_output(self, h, given, backwards, zeros):
        """What Keras returns for the step it came to last. `h`: last state; `given`: the first state was not zero."""
        if zeros:
            return tf.where(self.mask[:, :1] if backwards else self.mask[:, -1:], h, 0.0)
        return tf.where(self.lengths[:, None] > 0, h, 0.0) if given else h

    def last_states(self, new, first):
        """Rows without any step that counts keep their first states; the operators leave zeros there."""
        return [tf.where(self.lengths[:, None] > 0, a, b) for a, b in zip(new, first)] if first else new
