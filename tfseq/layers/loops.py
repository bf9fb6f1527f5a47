"""`scan`, `associative_scan` and `while_loop` over time on every Keras backend; TensorFlow's export as ONNX `Loop`.

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


def associative_scan(combine, elements, reverse=False, axis=0):
    """`keras.ops.associative_scan`, on TensorFlow of any number of elements, where Keras needs to know it.

    There by doubling (Hillis and Steele, "Data parallel algorithms", 1986): after step k, each element is that of the
    2^k elements up to it. Steps are unrolled where the number of elements is known.

    Args:
        combine: (earlier, later) -> what both make, pytrees of tensors; associative.
        elements: pytree of tensors, of equal sizes along `axis`.
        reverse: whether to begin at the end.

    Returns:
        a pytree like `elements`: each combined with all before it.
    """
    if keras.backend.backend() != "tensorflow":
        return ops.associative_scan(combine, elements, reverse=reverse, axis=axis)

    import tensorflow as tf

    values = [tf.convert_to_tensor(x) for x in tree.flatten(elements)]
    axis = axis % values[0].shape.rank
    if reverse:
        values = [tf.reverse(x, [axis]) for x in values]
    count = values[0].shape[axis]

    def doubled(step, values):
        rest = (count or tf.shape(values[0])[axis]) - step
        earlier = [tf.split(x, [rest, step], axis)[0] for x in values]
        ready, later = zip(*(tf.split(x, [step, rest], axis) for x in values))
        combined = combine(*(tree.pack_sequence_as(elements, part) for part in (earlier, later)))
        return [tf.concat(parts, axis) for parts in zip(ready, tree.flatten(combined))]

    if count is not None:
        step = 1
        while step < count:
            values, step = doubled(step, values), 2 * step
    else:
        length = tf.shape(values[0])[axis]
        shapes = [tf.TensorShape([None if i == axis else n for i, n in enumerate(x.shape)]) for x in values]
        _, values = tf.while_loop(
            lambda step, values: step < length,
            lambda step, values: (2 * step, [tf.ensure_shape(x, s) for x, s in zip(doubled(step, values), shapes)]),
            (tf.constant(1), values),
            shape_invariants=(tf.TensorShape(()), shapes),
        )
    if reverse:
        values = [tf.reverse(x, [axis]) for x in values]
    return tree.pack_sequence_as(elements, values)


def while_loop(condition, body, carry, max_steps, output_dtypes, first=None):
    """Runs `body` while `condition` holds, at most `max_steps` times.

    Args:
        condition: carry -> () bool.
        body: (step, carry) -> (carry, y); step is () int32, y a pytree of tensors. It is traced once.
        carry: pytree of tensors. Their first axes are rows and may have any size; so may the axis that a part of the
            carry names as its `growing_axis`, as a KV cache does: of each of its tensors, or one by one, in the order
            of `keras.tree.flatten`, with None for one that does not grow.
        max_steps: () int32; elsewhere than on TensorFlow a Python integer.
        output_dtypes: of y, as a pytree like y.
        first: y of a step 0 that has run before. It is stacked in front, the steps of the loop count from 1, and
            `max_steps`, those of the loop, may be 0.

    Returns:
        the last carry, and y stacked, (steps that ran, ...) each.
    """
    match keras.backend.backend():
        case "tensorflow":
            return _tensorflow_while(condition, body, carry, max_steps, output_dtypes, first)
        case "jax":
            return _jax_while(condition, body, carry, max_steps, first)
    outputs = [] if first is None else [first]
    begun, step = len(outputs), 0
    while step < max_steps and condition(carry):
        carry, y = body(ops.convert_to_tensor(begun + step, "int32"), carry)
        outputs.append(y)
        step += 1
    return carry, tree.map_structure(lambda *ys: ops.stack(ys), *outputs)


def _tensorflow_while(condition, body, carry, max_steps, output_dtypes, first):
    import tensorflow as tf

    begun, dtypes = 0 if first is None else 1, tree.flatten(output_dtypes)
    in_front = [tf.convert_to_tensor(y) for y in tree.flatten(first)] if begun else [None] * len(dtypes)
    shapes = [None if y is None else y.shape for y in in_front]
    written = [tf.TensorArray(dtype, max_steps, element_shape=shape) for dtype, shape in zip(dtypes, shapes)]

    def write(step, carry, written):
        carry, y = body(step, carry)
        return step + 1, carry, [array.write(step - begun, value) for array, value in zip(written, tree.flatten(y))]

    steps, carry, written = tf.while_loop(
        lambda _, carry, __: condition(carry),
        write,
        (tf.constant(begun), carry, written),
        (tf.TensorShape([]), _free_axes(carry), [tf.TensorShape([])] * len(written)),
        maximum_iterations=max_steps,
    )
    # What did not run is left out; an ONNX loop does so itself.
    stacked = [
        _stack_behind(y, array, steps - begun) if begun else array.stack()[:steps]
        for y, array in zip(in_front, written)
    ]
    return carry, tree.pack_sequence_as(output_dtypes, stacked)


def _stack_behind(first, array, steps):
    """What `steps` steps have written, behind what the first one did; there may have been none."""
    import tensorflow as tf

    shape = tf.shape(first)
    if tf.executing_eagerly():
        rest = array.stack()
    else:  # an array that was not written to can't tell its shape
        rest = tf.raw_ops.TensorListStack(input_handle=array.flow, element_shape=shape, element_dtype=first.dtype)
    rest = tf.reshape(rest[:steps], tf.concat([[-1], shape], axis=0))  # an ONNX loop that did not run forgets sizes
    return tf.concat([first[None], rest], axis=0)


def _free_axes(carry):
    """Shapes of a TensorFlow loop's carry, free where the number of rows or a growing axis stands."""
    import tensorflow as tf

    def free(leaf, *axes):
        return tf.TensorShape([None if axis in axes else size for axis, size in enumerate(leaf.shape)])

    def visit(part):
        growing = getattr(part, "growing_axis", None)
        if growing is not None:
            leaves = tree.flatten(part)
            axes = growing if isinstance(growing, list | tuple) else [growing] * len(leaves)
            return tree.pack_sequence_as(part, [free(leaf, 0, axis) for leaf, axis in zip(leaves, axes, strict=True)])
        return None if tree.is_nested(part) else free(part, 0)

    return tree.traverse(visit, carry)


def _jax_while(condition, body, carry, max_steps, first):
    """With buffers of `max_steps`, cut when the loop is over."""
    import jax

    begun = 0 if first is None else 1
    if begun and not max_steps:
        return carry, tree.map_structure(lambda y: y[None], first)
    _, shapes = jax.eval_shape(body, jax.ShapeDtypeStruct((), "int32"), carry)
    buffers = tree.map_structure(lambda y: ops.zeros((max_steps, *y.shape), y.dtype), shapes)

    def write(step, carry, buffers):
        carry, y = body(step, carry)
        return step + 1, carry, tree.map_structure(lambda buffer, value: buffer.at[step - begun].set(value), buffers, y)

    steps, carry, buffers = ops.while_loop(
        lambda _, carry, __: condition(carry),
        write,
        (ops.full((), begun, "int32"), carry, buffers),
        maximum_iterations=max_steps,
    )
    ran = tree.map_structure(lambda buffer: buffer[: int(steps) - begun], buffers)
    return carry, tree.map_structure(lambda y, rest: ops.concatenate([y[None], rest]), first, ran) if begun else ran


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


def compiled_for_any_sizes(function, known=None):
    """`compiled`, of a dictionary of arrays, traced once: the sizes of its arrays are left open from the start.

    A function that can't be traced so is traced for the sizes that come.

    Args:
        known: shapes by name, None for open sizes, of arrays that have sizes which the function relies on.
    """
    if keras.backend.backend() != "tensorflow":
        return function

    import tensorflow as tf

    traced, traceable, known = tf.function(function, autograph=False), True, known or {}

    def run(inputs):
        nonlocal traceable
        if traceable:
            shapes = {name: known.get(name, [None] * len(x.shape)) for name, x in inputs.items()}
            specs = {name: tf.TensorSpec(shapes[name], x.dtype) for name, x in inputs.items()}
            try:
                of_any_size = traced.get_concrete_function(specs)
            except Exception:
                traceable = False
            else:
                return of_any_size(inputs)
        return traced(inputs)

    return run
