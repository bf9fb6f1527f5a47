"""RNN sequence tagger (synchronous many to many): one class at every step; it can stream."""

import keras

from tfseq.layers.recurrent import recurrent_layer
from tfseq.models.hyperparameters import check_sizes


@keras.saving.register_keras_serializable(package="tfseq")
class RecurrentTagger(keras.Model):
    """P(class of step t | x_1..x_t) = softmax(W h_t + b), h_t = cell(h_{t-1}, front(x_t)): one answer per step.

    An answer depends on nothing that comes later, so the model streams: `tfseq.export(model, path, streaming=True)`
    writes a graph that reads a sequence step by step, or in chunks, and keeps h in between. Reading in both directions
    gives this up: each answer then knows the whole sequence, and there is none before its end.

    Args:
        front: a Keras layer from the inputs, (batch, time, ...), to a vector per step, (batch, time, width): an
            `Embedding` for tokens, a `ConvolutionalEncoder` for clips. If it makes a mask, masked steps carry h on;
            what is answered there means nothing.
        classes: number of them, 2 or more.
        units: width of h_t, in each direction.
        depth: number of recurrent layers, each reading the one below.
        cell: "rnn", "irnn", "lstm" or "gru".
        bidirectional: reads from both ends, and can't stream.
        dropout: rate on every layer's output.

    Call arguments:
        inputs: what the front takes, (batch, time, ...).

    Returns:
        probabilities of the classes at each step, (batch, time, classes) float32.

    Raises:
        ValueError: hyper-parameters that can't be.

    Example:
        >>> model = RecurrentTagger(keras.layers.Embedding(1000, 64), classes=5, units=64)
        >>> model(keras.ops.ones((3, 10), "int32")).shape
        TensorShape([3, 10, 5])
    """

    def __init__(self, front, classes, units, depth=1, cell="lstm", bidirectional=False, dropout=0.0, **kwargs):
        super().__init__(autocast=False, **kwargs)  # inputs reach the front as they are
        if not isinstance(front, keras.layers.Layer):
            raise ValueError(f"front is {front!r}; expected a Keras layer, such as keras.layers.Embedding(...).")
        if classes < 2:
            raise ValueError(f"classes is {classes}; expected at least 2.")
        check_sizes(units=units, depth=depth)
        self.front = front
        self.settings = {
            "classes": classes,
            "units": units,
            "depth": depth,
            "cell": cell,
            "bidirectional": bidirectional,
            "dropout": dropout,
        }
        policy = self.dtype_policy
        layers = [recurrent_layer(cell, units, dtype=policy, name=f"{cell}_{i + 1}") for i in range(depth)]
        if bidirectional:
            layers = [keras.layers.Bidirectional(x, dtype=policy, name=f"both_{i + 1}") for i, x in enumerate(layers)]
        self.recurrent = layers
        self.dropouts = [keras.layers.Dropout(dropout, dtype=policy, name=f"dropout_{i + 1}") for i in range(depth)]
        self.head = keras.layers.Dense(classes, "softmax", dtype="float32", name="probabilities")

    def build(self, input_shape=None):
        any_size = (None, None, *input_shape[2:])
        if not self.front.built:
            self.front.build(any_size)
        width = self.front.compute_output_shape(any_size)[-1]
        for layer in self.recurrent:
            layer.build((None, None, width))
            width = self.settings["units"] * (1 + self.settings["bidirectional"])
        self.head.build((None, None, width))
        self.built = True

    def call(self, inputs, training=False):
        x = self.front(inputs, training=training)  # (batch, time, width)
        mask = getattr(x, "_keras_mask", None)  # (batch, time) bool, or None: every step counts
        for layer, dropout in zip(self.recurrent, self.dropouts):
            x, *_ = layer(x, mask=mask, training=training)  # (batch, time, units or twice that)
            x = dropout(x, training=training)
        return self.head(x)

    def get_config(self):
        return super().get_config() | {"front": keras.saving.serialize_keras_object(self.front)} | self.settings

    @classmethod
    def from_config(cls, config):
        front = keras.saving.deserialize_keras_object(config["front"])
        return cls(**config | {"front": front})
