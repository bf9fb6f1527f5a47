"""`Backbone`: ImageNet-pretrained CNNs of `keras.applications` as image encoders."""

import sys
import warnings
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
from keras import ops

ARCHITECTURES = tuple(
    name for name in dir(keras.applications) if name[0].isupper() and callable(getattr(keras.applications, name))
)


@keras.saving.register_keras_serializable(package="tfseq")
class Backbone(keras.layers.Layer):
    """A CNN of `keras.applications` without its last two layers, pooling and classifier: a feature map.

    It takes pixels as they are: its own preprocessing is a part of it, and so of every file that it is exported to.
    Frozen, it stays in inference mode, with the means and variances that its normalizations have learned.

    Args:
        architecture: such as "MobileNetV2", "EfficientNetB0" or "ResNet50".
        weights: "imagenet", which Keras downloads; the path of a file with the network's weights without its top, such
            as Keras downloads or `save_weights` writes; or None for random ones. They are read when the layer is built,
            and saved with it: a saved model that is loaded again neither downloads nor needs that file.
        trainable: whether it is fine-tuned; else it is frozen.
        options: further arguments of `keras.applications.ARCHITECTURE`, such as {"alpha": 0.35}.

    Call arguments:
        images: red, green and blue from 0 to 255, (batch, height, width, 3), uint8 or float.

    Returns:
        features, (batch, rows, columns, width); of most networks one place of the map is 32 x 32 pixels.

    Raises:
        ValueError: there is no such architecture or file, the file is of another network, the download failed, or the
            images have another shape or are too small.

    Example:
        >>> Backbone("MobileNetV2", weights=None)(keras.ops.zeros((2, 96, 96, 3), "uint8")).shape
        TensorShape([2, 3, 3, 1280])
    """

    def __init__(self, architecture="MobileNetV2", weights="imagenet", trainable=False, options=None, **kwargs):
        super().__init__(trainable=trainable, autocast=False, **kwargs)  # pixels are rescaled before they lose bits
        if architecture not in ARCHITECTURES:
            raise ValueError(f"architecture is {architecture!r}; expected one of {', '.join(ARCHITECTURES)}.")
        self.architecture, self.source, self.options = architecture, weights, dict(options or {})
        self.network: Any = None
        make = getattr(keras.applications, architecture)
        self.preprocess = sys.modules[make.__module__].preprocess_input

    def build(self, input_shape):
        self.network = self._network(input_shape, "imagenet" if self.source == "imagenet" else None)
        if self.source not in ("imagenet", None):
            self._read(Path(self.source))
        self.network.trainable = self.trainable

    def _network(self, images, weights):
        if len(images) != 4 or images[-1] != 3:
            raise ValueError(
                f"The images have the shape {tuple(images)}; expected (batch, height, width, 3): red, green and blue."
            )
        make = getattr(keras.applications, self.architecture)
        with _default_policy(self.dtype_policy):
            try:
                return make(include_top=False, weights=weights, input_shape=tuple(images[1:]), **self.options)
            except (ValueError, TypeError) as error:
                raise ValueError(f"{self.architecture} can't be made for such images and options: {error}") from None
            except Exception as error:  # Keras' own class for a download that failed is Exception
                raise ValueError(
                    f"The weights of {self.architecture} can't be downloaded: {error}. Download them elsewhere and "
                    "give their path, weights=PATH; or train from random ones, weights=None."
                ) from None

    def _read(self, path):
        if not path.is_file():
            raise ValueError(
                f"There is no file {path}; expected the weights of {self.architecture}, or weights='imagenet' or None."
            )
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", UserWarning)  # layers that the file does not hold
                self.network.load_weights(path)
        except Exception as error:  # Keras raises what its parts raise: HDF5, zip, shapes
            raise ValueError(
                f"{path} can't be read as weights of {self.architecture} without its top and with options "
                f"{self.options}: {error}"
            ) from None

    def call(self, images, training=False):
        x = self.preprocess(ops.cast(images, "float32"))
        return self.network(ops.cast(x, self.compute_dtype), training=training and self.trainable)

    def compute_output_shape(self, input_shape):
        network = self._network(input_shape, None) if self.network is None else self.network
        return network.compute_output_shape(tuple(input_shape))

    def get_config(self):
        settings = {"architecture": self.architecture, "weights": None, "options": self.options}
        return super().get_config() | settings


@contextmanager
def _default_policy(policy):
    """`keras.applications` makes all layers by Keras' default."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
