"""Every Keras layer that sequence models are made of, in the smallest model around it: 64 time steps, 128 units."""

from collections.abc import Callable, Mapping

import keras
from keras import layers, ops

STEPS, UNITS, VOCABULARY = 64, 128, 1000

Build = Callable[[], keras.Model]


def sequence_layers() -> Mapping[str, Mapping[str, Build]]:
    """Group -> layer -> builds the model. Time is free wherever Keras lets it be."""
    return {
        "Recurrent": RECURRENT,
        "Recurrent, masked": MASKED,
        "Attention": ATTENTION,
        "Convolution": CONVOLUTION,
        "Normalization": NORMALIZATION,
        "Pooling": POOLING,
        "Embedding": EMBEDDING,
        "Wrappers and shapes": SHAPES,
        "Activations": ACTIVATIONS,
        "Spectra": SPECTRA,
    }


def of(*stack, shape=(None, UNITS), **options) -> Build:
    """A model that applies the layers, each made by a call, to one float input."""

    def build():
        x = inputs = keras.Input(shape, name="x", **options)
        for make in stack:
            x = make()(x)
        return keras.Model(inputs, x)

    return build


def masked(*stack) -> Build:
    """The layers on embedded sentences, padded on the right with 0."""

    def build():
        tokens = keras.Input((None,), dtype="int32", name="tokens")
        x = layers.Embedding(VOCABULARY, UNITS, mask_zero=True)(tokens)
        for make in stack:
            x = make()(x)
        return keras.Model(tokens, x)

    return build


def explicit_mask(make) -> Build:
    """The layer with a mask of any form as an input of its own."""

    def build():
        x, mask = keras.Input((None, UNITS), name="x"), keras.Input((None,), dtype="bool", name="mask")
        return keras.Model([x, mask], make()(x, mask=mask))

    return build


def lstm(**options):
    return lambda: layers.LSTM(UNITS, **options)


def gru(**options):
    return lambda: layers.GRU(UNITS, **options)


def rnn(**options):
    return lambda: layers.SimpleRNN(UNITS, **options)


def both_ways(make, **options):
    return lambda: layers.Bidirectional(make(), **options)


def _handed_on_state():
    x, y = keras.Input((None, UNITS), name="x"), keras.Input((None, UNITS), name="y")
    _, *state = layers.LSTM(UNITS, return_state=True)(x)
    return keras.Model([x, y], layers.LSTM(UNITS, return_sequences=True)(y, initial_state=state))


SEQUENCE = {"return_sequences": True}
RECURRENT: Mapping[str, Build] = {
    "LSTM": of(lstm()),
    "LSTM, return_sequences": of(lstm(**SEQUENCE)),
    "LSTM, two stacked": of(lstm(**SEQUENCE), lstm()),
    "LSTM, go_backwards": of(lstm(go_backwards=True, **SEQUENCE)),
    "LSTM, relu and hard_sigmoid": of(lstm(activation="relu", recurrent_activation="hard_sigmoid")),
    "LSTM, no bias": of(lstm(use_bias=False)),
    "LSTM, recurrent_dropout": of(lstm(recurrent_dropout=0.2)),
    "LSTM, initial_state of another": _handed_on_state,
    "GRU": of(gru()),
    "GRU, return_sequences": of(gru(**SEQUENCE)),
    "GRU, reset_after=False": of(gru(reset_after=False)),
    "GRU, two stacked": of(gru(**SEQUENCE), gru()),
    "SimpleRNN": of(rnn()),
    "SimpleRNN, relu": of(rnn(activation="relu", recurrent_initializer="identity")),
    "Bidirectional(LSTM)": of(both_ways(lstm(**SEQUENCE))),
    "Bidirectional(LSTM), sum": of(both_ways(lstm(), merge_mode="sum")),
    "Bidirectional(GRU)": of(both_ways(gru(**SEQUENCE))),
    "Bidirectional(SimpleRNN)": of(both_ways(rnn(**SEQUENCE))),
    "RNN(GRUCell)": of(lambda: layers.RNN(layers.GRUCell(UNITS))),
    "RNN([LSTMCell, LSTMCell])": of(lambda: layers.RNN([layers.LSTMCell(UNITS), layers.LSTMCell(UNITS)])),
    "ConvLSTM1D": of(lambda: layers.ConvLSTM1D(8, 3, padding="same"), shape=(None, 32, 8)),
    "ConvLSTM2D": of(lambda: layers.ConvLSTM2D(8, 3, padding="same"), shape=(None, 12, 12, 4)),
    "ConvLSTM3D": of(lambda: layers.ConvLSTM3D(4, 3, padding="same"), shape=(None, 6, 6, 6, 2)),
}

MASKED: Mapping[str, Build] = {
    "LSTM": masked(lstm()),
    "LSTM, return_sequences": masked(lstm(**SEQUENCE)),
    "LSTM, two stacked": masked(lstm(**SEQUENCE), lstm()),
    "LSTM, Masking": of(layers.Masking, lstm()),
    "LSTM, mask with holes": explicit_mask(lstm(**SEQUENCE)),
    "GRU": masked(gru()),
    "GRU, return_sequences": masked(gru(**SEQUENCE)),
    "GRU, mask with holes": explicit_mask(gru(**SEQUENCE)),
    "SimpleRNN": masked(rnn()),
    "SimpleRNN, mask with holes": explicit_mask(rnn(**SEQUENCE)),
    "Bidirectional(LSTM)": masked(both_ways(lstm(**SEQUENCE))),
    "Bidirectional(GRU)": masked(both_ways(gru())),
    "RNN([GRUCell, GRUCell])": masked(lambda: layers.RNN([layers.GRUCell(UNITS), layers.GRUCell(UNITS)])),
}


def _self_attention(**options):
    def build():
        x = keras.Input((None, UNITS), name="x")
        return keras.Model(x, layers.MultiHeadAttention(4, UNITS // 4)(x, x, **options))

    return build


def _masked_attention():
    tokens = keras.Input((None,), dtype="int32", name="tokens")
    x = layers.Embedding(VOCABULARY, UNITS, mask_zero=True)(tokens)
    return keras.Model(tokens, layers.MultiHeadAttention(4, UNITS // 4)(x, x))


def _cross_attention(make):
    def build():
        x, memory = keras.Input((None, UNITS), name="x"), keras.Input((None, UNITS), name="memory")
        return keras.Model([x, memory], make()([x, memory]))

    return build


def _grouped_attention():
    x = keras.Input((None, UNITS), name="x")
    return keras.Model(x, layers.GroupQueryAttention(UNITS // 4, 4, 2)(x, x))


def _transformer_block():
    x = inputs = keras.Input((None, UNITS), name="x")
    y = layers.LayerNormalization()(x)
    x = x + layers.MultiHeadAttention(4, UNITS // 4)(y, y, use_causal_mask=True)
    y = layers.Dense(4 * UNITS, activation="gelu")(layers.LayerNormalization()(x))
    return keras.Model(inputs, x + layers.Dense(UNITS)(y))


ATTENTION: Mapping[str, Build] = {
    "MultiHeadAttention": _self_attention(),
    "MultiHeadAttention, causal": _self_attention(use_causal_mask=True),
    "MultiHeadAttention, padded": _masked_attention,
    "GroupQueryAttention": _grouped_attention,
    "Attention": _cross_attention(layers.Attention),
    "AdditiveAttention": _cross_attention(layers.AdditiveAttention),
    "Transformer block (GELU)": _transformer_block,
}

PICTURE = (16, 16, 16)
CONVOLUTION: Mapping[str, Build] = {
    "Conv1D": of(lambda: layers.Conv1D(UNITS, 3, padding="same")),
    "Conv1D, causal, dilated": of(lambda: layers.Conv1D(UNITS, 3, padding="causal", dilation_rate=4)),
    "Conv1D, strided": of(lambda: layers.Conv1D(UNITS, 5, strides=2, padding="same")),
    "Conv1D, groups": of(lambda: layers.Conv1D(UNITS, 3, padding="same", groups=4)),
    "SeparableConv1D": of(lambda: layers.SeparableConv1D(UNITS, 3, padding="same")),
    "DepthwiseConv1D": of(lambda: layers.DepthwiseConv1D(3, padding="same")),
    "Conv1DTranspose": of(lambda: layers.Conv1DTranspose(UNITS, 4, strides=2, padding="same")),
    "Conv2D": of(lambda: layers.Conv2D(32, 3, padding="same"), shape=PICTURE),
    "SeparableConv2D": of(lambda: layers.SeparableConv2D(32, 3, padding="same"), shape=PICTURE),
    "DepthwiseConv2D": of(lambda: layers.DepthwiseConv2D(3, padding="same"), shape=PICTURE),
    "Conv2DTranspose": of(lambda: layers.Conv2DTranspose(16, 4, strides=2, padding="same"), shape=PICTURE),
    "Conv3D": of(lambda: layers.Conv3D(8, 3, padding="same"), shape=(None, 8, 8, 8)),
    "Conv3DTranspose": of(lambda: layers.Conv3DTranspose(4, 2, strides=2), shape=(8, 8, 8, 8)),
}

NORMALIZATION: Mapping[str, Build] = {
    "LayerNormalization": of(layers.LayerNormalization),
    "RMSNormalization": of(layers.RMSNormalization),
    "BatchNormalization": of(layers.BatchNormalization),
    "BatchNormalization, masked": masked(layers.BatchNormalization),
    "GroupNormalization": of(lambda: layers.GroupNormalization(8)),
    "UnitNormalization": of(layers.UnitNormalization),
    "Normalization": of(lambda: layers.Normalization(mean=0.5, variance=2.0)),
    "SpectralNormalization(Dense)": of(lambda: layers.SpectralNormalization(layers.Dense(UNITS))),
}

POOLING: Mapping[str, Build] = {
    "MaxPooling1D": of(lambda: layers.MaxPooling1D(2, padding="same")),
    "AveragePooling1D": of(lambda: layers.AveragePooling1D(2, padding="same")),
    "GlobalMaxPooling1D": of(layers.GlobalMaxPooling1D),
    "GlobalAveragePooling1D": of(layers.GlobalAveragePooling1D),
    "GlobalAveragePooling1D, masked": masked(layers.GlobalAveragePooling1D),
    "AdaptiveAveragePooling1D": of(lambda: layers.AdaptiveAveragePooling1D(8), shape=(STEPS, UNITS)),
    "AdaptiveMaxPooling1D": of(lambda: layers.AdaptiveMaxPooling1D(8), shape=(STEPS, UNITS)),
    "MaxPooling2D": of(lambda: layers.MaxPooling2D(2), shape=PICTURE),
    "AveragePooling2D": of(lambda: layers.AveragePooling2D(2), shape=PICTURE),
    "GlobalAveragePooling2D": of(layers.GlobalAveragePooling2D, shape=PICTURE),
    "MaxPooling3D": of(lambda: layers.MaxPooling3D(2, padding="same"), shape=(None, 8, 8, 8)),
}


class Positions(layers.Layer):
    """Adds a learned embedding of each position."""

    def __init__(self, longest, units):
        super().__init__()
        self.embedding = layers.Embedding(longest, units)

    def call(self, x):
        return x + self.embedding(ops.arange(ops.shape(x)[1]))


def _tied_head():
    tokens = keras.Input((None,), dtype="int32", name="tokens")
    embedding = layers.ReversibleEmbedding(VOCABULARY, UNITS)
    return keras.Model(tokens, embedding(embedding(tokens), reverse=True))


EMBEDDING: Mapping[str, Build] = {
    "Embedding": of(lambda: layers.Embedding(VOCABULARY, UNITS), shape=(None,), dtype="int32"),
    "Embedding, mask_zero": masked(),
    "Embedding of positions": of(lambda: Positions(STEPS, UNITS)),
    "ReversibleEmbedding": _tied_head,
    "CategoryEncoding": of(lambda: layers.CategoryEncoding(VOCABULARY, "multi_hot"), shape=(8,), dtype="int32"),
}


def _each_step(make, shape=(None, 12, 12, 4)):
    return of(lambda: layers.TimeDistributed(make()), shape=shape)


def _frames():
    frame = keras.Sequential([layers.Conv2D(8, 3, activation="relu"), layers.MaxPooling2D(2), layers.Flatten()])
    return layers.TimeDistributed(frame)


SHAPES: Mapping[str, Build] = {
    "TimeDistributed(Dense)": _each_step(lambda: layers.Dense(UNITS), (None, UNITS)),
    "TimeDistributed(Dense), masked": masked(lambda: layers.TimeDistributed(layers.Dense(UNITS))),
    "TimeDistributed(Conv2D)": _each_step(lambda: layers.Conv2D(8, 3, padding="same")),
    "TimeDistributed(MaxPooling2D)": _each_step(lambda: layers.MaxPooling2D(2)),
    "TimeDistributed(BatchNormalization)": _each_step(layers.BatchNormalization),
    "TimeDistributed(Flatten)": _each_step(layers.Flatten),
    "TimeDistributed(LSTM)": _each_step(lambda: layers.LSTM(32), (None, 12, 16)),
    "TimeDistributed(CNN), LSTM": of(_frames, lstm(), shape=(None, 12, 12, 4)),
    "Dense": of(lambda: layers.Dense(UNITS)),
    "EinsumDense": of(lambda: layers.EinsumDense("btu,uhd->bthd", (None, 4, 32), bias_axes="hd")),
    "RepeatVector": of(lambda: layers.RepeatVector(STEPS), shape=(UNITS,)),
    "Permute": of(lambda: layers.Permute((2, 1))),
    "Reshape": of(lambda: layers.Reshape((-1, 4, UNITS // 4))),
    "Flatten": of(layers.Flatten, shape=(STEPS, UNITS)),
    "ZeroPadding1D": of(lambda: layers.ZeroPadding1D((2, 1))),
    "Cropping1D": of(lambda: layers.Cropping1D((1, 2))),
    "UpSampling1D": of(lambda: layers.UpSampling1D(2)),
    "UpSampling2D, bilinear": of(lambda: layers.UpSampling2D(2, interpolation="bilinear"), shape=PICTURE),
    "Masking": of(layers.Masking),
    "Dot": _cross_attention(lambda: layers.Dot(axes=(2, 2))),
    "SpatialDropout1D": of(lambda: layers.SpatialDropout1D(0.2)),
}


def _activation(name):
    return of(lambda: layers.Activation(name))


ACTIVATIONS: Mapping[str, Build] = {
    "gelu": _activation("gelu"),
    "gelu, approximate": of(lambda: layers.Activation(lambda x: keras.activations.gelu(x, approximate=True))),
    **{
        name: _activation(name)
        for name in ("relu", "relu6", "elu", "selu", "silu", "mish", "softplus", "softsign", "tanh", "sigmoid")
    },
    **{name: _activation(name) for name in ("hard_sigmoid", "hard_silu", "glu", "log_softmax", "softmax")},
    "LeakyReLU": of(layers.LeakyReLU),
    "PReLU": of(lambda: layers.PReLU(shared_axes=[1])),
    "Softmax": of(lambda: layers.Softmax(axis=1)),
}


class Transform(layers.Layer):
    """The real part of a Fourier transform."""

    def __init__(self, transform):
        super().__init__()
        self.transform = transform

    def call(self, x):
        return self.transform((x, ops.zeros_like(x)))[0]


class RealTransform(layers.Layer):
    """Real and imaginary part of the transform of a real signal."""

    def call(self, x):
        return ops.concatenate(ops.rfft(x, fft_length=256), axis=-1)


SPECTRA: Mapping[str, Build] = {
    "ops.fft": of(lambda: Transform(ops.fft)),
    "ops.fft2": of(lambda: Transform(ops.fft2)),
    "ops.rfft": of(RealTransform, shape=(256,)),
    "STFTSpectrogram": of(
        lambda: layers.STFTSpectrogram(frame_length=64, frame_step=32, fft_length=64), shape=(1024, 1)
    ),
    "MelSpectrogram": of(
        lambda: layers.MelSpectrogram(fft_length=64, sequence_stride=32, num_mel_bins=16, sampling_rate=8000),
        shape=(1024,),
    ),
}
