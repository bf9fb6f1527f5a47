"""Batch normalization of images that is trained quickly on CPUs."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="tfseq")
class BatchNormalization(keras.layers.BatchNormalization):
    """`keras.layers.BatchNormalization` (Ioffe and Szegedy, 2015), with the same weights and results.

    Only training on a CPU takes another path, where it can: TensorFlow's kernel reads the features twice, where Keras'
    single operators read and write them a dozen times.
    """

    def call(self, inputs, training=None, mask=None):
        if not (training and self.trainable and mask is None and self._kernel_applies(inputs)):
            return super().call(inputs, training=training, mask=mask)

        from tfseq.layers.tensorflow_kernels import batch_norm  # loads TensorFlow, which other backends do without

        y, mean, variance = batch_norm(inputs, self.gamma, self.beta, self.epsilon)
        for moving, new in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moving.assign(moving * self.momentum + ops.cast(new, moving.dtype) * (1 - self.momentum))
        return y

    def _kernel_applies(self, inputs):
        if keras.backend.backend() != "tensorflow" or len(inputs.shape) != 4 or self.axis not in (-1, 3):
            return False
        from tfseq.layers.tensorflow_kernels import gpu_visible

        return self.center and self.scale and not self.synchronized and not gpu_visible()
