"""Multi-step forecasting: a model of the next value, applied recursively to its own predictions."""

import keras
from keras import ops

from tfseq.layers.loops import scan


@keras.saving.register_keras_serializable(package="tfseq")
class Forecaster(keras.Model):
    """x_{T+1}, ..., x_{T+horizon} from x_1, ..., x_T: each prediction is read as if it had been measured.

    Args:
        model: with `read` and `step`, such as Autoregressive or LatentAutoregressive.
        horizon: how many values ahead.

    Call arguments:
        history: (batch, time) float32, as measured.

    Returns:
        forecasts, (batch, horizon) float32.
    """

    def __init__(self, model, horizon, **kwargs):
        super().__init__(**kwargs)
        if horizon < 1:
            raise ValueError(f"horizon is {horizon}; expected at least 1.")
        self.model, self.horizon = model, horizon

    def build(self, input_shape=None):
        if not self.model.built:
            self.model.build(input_shape)
        self.built = True

    def call(self, history):
        predictions, state = self.model.read(history)
        first = predictions[:, -1]  # (batch,)
        if self.horizon == 1:
            return first[:, None]

        def step(carry, _):
            prediction, state = self.model.step(*carry)
            return (prediction, state), prediction

        _, later = scan(step, (first, state), ops.arange(self.horizon - 1), "float32")  # (horizon - 1, batch)
        return ops.concatenate([first[:, None], ops.transpose(later)], axis=1)

    def compute_output_shape(self, input_shape):
        return (input_shape[0], self.horizon)

    def get_config(self):
        model = keras.saving.serialize_keras_object(self.model)
        model.pop(
            "compile_config", None
        )  # how it was trained: a loss of someone's own would have to be imported to load
        return super().get_config() | {"model": model, "horizon": self.horizon}

    @classmethod
    def from_config(cls, config):
        return cls(**config | {"model": keras.saving.deserialize_keras_object(config["model"])})
