"""Positional encodings: sinusoidal and learned ones, added to token embeddings, and rotary ones (RoPE)."""

import keras
import numpy as np
from keras import ops

from tfseq.keras_versions import ReversibleEmbedding
from tfseq.layers.cpu_training import kernels, kernels_apply

POSITIONS = ("sinusoidal", "learned")


def rotary_or_added(positions):
    """Whether a model's attention is rotary, and what its embeddings add: of "rotary" or one of `POSITIONS`.

    Raises:
        ValueError: `positions` is neither.
    """
    if positions not in (*POSITIONS, "rotary"):
        raise ValueError(f"positions is {positions!r}; expected one of {', '.join(POSITIONS)}, rotary.")
    return positions == "rotary", None if positions == "rotary" else positions


def sinusoidal_positions(positions, units):
    """sin and cos of p / 10000^(2i / units), i < units / 2 (Vaswani et al., 2017, section 3.5).

    Args:
        positions: (...) integers.
        units: width, even.

    Returns:
        (..., units) float32: all sines, then all cosines, an order that a first product undoes as well as any.
    """
    frequencies = (10000.0 ** (-np.arange(0, units, 2) / units)).astype("float32")
    angles = ops.expand_dims(ops.cast(positions, "float32"), -1) * frequencies  # (..., units / 2)
    return ops.concatenate([ops.sin(angles), ops.cos(angles)], axis=-1)


def rotated(x, positions, training=False):
    """Rotary positions (RoPE): the pairs (x_i, x_{i + d/2}) rotated by the angle p / 10000^(2i / d) (Su et al., 2021).

    The score of a rotated query and key depends on their relative position only.

    Args:
        x: queries or keys, (batch, heads, time, d), d even.
        positions: (time,) integers, or () for all alike.
        training: whether gradients follow.
    """
    half = x.shape[-1] // 2
    frequencies = (10000.0 ** (-np.arange(half) / half)).astype("float32")
    angles = ops.expand_dims(ops.cast(positions, "float32"), -1) * frequencies  # (time, d / 2)
    if kernels_apply(training, x.shape[1:]):
        return kernels().turned(x, ops.cos(angles), ops.sin(angles))
    cos, sin = ops.cast(ops.cos(angles), x.dtype), ops.cast(ops.sin(angles), x.dtype)
    first, second = ops.split(x, 2, axis=-1)
    return ops.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)


def reversed_embedding(embedding, x):
    """States (rows, units) or (batch, time, units) to logits, the product with the transposed table.

    Fewer than eight rows, but one, are filled up to eight: TensorFlow's product of two to seven on a CPU copies the
    whole table first, which takes five times as long and the memory of another table.
    """
    if len(x.shape) != 2 or x.shape[0] == 1 or keras.backend.backend() != "tensorflow":
        return embedding(x, reverse=True)
    rows = ops.shape(x)[0]
    more = ops.where(ops.equal(rows, 1), 0, ops.maximum(8 - rows, 0))
    filled = ops.concatenate([x, ops.zeros((more, x.shape[1]), x.dtype)])
    return embedding(filled, reverse=True)[:rows]


@keras.saving.register_keras_serializable(package="tfseq")
class PositionedEmbedding(keras.layers.Layer):
    """sqrt(units) E[token] + position, and back from a state to logits (Vaswani et al., 2017, sections 3.4 and 3.5).

    Args:
        vocabulary_size: number of tokens in the vocabulary.
        units: width.
        positions: "sinusoidal", of any length; "learned", of up to `max_positions`; or None, which adds nothing.
        max_positions: rows of the table of learned positions.
        tied: whether `logits` uses E again (weight tying; Press and Wolf, 2017).
        dropout: rate on the sum.

    Call arguments:
        tokens: (batch, time), from position 0 on; or those of one decode step, (rows,).
        position: of the step, () integer; of tokens (batch, time) that don't begin at 0, (time,).

    Raises:
        ValueError: `positions` is neither, units can't be halved into sines and cosines, or a sequence has more than
            `max_positions`.
    """

    def __init__(
        self, vocabulary_size, units, positions="sinusoidal", max_positions=512, tied=True, dropout=0.0, **kwargs
    ):
        super().__init__(**kwargs)
        if positions is not None and positions not in POSITIONS:
            raise ValueError(f"positions is {positions!r}; expected one of {', '.join(POSITIONS)}.")
        if positions == "sinusoidal" and units % 2:
            raise ValueError(f"units is {units}; expected an even number: sines and cosines take half each.")
        self.vocabulary_size, self.units = vocabulary_size, units
        self.positions, self.max_positions = positions, max_positions
        self.tied, self.rate = tied, dropout
        initial = keras.initializers.RandomNormal(stddev=units**-0.5)
        self.symbols = ReversibleEmbedding(
            vocabulary_size, units, tied, embeddings_initializer=initial, dtype=self.dtype_policy, name="symbols"
        )
        self.dropout = keras.layers.Dropout(dropout, dtype=self.dtype_policy, name="dropout")

    def build(self, shape=None):
        self.symbols.build()
        if self.positions == "learned":
            initial = keras.initializers.RandomNormal(stddev=self.units**-0.5)
            self.table = self.add_weight((self.max_positions, self.units), initial, name="positions")

    def call(self, tokens, position=None, training=False):
        x = self.symbols(tokens) * self.units**0.5  # (batch, time, units) or (rows, units)
        if self.positions is not None:
            x = x + ops.cast(self._added(tokens, position), x.dtype)
        if self.rate and kernels_apply(training):
            return kernels().dropped(x, self.rate, self.dropout.seed_generator.next())
        return self.dropout(x, training=training)

    def _added(self, tokens, position):
        time = tokens.shape[1] if position is None else None
        if self.positions == "learned" and time is not None and time > self.max_positions:
            raise ValueError(f"The sequence has {time} tokens; expected at most max_positions, {self.max_positions}.")
        positions = ops.arange(ops.shape(tokens)[1], dtype="int32") if position is None else position
        if self.positions == "learned":
            return ops.take(self.table, positions, axis=0)
        return sinusoidal_positions(positions, self.units)

    def logits(self, x):
        """(..., units) -> (..., vocabulary) float32"""
        return ops.cast(reversed_embedding(self.symbols, x), "float32")

    def get_config(self):
        return super().get_config() | {
            "vocabulary_size": self.vocabulary_size,
            "units": self.units,
            "positions": self.positions,
            "max_positions": self.max_positions,
            "tied": self.tied,
            "dropout": self.rate,
        }
