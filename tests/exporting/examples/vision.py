"""Vision models over images as sequences: patches, tokens, columns of pixels."""

import keras
import numpy as np
from keras import layers, ops

from tests.exporting.examples.registry import example, integers, pixels, tokens


def mlp(x, sizes, rate=0.1):
    for size in sizes:
        x = layers.Dropout(rate)(layers.Dense(size, activation=keras.activations.gelu)(x))
    return x


class Patches(layers.Layer):
    def __init__(self, patch_size):
        super().__init__()
        self.patch_size = patch_size

    def call(self, images):
        batch, height, width, channels = ops.shape(images)
        across = (height // self.patch_size, width // self.patch_size)
        patches = ops.image.extract_patches(images, size=self.patch_size)
        return ops.reshape(patches, (batch, across[0] * across[1], self.patch_size * self.patch_size * channels))


class PatchEncoder(layers.Layer):
    def __init__(self, patches, width):
        super().__init__()
        self.patches = patches
        self.projection = layers.Dense(width)
        self.position = layers.Embedding(patches, width)

    def call(self, patch):
        positions = ops.expand_dims(ops.arange(0, self.patches, 1), axis=0)
        return self.projection(patch) + self.position(positions)


@example({"image": pixels(16, 16, 3)})
def vision_transformer():
    image = keras.Input((16, 16, 3), name="image")
    x = PatchEncoder(16, 16)(Patches(4)(image))
    for _ in range(2):
        y = layers.LayerNormalization(epsilon=1e-6)(x)
        x = layers.Add()([layers.MultiHeadAttention(num_heads=2, key_dim=16, dropout=0.1)(y, y), x])
        x = layers.Add()([mlp(layers.LayerNormalization(epsilon=1e-6)(x), (24, 16)), x])
    x = layers.Flatten()(layers.LayerNormalization(epsilon=1e-6)(x))
    return keras.Model(image, layers.Dense(5, name="logits")(mlp(x, (24,))))


class ClassToken(layers.Layer):
    def build(self, shape):
        self.token = self.add_weight(shape=(1, 1, shape[-1]), name="token")
        self.position = self.add_weight(shape=(1, shape[1] + 1, shape[-1]), name="position")

    def call(self, x):
        token = ops.broadcast_to(self.token, (ops.shape(x)[0], 1, x.shape[-1]))
        return ops.concatenate([token, x], axis=1) + self.position


@example({"image": pixels(16, 16, 3)})
def vision_transformer_with_class_token():
    """Patches by a strided convolution, a learned class token, rescaling inside."""
    image = keras.Input((16, 16, 3), name="image")
    x = layers.Rescaling(2.0, offset=-1)(image)
    x = layers.Conv2D(16, 4, strides=4, padding="valid")(x)
    x = ClassToken()(layers.Reshape((16, 16))(x))
    y = layers.LayerNormalization()(x)
    x = x + layers.MultiHeadAttention(2, 8, value_dim=12)(y, y)
    x = x + mlp(layers.LayerNormalization()(x), (32, 16))
    return keras.Model(image, layers.Dense(5, activation="softmax", name="label")(x[:, 0]))


class StochasticDepth(layers.Layer):
    def __init__(self, rate):
        super().__init__()
        self.rate = rate
        self.seed_generator = keras.random.SeedGenerator(1)

    def call(self, x, training=False):
        if not training:
            return x
        kept = keras.random.uniform((ops.shape(x)[0], 1, 1), seed=self.seed_generator) > self.rate
        return x / (1 - self.rate) * ops.cast(kept, x.dtype)


class SequencePooling(layers.Layer):
    def __init__(self):
        super().__init__()
        self.attention = layers.Dense(1)

    def call(self, x):
        weights = ops.transpose(ops.softmax(self.attention(x), axis=1), (0, 2, 1))
        return ops.squeeze(ops.matmul(weights, x), -2)


@example({"image": pixels(16, 16, 3)})
def compact_convolutional_transformer():
    image = keras.Input((16, 16, 3), name="image")
    x = image
    for channels in (8, 16):
        x = layers.Conv2D(channels, 3, padding="same", use_bias=False, activation="relu")(x)
        x = layers.ZeroPadding2D(1)(x)
        x = layers.MaxPooling2D(3, 2, padding="same")(x)
    x = layers.Reshape((-1, 16))(x)
    for _ in range(2):
        y = layers.LayerNormalization(epsilon=1e-5)(x)
        x = layers.Add()([StochasticDepth(0.1)(layers.MultiHeadAttention(2, 16, dropout=0.1)(y, y)), x])
        y = mlp(layers.LayerNormalization(epsilon=1e-5)(x), (16, 16))
        x = layers.Add()([StochasticDepth(0.1)(y), x])
    x = SequencePooling()(layers.LayerNormalization(epsilon=1e-5)(x))
    return keras.Model(image, layers.Dense(5, name="logits")(x))


class MixerLayer(layers.Layer):
    def __init__(self, patches, width):
        super().__init__()
        self.mix_patches = keras.Sequential([layers.Dense(patches), layers.Activation("gelu"), layers.Dense(patches)])
        self.mix_channels = keras.Sequential([layers.Dense(patches, activation="gelu"), layers.Dense(width)])
        self.norm = layers.LayerNormalization(epsilon=1e-6)

    def call(self, x):
        y = ops.transpose(self.norm(x), (0, 2, 1))
        x = ops.transpose(self.mix_patches(y), (0, 2, 1)) + x
        return x + self.mix_channels(self.norm(x))


class FourierLayer(layers.Layer):
    def __init__(self, width):
        super().__init__()
        self.ffn = keras.Sequential([layers.Dense(width, activation="gelu"), layers.Dropout(0.1), layers.Dense(width)])
        self.norm_1, self.norm_2 = layers.LayerNormalization(epsilon=1e-6), layers.LayerNormalization(epsilon=1e-6)

    def call(self, x):
        x = self.norm_1(x + ops.fft2((x, ops.zeros_like(x)))[0])
        return self.norm_2(x + self.ffn(x))


class GatingLayer(layers.Layer):
    """A spatial gating unit: half of the channels gate the other half, across patches (Liu et al., 2021)."""

    def __init__(self, patches, width):
        super().__init__()
        self.up = keras.Sequential([layers.Dense(2 * width, activation="gelu"), layers.Dropout(0.1)])
        self.spatial = layers.Dense(patches, bias_initializer="ones")
        self.norm_1, self.norm_2 = layers.LayerNormalization(epsilon=1e-6), layers.LayerNormalization(epsilon=1e-6)
        self.down = layers.Dense(width)

    def call(self, inputs):
        u, v = ops.split(self.up(self.norm_1(inputs)), 2, axis=2)
        v = ops.transpose(self.spatial(ops.transpose(self.norm_2(v), (0, 2, 1))), (0, 2, 1))
        return inputs + self.down(u * v)


def _patch_classifier(blocks):
    image = keras.Input((16, 16, 3), name="image")
    x = layers.Dense(16)(Patches(4)(image))
    x = layers.GlobalAveragePooling1D()(blocks(x))
    return keras.Model(image, layers.Dense(5, activation="softmax", name="label")(layers.Dropout(0.1)(x)))


@example({"image": pixels(16, 16, 3)})
def mlp_mixer():
    return _patch_classifier(keras.Sequential([MixerLayer(16, 16) for _ in range(2)]))


@example({"image": pixels(16, 16, 3)})
def fourier_network():
    return _patch_classifier(keras.Sequential([FourierLayer(16) for _ in range(2)]))


@example({"image": pixels(16, 16, 3)})
def gated_mlp():
    return _patch_classifier(keras.Sequential([GatingLayer(16, 16) for _ in range(2)]))


class WindowAttention(layers.Layer):
    """Attention within windows, with a learned bias for each relative position (Swin; Liu et al., 2021)."""

    def __init__(self, size, width, heads):
        super().__init__()
        self.size, self.width, self.heads = size, width, heads
        self.qkv, self.projection = layers.Dense(3 * width), layers.Dense(width)
        y, x = np.meshgrid(np.arange(size), np.arange(size), indexing="ij")
        places = np.stack([y.ravel(), x.ravel()])
        relative = (places[:, :, None] - places[:, None, :] + size - 1).transpose(1, 2, 0)
        self.index = (relative[..., 0] * (2 * size - 1) + relative[..., 1]).astype("int32")

    def build(self, shape):
        self.bias_table = self.add_weight(
            shape=((2 * self.size - 1) ** 2, self.heads), initializer="random_normal", name="bias_table"
        )

    def call(self, x, mask=None):
        _, places, _ = x.shape
        qkv = ops.reshape(self.qkv(x), (-1, places, 3, self.heads, self.width // self.heads))
        q, k, v = ops.unstack(ops.transpose(qkv, (2, 0, 3, 1, 4)), 3, axis=0)
        attention = q * (self.width // self.heads) ** -0.5 @ ops.transpose(k, (0, 1, 3, 2))
        bias = ops.take(self.bias_table, ops.reshape(self.index, (-1,)), axis=0)
        bias = ops.transpose(ops.reshape(bias, (places, places, -1)), (2, 0, 1))
        attention = attention + ops.expand_dims(bias, 0)
        if mask is not None:
            windows = mask.shape[0]
            attention = ops.reshape(attention, (-1, windows, self.heads, places, places)) + mask[None, :, None]
            attention = ops.reshape(attention, (-1, self.heads, places, places))
        x = ops.transpose(ops.softmax(attention, -1) @ v, (0, 2, 1, 3))
        return self.projection(ops.reshape(x, (-1, places, self.width)))


class SwinBlock(layers.Layer):
    def __init__(self, grid, width, heads, window, shift):
        super().__init__()
        self.grid, self.width, self.window, self.shift = grid, width, window, shift
        self.norm_1, self.norm_2 = layers.LayerNormalization(epsilon=1e-5), layers.LayerNormalization(epsilon=1e-5)
        self.attention = WindowAttention(window, width, heads)
        self.mlp = keras.Sequential([layers.Dense(24, activation="gelu"), layers.Dense(width)])

    def call(self, x):
        y = ops.reshape(self.norm_1(x), (-1, self.grid, self.grid, self.width))
        y = ops.roll(y, shift=(-self.shift, -self.shift), axis=(1, 2)) if self.shift else y
        y = ops.reshape(self.windows(y), (-1, self.window**2, self.width))
        y = self.attention(y, mask=self.mask() if self.shift else None)
        across = self.grid // self.window
        y = ops.reshape(y, (-1, across, across, self.window, self.window, self.width))
        y = ops.reshape(ops.transpose(y, (0, 1, 3, 2, 4, 5)), (-1, self.grid, self.grid, self.width))
        y = ops.roll(y, shift=(self.shift, self.shift), axis=(1, 2)) if self.shift else y
        x = x + ops.reshape(y, (-1, self.grid**2, self.width))
        return x + self.mlp(self.norm_2(x))

    def windows(self, x):
        across, channels = self.grid // self.window, x.shape[-1]
        x = ops.reshape(x, (-1, across, self.window, across, self.window, channels))
        return ops.transpose(x, (0, 1, 3, 2, 4, 5))

    def mask(self):
        area = np.zeros((1, self.grid, self.grid, 1), "float32")
        bands = (slice(0, -self.window), slice(-self.window, -self.shift), slice(-self.shift, None))
        for i, (rows, columns) in enumerate((a, b) for a in bands for b in bands):
            area[:, rows, columns] = i
        area = ops.reshape(self.windows(ops.convert_to_tensor(area)), (-1, self.window**2))
        return ops.where(area[:, None, :] == area[:, :, None], 0.0, -100.0)


@example({"image": pixels(16, 16, 3)})
def shifted_windows():
    image = keras.Input((16, 16, 3), name="image")
    x = layers.Reshape((64, 8))(layers.Conv2D(8, 2, strides=2)(image))
    x = SwinBlock(8, 8, 2, window=2, shift=0)(x)
    x = SwinBlock(8, 8, 2, window=2, shift=1)(x)
    return keras.Model(image, layers.Dense(5, name="logits")(layers.GlobalAveragePooling1D()(x)))


class ConnectionistLoss(layers.Layer):
    """Adds the CTC loss and passes the predictions on."""

    def call(self, labels, predictions):
        frames = ops.full((ops.shape(labels)[0],), predictions.shape[1], dtype="int32")
        lengths = ops.full((ops.shape(labels)[0],), labels.shape[1], dtype="int32")
        self.add_loss(ops.mean(ops.ctc_loss(labels, predictions, lengths, frames, mask_index=0)))
        return predictions


@example({"image": pixels(24, 8, 1), "label": integers(10, 3)})
def captcha_reader():
    """Columns of convolutional features are time to two bidirectional LSTMs; a loss layer ends the training model."""
    image, labels = keras.Input((24, 8, 1), name="image"), keras.Input((3,), dtype="int32", name="label")
    x = layers.Conv2D(8, 3, activation="relu", kernel_initializer="he_normal", padding="same")(image)
    x = layers.MaxPooling2D(2)(x)
    x = layers.Conv2D(8, 3, activation="relu", kernel_initializer="he_normal", padding="same")(x)
    x = layers.MaxPooling2D(2)(x)
    x = layers.Dropout(0.2)(layers.Dense(12, activation="relu")(layers.Reshape((6, 16))(x)))
    x = layers.Bidirectional(layers.LSTM(8, return_sequences=True, dropout=0.25))(x)
    x = layers.Bidirectional(layers.LSTM(6, return_sequences=True, dropout=0.25))(x)
    x = layers.Dense(12, activation="softmax")(x)
    return keras.Model([image, labels], ConnectionistLoss(name="characters")(labels, x))


class CaptionEncoder(layers.Layer):
    def __init__(self, width):
        super().__init__()
        self.attention = layers.MultiHeadAttention(num_heads=1, key_dim=width)
        self.norm_1, self.norm_2 = layers.LayerNormalization(), layers.LayerNormalization()
        self.dense = layers.Dense(width, activation="relu")

    def call(self, inputs, training, mask=None):
        x = self.dense(self.norm_1(inputs))
        return self.norm_2(x + self.attention(query=x, value=x, key=x, attention_mask=None, training=training))


class CaptionDecoder(layers.Layer):
    def __init__(self, width, vocabulary):
        super().__init__()
        self.tokens = layers.Embedding(vocabulary, width, mask_zero=True)
        self.positions = layers.Embedding(80, width)
        self.attention_1 = layers.MultiHeadAttention(num_heads=2, key_dim=width)
        self.attention_2 = layers.MultiHeadAttention(num_heads=2, key_dim=width)
        self.norms = [layers.LayerNormalization() for _ in range(3)]
        self.ffn_1, self.ffn_2 = layers.Dense(24, activation="relu"), layers.Dense(width)
        self.out = layers.Dense(vocabulary, activation="softmax")

    def call(self, words, pictures, training, mask=None):
        time = ops.shape(words)[1]
        x = self.tokens(words) * 4.0 + self.positions(ops.arange(time))
        past = ops.cast(ops.arange(time)[:, None] >= ops.arange(time)[None], "int32")[None]
        combined = past
        if mask is not None:
            combined = ops.minimum(ops.cast(mask[:, None, :], "int32"), past)
        y = self.attention_1(query=x, value=x, key=x, attention_mask=combined, training=training)
        x = self.norms[0](x + y)
        y = self.attention_2(query=x, value=pictures, key=pictures, training=training)
        x = self.norms[1](x + y)
        return self.out(self.norms[2](x + self.ffn_2(self.ffn_1(x))))


class Captioner(keras.Model):
    def __init__(self):
        super().__init__()
        self.cnn = keras.Sequential(
            [
                layers.Conv2D(8, 3, strides=2, use_bias=False),
                layers.BatchNormalization(),
                layers.ReLU(max_value=6),
                layers.DepthwiseConv2D(3, padding="same"),
                layers.Conv2D(8, 1, activation="swish"),
                layers.Reshape((-1, 8)),
            ]
        )
        self.encoder, self.decoder = CaptionEncoder(16), CaptionDecoder(16, 20)

    def call(self, image, words, training=False):
        pictures = self.encoder(self.cnn(image, training=training), training=training)
        return self.decoder(words, pictures, training=training, mask=ops.not_equal(words, 0))


@example({"image": pixels(12, 12, 3), "words": tokens(20)}, given="arguments", outputs=("output",))
def image_captioning():
    model = Captioner()
    model(np.zeros((1, 12, 12, 3), "float32"), np.ones((1, 4), "int32"))
    return model
