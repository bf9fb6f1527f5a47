"""Whether a pass is training on CPUs, where kernels of ours are quicker than single operators, and those kernels."""

from functools import cache, wraps

import keras


def kernels_apply(training, shape=()):
    """Whether TensorFlow trains on CPUs in this pass.

    Args:
        training: whether gradients follow; kernels compute what Keras would, only in fewer passes over memory.
        shape: sizes that have to be known while tracing.
    """
    if not training or keras.backend.backend() != "tensorflow" or None in shape:
        return False
    return not kernels().gpu_visible()


def kernels():
    """The module `tensorflow_kernels`, which loads TensorFlow; other backends do without."""
    from tfseq.layers import tensorflow_kernels

    return tensorflow_kernels


def compiled(function):
    """A function of tensors, of which XLA makes few passes over memory where TensorFlow trains on CPUs.

    Elsewhere it runs as it is: other backends compile whole training steps. Shapes may differ from call to call; each
    takes XLA a fraction of a second once.
    """

    @cache
    def by_xla():
        return kernels().by_xla(function)

    @wraps(function)
    def run(*args):
        return by_xla()(*args) if kernels_apply(training=True) else function(*args)

    return run
