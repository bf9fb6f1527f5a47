"""CNN image classifier (one to one)."""

import keras

from tfseq.layers.convolutional import ConvolutionalEncoder


@keras.saving.register_keras_serializable(package="tfseq")
class ConvolutionalClassifier(keras.Model):
    """P(class | image) = softmax(W v + b), v the vector that stages of convolution and pooling make of the image.

    Args:
        classes: number of them, 2 or more.
        filters, units, kernel_size, stride, padding, pool, convolutions: of the `ConvolutionalEncoder`.
        dropout: rate on the vector.

    Call arguments:
        images: pixels from 0 to 255, uint8 or float, (batch, height, width, channels).

    Returns:
        probabilities of the classes, (batch, classes) float32.

    Raises:
        ValueError: hyper-parameters that can't be; images of other shapes, or too small for the stages.

    Example:
        >>> model = ConvolutionalClassifier(classes=10, filters=(16, 32), units=64)
        >>> model(keras.ops.zeros((3, 28, 28, 1), "uint8")).shape
        TensorShape([3, 10])
    """

    def __init__(
        self,
        classes,
        filters=(32, 64),
        units=128,
        kernel_size=3,
        stride=1,
        padding="same",
        pool=2,
        convolutions=1,
        dropout=0.0,
        **kwargs,
    ):
        super().__init__(autocast=False, **kwargs)  # the encoder casts pixels once they are rescaled
        if classes < 2:
            raise ValueError(f"classes is {classes}; expected at least 2.")
        self.settings = {
            "classes": classes,
            "filters": list(filters),
            "units": units,
            "kernel_size": kernel_size,
            "stride": stride,
            "padding": padding,
            "pool": pool,
            "convolutions": convolutions,
            "dropout": dropout,
        }
        policy = {"dtype": self.dtype_policy}
        self.encoder = ConvolutionalEncoder(
            filters, units, kernel_size, stride, padding, pool, convolutions, name="encoder", **policy
        )
        self.dropout = keras.layers.Dropout(dropout, name="dropout", **policy)
        self.head = keras.layers.Dense(classes, "softmax", dtype="float32", name="probabilities")

    def build(self, input_shape=None):
        self.encoder.build(input_shape)
        self.head.build(self.encoder.compute_output_shape(input_shape))
        self.built = True

    def call(self, images, training=False):
        v = self.encoder(images, training=training)  # (batch, units)
        return self.head(self.dropout(v, training=training))

    def get_config(self):
        return super().get_config() | self.settings
