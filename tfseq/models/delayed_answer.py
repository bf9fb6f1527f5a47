"""Delayed many to many: one RNN, without a decoder, that reads a source to its end and then writes the answer."""

import keras
from keras import ops

from tfseq.layers.recurrent import recurrent_layer
from tfseq.models.generator import Generator
from tfseq.models.hyperparameters import check_sizes

BLANK = 0  # the padding token, which also follows a source


@keras.saving.register_keras_serializable(package="tfseq")
class DelayedAnswer(Generator):
    """One RNN over x_1 .. x_n followed by blanks, whose outputs count from the first blank on.

        h_t = cell(h_{t-1}, x_t),   x_t = blank for t > n,   P(y_j) = softmax(W_hy h_{n+j}),   j = 1, 2, ...

    There is no decoder: the same weights read and answer, and nothing but the state leads from one token of the answer
    to the next. Hence `step` ignores the token that it is given and feeds the blank.

    Args:
        vocabulary_size: size of the vocabulary that source and answer share; 0 is the blank.
        units: width of each hidden state.
        depth: recurrent layers, each reading the one below.
        cell: "rnn", "irnn", "lstm" or "gru".
        embedding_dim: width of the token embedding; None for `units`.
        reverse: read the source from its last token to its first, which brings what an answer begins with near to
            it (Sutskever et al., 2014).
        dropout: rate on every layer's output.
        start, end: ids of the tokens that an answer begins and ends with.

    Call arguments:
        inputs: {"source": (batch, source_time), "target": (batch, time)} int32, padded on the right with 0. Of the
            target only the number of steps is used.

    Returns:
        next-token logits at each position of the target, (batch, time, vocabulary) float32.

    Raises:
        ValueError: hyper-parameters that can't be.

    Example:
        >>> model = DelayedAnswer(vocabulary_size=16, units=128)
        >>> model({"source": keras.ops.ones((2, 7), "int32"), "target": keras.ops.ones((2, 4), "int32")}).shape
        TensorShape([2, 4, 16])
    """

    shares_memory = True
    sources = (keras.InputSpec(dtype="int32", shape=(None, None), name="source"),)

    def __init__(
        self,
        vocabulary_size,
        units=256,
        depth=1,
        cell="gru",
        embedding_dim=None,
        reverse=False,
        dropout=0.0,
        start=1,
        end=2,
        **kwargs,
    ):
        super().__init__(**kwargs)
        embedding_dim = units if embedding_dim is None else embedding_dim
        check_sizes(vocabulary_size=vocabulary_size, units=units, depth=depth, embedding_dim=embedding_dim)
        self.vocabulary_size, self.start, self.end = vocabulary_size, start, end
        self.units, self.embedding_dim, self.reverse = units, embedding_dim, reverse
        self.settings = {
            "vocabulary_size": vocabulary_size,
            "units": units,
            "depth": depth,
            "cell": cell,
            "embedding_dim": embedding_dim,
            "reverse": reverse,
            "dropout": dropout,
            "start": start,
            "end": end,
        }
        policy = {"dtype": self.dtype_policy}
        self.embedding = keras.layers.Embedding(vocabulary_size, embedding_dim, name="embedding", **policy)
        self.recurrent = [recurrent_layer(cell, units, name=f"{cell}_{i + 1}", **policy) for i in range(depth)]
        self.dropouts = [keras.layers.Dropout(dropout, name=f"dropout_{i + 1}", **policy) for i in range(depth)]
        self.head = keras.layers.Dense(vocabulary_size, name="logits", **policy)

    def build(self, input_shape=None):
        self.embedding.build((None, None))
        width = self.embedding_dim
        for layer in self.recurrent:
            layer.build((None, None, width))
            width = self.units
        self.head.build((None, None, width))
        self.built = True

    def call(self, inputs, training=False):
        source, target = inputs["source"], inputs["target"]
        lengths = _lengths(source)
        x = ops.concatenate([self._in_reading_order(source, lengths), ops.full_like(target, BLANK)], axis=1)
        x = self.embedding(x)  # (batch, source_time + time, embedding)
        for layer, dropout in zip(self.recurrent, self.dropouts):
            x, *_ = layer(x, training=training)  # (batch, source_time + time, units)
            x = dropout(x, training=training)
        answers = ops.expand_dims(lengths, 1) + ops.arange(ops.shape(target)[1])  # (batch, time): steps n + j
        return self._logits(ops.take_along_axis(x, ops.expand_dims(answers, 2), axis=1))

    def encode(self, inputs=None):
        """The state after the last token of each source: a list of lists of (batch, units)."""
        lengths = _lengths(inputs)
        mask = _positions(inputs) < ops.expand_dims(lengths, 1)  # (batch, source_time); later steps carry the state
        x = self.embedding(self._in_reading_order(inputs, lengths))
        states = []
        for layer in self.recurrent:
            x, *state = layer(x, mask=mask)
            states.append(state)
        return states

    def initial_state(self, memory, batch_size):
        """Where reading ended; the memory is of no further use."""
        return memory

    def step(self, tokens, state, memory=()):
        x = self.embedding(ops.full_like(tokens, BLANK))  # (rows, embedding)
        new_state = []
        for layer, layer_state in zip(self.recurrent, state):
            x, layer_state = layer.cell(x, list(layer_state))  # (rows, units)
            new_state.append(list(layer_state))
        return self._logits(x), new_state

    def _in_reading_order(self, source, lengths):
        if not self.reverse:
            return source
        backwards = ops.expand_dims(lengths, 1) - 1 - _positions(source)  # (batch, source_time), below 0 in padding
        turned = ops.take_along_axis(source, ops.maximum(backwards, 0), axis=1)
        return ops.where(backwards >= 0, turned, BLANK)

    def _logits(self, x):
        return ops.cast(self.head(x), "float32")

    def get_config(self):
        return super().get_config() | self.settings


def _positions(source):
    """0, 1, 2... along the time of (batch, time)."""
    return ops.expand_dims(ops.arange(ops.shape(source)[1], dtype="int32"), 0)


def _lengths(source):
    """Length of each source without its padding, in tokens, (batch,) int32."""
    return ops.max(ops.where(source != BLANK, _positions(source) + 1, 0), axis=1)
