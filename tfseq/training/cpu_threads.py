"""How TensorFlow uses the cores of a CPU."""

import os

import keras


def one_stream_per_core() -> None:
    """Gives each operator one thread and each core an operator of its own: what the recurrent kernels are made for.

    A recurrent step is too small to share between cores, so `tfseq.layers` runs a part of the batch on each. Wide
    models without recurrence are better off with TensorFlow's default. Has to come before TensorFlow's first operation;
    after it, and on other backends, nothing changes.
    """
    if keras.backend.backend() != "tensorflow":
        return
    import tensorflow as tf

    try:
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(os.cpu_count() or 1)
    except RuntimeError:
        pass  # TensorFlow has started; its threads are set for good
