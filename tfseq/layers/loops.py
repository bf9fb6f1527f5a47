"""The loop over time, where Keras' backends differ: everything else in tfseq is written once.

TensorFlow runs a loop of run-time length and stacks what each step returns; the same graph becomes one ONNX `Loop`.
Other backends run `keras.ops.scan`, whose length has to be known when it starts. (On TensorFlow `keras.ops.scan` wants
every output to look like the carry, and a buffer written with `slice_update` becomes an XLA operator that ONNX lacks.)
"""

import keras
from keras import ops, tree


def scan(step, carry, xs, output_dtypes):
    """Runs `step` over the first axis of `xs`.

    Args:
        step: (carry, x) -> (carry, y); x is one slice of `xs`, y a pytree of tensors. It is traced once.
        carry: pytree of tensors; shapes and dtypes stay as they are.
        xs: pytree of tensors, (time, ...) each, time of at least 1.
        output_dtypes: of y, as a pytree like y.

    Returns:
        the last carry, and y stacked, (time, ...) each.
    """
    if keras.backend.backend() != "tensorflow":
        return ops.scan(step, carry, xs)

    import tensorflow as tf

    steps = tf.shape(tree.flatten(xs)[0])[0]
    written = [tf.TensorArray(dtype, size=steps) for dtype in tree.flatten(output_dtypes)]

    def body(t, carry, written):
        carry, y = step(carry, tree.map_structure(lambda x: tf.gather(x, t), xs))
        return t + 1, carry, [array.write(t, value) for array, value in zip(written, tree.flatten(y))]

    _, carry, written = tf.while_loop(lambda *_: True, body, (tf.constant(0), carry, written), maximum_iterations=steps)
    return carry, tree.pack_sequence_as(output_dtypes, [array.stack() for array in written])


def compiled(function):
    """`function` as a TensorFlow graph that is traced for a few shapes and reused; on other backends as it is."""
    if keras.backend.backend() != "tensorflow":
        return function

    import tensorflow as tf

    return tf.function(function, reduce_retracing=True, autograph=False)
