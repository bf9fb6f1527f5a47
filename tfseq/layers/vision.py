"""Vision Transformer layers: patch embedding and encoder (Dosovitskiy et al., 2021)."""

import keras
from keras import ops

from tfseq.layers.layer_norm import LayerNormalization
from tfseq.layers.transformer import TransformerBlock


@keras.saving.register_keras_serializable(package="tfseq")
class PatchEmbedding(keras.layers.Layer):
    """An image -> E x_p + position of each patch x_p, row by row: a linear projection of its pixels (eq. 1).

    Args:
        size: height and width of a patch, in pixels; those of the image are multiples of it.
        units: width of the vector of a patch.

    Call arguments:
        images: pixels from 0 to 255, uint8 or float: (batch, height, width) or (batch, height, width, channels).

    Returns:
        (batch, patches, units).

    Raises:
        ValueError: images of other shapes, or that can't be cut into such patches.
    """

    def __init__(self, size, units, **kwargs):
        super().__init__(autocast=False, **kwargs)  # pixels are rescaled before they lose bits
        if size < 1 or units < 1:
            raise ValueError(f"size is {size} and units {units}; expected at least 1.")
        self.size, self.units = size, units
        self.rescale = keras.layers.Rescaling(1 / 255, name="rescale", dtype=self.dtype_policy)
        self.project = keras.layers.Dense(units, name="project", dtype=self.dtype_policy)

    def build(self, input_shape):
        rows, columns, channels = self.grid(input_shape)
        self.project.build((None, rows * columns, self.size * self.size * channels))
        initial = keras.initializers.RandomNormal(stddev=0.02)
        self.positions = self.add_weight((rows * columns, self.units), initial, name="positions")

    def grid(self, images_shape):
        """Rows and columns of patches, and channels, of images of this shape."""
        shape = (*images_shape, 1) if len(images_shape) == 3 else tuple(images_shape)
        if len(shape) != 4 or None in shape[1:] or shape[1] % self.size or shape[2] % self.size:
            raise ValueError(
                f"The images have the shape {tuple(images_shape)}; expected (batch, height, width) or (batch, height, "
                f"width, channels), height and width multiples of the patches' size, {self.size}."
            )
        return shape[1] // self.size, shape[2] // self.size, shape[3]

    def call(self, images):
        rows, columns, channels = self.grid(images.shape)
        x = ops.reshape(self.rescale(images), (-1, rows, self.size, columns, self.size, channels))
        x = ops.transpose(x, (0, 1, 3, 2, 4, 5))  # (batch, rows, columns, size, size, channels)
        x = self.project(ops.reshape(x, (-1, rows * columns, self.size * self.size * channels)))
        return x + ops.cast(self.positions, x.dtype)

    def compute_output_shape(self, input_shape):
        rows, columns, _ = self.grid(input_shape)
        return (input_shape[0], rows * columns, self.units)

    def get_config(self):
        return super().get_config() | {"size": self.size, "units": self.units}


@keras.saving.register_keras_serializable(package="tfseq")
class VisionEncoder(keras.layers.Layer):
    """An image -> a state per patch by Transformer blocks, and with `class_token` one more, for the whole image.

    Args:
        patch_size: height and width of a patch, in pixels.
        units: width of the states, a multiple of `heads`.
        heads: of each attention.
        hidden: width of the feed-forward networks; None for 4 units.
        depth: number of blocks.
        dropout: rate on what each layer adds, and on what enters the first.
        class_token: whether a learned vector is read before the patches; its last state is the image's.
        activation: of the feed-forward networks, of Keras; "relu" takes a quarter off a training step on CPUs.

    Call arguments:
        images: pixels from 0 to 255, uint8 or float: (batch, height, width) or (batch, height, width, channels).

    Returns:
        states, (batch, patches, units); with `class_token` (batch, 1 + patches, units), that of the token first.

    Raises:
        ValueError: hyper-parameters that can't be; images that can't be cut into such patches.
    """

    def __init__(
        self,
        patch_size,
        units,
        heads,
        hidden=None,
        depth=4,
        dropout=0.0,
        class_token=True,
        activation="gelu",
        **kwargs,
    ):
        super().__init__(autocast=False, **kwargs)
        if depth < 1:
            raise ValueError(f"depth is {depth}; expected at least 1.")
        hidden = 4 * units if hidden is None else hidden
        self.settings = {
            "patch_size": patch_size,
            "units": units,
            "heads": heads,
            "hidden": hidden,
            "depth": depth,
            "dropout": dropout,
            "class_token": class_token,
            "activation": activation,
        }
        self.units, self.class_token = units, class_token
        policy = {"dtype": self.dtype_policy}
        self.patches = PatchEmbedding(patch_size, units, name="patches", **policy)
        self.dropout = keras.layers.Dropout(dropout, name="dropout", **policy)
        block = {"dropout": dropout, "norm": "pre", "activation": activation} | policy
        self.blocks = [TransformerBlock(units, heads, hidden, name=f"block_{i + 1}", **block) for i in range(depth)]
        self.norm: keras.layers.Layer = LayerNormalization(name="norm", **policy)

    def build(self, input_shape):
        self.patches.build(input_shape)
        for layer in (*self.blocks, self.norm):
            layer.build((None, None, self.units))
        if self.class_token:
            initial = keras.initializers.RandomNormal(stddev=0.02)
            self.token = self.add_weight((1, 1, self.units), initial, name="class_token")

    def call(self, images, training=False):
        x = self._enter(images, training)
        for block in self.blocks:
            x = block(x, training=training)
        return self.norm(x)

    def attention(self, images):
        """Attention weights of each block: a list of (batch, heads, positions, positions) float32."""
        x, weights = self._enter(images), []
        for block in self.blocks:
            weights.append(block.attention.weights_of(block.around_attention.enter(x)))
            x = block(x)
        return weights

    def _enter(self, images, training=False):
        x = self.patches(images)  # (batch, patches, units)
        if self.class_token:
            token = ops.broadcast_to(ops.cast(self.token, x.dtype), (ops.shape(x)[0], 1, self.units))
            x = ops.concatenate([token, x], axis=1)
        return self.dropout(x, training=training)

    def compute_output_shape(self, input_shape):
        batch, patches, units = self.patches.compute_output_shape(input_shape)
        return (batch, patches + self.class_token, units)

    def get_config(self):
        return super().get_config() | self.settings
