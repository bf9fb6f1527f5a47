"""One to many: an RNN that reads an image at its first step and writes its name, character by character."""

import keras
from keras import ops

from tfseq.layers.recurrent import recurrent_layer
from tfseq.models.generator import Generator
from tfseq.models.hyperparameters import check_sizes


@keras.saving.register_keras_serializable(package="tfseq")
class ImageNamer(Generator):
    """One to many, as the lecture draws it: the image at step one, zeros at every later step.

        h_t = cell(h_{t-1}, x_t),   x_1 = encoder(image),   x_t = 0 for t > 1,   P(y_t) = softmax(W_hy h_t).

    What has been written is not fed back: the state alone knows how far the name has come. Hence `step` ignores the
    token that it is given, and the state holds x_t beside h_{t-1}.

    Args:
        encoder: a Keras layer from images, (batch, *image_shape), to vectors, (batch, width), such as
            `tfseq.layers.convolutional.ConvolutionalEncoder`.
        image_shape: (height, width, channels) of the images.
        vocabulary_size: size of the names' vocabulary.
        units: width of each hidden state.
        depth: recurrent layers, each reading the one below.
        cell: "rnn", "irnn", "lstm" or "gru".
        dropout: rate on the image's vector and on every layer's output.
        start, end: ids of the tokens that a name begins and ends with.

    Call arguments:
        inputs: {"image": (batch, *image_shape) uint8, "target": (batch, time) int32}. Of the target only the number of
            steps is used.

    Returns:
        next-token logits at each position of the target, (batch, time, vocabulary) float32.

    Raises:
        ValueError: hyper-parameters that can't be.

    Example:
        >>> encoder = ConvolutionalEncoder((16, 32), units=64)
        >>> model = ImageNamer(encoder, (28, 28, 1), vocabulary_size=20, units=64)
        >>> image, target = keras.ops.zeros((3, 28, 28, 1), "uint8"), keras.ops.ones((3, 6), "int32")
        >>> model({"image": image, "target": target}).shape
        TensorShape([3, 6, 20])
    """

    shares_memory = True

    def __init__(
        self,
        encoder,
        image_shape,
        vocabulary_size,
        units=128,
        depth=1,
        cell="gru",
        dropout=0.0,
        start=1,
        end=2,
        **kwargs,
    ):
        super().__init__(autocast=False, **kwargs)  # the encoder casts pixels once they are rescaled
        if not isinstance(encoder, keras.layers.Layer):
            raise ValueError(f"encoder is {encoder!r}; expected a Keras layer, such as ConvolutionalEncoder(...).")
        check_sizes(vocabulary_size=vocabulary_size, units=units, depth=depth)
        self.vocabulary_size, self.start, self.end = vocabulary_size, start, end
        self.sources = (keras.InputSpec(dtype="uint8", shape=(None, *image_shape), name="image"),)
        self.units = units
        self.settings = {
            "image_shape": list(image_shape),
            "vocabulary_size": vocabulary_size,
            "units": units,
            "depth": depth,
            "cell": cell,
            "dropout": dropout,
            "start": start,
            "end": end,
        }
        policy = {"dtype": self.dtype_policy}
        self.encoder = encoder
        self.recurrent = [recurrent_layer(cell, units, name=f"{cell}_{i + 1}", **policy) for i in range(depth)]
        self.dropout = keras.layers.Dropout(dropout, name="dropout", **policy)
        self.head = keras.layers.Dense(vocabulary_size, name="logits", **policy)

    def build(self, input_shape=None):
        images = (None, *self.settings["image_shape"])
        if not self.encoder.built:
            self.encoder.build(images)
        width = self.encoder.compute_output_shape(images)[-1]
        for layer in self.recurrent:
            layer.build((None, None, width))
            width = self.units
        self.head.build((None, None, width))
        self.built = True

    def call(self, inputs, training=False):
        v = ops.expand_dims(self.encode(inputs["image"], training=training), 1)  # (batch, 1, width)
        first = ops.arange(ops.shape(inputs["target"])[1]) == 0  # (time,)
        x = ops.where(first[None, :, None], v, ops.zeros_like(v))  # (batch, time, width): v, 0, 0, ...
        for layer in self.recurrent:
            x, *_ = layer(x, training=training)  # (batch, time, units)
            x = self.dropout(x, training=training)
        return ops.cast(self.head(x), "float32")

    def encode(self, inputs=None, training=False):
        """The images' vectors, (batch, width)."""
        return self.dropout(ops.cast(self.encoder(inputs, training=training), self.compute_dtype), training=training)

    def initial_state(self, memory, batch_size):
        """What the first step reads, (batch, width), and h_0 = 0 (and c_0) of every layer, (batch, units) each."""
        return memory, [layer.cell.get_initial_state(batch_size) for layer in self.recurrent]

    def step(self, tokens, state, memory=()):
        x, states = state
        later = ops.zeros_like(x)
        new_states = []
        for layer, layer_state in zip(self.recurrent, states):
            x, layer_state = layer.cell(x, list(layer_state))  # (rows, units)
            new_states.append(list(layer_state))
        return ops.cast(self.head(x), "float32"), (later, new_states)

    def get_config(self):
        return super().get_config() | {"encoder": keras.saving.serialize_keras_object(self.encoder)} | self.settings

    @classmethod
    def from_config(cls, config):
        encoder = keras.saving.deserialize_keras_object(config["encoder"])
        return cls(**config | {"encoder": encoder})
