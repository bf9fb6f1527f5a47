"""Vocabularies of inputs: what a lookup layer knows, found by following inputs in the traced graph to its table.

A `Signature` carries them, so that `random_inputs` draws numbers and strings that the model knows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from tfseq.exporting.signatures.string_arrays import as_text
from tfseq.exporting.signatures.traced import Traced
from tfseq.runtime.manifest import TensorSpec

# Operations that hand values on as they are, move them or write strings otherwise; that hash numbers; that split texts.
_THROUGH = (
    *("Identity", "Cast", "Reshape", "ExpandDims", "Squeeze", "Transpose", "StridedSlice", "Pack", "ConcatV2"),
    *("StringLower", "StringUpper", "StringStrip", "StaticRegexReplace", "RegexReplace"),
)
_HASHES = ("AsString", "SparseCross", "SparseCrossHashed")
_SPLITS = ("StringSplitV2", "UnicodeDecode", "UnicodeEncode", "StringNGrams")


@dataclass(frozen=True)
class Vocabulary:
    """What an input is looked up in.

    Attributes:
        keys: (keys,) integers or text.
        closed: whether the model refuses everything else.
        of_texts: whether what is looked up are the words of texts, which the model splits.
    """

    keys: np.ndarray
    closed: bool = False
    of_texts: bool = False


def table_of(layer: Any) -> tuple[np.ndarray, np.ndarray]:
    """The keys and values of a lookup layer, its mask among them; strings are bytes."""
    with tf.init_scope():
        keys, values = (x.numpy() for x in layer.lookup_table.export())
        if layer.mask_token is None:
            return keys, values
        mask, value = (np.reshape(x.numpy(), 1) for x in (layer._mask_key, layer._mask_value))
    others = keys != mask
    return np.concatenate([keys[others], mask]), np.concatenate([values[others], value])


def vocabularies(traced: Traced, inputs: Sequence[TensorSpec], layers: Sequence[Any]) -> dict[str, Vocabulary]:
    """Of each input of a function that is looked up, by name; of one that is hashed numbers of every length.

    Args:
        traced: the function.
        inputs: of it, in order.
        layers: that hold the tables.
    """
    graph = traced.concrete.graph
    tables = {id(layer.lookup_table.resource_handle): layer for layer in layers}
    handles = {inner.name: tables[id(captured)] for captured, inner in graph.captures if id(captured) in tables}
    found = {}
    for spec, placeholder in zip(inputs, graph.inputs):
        looking_up, on_the_way = _looking_up(placeholder, handles)
        if looking_up:
            keys = np.unique(np.concatenate([table_of(layer)[0] for layer in looking_up]))
            closed = any(layer.num_oov_indices == 0 and not layer.invert for layer in looking_up)
            found[spec.name] = Vocabulary(as_text(keys), closed, of_texts=not on_the_way.isdisjoint(_SPLITS))
        elif placeholder.dtype.is_integer and not on_the_way.isdisjoint(_HASHES):
            found[spec.name] = Vocabulary(_of_every_length(placeholder.dtype.as_numpy_dtype))
    return found


def _of_every_length(dtype: Any) -> np.ndarray:
    """Numbers of one digit up to as many as the type holds."""
    powers = np.array([10**i for i in range(19)])
    numbers, limits = np.concatenate([powers, powers - 1, -powers, powers // 7, powers // -3]), np.iinfo(dtype)
    return numbers[(numbers >= limits.min) & (numbers <= min(limits.max, 2**63 - 1))].astype(dtype)


def _looking_up(tensor: Any, handles: Mapping[str, Any]) -> tuple[list[Any], set[str]]:
    """The layers that a tensor is looked up in, and the types of what is computed of it on the way."""
    layers, pending, seen, types = [], [tensor], set(), set()
    while pending:
        for operation in pending.pop().consumers():
            types.add(operation.type)
            if operation.type == "LookupTableFindV2":
                layers += [handles[name] for name in (operation.inputs[0].name,) if name in handles]
            elif operation.type in (*_THROUGH, *_SPLITS) and operation.name not in seen:
                seen.add(operation.name)
                pending += operation.outputs
    return layers, types
