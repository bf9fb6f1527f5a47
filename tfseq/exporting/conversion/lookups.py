"""Lookups of Keras' preprocessing layers, traced: of integers in standard operators, of strings by LabelEncoder."""

import contextlib
from collections.abc import Iterator
from typing import Any
from unittest import mock

import numpy as np
import tensorflow as tf
from keras.layers import CategoryEncoding, TextVectorization
from keras.src.layers.preprocessing.index_lookup import IndexLookup
from keras.src.utils import numerical_utils

from tfseq.exporting.conversion.hashing import farmhash
from tfseq.exporting.conversion.operators.builder import Builder
from tfseq.exporting.signatures.string_arrays import as_text
from tfseq.exporting.signatures.vocabularies import table_of

ML = "ai.onnx.ml"  # the domain of LabelEncoder
NOTE = (
    f"The graph looks strings up with LabelEncoder of the domain {ML}: part of the ONNX standard and of every ONNX "
    "Runtime, and beyond the operators that other files are made of."
)
_SPARSE = 4  # times as many numbers between the smallest key and the largest as there are keys; then keys are searched


class StringTables:
    """The tables of strings of one conversion: puts them into the trace, and converts them."""

    def __init__(self) -> None:
        self._tables: dict[str, tuple[list[str], list[int]]] = {}

    @contextlib.contextmanager
    def emitted(self) -> Iterator[None]:
        """Within, a lookup layer that is traced leaves what `handlers` converts, or operations that need no table."""
        with (
            mock.patch.object(IndexLookup, "_lookup_dense", lambda layer, inputs: self._looked_up(layer, inputs)),
            mock.patch.object(
                tf.lookup.StaticHashTable, "lookup", lambda table, keys, name=None: self._of(table, keys)
            ),
            mock.patch.object(TextVectorization, "call", _not_taken_apart),
            mock.patch.object(CategoryEncoding, "_encode", _categories_encoded),
            mock.patch.object(numerical_utils, "encode_categorical_inputs", _encoded),
        ):
            yield

    def handlers(self) -> dict[str, Any]:
        """For `custom_op_handlers` of tf2onnx."""
        return {"LookupTableFindV2": (self._label_encoder, [])}

    def _looked_up(self, layer: Any, inputs: Any) -> Any:
        keys, values = table_of(layer)
        of_strings = tf.as_dtype(layer._key_dtype) == tf.string
        several = layer.num_oov_indices > 1 and not layer.invert
        if several and (of_strings or layer.salt is not None):
            raise ValueError(
                f"it spreads what it does not know over {layer.num_oov_indices} indices by a hash, of text or with a "
                "salt, which has no translation to ONNX. Give it num_oov_indices=1."
            )
        default = layer._default_value
        looked_up = (
            self._strings(inputs, keys, values, default) if of_strings else integers(inputs, keys, values, default)
        )
        if not several:
            return looked_up
        if layer.oov_method == "farmhash":
            others = tf.math.floormod(farmhash(inputs), tf.constant(layer.num_oov_indices, tf.uint64))
        else:
            others = tf.math.floormod(inputs, layer.num_oov_indices)
        others = tf.cast(others, looked_up.dtype) + layer._oov_start_index()
        return tf.where(tf.equal(looked_up, default), others, looked_up)

    def _of(self, table: Any, x: Any) -> Any:
        """In a table that a layer of the user's own holds."""
        with tf.init_scope():
            keys, values = (array.numpy() for array in table.export())
            default = tf.reshape(table._default_value, (1,)).numpy()
        if table.key_dtype != tf.string:
            return integers(x, keys, values, default[0])
        place = self._strings(tf.convert_to_tensor(x), keys, np.arange(len(keys)), len(keys))
        return tf.gather(tf.constant(np.concatenate([values, default])), place)

    def _strings(self, inputs: Any, keys: np.ndarray, values: np.ndarray, default: int) -> Any:
        name = f"strings_{len(self._tables)}"
        self._tables[name] = as_text(keys).tolist(), values.tolist()
        table = tf.raw_ops.HashTableV2(key_dtype=tf.string, value_dtype=tf.int64, shared_name=name)
        other = tf.constant(default, tf.int64)
        found = tf.raw_ops.LookupTableFindV2(table_handle=table, keys=inputs, default_value=other)
        return tf.ensure_shape(found, inputs.shape)

    def _label_encoder(self, graph: Any, node: Any, name: str, args: Any) -> None:
        op, default = Builder(graph, node, ML), node.inputs[2].get_tensor_value()
        table = node.inputs[0]
        named = (table.get_attr_value("shared_name") or b"").decode() if table.type == "HashTableV2" else ""
        if named not in self._tables:
            raise ValueError("The table that is looked up is none of fixed content (tf.lookup.StaticHashTable).")
        keys, values = self._tables[named]
        op.finish(op("LabelEncoder", node.input[1], keys_strings=keys, values_int64s=values, default_int64=default))


def integers(x: Any, keys: np.ndarray, values: np.ndarray, default: Any) -> Any:
    """The values of keys, the default for other numbers.

    As one Gather where the keys are close together, else by a binary search.

    Args:
        keys: (keys,) integers, each once.
        values: (keys,) numbers or bytes.
    """
    x = tf.convert_to_tensor(x)
    order = np.argsort(keys)
    keys, values = keys[order].astype(x.dtype.as_numpy_dtype), values[order]
    default = np.asarray([tf.compat.as_bytes(default) if isinstance(default, str) else default], values.dtype)
    if not len(keys):
        return tf.fill(tf.shape(x), tf.constant(default[0]))
    low, high = int(keys[0]), int(keys[-1])
    if high - low < _SPARSE * len(keys):
        table = np.repeat(default, high - low + 2)
        table[keys.astype(np.int64) - low] = values
        inside = tf.logical_and(x >= low, x <= high)
        return tf.gather(tf.constant(table), tf.where(inside, x - low, high - low + 1))
    steps = int(len(keys) - 1).bit_length()
    padding = 2**steps - len(keys)
    keys = np.concatenate([keys, np.repeat(keys[-1:], padding)])
    values = np.concatenate([values, np.repeat(values[-1:], padding), default])
    sorted_keys, place = tf.constant(keys), tf.zeros_like(x, tf.int32)
    for step in (2**i for i in reversed(range(steps))):
        place = tf.where(tf.gather(sorted_keys, place + step) <= x, place + step, place)
    return tf.gather(tf.constant(values), tf.where(tf.equal(tf.gather(sorted_keys, place), x), place, 2**steps))


def _encoded(inputs: Any, output_mode: str, depth: int, dtype: Any, sparse: bool = False, **options: Any) -> Any:
    """Dense, whatever the layer gives out: ONNX has no sparse tensors."""
    inputs = tf.convert_to_tensor(inputs)
    if output_mode == "one_hot" and inputs.shape.rank > 1 and inputs.shape[-1] is None:
        raise ValueError(
            "its one-hot vectors have an axis less where an input has a single step, and the steps are free. Give the "
            "input a fixed length, or use keras.ops.one_hot."
        )
    return _ENCODE(inputs, output_mode, depth, dtype, sparse=False, **options)


_ENCODE = numerical_utils.encode_categorical_inputs


def _categories_encoded(self: Any, inputs: Any, count_weights: Any = None) -> Any:
    """Fractions cut off, as Keras does, and nothing for numbers below 0, which ONNX counts from the end."""
    inputs = tf.cast(inputs, tf.int64)
    return _ENCODE_CATEGORIES(self, tf.where(inputs < 0, tf.constant(self.num_tokens, tf.int64), inputs), count_weights)


_ENCODE_CATEGORIES = CategoryEncoding._encode


def _not_taken_apart(self: Any, inputs: Any) -> Any:
    outputs = _VECTORIZE(self, inputs)  # or Keras says what is missing
    if self._split is None and self._standardize is None and self._ngrams is None:
        return outputs
    raise ValueError(
        "ONNX has no operators that take text apart. Only texts that are inputs of a model of whole sequences become "
        "a tokenizer in the file, with a `split`. Export the model behind the layer, and call the layer before it."
    )


_VECTORIZE = TextVectorization.call
