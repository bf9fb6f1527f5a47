"""Cleanup passes: unique names; no identities, equal initializers, unused outputs, unused nodes or stale types."""

from collections.abc import Collection
from itertools import count

from onnx import GraphProto

from tfseq.exporting.rewriting.graph import all_graphs, made_names, rename_uses, resolved, subgraphs, uses
from tfseq.exporting.rewriting.weights import content


def make_names_unique(graph: GraphProto) -> None:
    """Two loops may both have a "while/add:0"; a value that moves out must not meet another of its name."""
    taken: set[str] = set()
    for g in all_graphs(graph):
        own = dict.fromkeys(made_names(g))
        names = {}
        for name in own:
            if name in taken:
                i = next(i for i in count(1) if f"{name}/{i}" not in taken and f"{name}/{i}" not in own)
                names[name] = f"{name}/{i}"
        if names:
            rename_uses(g, names)
            for value in (*g.input, *g.initializer, *g.output):
                value.name = names.get(value.name, value.name)
            for node in g.node:
                node.output[:] = [names.get(name, name) for name in node.output]
        taken.update(names.get(name, name) for name in own)


def remove_identities(graph: GraphProto) -> None:
    for g in all_graphs(graph):
        outputs = {output.name for output in g.output}
        made_here = {name for node in g.node for name in node.output}
        names: dict[str, str] = {}
        kept = []
        for node in g.node:
            source = names.get(node.input[0], node.input[0]) if node.input else ""
            if node.op_type != "Identity":
                kept.append(node)
            elif node.output[0] not in outputs:
                names[node.output[0]] = source
            elif source in made_here and source not in outputs:
                _rename_made(g, source, node.output[0])  # the producer takes over the output's name
                names[source] = node.output[0]
                outputs.add(source)
            else:
                kept.append(node)
        del g.node[:]
        g.node.extend(kept)
        rename_uses(g, resolved(names))


def _rename_made(graph: GraphProto, old: str, new: str) -> None:
    for node in graph.node:
        for i, name in enumerate(node.output):
            if name == old:
                node.output[i] = new


def merge_equal_initializers(graph: GraphProto) -> None:
    """Of constants that are equal, keeps one: a weight that both the loop and its surroundings read is stored once."""
    first: dict[tuple, str] = {}
    names, kept = {}, []
    for tensor in graph.initializer:
        key = (tensor.data_type, tuple(tensor.dims), content(tensor))
        if key in first:
            names[tensor.name] = first[key]
        else:
            first[key] = tensor.name
            kept.append(tensor)
    del graph.initializer[:]
    graph.initializer.extend(kept)
    rename_uses(graph, names)


def remove_outputs(graph: GraphProto, names: Collection[str]) -> None:
    """Takes outputs away from a graph, and with them whatever only they needed, in loops, too."""
    kept = [output for output in graph.output if output.name not in names]
    del graph.output[:]
    graph.output.extend(kept)
    remove_unused(graph)
    while _without_unused_stacks(graph):
        remove_unused(graph)
    remove_identities(graph)  # of one value that was given out under two names


def _without_unused_stacks(graph: GraphProto) -> bool:
    """Has loops stack only those outputs of their steps that something reads; says whether there were others."""
    used, removed = set(uses(graph)), False
    for g in all_graphs(graph):
        for loop in g.node:
            if loop.op_type != "Loop":
                continue
            (body,) = subgraphs(loop)
            carried = len(loop.input) - 2
            for i in reversed(range(carried, len(loop.output))):
                if loop.output[i] not in used:
                    del loop.output[i], body.output[i + 1]  # a body's first output is its condition
                    removed = True
    return removed


def remove_unused(graph: GraphProto) -> None:
    while True:
        used = set(uses(graph))
        removed = False
        for g in all_graphs(graph):
            kept = [node for node in g.node if used.intersection(node.output)]
            removed |= len(kept) < len(g.node)
            del g.node[:]
            g.node.extend(kept)
            for i in reversed(range(len(g.initializer))):  # in place: weights are big
                if g.initializer[i].name not in used:
                    del g.initializer[i]
        if not removed:
            return


def forget_types(graph: GraphProto) -> None:
    """Drops what is noted about values that have moved to another graph."""
    for g in all_graphs(graph):
        made = set(made_names(g))
        kept = [value for value in g.value_info if value.name in made]
        del g.value_info[:]
        g.value_info.extend(kept)
