"""Time series models: forecasting, classification, anomaly detection."""

import keras
import numpy as np
from keras import layers, ops

from tests.exporting.examples.registry import example, floats, padded


@example({"history": floats(24, 7)})
def weather():
    history = keras.Input((24, 7), name="history")
    x = layers.Normalization(mean=np.linspace(-1, 1, 7), variance=np.linspace(1, 2, 7))(history)
    return keras.Model(history, layers.Dense(1, name="temperature")(layers.LSTM(12)(x)))


@example({"series": floats(20, 1)})
def transformer_classifier_of_series():
    series = keras.Input((20, 1), name="series")
    x = series
    for _ in range(2):
        y = layers.Dropout(0.2)(layers.MultiHeadAttention(key_dim=8, num_heads=2, dropout=0.2)(x, x))
        y = layers.LayerNormalization(epsilon=1e-6)(y)
        residual = y + x
        y = layers.Conv1D(filters=4, kernel_size=1, activation="relu")(residual)
        y = layers.Conv1D(filters=1, kernel_size=1)(layers.Dropout(0.2)(y))
        x = layers.LayerNormalization(epsilon=1e-6)(y) + residual
    x = layers.GlobalAveragePooling1D(data_format="channels_last")(x)
    x = layers.Dropout(0.4)(layers.Dense(8, activation="relu")(x))
    return keras.Model(series, layers.Dense(2, activation="softmax", name="label")(x))


@example({"series": floats("time", 1)})
def convolutional_classifier_of_series():
    return keras.Sequential(
        [
            keras.Input((None, 1), name="series"),
            *(
                layer
                for _ in range(3)
                for layer in (layers.Conv1D(8, 3, padding="same"), layers.BatchNormalization(), layers.ReLU())
            ),
            layers.GlobalAveragePooling1D(),
            layers.Dense(2, activation="softmax", name="label"),
        ]
    )


@example({"window": floats(24, 1)})
def anomaly_autoencoder():
    """Strided convolutions down, transposed ones up."""
    return keras.Sequential(
        [
            keras.Input((24, 1), name="window"),
            layers.Conv1D(8, 7, padding="same", strides=2, activation="relu"),
            layers.Dropout(rate=0.2),
            layers.Conv1D(4, 7, padding="same", strides=2, activation="relu"),
            layers.Conv1DTranspose(4, 7, padding="same", strides=2, activation="relu"),
            layers.Conv1DTranspose(8, 7, padding="same", strides=2, activation="relu"),
            layers.Conv1DTranspose(1, 7, padding="same", name="reconstruction"),
        ]
    )


@example({"window": floats(16, 3)})
def recurrent_autoencoder():
    window = keras.Input((16, 3), name="window")
    x = layers.LSTM(12, return_sequences=True, activation="relu")(window)
    x = layers.LSTM(6, activation="relu")(x)
    x = layers.LSTM(6, return_sequences=True)(layers.RepeatVector(16)(x))
    x = layers.LSTM(12, return_sequences=True, go_backwards=True)(x)
    return keras.Model(window, layers.TimeDistributed(layers.Dense(3), name="reconstruction")(x))


class GraphConvolution(layers.Layer):
    """Sums over neighbours along listed edges, then mixes features."""

    def __init__(self, features, edges, nodes):
        super().__init__()
        self.features, self.nodes = features, nodes
        self.senders, self.receivers = (np.array(side, "int32") for side in zip(*edges))

    def build(self, shape):
        self.kernel = self.add_weight(shape=(shape[-1], self.features), name="kernel")

    def call(self, x):
        """x: (nodes, batch, time, features)."""
        own = ops.matmul(x, self.kernel)
        neighbours = ops.segment_sum(ops.take(x, self.senders, axis=0), self.receivers, num_segments=self.nodes)
        return ops.relu(ops.concatenate([own, ops.matmul(neighbours, self.kernel)], axis=-1))


class TrafficLayer(layers.Layer):
    """Graph convolution at each step, an LSTM along time for every node."""

    def __init__(self, nodes, steps_ahead):
        super().__init__()
        edges = [(i, (i + 1) % nodes) for i in range(nodes)] + [(0, 2), (3, 1)]
        self.convolution = GraphConvolution(4, edges, nodes)
        self.lstm, self.dense = layers.LSTM(8, activation="relu"), layers.Dense(steps_ahead)
        self.nodes, self.ahead = nodes, steps_ahead

    def call(self, inputs):
        x = self.convolution(ops.transpose(inputs, [2, 0, 1, 3]))
        nodes, batch, time, features = ops.shape(x)
        x = self.dense(self.lstm(ops.reshape(x, (batch * nodes, time, features))))
        return ops.transpose(ops.reshape(x, (nodes, batch, self.ahead)), [1, 2, 0])


@example({"speeds": floats(10, 5, 1)})
def traffic():
    speeds = keras.Input((10, 5, 1), name="speeds")
    return keras.Model(speeds, layers.Identity(name="forecast")(TrafficLayer(5, 3)(speeds)))


class FeedBack(keras.Model):
    """Warms an LSTM cell up on the window, then lives on its own predictions."""

    def __init__(self, units, steps, features):
        super().__init__()
        self.steps = steps
        self.cell = layers.LSTMCell(units)
        self.rnn = layers.RNN(self.cell, return_state=True)
        self.dense = layers.Dense(features)

    def call(self, inputs, training=None):
        x, *state = self.rnn(inputs)
        predictions = [self.dense(x)]
        for _ in range(1, self.steps):
            x, state = self.cell(predictions[-1], states=state, training=training)
            predictions.append(self.dense(x))
        return ops.transpose(ops.stack(predictions), [1, 0, 2])


@example({"inputs": floats("time", 4)}, outputs=("output",))
def autoregressive_forecast():
    model = FeedBack(8, 5, 4)
    model(np.zeros((1, 12, 4), "float32"))
    return model


class ResidualForecast(keras.Model):
    """Predicts the change, not the value."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def call(self, inputs, *args, **kwargs):
        return inputs + self.model(inputs, *args, **kwargs)


@example({"inputs": floats("time", 4)}, outputs=("output",))
def residual_forecast():
    model = ResidualForecast(
        keras.Sequential([layers.LSTM(8, return_sequences=True), layers.Dense(4, kernel_initializer="random_normal")])
    )
    model(np.zeros((1, 12, 4), "float32"))
    return model


class Quantiles(layers.Layer):
    """Three heads that can't cross: a middle, and positive distances from it."""

    def __init__(self):
        super().__init__()
        self.middle, self.below, self.above = layers.Dense(1), layers.Dense(1), layers.Dense(1)

    def call(self, x):
        middle = self.middle(x)
        low, high = middle - ops.softplus(self.below(x)), middle + ops.softplus(self.above(x))
        return {"p10": low[..., 0], "p50": middle[..., 0], "p90": high[..., 0]}


@example({"series": padded("time", 3)}, outputs=("p10", "p50", "p90"))
def quantile_forecast():
    """Padding is marked by a value; one output per quantile."""
    series = keras.Input((None, 3), name="series")
    x = layers.Masking(mask_value=0.0)(series)
    x = layers.LSTM(8, return_sequences=True, recurrent_dropout=0.2)(x)
    return keras.Model(series, Quantiles()(layers.LSTM(6)(x)))


class GatedResidual(layers.Layer):
    def __init__(self, units):
        super().__init__()
        self.elu_dense, self.linear_dense = layers.Dense(units, activation="elu"), layers.Dense(units)
        self.linear, self.sigmoid = layers.Dense(units), layers.Dense(units, activation="sigmoid")
        self.norm, self.project = layers.LayerNormalization(), layers.Dense(units)

    def call(self, x):
        y = self.linear_dense(self.elu_dense(x))
        return self.norm(self.project(x) + self.linear(y) * self.sigmoid(y))


@example({"past": floats(12, 4), "known": floats(5, 2)})
def temporal_fusion():
    """Gated residual networks, an LSTM encoder and decoder, attention over both (Lim et al., 2021)."""
    past, known = keras.Input((12, 4), name="past"), keras.Input((5, 2), name="known")
    x, h, c = layers.LSTM(8, return_sequences=True, return_state=True)(GatedResidual(8)(past))
    y = layers.LSTM(8, return_sequences=True)(GatedResidual(8)(known), initial_state=[h, c])
    x = layers.Concatenate(axis=1)([x, y])
    y = GatedResidual(8)(layers.MultiHeadAttention(2, 4)(x, x, use_causal_mask=True))
    x = layers.Lambda(lambda t: t[:, -5:])(layers.Add()([x, y]))
    return keras.Model([past, known], layers.Dense(3, name="quantiles")(x))


class SeriesDecomposition(layers.Layer):
    """Trend by a moving average with repeated ends; the rest is the season."""

    def __init__(self, window):
        super().__init__()
        self.window = window
        self.average = layers.AveragePooling1D(window, strides=1)

    def call(self, x):
        side = (self.window - 1) // 2
        ends = ops.repeat(x[:, :1], side, axis=1), ops.repeat(x[:, -1:], side, axis=1)
        trend = self.average(ops.concatenate([ends[0], x, ends[1]], axis=1))
        return x - trend, trend


@example({"history": floats(24, 3)})
def decomposed_linear_forecast():
    """A linear map for trend and one for season, each along time (DLinear; Zeng et al., 2023)."""
    history = keras.Input((24, 3), name="history")
    season, trend = SeriesDecomposition(5)(history)
    season = layers.Dense(6)(layers.Permute((2, 1))(season))
    trend = layers.Dense(6)(layers.Permute((2, 1))(trend))
    return keras.Model(history, layers.Permute((2, 1), name="forecast")(layers.Add()([season, trend])))
