"""Low-rank updates (LoRA) and weights of 8 and 4 bits while tracing: the first added up, the others left as small.

Keras keeps two integers of 4 bits in a byte. The file keeps them so, too, in a graph that takes them apart: a runtime
does that once, when it loads the file.
"""

import contextlib
import sys
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops
from keras.src import quantizers
from keras.src.backend.tensorflow import numpy as keras_numpy

from tfseq.keras_versions import ReversibleEmbedding, function_of


def _merged(attribute: property) -> property:
    """A layer's weight with its low-rank update added, once, so that the graph has neither the update nor the sum."""
    weight = attribute.fget
    assert weight is not None

    def merged(self: Any) -> Any:
        if not getattr(self, "lora_enabled", False) or getattr(self, "quantization_mode", None):
            return weight(self)
        with tf.init_scope():
            if not tf.executing_eagerly():
                return weight(self)
            made = _MERGED.get(id(self))
            if made is None:
                made = _MERGED[id(self)] = tf.convert_to_tensor(weight(self))
        return made

    return property(merged)


_MERGED: dict[int, Any] = {}


@contextlib.contextmanager
def merged_once() -> Iterator[None]:
    """Within, a layer's sum is made once; then its memory is given back."""
    try:
        yield
    finally:
        _MERGED.clear()


def _unpacked(packed: Any, orig_len: int, axis: int = 0, dtype: str = "int8") -> Any:
    """As `keras.quantizers.unpack_int4`, in float32, by quotients and remainders, which every opset has."""
    x = tf.convert_to_tensor(packed)
    if tf.executing_eagerly():
        return _UNPACK(packed, orig_len, axis, dtype)
    axis %= x.shape.rank
    x = tf.cast(x, "float32")
    high = tf.floor(x / 16)
    low = x - 16 * high
    if dtype == "int8":
        low, high = (half - 16 * tf.floor((half + 8) / 16) for half in (low, high))
    else:
        high = high - 16 * tf.floor(high / 16)
    both = tf.stack([low, high], axis + 1)
    shape = [-1 if size is None else size for size in x.shape]
    if shape.count(-1) > 1:
        shape = list(tf.unstack(tf.shape(x), x.shape.rank))
    shape[axis] = 2 * x.shape[axis]
    both = tf.reshape(both, shape)
    return both[tuple(slice(orig_len) if i == axis else slice(None) for i in range(x.shape.rank))]


_UNPACK = function_of(quantizers, "unpack_int4")


def _dequantized(weights_matrix: Any, scale: Any, zero: Any, g_idx: Any, group_axis: int = -1) -> Any:
    """With scales and zeros spread over the groups in the graph: a table of groups would be folded to a matrix."""
    x, scale, zero = (tf.convert_to_tensor(each) for each in (weights_matrix, scale, zero))
    size, groups = x.shape[group_axis], scale.shape[group_axis]
    known = None if tf.executing_eagerly() else _values(g_idx)
    block = 0 if known is None else int(np.sum(known == 0))
    if known is None or not block or not np.array_equal(known, np.arange(size) // block):
        return _DEQUANTIZE(weights_matrix, scale, zero, g_idx, group_axis)
    axis = group_axis % x.shape.rank
    scale, zero = (tf.cast(each, "float32") for each in (scale, zero))
    rest = groups * block - size
    if rest:
        x = tf.pad(x, [[0, rest if i == axis else 0] for i in range(x.shape.rank)])
    shape = list(tf.unstack(tf.shape(x), x.shape.rank)) if None in x.shape else list(x.shape)
    x = tf.reshape(tf.cast(x, "float32"), [*shape[:axis], groups, block, *shape[axis + 1 :]])
    x = (x - tf.expand_dims(zero, axis + 1)) * tf.expand_dims(scale, axis + 1)
    x = tf.reshape(x, shape)
    return x[tuple(slice(size) if i == axis else slice(None) for i in range(x.shape.rank))] if rest else x


def _values(tensor: Any) -> np.ndarray | None:
    """Of a variable that is read, or of a variable."""
    if isinstance(tensor, keras.Variable):
        tensor = tensor.value
    if isinstance(tensor, tf.Variable):
        with tf.init_scope():
            return np.asarray(tensor) if tf.executing_eagerly() else None
    operation = getattr(tensor, "op", None)
    while operation is not None and operation.type in ("Identity", "Cast"):
        operation = operation.inputs[0].op
    if operation is None or operation.type != "ReadVariableOp":
        return None
    graph, handle = operation.graph, operation.inputs[0]
    while hasattr(graph, "captures"):
        outer = next((captured for captured, inner in graph.captures if inner is handle), None)
        if outer is None:
            return None
        if hasattr(outer, "numpy"):
            with tf.init_scope():
                kind = operation.get_attr("dtype")
                return np.asarray(tf.raw_ops.ReadVariableOp(resource=outer, dtype=kind))
        graph, handle = graph.outer_graph, outer
    return None


_DEQUANTIZE = function_of(quantizers, "dequantize_with_sz_map")


def _embedding_of_4_bits(self: Any, inputs: Any, training: Any = None) -> Any:
    """With the rows taken before they are taken apart, so that this is done for these alone."""
    if keras.backend.standardize_dtype(inputs.dtype) not in ("int32", "int64"):
        inputs = ops.cast(inputs, "int32")
    rows = _unpacked(ops.take(self._embeddings, inputs, axis=0), self._orig_output_dim, axis=-1)
    scale = ops.take(self.embeddings_scale, inputs, axis=0)
    if getattr(self, "_int4_block_size", None) in (None, -1):
        outputs = ops.divide(rows, ops.expand_dims(scale, axis=-1))
    else:
        zero = ops.take(self.embeddings_zero, inputs, axis=0)
        outputs = _dequantized(rows, scale, zero, self.g_idx)
    if self.lora_enabled:
        update = ops.matmul(ops.take(self.lora_embeddings_a, inputs, axis=0), self.lora_embeddings_b)
        outputs = ops.add(outputs, (self.lora_alpha / self.lora_rank) * update)
    return ops.cast(outputs, self.compute_dtype)


def _einsum(subscripts: str, *operands: Any, **options: Any) -> Any:
    """Of two int8 tensors as a product of matrices, which ONNX has for them, where Keras computes in float32."""
    x, y = operands if len(operands) == 2 else (None, None)
    ours, _, out = subscripts.replace(" ", "").partition("->")
    if x is None or options or any(keras.backend.standardize_dtype(each.dtype) != "int8" for each in operands):
        return _EINSUM(subscripts, *operands, **options)
    left, right = ours.split(",")
    summed = [letter for letter in left if letter in right]
    kept, new = ([a for a in own if a not in summed] for own in (left, right))
    y = tf.convert_to_tensor(y)
    fits = len(set(left)) == len(left) and len(set(right)) == len(right) and sorted(out) == sorted(kept + new)
    if not fits or not kept or not summed or "." in ours or None in y.shape:
        return _EINSUM(subscripts, *operands, **options)
    x = tf.transpose(x, [left.index(a) for a in kept + summed])
    y = tf.transpose(y, [right.index(a) for a in summed + new])
    sizes = list(tf.unstack(tf.shape(x), x.shape.rank))[: len(kept)]
    width = int(np.prod(y.shape[: len(summed)]))
    product = tf.matmul(tf.reshape(x, [-1, width]), tf.reshape(y, [width, -1]), output_type="int32")
    product = tf.reshape(product, [*sizes, *y.shape[len(summed) :]])
    return tf.transpose(product, [(kept + new).index(a) for a in out])


_EINSUM = keras_numpy.einsum

PATCHES = (
    (layers.Dense, "kernel", _merged(layers.Dense.kernel)),
    (layers.EinsumDense, "kernel", _merged(layers.EinsumDense.kernel)),
    (layers.Embedding, "embeddings", _merged(layers.Embedding.embeddings)),
    (layers.Embedding, "_int4_call", _embedding_of_4_bits),
    (quantizers, "unpack_int4", _unpacked),
    *(
        (sys.modules[layer.__module__], "dequantize_with_sz_map", _dequantized)
        for layer in (layers.Dense, layers.EinsumDense, layers.Embedding, ReversibleEmbedding)
    ),
    (keras_numpy, "einsum", _einsum),
)
