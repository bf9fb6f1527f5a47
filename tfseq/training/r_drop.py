"""R-Drop: what two dropout masks make of one example has to agree (Liang et al., 2021)."""

import keras
import tensorflow as tf
from keras import ops

from tfseq.training.smoothing import check_smoothing, smoothed_cross_entropy


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
        logits = ops.cast(y_pred, "float32")
        losses = smoothed_cross_entropy(logits, ops.cast(y_true, "int32"), self.smoothing)  # (2 batch, time)
        apart = divergence(*ops.split(logits, 2, axis=0))  # (batch, time)
        return losses + self.weight / 4 * ops.concatenate([apart, apart], axis=0)

    def get_config(self):
        return super().get_config() | {"weight": self.weight, "smoothing": self.smoothing}


def divergence(a, b):
    """KL(P || Q) + KL(Q || P) of the softmaxes P and Q of a and b, over the last axis: sum (p - q) (log p - log q).

    As p - q sums to zero, d = a - b will do for log p - log q, from which it differs by a constant. The gradient is
    written out, as that of the cross-entropy is: p (d - sum p d) + p - q for a, and with a and b exchanged for b.
    """

    @ops.custom_gradient
    def apart(a, b):
        p, q = ops.softmax(a, axis=-1), ops.softmax(b, axis=-1)
        d = a - b

        def gradient(*passed, upstream=None):
            upstream = ops.expand_dims(passed[0] if upstream is None else upstream, -1)
            under_p, under_q = (ops.sum(s * d, axis=-1, keepdims=True) for s in (p, q))
            return upstream * (p * (d - under_p + 1) - q), upstream * (q * (under_q - d + 1) - p)

        return ops.sum((p - q) * d, axis=-1), gradient

    return apart(a, b)


def twice(batches):
    """Batches (inputs, targets, ...) that hold every example twice, the second half repeating the first.

    Args:
        batches: tf.data.Dataset of tensors or structures of them, (batch, ...) each.
    """

    def double(*batch):
        return tf.nest.map_structure(lambda part: tf.concat([part, part], 0), batch)

    return batches.map(double)
