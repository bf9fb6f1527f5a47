"""Image captioning: an image encoder and a caption decoder of one's choice, as one `Generator`."""

import math

import keras
from keras import ops

from tfseq.keras_versions import ReversibleEmbedding
from tfseq.layers.caption_decoders import Places
from tfseq.models.generator import Generator
from tfseq.models.hyperparameters import check_sizes


@keras.saving.register_keras_serializable(package="tfseq")
class Captioner(Generator):
    """P(word_t | words before, image) = softmax(W s_t + b), s_t the decoder's state. The lectures' four are choices:

    | system | encoder | decoder |
    |---|---|---|
    | CNN + RNN | `ConvolutionalEncoder(grid=True)` or `Backbone` | `RecurrentCaptionDecoder` |
    | CNN + RNN + attention | the same | `AttentionCaptionDecoder` |
    | CNN + Transformer | the same | `TransformerCaptionDecoder` |
    | ViT + Transformer | `VisionEncoder(class_token=False)`, without convolution | `TransformerCaptionDecoder` |

    All of them read the image as a set of places, each with what is seen there and where it is: see `Places`.

    Args:
        encoder: a Keras layer from images, (batch, *image_shape) uint8, to features: (batch, rows, columns, width), or
            (batch, places, width), row by row.
        decoder: one of `tfseq.layers.caption_decoders`, or a layer with the same methods.
        image_shape: (height, width, channels) of the images.
        vocabulary_size: number of words in the vocabulary.
        embedding_dim: width of the words' embeddings; None for the decoder's units.
        dropout: rate on embeddings, on places and before the logits.
        tied: whether the logits take the embedding matrix, transposed (Press and Wolf, 2017); takes embedding_dim=None.
        start, end: ids of the tokens that a caption begins and ends with.

    Call arguments:
        inputs: {"image": (batch, *image_shape) uint8, "target": (batch, time) int32, padded on the right with 0}. In
            place of the images their `features`, as a frozen encoder gives them: it then reads each image once, and not
            once per epoch.

    Returns:
        next-word logits at each position of the target, (batch, time, vocabulary) float32.

    Raises:
        ValueError: hyper-parameters that can't be.

    Example:
        >>> encoder = ConvolutionalEncoder((32, 64, 64), grid=True)
        >>> model = Captioner(encoder, AttentionCaptionDecoder(128), (32, 32, 3), vocabulary_size=20)
        >>> image, target = keras.ops.zeros((2, 32, 32, 3), "uint8"), keras.ops.ones((2, 9), "int32")
        >>> model({"image": image, "target": target}).shape
        TensorShape([2, 9, 20])
    """

    shares_memory = True

    def __init__(
        self,
        encoder,
        decoder,
        image_shape,
        vocabulary_size,
        embedding_dim=None,
        dropout=0.0,
        tied=False,
        start=1,
        end=2,
        **kwargs,
    ):
        super().__init__(autocast=False, **kwargs)  # the encoder casts pixels once they are rescaled
        for name, layer in (("encoder", encoder), ("decoder", decoder)):
            if not isinstance(layer, keras.layers.Layer):
                raise ValueError(f"{name} is {layer!r}; expected a Keras layer, such as {_EXAMPLES[name]}.")
        if not hasattr(decoder, "remember"):
            raise ValueError(f"decoder is {decoder!r}; expected one of tfseq.layers.caption_decoders.")
        width = decoder.units if embedding_dim is None else embedding_dim
        check_sizes(vocabulary_size=vocabulary_size, embedding_dim=width)
        if tied and width != decoder.units:
            raise ValueError(
                f"embedding_dim is {width} and the decoder's units {decoder.units}; expected equal widths where tied."
            )
        self.vocabulary_size, self.start, self.end = vocabulary_size, start, end
        self.sources = (keras.InputSpec(dtype="uint8", shape=(None, *image_shape), name="image"),)
        self.image_shape, self.embedding_dim, self.tied = tuple(image_shape), width, tied
        self.settings = {
            "image_shape": list(image_shape),
            "vocabulary_size": vocabulary_size,
            "embedding_dim": embedding_dim,
            "dropout": dropout,
            "tied": tied,
            "start": start,
            "end": end,
        }
        policy = {"dtype": self.dtype_policy}
        self.encoder, self.decoder = encoder, decoder
        self.places = Places(decoder.units, name="places", **policy)
        initial = keras.initializers.RandomNormal(stddev=width**-0.5)
        self.embedding = ReversibleEmbedding(
            vocabulary_size, width, tie_weights=True, embeddings_initializer=initial, name="words", **policy
        )
        if not tied:
            self.head = keras.layers.Dense(vocabulary_size, name="logits", **policy)
        self.dropout = keras.layers.Dropout(dropout, name="dropout", **policy)

    def build(self, input_shape=None):
        images = (None, *self.image_shape)
        if not self.encoder.built:
            self.encoder.build(images)
        self.places.build(self.encoder.compute_output_shape(images))
        self.embedding.build()
        if not self.decoder.built:
            self.decoder.build((None, None, self.embedding_dim), (None, self.places.count, self.decoder.units))
        if not self.tied:
            self.head.build((None, None, self.decoder.units))
        self.built = True

    @property
    def has_attention(self):
        return self.decoder.looks

    @property
    def grid(self):
        """Rows and columns of the places; the attention weights of `step_with_attention` are row by row."""
        shape = self.encoder.compute_output_shape((None, *self.image_shape))
        if len(shape) == 4:
            return shape[1], shape[2]
        height, width = self.image_shape[:2]
        rows = math.isqrt(shape[1] * height // width)  # of places that are as high as wide
        if rows == 0 or rows * (rows * width // height) != shape[1]:
            raise ValueError(
                f"The encoder sees {shape[1]} places in images of {height} x {width} pixels, which make no grid of "
                "squares; expected such a grid, as VisionEncoder(class_token=False) gives it."
            )
        return rows, shape[1] // rows

    def call(self, inputs, training=False):
        features = inputs["features"] if "features" in inputs else self.features(inputs["image"], training)
        memory = self._remember(features, training)
        y = self.dropout(self._embedded(inputs["target"]), training=training)  # (batch, time, embedding)
        return self._logits(self.decoder(y, memory, training=training), training)

    def features(self, images, training=False):
        """The encoder's features of the images."""
        return ops.cast(self.encoder(images, training=training), self.compute_dtype)

    def encode(self, inputs=None, training=False):
        """The decoder's memory, computed once per image: see the decoder's `remember`."""
        return self._remember(self.features(inputs, training), training)

    def _remember(self, features, training):
        return self.decoder.remember(self.dropout(self.places(features), training=training))

    def initial_state(self, memory, batch_size):
        return self.decoder.initial_state(memory, batch_size)

    def step(self, tokens, state, memory=()):
        x, state, _ = self.decoder.step(self._embedded(tokens), state, memory)
        return self._logits(x), state

    def step_with_attention(self, tokens, state, memory=()):
        """`step`, and attention weights, (rows, places) float32: one for each place of the `grid`."""
        x, state, weights = self.decoder.step(self._embedded(tokens), state, memory)
        if weights is None:
            raise TypeError(f"{type(self.decoder).__name__} sees one vector; it has no attention to return.")
        return self._logits(x), state, weights

    def _embedded(self, tokens):
        return self.embedding(tokens) * self.embedding_dim**0.5

    def _logits(self, x, training=False):
        x = self.dropout(x, training=training)
        return ops.cast(self.embedding(x, reverse=True) if self.tied else self.head(x), "float32")

    def get_config(self):
        parts = {"encoder": self.encoder, "decoder": self.decoder}
        serialized = {name: keras.saving.serialize_keras_object(part) for name, part in parts.items()}
        return super().get_config() | serialized | self.settings

    @classmethod
    def from_config(cls, config):
        parts = {name: keras.saving.deserialize_keras_object(config[name]) for name in ("encoder", "decoder")}
        return cls(**config | parts)


_EXAMPLES = {"encoder": "ConvolutionalEncoder(grid=True)", "decoder": "AttentionCaptionDecoder(128)"}
