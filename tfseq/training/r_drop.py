"""R-Drop: what two dropout masks make of one example has to agree (Liang et al., 2021)."""

import keras
import tensorflow as tf
from keras import ops

from tfseq.layers.cpu_training import compiled
from tfseq.training.label_smoothing import check_smoothing, in_logits, losses_and_logsumexp


@keras.saving.register_keras_serializable(package="tfseq")
class RDropCrossEntropy(keras.losses.Loss):
    """Mean of two cross-entropies + weight / 4 * (KL(P1 || P2) + KL(P2 || P1)), of batches that hold examples twice.

    It is half of the loss of Liang et al. (2021, "R-Drop: Regularized dropout for neural networks"), with their alpha
    as the weight: where the two distributions are the same, as they are without dropout, it is the cross-entropy.

    Args:
        weight: alpha; 0 is the cross-entropy alone.
        smoothing: of the labels, see `SmoothedCrossEntropy`.
        kwargs: of `keras.losses.Loss`, such as reduction.

    Call arguments:
        y_true: (2 batch, time) integers; the second half repeats the first, as `twice` makes it.
        y_pred: logits, (2 batch, time, vocabulary).

    Raises:
        ValueError: `smoothing` or `weight` is out of range.
    """

    def __init__(self, weight=5.0, smoothing=0.0, **kwargs):
        super().__init__(**kwargs)
        check_smoothing(smoothing)
        if weight < 0:
            raise ValueError(f"weight is {weight}; expected 0 or more.")
        self.weight, self.smoothing = weight, smoothing

    def call(self, y_true, y_pred):
        logits, tokens = ops.cast(y_pred, "float32"), ops.cast(y_true, "int32")
        return twofold_cross_entropy(logits, tokens, self.smoothing, self.weight)  # (2 batch, time)

    def get_config(self):
        return super().get_config() | {"weight": self.weight, "smoothing": self.smoothing}


def twofold_cross_entropy(logits, tokens, smoothing, weight):
    """Smoothed cross-entropies + weight / 4 * (KL(P || Q) + KL(Q || P)), P and Q of the first and second half.

    The divergence of the softmaxes P and Q of a and b is sum (p - q) (log p - log q). As p - q sums to zero, d = a - b
    will do for log p - log q, from which it differs by a constant. The gradient is written out, as that of the
    cross-entropy is: p (d - sum p d + 1) - q for a, and q (sum q d - d + 1) - p for b.

    Args:
        logits: (2 batch, time, vocabulary) float32.
        tokens: (2 batch, time) int32.

    Returns:
        (2 batch, time)
    """

    @ops.custom_gradient
    def loss(logits):
        losses, *sums = _losses(logits, tokens, smoothing, weight)

        def gradient(*passed, upstream=None):
            upstream = passed[0] if upstream is None else upstream
            return _gradient(logits, tokens, smoothing, weight, *sums, upstream)

        return losses, gradient

    return loss(logits)


@compiled
def _losses(logits, tokens, smoothing, weight):
    losses, logsumexp = losses_and_logsumexp(logits, tokens, smoothing)
    p, q = ops.split(ops.exp(logits - ops.expand_dims(logsumexp, -1)), 2, axis=0)
    d = _apart(logits)
    under_p, under_q = ops.sum(p * d, axis=-1), ops.sum(q * d, axis=-1)  # (batch, time)
    apart = weight / 4 * (under_p - under_q)
    return losses + ops.concatenate([apart, apart], axis=0), logsumexp, under_p, under_q


@compiled
def _gradient(logits, tokens, smoothing, weight, logsumexp, under_p, under_q, upstream):
    softmax = ops.exp(logits - ops.expand_dims(logsumexp, -1))
    of_losses = in_logits(softmax, tokens, smoothing) * ops.expand_dims(upstream, -1)
    (p, q), d = ops.split(softmax, 2, axis=0), _apart(logits)
    of_a = p * (d - ops.expand_dims(under_p, -1) + 1) - q
    of_b = q * (ops.expand_dims(under_q, -1) - d + 1) - p
    both = ops.expand_dims(weight / 4 * sum(ops.split(upstream, 2, axis=0)), -1)  # (batch, time, 1)
    return of_losses + ops.concatenate([both * of_a, both * of_b], axis=0)


def _apart(logits):
    a, b = ops.split(logits, 2, axis=0)
    return a - b


def twice(batches):
    """Batches (inputs, targets, ...) that hold every example twice, the second half repeating the first.

    Args:
        batches: tf.data.Dataset of tensors or structures of them, (batch, ...) each.
    """

    def double(*batch):
        return tf.nest.map_structure(lambda part: tf.concat([part, part], 0), batch)

    return batches.map(double)
