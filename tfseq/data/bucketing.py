"""Shuffled batches, and padded batches bucketed by length, for `tfseq.training.train`.

Both functions return a function from an epoch to a tf.data.Dataset, so that a resumed run has the same batches at every
epoch as one that was not interrupted.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tfseq.errors import DataError

Batches = Callable[[Any], tf.data.Dataset]  # epoch -> batches


def shuffled_batches(inputs: Any, targets: Any, batch: int, *, seed: int | None = 0) -> Batches:
    """Shuffled batches of examples of one shape.

    Args:
        inputs: an array (examples, ...), or several by name.
        targets: an array (examples, ...), or several by name.
        batch: examples per batch; the last one of an epoch has what is left.
        seed: of the order, which every epoch draws anew; None keeps the examples in order.

    Returns:
        a function: epoch (a number or an integer tensor) -> dataset of (inputs, targets).

    Raises:
        DataError: inputs and targets differ in their number of examples; there is none; `batch` is less than 1.
    """
    count = _count(inputs, targets, batch)
    with tf.device("CPU:0"):
        arrays = tf.nest.map_structure(tf.convert_to_tensor, (inputs, targets))

    def epoch_of(epoch):
        order = tf.range(count) if seed is None else _shuffled(count, seed, epoch)
        rows = tf.data.Dataset.from_tensor_slices(order).batch(batch)
        return rows.map(lambda rows: tf.nest.map_structure(lambda array: tf.gather(array, rows), arrays))

    return epoch_of


def bucketed_batches(
    inputs: Sequence[np.ndarray] | Mapping[str, Sequence[np.ndarray]],
    targets: Any,
    batch: int,
    *,
    seed: int | None = 0,
    mask: str | None = None,
    pool: int = 50,
) -> Batches:
    """Batches of sequences of similar lengths, padded with 0 on the right up to the longest of the batch.

    Every epoch shuffles the examples, sorts each `pool` batches of them by length, and shuffles the batches: batches
    differ from epoch to epoch and hold little padding. Every example comes once per epoch.

    Args:
        inputs: sequences, (time, ...) each; or several lists of them by name, such as source and target. The longest
            of an example's sequences counts as its length.
        targets: an array (examples, ...), or sequences (time, ...), padded as inputs are.
        batch: examples per batch; one batch of an epoch has what is left.
        seed: of the order; None keeps the examples in order, with the padding that costs.
        mask: the name of an input that is added: True where the (first) sequence is real, (batch, time) bool.
        pool: batches that are sorted at a time.

    Returns:
        a function: epoch (a number or an integer tensor) -> dataset of (inputs, targets), or of (inputs, targets,
        weights) where targets are sequences: weights (batch, time) float32 are 1 at targets and 0 at padding. Inputs
        are a dict if names were given, here or by `mask`; a list alone is then called "inputs".

    Raises:
        DataError: inputs and targets differ in their number of examples; there is none, or one without a step;
            `batch` or `pool` is less than 1.
    """
    if pool < 1:
        raise DataError(f"pool is {pool}; expected at least 1.")
    named = dict(inputs) if isinstance(inputs, Mapping) else {"inputs": inputs}
    count = _count(named, targets, batch)
    with tf.device("CPU:0"):
        ragged = {name: _ragged(sequences, name) for name, sequences in named.items()}
        per_step = not isinstance(targets, np.ndarray) and np.ndim(targets[0]) > 0
        answers = _ragged(targets, "targets") if per_step else tf.convert_to_tensor(targets)
    lengths = np.max([[len(sequence) for sequence in sequences] for sequences in named.values()], axis=0)

    def batch_of(rows):
        rows = tf.boolean_mask(rows, rows >= 0)
        chosen = {name: tf.gather(sequences, rows) for name, sequences in ragged.items()}
        padded: Any = {name: sequences.to_tensor() for name, sequences in chosen.items()}
        if mask is not None:
            padded[mask] = tf.sequence_mask(next(iter(chosen.values())).row_lengths())
        if mask is None and not isinstance(inputs, Mapping):
            padded = padded["inputs"]
        answer = tf.gather(answers, rows)
        if not per_step:
            return padded, answer
        return padded, answer.to_tensor(), tf.sequence_mask(answer.row_lengths(), dtype=tf.float32)

    def epoch_of(epoch):
        order = tf.range(count) if seed is None else _by_length(lengths, batch, pool, seed, epoch)
        short = -count % batch
        rows = tf.reshape(tf.concat([order, tf.fill([short], -1)], 0), [-1, batch])  # -1 where no example is left
        if seed is not None:
            rows = tf.gather(rows, _shuffled(-(-count // batch), seed, epoch))
        return tf.data.Dataset.from_tensor_slices(rows).map(batch_of, num_parallel_calls=tf.data.AUTOTUNE)

    return epoch_of


def _by_length(lengths: np.ndarray, batch: int, pool: int, seed: int, epoch: Any) -> tf.Tensor:
    """Indices of all examples, shuffled, then sorted by length within each pool."""
    order = _shuffled(len(lengths), seed, epoch)
    which_pool = tf.range(len(lengths)) // (batch * pool)
    longest = int(lengths.max()) + 1
    # Pools stay in place: what is sorted by is the pool first, the length second.
    keys = tf.cast(which_pool, tf.int64) * longest + tf.gather(lengths.astype("int64"), order)
    return tf.gather(order, tf.argsort(keys, stable=True))


def _shuffled(count: int, seed: int, epoch: Any) -> tf.Tensor:
    """A permutation, (count,) int32, that depends on the seed and the epoch alone."""
    draws = tf.stack([tf.cast(seed, tf.int64), tf.cast(epoch, tf.int64)])
    return tf.random.experimental.stateless_shuffle(tf.range(count), draws, alg="philox")


def _ragged(sequences: Sequence, name: str) -> tf.RaggedTensor:
    arrays = [np.asarray(sequence) for sequence in sequences]
    shapes = {(array.shape[1:], array.dtype) for array in arrays}
    if any(array.ndim < 1 or not len(array) for array in arrays) or len(shapes) != 1:
        raise DataError(
            f"{name} has sequences of {len(shapes)} kinds, or one without a step; expected arrays (time, ...) of one "
            "type that differ in nothing but their time, which is at least 1."
        )
    return tf.RaggedTensor.from_row_lengths(np.concatenate(arrays), [len(array) for array in arrays])


def _count(inputs: Any, targets: Any, batch: int) -> int:
    groups = [values for part in (inputs, targets) for values in (part.values() if hasattr(part, "values") else [part])]
    sizes = {len(values) for values in groups}
    if len(sizes) != 1 or 0 in sizes or batch < 1:
        raise DataError(
            f"Inputs and targets have {' and '.join(str(size) for size in sorted(sizes))} examples and batch is "
            f"{batch}; expected as many inputs as targets, and at least 1 of each."
        )
    return sizes.pop()
