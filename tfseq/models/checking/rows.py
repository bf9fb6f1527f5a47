"""Random rows that a generator is checked on, of ragged lengths, and the ways in which models take them in `call`."""

import keras
import numpy as np
from keras import ops

ROWS, TIME = 3, 5
SOURCE_LENGTHS = (3, 5, 2)  # of the rows, in tokens
TARGET_LENGTHS = (5, 3, 4)


def by_name(sources, tokens):
    """The arguments of `call` as the protocol says; then two other ways that models have."""
    tensors = as_tensors(sources)
    return ({**tensors, "target": ops.convert_to_tensor(tokens)} if tensors else ops.convert_to_tensor(tokens),)


def in_a_tuple(sources, tokens):
    return ((*as_tensors(sources).values(), ops.convert_to_tensor(tokens)),)


def one_by_one(sources, tokens):
    return (*as_tensors(sources).values(), ops.convert_to_tensor(tokens))


def as_tensors(sources):
    return {name: ops.convert_to_tensor(value) for name, value in sources.items()}


def source_rows(spec, size, length, random):
    """Random rows of a source: token ids padded with 0, pixels or normal numbers."""
    shape = (ROWS, *(length if n is None else n for n in spec.shape[1:]))
    dtype = keras.backend.standardize_dtype(spec.dtype)
    if "int" not in dtype and dtype != "bool":
        return random.normal(size=shape).astype(dtype)
    most = 256 if dtype == "uint8" and len(shape) > 2 else 2 if dtype == "bool" else size
    values = random.integers(1 if len(shape) == 2 else 0, most, shape)
    if is_padded(spec):
        values = values * within([min(n, length) for n in SOURCE_LENGTHS], shape[1])
    return values.astype(dtype)


def within(lengths, time):
    """True where a row is not padded, (rows, time)."""
    return np.arange(time) < np.array(lengths)[:, None]


def is_padded(spec):
    """Whether a source is of token ids, of any number."""
    return len(spec.shape) == 2 and spec.shape[1] is None and "int" in keras.backend.standardize_dtype(spec.dtype)
