"""Video models: frames through a CNN and then over time, or both at once."""

import keras
from keras import layers, ops

from tests.exporting.examples.registry import example, padded, padding_mask, pixels


@example({"features": padded("time", 10), "mask": padding_mask()})
def frame_features_rnn():
    """GRUs over features of frames; the mask comes as an input of its own."""
    features, mask = keras.Input((None, 10), name="features"), keras.Input((None,), dtype="bool", name="mask")
    x = layers.GRU(8, return_sequences=True)(features, mask=mask)
    x = layers.GRU(6)(x)
    x = layers.Dropout(0.4)(x)
    x = layers.Dense(8, activation="relu")(x)
    return keras.Model([features, mask], layers.Dense(4, activation="softmax", name="action")(x))


@example({"clip": pixels("time", 12, 12, 3)})
def frame_cnn_lstm():
    """A CNN at each step of a clip of any length."""
    return keras.Sequential(
        [
            keras.Input((None, 12, 12, 3), name="clip"),
            layers.TimeDistributed(layers.Conv2D(6, 3, activation="relu", padding="same")),
            layers.TimeDistributed(layers.BatchNormalization()),
            layers.TimeDistributed(layers.MaxPooling2D(2)),
            layers.TimeDistributed(layers.Conv2D(6, 3, strides=2, activation="relu")),
            layers.TimeDistributed(layers.Flatten()),
            layers.LSTM(8),
            layers.Dense(4, activation="softmax", name="action"),
        ]
    )


@example({"clip": pixels("time", 12, 12, 3)})
def nested_cnn_bidirectional():
    """The CNN is a model of its own, applied to every frame."""
    frame = keras.Input((12, 12, 3))
    x = layers.SeparableConv2D(8, 3, activation="relu")(frame)
    x = layers.GlobalAveragePooling2D()(layers.LeakyReLU(negative_slope=0.1)(x))
    cnn = keras.Model(frame, x)
    clip = keras.Input((None, 12, 12, 3), name="clip")
    x = layers.TimeDistributed(cnn)(clip)
    x = layers.Bidirectional(layers.GRU(6, return_sequences=True), merge_mode="ave")(x)
    return keras.Model(clip, layers.TimeDistributed(layers.Dense(3, activation="sigmoid"), name="events")(x))


@example({"frames": pixels("time", 10, 10, 1)}, loop="ONNX has no operator for a convolutional LSTM")
def next_frame():
    """Three convolutional LSTMs with normalization between them."""
    frames = keras.Input((None, 10, 10, 1), name="frames")
    x = layers.ConvLSTM2D(4, (5, 5), padding="same", return_sequences=True, activation="relu")(frames)
    x = layers.BatchNormalization()(x)
    x = layers.ConvLSTM2D(4, (3, 3), padding="same", return_sequences=True, activation="relu")(x)
    x = layers.BatchNormalization()(x)
    x = layers.ConvLSTM2D(4, (1, 1), padding="same", return_sequences=True, activation="relu")(x)
    x = layers.Conv3D(1, (3, 3, 3), activation="sigmoid", padding="same", name="next")(x)
    return keras.Model(frames, x)


class FramePositions(layers.Layer):
    def __init__(self, longest, width):
        super().__init__()
        self.positions = layers.Embedding(longest, width)

    def call(self, x):
        return x + self.positions(ops.arange(ops.shape(x)[1]))


class FrameAttention(layers.Layer):
    def __init__(self, width, hidden, heads):
        super().__init__()
        self.attention = layers.MultiHeadAttention(num_heads=heads, key_dim=width, dropout=0.3)
        self.ffn = keras.Sequential([layers.Dense(hidden, activation=keras.activations.gelu), layers.Dense(width)])
        self.norm_1, self.norm_2 = layers.LayerNormalization(), layers.LayerNormalization()
        self.supports_masking = True

    def call(self, inputs, mask=None):
        x = self.norm_1(inputs + self.attention(inputs, inputs, attention_mask=mask))
        return self.norm_2(x + self.ffn(x))


@example({"features": padded(20, 12)})
def video_transformer():
    features = keras.Input((20, 12), name="features")
    x = FrameAttention(12, 8, 1)(FramePositions(20, 12)(features))
    x = layers.Dropout(0.5)(layers.GlobalMaxPooling1D()(x))
    return keras.Model(features, layers.Dense(4, activation="softmax", name="action")(x))


class TubeletEmbedding(layers.Layer):
    def __init__(self, width, size):
        super().__init__()
        self.projection = layers.Conv3D(width, size, strides=size, padding="valid")
        self.flatten = layers.Reshape((-1, width))

    def call(self, clips):
        return self.flatten(self.projection(clips))


class PositionalEncoder(layers.Layer):
    def __init__(self, width):
        super().__init__()
        self.width = width

    def build(self, shape):
        _, count, _ = shape
        self.embedding = layers.Embedding(count, self.width)
        self.embedding.build(None)
        self.positions = ops.arange(0, count)

    def call(self, tokens):
        return tokens + self.embedding(self.positions)


@example({"clip": pixels(8, 8, 8, 1)})
def video_vision_transformer():
    """Tubelets of a clip as tokens (Arnab et al., 2021)."""
    clip = keras.Input((8, 8, 8, 1), name="clip")
    x = PositionalEncoder(16)(TubeletEmbedding(16, (4, 4, 4))(clip))
    for _ in range(2):
        y = layers.LayerNormalization(epsilon=1e-6)(x)
        x = layers.Add()([layers.MultiHeadAttention(num_heads=2, key_dim=8, dropout=0.1)(y, y), x])
        y = layers.LayerNormalization(epsilon=1e-6)(x)
        y = keras.Sequential([layers.Dense(32, activation=ops.gelu), layers.Dense(16, activation=ops.gelu)])(y)
        x = layers.Add()([y, x])
    x = layers.GlobalAvgPool1D()(layers.LayerNormalization(epsilon=1e-6)(x))
    return keras.Model(clip, layers.Dense(4, activation="softmax", name="label")(x))


@example({"scan": pixels(12, 12, 8, 1)})
def volume_classifier():
    """A 3D CNN over slices of a scan."""
    scan = keras.Input((12, 12, 8, 1), name="scan")
    x = scan
    for channels in (4, 6):
        x = layers.Conv3D(channels, 3, activation="relu", padding="same")(x)
        x = layers.BatchNormalization()(layers.MaxPool3D(2)(x))
    x = layers.Dense(8, activation="relu")(layers.GlobalAveragePooling3D()(x))
    return keras.Model(scan, layers.Dense(1, activation="sigmoid", name="ill")(x))


class Factorized(layers.Layer):
    """A (2 + 1)D convolution: space first, then time."""

    def __init__(self, channels):
        super().__init__()
        self.seq = keras.Sequential(
            [
                layers.Conv3D(channels, (1, 3, 3), padding="same"),
                layers.Conv3D(channels, (3, 1, 1), padding="same"),
            ]
        )

    def call(self, x):
        return self.seq(x)


class ResizeVideo(layers.Layer):
    def __init__(self, height, width):
        super().__init__()
        self.resize = layers.Resizing(height, width)
        self.height, self.width = height, width

    def call(self, clip):
        batch, time, height, width, channels = ops.shape(clip)
        frames = self.resize(ops.reshape(clip, (-1, height, width, channels)))
        return ops.reshape(frames, (batch, time, self.height, self.width, channels))


@example({"clip": pixels("time", 12, 12, 3)})
def factorized_residual_video():
    clip = keras.Input((None, 12, 12, 3), name="clip")
    x = layers.ReLU()(layers.BatchNormalization()(Factorized(6)(clip)))
    x = ResizeVideo(6, 6)(x)
    y = layers.LayerNormalization()(Factorized(6)(x))
    x = layers.add([x, y])
    return keras.Model(clip, layers.Dense(4, name="logits")(layers.GlobalAveragePooling3D()(x)))
