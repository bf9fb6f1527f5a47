"""AR(tau): linear autoregression of a time series on a fixed window of past values."""

import keras
import numpy as np
from keras import ops

from tfseq.errors import TrainingError


@keras.saving.register_keras_serializable(package="tfseq")
class Autoregressive(keras.Model):
    """x_t = b + w_1 x_{t-1} + ... + w_tau x_{t-tau}: a linear layer that slides over the series, so a convolution.

    The window forgets everything older; `LatentAutoregressive` summarises it. Before its first value, a series is taken
    to have stood still at it.

    Args:
        window: tau, how many values are seen.

    Call arguments:
        history: (batch, time) float32, as measured.

    Returns:
        the value after each position, (batch, time) float32.
    """

    def __init__(self, window, **kwargs):
        super().__init__(**kwargs)
        if window < 1:
            raise ValueError(f"window is {window}; expected at least 1.")
        self.window = window
        self.linear = keras.layers.Conv1D(1, window, dtype=self.dtype_policy, name="window")

    def build(self, input_shape=None):
        self.linear.build((None, None, 1))
        self.built = True

    def call(self, history):
        return self.read(history)[0]

    def read(self, history):
        """What `call` returns, and the state to go on from: the last window - 1 values."""
        still = ops.repeat(history[:, :1], self.window - 1, axis=1)
        values = ops.concatenate([still, history], axis=1)  # (batch, window - 1 + time)
        predictions = self.linear(values[..., None])[..., 0]  # (batch, time)
        return ops.cast(predictions, "float32"), values[:, ops.shape(history)[1] :]

    def step(self, value, state):
        """Reads one more value (batch,): the prediction of the next, (batch,), and the new state."""
        values = ops.concatenate([state, value[:, None]], axis=1)  # (batch, window)
        return ops.cast(self.linear(values[..., None])[:, 0, 0], "float32"), values[:, 1:]

    @property
    def coefficients(self):
        """w_1 to w_tau, the weight of the last value first, and b."""
        kernel, bias = self.linear.get_weights()
        return kernel[::-1, 0, 0], float(bias[0])

    def fit_least_squares(self, series):
        """Trains in one step, to the smallest squared error on all windows of a series: the normal equations.

        Args:
            series: (time,), as measured.

        Raises:
            TrainingError: the series has too few values for as many weights.
        """
        series = np.asarray(series, "float64")
        if series.ndim != 1 or len(series) < 2 * self.window + 1:
            raise TrainingError(
                f"The series has shape {series.shape}; {self.window} weights and a bias need (time,) with "
                f"{2 * self.window + 1} values or more."
            )
        windows = np.lib.stride_tricks.sliding_window_view(series[:-1], self.window)  # (examples, window)
        design = np.concatenate([windows, np.ones((len(windows), 1))], axis=1)
        solution, *_ = np.linalg.lstsq(design, series[self.window :], rcond=None)
        if not self.built:
            self.build()
        self.linear.set_weights([solution[:-1, None, None], solution[-1:]])

    def get_config(self):
        return super().get_config() | {"window": self.window}
