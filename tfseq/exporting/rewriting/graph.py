"""Walking a graph and its subgraphs: operators, initializers, producers and uses of values, renaming."""

from collections import Counter
from collections.abc import Iterator

import numpy as np
import onnx
from onnx import AttributeProto, GraphProto, NodeProto, TensorProto, numpy_helper


def count_operators(graph: GraphProto) -> dict[str, int]:
    """How often each operator occurs, subgraphs included, by name."""
    return dict(sorted(Counter(node.op_type for g in all_graphs(graph) for node in g.node).items()))


def subgraphs(node: NodeProto) -> list[GraphProto]:
    return [a.g for a in node.attribute if a.type == AttributeProto.GRAPH]


def all_graphs(graph: GraphProto) -> Iterator[GraphProto]:
    """The graph and all its subgraphs, outer ones first."""
    yield graph
    for node in graph.node:
        for sub in subgraphs(node):
            yield from all_graphs(sub)


def initializers(graph: GraphProto) -> dict[str, onnx.TensorProto]:
    """Of all levels: names are unique across a graph and its subgraphs."""
    return {t.name: t for g in all_graphs(graph) for t in g.initializer}


def producers(graph: GraphProto) -> dict[str, NodeProto]:
    return {name: node for g in all_graphs(graph) for node in g.node for name in node.output if name}


def uses(graph: GraphProto) -> Counter[str]:
    counts: Counter[str] = Counter()
    for g in all_graphs(graph):
        counts.update(name for node in g.node for name in node.input)
        counts.update(output.name for output in g.output)
    return counts


def rename_uses(graph: GraphProto, names: dict[str, str]) -> None:
    """Lets every node of the graph and its subgraphs read `names[x]` for x; outputs of graphs keep their names."""
    for g in all_graphs(graph):
        for node in g.node:
            for i, name in enumerate(node.input):
                if name in names:
                    node.input[i] = names[name]


def made_names(graph: GraphProto) -> Iterator[str]:
    """Of values that the graph itself, without its subgraphs, brings forth."""
    yield from (value.name for value in graph.input)
    yield from (tensor.name for tensor in graph.initializer)
    yield from (name for node in graph.node for name in node.output if name)


def resolved(names: dict[str, str]) -> dict[str, str]:
    """Follows chains: a -> b -> c becomes a -> c."""

    def last(name: str) -> str:
        while name in names:
            name = names[name]
        return name

    return {name: last(target) for name, target in names.items()}


def is_all(tensor: onnx.TensorProto | None, value: float) -> bool:
    known = tensor is not None and tensor.data_location != TensorProto.EXTERNAL
    return known and bool(np.all(numpy_helper.to_array(tensor) == value))
