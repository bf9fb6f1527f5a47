"""Contiguous streams of a text for truncated BPTT: chunks whose hidden state carries over, and their evaluation.

A text of tokens is cut into `batch` contiguous streams, one per row, and each stream into chunks of `chunk` tokens.
Chunk k + 1 of a row starts exactly where chunk k ended, so the state a model ends one chunk with is the state it starts
the next with. Nothing is shuffled. One pass over the streams is an epoch; global step s is step s mod `steps_per_epoch`
of epoch s div `steps_per_epoch`, and a run can start at any global step at no cost.
"""

import numpy as np
import tensorflow as tf

from tfseq.errors import DataError


def steps_per_epoch(length: int, batch: int, chunk: int, shifted: bool = False) -> int:
    """Number of steps (chunks) in one epoch over a text.

    Args:
        length: of the text, in tokens.
        batch: number of streams.
        chunk: number of tokens a step reads from each stream.
        shifted: whether epochs start at different tokens (`seed` of `contiguous_streams`), which needs chunk - 1 tokens
            to spare.

    Raises:
        DataError: the text is shorter than one chunk per stream; `batch` or `chunk` is less than 1.
    """
    checked_sizes(batch=batch, chunk=chunk)
    spare = chunk - 1 if shifted else 0
    steps = (length - 1 - spare) // (batch * chunk)
    if steps < 1:
        raise DataError(
            f"The text has {length} tokens; {batch} streams with chunks of {chunk} need at least "
            f"{batch * chunk + 1 + spare}. Give a longer text, or a smaller batch or chunk."
        )
    return steps


def contiguous_streams(
    tokens: np.ndarray, batch: int, chunk: int, *, start: int = 0, epochs: int | None = 1, seed: int | None = None
) -> tf.data.Dataset:
    """Chunks to train on, in order, with the next tokens as targets.

    Args:
        tokens: the text, (length,) integers.
        batch: number of streams.
        chunk: number of tokens a step reads from each stream.
        start: the global step of the first element. To go on with an interrupted run, give the number of steps it made.
        epochs: number of epochs, counted from global step 0; None never ends.
        seed: None starts every epoch at the first token. Otherwise each is shifted by an offset drawn from the seed and
            the epoch, at most as long as what is left over at the end of the text, so that gradients are not always cut
            at the same tokens and the end of the text is learned from too.

    Returns:
        a dataset of ({"tokens": (batch, chunk) int32, "starts": (batch,) bool}, targets (batch, chunk) int32). `starts`
        is true at the first chunk of an epoch: there no row continues the chunk before, so states are reset.

    Raises:
        DataError: the text is shorter than one chunk per stream; an argument is out of range.
    """
    tokens = checked_tokens(tokens)
    steps = steps_per_epoch(len(tokens), batch, chunk, shifted=seed is not None)
    if start < 0 or (epochs is not None and epochs < 0):
        raise DataError(f"start is {start} and epochs is {epochs}; expected numbers that are not negative.")
    stream = steps * chunk
    left_over = len(tokens) - 1 - batch * stream
    with tf.device("CPU:0"):
        text = tf.constant(tokens, tf.int32)
        # Reads one token more than a chunk: inputs are all but the last, targets all but the first.
        window = tf.range(batch, dtype=tf.int64)[:, None] * stream + tf.range(chunk + 1, dtype=tf.int64)

    def element(step):
        epoch, position = step // steps, step % steps
        shift = tf.constant(0, tf.int64) if seed is None else _draw(seed, epoch, left_over + 1)
        chunks = tf.gather(text, window + shift + position * chunk)  # (batch, chunk + 1)
        return {"tokens": chunks[:, :-1], "starts": tf.fill([batch], position == 0)}, chunks[:, 1:]

    end = tf.int64.max if epochs is None else max(start, steps * epochs)
    return tf.data.Dataset.range(start, end).map(element).prefetch(tf.data.AUTOTUNE)


def evaluation_stream(tokens: np.ndarray, batch: int, chunk: int) -> tf.data.Dataset:
    """One epoch that predicts every token but the first exactly once: for the loss over a whole text.

    The streams are as equal in length as can be and each begins with the last token of the one before. More streams are
    faster, but each begins without a past: one stream alone measures the loss of the text read from end to end.

    Args:
        tokens: the text, (length,) integers.
        batch: number of streams.
        chunk: number of tokens a step reads from each stream.

    Returns:
        a dataset of ({"tokens": (batch, chunk) int32, "starts": (batch,) bool}, targets (batch, chunk) int32, weights
        (batch, chunk) float32). Weights are 1 on the text and 0 on the padding behind the end of a stream, where tokens
        and targets are 0; they sum to length - 1, by which the summed loss is to be divided. `starts` is true at the
        first chunk.

    Raises:
        DataError: there is nothing to predict in fewer than two tokens; `batch` or `chunk` is less than 1.
    """
    tokens = checked_tokens(tokens)
    checked_sizes(batch=batch, chunk=chunk)
    if len(tokens) < 2:
        raise DataError(f"The text has {len(tokens)} tokens; a loss needs at least 2. Give a longer text.")
    edges = np.arange(batch + 1) * (len(tokens) - 1) // batch
    first, last = edges[:-1, None], edges[1:, None]  # (batch, 1): a row predicts the tokens first + 1 to last
    steps = -(-int((last - first).max()) // chunk)
    with tf.device("CPU:0"):
        text = tf.constant(tokens, tf.int32)

    def element(step):
        position = first + step * chunk + tf.range(chunk, dtype=tf.int64)  # (batch, chunk)
        real = position < last
        inputs = tf.where(real, tf.gather(text, tf.where(real, position, 0)), 0)
        targets = tf.where(real, tf.gather(text, tf.where(real, position + 1, 0)), 0)
        return {"tokens": inputs, "starts": tf.fill([batch], step == 0)}, targets, tf.cast(real, tf.float32)

    return tf.data.Dataset.range(steps).map(element).prefetch(tf.data.AUTOTUNE)


def _draw(seed, epoch, limit):
    """An integer below `limit` that depends on the seed and the epoch alone, on every device."""
    return tf.random.stateless_uniform((), [tf.cast(seed, tf.int64), epoch], maxval=limit, dtype=tf.int64, alg="philox")


def checked_sizes(**sizes: int) -> None:
    """Raises DataError, which names all of them, unless every size is at least 1."""
    if min(sizes.values()) < 1:
        said = " and ".join(f"{name} is {size}" for name, size in sizes.items())
        raise DataError(f"{said}; expected at least 1 of each.")


def checked_tokens(tokens: np.ndarray) -> np.ndarray:
    """The tokens of a text as an array (length,) of integers, or DataError."""
    tokens = np.asarray(tokens)
    if tokens.ndim != 1 or (tokens.size and tokens.dtype.kind not in "iu"):
        raise DataError(f"Tokens are {tokens.dtype} of shape {tokens.shape}; expected integers of shape (length,).")
    return tokens
