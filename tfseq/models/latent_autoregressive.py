"""Latent autoregressive model: an RNN whose hidden state summarises a time series and predicts its next value."""

import keras
from keras import ops

from tfseq.layers.recurrent import recurrent_layer


@keras.saving.register_keras_serializable(package="tfseq")
class LatentAutoregressive(keras.Model):
    """h_t = cell(h_{t-1}, x_t), x_{t+1} = x_t + w . h_t + b: no window to choose, what matters is kept in the state.

    Values are standardised on the way in and measured again on the way out, by the mean and deviation in `scale`.

    Args:
        units: width of each hidden state.
        depth: recurrent layers, each reading the one below.
        cell: "rnn", "irnn", "lstm" or "gru".
        dropout: rate on what each recurrent layer gives.

    Call arguments:
        history: (batch, time) float32, as measured.

    Returns:
        the value after each position, (batch, time) float32.
    """

    def __init__(self, units=32, depth=1, cell="gru", dropout=0.0, **kwargs):
        super().__init__(**kwargs)
        if min(units, depth) < 1:
            raise ValueError(f"units is {units} and depth {depth}; expected at least 1 of each.")
        self.units, self.depth, self.cell, self.dropout_rate = units, depth, cell, dropout
        policy = self.dtype_policy
        self.scale = keras.layers.Normalization(axis=None, dtype="float32", name="scale")
        self.recurrent = [recurrent_layer(cell, units, dtype=policy, name=f"{cell}_{i + 1}") for i in range(depth)]
        self.dropout = keras.layers.Dropout(dropout, dtype=policy, name="dropout")
        self.head = keras.layers.Dense(1, dtype=policy, name="change")

    def build(self, input_shape=None):
        if not self.scale.built:  # `adapt` has built it
            self.scale.build((None, None))
        width = 1
        for layer in self.recurrent:
            layer.build((None, None, width))
            width = self.units
        self.head.build((None, None, width))
        self.built = True

    def call(self, history, training=False):
        return self.read(history, training=training)[0]

    def read(self, history, training=False):
        """What `call` returns, and the state to go on from: h_t (and c_t) of every layer."""
        x = ops.cast(self.scale(history), self.compute_dtype)[..., None]  # (batch, time, 1)
        states = []
        for layer in self.recurrent:
            x, *state = layer(x, training=training)  # (batch, time, units)
            x = self.dropout(x, training=training)
            states.append(state)
        return self._next(history, self.head(x)[..., 0]), states

    def step(self, value, state):
        """Reads one more value (batch,): the prediction of the next, (batch,), and the new state."""
        x = ops.cast(self.scale(value[:, None]), self.compute_dtype)  # (batch, 1)
        states = []
        for layer, layer_state in zip(self.recurrent, state):
            x, layer_state = layer.cell(x, list(layer_state))  # (batch, units)
            states.append(list(layer_state))
        return self._next(value, self.head(x)[:, 0]), states

    def _next(self, value, change):
        return value + ops.cast(change, "float32") * ops.sqrt(ops.reshape(self.scale.variance, ()))

    def get_config(self):
        return super().get_config() | {
            "units": self.units,
            "depth": self.depth,
            "cell": self.cell,
            "dropout": self.dropout_rate,
        }
