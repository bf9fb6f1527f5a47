"""`BatchNormalization` of Keras, with a faster kernel for training on CPUs."""

import keras
from keras import ops

from tfseq.layers.cpu_training import kernels, kernels_apply


@keras.saving.register_keras_serializable(package="tfseq")
class BatchNormalization(keras.layers.BatchNormalization):
    """`keras.layers.BatchNormalization` (Ioffe and Szegedy, 2015), with the same weights and results.

    Only training on a CPU takes another path, where it can: TensorFlow's kernel reads the features twice, where Keras'
    single operators read and write them a dozen times.
    """

    def call(self, inputs, training=None, mask=None):
        if mask is not None or not self._kernel_applies(inputs, training):
            return super().call(inputs, training=training, mask=mask)
        y, mean, variance = kernels().batch_norm(inputs, self.gamma, self.beta, self.epsilon)
        for moving, new in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moving.assign(moving * self.momentum + ops.cast(new, moving.dtype) * (1 - self.momentum))
        return y

    def _kernel_applies(self, inputs, training):
        if len(inputs.shape) != 4 or self.axis not in (-1, 3) or self.synchronized or not self.trainable:
            return False
        return self.center and self.scale and kernels_apply(training)
