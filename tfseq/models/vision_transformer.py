"""Vision Transformer (ViT) image classifier (one to one): an image as a sequence of patches."""

import keras

from tfseq.layers.vision import VisionEncoder


@keras.saving.register_keras_serializable(package="tfseq")
class VisionTransformer(keras.Model):
    """P(class | image) = softmax(W z + b), z the last state of the class token (Dosovitskiy et al., 2021).

    Args:
        classes: number of them, 2 or more.
        patch_size, units, heads, hidden, depth, dropout, activation: of the `VisionEncoder`.

    Call arguments:
        images: pixels from 0 to 255, uint8 or float: (batch, height, width) or (batch, height, width, channels).

    Returns:
        probabilities of the classes, (batch, classes) float32.

    Raises:
        ValueError: hyper-parameters that can't be; images that can't be cut into such patches.

    Example:
        >>> model = VisionTransformer(classes=10, patch_size=4, units=64, heads=4)
        >>> model(keras.ops.zeros((3, 28, 28), "uint8")).shape
        TensorShape([3, 10])
    """

    def __init__(
        self,
        classes,
        patch_size=4,
        units=64,
        heads=4,
        hidden=None,
        depth=4,
        dropout=0.0,
        activation="gelu",
        **kwargs,
    ):
        super().__init__(autocast=False, **kwargs)  # the encoder casts pixels once they are rescaled
        if classes < 2:
            raise ValueError(f"classes is {classes}; expected at least 2.")
        self.settings = {
            "classes": classes,
            "patch_size": patch_size,
            "units": units,
            "heads": heads,
            "hidden": hidden,
            "depth": depth,
            "dropout": dropout,
            "activation": activation,
        }
        self.units = units
        self.encoder = VisionEncoder(
            patch_size,
            units,
            heads,
            hidden,
            depth,
            dropout,
            activation=activation,
            name="encoder",
            dtype=self.dtype_policy,
        )
        self.head = keras.layers.Dense(classes, "softmax", dtype="float32", name="probabilities")

    def build(self, input_shape=None):
        self.encoder.build(input_shape)
        self.head.build((None, self.units))
        self.built = True

    def call(self, images, training=False):
        states = self.encoder(images, training=training)  # (batch, 1 + patches, units)
        return self.head(states[:, 0])

    def get_config(self):
        return super().get_config() | self.settings
