"""Vocabulary sizes of integer inputs, found by following them in the traced graph to the tables they index.

A `Signature` carries them, so that `random_inputs` draws token ids that the model has rows for.
"""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from tfseq.exporting.signatures.traced import Traced
from tfseq.runtime.manifest import TensorSpec

# Operations that pass token ids on as they are, move them (and how many of their first inputs), or ask about them.
_COPIES = ("Identity", "Cast", "SelectV2", "AddV2")  # the last two where Keras wraps negative indices
_MOVES = {
    **dict.fromkeys(("Reshape", "ExpandDims", "Squeeze", "Transpose", "StridedSlice", "Slice", "Pad", "Tile"), 1),
    **dict.fromkeys(("ConcatV2", "Pack"), 99),
}
_QUESTIONS = ("Shape", "Equal", "NotEqual", "Less")


def vocabulary_sizes(traced: Traced, inputs: Sequence[TensorSpec]) -> tuple[dict[str, int], set[str]]:
    """The vocabulary size of each input of a function that holds token ids or other indices.

    Args:
        traced: the function.
        inputs: of it, in order.

    Returns:
        vocabulary sizes by input name, of the inputs that index a table or become one-hot vectors (of several tables
        the smallest); and the names of the inputs that are used for nothing else, whatever their dtype.
    """
    graph = traced.concrete.graph
    rows = _rows_of_tables(graph)
    sizes, only = {}, set()
    for spec, placeholder in zip(inputs, graph.inputs):
        found = _tables_after(placeholder, rows, (*_COPIES, *_MOVES))
        if found:
            sizes[spec.name] = min(found)
            if _tables_after(placeholder, rows, _COPIES, _QUESTIONS):
                only.add(spec.name)
    return sizes, only


def _tables_after(
    tensor: Any, rows: dict[str, int], through: Sequence[str], beside: Sequence[str] | None = None
) -> list:
    """Sizes of the tables that a tensor is looked up in; none if `beside` is given and something else reads it."""
    sizes, pending, seen = [], [tensor], set()
    while pending:
        tensor = pending.pop()
        for operation in tensor.consumers():
            size = _size(operation, tensor, rows)
            if size is not None:
                sizes.append(size)
            elif operation.type in through and _hands_on(operation, tensor):
                if operation.name not in seen:
                    seen.add(operation.name)
                    pending += operation.outputs
            elif beside is not None and operation.type not in beside:
                return []
    return sizes


def _hands_on(operation: Any, tensor: Any) -> bool:
    if operation.type == "AddV2":
        return [reader.type for reader in operation.outputs[0].consumers()] == ["SelectV2"]
    places = slice(1, 3) if operation.type == "SelectV2" else slice(_MOVES.get(operation.type, 1))
    return any(tensor is x for x in operation.inputs[places])


def _size(operation: Any, tensor: Any, rows: dict[str, int]) -> int | None:
    """The size of the table or one-hot vector that an operation looks `tensor` up in; None if it does not."""
    inputs = [x.name for x in operation.inputs]
    if operation.type == "ResourceGather" and inputs[1] == tensor.name:
        return rows.get(inputs[0])
    if operation.type == "GatherV2" and inputs[1] == tensor.name:
        axis = tf.get_static_value(operation.inputs[2])
        shape = operation.inputs[0].shape
        return None if axis is None or shape.rank is None else shape[int(axis)]
    if operation.type == "OneHot" and inputs[0] == tensor.name:
        depth = tf.get_static_value(operation.inputs[1])
        return None if depth is None else int(depth)
    return None


def _rows_of_tables(graph: Any) -> dict[str, int]:
    """First sizes of the variables that a graph reads, by the name of their handle."""
    variables = {id(variable.handle): variable for variable in graph.variables}
    rows = {}
    for captured, inner in graph.captures:
        variable = variables.get(id(captured))
        if variable is not None and variable.shape.rank:
            rows[inner.name] = int(variable.shape[0])
    return rows
