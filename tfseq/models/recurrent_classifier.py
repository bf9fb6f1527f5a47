"""RNN sequence classifier (many to one): one class for a whole sequence."""

import keras
from keras import ops

from tfseq.layers.recurrent import recurrent_layer
from tfseq.models.hyperparameters import check_sizes

POOLINGS = ("last", "max", "mean")


@keras.saving.register_keras_serializable(package="tfseq")
class RecurrentClassifier(keras.Model):
    """P(class | x_1..x_T) = softmax(W h + b), h_t = cell(h_{t-1}, front(x_t)), where h = h_T: many to one.

    In both directions (Schuster and Paliwal, 1997), h is the end of each side by side: the forward state at the last
    step, the backward state at the first. Steps that the front masks are left out: padding changes no answer.

    Args:
        front: a Keras layer from the inputs, (batch, time, ...), to a vector per step, (batch, time, width): an
            `Embedding` for tokens, `Masking` for series, `TimeDistributed(...)` for clips, or a `keras.Sequential` that
            begins with a `keras.Input`. If it makes a mask (`mask_zero=True`, `Masking`), masked steps are left out.
        classes: number of them, 2 or more.
        units: width of h_t, in each direction.
        depth: number of recurrent layers, each reading the one below.
        cell: "rnn", "irnn", "lstm" or "gru".
        bidirectional: reads from both ends.
        pooling: what of the top layer is classified: "last" is h_T, "max" and "mean" are over all h_t (Collobert and
            Weston, 2008).
        dropout: rate on the input of every layer but the lowest, and before the softmax. What drops out of the lowest
            layer's input is a matter of the front.

    Call arguments:
        inputs: what the front takes, (batch, time, ...).

    Returns:
        probabilities of the classes, (batch, classes) float32.

    Example:
        >>> embedding = keras.layers.Embedding(1000, 64, mask_zero=True)
        >>> model = RecurrentClassifier(embedding, classes=2, units=64, cell="gru", bidirectional=True)
        >>> model(keras.ops.ones((3, 10), "int32")).shape
        TensorShape([3, 2])
    """

    def __init__(
        self,
        front,
        classes,
        units,
        depth=1,
        cell="lstm",
        bidirectional=False,
        pooling="last",
        dropout=0.0,
        **kwargs,
    ):
        super().__init__(autocast=False, **kwargs)  # inputs reach the front as they are
        if not isinstance(front, keras.layers.Layer):
            raise ValueError(f"front is {front!r}; expected a Keras layer, such as keras.layers.Embedding(...).")
        if pooling not in POOLINGS:
            raise ValueError(f"pooling is {pooling!r}; expected one of {', '.join(POOLINGS)}.")
        if classes < 2:
            raise ValueError(f"classes is {classes}; expected at least 2.")
        check_sizes(units=units, depth=depth)
        self.front = front
        self.classes = classes
        self.units = units
        self.depth = depth
        self.cell = cell
        self.bidirectional = bidirectional
        self.pooling = pooling
        self.dropout_rate = dropout
        policy = self.dtype_policy
        self.recurrent = [recurrent_layer(cell, units, dtype=policy, name=f"{cell}_{i + 1}") for i in range(depth)]
        if bidirectional:
            self.recurrent = [
                keras.layers.Bidirectional(layer, dtype=policy, name=f"both_{i + 1}")
                for i, layer in enumerate(self.recurrent)
            ]
        self.dropouts = [keras.layers.Dropout(dropout, dtype=policy, name=f"dropout_{i + 1}") for i in range(depth)]
        self.head = keras.layers.Dense(classes, "softmax", dtype="float32", name="probabilities")

    def build(self, input_shape=None):
        any_size = (None, None, *input_shape[2:])
        if not self.front.built:
            self.front.build(any_size)
        width = self.front.compute_output_shape(any_size)[-1]
        for layer in self.recurrent:
            layer.build((None, None, width))
            width = self.units * (1 + self.bidirectional)
        self.head.build((None, width))
        self.built = True

    def call(self, inputs, training=False):
        x = self.front(inputs, training=training)  # (batch, time, width)
        mask = getattr(x, "_keras_mask", None)  # (batch, time) bool, or None: every step counts
        for i, layer in enumerate(self.recurrent):
            if i > 0:
                x = self.dropouts[i - 1](x, training=training)
            x, *states = layer(x, mask=mask, training=training)  # (batch, time, units or twice that)
        h = self._summary(x, states, mask)
        return self.head(self.dropouts[-1](h, training=training))

    def _summary(self, x, states, mask):
        """(batch, units), or twice that in both directions."""
        if self.pooling == "last":
            if self.bidirectional:
                return ops.concatenate([states[0], states[len(states) // 2]], axis=-1)
            return states[0]
        real = ops.ones_like(x[..., :1]) if mask is None else ops.cast(mask[..., None], x.dtype)
        if self.pooling == "max":
            return ops.max(ops.where(real > 0, x, -1e9), axis=1)
        return ops.sum(real * x, axis=1) / ops.maximum(ops.sum(real, axis=1), 1)

    def get_config(self):
        return super().get_config() | {
            "front": keras.saving.serialize_keras_object(self.front),
            "classes": self.classes,
            "units": self.units,
            "depth": self.depth,
            "cell": self.cell,
            "bidirectional": self.bidirectional,
            "pooling": self.pooling,
            "dropout": self.dropout_rate,
        }

    @classmethod
    def from_config(cls, config):
        front = keras.saving.deserialize_keras_object(config["front"])
        return cls(**config | {"front": front})
