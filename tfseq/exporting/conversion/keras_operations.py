"""Keras operations patched while tracing, into forms with the same results that tf2onnx converts well."""

import contextlib
from collections.abc import Iterator
from string import ascii_lowercase
from typing import Any
from unittest import mock

import numpy as np
import tensorflow as tf
from keras import layers, ops, tree
from keras.src.backend.tensorflow import core as keras_core
from keras.src.backend.tensorflow import nn as keras_nn
from keras.src.backend.tensorflow import numpy as keras_numpy
from keras.src.backend.tensorflow import rnn as keras_rnn
from keras.src.layers.rnn.conv_lstm import ConvLSTM, ConvLSTMCell

from tfseq.exporting.conversion import hashing, traced_arrays, traced_images, traced_numbers, traced_weights
from tfseq.exporting.conversion.linear_algebra import by_algorithms
from tfseq.exporting.signatures.time_distributed import steps_as_rows, time_distributed_call
from tfseq.exporting.signatures.unrolled import rnn_call
from tfseq.keras_versions import MASKED_QUERIES_GET_ZEROS, patched
from tfseq.layers import positions


@contextlib.contextmanager
def convertible() -> Iterator[None]:
    """While functions are traced for conversion."""
    patches = (*hashing.PATCHES, *traced_arrays.PATCHES, *traced_images.PATCHES, *traced_numbers.PATCHES)
    with by_algorithms(), traced_weights.merged_once(), patched((*_patches(), *patches, *traced_weights.PATCHES)):
        yield


def _patches() -> tuple[tuple[Any, str, Any], ...]:
    return (
        (layers.TimeDistributed, "call", time_distributed_call),
        (layers.RNN, "call", rnn_call),
        (layers.MultiHeadAttention, "_compute_attention", _compute_attention),
        (ConvLSTM, "inner_loop", _conv_lstm_loop),
        (positions, "reversed_embedding", _reversed_embedding),
        (keras_core, "scan", _scan),
        (keras_numpy, "signbit", _sign_bit),
        (keras_nn, "_apply_masks", _apply_masks),
        (keras_nn, "_dot_product_attention_xla", _dot_product_attention),
        (tf, "tensordot", _tensordot),
        (tf, "eye", _eye),
        (tf.math, "cumprod", _cumulative_product),
        (tf.nn, "gelu", _gelu),
        (tf.nn, "ctc_greedy_decoder", _ctc_greedy_decoder),
        (tf.nn, "ctc_beam_search_decoder", _ctc_beam_search_decoder),
    )


def _reversed_embedding(embedding: Any, x: Any) -> Any:
    """As it is: ONNX Runtime's product is as quick for any number of rows."""
    return embedding(x, reverse=True)


def inlined(function: Any) -> None:
    """Lets functions that are marked for XLA be inlined as others are; in place."""
    for operation in function.graph.get_operations():
        if "_XlaMustCompile" in operation.node_def.attr:
            operation._clear_attr("_XlaMustCompile")


def _conv_lstm_loop(self: Any, sequences: Any, initial_state: Any, mask: Any, training: bool = False) -> Any:
    """With one convolution of all inputs before the loop and one of the state in each step, where Keras has eight."""
    cell = self.cell
    if training or type(cell).call is not ConvLSTMCell.call:
        return _INNER_LOOP(self, sequences, initial_state, mask, training)
    last = cell.data_format == "channels_last"
    x = cell.input_conv(steps_as_rows(sequences), cell.kernel, padding=cell.padding)  # (batch * time, ..)
    if cell.use_bias:
        x = x + (cell.bias if last else ops.reshape(cell.bias, (-1, *[1] * cell.rank)))
    x = ops.reshape(x, (-1, ops.shape(sequences)[1], *ops.shape(x)[1:]))

    def step(x: Any, states: Any) -> Any:
        h, c = states
        gates = x + cell.recurrent_conv(h, cell.recurrent_kernel)
        i, f, z, o = ops.split(gates, 4, axis=-1 if last else 1)
        c = cell.recurrent_activation(f) * c + cell.recurrent_activation(i) * cell.activation(z)
        h = cell.recurrent_activation(o) * cell.activation(c)
        return h, [h, c]

    return keras_rnn(
        step,
        x,
        initial_state,
        go_backwards=self.go_backwards,
        mask=mask,
        unroll=self.unroll,
        input_length=x.shape[1],
        zero_output_for_mask=self.zero_output_for_mask,
        return_all_outputs=self.return_sequences,
    )


_INNER_LOOP = ConvLSTM.inner_loop


def _scan(f: Any, init: Any, xs: Any = None, length: int | None = None, reverse: bool = False, unroll: Any = 1) -> Any:
    """With the carry handed from step to step, where Keras writes it to an array of one element."""
    inputs = [tf.convert_to_tensor(x) for x in tree.flatten(xs)] if xs is not None else []
    carry = [tf.convert_to_tensor(x) for x in tree.flatten(init)]
    steps = tf.shape(inputs[0])[0] if length is None else int(length)
    order = (lambda x: tf.reverse(x, [0])) if reverse else (lambda x: x)
    sources = [tf.TensorArray(x.dtype, steps, element_shape=x.shape[1:]).unstack(order(x)) for x in inputs]
    results = [tf.TensorArray(x.dtype, steps, element_shape=x.shape) for x in carry]

    def step(i: Any, carry: list[Any], results: list[Any]) -> Any:
        x = tree.pack_sequence_as(xs, [source.read(i) for source in sources]) if sources else None
        new, outputs = f(tree.pack_sequence_as(init, carry), x)
        written = (
            [array.write(i, y) for array, y in zip(results, tree.flatten(outputs))] if outputs is not None else results
        )
        return i + 1, tree.flatten(new) if new is not None else carry, written

    _, carry, results = tf.while_loop(lambda i, *_: i < steps, step, (0, carry, results))
    outputs = [order(array.stack()) for array in results]
    return tree.pack_sequence_as(init, carry), tree.pack_sequence_as(init, outputs)


def _tensordot(a: Any, b: Any, axes: Any, name: str | None = None) -> Any:
    """As an Einstein sum, where TensorFlow reshapes to matrices by sizes that it computes."""
    a, b = tf.convert_to_tensor(a), tf.convert_to_tensor(b)
    static = not tf.is_tensor(axes)
    if a.shape.rank is None or b.shape.rank is None or not static:
        return _TENSORDOT(a, b, axes, name)
    if isinstance(axes, int):
        axes = range(a.shape.rank - axes, a.shape.rank), range(axes)
    pairs = [[int(axis) % x.shape.rank for axis in np.ravel(own)] for own, x in zip(axes, (a, b))]
    letters = iter(ascii_lowercase)
    left = [next(letters) for _ in range(a.shape.rank)]
    right = [left[pairs[0][pairs[1].index(i)]] if i in pairs[1] else next(letters) for i in range(b.shape.rank)]
    kept = [x for i, x in enumerate(left) if i not in pairs[0]] + [x for i, x in enumerate(right) if i not in pairs[1]]
    return tf.einsum(f"{''.join(left)},{''.join(right)}->{''.join(kept)}", a, b, name=name)


_TENSORDOT = tf.tensordot


def _eye(
    num_rows: Any, num_columns: Any = None, batch_shape: Any = None, dtype: Any = tf.float32, name: str | None = None
) -> Any:
    """A batch of them as one, repeated; the converter takes the batch for rows."""
    matrix = _EYE(num_rows, num_columns, dtype=dtype, name=name)
    return matrix if batch_shape is None else tf.broadcast_to(matrix, tf.concat([batch_shape, tf.shape(matrix)], 0))


_EYE = tf.eye


def _cumulative_product(
    x: Any, axis: Any = 0, exclusive: bool = False, reverse: bool = False, name: str | None = None
) -> Any:
    """Of integers over a free length by doubling, in a loop: x times x moved by 1 place, that times itself moved by 2,
    by 4, .."""
    x, along = tf.convert_to_tensor(x), tf.get_static_value(axis)
    if x.dtype.is_floating or x.shape.rank is None or along is None or x.shape[int(along)] is not None:
        return _CUMPROD(x, axis, exclusive, reverse, name)
    order = [int(along) % x.shape.rank, *(i for i in range(x.shape.rank) if i != int(along) % x.shape.rank)]
    product = tf.transpose(tf.reverse(x, order[:1]) if reverse else x, order)  # (length, ..)
    length = tf.shape(product)[0]

    def moved(y: Any, by: Any) -> Any:
        by = tf.minimum(by, length)
        return tf.concat([tf.ones_like(y[:by]), y[: length - by]], 0)

    def step(by: Any, y: Any) -> Any:
        return 2 * by, y * moved(y, by)

    shapes = tf.TensorShape([]), product.shape
    _, product = tf.while_loop(lambda by, _: by < length, step, (1, product), shape_invariants=shapes)
    product = tf.transpose(moved(product, 1) if exclusive else product, np.argsort(order))
    return tf.reverse(product, order[:1]) if reverse else product


_CUMPROD = tf.math.cumprod


def _gelu(features: Any, approximate: bool = False, name: str | None = None) -> Any:
    """In the form that ONNX Runtime knows where the opset has no Gelu."""
    x = tf.convert_to_tensor(features)
    if approximate:
        return _GELU(x, True, name)
    return tf.multiply(0.5 * x, 1 + tf.math.erf(x / tf.constant(np.sqrt(2), x.dtype)), name=name)


_GELU = tf.nn.gelu


def _ctc_greedy_decoder(
    inputs: Any, sequence_length: Any, merge_repeated: bool = True, blank_index: int | None = None
) -> Any:
    """By the definition: the best class of each step, once for each run of it, blanks left out. The converter's own
    takes no other blank than the last class. inputs: (time, batch, classes)"""
    logits = tf.transpose(tf.convert_to_tensor(inputs), (1, 0, 2))
    classes = tf.shape(logits)[2]
    best = tf.argmax(logits, -1, output_type=tf.int32)  # (batch, time)
    blank = classes - 1 if blank_index is None else blank_index if blank_index >= 0 else classes + blank_index
    inside = tf.range(tf.shape(best)[1]) < tf.cast(sequence_length, tf.int32)[:, None]
    kept = tf.logical_and(inside, best != blank)
    if merge_repeated:
        before = tf.concat([-tf.ones_like(best[:, :1]), best[:, :-1]], 1)
        kept = tf.logical_and(kept, best != before)
    counts = tf.cumsum(tf.cast(kept, tf.int32), 1)  # (batch, time)
    places = tf.where(kept)  # (kept, 2): row and step
    columns = tf.cast(tf.gather_nd(counts, places), tf.int64) - 1
    indices = tf.stack([places[:, 0], columns], 1)
    shape = tf.stack([tf.shape(best)[0], tf.reduce_max(counts)])
    decoded = tf.SparseTensor(
        indices, tf.cast(tf.gather_nd(best, places), tf.int64), tf.ensure_shape(tf.cast(shape, tf.int64), (2,))
    )
    scores = tf.reduce_sum(tf.where(inside, tf.reduce_max(logits, -1), 0), 1, keepdims=True)
    return [decoded], -scores


def _ctc_beam_search_decoder(*arguments: Any, **options: Any) -> Any:
    raise ValueError(
        "it decodes by a CTC beam search, which has no translation to ONNX. Decode greedily "
        '(keras.ops.ctc_decode with strategy="greedy", tf.nn.ctc_greedy_decoder), or export the model up to its '
        "probabilities and search behind it."
    )


def _dot_product_attention(query: Any, key: Any, value: Any, bias: Any, mask: Any, is_causal: bool, scale: Any) -> Any:
    """With the causal mask's size from query and key (batch, time, heads, width), not from their product."""
    if is_causal:
        queries, keys = (tf.range(tf.shape(x)[1]) for x in (query, key))
        causal = queries[:, None] >= keys  # (queries, keys)
        mask = causal if mask is None else tf.logical_and(tf.cast(mask, "bool"), causal)
    return _DOT_PRODUCT_ATTENTION(query, key, value, bias, mask, False, scale)


_DOT_PRODUCT_ATTENTION = keras_nn._dot_product_attention_xla


def _apply_masks(logits: Any, mask: Any, is_causal: bool) -> Any:
    """As a sum with a mask as small as it was given, where Keras selects by one of the size of the logits.

    What is added is so low that a logit vanishes beside it, so both give the same.
    """
    if mask is None:
        return logits
    low = tf.cast(keras_nn._get_large_negative(logits.dtype), logits.dtype)
    return logits + tf.where(tf.cast(mask, "bool"), tf.zeros((), logits.dtype), low)


def _compute_attention(
    self: Any,
    query: Any,
    key: Any,
    value: Any,
    attention_mask: Any = None,
    training: bool | None = None,
    return_attention_scores: bool | None = None,
    use_causal_mask: bool | None = None,
) -> Any:
    """With dropout, idle at inference, as without: Keras then computes the attention in steps of its own.

    In those a query whose keys are all masked gets zeros, from Keras 3.9 on. Older versions keep the last two
    arguments to themselves.
    """
    given = {"return_attention_scores": return_attention_scores, "use_causal_mask": use_causal_mask}
    options = {"training": training} | {name: x for name, x in given.items() if x is not None}
    scores_too = return_attention_scores or getattr(self, "_return_attention_scores", False)
    if self._dropout == 0 or training or scores_too or len(query.shape) != 4:
        return _COMPUTE(self, query, key, value, attention_mask, **options)
    with mock.patch.object(self, "_dropout", 0.0):
        outputs, scores = _COMPUTE(self, query, key, value, attention_mask, **options)
    if attention_mask is not None and MASKED_QUERIES_GET_ZEROS:  # (batch, [heads], queries, keys)
        mask = ops.cast(attention_mask, "bool")
        if use_causal_mask:
            times = [ops.arange(ops.shape(x)[1]) for x in (query, value)]
            mask = ops.logical_and(mask, times[0][:, None] >= times[1])
        anything = ops.any(mask, axis=-1)
        anything = ops.transpose(anything, (0, 2, 1)) if len(anything.shape) == 3 else anything[..., None]
        outputs = ops.where(anything[..., None], outputs, 0.0)
    return outputs, scores


_COMPUTE = layers.MultiHeadAttention._compute_attention


def _sign_bit(x: Any) -> Any:
    """Where x is negative, -0.0 included; Keras looks at the bits, and ONNX can't."""
    x = tf.convert_to_tensor(x)
    if not x.dtype.is_floating:
        return x < 0 if x.dtype != tf.bool else tf.zeros_like(x)
    return tf.logical_or(x < 0, 1 / x < 0)
