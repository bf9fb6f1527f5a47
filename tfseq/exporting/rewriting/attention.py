"""Fusing Attention (opset 23) from its formula: softmax(scale Q K' + mask) V (Vaswani et al., 2017, eq. 1)."""

from dataclasses import dataclass, replace

import numpy as np
import onnx
from onnx import NodeProto

from tfseq.exporting.rewriting.graph import all_graphs, uses
from tfseq.exporting.rewriting.pattern_matching import Values, attribute, both_ways, insert_before, put

_HEADS_FIRST = [0, 2, 1, 3]  # (batch, time, heads, width) to (batch, heads, time, width)


@dataclass(frozen=True)
class _Scores:
    query: str
    transposed_key: str
    scale: float
    mask: str
    names: tuple[str, ...]  # of the values from the product to the softmax


def fuse_attention(model: onnx.ModelProto) -> None:
    """One operator for each softmax between two products; heads split by a reshape become part of it."""
    values = Values(model)
    counts = uses(model.graph)
    for graph in all_graphs(model.graph):
        for node in list(graph.node):
            softmax = values.node(node.input[0], "Softmax") if node.op_type == "MatMul" else None
            if softmax is None or not _over_last_axis(values, softmax):
                continue
            scores = _scores(values, softmax.input[0])
            if scores is not None and counts[softmax.output[0]] == 1 and _fuse(values, node, scores):
                _take_shapes_from_factors(values, scores)


def mask_by_adding(model: onnx.ModelProto) -> None:
    """Where(m, s, -huge) -> s + Where(m, 0, -huge), and Where(m, s - huge, s) -> s + Where(m, -huge, 0), before a
    softmax: -huge is so low that what is added to it is lost, so both give the same."""
    values = Values(model)
    for graph in all_graphs(model.graph):
        for softmax in list(graph.node):
            node = values.node(softmax.input[0], "Where") if softmax.op_type == "Softmax" else None
            if node is None:
                continue
            condition, yes, no = node.input
            for scores, other, order in ((yes, no, 1), (no, yes, -1)):
                huge = values.scalar(other)
                less = values.node(other, "Sub")
                if less is not None and less.input[0] == scores:
                    huge = -(values.scalar(less.input[1]) or 0.0)
                if huge is None or huge > -1e9 or values.scalar(scores) is not None:
                    continue
                constants = [values.constant(np.float32(x), node.output[0]) for x in (0.0, huge)[::order]]
                added = insert_before(values, node, "Where", [condition, *constants])
                values.shapes[added] = values.shapes.get(condition, ())
                if condition not in values.shapes:
                    del values.shapes[added]
                put(values, node, "Add", [scores, added])
                break


def _over_last_axis(values: Values, softmax: NodeProto) -> bool:
    axis, rank = attribute(softmax, "axis", -1), values.rank(softmax.input[0])
    return axis == -1 or (rank is not None and axis == rank - 1)


def _scores(values: Values, name: str) -> _Scores | None:
    scores = _scaled_product(values, name)
    if scores is not None:
        return scores
    total = values.node(name, "Add")
    for a, mask in both_ways(total) if total is not None else ():
        scores = _scaled_product(values, a)
        if scores is not None:
            return replace(scores, mask=mask, names=(*scores.names, name))
    return None


def _scaled_product(values: Values, name: str) -> _Scores | None:
    """A product that is scaled by a number, before or after."""
    inner, scale = _scaled(values, name)
    product = values.node(inner, "MatMul")
    if product is None:
        return None
    query, by_query = _scaled(values, product.input[0])
    key, by_key = _scaled(values, product.input[1])
    return _Scores(query, key, scale * by_query * by_key, "", (inner, name))


def _take_shapes_from_factors(values: Values, scores: _Scores) -> None:
    """Lets those who want to know the size of the scores, to mask them, read it off the query and the key."""
    keys = scores.transposed_key, -1, 2**31 - 1
    transposed = values.node(scores.transposed_key, "Transpose")
    if transposed is not None and list(attribute(transposed, "perm", []))[-2:] in ([2, 1], [3, 2]):
        keys = transposed.input[0], -2, -1
    for graph in all_graphs(values.graph):
        for node in list(graph.node):
            if node.op_type != "Shape" or node.input[0] not in scores.names or node.attribute:
                continue
            sizes = []
            for name, first, last in ((scores.query, 0, -1), keys):
                shape = insert_before(values, node, "Shape", [name])
                bounds = [values.constant(np.array([x]), node.output[0]) for x in (first, last)]
                sizes.append(insert_before(values, node, "Slice", [shape, *bounds]))
            put(values, node, "Concat", sizes, axis=0)


def _scaled(values: Values, name: str) -> tuple[str, float]:
    node = values.node(name, "Mul", "Div")
    if node is not None and node.op_type == "Mul":
        for a, b in both_ways(node):
            number = values.scalar(b)
            if number is not None:
                return a, number
    number = values.scalar(node.input[1]) if node is not None else None
    if node is not None and number:
        return node.input[0], 1 / number
    return name, 1.0


def _fuse(values: Values, node: NodeProto, scores: _Scores) -> bool:
    query, value = scores.query, node.input[1]
    ranks = {values.rank(name) for name in (query, scores.transposed_key, value)}
    if ranks not in ({3}, {4}) or (scores.mask and values.rank(scores.mask) is None):
        return False
    batches = {values.shapes[name][0] for name in (query, scores.transposed_key, value)}
    if 1 in batches and len(batches) > 1:  # products spread one query, such as a learned one, over a batch of keys
        return False
    heads = 1 if ranks == {3} else None
    mask = scores.mask
    if mask and not _mask_fits(values, mask, 3 if heads else 4):
        return False
    if mask and heads and values.rank(mask) == 3:  # (batch, query, key), of one head
        unsqueezed = insert_before(values, node, "Unsqueeze", [mask, values.constant(np.array([1]), node.output[0])])
        values.shapes[unsqueezed] = (values.shapes[mask][0], 1, *values.shapes[mask][1:])
        mask = unsqueezed
    if (
        mask and values.shapes[mask][-2] == 1 != values.shapes[query][-2]
    ):  # the operator does not spread it over queries
        mask = _spread_over_queries(values, node, mask, query)
    last_two = [0, 2, 1] if heads else [0, 1, 3, 2]
    transposed = values.node(scores.transposed_key, "Transpose")
    permutation = None if transposed is None else list(attribute(transposed, "perm", []))
    options = {"scale": scores.scale}
    if heads:
        options |= {"q_num_heads": 1, "kv_num_heads": 1}
    elif permutation == [0, 2, 3, 1] and transposed is not None:
        split = [
            _heads_split(values, query),
            _heads_split(values, transposed.input[0], moved=True),
            _heads_split(values, value),
        ]
        if all(split) and _merged(values, node, mask, split, scores.scale):
            return True
    if transposed is not None and permutation == last_two:
        key = transposed.input[0]
    elif transposed is not None and permutation == [0, 2, 3, 1]:
        key = insert_before(values, node, "Transpose", [transposed.input[0]], perm=_HEADS_FIRST)
    else:
        key = insert_before(values, node, "Transpose", [scores.transposed_key], perm=last_two)
    put(values, node, "Attention", [query, key, value, *([mask] if mask else [])], **options)
    return True


def _mask_fits(values: Values, mask: str, rank: int) -> bool:
    """Whether it can be read as (.., queries, keys) of a tensor of rank 4."""
    shape = values.shapes[mask]
    return 2 <= len(shape) <= rank and (len(shape) != 3 or rank == 3) and shape[-1] != 1


def _spread_over_queries(values: Values, node: NodeProto, mask: str, query: str) -> str:
    queries = values.shapes[query][-2]
    if isinstance(queries, int):
        return insert_before(values, node, "Expand", [mask, values.constant(np.array([1, 1, queries, 1]), mask)])
    bounds = [np.array([(values.rank(query) or 0) - 2 + i]) for i in (0, 1)]
    sizes = insert_before(values, node, "Shape", [query])
    size = insert_before(values, node, "Slice", [sizes, *(values.constant(x, node.output[0]) for x in bounds)])
    one = values.constant(np.array([1]), node.output[0])
    shape = insert_before(values, node, "Concat", [one, one, size, one], axis=0)
    return insert_before(values, node, "Expand", [mask, shape])


def _heads_split(values: Values, name: str, moved: bool = False) -> tuple[str, int] | None:
    """(x, heads) of x (batch, time, heads * width), reshaped and, unless `moved` says that it was seen, transposed."""
    if not moved:
        transposed = values.node(name, "Transpose")
        if transposed is None or list(attribute(transposed, "perm", [])) != _HEADS_FIRST:
            return None
        name = transposed.input[0]
    reshaped = values.node(name, "Reshape")
    shape = values.integers(reshaped.input[1]) if reshaped is not None else None
    if reshaped is None or shape is None or len(shape) != 4 or values.rank(reshaped.input[0]) != 3:
        return None
    flat = values.shapes[reshaped.input[0]]
    keeps = shape[0] in (0, flat[0]) and shape[1] in (0, -1, flat[1]) and min(shape[2:]) > 0
    return (reshaped.input[0], shape[2]) if keeps and flat[2] == shape[2] * shape[3] else None


def _merged(values: Values, node: NodeProto, mask: str, split: list, scale: float) -> bool:
    """With heads side by side in the last axis, where the result's are put there too."""
    readers = [n for g in all_graphs(values.graph) for n in g.node if node.output[0] in n.input]
    if len(readers) != 1 or readers[0].op_type != "Transpose":
        return False
    (transpose,) = readers
    if list(attribute(transpose, "perm", [])) != _HEADS_FIRST:
        return False
    (query, heads), (key, key_heads), (value, value_heads) = split
    if key_heads != value_heads or heads % key_heads:
        return False
    width = values.shapes[value][2]
    if not isinstance(width, int):
        return False
    attention = insert_before(
        values,
        transpose,
        "Attention",
        [query, key, value, *([mask] if mask else [])],
        scale=scale,
        q_num_heads=heads,
        kv_num_heads=key_heads,
    )
    shape = values.constant(np.array([0, -1, heads, width // value_heads]), node.output[0])
    values.shapes[attention] = (None, None, heads * (width // value_heads))
    put(values, transpose, "Reshape", [attention, shape])
    return True
