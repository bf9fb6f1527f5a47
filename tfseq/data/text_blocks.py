"""Fixed-length blocks of a text for models without a carried state: random to train on, sliding to evaluate on."""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from tfseq.data.bptt_streams import checked_sizes, checked_tokens
from tfseq.errors import DataError


def random_blocks(
    tokens: np.ndarray, batch: int, block: int, steps: int, seed: int = 0
) -> Callable[[int], tf.data.Dataset]:
    """Blocks to train on, each from a random position in the text, with the next tokens as targets.

    Args:
        tokens: the text, (length,) integers.
        batch: blocks per step.
        block: length of each in tokens.
        steps: batches per epoch.
        seed: where blocks begin depends on it and the number of the step alone.

    Returns:
        from an epoch, counted from 0, to a dataset of (tokens (batch, block) int32, targets (batch, block) int32).

    Raises:
        DataError: the text is not longer than a block; `batch`, `block` or `steps` is less than 1.
    """
    tokens = checked_tokens(tokens)
    checked_sizes(batch=batch, block=block, steps=steps)
    if len(tokens) <= block:
        raise DataError(f"The text has {len(tokens)} tokens; blocks of {block} need at least {block + 1}.")
    with tf.device("CPU:0"):
        text = tf.constant(tokens, tf.int32)
        window = tf.range(block + 1, dtype=tf.int64)

    def element(step):
        first = tf.random.stateless_uniform(
            (batch, 1), [tf.cast(seed, tf.int64), step], maxval=len(tokens) - block, dtype=tf.int64, alg="philox"
        )
        blocks = tf.gather(text, first + window)  # (batch, block + 1)
        return blocks[:, :-1], blocks[:, 1:]

    return lambda epoch: tf.data.Dataset.range(epoch * steps, (epoch + 1) * steps).map(element)


def sliding_blocks(tokens: np.ndarray, batch: int, block: int, context: int = 0) -> tf.data.Dataset:
    """Blocks to evaluate on: every token but the first is predicted exactly once.

    Args:
        tokens: the text, (length,) integers.
        batch: blocks per step.
        block: length of each in tokens.
        context: tokens at the beginning of each block that the block before it has predicted, so that every prediction
            but the first ones of the text is made from more than `context` tokens; 0 cuts the text without an overlap.

    Returns:
        a dataset of (tokens (batch, block) int32, targets (batch, block) int32, weights (batch, block) float32).
        Weights are 1 on what is predicted there, and sum to length - 1.

    Raises:
        DataError: there is nothing to predict in fewer than two tokens; `batch` or `block` is less than 1, or `context`
            is not from 0 to below `block`.
    """
    tokens = checked_tokens(tokens)
    checked_sizes(batch=batch, block=block)
    if not 0 <= context < block:
        raise DataError(f"context is {context}; expected a number from 0 to below block, {block}.")
    if len(tokens) < 2:
        raise DataError(f"The text has {len(tokens)} tokens; a loss needs at least 2. Give a longer text.")
    last = len(tokens) - 1
    blocks = 1 + max(0, -(-(last - block) // (block - context)))
    rows = np.arange(-(-blocks // batch) * batch)  # the last batch is filled up with blocks that count nothing
    positions = rows[:, None] * (block - context) + np.arange(block)  # (blocks, block)
    real = (positions < last) & ((np.arange(block) >= context) | (rows[:, None] == 0)) & (rows[:, None] < blocks)
    inside = np.minimum(positions, last - 1)
    parts = (
        np.where(positions < last, tokens[inside], 0).astype("int32"),
        np.where(positions < last, tokens[inside + 1], 0).astype("int32"),
        real.astype("float32"),
    )
    return tf.data.Dataset.from_tensor_slices(parts).batch(batch, drop_remainder=True)
