"""Speech and sound models: over waveforms and spectra, and text out of them."""

import keras
import numpy as np
from keras import layers, ops

from tests.exporting.examples.registry import example, floats, tokens


@example({"spectrogram": floats("time", 17)}, shortest=4)
def connectionist_speech():
    """Convolutions over time and frequency, a stack of bidirectional GRUs, CTC's characters (Deep Speech 2)."""
    spectrogram = keras.Input((None, 17), name="spectrogram")
    x = layers.Reshape((-1, 17, 1))(spectrogram)
    x = layers.Conv2D(6, (11, 5), strides=(2, 2), padding="same", use_bias=False)(x)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    x = layers.Conv2D(6, (11, 3), strides=(1, 2), padding="same", use_bias=False)(x)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    x = layers.Reshape((-1, x.shape[-2] * x.shape[-1]))(x)
    for i in range(2):
        gru = layers.GRU(8, return_sequences=True, reset_after=True, name=f"gru_{i}")
        x = layers.Bidirectional(gru, merge_mode="concat")(x)
        x = layers.Dropout(0.5)(x) if i == 0 else x
    x = layers.ReLU()(layers.Dense(16)(x))
    return keras.Model(spectrogram, layers.Dense(12, activation="softmax", name="characters")(x))


class SpeechEmbedding(layers.Layer):
    """Three strided convolutions take the frames down to an eighth."""

    def __init__(self, width):
        super().__init__()
        self.convolutions = [layers.Conv1D(width, 11, strides=2, padding="same", activation="relu") for _ in range(3)]

    def call(self, x):
        for convolution in self.convolutions:
            x = convolution(x)
        return x


class SpeechEncoder(layers.Layer):
    def __init__(self, width):
        super().__init__()
        self.attention = layers.MultiHeadAttention(num_heads=2, key_dim=width)
        self.ffn = keras.Sequential([layers.Dense(24, activation="relu"), layers.Dense(width)])
        self.norm_1 = layers.LayerNormalization(epsilon=1e-6)
        self.norm_2 = layers.LayerNormalization(epsilon=1e-6)

    def call(self, x):
        x = self.norm_1(x + self.attention(x, x))
        return self.norm_2(x + self.ffn(x))


class SpeechDecoder(layers.Layer):
    def __init__(self, width):
        super().__init__()
        self.norms = [layers.LayerNormalization(epsilon=1e-6) for _ in range(3)]
        self.own = layers.MultiHeadAttention(num_heads=2, key_dim=width)
        self.sound = layers.MultiHeadAttention(num_heads=2, key_dim=width)
        self.ffn = keras.Sequential([layers.Dense(24, activation="relu"), layers.Dense(width)])

    def causal(self, batch, rows, columns):
        i, j = ops.arange(rows)[:, None], ops.arange(columns)
        mask = ops.reshape(ops.cast(i >= j - columns + rows, "bool"), [1, rows, columns])
        return ops.broadcast_to(mask, (batch, rows, columns))

    def call(self, sound, target):
        batch, time = ops.shape(target)[0], ops.shape(target)[1]
        mask = self.causal(batch, time, time)
        target = self.norms[0](target + self.own(target, target, attention_mask=mask))
        x = self.norms[1](self.sound(target, sound) + target)
        return self.norms[2](x + self.ffn(x))


class SpeechTransformer(keras.Model):
    """Its call takes a pair: spectrogram and text so far."""

    def __init__(self, width=16, vocabulary=20):
        super().__init__()
        self.hear = SpeechEmbedding(width)
        self.words, self.positions = layers.Embedding(vocabulary, width), layers.Embedding(80, width)
        self.encoder = keras.Sequential([self.hear, *(SpeechEncoder(width) for _ in range(2))])
        self.decoder = SpeechDecoder(width)
        self.classifier = layers.Dense(vocabulary)

    def call(self, inputs):
        sound, text = inputs
        x = self.encoder(sound)
        y = self.words(text) + self.positions(ops.arange(ops.shape(text)[-1]))
        return self.classifier(self.decoder(x, y))


@example({"input_1": floats("source_time", 9), "input_2": tokens(20, "target_time")}, given="list", outputs=("output",))
def speech_transformer():
    model = SpeechTransformer()
    model([np.zeros((1, 32, 9), "float32"), np.ones((1, 5), "int32")])
    return model


class Spectrum(layers.Layer):
    """The lower half of a waveform's magnitudes."""

    def call(self, audio):
        x = ops.squeeze(audio, axis=-1)
        real, imaginary = ops.fft((x, ops.zeros_like(x)))
        magnitude = ops.sqrt(ops.square(real) + ops.square(imaginary) + 1e-9)
        return ops.expand_dims(magnitude[:, : audio.shape[1] // 2], -1)


def residual(x, channels, convolutions):
    shortcut = layers.Conv1D(channels, 1, padding="same")(x)
    for _ in range(convolutions - 1):
        x = layers.Activation("relu")(layers.Conv1D(channels, 3, padding="same")(x))
    x = layers.Add()([layers.Conv1D(channels, 3, padding="same")(x), shortcut])
    return layers.MaxPool1D(pool_size=2, strides=2)(layers.Activation("relu")(x))


@example({"audio": floats(64, 1)})
def speaker_recognition():
    audio = keras.Input((64, 1), name="audio")
    x = residual(residual(Spectrum()(audio), 6, 2), 8, 3)
    x = layers.Flatten()(layers.AveragePooling1D(pool_size=3, strides=3)(x))
    return keras.Model(audio, layers.Dense(4, activation="softmax", name="speaker")(layers.Dense(8, "relu")(x)))


@example({"audio": floats(256, 1)})
def keyword_spotting():
    """Keras' own spectrogram layer, a CNN, a GRU over what is left of time."""
    audio = keras.Input((256, 1), name="audio")
    x = layers.STFTSpectrogram(mode="log", frame_length=32, frame_step=16, fft_length=32)(audio)
    x = layers.Normalization(mean=-1.0, variance=2.0)(x)
    x = layers.Reshape((*x.shape[1:], 1))(x)
    x = layers.MaxPooling2D((1, 2))(layers.Conv2D(6, 3, activation="relu", padding="same")(x))
    x = layers.Reshape((x.shape[1], -1))(x)
    x = layers.GRU(8)(x)
    return keras.Model(audio, layers.Dense(5, name="command")(x))


class GatedBlock(layers.Layer):
    """tanh times sigmoid of dilated causal convolutions, a residual and a skip (van den Oord et al., 2016)."""

    def __init__(self, channels, dilation):
        super().__init__()
        self.filter = layers.Conv1D(channels, 2, padding="causal", dilation_rate=dilation, activation="tanh")
        self.gate = layers.Conv1D(channels, 2, padding="causal", dilation_rate=dilation, activation="sigmoid")
        self.skip, self.residual = layers.Conv1D(channels, 1), layers.Conv1D(channels, 1)

    def call(self, x):
        y = self.filter(x) * self.gate(x)
        return x + self.residual(y), self.skip(y)


@example({"samples": floats("time", 1)})
def wavenet():
    samples = keras.Input((None, 1), name="samples")
    x, skips = layers.Conv1D(8, 2, padding="causal")(samples), []
    for dilation in (1, 2, 4, 8):
        x, skip = GatedBlock(8, dilation)(x)
        skips.append(skip)
    x = layers.ReLU()(layers.Add()(skips))
    return keras.Model(samples, layers.Conv1D(16, 1, activation="softmax", name="amplitude")(x))


@example({"mel": floats("time", 8)}, shortest=2)
def vocoder():
    """Transposed convolutions from mel bands up to a waveform; a residual stack at each rate."""
    mel = keras.Input((None, 8), name="mel")
    x = layers.LeakyReLU()(layers.Conv1D(12, 7, padding="same")(mel))
    for channels, factor in ((8, 4), (4, 2)):
        x = layers.Conv1DTranspose(channels, 2 * factor, strides=factor, padding="same")(x)
        for dilation in (1, 3):
            y = layers.Conv1D(channels, 3, dilation_rate=dilation, padding="same")(layers.LeakyReLU()(x))
            x = layers.add([layers.Conv1D(channels, 3, padding="same")(layers.LeakyReLU()(y)), x])
    return keras.Model(mel, layers.Conv1D(1, 7, padding="same", activation="tanh", name="wave")(x))


@example({"features": floats("time", 12)})
def sound_events():
    """A convolutional recurrent network that names the sounds of each frame; GroupNormalization, ELU, weighted mean."""
    features = keras.Input((None, 12), name="features")
    x = layers.GroupNormalization(groups=4)(layers.Conv1D(8, 5, padding="same")(features))
    x = layers.ELU()(x)
    x = layers.GRU(8, return_sequences=True, reset_after=False, activation="tanh", recurrent_activation="hard_sigmoid")(
        x
    )
    events = layers.Dense(4, activation="sigmoid", name="events")(x)
    weights = layers.Softmax(axis=1)(layers.Dense(4)(x))
    clip = layers.Identity(name="clip")(ops.sum(events * weights, axis=1))
    return keras.Model(features, [events, clip])
