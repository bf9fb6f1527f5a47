"""Array operations patched while tracing: branches by number, slices that are written, counts, CTC."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras.src.backend.tensorflow import core as keras_core
from keras.src.backend.tensorflow import nn as keras_nn
from keras.src.backend.tensorflow import numpy as keras_numpy
from tensorflow.python.framework.ops import SymbolicTensor

from tfseq.layers.loops import associative_scan


def _switch_case(branch_index: Any, branch_fns: Any, default: Any = None, name: str | None = None) -> Any:
    """As conditions on the index, halving the branches each time; as the one branch where the index is a constant."""
    pairs = list(branch_fns.items() if isinstance(branch_fns, dict) else branch_fns)
    if not all(isinstance(pair, (tuple, list)) for pair in pairs):
        pairs = list(enumerate(pairs))
    branches = dict(sorted((int(number), branch) for number, branch in pairs))
    last = list(branches.values())[-1] if default is None else default
    index = tf.get_static_value(branch_index)
    if index is not None:
        return branches.get(int(index), last)()
    numbered = [branches.get(number, last) for number in range(max(branches) + 1)]
    index = tf.where((branch_index < 0) | (branch_index >= len(numbered)), len(numbered), branch_index)
    return _one_of(index, [*numbered, last], 0)


def _one_of(index: Any, branches: Sequence[Callable[[], Any]], first: int) -> Any:
    if len(branches) == 1:
        return branches[0]()
    half = len(branches) // 2
    return tf.cond(
        index < first + half,
        lambda: _one_of(index, branches[:half], first),
        lambda: _one_of(index, branches[half:], first + half),
    )


def _switch(index: Any, branches: Sequence[Callable], *operands: Any) -> Any:
    """Keras', which hides a constant index behind a minimum and a maximum."""
    number = tf.get_static_value(tf.convert_to_tensor(index))
    if number is not None:
        return branches[min(max(int(number), 0), len(branches) - 1)](*operands)
    return _SWITCH(index, branches, *operands)


_SWITCH = keras_core.switch


def _slice_update(inputs: Any, start_indices: Any, updates: Any) -> Any:
    """By selecting, at each place, the update for it or what was there. Starts are moved so that the updates fit."""
    inputs = tf.convert_to_tensor(inputs)
    updates = tf.cast(updates, inputs.dtype)
    rank = inputs.shape.rank
    starts = tf.unstack(tf.cast(start_indices, tf.int32), rank) if tf.is_tensor(start_indices) else start_indices
    written = None  # where, in the shape of the inputs
    for axis, start in enumerate(starts):
        size, length = (x.shape[axis] or tf.shape(x)[axis] for x in (updates, inputs))
        if isinstance(size, int) and size == length:
            continue
        start = tf.clip_by_value(tf.reshape(tf.cast(start, tf.int32), ()), 0, length - size)
        place = tf.range(length) - start
        inside = tf.reshape((place >= 0) & (place < size), [-1 if i == axis else 1 for i in range(rank)])
        written = inside if written is None else tf.logical_and(written, inside)
        if not (isinstance(size, int) and size == 1):
            updates = tf.gather(updates, tf.clip_by_value(place, 0, size - 1), axis=axis)
    if written is None:
        return updates
    return tf.ensure_shape(tf.where(written, updates, inputs), inputs.shape)


def _bincount(
    arr: Any,
    weights: Any = None,
    minlength: Any = None,
    maxlength: Any = None,
    dtype: Any = tf.int32,
    name: str | None = None,
    axis: int | None = None,
    binary_output: bool = False,
) -> Any:
    """As a product of the weights and of which element is in which bin. arr: (n,) or, with the axis -1, (batch, n)"""
    if isinstance(arr, (tf.SparseTensor, tf.RaggedTensor)):
        return _BINCOUNT(arr, weights, minlength, maxlength, dtype, name, axis, binary_output)
    arr = tf.convert_to_tensor(arr)
    rows = tf.reshape(arr, (-1,)) if axis is None else arr
    bins = tf.reduce_max(tf.concat([tf.reshape(arr, (-1,)), tf.constant([-1], arr.dtype)], 0)) + 1
    if minlength is not None:
        bins = tf.maximum(bins, tf.cast(minlength, arr.dtype))
    if maxlength is not None:
        bins = tf.minimum(bins, tf.cast(maxlength, arr.dtype))
    inside = rows[..., None] == tf.range(bins)  # (.., n, bins)
    if binary_output:
        return tf.cast(tf.reduce_any(inside, -2), dtype, name=name)
    if weights is None:
        return tf.reduce_sum(tf.cast(inside, dtype), -2, name=name)
    weights = tf.reshape(weights, tf.shape(rows))
    return tf.reduce_sum(tf.where(inside, weights[..., None], tf.zeros((), weights.dtype)), -2, name=name)


_BINCOUNT = tf.math.bincount


def _ctc_loss(
    labels: Any,
    logits: Any,
    label_length: Any,
    logit_length: Any,
    logits_time_major: bool = True,
    unique: Any = None,
    blank_index: int | None = None,
    name: str | None = None,
) -> Any:
    """By the forward variable alone (Graves et al., 2006, eq. 6 and 7); TensorFlow's computes the gradient with it.

    labels: (batch, symbols); logits: (time, batch, classes), or (batch, time, classes). Gives (batch,).
    """
    if isinstance(labels, tf.SparseTensor):
        return _CTC_LOSS(labels, logits, label_length, logit_length, logits_time_major, unique, blank_index, name)
    labels = tf.convert_to_tensor(labels, tf.int32)
    log_probabilities = tf.nn.log_softmax(tf.cast(logits, tf.float32))
    if not logits_time_major:
        log_probabilities = tf.transpose(log_probabilities, (1, 0, 2))
    steps, batch = (tf.shape(log_probabilities)[i] for i in (0, 1))
    blank = (blank_index or 0) % log_probabilities.shape[-1]
    count = tf.shape(labels)[1]
    label_length, logit_length = (tf.cast(x, tf.int32) for x in (label_length, logit_length))
    blanks = tf.fill([batch, count], blank)
    symbols = tf.reshape(tf.stack([blanks, labels], 2), (-1, 2 * count))
    symbols = tf.concat([symbols, tf.fill([batch, 1], blank)], 1)  # (batch, states): blanks around each label
    before = tf.concat([tf.fill([batch, 2], blank), symbols[:, :-2]], 1)
    low = tf.constant(-1e30)
    from_two_back = tf.where(tf.logical_and(symbols != blank, symbols != before), 0.0, low)
    chosen = tf.one_hot(symbols, log_probabilities.shape[-1])  # (batch, states, classes)
    first = tf.where(tf.range(2 * count + 1) < 1, 0.0, low) + tf.zeros([batch, 1])

    def later(alpha: Any, by: int) -> Any:
        return tf.concat([tf.fill([batch, by], low), alpha[:, :-by]], 1)

    def step(t: Any, alpha: Any) -> Any:
        emitted = tf.einsum("bc,bsc->bs", log_probabilities[t], chosen)
        arriving = tf.stack([alpha, later(alpha, 1), later(alpha, 2) + from_two_back])
        arriving = tf.where(t > 0, tf.reduce_logsumexp(arriving, 0), tf.maximum(alpha, later(alpha, 1)))
        new = tf.maximum(arriving + emitted, low)
        return t + 1, tf.where((t < logit_length)[:, None], new, alpha)

    shape = tf.TensorShape([None, None])
    first = tf.ensure_shape(first, shape)
    _, alpha = tf.while_loop(
        lambda t, alpha: t < steps,
        step,
        (tf.constant(0), first),
        shape_invariants=(tf.TensorShape(()), shape),
    )
    state = tf.range(2 * count + 1)
    ends = tf.logical_or(state == 2 * label_length[:, None], state == 2 * label_length[:, None] - 1)
    total = tf.reduce_logsumexp(tf.where(ends, alpha, low), 1)
    return tf.where(total > low / 2, -total, np.inf, name=name)


_CTC_LOSS = tf.nn.ctc_loss


def _segments(reduce: Callable, empty: int | str, is_sorted: bool) -> Callable:
    """A reduction by segments, with TensorFlow's value in those that are empty, or the name of its dtype's attribute;
    ids below 0 belong to none."""

    def ranged(data: Any, segment_ids: Any, num_segments: Any, name: str | None = None) -> Any:
        data, ids = tf.convert_to_tensor(data), tf.convert_to_tensor(segment_ids)
        count = tf.cast(num_segments, ids.dtype)
        data = tf.reshape(data, tf.concat([[-1], tf.shape(data)[ids.shape.rank :]], 0)) if ids.shape.rank != 1 else data
        ids = tf.reshape(ids, (-1,))
        ids = tf.where(ids < 0, count, ids)
        found = reduce(data, ids, count + 1)[:count]
        members = _SEGMENT_SUM(tf.ones_like(ids, tf.int32), ids, count + 1)[:count]
        members = tf.reshape(members, tf.concat([[-1], tf.ones_like(tf.shape(data)[1:])], 0))
        value = tf.constant(getattr(data.dtype, empty) if isinstance(empty, str) else empty, data.dtype)
        return tf.where(members == 0, value, found, name=name)

    def to_the_last(data: Any, segment_ids: Any, name: str | None = None) -> Any:
        return ranged(data, segment_ids, tf.reduce_max(segment_ids) + 1, name)

    return to_the_last if is_sorted else ranged


_SEGMENT_SUM = tf.math.unsorted_segment_sum
_REDUCTIONS: dict[str, tuple[Callable, Any, int]] = {  # and the value of an empty segment, of one among sorted ones
    "sum": (tf.math.unsorted_segment_sum, 0, 0),
    "prod": (tf.math.unsorted_segment_prod, 1, 1),
    "max": (tf.math.unsorted_segment_max, "min", 0),
    "min": (tf.math.unsorted_segment_min, "max", 0),
}


def _known_truth(self: Any) -> bool:
    """Of a symbolic tensor whose value follows from static ranks and sizes, as in `if ops.rank(x) == 0`."""
    value = tf.get_static_value(self)
    return _TRUTH(self) if value is None else bool(value)


_TRUTH = SymbolicTensor.__bool__


def _is_in(x1: Any, x2: Any, assume_unique: bool = False, invert: bool = False) -> Any:
    """Each element of x1 beside all of x2, any number of them, none included."""
    x1, x2 = tf.convert_to_tensor(x1), tf.convert_to_tensor(x2)
    dtype = keras.backend.result_type(x1.dtype, x2.dtype)
    x1, x2 = (tf.cast(x, dtype) for x in (x1, x2))
    found = tf.reduce_any(x1[..., None] == tf.reshape(x2, (-1,)), -1)
    return tf.logical_not(found) if invert else found


def _greatest_common_divisor(x1: Any, x2: Any) -> Any:
    """By Euclid's algorithm, of whole numbers that broadcast to each other, of any size."""
    x1, x2 = tf.convert_to_tensor(x1), tf.convert_to_tensor(x2)
    dtype = keras.backend.result_type(x1.dtype, x2.dtype)
    x1, x2 = (tf.cast(x, dtype) for x in (x1, x2))
    a, b = x1 + tf.zeros_like(x2), x2 + tf.zeros_like(x1)
    if not dtype.startswith("uint"):
        a, b = tf.abs(a), tf.abs(b)

    def step(a: Any, b: Any) -> Any:
        done = b == 0
        return tf.where(done, a, b), tf.where(done, tf.zeros_like(b), a % tf.where(done, tf.ones_like(b), b))

    return tf.while_loop(lambda a, b: tf.reduce_any(b != 0), step, [a, b])[0]


def _unravel_index(indices: Any, shape: Any) -> Any:
    """As Keras does it, which takes the sizes from the first on where the indices are no vector."""
    indices = tf.convert_to_tensor(indices)
    places = []
    for size in reversed(shape) if indices.shape.rank == 1 else shape:
        places.append(indices % size)
        indices = indices // size
    return tuple(reversed(places))


def _inner(x1: Any, x2: Any) -> Any:
    """By the ranks that are known, where Keras leaves the choice between two products to the graph."""
    x1, x2 = tf.convert_to_tensor(x1), tf.convert_to_tensor(x2)
    result = keras.backend.result_type(x1.dtype, x2.dtype)
    x1, x2 = (tf.cast(x, keras.backend.result_type(result, float)) for x in (x1, x2))
    scalar = x1.shape.rank == 0 or x2.shape.rank == 0
    return tf.cast(x1 * x2 if scalar else tf.tensordot(x1, x2, [[-1], [-1]]), result)


def _unfold(input: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1) -> Any:
    """Of any number of images: (batch, channels, height, width) to (batch, channels * rows * columns, windows)."""
    images = tf.convert_to_tensor(input)
    size, rate, margin, step = (
        [x, x] if isinstance(x, int) else list(x) for x in (kernel_size, dilation, padding, stride)
    )
    channels = images.shape[1]
    x = tf.transpose(tf.pad(images, [[0, 0], [0, 0], *([n, n] for n in margin)]), (0, 2, 3, 1))
    windows = tf.image.extract_patches(x, *([1, *values, 1] for values in (size, step, rate)), "VALID")
    pixels = size[0] * size[1]
    count = windows.shape[1] * windows.shape[2]
    x = tf.transpose(tf.reshape(windows, (-1, count, pixels, channels)), (0, 3, 2, 1))
    return tf.reshape(x, (-1, channels * pixels, count))


def _fold(x: Any, output_size: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1) -> Any:
    """Windows (batch, channels * rows * columns, windows) added up where they lie, (batch, channels, height, width):
    by columns first, then by rows; Keras scatters pixel by pixel."""
    sizes, size, rate, margin, step = (
        [n, n] if isinstance(n, int) else list(n) for n in (output_size, kernel_size, dilation, padding, stride)
    )
    windows = tf.convert_to_tensor(x)
    channels = windows.shape[1] // (size[0] * size[1])
    whole = [n + 2 * beside for n, beside in zip(sizes, margin)]
    counts = [(whole[i] - rate[i] * (size[i] - 1) - 1) // step[i] + 1 for i in (0, 1)]
    images = tf.reshape(windows, (-1, channels, *size, *counts))
    for i in (1, 0):  # (batch, channels, rows, columns, down, across) -> (.., rows, down, width) -> (.., height, width)
        parts = tf.unstack(images, axis=2 + i)
        images = tf.add_n([_placed(part, n * rate[i], step[i], whole[i], 2 + 2 * i) for n, part in enumerate(parts)])
    return images[:, :, margin[0] : margin[0] + sizes[0], margin[1] : margin[1] + sizes[1]]


def _placed(x: Any, start: int, step: int, size: int, axis: int) -> Any:
    """What lies along an axis at start, start + step, .. of `size` places, with zeros between."""
    before, count, after = x.shape[1:axis], x.shape[axis], x.shape[axis + 1 :]
    if step > 1:
        margins = [[0, 0]] * (axis + 1) + [[0, step - 1]] + [[0, 0]] * len(after)
        x = tf.reshape(tf.pad(tf.expand_dims(x, axis + 1), margins), (-1, *before, count * step, *after))
        x = x[(slice(None),) * axis + (slice((count - 1) * step + 1),)]
    rest = size - start - (count - 1) * step - 1
    return tf.pad(x, [[0, 0]] * axis + [[start, rest]] + [[0, 0]] * len(after))


def _pool(input: Any, window_shape: Any, pooling_type: Any, *args: Any, **kwargs: Any) -> Any:
    """Nothing where a window is larger than its axis; adaptive pooling asks for such, and takes nothing of it."""
    images = tf.convert_to_tensor(input)
    options = dict(zip(("strides", "padding"), args)) | kwargs
    plain = options.get("padding", "VALID") == "VALID" and not str(options.get("data_format")).startswith("NC")
    if plain and options.get("dilations") is None:
        for axis, window in enumerate(window_shape, 1):
            size = images.shape[axis]
            if size is not None and window > size:
                return tf.gather(images, tf.zeros(0, tf.int32), axis=axis)
    return _POOL(images, window_shape, pooling_type, *args, **kwargs)


_POOL = tf.nn.pool

PATCHES = (
    (tf.nn, "pool", _pool),
    (keras_nn, "unfold", _unfold),
    (keras_nn, "fold", _fold),
    (SymbolicTensor, "__bool__", _known_truth),
    (keras_numpy, "isin", _is_in),
    (keras_numpy, "gcd", _greatest_common_divisor),
    (keras_numpy, "unravel_index", _unravel_index),
    (keras_numpy, "inner", _inner),
    (tf, "switch_case", _switch_case),
    (keras_core, "switch", _switch),
    (keras_core, "associative_scan", associative_scan),
    (keras_core, "slice_update", _slice_update),
    (tf.math, "bincount", _bincount),
    (tf.nn, "ctc_loss", _ctc_loss),
    *(
        (tf.math, f"{order}segment_{kind}", _segments(reduce, among_sorted if order == "" else empty, order == ""))
        for kind, (reduce, empty, among_sorted) in _REDUCTIONS.items()
        for order in ("", "unsorted_")
    ),
)
