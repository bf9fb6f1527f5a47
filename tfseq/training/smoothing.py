"""Cross-entropy with label smoothing for targets that are integers, which Keras has for one-hot targets only."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="tfseq")
class SmoothedCrossEntropy(keras.losses.Loss):
    """-(1 - e) log P(y) - e mean_k log P(k): the correct symbol shares e with all (Szegedy et al., 2016, section 7).

    Args:
        smoothing: e, from 0 to below 1; 0 is the cross-entropy itself, in nats.
        kwargs: of `keras.losses.Loss`, such as reduction.

    Call arguments:
        y_true: (batch, time) integers.
        y_pred: logits, (batch, time, vocabulary).

    Raises:
        ValueError: `smoothing` is out of range.
    """

    def __init__(self, smoothing=0.1, **kwargs):
        super().__init__(**kwargs)
        if not 0 <= smoothing < 1:
            raise ValueError(f"smoothing is {smoothing}; expected a number from 0 to below 1.")
        self.smoothing = smoothing

    def call(self, y_true, y_pred):
        correct = ops.sparse_categorical_crossentropy(y_true, y_pred, from_logits=True)  # (batch, time)
        if not self.smoothing:
            return correct
        of_all = ops.logsumexp(y_pred, axis=-1) - ops.mean(y_pred, axis=-1)
        return (1 - self.smoothing) * correct + self.smoothing * of_all

    def get_config(self):
        return super().get_config() | {"smoothing": self.smoothing}
