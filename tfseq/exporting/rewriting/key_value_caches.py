"""KV caches appended by `Attention` itself (past_key, present_key), and masks computed once for all layers."""

import math
from collections.abc import Iterator

import onnx
from onnx import GraphProto, NodeProto, helper, numpy_helper

from tfseq.exporting.rewriting.cleanup import remove_unused
from tfseq.exporting.rewriting.graph import all_graphs, initializers, rename_uses
from tfseq.exporting.rewriting.pattern_matching import Values, attribute

_ENTRIES = 2  # axis of (batch, heads, entries, head_dim)
_CHEAP = {"Where", "Expand", "Unsqueeze", "Shape", "Slice", "Concat", "Cast"}  # what masks are made of
_FEW = 16  # elements of a constant that is compared by its content


def append_in_attention(model: onnx.ModelProto) -> None:
    """Attention(q, Concat(past, k), Concat(past', v)) lets the operator do the appending (`past_key`, `present_key`),
    where the past is an input of a decode step: the body of a loop, or a graph of its own."""
    remove_unused(model.graph)  # transposes that `Attention` made superfluous also read the keys
    values = Values(model)
    of_model = {value.name for value in model.graph.input}
    for graph in all_graphs(model.graph):
        given = {value.name for value in graph.input} | of_model  # which branches read from outside
        removed = []
        for index, node in enumerate(graph.node):
            if node.op_type != "Attention" or len(node.input) > 4 or len(node.output) > 1:
                continue
            appended = [_appended(values, name, given) for name in node.input[1:3]]
            names = list(node.input[1:3])
            if None in appended or names[0] == names[1] or _read_before(graph, index, names):
                continue
            (past_key, key), (past_value, value) = appended  # type: ignore[misc]
            mask = node.input[3] if len(node.input) > 3 else ""
            inputs = [node.input[0], key, value, mask, past_key, past_value]
            options = {a.name: helper.get_attribute_value(a) for a in node.attribute}
            outputs = [node.output[0], *names]
            node.CopyFrom(helper.make_node("Attention", inputs, outputs, name=node.name, **options))
            removed += names
        for node in [n for n in graph.node if n.op_type == "Concat" and n.output[0] in removed]:
            graph.node.remove(node)


def _appended(values: Values, name: str, given: set[str]) -> tuple[str, str] | None:
    """(past, new) of what an entry is appended to."""
    node = values.node(name, "Concat")
    if node is None or len(node.input) != 2 or values.rank(name) != 4 or node.input[0] not in given:
        return None
    return (node.input[0], node.input[1]) if attribute(node, "axis") in (_ENTRIES, _ENTRIES - 4) else None


def _read_before(graph: GraphProto, index: int, names: list[str]) -> bool:
    """Whether anything reads the values before the node of that index, which is to make them, does."""
    nodes = [n for i, n in enumerate(graph.node) if i < index]
    nodes += [n for node in nodes for g in _graphs_of(node) for n in g.node]
    return any(name in node.input for node in nodes for name in names)


def _graphs_of(node: NodeProto) -> Iterator[GraphProto]:
    for a in node.attribute:
        if a.type == onnx.AttributeProto.GRAPH:
            yield from all_graphs(a.g)


def share_masks(graph: GraphProto) -> None:
    """Of equal nodes within a graph, keeps the first: each layer's mask is the same."""
    numbers = {name: _content(tensor) for name, tensor in initializers(graph).items() if math.prod(tensor.dims) <= _FEW}
    for g in all_graphs(graph):
        first: dict[tuple, str] = {}
        names: dict[str, str] = {}
        outputs = {output.name for output in g.output}
        for node in g.node:
            for i, name in enumerate(node.input):
                node.input[i] = names.get(name, name)
            if node.op_type not in _CHEAP or node.output[0] in outputs:
                continue
            read = (numbers.get(name, name) for name in node.input)
            key = (node.op_type, *read, *sorted(a.SerializeToString() for a in node.attribute))
            if key in first:
                names[node.output[0]] = first[key]
            else:
                first[key] = node.output[0]
        rename_uses(g, names)


def _content(tensor: onnx.TensorProto) -> tuple:
    return tensor.data_type, tuple(tensor.dims), numpy_helper.to_array(tensor).tobytes()
