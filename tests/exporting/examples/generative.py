"""Generative models: decoders of latents, vector quantizers, denoisers."""

import keras
import numpy as np
from keras import layers, ops

from tests.exporting.examples.registry import example, floats, integers, pixels


@example({"latent": floats(4)})
def variational_decoder():
    return keras.Sequential(
        [
            keras.Input((4,), name="latent"),
            layers.Dense(4 * 4 * 6, activation="relu"),
            layers.Reshape((4, 4, 6)),
            layers.Conv2DTranspose(6, 3, activation="relu", strides=2, padding="same"),
            layers.Conv2DTranspose(4, 3, activation="relu", strides=2, padding="same"),
            layers.Conv2DTranspose(1, 3, activation="sigmoid", padding="same", name="image"),
        ]
    )


class VectorQuantizer(layers.Layer):
    """The nearest entry of a code book, gradients passed straight through (van den Oord et al., 2017)."""

    def __init__(self, entries, width):
        super().__init__()
        self.width, self.entries = width, entries

    def build(self, shape):
        self.book = self.add_weight(shape=(self.width, self.entries), initializer="random_uniform", name="book")

    def call(self, x):
        shape = ops.shape(x)
        flat = ops.reshape(x, (-1, self.width))
        distances = (
            ops.sum(flat**2, axis=1, keepdims=True) + ops.sum(self.book**2, axis=0) - 2 * ops.matmul(flat, self.book)
        )
        chosen = ops.one_hot(ops.argmin(distances, axis=1), self.entries)
        quantized = ops.reshape(ops.matmul(chosen, ops.transpose(self.book)), shape)
        self.add_loss(ops.mean((ops.stop_gradient(quantized) - x) ** 2))
        return x + ops.stop_gradient(quantized - x)


@example({"image": pixels(8, 8, 1)})
def quantized_autoencoder():
    image = keras.Input((8, 8, 1), name="image")
    x = layers.Conv2D(6, 3, activation="relu", strides=2, padding="same")(image)
    x = VectorQuantizer(16, 4)(layers.Conv2D(4, 1)(x))
    x = layers.Conv2DTranspose(6, 3, activation="relu", strides=2, padding="same")(x)
    return keras.Model(image, layers.Conv2DTranspose(1, 3, padding="same", name="image_again")(x))


class MaskedConvolution(layers.Layer):
    """Sees only pixels above and to the left (van den Oord et al., 2016)."""

    def __init__(self, kind, **options):
        super().__init__()
        self.kind, self.conv = kind, layers.Conv2D(**options)

    def build(self, shape):
        self.conv.build(shape)
        size = self.conv.kernel.shape
        mask = np.zeros(size, "float32")
        mask[: size[0] // 2] = 1
        mask[size[0] // 2, : size[1] // 2 + (self.kind == "B")] = 1
        self.mask = mask

    def call(self, x):
        self.conv.kernel.assign(self.conv.kernel * self.mask)
        return self.conv(x)


@example({"image": pixels(8, 8, 1)})
def pixel_cnn():
    """Its layers write their masked kernels back at every call."""
    image = keras.Input((8, 8, 1), name="image")
    x = MaskedConvolution("A", filters=6, kernel_size=5, activation="relu", padding="same")(image)
    y = layers.Conv2D(6, 1, activation="relu")(x)
    x = layers.add([x, MaskedConvolution("B", filters=6, kernel_size=3, activation="relu", padding="same")(y)])
    return keras.Model(image, layers.Conv2D(1, 1, activation="sigmoid", padding="valid", name="likelihood")(x))


@keras.saving.register_keras_serializable(package="examples")
def sinusoidal_embedding(x):
    frequencies = ops.exp(ops.linspace(ops.log(1.0), ops.log(1000.0), 4))
    angles = ops.cast(2.0 * np.pi * frequencies, "float32")
    return ops.concatenate([ops.sin(angles * x), ops.cos(angles * x)], axis=3)


@example({"noisy": pixels(8, 8, 3), "variance": pixels(1, 1, 1)})
def diffusion_unet():
    """A U-Net that is told how much noise there is; attention at the bottom."""
    noisy, variance = keras.Input((8, 8, 3), name="noisy"), keras.Input((1, 1, 1), name="variance")
    told = layers.Lambda(sinusoidal_embedding, output_shape=(1, 1, 8))(variance)
    told = layers.UpSampling2D(size=8, interpolation="nearest")(told)
    x = layers.Concatenate()([layers.Conv2D(8, 1)(noisy), told])
    x = skip = layers.Conv2D(8, 3, padding="same", activation=keras.activations.swish)(x)
    x = layers.AveragePooling2D(2)(x)
    x = layers.BatchNormalization(center=False, scale=False)(x)
    b = layers.Reshape((16, 8))(layers.GroupNormalization(groups=2)(x))
    x = layers.Add()([x, layers.Reshape((4, 4, 8))(layers.Attention(use_scale=True)([b, b, b]))])
    x = layers.UpSampling2D(size=2, interpolation="bilinear")(x)
    x = layers.Conv2D(8, 3, padding="same", activation="swish")(layers.Concatenate()([x, skip]))
    return keras.Model([noisy, variance], layers.Conv2D(3, 1, kernel_initializer="glorot_normal", name="noise")(x))


class ReflectionPadding(layers.Layer):
    def call(self, x):
        return ops.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]], mode="reflect")


@example({"image": pixels(8, 8, 4)})
def style_transfer():
    """Reflection padding, normalization of each picture, pixels out of channels."""
    image = keras.Input((8, 8, 4), name="image")
    x = layers.Conv2D(8, 3)(ReflectionPadding()(image))
    x = layers.PReLU(shared_axes=[1, 2])(layers.GroupNormalization(groups=-1)(x))
    x = ops.reshape(x, (-1, 8, 8, 2, 2, 2))
    x = ops.reshape(ops.transpose(x, (0, 1, 3, 2, 4, 5)), (-1, 16, 16, 2))
    return keras.Model(image, layers.Activation("tanh", name="styled")(x))


class MessagePassing(layers.Layer):
    """Messages along edges, summed at atoms, which a GRU cell updates; three rounds (Gilmer et al., 2017)."""

    def __init__(self, units, rounds):
        super().__init__()
        self.units, self.rounds = units, rounds
        self.message, self.cell = layers.Dense(units), layers.GRUCell(units)

    def call(self, inputs):
        atoms, adjacency = inputs
        count = ops.shape(atoms)[1]
        for _ in range(self.rounds):
            messages = ops.matmul(adjacency, self.message(atoms))
            flat, _ = self.cell(ops.reshape(messages, (-1, self.units)), [ops.reshape(atoms, (-1, self.units))])
            atoms = ops.reshape(flat, (-1, count, self.units))
        return atoms


@example({"atoms": integers(9, 7), "adjacency": pixels(7, 7)})
def molecule():
    atoms = keras.Input((7,), dtype="int32", name="atoms")
    adjacency = keras.Input((7, 7), name="adjacency")
    x = MessagePassing(8, 3)([layers.Embedding(9, 8)(atoms), adjacency])
    x = layers.GlobalMaxPooling1D()(x)
    return keras.Model([atoms, adjacency], layers.Dense(1, activation="sigmoid", name="permeable")(x))
