"""`scan` and `while_loop` over time on every Keras backend; on TensorFlow they export as ONNX `Loop`.

Here the backends differ; everything else in tfseq is written once. TensorFlow runs a loop of run-time length and stacks
what each step returns; the same graph becomes one ONNX `Loop`. On other backends a loop's greatest length has to be
known when it starts. (On TensorFlow `keras.ops.scan` wants every output to look like the carry, and a buffer written
with `slice_update` becomes an XLA operator that ONNX lacks.)
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


def while_loop(condition, body, carry, max_steps, output_dtypes):
    """Runs `body` while `condition` holds, at most `max_steps` times.

    Args:
        condition: carry -> () bool.
        body: (step, carry) -> (carry, y); step is () int32, y a pytree of tensors. It is traced once.
        carry: pytree of tensors. Their first axes are rows and may have any size; so may the axis that a part of the
            carry names as its `growing_axis`, as a KV cache does.
        max_steps: () int32; elsewhere than on TensorFlow a Python integer.
        output_dtypes: of y, as a pytree like y.

    Returns:
        the last carry, and y stacked, (steps that ran, ...) each.
    """
    match keras.backend.backend():
        case "tensorflow":
            return _tensorflow_while(condition, body, carry, max_steps, output_dtypes)
        case "jax":
            return _jax_while(condition, body, carry, max_steps)
    step, outputs = 0, []
    while step < max_steps and condition(carry):
        carry, y = body(ops.convert_to_tensor(step, "int32"), carry)
        outputs.append(y)
        step += 1
    return carry, tree.map_structure(lambda *ys: ops.stack(ys), *outputs)


def _tensorflow_while(condition, body, carry, max_steps, output_dtypes):
    import tensorflow as tf

    written = [tf.TensorArray(dtype, size=max_steps) for dtype in tree.flatten(output_dtypes)]

    def write(step, carry, written):
        carry, y = body(step, carry)
        return step + 1, carry, [array.write(step, value) for array, value in zip(written, tree.flatten(y))]

    steps, carry, written = tf.while_loop(
        lambda _, carry, __: condition(carry),
        write,
        (tf.constant(0), carry, written),
        (tf.TensorShape([]), _free_axes(carry), [tf.TensorShape([])] * len(written)),
        maximum_iterations=max_steps,
    )
    stacked = [array.stack()[:steps] for array in written]  # what did not run is left out; an ONNX loop does so itself
    return carry, tree.pack_sequence_as(output_dtypes, stacked)


def _free_axes(carry):
    """Shapes of a TensorFlow loop's carry, free where the number of rows or a growing axis stands."""
    import tensorflow as tf

    def free(leaf, *axes):
        return tf.TensorShape([None if axis in axes else size for axis, size in enumerate(leaf.shape)])

    def visit(part):
        growing = getattr(part, "growing_axis", None)
        if growing is not None:
            return tree.map_structure(lambda leaf: free(leaf, 0, growing), part)
        return None if tree.is_nested(part) else free(part, 0)

    return tree.traverse(visit, carry)


def _jax_while(condition, body, carry, max_steps):
    """With buffers of `max_steps`, cut when the loop is over."""
    import jax

    _, shapes = jax.eval_shape(body, jax.ShapeDtypeStruct((), "int32"), carry)
    buffers = tree.map_structure(lambda y: ops.zeros((max_steps, *y.shape), y.dtype), shapes)

    def write(step, carry, buffers):
        carry, y = body(step, carry)
        return step + 1, carry, tree.map_structure(lambda buffer, value: buffer.at[step].set(value), buffers, y)

    steps, carry, buffers = ops.while_loop(
        lambda _, carry, __: condition(carry),
        write,
        (ops.zeros((), "int32"), carry, buffers),
        maximum_iterations=max_steps,
    )
    return carry, tree.map_structure(lambda buffer: buffer[: int(steps)], buffers)


def number(steps):
    """A loop's length, () int32, as `while_loop` takes it."""
    return steps if keras.backend.backend() == "tensorflow" else int(steps)


def take_rows(x, indices):
    """`x[indices]`. `keras.ops.take` also counts from the end, which on TensorFlow costs three operators more."""
    if keras.backend.backend() != "tensorflow":
        return ops.take(x, indices, axis=0)

    import tensorflow as tf

    return tf.gather(x, indices)


def compiled(function):
    """`function` as a TensorFlow graph that is traced for a few shapes and reused; on other backends as it is."""
    if keras.backend.backend() != "tensorflow":
        return function

    import tensorflow as tf

    return tf.function(function, reduce_retracing=True, autograph=False)
