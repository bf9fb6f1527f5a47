"""Cross-entropy with label smoothing for integer targets, which Keras has for one-hot targets only."""

import keras
from keras import ops

from tfseq.layers.cpu_training import compiled


@keras.saving.register_keras_serializable(package="tfseq")
class SmoothedCrossEntropy(keras.losses.Loss):
    """-(1 - e) log P(y) - e mean_k log P(k): the correct token shares e with all (Szegedy et al., 2016, section 7).

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
        tokens = ops.cast(y_true, "int32")
        return smoothed_cross_entropy(ops.cast(y_pred, "float32"), tokens, self.smoothing)  # (batch, time)

    def get_config(self):
        return super().get_config() | {"smoothing": self.smoothing}


def check_smoothing(smoothing):
    if not 0 <= smoothing < 1:
        raise ValueError(f"smoothing is {smoothing}; expected a number from 0 to below 1.")


def smoothed_cross_entropy(logits, tokens, smoothing):
    """logsumexp(l) - (1 - e) l_y - e mean(l), over the last axis.

    Its gradient is written out, softmax(l) - (1 - e) [y] - e / vocabulary: vocabularies are wide, and what automatic
    differentiation passes over again and again is half of a small model's training step.
    """

    @ops.custom_gradient
    def loss(logits):
        losses, logsumexp = _losses(logits, tokens, smoothing)

        def gradient(*passed, upstream=None):
            upstream = passed[0] if upstream is None else upstream
            return _gradient(logits, tokens, smoothing, logsumexp, upstream)

        return losses, gradient

    return loss(logits)


def losses_and_logsumexp(logits, tokens, smoothing):
    """Both of (...): the smoothed cross-entropies of logits (..., vocabulary), and log sum exp of these."""
    logsumexp = ops.logsumexp(logits, axis=-1)
    at_token = ops.sum(ops.where(_is_token(logits, tokens), logits, 0.0), axis=-1)
    return logsumexp - (1 - smoothing) * at_token - smoothing * ops.mean(logits, axis=-1), logsumexp


def in_logits(softmax, tokens, smoothing):
    """The gradient of a smoothed cross-entropy in its logits, of their softmax (..., vocabulary)."""
    correct = ops.where(_is_token(softmax, tokens), 1 - smoothing, 0.0)
    return softmax - correct - smoothing / softmax.shape[-1]


def _is_token(x, tokens):
    return ops.equal(ops.arange(x.shape[-1], dtype="int32"), ops.expand_dims(tokens, -1))


_losses = compiled(losses_and_logsumexp)


@compiled
def _gradient(logits, tokens, smoothing, logsumexp, upstream):
    softmax = ops.exp(logits - ops.expand_dims(logsumexp, -1))
    return in_logits(softmax, tokens, smoothing) * ops.expand_dims(upstream, -1)
