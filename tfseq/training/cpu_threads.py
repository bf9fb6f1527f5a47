"""How TensorFlow uses the cores of a CPU: one stream of the batch per core, or each product shared between cores."""

import keras

from tfseq.layers.batch_streams import stream_count
from tfseq.machine import available_cores


def one_stream_per_core(batch: int | None = None) -> None:
    """Gives each operator one thread and each core an operator of its own: what the recurrent kernels are made for.

    A recurrent step is too small to share between cores, so `tfseq.layers` runs a part of the batch on each. Wide
    models without recurrence are better off with TensorFlow's default. Has to come before TensorFlow's first operation;
    after it, and on other backends, nothing changes.

    Args:
        batch: rows per step, if known: where they are too few to give each core a stream, the cores that are left over
            share products. See `thread_counts`.
    """
    if keras.backend.backend() != "tensorflow":
        return
    import tensorflow as tf

    within, between = thread_counts(available_cores(), batch)
    try:
        tf.config.threading.set_intra_op_parallelism_threads(within)
        tf.config.threading.set_inter_op_parallelism_threads(between)
    except RuntimeError:
        pass  # TensorFlow has started; its threads are set for good


def thread_counts(cores: int, batch: int | None = None) -> tuple[int, int]:
    """Threads within an operator, from one pool for all, and operators at a time.

    A batch of 64 makes 1, 4, 8 and 8 streams on 1, 4, 8 and 16 cores. As long as each core has one, operators keep to
    themselves: (1, 1), (1, 4), (1, 8). On 16 cores half would idle, so there products share the pool: (16, 16).
    Measured on two cores only (benchmarks/notebook/recurrent_training.md); beyond, this is reasoned.
    """
    every_core_has_a_stream = batch is None or stream_count(batch, cores) >= cores
    return (1 if every_core_has_a_stream else cores), cores
