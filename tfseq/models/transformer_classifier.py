"""Transformer encoder as a sequence classifier (many to one): one class for a sequence of tokens."""

import keras
from keras import ops

from tfseq.layers.layer_norm import LayerNormalization
from tfseq.layers.positions import PositionedEmbedding
from tfseq.layers.transformer import TransformerBlock
from tfseq.models.hyperparameters import check_sizes


@keras.saving.register_keras_serializable(package="tfseq")
class TransformerClassifier(keras.Model):
    """P(class | x_1..x_T) = softmax(W mean_t z_t + b), z the states of a Transformer encoder (Vaswani et al., 2017).

    Every state attends to the whole sequence; padding, token 0, is masked in attention and in the mean.

    Args:
        vocabulary_size: number of tokens in the vocabulary, padding included.
        classes: number of them, 2 or more.
        units: width of the states, a multiple of `heads`.
        heads: of each attention.
        hidden: width of the feed-forward networks; None for 4 units.
        depth: number of blocks.
        dropout: rate on embeddings, on what each layer adds, and before the softmax.
        lost_tokens: share of the tokens that are zeroed, with their positions, while training.
        positions: "sinusoidal" or "learned", the latter of up to `max_positions`.

    Call arguments:
        tokens: (batch, time) int32, padded with 0.

    Returns:
        probabilities of the classes, (batch, classes) float32.

    Raises:
        ValueError: hyper-parameters that can't be.

    Example:
        >>> model = TransformerClassifier(vocabulary_size=1000, classes=2, units=64, heads=4)
        >>> model(keras.ops.ones((3, 10), "int32")).shape
        TensorShape([3, 2])
    """

    def __init__(
        self,
        vocabulary_size,
        classes,
        units=128,
        heads=4,
        hidden=None,
        depth=2,
        dropout=0.1,
        lost_tokens=0.0,
        positions="sinusoidal",
        max_positions=512,
        **kwargs,
    ):
        super().__init__(**kwargs)
        hidden = 4 * units if hidden is None else hidden
        check_sizes(vocabulary_size=vocabulary_size, units=units, heads=heads, hidden=hidden, depth=depth)
        if classes < 2:
            raise ValueError(f"classes is {classes}; expected at least 2.")
        self.settings = {
            "vocabulary_size": vocabulary_size,
            "classes": classes,
            "units": units,
            "heads": heads,
            "hidden": hidden,
            "depth": depth,
            "dropout": dropout,
            "lost_tokens": lost_tokens,
            "positions": positions,
            "max_positions": max_positions,
        }
        self.units = units
        policy = {"dtype": self.dtype_policy}
        self.embedding = PositionedEmbedding(
            vocabulary_size, units, positions, max_positions, dropout=dropout, name="embedding", **policy
        )
        self.loss_of_tokens = keras.layers.Dropout(lost_tokens, noise_shape=(None, None, 1), name="lost", **policy)
        block = {"dropout": dropout, "norm": "pre", "activation": "gelu"} | policy
        self.blocks = [TransformerBlock(units, heads, hidden, name=f"block_{i + 1}", **block) for i in range(depth)]
        self.norm: keras.layers.Layer = LayerNormalization(name="norm", **policy)
        self.dropout = keras.layers.Dropout(dropout, name="dropout", **policy)
        self.head = keras.layers.Dense(classes, "softmax", dtype="float32", name="probabilities")

    def build(self, input_shape=None):
        for layer in (self.embedding, *self.blocks, self.norm):
            layer.build((None, None, self.units))
        self.head.build((None, self.units))
        self.built = True

    def call(self, tokens, training=False):
        real = tokens != 0  # (batch, time)
        x = self.embedding(tokens, training=training)  # (batch, time, units)
        x = self.loss_of_tokens(x, training=training)
        for block in self.blocks:
            x = block(x, real[:, None, None], training=training)
        weights = ops.cast(real, "float32")[..., None]
        z = ops.sum(weights * ops.cast(self.norm(x), "float32"), axis=1) / ops.maximum(ops.sum(weights, axis=1), 1)
        return self.head(self.dropout(z, training=training))

    def get_config(self):
        return super().get_config() | self.settings
