"""Rewrites over a converted graph that leave its results as they are and its loops lean.

ONNX Runtime optimizes what stands in one graph; what tf2onnx leaves inside a loop's body (weights handed from step to
step, constants computed anew) it runs at every step. These passes move it out.
"""

from collections import Counter
from collections.abc import Iterator
from itertools import count

import numpy as np
import onnx
from onnx import AttributeProto, GraphProto, NodeProto, helper, numpy_helper

_RANDOM = {"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial", "Bernoulli"}


def simplify(model: onnx.ModelProto) -> None:
    """Runs all passes, in place."""
    graph = model.graph
    _make_names_unique(graph)
    _remove_identities(graph)
    _leave_trip_counts_to_loops(graph)
    _hoist_loop_invariants(graph)
    _merge_equal_initializers(graph)
    _gather_without_index_repair(graph, _initializers(graph))
    _look_up_one_hot_products(graph, _initializers(graph))
    _remove_unused(graph)
    _forget_types(graph)


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


def _initializers(graph: GraphProto) -> dict[str, onnx.TensorProto]:
    """Of all levels: names are unique across a graph and its subgraphs."""
    return {t.name: t for g in all_graphs(graph) for t in g.initializer}


def _producers(graph: GraphProto) -> dict[str, NodeProto]:
    return {name: node for g in all_graphs(graph) for node in g.node for name in node.output if name}


def _uses(graph: GraphProto) -> Counter[str]:
    counts: Counter[str] = Counter()
    for g in all_graphs(graph):
        counts.update(name for node in g.node for name in node.input)
        counts.update(output.name for output in g.output)
    return counts


def _rename_uses(graph: GraphProto, names: dict[str, str]) -> None:
    """Lets every node of the graph and its subgraphs read `names[x]` for x; outputs of graphs keep their names."""
    for g in all_graphs(graph):
        for node in g.node:
            for i, name in enumerate(node.input):
                if name in names:
                    node.input[i] = names[name]


def _made_names(graph: GraphProto) -> Iterator[str]:
    """Of values that the graph itself, without its subgraphs, brings forth."""
    yield from (value.name for value in graph.input)
    yield from (tensor.name for tensor in graph.initializer)
    yield from (name for node in graph.node for name in node.output if name)


def _make_names_unique(graph: GraphProto) -> None:
    """Two loops may both have a "while/add:0"; a value that moves out must not meet another of its name."""
    taken: set[str] = set()
    for g in all_graphs(graph):
        own = dict.fromkeys(_made_names(g))
        names = {}
        for name in own:
            if name in taken:
                i = next(i for i in count(1) if f"{name}/{i}" not in taken and f"{name}/{i}" not in own)
                names[name] = f"{name}/{i}"
        if names:
            _rename_uses(g, names)
            for value in (*g.input, *g.initializer, *g.output):
                value.name = names.get(value.name, value.name)
            for node in g.node:
                node.output[:] = [names.get(name, name) for name in node.output]
        taken.update(names.get(name, name) for name in own)


def _remove_identities(graph: GraphProto) -> None:
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
        _rename_uses(g, _resolved(names))


def _rename_made(graph: GraphProto, old: str, new: str) -> None:
    for node in graph.node:
        for i, name in enumerate(node.output):
            if name == old:
                node.output[i] = new


def _resolved(names: dict[str, str]) -> dict[str, str]:
    """Follows chains: a -> b -> c becomes a -> c."""

    def last(name: str) -> str:
        while name in names:
            name = names[name]
        return name

    return {name: last(target) for name, target in names.items()}


def _leave_trip_counts_to_loops(graph: GraphProto) -> None:
    """Removes the test "iteration < M" from bodies of loops that are given M: ONNX's Loop makes it anyway."""
    for g in all_graphs(graph):
        for loop in g.node:
            if loop.op_type != "Loop" or not loop.input[0]:
                continue
            (body,) = subgraphs(loop)
            go_on = body.input[1].name
            iteration = {body.input[0].name}
            iteration |= {n.output[0] for n in body.node if n.op_type == "Cast" and n.input[0] in iteration}
            true = {n.output[0] for n in body.node if n.op_type == "Less" and n.input[0] in iteration}
            names = {}
            for node in body.node:
                if node.op_type == "And" and true.intersection(node.input):
                    names[node.output[0]] = next((x for x in node.input if x not in true), node.input[0])
            names = _resolved(names) | dict.fromkeys(true, go_on)
            _rename_uses(body, names)
            body.output[0].name = names.get(body.output[0].name, body.output[0].name)


def _hoist_loop_invariants(graph: GraphProto) -> None:
    """Takes out of each loop what is the same at every step: carried values that never change, constants, and nodes
    that read nothing else. Inner loops first, so that things move all the way up."""
    nodes = []
    for node in graph.node:
        for sub in subgraphs(node):
            _hoist_loop_invariants(sub)
        if node.op_type == "Loop":
            nodes += _uncarry(graph, node)
            nodes += _lifted(graph, node)
        nodes.append(node)
    replaced = {n.output[0]: n.input[0] for n in nodes if n.op_type == "Identity"}
    outputs = {output.name for output in graph.output}
    kept = [n for n in nodes if n.op_type != "Identity" or n.output[0] in outputs]
    del graph.node[:]
    graph.node.extend(kept)
    _rename_uses(graph, _resolved({a: b for a, b in replaced.items() if a not in outputs}))


def _uncarry(graph: GraphProto, loop: NodeProto) -> list[NodeProto]:
    """Lets the body read unchanging values from outside; returns Identity nodes in place of the loop's outputs."""
    (body,) = subgraphs(loop)
    aliases, names = [], {}
    copies = _resolved({node.output[0]: node.input[0] for node in body.node if node.op_type == "Identity"})
    for i in reversed(range(len(loop.input) - 2)):
        carried, handed_on = body.input[i + 2].name, body.output[i + 1].name
        if copies.get(handed_on, handed_on) != carried:
            continue
        names[carried] = loop.input[i + 2]
        aliases.append(helper.make_node("Identity", [loop.input[i + 2]], [loop.output[i]]))
        del loop.input[i + 2], loop.output[i], body.input[i + 2], body.output[i + 1]
    for output in body.output:
        if output.name in names:  # a body has to make its outputs itself
            made = f"{output.name}/made"
            body.node.append(helper.make_node("Identity", [names[output.name]], [made]))
            output.name = made
    _rename_uses(body, names)
    return aliases


def _lifted(graph: GraphProto, loop: NodeProto) -> list[NodeProto]:
    (body,) = subgraphs(loop)
    changing = {value.name for value in body.input}
    outputs = {value.name for value in body.output}
    graph.initializer.extend(t for t in body.initializer if t.name not in outputs)
    kept_constants = [t for t in body.initializer if t.name in outputs]
    del body.initializer[:]
    body.initializer.extend(kept_constants)
    lifted, kept = [], []
    for node in body.node:
        fixed = not subgraphs(node) and node.op_type not in _RANDOM and not outputs.intersection(node.output)
        if fixed and not changing.intersection(node.input):
            lifted.append(node)
        else:
            kept.append(node)
            changing.update(node.output)
    del body.node[:]
    body.node.extend(kept)
    return lifted


def _merge_equal_initializers(graph: GraphProto) -> None:
    """Of constants that are equal, keeps one: a weight that both the loop and its surroundings read is stored once."""
    first: dict[tuple, str] = {}
    names, kept = {}, []
    for tensor in graph.initializer:
        content = tensor.raw_data or numpy_helper.to_array(tensor).tobytes()
        key = (tensor.data_type, tuple(tensor.dims), content)
        if key in first:
            names[tensor.name] = first[key]
        else:
            first[key] = tensor.name
            kept.append(tensor)
    del graph.initializer[:]
    graph.initializer.extend(kept)
    _rename_uses(graph, names)


def _gather_without_index_repair(graph: GraphProto, constants: dict[str, onnx.TensorProto]) -> None:
    """Gather(W, Where(i < 0, i + n, i)) -> Gather(W, i): counting from the end is part of ONNX's Gather."""
    made = _producers(graph)
    for g in all_graphs(graph):
        for node in g.node:
            if node.op_type != "Gather":
                continue
            weights, where = constants.get(node.input[0]), made.get(node.input[1])
            if weights is None or where is None or where.op_type != "Where":
                continue
            size = weights.dims[next((a.i for a in node.attribute if a.name == "axis"), 0)]
            less, index = made.get(where.input[0]), where.input[2]
            shifted = made.get(where.input[1])
            if (
                less is not None
                and less.op_type == "Less"
                and less.input[0] == index
                and _is_all(constants.get(less.input[1]), 0)
                and shifted is not None
                and shifted.op_type == "Add"
                and index in shifted.input
                and any(_is_all(constants.get(name), size) for name in shifted.input)
            ):
                node.input[1] = index


def _look_up_one_hot_products(graph: GraphProto, constants: dict[str, onnx.TensorProto]) -> None:
    """MatMul(OneHot(i), W) -> Gather(W, i): the row itself instead of a product with zeros and a one."""
    made = _producers(graph)
    for g in all_graphs(graph):
        for node in g.node:
            one_hot = made.get(node.input[0]) if node.op_type == "MatMul" else None
            weights = constants.get(node.input[1]) if one_hot is not None else None
            if one_hot is None or one_hot.op_type != "OneHot" or weights is None or len(weights.dims) != 2:
                continue
            axis = next((a.i for a in one_hot.attribute if a.name == "axis"), -1)
            values = constants.get(one_hot.input[2])
            if axis != -1 or values is None or numpy_helper.to_array(values).tolist() != [0, 1]:
                continue
            lookup = helper.make_node("Gather", [node.input[1], one_hot.input[0]], node.output, name=node.name, axis=0)
            node.CopyFrom(lookup)


def _is_all(tensor: onnx.TensorProto | None, value: float) -> bool:
    return tensor is not None and bool(np.all(numpy_helper.to_array(tensor) == value))


def _remove_unused(graph: GraphProto) -> None:
    while True:
        used = set(_uses(graph))
        removed = False
        for g in all_graphs(graph):
            kept = [node for node in g.node if used.intersection(node.output)]
            removed |= len(kept) < len(g.node)
            del g.node[:]
            g.node.extend(kept)
            constants = [t for t in g.initializer if t.name in used]
            del g.initializer[:]
            g.initializer.extend(constants)
        if not removed:
            return


def _forget_types(graph: GraphProto) -> None:
    """Drops what is noted about values that have moved to another graph."""
    for g in all_graphs(graph):
        made = set(_made_names(g))
        kept = [value for value in g.value_info if value.name in made]
        del g.value_info[:]
        g.value_info.extend(kept)
