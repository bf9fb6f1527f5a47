"""`associative_scan` of any number of elements in a graph, where Keras' recursion needs to know the number."""

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf
from keras import tree


def associative_scan(f: Callable, elems: Any, reverse: bool = False, axis: int = 0) -> Any:
    """By doubling (Hillis and Steele, "Data parallel algorithms", 1986): after step k, each element is that of the 2^k
    elements up to it. In a loop where the number of elements is free; Keras' recursion needs a fixed one.
    """
    values = [tf.convert_to_tensor(x) for x in tree.flatten(elems)]
    axis = axis % values[0].shape.rank
    if reverse:
        values = [tf.reverse(x, [axis]) for x in values]
    count = values[0].shape[axis]

    def part(x: Any, start: Any, end: Any) -> Any:
        return x[tuple([slice(None)] * axis + [slice(start, end)])]

    def doubled(step: Any, values: Sequence[Any]) -> list[Any]:
        length = count or tf.shape(values[0])[axis]
        earlier = tree.pack_sequence_as(elems, [part(x, 0, length - step) for x in values])
        later = tree.pack_sequence_as(elems, [part(x, step, length) for x in values])
        return [tf.concat([part(x, 0, step), y], axis) for x, y in zip(values, tree.flatten(f(earlier, later)))]

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
    return tree.pack_sequence_as(elems, values)
