"""`LayerNormalization` of Keras, with a faster kernel for training on CPUs."""

import keras
from keras import ops

from tfseq.layers.cpu_training import compiled, kernels_apply


@keras.saving.register_keras_serializable(package="tfseq")
class LayerNormalization(keras.layers.LayerNormalization):
    """`keras.layers.LayerNormalization` (Ba et al., 2016) of the last axis, with the same weights and results.

    Only training on a CPU takes another path: XLA makes one pass of it, and one of its gradient.
    """

    def __init__(self, *, epsilon=1e-5, **kwargs):
        super().__init__(epsilon=epsilon, **kwargs)

    def call(self, inputs, training=None):
        if not self._kernel_applies(inputs, training):
            return super().call(inputs)
        scale, offset = (ops.convert_to_tensor(weight) for weight in (self.gamma, self.beta))
        return ops.cast(_normalized(inputs, scale, offset, self.epsilon), self.compute_dtype)

    def _kernel_applies(self, x, training):
        over_last = self.axis in (-1, len(x.shape) - 1)
        return over_last and self.center and self.scale and not self.rms_scaling and kernels_apply(training)


def _normalized(x, scale, offset, epsilon):
    @ops.custom_gradient
    def normalized(x, scale, offset):
        def gradient(*passed, upstream=None):
            return _gradient(x, scale, epsilon, passed[0] if upstream is None else upstream)

        return _forward(x, scale, offset, epsilon), gradient

    return normalized(x, scale, offset)


def _standardized(x, epsilon):
    """(x - mean) / deviation in float32, and 1 / deviation."""
    x = ops.cast(x, "float32")
    x = x - ops.mean(x, axis=-1, keepdims=True)
    inverse = ops.rsqrt(ops.mean(x * x, axis=-1, keepdims=True) + epsilon)
    return x * inverse, inverse


@compiled
def _forward(x, scale, offset, epsilon):
    return ops.cast(_standardized(x, epsilon)[0] * scale + offset, x.dtype)


@compiled
def _gradient(x, scale, epsilon, upstream):
    """In x, scale and offset."""
    standardized, inverse = _standardized(x, epsilon)
    upstream = ops.cast(upstream, "float32")
    d = upstream * scale
    along = ops.mean(d * standardized, axis=-1, keepdims=True)
    dx = inverse * (d - ops.mean(d, axis=-1, keepdims=True) - standardized * along)
    axes = tuple(range(len(x.shape) - 1))
    return ops.cast(dx, x.dtype), ops.sum(upstream * standardized, axis=axes), ops.sum(upstream, axis=axes)
