"""Reshape passes: moved behind bias additions, which clears the way for fusion; in place of transposes; and merged."""

import numpy as np
import onnx
from onnx import NodeProto

from tfseq.exporting.rewriting.graph import all_graphs, rename_uses
from tfseq.exporting.rewriting.pattern_matching import Values, attribute, both_ways, insert_before, put


def add_before_reshaping(model: onnx.ModelProto) -> None:
    """Reshape(x, (.., a, b)) + c (a, b) -> Reshape(x + c (a * b), (.., a, b)), as of a bias of several heads."""
    values = Values(model)
    for graph in all_graphs(model.graph):
        for node in list(graph.node):
            for name, constant in both_ways(node) if node.op_type == "Add" else ():
                reshaped, bias = values.node(name, "Reshape"), values.array(constant)
                shape = values.integers(reshaped.input[1]) if reshaped is not None else None
                if reshaped is None or shape is None or bias is None or bias.ndim > len(shape):
                    continue
                while bias.ndim > 1 and bias.shape[0] == 1 and shape[-bias.ndim] != 1:
                    bias = bias[0]
                width = values.shapes.get(reshaped.input[0], (None,))[-1:]
                if bias.ndim < 2 or list(bias.shape) != shape[-bias.ndim :] or width != (bias.size,):
                    continue
                flat = values.constant(bias.reshape(-1), node.output[0])
                added = insert_before(values, node, "Add", [reshaped.input[0], flat])
                values.shapes[added] = values.shapes[reshaped.input[0]]
                put(values, node, "Reshape", [added, reshaped.input[1]])
                break


def reshape_where_only_ones_move(model: onnx.ModelProto) -> None:
    """A Transpose that leaves the order of the axes with more than one element is a Reshape, which copies nothing."""
    values = Values(model)
    for graph in all_graphs(model.graph):
        for node in graph.node:
            shape = _shape_of_moved_ones(values, node) if node.op_type == "Transpose" else None
            if shape is not None:
                put(values, node, "Reshape", [node.input[0], values.constant(np.array(shape), node.output[0])])


def _shape_of_moved_ones(values: Values, node: NodeProto) -> list[int] | None:
    """The result's, 0 for an unknown size at its old place and -1 for the one elsewhere; None where more axes move."""
    before = values.shapes.get(node.input[0])
    if not before or 0 in before:
        return None
    order = attribute(node, "perm", list(range(len(before)))[::-1])
    moved = [axis for axis in order if before[axis] != 1]
    if moved != sorted(moved):
        return None
    shape = [
        size if isinstance(size, int) else 0 if axis == i else -1
        for i, (axis, size) in enumerate((axis, before[axis]) for axis in order)
    ]
    return shape if shape.count(-1) <= 1 else None


def merge_reshapes(model: onnx.ModelProto) -> None:
    """Reshape(Reshape(x)) is one reshape, and none where x has that shape."""
    values = Values(model)
    outputs = {output.name for graph in all_graphs(model.graph) for output in graph.output}
    names = {}
    for graph in all_graphs(model.graph):
        for node in graph.node:
            shape = values.integers(node.input[1]) if node.op_type == "Reshape" else None
            first = values.node(node.input[0], "Reshape") if shape is not None else None
            inner = values.integers(first.input[1]) if first is not None else None
            if shape is None or first is None or inner is None or not _keeps(shape, inner):
                continue
            node.input[0] = first.input[0]
            known = values.shapes.get(first.input[0])
            same = known is not None and len(known) == len(shape) and 0 not in shape[1:]
            if same and known is not None and _same(shape, known) and node.output[0] not in outputs:
                names[node.output[0]] = first.input[0]
    rename_uses(model.graph, names)


def _keeps(shape: list[int], inner: list[int]) -> bool:
    """Whether the zeros of the outer shape, which copy sizes, copy sizes that the inner reshape copied."""
    return all(n != 0 or inner[i : i + 1] == [0] for i, n in enumerate(shape))


def _same(shape: list[int], known: tuple) -> bool:
    """(0, -1, n) over (?, ?, n): all but one axis are known to be equal, so all are."""
    return all(n in (0, -1) or n == m for n, m in zip(shape, known)) and bool(np.sum(np.equal(shape, -1)) <= 1)
