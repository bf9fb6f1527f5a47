"""Exact match as a metric: the share of sequences whose every token is right."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="tfseq")
class WholeAnswers(keras.metrics.Mean):
    """Share of examples whose most likely tokens are right at every step that counts.

    Call arguments:
        y_true: tokens, (batch, time) integers.
        y_pred: logits or probabilities, (batch, time, vocabulary).
        sample_weight: 0 at padding, (batch, time); None if every step counts.
    """

    def __init__(self, name="whole_answers", **kwargs):
        super().__init__(name=name, **kwargs)

    def update_state(self, y_true, y_pred, sample_weight=None):
        right = ops.equal(ops.cast(y_true, "int32"), ops.argmax(y_pred, axis=-1))  # (batch, time)
        if sample_weight is not None:
            right = ops.logical_or(right, ops.equal(sample_weight, 0))
        return super().update_state(ops.all(right, axis=-1))
