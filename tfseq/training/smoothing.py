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
        check_smoothing(smoothing)
        self.smoothing = smoothing

    def call(self, y_true, y_pred):
        symbols = ops.cast(y_true, "int32")
        return smoothed_cross_entropy(ops.cast(y_pred, "float32"), symbols, self.smoothing)  # (batch, time)

    def get_config(self):
        return super().get_config() | {"smoothing": self.smoothing}


def check_smoothing(smoothing):
    if not 0 <= smoothing < 1:
        raise ValueError(f"smoothing is {smoothing}; expected a number from 0 to below 1.")


def smoothed_cross_entropy(logits, symbols, smoothing):
    """logsumexp(l) - (1 - e) l_y - e mean(l), over the last axis.

    The softmax of the loss is that of its gradient, softmax(l) - (1 - e) [y] - e / vocabulary: vocabularies are wide,
    and what automatic differentiation passes over thrice is half of a small model's training step.
    """
    vocabulary = logits.shape[-1]

    @ops.custom_gradient
    def loss(logits):
        softmax = ops.softmax(logits, axis=-1)
        # log of the sum of exp(l - max l), which is the inverse of the largest probability
        logsumexp = ops.max(logits, axis=-1) - ops.log(ops.max(softmax, axis=-1))
        at_symbol = ops.squeeze(ops.take_along_axis(logits, ops.expand_dims(symbols, -1), axis=-1), -1)
        losses = logsumexp - (1 - smoothing) * at_symbol - smoothing * ops.mean(logits, axis=-1)

        def gradient(*passed, upstream=None):
            upstream = passed[0] if upstream is None else upstream
            correct = (1 - smoothing) * ops.one_hot(symbols, vocabulary, dtype="float32")
            return (softmax - correct - smoothing / vocabulary) * ops.expand_dims(upstream, -1)

        return losses, gradient

    return loss(logits)
