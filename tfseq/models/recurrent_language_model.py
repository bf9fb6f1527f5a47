"""Recurrent language model: vanilla RNN, IRNN, LSTM or GRU."""

import keras
from keras import ops

from tfseq.layers.recurrent import recurrent_layer
from tfseq.models.generator import Generator

INITIAL_STATES = ("zeros", "random", "learned")


@keras.saving.register_keras_serializable(package="tfseq")
class RecurrentLanguageModel(Generator):
    """P(x_t | x_<t) = softmax(W_hy h_t), h_t = cell(h_{t-1}, x_t): the character model of the RNN lecture.

    Args:
        vocabulary_size: number of tokens in the vocabulary.
        units: width of each hidden state.
        depth: number of recurrent layers, each reading the one below.
        cell: "rnn", "irnn", "lstm" or "gru".
        embedding_dim: width of a learned embedding; None feeds one-hot vectors, as the lecture does.
        initial_state: h_0 of every layer: "zeros", "random" (drawn once, then fixed) or "learned".
        dropout: rate on every layer's input but the tokens', and before the logits (Zaremba et al., 2014).
        end: id of the token that ends a text; None where only the maximum length ends it.

    Call arguments:
        tokens: (batch, time) int32.

    Returns:
        next-token logits at each position, (batch, time, vocabulary) float32.

    Example:
        >>> model = RecurrentLanguageModel(vocabulary_size=65, units=256, cell="gru")
        >>> model(keras.ops.zeros((2, 10), "int32")).shape
        TensorShape([2, 10, 65])
    """

    def __init__(
        self,
        vocabulary_size,
        units=256,
        depth=1,
        cell="lstm",
        embedding_dim=None,
        initial_state="zeros",
        dropout=0.0,
        end=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if initial_state not in INITIAL_STATES:
            raise ValueError(f"initial_state is {initial_state!r}; expected one of {', '.join(INITIAL_STATES)}.")
        if min(vocabulary_size, units, depth) < 1:
            raise ValueError(
                f"vocabulary_size is {vocabulary_size}, units {units} and depth {depth}; expected at least 1 of each."
            )
        self.vocabulary_size, self.end = vocabulary_size, end
        self.units = units
        self.depth = depth
        self.cell = cell
        self.embedding_dim = embedding_dim
        self.initial_state_kind = initial_state
        self.dropout_rate = dropout
        policy = self.dtype_policy
        if embedding_dim:
            # Keras' own start, within 0.05 of zero, would leave the cell nearly blind for hundreds of steps.
            unit_normal = keras.initializers.RandomNormal(stddev=1.0)
            self.embed = keras.layers.Embedding(
                vocabulary_size, embedding_dim, unit_normal, dtype=policy, name="embedding"
            )
        self.recurrent = [recurrent_layer(cell, units, dtype=policy, name=f"{cell}_{i + 1}") for i in range(depth)]
        self.dropouts = [keras.layers.Dropout(dropout, dtype=policy, name=f"dropout_{i + 1}") for i in range(depth)]
        self.head = keras.layers.Dense(vocabulary_size, dtype=policy, name="logits")

    def build(self, input_shape=None):
        width = self.embedding_dim or self.vocabulary_size
        if self.embedding_dim:
            self.embed.build((None, None))
        for layer in self.recurrent:
            layer.build((None, None, width))
            width = self.units
        self.head.build((None, None, width))
        self.h0 = [[self._initial_weight(i, j) for j in range(self._states_per_layer)] for i in range(self.depth)]
        self.built = True

    def _initial_weight(self, layer, part):
        kind = self.initial_state_kind
        return self.add_weight(
            shape=(self.units,),
            initializer="random_normal" if kind == "random" else "zeros",
            trainable=kind == "learned",
            name=f"initial_state_{layer + 1}_{'hc'[part]}",
        )

    @property
    def _states_per_layer(self):
        return 2 if self.cell == "lstm" else 1

    def call(self, tokens, training=False):
        state = self.initial_state((), ops.shape(tokens)[0])
        logits, _ = self.unroll(tokens, state, training=training)
        return logits

    def unroll(self, tokens, state, training=False):
        """`call` that starts from a given state and returns the last one: what truncated BPTT carries forward.

        Args:
            tokens: (batch, time) int32.
            state: as `initial_state` returned it.

        Returns:
            logits (batch, time, vocabulary) float32, and the state after the last position.
        """
        x, state = self._unrolled(tokens, state, training)
        return ops.cast(self.head(x), "float32"), state

    def _unrolled(self, tokens, state, training=False):
        x = self._embed(tokens)  # (batch, time, width)
        new_state = []
        for layer, dropout, layer_state in zip(self.recurrent, self.dropouts, state):
            x, *layer_state = layer(x, initial_state=list(layer_state), training=training)  # (batch, time, units)
            x = dropout(x, training=training)
            new_state.append(layer_state)
        return x, new_state

    def initial_state(self, memory, batch_size):
        """h_0 (and c_0 for LSTM) of every layer: a list of lists of (batch, units)."""
        return [
            [ops.cast(ops.broadcast_to(w, (batch_size, self.units)), self.compute_dtype) for w in weights]
            for weights in self.h0
        ]

    def step(self, tokens, state, memory=()):
        logits, state, _ = self.step_with_hidden(tokens, state)
        return logits, state

    def step_with_hidden(self, tokens, state, memory=()):
        x = self._embed(tokens)  # (batch, width)
        new_state = []
        for layer, layer_state in zip(self.recurrent, state):
            x, layer_state = layer.cell(x, list(layer_state))  # (batch, units)
            new_state.append(list(layer_state))
        return ops.cast(self.head(x), "float32"), new_state, x

    def read(self, tokens, state, memory=()):
        x, state = self._unrolled(tokens, state)
        return ops.cast(self.head(x[:, -1]), "float32"), state

    def _embed(self, tokens):
        if self.embedding_dim:
            return self.embed(tokens)
        return ops.one_hot(tokens, self.vocabulary_size, dtype=self.compute_dtype)

    def get_config(self):
        return super().get_config() | {
            "vocabulary_size": self.vocabulary_size,
            "units": self.units,
            "depth": self.depth,
            "cell": self.cell,
            "embedding_dim": self.embedding_dim,
            "initial_state": self.initial_state_kind,
            "dropout": self.dropout_rate,
            "end": self.end,
        }
