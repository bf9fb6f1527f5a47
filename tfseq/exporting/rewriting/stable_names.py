"""An order and names that follow from a graph alone, so that the same weights make the same file, byte for byte."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from onnx import GraphProto, NodeProto

from tfseq.exporting.rewriting.graph import all_graphs, made_names, rename_uses, subgraphs

_COUNTED = re.compile(r":\d+$|_*\d+")  # by what a process has made before
_ENDS = re.compile(r"_+(?=[/.]|$)")


def put_in_order(graph: GraphProto) -> None:
    """Puts nodes and initializers in the order in which the outputs need them, in subgraphs too.

    Converters sort by names, which count what was traced before in the process.
    """
    for node in graph.node:
        for inner in subgraphs(node):
            put_in_order(inner)
    nodes = list(_in_order(graph))
    first_uses = {name: None for node in nodes for name in _uses(node)} | {x.name: None for x in graph.output}
    places = {name: place for place, name in enumerate(first_uses)}
    made = {name: place for place, name in enumerate(name for node in nodes for name in node.output)}
    _reorder(graph.node, nodes)
    _reorder(graph.initializer, sorted(graph.initializer, key=lambda x: places.get(x.name, len(places))))
    _reorder(graph.value_info, sorted(graph.value_info, key=lambda x: made.get(x.name, len(made))))


def _in_order(graph: GraphProto) -> Iterator[NodeProto]:
    """Each node behind those that make its inputs, from the first output on; at the end those that none needs."""
    makers = {name: i for i, node in enumerate(graph.node) for name in node.output if name}
    wanted = [makers[output.name] for output in graph.output if output.name in makers]
    seen: set[int] = set()
    for start in (*wanted, *range(len(graph.node))):
        pending = [(start, iter(_uses(graph.node[start])))] if start not in seen else []
        seen.add(start)
        while pending:
            index, rest = pending[-1]
            needed = next((i for name in rest if (i := makers.get(name)) is not None and i not in seen), None)
            if needed is None:
                pending.pop()
                yield graph.node[index]
            else:
                seen.add(needed)
                pending.append((needed, iter(_uses(graph.node[needed]))))


def _uses(node: NodeProto) -> Iterator[str]:
    """Names that a node and its subgraphs read, those that are made inside among them."""
    yield from filter(None, node.input)
    for inner in subgraphs(node):
        for each in inner.node:
            yield from _uses(each)
        yield from (output.name for output in inner.output)


def _reorder(values: Any, wanted: list[Any]) -> None:
    copies = [type(value).FromString(value.SerializeToString()) for value in wanted]
    del values[:]
    values.extend(copies)


def name_by_order(graph: GraphProto) -> None:
    """Names values, nodes and subgraphs by what made them, and numbers those of one name in the graph's order.

    The names that converters give count what was traced before in the process. Inputs and outputs of the graph keep
    theirs.
    """
    kept = {value.name for value in (*graph.input, *graph.output)}
    made = [name for g in all_graphs(graph) for name in made_names(g)]
    names = dict(zip(made, _numbered(made, kept))) | {name: name for name in kept}
    rename_uses(graph, names)
    for g in all_graphs(graph):
        for value in (*g.input, *g.output, *g.initializer, *g.value_info):
            value.name = names.get(value.name, value.name)
        for node in g.node:
            node.output[:] = [names.get(name, name) for name in node.output]
    nodes = [node for g in all_graphs(graph) for node in g.node]
    for node, name in zip(nodes, _numbered((node.name or node.op_type for node in nodes), ())):
        node.name = name
    inner = list(all_graphs(graph))[1:]
    for g, name in zip(inner, _numbered((g.name for g in inner), ())):
        g.name = name
    _name_axes(inner)


def _name_axes(graphs: list[GraphProto]) -> None:
    """The axes of any size in subgraphs: equal ones keep equal names."""
    values = (value for g in graphs for value in (*g.input, *g.output, *g.value_info))
    axes = [axis for value in values for axis in value.type.tensor_type.shape.dim if axis.dim_param]
    names = dict.fromkeys(axis.dim_param for axis in axes)
    names = dict(zip(names, _numbered(names, ())))
    for axis in axes:
        axis.dim_param = names[axis.dim_param]


def _numbered(names: Iterable[str], taken: Iterable[str]) -> list[str]:
    """Each without its counters; from the second of a name on, with its number."""
    seen, used, numbered = Counter[str](), set(taken), []
    for name in names:
        stem = _ENDS.sub("", _COUNTED.sub("", name)).strip("/") or "value"
        new = stem
        while new in used:
            seen[stem] += 1
            new = f"{stem}_{seen[stem]}"
        used.add(new)
        numbered.append(new)
    return numbered
